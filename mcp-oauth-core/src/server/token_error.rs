//! How the endpoints refuse that clients prove themselves at.

use crate::error::OAuthError;

/// A refusal of an endpoint that clients prove themselves at: the token endpoint (RFC 6749 §5.2), and those that answer as it
/// does (RFC 7009 §2.2.1, RFC 7662 §2.3, RFC 8628 §3.2).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct TokenError {
    error: OAuthError,
    challenge: bool,
}

impl TokenError {
    pub(super) fn challenging(error: OAuthError, challenge: bool) -> Self {
        Self { error, challenge }
    }

    /// What to answer.
    #[must_use]
    pub fn error(&self) -> &OAuthError {
        &self.error
    }

    /// Whether the answer needs `WWW-Authenticate: Basic`, because the client had used the `Authorization` header
    /// (RFC 6749 §5.2).
    #[must_use]
    pub fn needs_basic_challenge(&self) -> bool {
        self.challenge
    }
}

impl From<&TokenError> for OAuthError {
    fn from(refusal: &TokenError) -> Self {
        refusal.error.clone()
    }
}

impl<E: Into<OAuthError>> From<E> for TokenError {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            challenge: false,
        }
    }
}
