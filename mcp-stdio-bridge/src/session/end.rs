//! How a session ends, and how a call fails.

use std::process::ExitStatus;
use std::time::Duration;

use crate::message::reply;

/// Why a session is over.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum End {
    #[error("the server process ended ({0})")]
    Exited(ExitStatus),
    #[error("the server process closed its stdin or stdout")]
    PipeClosed,
    #[error("the server did not answer `initialize` within {0:?}")]
    HandshakeTimeout(Duration),
    #[error("the server refused `initialize`")]
    HandshakeRefused,
    #[error("the client went away during `initialize`")]
    HandshakeAbandoned,
    #[error("the client ended the session")]
    Deleted,
    #[error("the session was not used for too long")]
    Idle,
    #[error("the bridge is shutting down")]
    Shutdown,
}

/// Why a call gets an error from the bridge instead of the server's answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}; begin a new session with `initialize`")]
    Ended(End),
    #[error("the client cancelled the request")]
    Cancelled,
    #[error("the client did not read the answer's stream")]
    Stalled,
    #[error("the server did not answer in time")]
    TimedOut,
}

impl Failure {
    pub(super) fn code(&self) -> i32 {
        match self {
            Self::Cancelled => reply::CANCELLED,
            Self::Ended(_) | Self::Stalled | Self::TimedOut => reply::INTERNAL_ERROR,
        }
    }
}
