//! The answers that are the bridge's own: a status, and a JSON-RPC error that says what to do.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::mirror::Mismatch;
use crate::child::Refusal;
use crate::message::{Id, Malformed, reply};
use crate::start::OpenError;
use crate::translate::modern_to_legacy::NotTaken;
use crate::versions::{LEGACY, MODERN};

/// When to come back where there was no room, in seconds.
const RETRY_AFTER: u64 = 10;

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("the host is not one that this bridge serves; the operator has to allow it")]
    Host,
    #[error("the origin may not use this bridge; the operator has to allow it")]
    Origin,
    #[error("use POST, GET or DELETE")]
    Method,
    #[error("this version of the protocol has POST only")]
    PostOnly,
    #[error("the body has to be of the type application/json")]
    ContentType,
    #[error("the request has to accept {0}")]
    Accept(&'static str),
    #[error("the protocol version is not supported")]
    Version(String),
    #[error("the body is longer than the {0} bytes allowed")]
    TooLarge(usize),
    #[error("the body could not be read")]
    Body,
    #[error("{1}")]
    Malformed(Option<Id>, Malformed),
    #[error("the header Mcp-Session-Id is missing; `initialize` gives the id")]
    NoSession(Option<Id>),
    #[error("the header Mcp-Session-Id appears twice")]
    TwoSessions,
    #[error("the session does not exist or has ended; begin a new one with `initialize`")]
    UnknownSession(Option<Id>),
    #[error("the session is open already; send `initialize` without Mcp-Session-Id to begin another")]
    Initialized(Option<Id>),
    #[error("Last-Event-ID names no event of this session that can be gone on from")]
    Event,
    #[error("too many streams wait for their clients to begin; try again later")]
    Waiting,
    #[error("{1}")]
    Session(Option<Id>, Refusal),
    #[error("{1}")]
    Open(Option<Id>, OpenError),
    #[error("{1}")]
    Modern(Option<Id>, Wrong),
}

/// What is wrong with a request that stands alone.
#[derive(Debug, thiserror::Error)]
pub(super) enum Wrong {
    #[error("this version of the protocol wants `{0}` in the `_meta` of the parameters of every request")]
    Meta(&'static str),
    #[error("the header MCP-Protocol-Version has to be there once, and to name the version of the body")]
    Version(String),
    #[error("the protocol version is not supported")]
    Unsupported(String),
    #[error("{0}")]
    Mismatch(Mismatch),
    #[error("there is no method `{0}` in this version of the protocol")]
    Removed(String),
    #[error("this version of the protocol has no answers of clients; repeat the request with `inputResponses`")]
    Response,
    #[error("{0}")]
    Params(String),
    #[error("{0}")]
    Busy(Refusal),
    #[error("the server process has ended; send the request again")]
    Gone,
}

impl Refused {
    /// For a request that stands alone.
    pub(super) fn from_modern(id: Option<Id>, error: NotTaken) -> Self {
        match error {
            NotTaken::Open(error) => Self::Open(id, error),
            NotTaken::Refused(Refusal::Gone) => Self::Modern(id, Wrong::Gone),
            NotTaken::Refused(refusal) => Self::Modern(id, Wrong::Busy(refusal)),
            error @ (NotTaken::State(_) | NotTaken::Filter) => Self::Modern(id, Wrong::Params(error.to_string())),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Host | Self::Origin => StatusCode::FORBIDDEN,
            Self::Method | Self::PostOnly => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Accept(_) => StatusCode::NOT_ACCEPTABLE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnknownSession(_) | Self::Session(_, Refusal::Gone) | Self::Modern(_, Wrong::Removed(_)) => {
                StatusCode::NOT_FOUND
            }
            Self::Waiting | Self::Session(_, Refusal::Busy) | Self::Modern(_, Wrong::Busy(_)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Open(_, error) => match error {
                OpenError::Full(_) | OpenError::Processes(_) | OpenError::Stopping | OpenError::BackingOff { .. } => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                // The request was in order and could not be fulfilled: that is for JSON-RPC to say.
                OpenError::Start(_) | OpenError::Failed { .. } | OpenError::Refused(_) | OpenError::Abandoned => {
                    StatusCode::OK
                }
            },
            // As any other call of a server that crashes, or with parameters that it does not like.
            Self::Modern(_, Wrong::Gone | Wrong::Params(_)) => StatusCode::OK,
            Self::Version(_)
            | Self::Body
            | Self::Malformed(..)
            | Self::NoSession(_)
            | Self::TwoSessions
            | Self::Initialized(_)
            | Self::Event
            | Self::Session(_, Refusal::Unasked)
            | Self::Modern(..) => StatusCode::BAD_REQUEST,
        }
    }

    fn code(&self) -> i32 {
        match self {
            Self::Malformed(_, reason) => reason.code(),
            Self::UnknownSession(_) | Self::Session(_, Refusal::Gone) => reply::SESSION_NOT_FOUND,
            Self::Waiting | Self::Session(_, Refusal::Busy) => reply::OVERLOADED,
            Self::Open(_, error) => match error {
                OpenError::Full(_) | OpenError::Processes(_) | OpenError::Stopping | OpenError::BackingOff { .. } => {
                    reply::OVERLOADED
                }
                _ => reply::INTERNAL_ERROR,
            },
            Self::Version(_) => reply::UNSUPPORTED_VERSION,
            Self::Modern(_, wrong) => match wrong {
                Wrong::Meta(_) | Wrong::Params(_) => reply::INVALID_PARAMS,
                Wrong::Version(_) | Wrong::Mismatch(_) => reply::HEADER_MISMATCH,
                Wrong::Unsupported(_) => reply::UNSUPPORTED_VERSION,
                Wrong::Removed(_) => reply::METHOD_NOT_FOUND,
                Wrong::Response => reply::INVALID_REQUEST,
                Wrong::Busy(_) => reply::OVERLOADED,
                Wrong::Gone => reply::INTERNAL_ERROR,
            },
            _ => reply::INVALID_REQUEST,
        }
    }

    fn id(&self) -> Option<&str> {
        match self {
            Self::Malformed(id, _)
            | Self::NoSession(id)
            | Self::UnknownSession(id)
            | Self::Initialized(id)
            | Self::Session(id, _)
            | Self::Open(id, _)
            | Self::Modern(id, _) => id.as_ref().map(Id::raw),
            _ => None,
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Version(requested) => Some(json!({ "supported": LEGACY, "requested": requested })),
            Self::Modern(_, Wrong::Unsupported(requested)) => {
                Some(json!({ "supported": [MODERN], "requested": requested }))
            }
            Self::Open(_, OpenError::Failed { stderr, .. } | OpenError::BackingOff { stderr, .. }) => {
                stderr.as_ref().map(|stderr| json!({ "stderr": stderr }))
            }
            _ => None,
        }
    }

    fn body(&self) -> String {
        match (self, self.data()) {
            (Self::Open(_, OpenError::Refused(line)), _) => line.clone(),
            (_, Some(data)) => reply::error_with(self.id(), self.code(), &self.to_string(), &data),
            (_, None) => reply::error(self.id(), self.code(), &self.to_string()),
        }
    }

    /// When it is worth another attempt, in seconds.
    fn retry_after(&self) -> u64 {
        match self {
            Self::Open(_, OpenError::BackingOff { wait, .. }) => wait.as_secs() + 1,
            _ => RETRY_AFTER,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        tracing::debug!(status = self.status().as_u16(), reason = %self, "a request was refused");
        let mut response = (self.status(), json(self.body())).into_response();
        let headers = response.headers_mut();
        match self.status() {
            StatusCode::METHOD_NOT_ALLOWED => {
                let allowed = match self {
                    Self::PostOnly => "POST",
                    _ => "POST, GET, DELETE",
                };
                headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, self.retry_after().into());
            }
            _ => {}
        }
        response
    }
}

/// A body of JSON.
pub(super) fn json(body: String) -> Response {
    let mut response = Response::new(body.into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
