//! The tokens that an identity provider has issued for a person.
//!
//! A sign-in needs them for a moment, and then they are dropped, unless the server keeps them in its
//! [vault](crate::server::vault). They are of no use to anybody here: they are good at the provider, and for whatever the
//! provider lets them be.
//!
//! ```
//! use mcp_oauth_core::identity::tokens::UpstreamTokens;
//!
//! let tokens = UpstreamTokens::new("gho_secret").with_refresh_token("ghr_secret");
//! assert!(!format!("{tokens:?}").contains("secret"));
//! ```

use super::Identity;
use crate::clock::UnixTime;
use crate::secret::Secret;

/// An access token of the provider's, and what there is to get the next one with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UpstreamTokens {
    /// The access token, which is a bearer token (RFC 6750).
    pub access_token: Secret,
    /// Until when the access token is good; `None` if the provider set no end to it.
    pub expires_at: Option<UnixTime>,
    /// What the next access token is to be had for, if the provider gave anything.
    pub refresh_token: Option<Secret>,
    /// The scopes that the provider has granted, as it wrote them; `None` if it did not say.
    pub scope: Option<String>,
}

impl UpstreamTokens {
    /// An access token without an end, and nothing else.
    #[must_use]
    pub fn new(access_token: impl Into<Secret>) -> Self {
        Self {
            access_token: access_token.into(),
            expires_at: None,
            refresh_token: None,
            scope: None,
        }
    }

    /// Says until when the access token is good.
    #[must_use]
    pub fn expiring_at(mut self, moment: UnixTime) -> Self {
        self.expires_at = Some(moment);
        self
    }

    /// Adds what the next access token is to be had for.
    #[must_use]
    pub fn with_refresh_token(mut self, token: impl Into<Secret>) -> Self {
        self.refresh_token = Some(token.into());
        self
    }

    /// Says which scopes were granted.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }
}

/// Somebody who has just signed in, with what the provider has issued for them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignedIn {
    /// Who it is.
    pub identity: Identity,
    /// The provider's tokens, if it hands them over.
    pub tokens: Option<UpstreamTokens>,
}

impl SignedIn {
    /// Somebody without tokens.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity, tokens: None }
    }

    /// Adds the tokens.
    #[must_use]
    pub fn with_tokens(mut self, tokens: UpstreamTokens) -> Self {
        self.tokens = Some(tokens);
        self
    }
}

/// What came of asking for new tokens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TokensRefreshed {
    /// These take the place of the old ones. If the provider has also said anew who the person is, and all that was known of
    /// them before, that is what they are now.
    Tokens(Box<UpstreamTokens>, Option<Identity>),
    /// The provider refuses: the refresh token was revoked, has expired or was used before. The person has to sign in again.
    Refused,
    /// There is nothing to get new tokens with.
    Impossible,
}
