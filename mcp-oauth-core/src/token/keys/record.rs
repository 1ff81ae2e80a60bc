//! The record that the keys are kept in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::algorithm::{Algorithm, KeyError};
use super::pair::SigningKey;
use super::ring::{Ring, RingKey};
use super::rotation::MAXIMUM_KEYS;
use super::sealing::KeySealing;
use crate::clock::UnixTime;

/// Why the keys in the store cannot be read. Nothing is overwritten; each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnreadableKeyRing {
    /// They are another server's.
    #[error(
        "the signing keys in the store belong to another issuer ({0}): give this server a store, or a prefix in it, of \
         its own"
    )]
    OtherIssuer(String),
    /// This process has not the secret that they are sealed with.
    #[error(
        "the signing keys in the store are sealed with a secret that this server was not given: give it as one that \
         also opens (KeySealing::also_open_with); if it is lost, remove the record, which ends all access tokens"
    )]
    UnknownSecret,
    /// Something is not as it was written.
    #[error(
        "the signing keys in the store are damaged ({0}): restore the record from a backup, or remove it to begin with \
         new keys, which ends all access tokens"
    )]
    Damaged(String),
}

/// A key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SealedKey {
    kid: String,
    algorithm: Algorithm,
    created_at: UnixTime,
    signs_from: UnixTime,
    /// In seconds.
    token_lifetime: u64,
    /// The private key.
    sealed: String,
}

impl SealedKey {
    fn open(&self, sealing: &KeySealing, issuer: &str, sealed_with: &str) -> Result<RingKey, UnreadableKeyRing> {
        let context = context(issuer, self);
        let pkcs8 = sealing
            .open(sealed_with, &context.each_ref().map(String::as_str), &self.sealed)
            .ok_or(UnreadableKeyRing::Damaged("a key cannot be opened".to_owned()))?;
        let key = SigningKey::from_pkcs8(self.algorithm, &pkcs8)
            .map_err(|_| UnreadableKeyRing::Damaged("what was sealed is no key".to_owned()))?;
        if key.kid() != self.kid {
            return Err(UnreadableKeyRing::Damaged("a key has another name".to_owned()));
        }
        Ok(RingKey {
            key,
            created_at: self.created_at,
            signs_from: self.signs_from,
            token_lifetime: Duration::from_secs(self.token_lifetime),
        })
    }
}

/// All that is said of a key beside the key itself. It is sealed along, so that nobody who can write to the store can
/// have one key stand in for another, or sign at another time.
fn context(issuer: &str, key: &SealedKey) -> [String; 6] {
    [
        issuer.to_owned(),
        key.kid.clone(),
        key.algorithm.as_str().to_owned(),
        key.created_at.as_seconds().to_string(),
        key.signs_from.as_seconds().to_string(),
        key.token_lifetime.to_string(),
    ]
}

/// The ring as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SealedRing {
    issuer: String,
    /// Names the secret; does not lead to it.
    sealed_with: String,
    keys: Vec<SealedKey>,
}

impl SealedRing {
    /// Seals all keys with the newest secret.
    pub(crate) fn seal(ring: &Ring, sealing: &KeySealing, issuer: &str) -> Result<Self, KeyError> {
        let seal = |key: &RingKey| {
            let mut sealed = SealedKey {
                kid: key.key.kid().to_owned(),
                algorithm: key.key.algorithm(),
                created_at: key.created_at,
                signs_from: key.signs_from,
                token_lifetime: key.token_lifetime.as_secs(),
                sealed: String::new(),
            };
            let context = context(issuer, &sealed);
            sealed.sealed = sealing.seal(&context.each_ref().map(String::as_str), &key.key.to_pkcs8()?)?;
            Ok(sealed)
        };
        Ok(Self {
            issuer: issuer.to_owned(),
            sealed_with: sealing.newest().to_owned(),
            keys: ring.keys.iter().map(seal).collect::<Result<_, KeyError>>()?,
        })
    }

    /// Whether another secret than the newest sealed it.
    pub(crate) fn needs_resealing(&self, sealing: &KeySealing) -> bool {
        self.sealed_with != sealing.newest()
    }

    /// Opens all keys, or none.
    pub(crate) fn open(&self, sealing: &KeySealing, issuer: &str) -> Result<Ring, UnreadableKeyRing> {
        if self.issuer != issuer {
            return Err(UnreadableKeyRing::OtherIssuer(self.issuer.clone()));
        }
        if !sealing.knows(&self.sealed_with) {
            return Err(UnreadableKeyRing::UnknownSecret);
        }
        if self.keys.is_empty() || self.keys.len() > MAXIMUM_KEYS {
            return Err(UnreadableKeyRing::Damaged("there are no keys, or too many".to_owned()));
        }
        if !self.keys.is_sorted_by_key(|key| key.signs_from) {
            return Err(UnreadableKeyRing::Damaged("the keys are out of order".to_owned()));
        }
        let open = |key: &SealedKey| key.open(sealing, issuer, &self.sealed_with);
        Ok(Ring {
            keys: self.keys.iter().map(open).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::secret::Secret;
    use crate::token::keys::ring::KeyPlan;
    use crate::token::keys::rotation::KeyRotation;

    const ISSUER: &str = "https://auth.example";

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(1_790_000_000 + seconds)
    }

    fn plan() -> KeyPlan {
        KeyPlan {
            rotation: KeyRotation::default(),
            algorithm: Algorithm::EdDsa,
            token_lifetime: Duration::from_secs(3600),
        }
    }

    fn sealing() -> KeySealing {
        KeySealing::new(&Secret::random()).unwrap()
    }

    fn with_two() -> Ring {
        let ring = Ring::begin(&plan(), at(0)).unwrap();
        ring.rotated(&plan(), at(1)).unwrap().unwrap()
    }

    #[test]
    fn a_ring_survives_storage() {
        for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
            let sealing = sealing();
            let plan = KeyPlan { algorithm, ..plan() };
            let ring = Ring::begin(&plan, at(0)).unwrap();
            let stored = serde_json::to_string(&SealedRing::seal(&ring, &sealing, ISSUER).unwrap()).unwrap();
            let read: SealedRing = serde_json::from_str(&stored).unwrap();
            let opened = read.open(&sealing, ISSUER).unwrap();
            assert_eq!(opened.status(at(0)), ring.status(at(0)));
        }
    }

    #[test]
    fn a_ring_with_all_keys_that_there_may_be_is_read_and_a_larger_one_is_not() {
        let (sealing, mut plan) = (sealing(), plan());
        plan.token_lifetime = Duration::from_secs(1000 * 24 * 3600);
        let mut ring = Ring::begin(&plan, at(0)).unwrap();
        for day in 1..100 {
            ring = ring.rotated(&plan, at(day * 24 * 3600)).unwrap().unwrap_or(ring);
        }
        assert_eq!(ring.keys.len(), MAXIMUM_KEYS);
        let mut stored = SealedRing::seal(&ring, &sealing, ISSUER).unwrap();
        assert_eq!(stored.open(&sealing, ISSUER).unwrap().keys.len(), MAXIMUM_KEYS);
        stored.keys.push(stored.keys[MAXIMUM_KEYS - 1].clone());
        let refused = stored.open(&sealing, ISSUER);
        assert!(matches!(refused, Err(UnreadableKeyRing::Damaged(_))));
    }

    #[test]
    fn nothing_of_a_private_key_is_readable_in_the_record() {
        let ring = Ring::begin(&plan(), at(0)).unwrap();
        let stored = serde_json::to_string(&SealedRing::seal(&ring, &sealing(), ISSUER).unwrap()).unwrap();
        let pkcs8 = ring.keys[0].key.to_pkcs8().unwrap();
        // The seed of an Ed25519 key is the last 32 bytes (RFC 8410 §7).
        let seed = &pkcs8[pkcs8.len() - 32..];
        for readable in [
            crate::secret::Secret::encode(seed).expose(),
            crate::secret::Secret::encode(&pkcs8).expose(),
        ] {
            assert!(!stored.contains(&readable[..readable.len() - 4]));
        }
    }

    #[test]
    fn a_ring_opens_with_an_older_secret_and_is_sealed_with_the_newest() {
        let (old, new) = (Secret::random(), Secret::random());
        let before = KeySealing::new(&old).unwrap();
        let both = KeySealing::new(&new).unwrap().also_open_with(&old).unwrap();
        let after = KeySealing::new(&new).unwrap();
        let ring = Ring::begin(&plan(), at(0)).unwrap();
        let stored = SealedRing::seal(&ring, &before, ISSUER).unwrap();
        assert!(stored.needs_resealing(&both));
        let opened = stored.open(&both, ISSUER).unwrap();
        let resealed = SealedRing::seal(&opened, &both, ISSUER).unwrap();
        assert!(!resealed.needs_resealing(&both));
        assert!(resealed.open(&after, ISSUER).is_ok());
        assert_eq!(
            stored.open(&after, ISSUER).unwrap_err(),
            UnreadableKeyRing::UnknownSecret
        );
        assert_eq!(
            resealed.open(&before, ISSUER).unwrap_err(),
            UnreadableKeyRing::UnknownSecret
        );
    }

    #[test]
    fn a_record_cannot_stand_in_for_that_of_another_issuer() {
        let sealing = sealing();
        let ring = Ring::begin(&plan(), at(0)).unwrap();
        let mut stored = SealedRing::seal(&ring, &sealing, ISSUER).unwrap();
        let other = "https://other.example";
        assert!(matches!(stored.open(&sealing, other), Err(UnreadableKeyRing::OtherIssuer(named)) if named == ISSUER));
        other.clone_into(&mut stored.issuer);
        assert!(matches!(
            stored.open(&sealing, other),
            Err(UnreadableKeyRing::Damaged(_))
        ));
    }

    #[test]
    fn whatever_is_changed_in_a_record_makes_it_unreadable() {
        let sealing = sealing();
        let ring = with_two();
        let stored = serde_json::to_value(SealedRing::seal(&ring, &sealing, ISSUER).unwrap()).unwrap();
        let another = SealedRing::seal(&with_two(), &sealing, ISSUER).unwrap();
        let another = serde_json::to_value(another).unwrap();
        let changes: [(&str, Value); 8] = [
            ("/keys/0/kid", stored["keys"][1]["kid"].clone()),
            ("/keys/0/algorithm", json!("ES256")),
            ("/keys/0/created_at", json!(1)),
            ("/keys/0/signs_from", json!(1)),
            ("/keys/0/token_lifetime", json!(1)),
            ("/keys/0/sealed", stored["keys"][1]["sealed"].clone()),
            ("/keys/0/sealed", another["keys"][0]["sealed"].clone()),
            ("/keys", json!([])),
        ];
        for (pointer, value) in changes {
            let mut tampered = stored.clone();
            *tampered.pointer_mut(pointer).unwrap() = value;
            let read: SealedRing = serde_json::from_value(tampered).unwrap();
            let refused = read.open(&sealing, ISSUER);
            assert!(matches!(refused, Err(UnreadableKeyRing::Damaged(_))), "{pointer}");
        }
        let mut swapped = stored.clone();
        swapped["keys"].as_array_mut().unwrap().reverse();
        let read: SealedRing = serde_json::from_value(swapped).unwrap();
        assert!(read.open(&sealing, ISSUER).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn of_a_record_with_a_changed_byte_nothing_else_is_read_than_was_written(position in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let sealing = KeySealing::new(&"yTbDSpVfX7Ak3zL8cUhMdQnYrGxKo1WeJtvBiP0sZm4=".into()).unwrap();
            let ring = with_two();
            let mut stored = serde_json::to_vec(&SealedRing::seal(&ring, &sealing, ISSUER).unwrap()).unwrap();
            let position = position.index(stored.len());
            stored[position] = byte;
            if let Ok(read) = serde_json::from_slice::<SealedRing>(&stored)
                && let Ok(opened) = read.open(&sealing, ISSUER)
            {
                prop_assert_eq!(opened.status(at(0)), ring.status(at(0)));
            }
        }

        #[test]
        fn reading_a_foreign_record_never_panics(kid in ".{0,50}", secret in ".{0,20}", sealed in "[A-Za-z0-9_=-]{0,200}", times in any::<[u64; 3]>()) {
            let sealing = sealing();
            for sealed_with in [secret.as_str(), sealing.newest()] {
                let record = json!({"issuer": ISSUER, "sealed_with": sealed_with, "keys": [{"kid": kid, "algorithm": "EdDSA",
                    "created_at": times[0], "signs_from": times[1], "token_lifetime": times[2], "sealed": sealed}]});
                let read: SealedRing = serde_json::from_value(record).unwrap();
                prop_assert!(read.open(&sealing, ISSUER).is_err());
            }
        }
    }
}
