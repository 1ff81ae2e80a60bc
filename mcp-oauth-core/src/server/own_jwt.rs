//! What this server says to itself by way of a browser: JWTs that it signs, and that nobody else has a use for.
//!
//! They are signed with the key that access tokens are signed with, so that every node reads what another one wrote. They
//! name the issuer as their audience, and each kind has a `typ` of its own, so that none is taken for another.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::AuthorizationServer;
use super::keys::Verdict;
use crate::clock::UnixTime;
use crate::error::{ErrorCode, OAuthError};
use crate::jwt::verify::ExpectedType;
use crate::secret::Secret;
use crate::token::claims::OwnClaims;
use crate::token::verify::TokenVerifier;

impl AuthorizationServer {
    /// Signs claims for this server itself, good until `exp`.
    pub(super) async fn sign_own(
        &self,
        typ: &'static str,
        own: impl Serialize,
        exp: UnixTime,
    ) -> Result<Secret, OAuthError> {
        self.prepare_keys().await?;
        let now = self.now();
        let claims = OwnClaims {
            iss: self.0.issuer.as_str().to_owned(),
            aud: self.0.issuer.as_str().to_owned(),
            iat: now,
            exp,
            own,
        };
        self.0.keys.sign_jwt(typ, &claims, now).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "nothing can be signed");
            OAuthError::new(
                ErrorCode::TemporarilyUnavailable,
                "the server cannot sign at the moment, try again in a moment",
            )
        })
    }

    /// The claims of what this server has signed for itself, and when it ends. `None` if it has not, or if it is over.
    pub(super) async fn verify_own_jwt<C: DeserializeOwned>(
        &self,
        jwt: &str,
        expected: ExpectedType,
    ) -> Result<Option<(C, UnixTime)>, OAuthError> {
        self.prepare_keys().await?;
        let now = self.now();
        let verify = |verifier: &TokenVerifier| verifier.verify_own_jwt::<C>(jwt, expected, now);
        let verified = match self.0.keys.verify(jwt, now, verify) {
            Err(_) => return Ok(None),
            Ok(Verdict::Known(verified)) => verified,
            Ok(Verdict::Ask(why)) => match self.verify_with_current_keys(why, verify).await? {
                Ok(verified) => verified,
                Err(_) => return Ok(None),
            },
        };
        Ok(Some((verified.own, verified.exp)))
    }
}
