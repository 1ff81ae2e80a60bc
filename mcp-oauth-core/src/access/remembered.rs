//! Tokens that were found good, found again by what they are.
//!
//! This is on the way of every request, and hashing the token is most of what it costs, so the hash is the quickest that
//! nobody can find a second token for. A collision-resistant one, such as SHA-256, would be one of which everybody may know
//! everything. Here nobody else knows the key or ever sees a hash, so it takes no more than a universal one, which the tag of
//! AES-GCM is: with a key of this process, one nonce and nothing encrypted it is GHASH, behind the same mask every time. Two
//! different tokens of 16 KiB or less have the same tag for fewer than one key in 2^117, so a made-up token meets one of
//! those that are remembered with a chance of less than 2^-103.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::AccessToken;
use crate::randomness::{SystemRandomness, random_bytes};
use crate::resource::ResourceUri;

/// At most this many tokens are remembered. One takes about a kilobyte; those that are used least make room.
pub(crate) const MAXIMUM_REMEMBERED: usize = 16 * 1024;

/// Stands for one token at one resource: a hash of the whole token, and something that tells resources apart. That need
/// not be unforgeable, since the resource itself is compared when a token is found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    token: [u8; 16],
    resource: u64,
}

/// Makes [`Fingerprint`]s, which nobody else can.
struct Fingerprints {
    key: LessSafeKey,
    resources: RandomState,
}

impl Fingerprints {
    fn random() -> Self {
        let key = random_bytes::<16>(&SystemRandomness);
        let key = UnboundKey::new(&AES_128_GCM, &key).expect("a key of AES-128 has 16 bytes");
        Self {
            key: LessSafeKey::new(key),
            resources: RandomState::new(),
        }
    }

    fn of(&self, token: &[u8], resource: &ResourceUri) -> Fingerprint {
        // That a nonce must not come twice is for what others see. Nobody sees this, and it has to be the same every time.
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(token), &mut [])
            .expect("no memory holds the 2^61 bytes that would be too many");
        let mut written = [0; 16];
        written.copy_from_slice(tag.as_ref());
        Fingerprint {
            token: written,
            resource: self.resources.hash_one(resource.as_str()),
        }
    }
}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bits = [0; 8];
        bits.copy_from_slice(&self.token[..8]);
        state.write_u64(u64::from_be_bytes(bits));
    }
}

/// Takes the hash's own bits. They are as good as random, and nobody can choose them.
#[derive(Clone, Copy, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, bits: u64) {
        self.0 = bits;
    }
}

impl BuildHasher for AsItIs {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self::default()
    }
}

/// A bounded number of good tokens.
pub(crate) struct RememberedTokens {
    fingerprints: Fingerprints,
    tokens: Cache<Fingerprint, Arc<AccessToken>, UnitWeighter, AsItIs>,
}

impl Default for RememberedTokens {
    fn default() -> Self {
        Self::at_most(MAXIMUM_REMEMBERED)
    }
}

impl RememberedTokens {
    pub(crate) fn at_most(tokens: usize) -> Self {
        let lifecycle = DefaultLifecycle::default();
        Self {
            fingerprints: Fingerprints::random(),
            tokens: Cache::with(tokens, tokens as u64, UnitWeighter, AsItIs::default(), lifecycle),
        }
    }

    /// What stands for a token, or for something that may be one, at a resource.
    pub(crate) fn fingerprint(&self, token: &[u8], resource: &ResourceUri) -> Fingerprint {
        self.fingerprints.of(token, resource)
    }

    /// The token, as it was found good for `resource` at some time. Whether it still is, is for the caller to say.
    pub(crate) fn get(&self, fingerprint: &Fingerprint, resource: &ResourceUri) -> Option<Arc<AccessToken>> {
        let found = self.tokens.get(fingerprint)?;
        (found.resource.as_str() == resource.as_str()).then_some(found)
    }

    pub(crate) fn remember(&self, fingerprint: Fingerprint, token: &Arc<AccessToken>) {
        self.tokens.insert(fingerprint, Arc::clone(token));
    }

    pub(crate) fn forget(&self, fingerprint: &Fingerprint) {
        self.tokens.remove(fingerprint);
    }
}

impl fmt::Debug for RememberedTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RememberedTokens")
            .field("tokens", &self.tokens.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::Proof;
    use crate::clock::UnixTime;

    fn uri(text: &str) -> ResourceUri {
        text.parse().unwrap()
    }

    fn token(number: usize) -> Arc<AccessToken> {
        Arc::new(AccessToken {
            issuer: "https://auth.example".into(),
            subject: number.to_string(),
            client_id: "c".parse().unwrap(),
            scopes: "a".parse().unwrap(),
            resource: uri("https://a.example"),
            grant: None,
            username: None,
            name: None,
            issued_at: None,
            expires_at: UnixTime::from_seconds(1),
            proof: Proof::OwnKey(String::new()),
        })
    }

    /// V-79, V-80.
    #[test]
    fn the_whole_token_and_the_resource_count() {
        let remembered = RememberedTokens::default();
        let all = [
            ("token", "https://a.example"),
            ("token ", "https://a.example"),
            ("token\0", "https://a.example"),
            ("toke", "https://a.example"),
            ("", "https://a.example"),
            ("token", "https://a.example/"),
            ("/token", "https://a.example"),
            ("token", "https://b.example"),
        ]
        .map(|(token, resource)| remembered.fingerprint(token.as_bytes(), &uri(resource)));
        for (position, one) in all.iter().enumerate() {
            assert!(all[..position].iter().all(|other| other != one));
        }
    }

    #[test]
    fn each_key_has_hashes_of_its_own() {
        let resource = uri("https://a.example");
        let hash = || RememberedTokens::at_most(1).fingerprint(b"token", &resource).token;
        assert_ne!(hash(), hash());
    }

    proptest! {
        /// Whatever is changed in a token, wherever, and whatever is taken from it or put behind it, makes another of it.
        #[test]
        fn no_other_token_has_its_fingerprint(token in prop::collection::vec(any::<u8>(), 1..2000), at: prop::sample::Index, bit in 0u32..8) {
            let (remembered, resource) = (RememberedTokens::at_most(1), uri("https://a.example"));
            let fingerprint = |token: &[u8]| remembered.fingerprint(token, &resource).token;
            let mut changed = token.clone();
            changed[at.index(token.len())] ^= 1u8 << bit;
            prop_assert_ne!(fingerprint(&token), fingerprint(&changed));
            prop_assert_ne!(fingerprint(&token), fingerprint(&token[1..]));
            prop_assert_ne!(fingerprint(&token), fingerprint(&token[..token.len() - 1]));
            prop_assert_ne!(fingerprint(&token), fingerprint(&[&token[..], &[0]].concat()));
            prop_assert_eq!(fingerprint(&token), fingerprint(&token.clone()));
        }
    }

    #[test]
    fn as_many_are_remembered_as_there_is_room_for() {
        let remembered = RememberedTokens::at_most(100);
        let resource = uri("https://a.example");
        for number in 0..10_000 {
            let text = number.to_string();
            remembered.remember(remembered.fingerprint(text.as_bytes(), &resource), &token(number));
        }
        assert!(remembered.tokens.len() <= 100, "{remembered:?}");
        assert!(remembered.tokens.len() >= 50, "{remembered:?}");
    }

    #[test]
    fn what_is_found_is_the_token_that_was_remembered() {
        let remembered = RememberedTokens::default();
        let resource = uri("https://a.example");
        for number in 0..1000 {
            let text = number.to_string();
            remembered.remember(remembered.fingerprint(text.as_bytes(), &resource), &token(number));
        }
        for number in 0..1000 {
            let text = number.to_string();
            let found = remembered
                .get(&remembered.fingerprint(text.as_bytes(), &resource), &resource)
                .unwrap();
            assert_eq!(found.subject, text);
        }
        let fingerprint = remembered.fingerprint(b"7", &resource);
        remembered.forget(&fingerprint);
        assert!(remembered.get(&fingerprint, &resource).is_none());
        let fingerprint = remembered.fingerprint(b"8", &resource);
        assert!(remembered.get(&fingerprint, &uri("https://b.example")).is_none());
    }
}
