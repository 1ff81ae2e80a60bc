//! Tokens that were found good, found again by what they are.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::AccessToken;
use crate::resource::ResourceUri;
use crate::secret::sha256;

/// At most this many tokens are remembered. One takes about a kilobyte; those that are used least make room.
pub(crate) const MAXIMUM_REMEMBERED: usize = 16 * 1024;

/// Stands for one token at one resource: the SHA-256 of the whole token, and something that tells resources apart. That need
/// not be unforgeable, since the resource itself is compared when a token is found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    token: [u8; 32],
    resource: u64,
}

impl Fingerprint {
    pub(crate) fn of(token: &str, resource: &ResourceUri) -> Self {
        Self {
            token: sha256(token.as_bytes()),
            resource: fnv(resource.as_str().as_bytes()),
        }
    }
}

/// FNV-1a, which is fast for what is as short as a URI.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bits = [0; 8];
        bits.copy_from_slice(&self.token[..8]);
        state.write_u64(u64::from_be_bytes(bits));
    }
}

/// Takes the token's own bits. They are as good as random, and only good tokens have their fingerprints here, so
/// nobody can choose them.
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
pub(crate) struct RememberedTokens(Cache<Fingerprint, Arc<AccessToken>, UnitWeighter, AsItIs>);

impl Default for RememberedTokens {
    fn default() -> Self {
        Self::at_most(MAXIMUM_REMEMBERED)
    }
}

impl RememberedTokens {
    pub(crate) fn at_most(tokens: usize) -> Self {
        let lifecycle = DefaultLifecycle::default();
        Self(Cache::with(
            tokens,
            tokens as u64,
            UnitWeighter,
            AsItIs::default(),
            lifecycle,
        ))
    }

    /// The token, as it was found good for `resource` at some time. Whether it still is, is for the caller to say.
    pub(crate) fn get(&self, fingerprint: &Fingerprint, resource: &ResourceUri) -> Option<Arc<AccessToken>> {
        let found = self.0.get(fingerprint)?;
        (found.resource.as_str() == resource.as_str()).then_some(found)
    }

    pub(crate) fn remember(&self, fingerprint: Fingerprint, token: &Arc<AccessToken>) {
        self.0.insert(fingerprint, Arc::clone(token));
    }

    pub(crate) fn forget(&self, fingerprint: &Fingerprint) {
        self.0.remove(fingerprint);
    }
}

impl fmt::Debug for RememberedTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RememberedTokens")
            .field("tokens", &self.0.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
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
        let all = [
            Fingerprint::of("token", &uri("https://a.example")),
            Fingerprint::of("token ", &uri("https://a.example")),
            Fingerprint::of("toke", &uri("https://a.example")),
            Fingerprint::of("token", &uri("https://a.example/")),
            Fingerprint::of("/token", &uri("https://a.example")),
            Fingerprint::of("token", &uri("https://b.example")),
        ];
        for (position, one) in all.iter().enumerate() {
            assert!(all[..position].iter().all(|other| other != one));
        }
    }

    #[test]
    fn as_many_are_remembered_as_there_is_room_for() {
        let remembered = RememberedTokens::at_most(100);
        let resource = uri("https://a.example");
        for number in 0..10_000 {
            let text = number.to_string();
            remembered.remember(Fingerprint::of(&text, &resource), &token(number));
        }
        assert!(remembered.0.len() <= 100, "{remembered:?}");
        assert!(remembered.0.len() >= 50, "{remembered:?}");
    }

    #[test]
    fn what_is_found_is_the_token_that_was_remembered() {
        let remembered = RememberedTokens::default();
        let resource = uri("https://a.example");
        for number in 0..1000 {
            let text = number.to_string();
            remembered.remember(Fingerprint::of(&text, &resource), &token(number));
        }
        for number in 0..1000 {
            let text = number.to_string();
            let found = remembered.get(&Fingerprint::of(&text, &resource), &resource).unwrap();
            assert_eq!(found.subject, text);
        }
        let fingerprint = Fingerprint::of("7", &resource);
        remembered.forget(&fingerprint);
        assert!(remembered.get(&fingerprint, &resource).is_none());
        let fingerprint = Fingerprint::of("8", &resource);
        assert!(remembered.get(&fingerprint, &uri("https://b.example")).is_none());
    }
}
