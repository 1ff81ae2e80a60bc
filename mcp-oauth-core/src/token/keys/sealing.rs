//! How private keys are kept from whoever reads the store.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::algorithm::KeyError;
use crate::randomness::{SystemRandomness, random_bytes};
use crate::secret::Secret;

/// A secret that is too easy to guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a sealing secret needs 32 random bytes, which are 43 characters of base64 or 64 of hexadecimal: make one with \
     `openssl rand -base64 32`"
)]
#[non_exhaustive]
pub struct WeakSealingSecret;

#[derive(Clone)]
struct SealingSecret {
    /// Tells secrets apart in a record, and does not lead back to them.
    id: String,
    key: Secret,
}

impl SealingSecret {
    fn new(secret: &Secret) -> Result<Self, WeakSealingSecret> {
        let text = secret.expose().trim();
        let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut distinct: Vec<u8> = text.bytes().collect();
        distinct.sort_unstable();
        distinct.dedup();
        // 64 random hexadecimal digits have fewer than 8 different ones about once in 10^16 times, so only what
        // nobody has drawn at random is refused for that.
        if text.len() < if hexadecimal { 64 } else { 43 } || distinct.len() < 8 {
            return Err(WeakSealingSecret);
        }
        let secret = Secret::from(text);
        let mut id = secret.derive("name of a sealing secret").expose().to_owned();
        id.truncate(11);
        Ok(Self {
            id,
            key: secret.derive("signing keys at rest"),
        })
    }

    fn cipher(&self) -> Result<LessSafeKey, KeyError> {
        let key = self.key.derive_bytes("AES-256-GCM");
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| KeyError("make a sealing key"))?;
        Ok(LessSafeKey::new(key))
    }
}

/// The operator's secrets that seal private keys in the store (AES-256-GCM).
///
/// The newest one seals; any of them opens. So a secret is exchanged without a moment at which a node cannot read the
/// keys:
///
/// 1. give every node the coming secret as one that also opens,
/// 2. then make it the first one everywhere, with the old one behind it,
/// 3. seal the keys anew ([`reseal_keys`](crate::server::AuthorizationServer::reseal_keys), or wait for a rotation),
/// 4. and take the old one away.
///
/// ```
/// use mcp_oauth_core::secret::Secret;
/// use mcp_oauth_core::token::keys::KeySealing;
///
/// let (now, before) = (Secret::random(), Secret::random());
/// let sealing = KeySealing::new(&now)?.also_open_with(&before)?;
/// assert!(KeySealing::new(&"password".into()).is_err());
/// # Ok::<_, mcp_oauth_core::token::keys::WeakSealingSecret>(())
/// ```
#[derive(Clone)]
pub struct KeySealing {
    newest: SealingSecret,
    others: Vec<SealingSecret>,
}

impl KeySealing {
    /// Seals and opens with `secret`: at least 32 random bytes in base64 or hexadecimal. White space around it does
    /// not count.
    ///
    /// # Errors
    ///
    /// When the secret is too short, or obviously not random.
    pub fn new(secret: &Secret) -> Result<Self, WeakSealingSecret> {
        Ok(Self {
            newest: SealingSecret::new(secret)?,
            others: Vec::new(),
        })
    }

    /// Also opens what was sealed with `secret`.
    ///
    /// # Errors
    ///
    /// When the secret is too short, or obviously not random.
    pub fn also_open_with(mut self, secret: &Secret) -> Result<Self, WeakSealingSecret> {
        self.others.push(SealingSecret::new(secret)?);
        Ok(self)
    }

    /// The name of the secret that seals.
    pub(crate) fn newest(&self) -> &str {
        &self.newest.id
    }

    /// Whether what was sealed under that name can be opened.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.find(id).is_some()
    }

    fn find(&self, id: &str) -> Option<&SealingSecret> {
        std::iter::once(&self.newest)
            .chain(&self.others)
            .find(|secret| secret.id == id)
    }

    /// Seals with the newest secret; what is in `context` has to be the same when it is opened.
    pub(crate) fn seal(&self, context: &[&str], plain: &[u8]) -> Result<String, KeyError> {
        let nonce: [u8; NONCE_LEN] = random_bytes(&SystemRandomness);
        let mut sealed = nonce.to_vec();
        let mut body = Zeroizing::new(plain.to_vec());
        self.newest
            .cipher()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(additional_data(context)),
                &mut *body,
            )
            .map_err(|_| KeyError("seal a key"))?;
        sealed.extend_from_slice(&body);
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what was sealed with the secret of that name; `None` if it was not, or not in this context.
    pub(crate) fn open(&self, id: &str, context: &[&str], sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, body) = bytes.split_at_checked(NONCE_LEN)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .find(id)?
            .cipher()
            .ok()?
            .open_in_place(
                Nonce::try_assume_unique_for_key(nonce).ok()?,
                Aad::from(additional_data(context)),
                &mut body,
            )
            .ok()?
            .len();
        body.truncate(length);
        Some(body)
    }
}

/// Parts are kept apart by their lengths, so moving a byte from one to the next makes other data.
fn additional_data(parts: &[&str]) -> Vec<u8> {
    let mut data = Vec::new();
    for part in parts {
        data.extend_from_slice(&(part.len() as u64).to_be_bytes());
        data.extend_from_slice(part.as_bytes());
    }
    data
}

impl fmt::Debug for KeySealing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeySealing(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealing() -> KeySealing {
        KeySealing::new(&Secret::random()).unwrap()
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused_with_a_way_out() {
        for weak in [
            "",
            "password",
            "0123456789abcdef0123456789abcdef",
            "correct horse battery staple",
            &"ab".repeat(40),
            &" ".repeat(100),
        ] {
            let refused = KeySealing::new(&weak.into()).unwrap_err();
            assert!(refused.to_string().contains("openssl rand -base64 32"), "{weak}");
        }
        for good in [
            Secret::random(),
            "yTbDSpVfX7Ak3zL8cUhMdQnYrGxKo1WeJtvBiP0sZm4=".into(),
            "a3f1c58e90b7246d13fe8ca57b20d9461c0e8fb3592ad674e1805bcf37d9a246".into(),
        ] {
            assert!(KeySealing::new(&good).is_ok());
        }
    }

    #[test]
    fn a_secret_is_long_enough_from_the_very_character_on() {
        let hexadecimal = "a3f1c58e90b7246d13fe8ca57b20d9461c0e8fb3592ad674e1805bcf37d9a246";
        let base64 = "yTbDSpVfX7Ak3zL8cUhMdQnYrGxKo1WeJtvBiP0sZm4";
        let eight = "gABCDEFG".repeat(8);
        for good in [hexadecimal, base64, &eight] {
            assert!(KeySealing::new(&good.into()).is_ok(), "{good}");
        }
        let seven = "gABCDEF".repeat(8);
        for weak in [&hexadecimal[1..], &base64[1..], &seven] {
            assert!(KeySealing::new(&weak.into()).is_err(), "{weak}");
        }
    }

    #[test]
    fn a_sealing_knows_its_newest_secret_and_those_it_also_opens_with() {
        let (old, new) = (Secret::random(), Secret::random());
        let before = KeySealing::new(&old).unwrap();
        let sealed = before.seal(&["a"], b"key").unwrap();
        let alone = KeySealing::new(&new).unwrap();
        let both = alone.clone().also_open_with(&old).unwrap();
        assert_ne!(before.newest(), alone.newest());
        assert_eq!(both.newest(), alone.newest());
        assert!(both.knows(before.newest()) && both.knows(alone.newest()));
        assert!(!alone.knows(before.newest()));
        assert_eq!(both.open(before.newest(), &["a"], &sealed).unwrap().as_slice(), b"key");
        assert!(both.open(alone.newest(), &["a"], &sealed).is_none());
        assert!(alone.open(before.newest(), &["a"], &sealed).is_none());
    }

    #[test]
    fn what_was_sealed_opens_in_its_own_context_alone() {
        let sealing = sealing();
        let sealed = sealing.seal(&["issuer", "kid"], b"key").unwrap();
        let open = |context: &[&str]| sealing.open(sealing.newest(), context, &sealed);
        assert_eq!(open(&["issuer", "kid"]).unwrap().as_slice(), b"key");
        for other in [
            &["issuer", "other"][..],
            &["issuerk", "id"],
            &["kid", "issuer"],
            &["issuer"],
            &[],
        ] {
            assert!(open(other).is_none(), "{other:?}");
        }
        assert!(!sealed.contains(&URL_SAFE_NO_PAD.encode(b"key")));
    }

    #[test]
    fn every_byte_of_what_was_sealed_counts() {
        let sealing = sealing();
        let sealed = URL_SAFE_NO_PAD.decode(sealing.seal(&["a"], b"key").unwrap()).unwrap();
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert!(sealing.open(sealing.newest(), &["a"], &changed).is_none(), "{position}");
        }
        for short in ["", "AAAA", "=", "AAAAAAAAAAAAAAAA"] {
            assert!(sealing.open(sealing.newest(), &["a"], short).is_none());
        }
    }

    #[test]
    fn a_sealing_shows_nothing_in_debug_output() {
        assert_eq!(format!("{:?}", sealing()), "KeySealing(…)");
    }
}
