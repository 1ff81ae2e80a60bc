//! The answers that are the bridge's own: a status, and a JSON-RPC error that says what to do.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::versions::VERSIONS;
use crate::message::{Id, Malformed, reply};
use crate::session::{OpenError, Refusal};

/// When to come back where there was no room.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("the host is not one that this bridge serves; the operator has to allow it")]
    Host,
    #[error("the origin may not use this bridge; the operator has to allow it")]
    Origin,
    #[error("use POST, GET or DELETE")]
    Method,
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
    #[error("{1}")]
    Session(Option<Id>, Refusal),
    #[error("{1}")]
    Open(Option<Id>, OpenError),
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Host | Self::Origin => StatusCode::FORBIDDEN,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Accept(_) => StatusCode::NOT_ACCEPTABLE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnknownSession(_) | Self::Session(_, Refusal::Gone) => StatusCode::NOT_FOUND,
            Self::Session(_, Refusal::Listening) => StatusCode::CONFLICT,
            Self::Session(_, Refusal::Busy) | Self::Open(_, OpenError::Full(_) | OpenError::Stopping) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            // The request was in order and could not be fulfilled: that is for JSON-RPC to say.
            Self::Open(_, OpenError::Start(_) | OpenError::Handshake(_)) => StatusCode::OK,
            Self::Version(_)
            | Self::Body
            | Self::Malformed(..)
            | Self::NoSession(_)
            | Self::TwoSessions
            | Self::Initialized(_)
            | Self::Session(_, Refusal::Unasked) => StatusCode::BAD_REQUEST,
        }
    }

    fn code(&self) -> i32 {
        match self {
            Self::Malformed(_, reason) => reason.code(),
            Self::UnknownSession(_) | Self::Session(_, Refusal::Gone) => reply::SESSION_NOT_FOUND,
            Self::Session(_, Refusal::Busy | Refusal::Listening)
            | Self::Open(_, OpenError::Full(_) | OpenError::Stopping) => reply::OVERLOADED,
            Self::Open(_, OpenError::Start(_) | OpenError::Handshake(_)) => reply::INTERNAL_ERROR,
            Self::Version(_) => reply::UNSUPPORTED_VERSION,
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
            | Self::Open(id, _) => id.as_ref().map(Id::raw),
            _ => None,
        }
    }

    fn body(&self) -> String {
        match self {
            Self::Open(_, OpenError::Handshake(line)) => line.clone(),
            Self::Version(requested) => {
                let data = json!({ "supported": VERSIONS, "requested": requested });
                reply::error_with(None, self.code(), &self.to_string(), &data)
            }
            _ => reply::error(self.id(), self.code(), &self.to_string()),
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
                headers.insert(header::ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            _ => {}
        }
        response
    }
}

/// A body of JSON.
pub(super) fn json(body: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], body)
}
