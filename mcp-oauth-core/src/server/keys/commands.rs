//! What is asked of the keys, and what an operator has them do.
//!
//! Each is a change of the one record, or a look at what is known of it: how that is kept, read and exchanged is the
//! business of the module above. Who has keys made or withdrawn is told by an [event](crate::audit).

use std::sync::Arc;

use super::{KeyRingError, Keys, Reading, StoredKeys, Verdict};
use crate::audit::{Action, Event};
use crate::clock::UnixTime;
use crate::error::{ErrorCode, OAuthError};
use crate::origin::Origin;
use crate::server::AuthorizationServer;
use crate::token::claims::AccessTokenClaims;
use crate::token::keys::record::SealedRing;
use crate::token::keys::ring::Ring;
use crate::token::keys::{KeySetDocument, KeyState, KeyStatus, SigningKey};
use crate::token::verify::{TokenRefused, TokenVerifier};

impl AuthorizationServer {
    /// Sees to it that this process has its keys: reads them from the store, or makes the first one there. Without
    /// this the first request does it; a program that calls it when it starts fails early.
    ///
    /// # Errors
    ///
    /// When the store does not answer, or when the keys in it cannot be opened.
    pub async fn prepare_keys(&self) -> Result<(), KeyRingError> {
        self.read_keys(Reading::Stale).await
    }

    /// The public keys, for the JWKS endpoint (RFC 7517 §5).
    ///
    /// # Errors
    ///
    /// When the keys are in the store, were last read too long ago, and cannot be read now.
    pub async fn jwks(&self) -> Result<Arc<KeySetDocument>, KeyRingError> {
        self.prepare_keys().await?;
        match &self.0.keys {
            Keys::Given(keys) => Ok(Arc::clone(&keys.document)),
            Keys::Stored(keys) => {
                let (known, _) = keys.known(self.now()).ok_or(KeyRingError::NotNow)?;
                Ok(Arc::clone(&known.document))
            }
        }
    }

    /// The keys in the store, in the order in which they sign.
    ///
    /// # Errors
    ///
    /// When they cannot be read, or are not in the store.
    pub async fn key_ring(&self) -> Result<Vec<KeyStatus>, KeyRingError> {
        self.change_keys(|_, _, ring, now| Ok((None, ring.status(now)))).await
    }

    /// Announces a new key, which signs as soon as everybody can know it
    /// ([`KeyRotation::announce_before`](crate::token::keys::KeyRotation::announce_before)). If one is announced
    /// already, that one is the answer, so to give the command twice does no harm. All keys are sealed with the newest
    /// secret.
    ///
    /// # Errors
    ///
    /// When the keys cannot be read or written, are not in the store, or are too many already. After an error of the
    /// store the key may have been announced all the same.
    pub async fn rotate_keys(&self) -> Result<KeyStatus, KeyRingError> {
        let rotated = self.change_keys(|stored, _, ring, now| {
            let next = ring.rotated(&stored.plan, now)?;
            let last = next.as_ref().unwrap_or(ring).status(now).pop();
            let announced = last.filter(|last| matches!(last.state, KeyState::Announced { .. }));
            Ok((next, announced.ok_or(KeyRingError::NoRoom)?))
        });
        let result = rotated.await;
        self.audit_keys(
            Action::RotateKeys,
            result.as_ref().ok().map(|key| &*key.kid),
            result.as_ref().err(),
        );
        result
    }

    /// Takes in a key that was made elsewhere, as the next one: it is announced now, and signs as soon as everybody can know it
    /// ([`KeyRotation::announce_before`](crate::token::keys::KeyRotation::announce_before)). So an installation that had a
    /// key of its own goes on with it in the store, and whoever has that key in their JWKS already need not read it again. The
    /// schedule exchanges it later as any other. To give the command twice does no harm.
    ///
    /// Whoever else has the private key can sign tokens of this server, for as long as it is published.
    ///
    /// # Errors
    ///
    /// When the keys cannot be read or written, are not in the store, or are too many already; when another one is announced.
    /// After an error of the store the key may have been taken in all the same.
    pub async fn import_key(&self, key: &SigningKey) -> Result<KeyStatus, KeyRingError> {
        let imported = self.change_keys(|stored, _, ring, now| {
            let find = |ring: &Ring| ring.status(now).into_iter().find(|status| status.kid == key.kid());
            if let Some(known) = find(ring) {
                return Ok((None, known));
            }
            if ring.announces(now) {
                return Err(KeyRingError::AnotherAnnounced);
            }
            let next = ring
                .with_next(key.clone(), &stored.plan, now)
                .ok_or(KeyRingError::NoRoom)?;
            let status = find(&next).ok_or(KeyRingError::NoRoom)?;
            Ok((Some(next), status))
        });
        let result = imported.await;
        self.audit_keys(Action::ImportKey, Some(key.kid()), result.as_ref().err());
        result
    }

    /// Withdraws a key at once, because somebody else may have it. What it has signed is refused: here from now on,
    /// by every other node after [`KEYS_MAXIMUM_AGE`](crate::token::keys::KEYS_MAXIMUM_AGE) at the latest, and by whoever reads the JWKS only, after
    /// [`JWKS_MAXIMUM_AGE`](crate::token::keys::JWKS_MAXIMUM_AGE) more. If it was the one that signs, the announced
    /// one takes its place at once, or else a new one; clients get new tokens with their refresh tokens.
    ///
    /// Whoever has got hold of the store and of the sealing secret has all keys in it: withdraw each of them, and
    /// exchange the secret. A store that loses what it has acknowledged, such as a replica that takes over too early,
    /// or a backup that is restored, brings the key back: look at [`key_ring`](Self::key_ring) then.
    ///
    /// # Errors
    ///
    /// When the keys cannot be read or written, are not in the store, or this one is not among them. After an error
    /// of the store, do it again until that says that there is no such key.
    pub async fn withdraw_key(&self, kid: &str) -> Result<(), KeyRingError> {
        let withdrawn = self.change_keys(|stored, _, ring, now| {
            let next = ring.withdrawn(kid, &stored.plan, now)?;
            let next = next.ok_or_else(|| KeyRingError::UnknownKey(kid.to_owned()))?;
            let made = next.made_since(ring).map(str::to_owned);
            Ok((Some(next), made))
        });
        let result = withdrawn.await;
        self.audit_keys(Action::WithdrawKey, Some(kid), result.as_ref().err());
        if let Some(made) = result? {
            self.audit_keys(Action::RotateKeys, Some(&made), None);
        }
        Ok(())
    }

    /// Seals the keys with the newest secret, so that an older one can be taken away. Returns whether that was
    /// needed.
    ///
    /// # Errors
    ///
    /// When the keys cannot be read or written, or are not in the store.
    pub async fn reseal_keys(&self) -> Result<bool, KeyRingError> {
        self.change_keys(|stored, record, ring, _| {
            let needed = record.needs_resealing(&stored.sealing);
            Ok((needed.then(|| ring.clone()), needed))
        })
        .await
    }

    async fn change_keys<T>(
        &self,
        decide: impl Fn(&StoredKeys, &SealedRing, &Ring, UnixTime) -> Result<(Option<Ring>, T), KeyRingError>,
    ) -> Result<T, KeyRingError> {
        let stored = self.0.keys.stored()?;
        // Whoever changes keys does not have to think of there being none.
        self.prepare_keys().await?;
        stored
            .change(|record, ring, now| decide(stored, record, ring, now))
            .await
    }

    async fn read_keys(&self, why: Reading) -> Result<(), KeyRingError> {
        let Keys::Stored(keys) = &self.0.keys else {
            return Ok(());
        };
        if let Some(made) = keys.read(why).await? {
            self.audit_keys(Action::RotateKeys, Some(&made), None);
        }
        Ok(())
    }

    /// Reads the keys for a token that could not be verified from memory, and verifies it then.
    pub(in crate::server) async fn verify_with_current_keys<T>(
        &self,
        why: Reading,
        verify: impl FnOnce(&TokenVerifier) -> Result<T, TokenRefused>,
    ) -> Result<Result<T, TokenRefused>, KeyRingError> {
        match &self.0.keys {
            Keys::Given(keys) => Ok(verify(&keys.verifier)),
            Keys::Stored(keys) => {
                self.read_keys(why).await?;
                let (known, _) = keys.known(self.now()).ok_or(KeyRingError::NotNow)?;
                Ok(verify(&known.verifier))
            }
        }
    }

    /// The claims of an access token of this server that is good at the moment, for whatever resource.
    pub(in crate::server) async fn own_claims(&self, token: &str) -> Result<Option<AccessTokenClaims>, KeyRingError> {
        let now = self.now();
        let verify = |verifier: &TokenVerifier| verifier.verify_own(token, now);
        match self.0.keys.verify(token, now, verify) {
            Err(_) => Ok(None),
            Ok(Verdict::Known(claims)) => Ok(Some(claims)),
            Ok(Verdict::Ask(why)) => Ok(self.verify_with_current_keys(why, verify).await?.ok()),
        }
    }

    fn audit_keys(&self, action: Action, kid: Option<&str>, error: Option<&KeyRingError>) {
        let error = error.map(|error| OAuthError::new(ErrorCode::TemporarilyUnavailable, error.to_string()));
        let event = Event::new(action, &Origin::unknown()).with_key(kid);
        self.audit(event.ended(error.as_ref()));
    }
}
