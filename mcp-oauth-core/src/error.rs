//! Errors as OAuth tells them to clients.
//!
//! An [`OAuthError`] is what goes over the wire: a code from one of the specifications and a sentence that says
//! what to do. It never holds a secret or the text of an internal failure. Where an error may go is decided by
//! type: see [`AuthorizeError`](crate::server::authorize::AuthorizeError).
//!
//! ```
//! use mcp_oauth_core::error::{ErrorCode, OAuthError};
//!
//! let error = OAuthError::new(ErrorCode::InvalidGrant, "the code was used before");
//! assert_eq!(error.status(), 400);
//! assert_eq!(
//!     serde_json::to_string(&error)?,
//!     r#"{"error":"invalid_grant","error_description":"the code was used before"}"#,
//! );
//! # Ok::<_, serde_json::Error>(())
//! ```

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use crate::store::StoreError;

/// The error codes of the specifications that this project implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// A parameter is missing, repeated or malformed (RFC 6749 §4.1.2.1, §5.2).
    InvalidRequest,
    /// The client is unknown or did not prove who it is (RFC 6749 §5.2).
    InvalidClient,
    /// The code, verifier, redirect URI or refresh token is not good (any more) for this client (RFC 6749 §5.2).
    InvalidGrant,
    /// This client may not use this grant type (RFC 6749 §5.2).
    UnauthorizedClient,
    /// The server does not know this grant type (RFC 6749 §5.2).
    UnsupportedGrantType,
    /// The server answers with codes only (RFC 6749 §4.1.2.1).
    UnsupportedResponseType,
    /// None of the scopes that were asked for exists here (RFC 6749 §4.1.2.1).
    InvalidScope,
    /// The resource is unknown, or none was named where there are several (RFC 8707 §2).
    InvalidTarget,
    /// The person said no, or may not (RFC 6749 §4.1.2.1, RFC 8628 §3.5).
    AccessDenied,
    /// Something failed that should not (RFC 6749 §4.1.2.1).
    ServerError,
    /// The store or the identity provider does not answer at the moment (RFC 6749 §4.1.2.1).
    TemporarilyUnavailable,
    /// A redirect URI cannot be registered (RFC 7591 §3.2.2).
    InvalidRedirectUri,
    /// Some other registered value is not good (RFC 7591 §3.2.2).
    InvalidClientMetadata,
    /// The software statement is not good (RFC 7591 §3.2.2).
    InvalidSoftwareStatement,
    /// The software statement is not approved here (RFC 7591 §3.2.2).
    UnapprovedSoftwareStatement,
    /// The access token is expired, revoked, malformed or for somebody else (RFC 6750 §3.1).
    InvalidToken,
    /// The access token is good, but not for this (RFC 6750 §3.1).
    InsufficientScope,
    /// Nobody has decided yet about a device: it polls again after the interval (RFC 8628 §3.5).
    AuthorizationPending,
    /// The same, and the device polls too often: its interval is five seconds longer from now on (RFC 8628 §3.5).
    SlowDown,
    /// Nobody has decided in time about a device: it begins anew (RFC 8628 §3.5).
    ExpiredToken,
}

impl ErrorCode {
    /// The code as it is written on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::AccessDenied => "access_denied",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidSoftwareStatement => "invalid_software_statement",
            Self::UnapprovedSoftwareStatement => "unapproved_software_statement",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
        }
    }
}

/// An error answer of an OAuth endpoint (RFC 6749 §5.2). Serialises as its JSON body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}: {description}", code.as_str())]
pub struct OAuthError {
    #[serde(rename = "error")]
    code: ErrorCode,
    #[serde(rename = "error_description")]
    description: Cow<'static, str>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

impl OAuthError {
    /// An error with a sentence that says what to do.
    ///
    /// The sentence may hold printable ASCII without quotes and backslashes (RFC 6749 §5.2); anything else becomes
    /// `?`.
    #[must_use]
    pub fn new(code: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        let description = description.into();
        let fits = |byte: u8| matches!(byte, 0x20 | 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        let description = if description.bytes().all(fits) {
            description
        } else {
            let shown = |character: char| match u8::try_from(character) {
                Ok(byte) if fits(byte) => character,
                Ok(b'"') => '\'',
                _ => '?',
            };
            Cow::Owned(description.chars().map(shown).collect())
        };
        Self {
            code,
            description,
            retry_after: None,
        }
    }

    /// The same for somebody who has asked too often and may come again after this time.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// After how long to come again, for somebody who has asked too often (RFC 6585 §4).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Which error it is.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What to do about it: printable ASCII.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The HTTP status that goes with it where the error is answered directly.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.code {
            _ if self.retry_after.is_some() => 429,
            ErrorCode::InvalidClient | ErrorCode::InvalidToken => 401,
            ErrorCode::InsufficientScope => 403,
            ErrorCode::ServerError => 500,
            ErrorCode::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }
}

/// A store that does not answer is never the client's fault: the client keeps what it has and comes again.
impl From<StoreError> for OAuthError {
    fn from(error: StoreError) -> Self {
        if let StoreError::Full(_) = error {
            tracing::warn!(%error, "the store is full");
            return Self::new(
                ErrorCode::TemporarilyUnavailable,
                "the server has no room for more of these, try again later",
            );
        }
        tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
        Self::new(
            ErrorCode::TemporarilyUnavailable,
            "the server cannot reach its store, try again in a moment",
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_description_never_leaves_the_characters_of_rfc_6749(text in ".*") {
            let error = OAuthError::new(ErrorCode::InvalidRequest, text);
            prop_assert!(error.description().bytes().all(|b| matches!(b, 0x20 | 0x21 | 0x23..=0x5B | 0x5D..=0x7E)));
        }
    }

    #[test]
    fn the_code_is_written_as_it_is_serialised() {
        for code in [
            ErrorCode::InvalidRequest,
            ErrorCode::InvalidClient,
            ErrorCode::InvalidGrant,
            ErrorCode::UnauthorizedClient,
            ErrorCode::UnsupportedGrantType,
            ErrorCode::UnsupportedResponseType,
            ErrorCode::InvalidScope,
            ErrorCode::InvalidTarget,
            ErrorCode::AccessDenied,
            ErrorCode::ServerError,
            ErrorCode::TemporarilyUnavailable,
            ErrorCode::InvalidRedirectUri,
            ErrorCode::InvalidClientMetadata,
            ErrorCode::InvalidToken,
            ErrorCode::InsufficientScope,
            ErrorCode::AuthorizationPending,
            ErrorCode::SlowDown,
            ErrorCode::ExpiredToken,
        ] {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.as_str()));
        }
    }

    #[test]
    fn a_store_that_does_not_answer_is_never_the_clients_fault() {
        for error in [
            StoreError::Full(crate::store::Kind::Client),
            StoreError::Unavailable("the test has none".into()),
        ] {
            let told = OAuthError::from(error);
            assert_eq!((told.code(), told.status()), (ErrorCode::TemporarilyUnavailable, 503));
            assert!(!told.description().contains("the test"), "{told}");
        }
    }
}
