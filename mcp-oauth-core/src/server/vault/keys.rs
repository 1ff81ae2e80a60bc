//! The keys that tokens are sealed with: in the store, sealed themselves, and exchanged by themselves.
//!
//! A key seals for [`ROTATION`]; the first node that finds it older makes the next one, by a compare-and-set. An old key
//! opens for as long as any grant can have something that it sealed: a grant that is used has its tokens sealed anew, and
//! one that is not is gone after the lifetime of its refresh token.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::VaultError;
use crate::clock::UnixTime;
use crate::issuer::Issuer;
use crate::secret::Secret;
use crate::store::{self, Key, Kind, Store};
use crate::token::keys::KeySealing;

/// For how long a key seals.
pub(super) const ROTATION: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// After this time a process reads the keys again before it seals.
const MAXIMUM_AGE: Duration = Duration::from_secs(60);

/// For a key that is not known the store is asked this often at most.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(2);

/// How much longer than anything that it sealed a key is kept.
const MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a change begins anew when another node was faster.
const MAXIMUM_ROUNDS: usize = 10;

/// The record.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SealedRing {
    /// The name of the operator's secret.
    sealed_with: String,
    /// The newest comes last.
    keys: Vec<SealedKey>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SealedKey {
    id: String,
    made_at: UnixTime,
    sealed: String,
}

#[derive(Clone)]
struct VaultKey {
    made_at: UnixTime,
    secret: Secret,
    /// The same, as what seals. Its name is that of the key.
    sealing: KeySealing,
}

impl VaultKey {
    fn new(secret: Secret, made_at: UnixTime) -> Result<Self, VaultError> {
        let sealing = KeySealing::new(&secret).map_err(|_| VaultError::Damaged)?;
        Ok(Self {
            made_at,
            secret,
            sealing,
        })
    }

    fn id(&self) -> &str {
        self.sealing.newest()
    }
}

#[derive(Default)]
struct Known {
    keys: Vec<VaultKey>,
    read_at: Option<UnixTime>,
}

/// The keys of one server.
pub(super) struct VaultKeys {
    sealing: KeySealing,
    issuer: Issuer,
    /// How long a grant can lie unused.
    unused_grant: Duration,
    known: Mutex<Known>,
}

impl VaultKeys {
    pub(super) fn new(sealing: KeySealing, issuer: Issuer, unused_grant: Duration) -> Self {
        Self {
            sealing,
            issuer,
            unused_grant,
            known: Mutex::default(),
        }
    }

    /// Has a key at hand to seal with in the next moments, so that nothing can fail then.
    pub(super) async fn get_ready(&self, store: &dyn Store, now: UnixTime) -> Result<(), VaultError> {
        self.newest(store, now).await.map(drop)
    }

    /// Seals with the newest key, and says which that is.
    pub(super) async fn seal(
        &self,
        store: &dyn Store,
        now: UnixTime,
        context: &[&str],
        plain: &[u8],
    ) -> Result<(String, String), VaultError> {
        let key = self.newest(store, now).await?;
        let sealed = key.sealing.seal(context, plain).map_err(|_| VaultError::Cryptography)?;
        Ok((key.id().to_owned(), sealed))
    }

    /// Opens what the key of that name has sealed.
    pub(super) async fn open(
        &self,
        store: &dyn Store,
        now: UnixTime,
        id: &str,
        context: &[&str],
        sealed: &str,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, VaultError> {
        let key = match self.find(id) {
            Some(key) => key,
            None if self.was_read_within(UNKNOWN_KEY_INTERVAL, now) => return Err(VaultError::UnknownKey),
            None => {
                self.read(store, now).await?;
                self.find(id).ok_or(VaultError::UnknownKey)?
            }
        };
        key.sealing.open(id, context, sealed).ok_or(VaultError::Damaged)
    }

    /// Whether that is the key that seals now, as far as this process knows.
    pub(super) fn is_newest(&self, id: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.keys.last().is_none_or(|key| key.id() == id)
    }

    async fn newest(&self, store: &dyn Store, now: UnixTime) -> Result<VaultKey, VaultError> {
        if self.was_read_within(MAXIMUM_AGE, now)
            && let Some(key) = self.newest_known().filter(|key| !is_due(key, now))
        {
            return Ok(key);
        }
        for _ in 0..MAXIMUM_ROUNDS {
            let loaded = self.read(store, now).await?;
            if let Some(key) = self.newest_known().filter(|key| !is_due(key, now)) {
                return Ok(key);
            }
            let mut keys = self.still_needed(now);
            keys.push(VaultKey::new(Secret::random(), now)?);
            let ring = self.sealed(&keys)?;
            let stored = match &loaded {
                Some(loaded) => store::replace(store, &self.key(), loaded, &ring, None).await?,
                None => store::insert(store, &self.key(), &ring, None).await?,
            };
            if stored {
                tracing::info!("a new key for the tokens of identity providers was made");
                self.keep(keys, now);
            }
        }
        self.newest_known().ok_or(VaultError::Contended)
    }

    /// Reads the record, and seals it anew if it is sealed with a secret that the operator is about to take away.
    async fn read(&self, store: &dyn Store, now: UnixTime) -> Result<Option<store::Loaded<SealedRing>>, VaultError> {
        let Some(loaded) = store::load::<SealedRing>(store, &self.key()).await? else {
            self.keep(Vec::new(), now);
            return Ok(None);
        };
        let ring = &loaded.record;
        if !self.sealing.knows(&ring.sealed_with) {
            return Err(VaultError::UnknownSecret);
        }
        let keys = ring.keys.iter().map(|key| self.opened(&ring.sealed_with, key));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        if ring.sealed_with != self.sealing.newest() {
            let ring = self.sealed(&keys)?;
            store::replace(store, &self.key(), &loaded, &ring, None).await?;
            self.keep(keys, now);
            return Ok(store::load(store, &self.key()).await?);
        }
        self.keep(keys, now);
        Ok(Some(loaded))
    }

    fn opened(&self, sealed_with: &str, key: &SealedKey) -> Result<VaultKey, VaultError> {
        let made_at = key.made_at.as_seconds().to_string();
        let context = self.context(&key.id, &made_at);
        let secret = self
            .sealing
            .open(sealed_with, &context, &key.sealed)
            .ok_or(VaultError::Damaged)?;
        let secret = std::str::from_utf8(&secret).map_err(|_| VaultError::Damaged)?;
        let opened = VaultKey::new(Secret::from(secret), key.made_at)?;
        if opened.id() == key.id {
            Ok(opened)
        } else {
            Err(VaultError::Damaged)
        }
    }

    fn sealed(&self, keys: &[VaultKey]) -> Result<SealedRing, VaultError> {
        let sealed = keys.iter().map(|key| {
            let made_at = key.made_at.as_seconds().to_string();
            let sealed = self
                .sealing
                .seal(&self.context(key.id(), &made_at), key.secret.expose().as_bytes());
            Ok(SealedKey {
                id: key.id().to_owned(),
                made_at: key.made_at,
                sealed: sealed.map_err(|_| VaultError::Cryptography)?,
            })
        });
        Ok(SealedRing {
            sealed_with: self.sealing.newest().to_owned(),
            keys: sealed.collect::<Result<_, VaultError>>()?,
        })
    }

    /// What is said of a key is sealed along.
    fn context<'a>(&'a self, id: &'a str, made_at: &'a str) -> [&'a str; 4] {
        ["vault key", self.issuer.as_str(), id, made_at]
    }

    /// The keys that there may still be something of: those that were replaced not so long ago.
    fn still_needed(&self, now: UnixTime) -> Vec<VaultKey> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced_at = known.keys.iter().skip(1).map(|next| next.made_at).chain([now]);
        let needed = |at: UnixTime| now.since(at) <= self.unused_grant + MARGIN;
        let with_times = known.keys.iter().zip(replaced_at);
        with_times
            .filter(|(_, at)| needed(*at))
            .map(|(key, _)| key.clone())
            .collect()
    }

    fn keep(&self, keys: Vec<VaultKey>, now: UnixTime) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Known {
            keys,
            read_at: Some(now),
        };
    }

    fn find(&self, id: &str) -> Option<VaultKey> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.keys.iter().find(|key| key.id() == id).cloned()
    }

    fn newest_known(&self) -> Option<VaultKey> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.keys.last().cloned()
    }

    fn was_read_within(&self, age: Duration, now: UnixTime) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.read_at.is_some_and(|at| at <= now && now.since(at) < age)
    }

    /// No issuer, and so no ring of signing keys, is called so.
    fn key(&self) -> Key {
        Key::new(Kind::Keys, format!("vault:{}", self.issuer))
    }
}

fn is_due(key: &VaultKey, now: UnixTime) -> bool {
    now.since(key.made_at) >= ROTATION
}
