//! Whether an access token opens a protected resource.
//!
//! Nearly always that is known from memory: a token that was found good before is [remembered](crate::access), and of one
//! that was not, the signature and the claims are looked at; which grants have ended is known as well. When what is known
//! of ended grants or of the keys is too old, or when a token names a key that is not known, the store is asked, which is
//! another step with a type of its own.
//!
//! A remembered token is asked the same things as a new one, but for its signature and its claims: whether it has expired,
//! whether its key is still one of this server's, and whether its grant or its client has ended.
//!
//! ```
//! use std::sync::Arc;
//!
//! use mcp_oauth_core::access::AccessToken;
//! use mcp_oauth_core::resource::ResourceUri;
//! use mcp_oauth_core::server::AuthorizationServer;
//! use mcp_oauth_core::server::access::{ConfirmError, VerifiedToken};
//!
//! async fn verify(
//!     server: &AuthorizationServer,
//!     token: &str,
//!     resource: &ResourceUri,
//! ) -> Result<Arc<AccessToken>, ConfirmError> {
//!     match server.verify_access_token(token, resource)? {
//!         VerifiedToken::Good(token) => Ok(token),
//!         VerifiedToken::Unconfirmed(token) => server.confirm_access_token(token).await,
//!     }
//! }
//! ```

use std::sync::Arc;

use super::AuthorizationServer;
use super::keys::{KeyRingError, Reading, Verdict};
use tracing::field::Empty;

use crate::access::{AccessToken, Proof};
use crate::clock::UnixTime;
use crate::resource::ResourceUri;
use crate::revocation::Issued;
use crate::secret::Secret;
use crate::store::StoreError;
use crate::token::verify::{TokenRefused, TokenVerifier};

impl AuthorizationServer {
    /// The access token that a caller presents at `resource`, if it was found good before and still is, as far as this
    /// process knows. Whether what is presented could be a token at all need not be known: what was found good is one.
    ///
    /// `None` says nothing about the token: [`verify_access_token`](Self::verify_access_token) does.
    #[must_use]
    pub fn recall_access_token(&self, presented: &[u8], resource: &ResourceUri) -> Option<Arc<AccessToken>> {
        let fingerprint = self.0.remembered.fingerprint(presented, resource);
        let remembered = self.0.remembered.get(&fingerprint, resource)?;
        let now = self.now();
        let relied_on = self.still_relied_on(&remembered, now);
        (relied_on && self.has_ended(&remembered, now) == Some(false)).then_some(remembered)
    }

    /// Verifies an access token that was presented at `resource`, from memory alone.
    ///
    /// # Errors
    ///
    /// Why the token is refused.
    pub fn verify_access_token(&self, token: &str, resource: &ResourceUri) -> Result<VerifiedToken, TokenRefused> {
        let now = self.now();
        let fingerprint = self.0.remembered.fingerprint(token.as_bytes(), resource);
        let known = match self.0.remembered.get(&fingerprint, resource) {
            Some(remembered) => self.still_good(remembered, token, now).inspect_err(|_| {
                self.0.remembered.forget(&fingerprint);
            })?,
            None => match self
                .0
                .keys
                .verify(token, now, |keys| keys.verify(token, resource, now))?
            {
                Verdict::Known(verified) => {
                    let verified = Arc::new(verified);
                    self.0.remembered.remember(fingerprint, &verified);
                    Verdict::Known(verified)
                }
                Verdict::Ask(why) => Verdict::Ask(why),
            },
        };
        Ok(match known {
            Verdict::Known(verified) => match self.has_ended(&verified, now) {
                Some(true) => return Err(TokenRefused::Revoked),
                Some(false) => VerifiedToken::Good(verified),
                None => VerifiedToken::Unconfirmed(UnconfirmedToken(Unconfirmed::Grant(verified))),
            },
            Verdict::Ask(why) => VerifiedToken::Unconfirmed(UnconfirmedToken(Unconfirmed::Keys {
                token: Secret::from(token),
                resource: resource.clone(),
                why,
            })),
        })
    }

    /// Whether a token that was found good before is known to be still good, as far as the time and the keys go.
    fn still_relied_on(&self, remembered: &AccessToken, now: UnixTime) -> bool {
        let signed_by_ours = match &remembered.proof {
            Proof::OwnKey(kid) => self.0.keys.rely_on(kid, now),
            #[cfg(feature = "remote-jwks")]
            Proof::Keys(_) | Proof::Word(_) => false,
        };
        signed_by_ours && now < remembered.expires_at
    }

    /// Whether a token that was found good before still is, as far as the time and the keys go.
    fn still_good(
        &self,
        remembered: Arc<AccessToken>,
        token: &str,
        now: UnixTime,
    ) -> Result<Verdict<Arc<AccessToken>>, TokenRefused> {
        if now >= remembered.expires_at {
            return Err(TokenRefused::Time);
        }
        self.0.keys.verify(token, now, |keys| match &remembered.proof {
            Proof::OwnKey(kid) if keys.knows(kid) => Ok(remembered),
            Proof::OwnKey(_) => Err(TokenRefused::Signature),
            #[cfg(feature = "remote-jwks")]
            Proof::Keys(_) | Proof::Word(_) => Err(TokenRefused::Signature),
        })
    }

    fn has_ended(&self, token: &AccessToken, now: UnixTime) -> Option<bool> {
        match issued(token) {
            Some(issued) => self.0.ended.contain(&issued, now, self.clock()),
            // Every token of this server's own has a grant.
            None => Some(true),
        }
    }

    /// Reads from the store what this process did not know: the keys, and whether the token's grant or client has
    /// ended.
    ///
    /// # Errors
    ///
    /// When the token is refused by what was read, or when the store cannot be read.
    #[tracing::instrument(
        level = "debug",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    pub async fn confirm_access_token(&self, token: UnconfirmedToken) -> Result<Arc<AccessToken>, ConfirmError> {
        let verified = match token.0 {
            Unconfirmed::Grant(verified) => verified,
            Unconfirmed::Keys { token, resource, why } => {
                let now = self.now();
                let verify = |keys: &TokenVerifier| keys.verify(token.expose(), &resource, now);
                let verified = Arc::new(self.verify_with_current_keys(why, verify).await??);
                let fingerprint = self.0.remembered.fingerprint(token.expose().as_bytes(), &resource);
                self.0.remembered.remember(fingerprint, &verified);
                verified
            }
        };
        let ended = if let Some(ended) = self.has_ended(&verified, self.now()) {
            ended
        } else {
            self.0.ended.refresh(self.store(), self.clock()).await?;
            issued(&verified).is_none_or(|issued| self.0.ended.is_known(&issued))
        };
        if ended {
            return Err(TokenRefused::Revoked.into());
        }
        Ok(verified)
    }
}

fn issued(token: &AccessToken) -> Option<Issued<'_>> {
    Some(Issued {
        grant: token.grant.as_ref()?,
        client: &token.client_id,
        subject: &token.subject,
        // A token that says nothing of when it was issued was issued before any mark.
        at: token.issued_at.unwrap_or(UnixTime::from_seconds(0)),
    })
}

/// What is known of a token from memory alone.
#[derive(Clone, Debug)]
#[allow(
    clippy::exhaustive_enums,
    reason = "whoever asks has to do something about each of the two"
)]
pub enum VerifiedToken {
    /// It is good.
    Good(Arc<AccessToken>),
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
    Grant(Arc<AccessToken>),
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
