//! How a server process ends, and how a call fails.

use std::process::ExitStatus;
use std::time::Duration;

use crate::message::{Id, reply};
use crate::stream::Frame;

/// Why a server process, or the session it was for, is over.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum End {
    #[error("the server process ended ({0})")]
    Exited(ExitStatus),
    #[error("the server process closed its stdin or stdout")]
    PipeClosed,
    #[error("the server did not answer `{0}` within {1:?}")]
    HandshakeTimeout(&'static str, Duration),
    #[error("the server refused `initialize`")]
    HandshakeRefused,
    #[error("the client went away during `initialize`")]
    HandshakeAbandoned,
    #[error("the client ended the session")]
    Deleted,
    #[error("it was not used for too long")]
    Idle,
    #[error("it made room for another")]
    Evicted,
    #[error("the bridge is shutting down")]
    Shutdown,
}

impl End {
    /// A short name, for what is measured.
    #[cfg(feature = "metrics")]
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Exited(_) => "exited",
            Self::PipeClosed => "pipe_closed",
            Self::HandshakeTimeout(..) => "handshake_timeout",
            Self::HandshakeRefused => "handshake_refused",
            Self::HandshakeAbandoned => "handshake_abandoned",
            Self::Deleted => "deleted",
            Self::Idle => "idle",
            Self::Evicted => "evicted",
            Self::Shutdown => "shutdown",
        }
    }

    /// Whether the process ended when nobody had asked it to.
    pub(crate) fn is_crash(&self) -> bool {
        matches!(self, Self::Exited(_) | Self::PipeClosed | Self::HandshakeTimeout(..))
    }
}

/// Why a call gets an error from the bridge instead of the server's answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Ended(End),
    #[error("the client cancelled the request")]
    Cancelled,
    #[error("the client did not read the answer's stream")]
    Stalled,
    #[error("the server did not answer in time")]
    TimedOut,
}

impl Failure {
    /// A short name, for what is measured.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ended(_) => "ended",
            Self::Cancelled => "cancelled",
            Self::Stalled => "stalled",
            Self::TimedOut => "timed_out",
        }
    }

    pub(crate) fn code(&self) -> i32 {
        match self {
            Self::Cancelled => reply::CANCELLED,
            Self::Ended(_) | Self::Stalled | Self::TimedOut => reply::INTERNAL_ERROR,
        }
    }

    /// What the client gets in place of an answer to the request with this id.
    pub(crate) fn answer(&self, id: &Id) -> Frame {
        Frame::Answer {
            line: reply::error(Some(id.raw()), self.code(), &self.to_string()),
            error: Some(self.code().into()),
        }
    }
}
