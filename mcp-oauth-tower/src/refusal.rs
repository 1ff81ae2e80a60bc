//! How the layer says no: status, challenge and body.
//!
//! The challenge is the beginning of every sign-in: a client that gets a `401` reads from `WWW-Authenticate` where
//! the metadata of the resource is (RFC 9728 §5.1) and which scopes to ask for (MCP *Scope Selection Strategy*).
//! All challenges of a resource are written once, when the layer is built.
//!
//! ```
//! use mcp_oauth_tower::refusal::{JsonBody, Refusal, RefusalBody};
//!
//! // What a refused client reads, if the layer was told to explain itself in JSON.
//! let (content_type, body): (_, String) = JsonBody.body(Refusal::InvalidToken);
//! assert_eq!(content_type.unwrap(), "application/json");
//! assert!(body.contains("invalid_token"));
//! ```

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use mcp_oauth_core::resource::Resource;

/// Why a request does not reach the server behind the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No token: `401`, and no error code (RFC 6750 §3.1).
    Unauthenticated,
    /// More than one token, or something that is none: `400`.
    InvalidRequest,
    /// The token is malformed, expired, revoked, from somebody else or for somebody else: `401`.
    InvalidToken,
    /// The token is good, but lacks a scope that the resource asks for: `403`.
    InsufficientScope,
    /// The session is not the caller's, or there is none: `404`, the same for both, so nobody learns of other
    /// people's sessions.
    UnknownSession,
    /// The store cannot be reached, so nobody can say whether the token was revoked, or signed by a key of this server:
    /// `503`. Never `401`, which would make clients throw their tokens away.
    Unavailable,
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::InsufficientScope => StatusCode::FORBIDDEN,
            Self::UnknownSession => StatusCode::NOT_FOUND,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The error code of RFC 6750 §3.1, where there is one.
    #[must_use]
    pub fn code(self) -> Option<&'static str> {
        match self {
            Self::InvalidRequest => Some("invalid_request"),
            Self::InvalidToken => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
            Self::Unauthenticated | Self::UnknownSession | Self::Unavailable => None,
        }
    }

    /// What to do, in words.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Unauthenticated => "sign in first: the WWW-Authenticate header says where",
            Self::InvalidRequest => "send one bearer token in the Authorization header and nowhere else",
            Self::InvalidToken => "the access token is expired or revoked or not for this resource",
            Self::InsufficientScope => "the access token lacks a scope that this resource asks for",
            Self::UnknownSession => "there is no such session: initialize a new one",
            Self::Unavailable => "the server cannot check the token at the moment: try again in a moment",
        }
    }
}

/// Makes the body of a refusal, for a server whose responses have bodies of the type `R`.
pub trait RefusalBody<R> {
    /// The body, and the type of its content if it has any.
    fn body(&self, refusal: Refusal) -> (Option<HeaderValue>, R);
}

/// No body: fits every server whose body type has a default, as axum's and rmcp's have.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyBody;

impl<R: Default> RefusalBody<R> for EmptyBody {
    fn body(&self, _: Refusal) -> (Option<HeaderValue>, R) {
        (None, R::default())
    }
}

/// A small JSON object in the form of an OAuth error; for an unknown session a JSON-RPC error, which is what MCP
/// clients read there.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonBody;

impl<R: From<String>> RefusalBody<R> for JsonBody {
    fn body(&self, refusal: Refusal) -> (Option<HeaderValue>, R) {
        // No text here needs escaping: all of it is ours, and none of it has quotes or backslashes.
        let description = refusal.description();
        let body = match (refusal, refusal.code()) {
            (Refusal::UnknownSession, _) => {
                format!(r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":-32001,"message":"{description}"}}}}"#)
            }
            (_, code) => {
                let code = code.unwrap_or(match refusal {
                    Refusal::Unavailable => "temporarily_unavailable",
                    _ => "unauthorized",
                });
                format!(r#"{{"error":"{code}","error_description":"{description}"}}"#)
            }
        };
        (Some(HeaderValue::from_static("application/json")), R::from(body))
    }
}

/// The `WWW-Authenticate` values of one resource.
#[derive(Clone, Debug)]
pub(crate) struct Challenges {
    unauthenticated: HeaderValue,
    invalid_request: HeaderValue,
    invalid_token: HeaderValue,
    insufficient_scope: HeaderValue,
}

impl Challenges {
    pub(crate) fn new(resource: &Resource) -> Result<Self, http::header::InvalidHeaderValue> {
        let scopes = resource.scopes();
        let scope = if scopes.is_empty() {
            String::new()
        } else {
            format!(r#", scope="{scopes}""#)
        };
        let metadata = format!(r#"resource_metadata="{}"{scope}"#, resource.metadata_url());
        let write = |refusal: Refusal| match refusal.code() {
            None => HeaderValue::from_str(&format!("Bearer {metadata}")),
            // Some clients split the header at commas, so the description has none.
            Some(code) => {
                let description = refusal.description();
                HeaderValue::from_str(&format!(
                    r#"Bearer error="{code}", error_description="{description}", {metadata}"#
                ))
            }
        };
        Ok(Self {
            unauthenticated: write(Refusal::Unauthenticated)?,
            invalid_request: write(Refusal::InvalidRequest)?,
            invalid_token: write(Refusal::InvalidToken)?,
            insufficient_scope: write(Refusal::InsufficientScope)?,
        })
    }

    /// The whole answer.
    pub(crate) fn respond<R>(&self, refusal: Refusal, body: &impl RefusalBody<R>) -> Response<R> {
        let (content_type, body) = body.body(refusal);
        let mut response = Response::new(body);
        *response.status_mut() = refusal.status();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        let challenge = match refusal {
            Refusal::Unauthenticated => Some(&self.unauthenticated),
            Refusal::InvalidRequest => Some(&self.invalid_request),
            Refusal::InvalidToken => Some(&self.invalid_token),
            Refusal::InsufficientScope => Some(&self.insufficient_scope),
            Refusal::UnknownSession => None,
            Refusal::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
                None
            }
        };
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, challenge.clone());
        }
        response
    }
}
