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

use http::header::{CACHE_CONTROL, CONTENT_TYPE, InvalidHeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use mcp_oauth_core::resource::Resource;
use mcp_oauth_core::scope::ScopeSet;
use mcp_oauth_core::scope::rules::AccessRules;

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
    /// The token is good, but lacks a scope that is needed for what is called: `403`.
    InsufficientScope,
    /// The message in the body is none, or could be read in more than one way: `400`.
    InvalidMessage,
    /// The headers say something else than the body: `400`, with MCP's own error code.
    HeaderMismatch,
    /// The body is longer than what is read to find out what is called: `413`.
    TooLarge,
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
            Self::InvalidRequest | Self::InvalidMessage | Self::HeaderMismatch => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InsufficientScope => StatusCode::FORBIDDEN,
            Self::UnknownSession => StatusCode::NOT_FOUND,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A short name, as metrics have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidMessage => "invalid_message",
            Self::HeaderMismatch => "header_mismatch",
            Self::TooLarge => "too_large",
            Self::UnknownSession => "unknown_session",
            Self::Unavailable => "unavailable",
        }
    }

    /// The error code of RFC 6750 §3.1, where there is one.
    #[must_use]
    pub fn code(self) -> Option<&'static str> {
        match self {
            Self::InvalidRequest => Some("invalid_request"),
            Self::InvalidToken => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
            Self::Unauthenticated
            | Self::InvalidMessage
            | Self::HeaderMismatch
            | Self::TooLarge
            | Self::UnknownSession
            | Self::Unavailable => None,
        }
    }

    /// What to do, in words.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Unauthenticated => "sign in first: the WWW-Authenticate header says where",
            Self::InvalidRequest => "send one bearer token in the Authorization header and nowhere else",
            Self::InvalidToken => "the access token is expired or revoked or not for this resource",
            Self::InsufficientScope => "the access token lacks a scope that is needed for this",
            Self::InvalidMessage => "send one JSON-RPC message in which every member is there once and in lower case",
            Self::HeaderMismatch => "the headers Mcp-Method and Mcp-Name have to say what the body says",
            Self::TooLarge => "the message is too long",
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

/// A small JSON object in the form of an OAuth error; for an unknown session and for what is wrong with a message a JSON-RPC
/// error, which is what MCP clients read there.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonBody;

impl<R: From<String>> RefusalBody<R> for JsonBody {
    fn body(&self, refusal: Refusal) -> (Option<HeaderValue>, R) {
        // No text here needs escaping: all of it is ours, and none of it has quotes or backslashes.
        let description = refusal.description();
        let number = match refusal {
            Refusal::UnknownSession => Some(-32001),
            Refusal::HeaderMismatch => Some(-32020),
            Refusal::InvalidMessage | Refusal::TooLarge => Some(-32600),
            _ => None,
        };
        let body = if let Some(number) = number {
            format!(r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":{number},"message":"{description}"}}}}"#)
        } else {
            let code = refusal.code().unwrap_or(match refusal {
                Refusal::Unavailable => "temporarily_unavailable",
                _ => "unauthorized",
            });
            format!(r#"{{"error":"{code}","error_description":"{description}"}}"#)
        };
        (Some(HeaderValue::from_static("application/json")), R::from(body))
    }
}

/// A refusal with what only this request lacks.
#[derive(Clone, Debug)]
pub(crate) struct Denied {
    refusal: Refusal,
    /// The scopes that are needed for what was called, all of them.
    needed: Option<ScopeSet>,
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, needed: None }
    }
}

impl Denied {
    /// What is refused, but for what only this request lacks.
    pub(crate) fn refusal(&self) -> Refusal {
        self.refusal
    }

    pub(crate) fn for_lack_of(needed: &ScopeSet) -> Self {
        Self {
            refusal: Refusal::InsufficientScope,
            needed: Some(needed.clone()),
        }
    }
}

/// The `WWW-Authenticate` values of one resource, written beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Challenges {
    metadata_url: String,
    /// What an operation needs that no rule is about, for which the value is written beforehand too.
    baseline: ScopeSet,
    unauthenticated: HeaderValue,
    invalid_request: HeaderValue,
    invalid_token: HeaderValue,
    insufficient_scope: HeaderValue,
}

impl Challenges {
    pub(crate) fn new(resource: &Resource, rules: &AccessRules) -> Result<Self, InvalidHeaderValue> {
        let metadata_url = resource.metadata_url().to_string();
        let baseline = rules.baseline();
        let write = |refusal| challenge(refusal, &metadata_url, baseline);
        Ok(Self {
            unauthenticated: write(Refusal::Unauthenticated)?,
            invalid_request: write(Refusal::InvalidRequest)?,
            invalid_token: write(Refusal::InvalidToken)?,
            insufficient_scope: write(Refusal::InsufficientScope)?,
            baseline: baseline.clone(),
            metadata_url,
        })
    }

    /// The whole answer.
    pub(crate) fn respond<R>(&self, denied: &Denied, body: &impl RefusalBody<R>) -> Response<R> {
        let refusal = denied.refusal;
        let (content_type, body) = body.body(refusal);
        let mut response = Response::new(body);
        *response.status_mut() = refusal.status();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        let challenge = match refusal {
            Refusal::Unauthenticated => Some(self.unauthenticated.clone()),
            Refusal::InvalidRequest => Some(self.invalid_request.clone()),
            Refusal::InvalidToken => Some(self.invalid_token.clone()),
            Refusal::InsufficientScope => Some(self.insufficient_scope(denied.needed.as_ref())),
            Refusal::InvalidMessage | Refusal::HeaderMismatch | Refusal::TooLarge | Refusal::UnknownSession => None,
            Refusal::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
                None
            }
        };
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }

    /// One challenge that names all scopes that are needed (MCP *Scope Challenge Handling*).
    fn insufficient_scope(&self, needed: Option<&ScopeSet>) -> HeaderValue {
        needed
            .filter(|needed| **needed != self.baseline)
            .and_then(|needed| challenge(Refusal::InsufficientScope, &self.metadata_url, needed).ok())
            .unwrap_or_else(|| self.insufficient_scope.clone())
    }
}

fn challenge(refusal: Refusal, metadata_url: &str, scopes: &ScopeSet) -> Result<HeaderValue, InvalidHeaderValue> {
    let scope = if scopes.is_empty() {
        String::new()
    } else {
        format!(r#", scope="{scopes}""#)
    };
    let metadata = format!(r#"resource_metadata="{metadata_url}"{scope}"#);
    match refusal.code() {
        None => HeaderValue::from_str(&format!("Bearer {metadata}")),
        // Some clients split the header at commas, so the description has none.
        Some(code) => {
            let description = refusal.description();
            HeaderValue::from_str(&format!(
                r#"Bearer error="{code}", error_description="{description}", {metadata}"#
            ))
        }
    }
}
