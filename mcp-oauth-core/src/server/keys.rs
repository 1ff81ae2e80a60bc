//! Signing keys that all nodes share: read from the store, exchanged there, and withdrawn.
//!
//! The keys are one record, sealed with a secret of the operator. Each process keeps what it has read and relies on
//! it for [`KEYS_MAXIMUM_AGE`]; after that the next request that needs them reads the record again, one request at a
//! time. Whoever reads also does what the schedule asks for, by a compare-and-set: of many nodes that find that the
//! next key is due, one creates it and the others take it over. So nothing has to run in the background.
//!
//! | what | when it is known everywhere |
//! |---|---|
//! | the next key | at least [`KeyRotation::announce_before`] before it signs |
//! | a key that this process has not seen yet | at once: its first token has the record read, though at most every 2 seconds |
//! | a key that was withdrawn | after [`KEYS_MAXIMUM_AGE`], 10 seconds; after [`JWKS_MAXIMUM_AGE`] more where only the JWKS is read |
//!
//! To make a key takes no time, save for RSA, which takes up to a few seconds of one thread: once in 90 days. Every key
//! that is made or withdrawn is an [event](crate::audit).
//!
//! A token that was signed with a known key opens what it opens from memory. Without the store, what was read less
//! than 10 seconds ago still counts; after that nobody can say whether a token is good, which is `503`.
//!
//! ```
//! use mcp_oauth_core::secret::Secret;
//! use mcp_oauth_core::server::AuthorizationServer;
//! use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
//! use mcp_oauth_core::server::keys::KeyRingError;
//! use mcp_oauth_core::token::keys::{KeyRotation, KeySealing, WeakSealingSecret};
//!
//! fn with_keys(
//!     builder: AuthorizationServerBuilder,
//!     secret: &Secret,
//! ) -> Result<AuthorizationServerBuilder, WeakSealingSecret> {
//!     Ok(builder.stored_keys(KeySealing::new(secret)?, KeyRotation::default()))
//! }
//!
//! /// A key has leaked.
//! async fn emergency(server: &AuthorizationServer, kid: &str) -> Result<(), KeyRingError> {
//!     server.withdraw_key(kid).await?;
//!     for key in server.key_ring().await? {
//!         println!("{} {:?}", key.kid, key.state);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! [`KeyRotation::announce_before`]: crate::token::keys::KeyRotation::announce_before
//! [`JWKS_MAXIMUM_AGE`]: crate::token::keys::JWKS_MAXIMUM_AGE

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::lock::Mutex;
use serde::Serialize;

use crate::clock::{Clock, UnixTime};
use crate::error::{ErrorCode, OAuthError};
use crate::issuer::Issuer;
use crate::secret::Secret;
use crate::store::{self, Key, Kind, Loaded, Store, StoreError};
use crate::token::claims::AccessTokenClaims;
use crate::token::keys::record::SealedRing;
use crate::token::keys::ring::{KeyPlan, Ring};
use crate::token::keys::{
    Algorithm, KEYS_MAXIMUM_AGE, KeyError, KeySealing, KeySet, KeySetDocument, PublicKeys, SigningKey,
    UnreadableKeyRing,
};
use crate::token::verify::{TokenRefused, TokenVerifier};

mod commands;

/// For tokens with a `kid` that is not known the store is asked this often at most, however many of them come.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(2);

/// The `typ` of an access token (RFC 9068 §2.1).
const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// How often a change begins anew when it finds that another node was faster. Each of them would have had to change
/// the keys, which nodes do once in 90 days.
const MAXIMUM_ROUNDS: usize = 10;

/// Why the signing keys cannot be read or changed. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// The store does not answer.
    #[error(transparent)]
    Store(StoreError),
    /// The record is none of ours, or damaged. It was not touched.
    #[error(transparent)]
    Unreadable(#[from] UnreadableKeyRing),
    /// The cryptographic library fails.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Another request has just found that they cannot be read, and said why.
    #[error("the signing keys could not be read a moment ago: the log says why")]
    NotNow,
    /// Others kept changing the keys.
    #[error("the signing keys are being changed by too many at the same time: try again")]
    Contended,
    /// This server was given its keys.
    #[error("the signing keys are not in the store: exchange them where they come from, or use stored_keys")]
    NotStored,
    /// A key that does not sign yet is there already.
    #[error(
        "another signing key is announced already: wait until it signs, or withdraw it, and then bring in the one from \
         elsewhere"
    )]
    AnotherAnnounced,
    /// There is no such key.
    #[error("there is no signing key {0} in the store: it was withdrawn or has expired, or its name is another")]
    UnknownKey(String),
    /// So many keys are published that there is no room for another.
    #[error("too many signing keys are still published: wait until one has expired, or withdraw one")]
    NoRoom,
}

impl From<StoreError> for KeyRingError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unreadable { reason, .. } => Self::Unreadable(UnreadableKeyRing::Damaged(reason)),
            error => Self::Store(error),
        }
    }
}

/// Keys that cannot be read are never the client's fault.
impl From<KeyRingError> for OAuthError {
    fn from(error: KeyRingError) -> Self {
        if let KeyRingError::Store(error) = error {
            return error.into();
        }
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the signing keys cannot be read"
        );
        Self::new(
            ErrorCode::TemporarilyUnavailable,
            "the server cannot read its signing keys, try again in a moment",
        )
    }
}

/// Where the keys of a server are.
pub(super) enum Keys {
    Given(Box<GivenKeys>),
    Stored(Box<StoredKeys>),
}

/// Keys that do not change while the process runs.
pub(super) struct GivenKeys {
    signing: SigningKey,
    verifier: TokenVerifier,
    document: Arc<KeySetDocument>,
}

/// What was read from the store.
struct Known {
    record: SealedRing,
    ring: Ring,
    verifier: TokenVerifier,
    document: Arc<KeySetDocument>,
}

#[derive(Default)]
struct Knowledge {
    known: Option<Arc<Known>>,
    /// From when on and until when it may be relied on.
    fresh: Option<(UnixTime, UnixTime)>,
    /// When it was read, by [`Clock::elapsed`], which nobody sets.
    read_at: Duration,
}

/// Keys in the store.
pub(super) struct StoredKeys {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) issuer: Issuer,
    pub(super) sealing: KeySealing,
    pub(super) plan: KeyPlan,
    /// Keys that were handed in besides: they are published, and do not sign.
    pub(super) published: PublicKeys,
    pub(super) state: State,
}

#[derive(Default)]
pub(super) struct State {
    knowledge: RwLock<Knowledge>,
    /// Held by the one request that reads or changes the record.
    turn: Mutex<()>,
    /// How many readings are over, so that whoever waited for its turn knows that it need not read.
    readings: AtomicU64,
    /// Whether the last one failed.
    failed: AtomicBool,
    /// When a key was last looked for that was not known, in seconds; 0 for never.
    looked_at: AtomicU64,
}

/// What was found in the store.
enum Found {
    Ring(Box<Loaded<SealedRing>>, Ring),
    /// No record; there is one now, perhaps with a key that was made here.
    Nothing {
        made: Option<String>,
    },
}

/// Why the record is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// What is known is too old.
    Stale,
    /// A token names a key that is not known.
    UnknownKey,
}

/// What a process can say of a token by itself.
pub(super) enum Verdict<T> {
    Known(T),
    /// The keys have to be read first.
    Ask(Reading),
}

impl Keys {
    pub(super) fn given(issuer: &Issuer, keys: &KeySet) -> Result<Self, KeyError> {
        Ok(Self::Given(Box::new(GivenKeys {
            signing: keys.signing().clone(),
            verifier: TokenVerifier::new(issuer, &keys.public()),
            document: document(keys.public())?,
        })))
    }

    /// Verifies a token as `verify` does, from memory.
    pub(super) fn verify<T>(
        &self,
        token: &str,
        now: UnixTime,
        verify: impl FnOnce(&TokenVerifier) -> Result<T, TokenRefused>,
    ) -> Result<Verdict<T>, TokenRefused> {
        match self {
            Self::Given(keys) => verify(&keys.verifier).map(Verdict::Known),
            Self::Stored(keys) => keys.verify(token, now, verify),
        }
    }

    /// Whether a key of this name is known to be one of ours; not where they have to be read first.
    pub(super) fn rely_on(&self, kid: &str, now: UnixTime) -> bool {
        match self {
            Self::Given(keys) => keys.verifier.knows(kid),
            Self::Stored(keys) => keys
                .known(now)
                .is_some_and(|(known, fresh)| fresh && known.verifier.knows(kid)),
        }
    }

    pub(super) fn sign(&self, claims: &AccessTokenClaims, now: UnixTime) -> Result<Secret, KeyError> {
        self.sign_jwt(ACCESS_TOKEN_TYPE, claims, now)
    }

    /// Signs a JWT of another kind, which `typ` keeps apart from access tokens.
    pub(super) fn sign_jwt(
        &self,
        typ: &'static str,
        claims: &impl Serialize,
        now: UnixTime,
    ) -> Result<Secret, KeyError> {
        match self {
            Self::Given(keys) => keys.signing.sign_jwt(typ, claims),
            Self::Stored(keys) => {
                let (known, _) = keys.known(now).ok_or(KeyError("read a key"))?;
                known.ring.signing(now).sign_jwt(typ, claims)
            }
        }
    }

    /// What the keys that are known are for; what new ones would be for as long as none are.
    pub(super) fn algorithms(&self, now: UnixTime) -> Vec<Algorithm> {
        let document = match self {
            Self::Given(keys) => Arc::clone(&keys.document),
            Self::Stored(keys) => match keys.known(now) {
                Some((known, _)) => Arc::clone(&known.document),
                None => return vec![keys.plan.algorithm],
            },
        };
        let mut algorithms = Vec::new();
        for key in &document.keys().keys {
            if !algorithms.contains(&key.alg) {
                algorithms.push(key.alg);
            }
        }
        algorithms
    }

    fn stored(&self) -> Result<&StoredKeys, KeyRingError> {
        match self {
            Self::Given(_) => Err(KeyRingError::NotStored),
            Self::Stored(keys) => Ok(keys),
        }
    }
}

fn document(keys: PublicKeys) -> Result<Arc<KeySetDocument>, KeyError> {
    KeySetDocument::new(keys)
        .map(Arc::new)
        .map_err(|_| KeyError("write a key set"))
}

impl StoredKeys {
    fn key(&self) -> Key {
        Key::new(Kind::Keys, self.issuer.as_str())
    }

    /// What is known, and whether it may be relied on.
    fn known(&self, now: UnixTime) -> Option<(Arc<Known>, bool)> {
        // Nothing is left half done under this lock: all of it is replaced at once.
        let knowledge = self.state.knowledge.read().unwrap_or_else(PoisonError::into_inner);
        let known = knowledge.known.as_ref()?;
        // A clock that was set back makes what was read later look older than it is, never fresher.
        let fresh = knowledge.fresh.is_some_and(|(from, until)| from <= now && now < until)
            && self
                .clock
                .elapsed()
                .checked_sub(knowledge.read_at)
                .is_some_and(|age| age < KEYS_MAXIMUM_AGE);
        Some((Arc::clone(known), fresh))
    }

    fn verify<T>(
        &self,
        token: &str,
        now: UnixTime,
        verify: impl FnOnce(&TokenVerifier) -> Result<T, TokenRefused>,
    ) -> Result<Verdict<T>, TokenRefused> {
        let named = || TokenVerifier::key_named_by(token);
        let Some((known, fresh)) = self.known(now) else {
            return named()
                .map(|_| Verdict::Ask(Reading::UnknownKey))
                .ok_or(TokenRefused::Signature);
        };
        match verify(&known.verifier) {
            Ok(verified) if fresh => Ok(Verdict::Known(verified)),
            Ok(_) => Ok(Verdict::Ask(Reading::Stale)),
            Err(TokenRefused::Signature) if named().is_some_and(|kid| !known.verifier.knows(&kid)) => {
                let being_read = self.state.turn.try_lock().is_none();
                if being_read || self.may_look(now) || self.state.failed.load(Ordering::SeqCst) {
                    Ok(Verdict::Ask(Reading::UnknownKey))
                } else {
                    Err(TokenRefused::Signature)
                }
            }
            Err(refused) => Err(refused),
        }
    }

    /// Whether it is long enough ago that an unknown key was looked for.
    fn may_look(&self, now: UnixTime) -> bool {
        let looked_at = UnixTime::from_seconds(self.state.looked_at.load(Ordering::SeqCst));
        now < looked_at || now.since(looked_at) >= UNKNOWN_KEY_INTERVAL
    }

    /// Reads the record, unless somebody else has done it meanwhile or it was done a moment ago. What the schedule
    /// asks for is written along; the answer names the key that this made.
    async fn read(&self, why: Reading) -> Result<Option<String>, KeyRingError> {
        let state = &self.state;
        let is_fresh = |now| self.known(now).is_some_and(|(_, fresh)| fresh);
        if why == Reading::Stale && is_fresh(self.clock.now()) {
            return Ok(None);
        }
        let outcome = || {
            if state.failed.load(Ordering::SeqCst) {
                Err(KeyRingError::NotNow)
            } else {
                Ok(None)
            }
        };
        let readings = state.readings.load(Ordering::SeqCst);
        let _turn = state.turn.lock().await;
        let now = self.clock.now();
        if state.readings.load(Ordering::SeqCst) != readings {
            return outcome();
        }
        match why {
            Reading::Stale if is_fresh(now) => return Ok(None),
            Reading::UnknownKey if !self.may_look(now) => return outcome(),
            Reading::Stale => {}
            Reading::UnknownKey => state.looked_at.store(now.as_seconds(), Ordering::SeqCst),
        }
        let is_first = self.known(now).is_none();
        let result = self.keep_up().await;
        if is_first && result.is_ok() {
            // Every key was unknown, so nothing was looked for in particular.
            state.looked_at.store(0, Ordering::SeqCst);
        }
        state.failed.store(result.is_err(), Ordering::SeqCst);
        state.readings.fetch_add(1, Ordering::SeqCst);
        result
    }

    /// Reads the record, or begins one, and writes what the schedule asks for. What could be read is good even if
    /// that could not be written.
    async fn keep_up(&self) -> Result<Option<String>, KeyRingError> {
        let mut made = None;
        for _ in 0..MAXIMUM_ROUNDS {
            let (now, read_at) = (self.clock.now(), self.clock.elapsed());
            let (loaded, ring) = match self.load(now).await? {
                Found::Ring(loaded, ring) => (*loaded, ring),
                Found::Nothing { made: kid } => {
                    made = kid;
                    continue;
                }
            };
            let written = match ring.upkeep(&self.plan, now) {
                Ok(None) => {
                    self.adopt(loaded.record, ring, now, read_at)?;
                    return Ok(made);
                }
                Ok(Some(next)) => self
                    .replace(&loaded, &next, now, read_at)
                    .await
                    .map(|replaced| (replaced, next)),
                Err(error) => Err(error.into()),
            };
            match written {
                Ok((true, next)) => return Ok(made.or_else(|| next.made_since(&ring).map(str::to_owned))),
                Ok((false, _)) => {}
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the signing keys could not be brought up to date, the present ones go on"
                    );
                    self.adopt(loaded.record, ring, now, read_at)?;
                    return Ok(made);
                }
            }
        }
        Err(KeyRingError::Contended)
    }

    /// Changes the keys as `decide` says; `None` for the ring leaves them as they are.
    async fn change<T>(
        &self,
        decide: impl Fn(&SealedRing, &Ring, UnixTime) -> Result<(Option<Ring>, T), KeyRingError>,
    ) -> Result<T, KeyRingError> {
        let _turn = self.state.turn.lock().await;
        for _ in 0..MAXIMUM_ROUNDS {
            let (now, read_at) = (self.clock.now(), self.clock.elapsed());
            let Found::Ring(loaded, ring) = self.load(now).await? else {
                continue;
            };
            match decide(&loaded.record, &ring, now)? {
                (None, answer) => {
                    self.adopt(loaded.record, ring, now, read_at)?;
                    return Ok(answer);
                }
                (Some(next), answer) => {
                    if self.replace(&loaded, &next, now, read_at).await? {
                        return Ok(answer);
                    }
                }
            }
        }
        Err(KeyRingError::Contended)
    }

    /// The record as it is stored, and opened. If there is none it is begun, and has to be loaded then: of several
    /// processes that begin it, one succeeds.
    async fn load(&self, now: UnixTime) -> Result<Found, KeyRingError> {
        let store = self.store.as_ref();
        if let Some(loaded) = store::load::<SealedRing>(store, &self.key()).await? {
            // To open the keys takes longer than to see that they are the same.
            let ring = match self.known(now) {
                Some((known, _)) if known.record == loaded.record => known.ring.clone(),
                _ => loaded.record.open(&self.sealing, self.issuer.as_str())?,
            };
            return Ok(Found::Ring(Box::new(loaded), ring));
        }
        let ring = Ring::begin(&self.plan, now)?;
        let record = SealedRing::seal(&ring, &self.sealing, self.issuer.as_str())?;
        let inserted = store::insert(store, &self.key(), &record, None).await?;
        Ok(Found::Nothing {
            made: inserted.then(|| ring.signing(now).kid().to_owned()),
        })
    }

    async fn replace(
        &self,
        loaded: &Loaded<SealedRing>,
        next: &Ring,
        now: UnixTime,
        read_at: Duration,
    ) -> Result<bool, KeyRingError> {
        let record = SealedRing::seal(next, &self.sealing, self.issuer.as_str())?;
        let replaced = store::replace(self.store.as_ref(), &self.key(), loaded, &record, None).await?;
        if replaced {
            self.adopt(record, next.clone(), now, read_at)?;
        }
        Ok(replaced)
    }

    /// Relies on this, which began to be read at `read_at`, from now on.
    fn adopt(&self, record: SealedRing, ring: Ring, now: UnixTime, read_at: Duration) -> Result<(), KeyError> {
        let until = now + KEYS_MAXIMUM_AGE;
        let until = ring.changes_at(now).map_or(until, |changes_at| changes_at.min(until));
        let unchanged = self.known(now).filter(|(known, _)| {
            let mut public = ring.published(now);
            public.extend(&self.published);
            known.record == record && *known.document.keys() == public
        });
        let known = if let Some((known, _)) = unchanged {
            known
        } else {
            let mut public = ring.published(now);
            public.extend(&self.published);
            Arc::new(Known {
                verifier: TokenVerifier::new(&self.issuer, &public),
                document: document(public)?,
                record,
                ring,
            })
        };
        *self.state.knowledge.write().unwrap_or_else(PoisonError::into_inner) = Knowledge {
            known: Some(known),
            fresh: Some((now, until)),
            read_at,
        };
        Ok(())
    }
}
