//! Whether an access token opens a protected resource.
//!
//! Nearly always that is known from memory: the token's signature and claims, and which grants have ended. When
//! what is known of ended grants is too old, the store is asked, which is another step with a type of its own.
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
use crate::resource::ResourceUri;
use crate::store::StoreError;
use crate::token::claims::AccessTokenClaims;
use crate::token::verify::TokenRefused;

impl AuthorizationServer {
    /// Verifies an access token that was presented at `resource`, from memory alone.
    ///
    /// # Errors
    ///
    /// Why the token is refused.
    pub fn verify_access_token(&self, token: &str, resource: &ResourceUri) -> Result<VerifiedToken, TokenRefused> {
        let now = self.now();
        let claims = self.0.verifier.verify(token, resource, now)?;
        match self.0.ended.contain(claims.jti.grant(), &claims.client_id, now) {
            Some(true) => Err(TokenRefused::Revoked),
            Some(false) => Ok(VerifiedToken::Good(claims)),
            None => Ok(VerifiedToken::Unconfirmed(UnconfirmedToken(Box::new(claims)))),
        }
    }

    /// Reads from the store what has ended, and says whether the token's grant or client is among it.
    ///
    /// # Errors
    ///
    /// When it is, or when the store cannot be read.
    pub async fn confirm_access_token(&self, token: UnconfirmedToken) -> Result<AccessTokenClaims, ConfirmError> {
        self.0.ended.refresh(self.store(), self.now()).await?;
        let UnconfirmedToken(claims) = token;
        if self
            .0
            .ended
            .contained_at_last_reading(claims.jti.grant(), &claims.client_id)
        {
            return Err(TokenRefused::Revoked.into());
        }
        Ok(*claims)
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
    /// It is good unless its grant has ended, and what this process knows of ended grants is too old to say:
    /// [`confirm_access_token`](AuthorizationServer::confirm_access_token) asks the store.
    Unconfirmed(UnconfirmedToken),
}

/// A token that is good unless its grant has ended.
#[derive(Clone, Debug)]
pub struct UnconfirmedToken(Box<AccessTokenClaims>);

/// Why a token was not confirmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfirmError {
    /// Its grant has ended.
    #[error(transparent)]
    Refused(#[from] TokenRefused),
    /// Nobody can say.
    #[error(transparent)]
    Store(#[from] StoreError),
}
