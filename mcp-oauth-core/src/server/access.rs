//! Whether an access token opens a protected resource.
//!
//! Nearly always that is known from memory: the token's signature and claims, and which grants have ended. When
//! what is known of ended grants or of the keys is too old, or when a token names a key that is not known, the store
//! is asked, which is another step with a type of its own.
//!
//! ```
//! use mcp_oauth_core::resource::ResourceUri;
//! use mcp_oauth_core::server::access::{ConfirmError, VerifiedToken};
//! use mcp_oauth_core::server::AuthorizationServer;
//! use mcp_oauth_core::token::claims::AccessTokenClaims;
//!
//! async fn verify(
//!     server: &AuthorizationServer,
//!     token: &str,
//!     resource: &ResourceUri,
//! ) -> Result<AccessTokenClaims, ConfirmError> {
//!     match server.verify_access_token(token, resource)? {
//!         VerifiedToken::Good(claims) => Ok(claims),
//!         VerifiedToken::Unconfirmed(token) => server.confirm_access_token(token).await,
//!     }
//! }
//! ```

use super::AuthorizationServer;
use super::keys::{KeyRingError, Reading, Verdict};
use crate::clock::UnixTime;
use crate::resource::ResourceUri;
use crate::secret::Secret;
use crate::store::StoreError;
use crate::token::claims::AccessTokenClaims;
use crate::token::verify::{TokenRefused, TokenVerifier};

impl AuthorizationServer {
    /// Verifies an access token that was presented at `resource`, from memory alone.
    ///
    /// # Errors
    ///
    /// Why the token is refused.
    pub fn verify_access_token(&self, token: &str, resource: &ResourceUri) -> Result<VerifiedToken, TokenRefused> {
        let now = self.now();
        let verify = |verifier: &TokenVerifier| verifier.verify(token, resource, now);
        match self.0.keys.verify(token, now, verify)? {
            Verdict::Known(claims) => match self.has_ended(&claims, now) {
                Some(true) => Err(TokenRefused::Revoked),
                Some(false) => Ok(VerifiedToken::Good(claims)),
                None => Ok(VerifiedToken::Unconfirmed(UnconfirmedToken(Unconfirmed::Grant(
                    Box::new(claims),
                )))),
            },
            Verdict::Ask(why) => Ok(VerifiedToken::Unconfirmed(UnconfirmedToken(Unconfirmed::Keys {
                token: Secret::from(token),
                resource: resource.clone(),
                why,
            }))),
        }
    }

    fn has_ended(&self, claims: &AccessTokenClaims, now: UnixTime) -> Option<bool> {
        self.0.ended.contain(claims.jti.grant(), &claims.client_id, now)
    }

    /// Reads from the store what this process did not know: the keys, and whether the token's grant or client has
    /// ended.
    ///
    /// # Errors
    ///
    /// When the token is refused by what was read, or when the store cannot be read.
    pub async fn confirm_access_token(&self, token: UnconfirmedToken) -> Result<AccessTokenClaims, ConfirmError> {
        let claims = match token.0 {
            Unconfirmed::Grant(claims) => *claims,
            Unconfirmed::Keys { token, resource, why } => {
                let now = self.now();
                let verify = |verifier: &TokenVerifier| verifier.verify(token.expose(), &resource, now);
                self.verify_with_current_keys(why, verify).await??
            }
        };
        let ended = if let Some(ended) = self.has_ended(&claims, self.now()) {
            ended
        } else {
            self.0.ended.refresh(self.store(), self.now()).await?;
            self.0
                .ended
                .contained_at_last_reading(claims.jti.grant(), &claims.client_id)
        };
        if ended {
            return Err(TokenRefused::Revoked.into());
        }
        Ok(claims)
    }
}

/// What is known of a token from memory alone.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "it is taken apart at once, and boxing it would cost every request"
)]
pub enum VerifiedToken {
    /// It is good.
    Good(AccessTokenClaims),
    /// It may be good, and what this process knows of ended grants or of the keys does not suffice to say:
    /// [`confirm_access_token`](AuthorizationServer::confirm_access_token) asks the store.
    Unconfirmed(UnconfirmedToken),
}

/// A token of which only the store can say whether it is good.
#[derive(Clone, Debug)]
pub struct UnconfirmedToken(Unconfirmed);

#[derive(Clone, Debug)]
enum Unconfirmed {
    /// It is good unless its grant has ended.
    Grant(Box<AccessTokenClaims>),
    /// The keys have to be read.
    Keys {
        token: Secret,
        resource: ResourceUri,
        why: Reading,
    },
}

/// Why a token was not confirmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfirmError {
    /// Its grant has ended, or no key that this server has signed it.
    #[error(transparent)]
    Refused(#[from] TokenRefused),
    /// Nobody can say.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody can say, because the keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
}
