//! Values that only their owner may know.
//!
//! A [`Secret`] is 256 random bits written as 43 characters of base64url (RFC 4648 §5), or whatever text somebody
//! presents as such a value. It cannot be printed by accident: it has no `Display`, its `Debug` shows nothing, it
//! does not serialise, and its memory is wiped when it is dropped. What a store keeps is the [`SecretDigest`]: from
//! that nobody can get back to the secret, so nothing at rest can be replayed.
//!
//! ```
//! use mcp_oauth_core::secret::Secret;
//!
//! let secret = Secret::random();
//! let kept = secret.digest();
//! assert!(kept.matches(&secret));
//! assert!(!kept.matches(&Secret::random()));
//! assert_eq!(format!("{secret:?}"), "Secret(…)");
//! ```

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::randomness::{Randomness, SystemRandomness, random_bytes};

/// Writes a secret into an answer to whoever it is for: the `serialize_with` of a field.
pub(crate) fn exposed<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// The same where there may be none.
#[allow(clippy::ref_option, reason = "serde hands over a reference to the field")]
pub(crate) fn exposed_if_any<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::expose).serialize(serializer)
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut written = [0; 32];
    written.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    written
}

/// A name of 43 characters of base64url for whatever `text` is, where that is too long or not to be seen: its SHA-256.
pub(crate) fn digest_name(text: &str) -> String {
    SecretDigest::of(text).written()
}

/// Whether this is how 256 bits are written: 43 characters of base64url.
pub(crate) fn is_encoded_256_bits(text: &str) -> bool {
    text.len() == 43
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// A secret in its written form.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A new secret of 256 random bits: 43 characters of base64url.
    #[must_use]
    pub fn random() -> Self {
        Self::drawn_from(&SystemRandomness)
    }

    /// The same from a source of one's own.
    pub(crate) fn drawn_from(random: &dyn Randomness) -> Self {
        Self::encode(Zeroizing::new(random_bytes::<32>(random)).as_slice())
    }

    /// The written form of `bytes`, in base64url.
    pub(crate) fn encode(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Shows the secret. The one place to look for when asking where secrets go.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What may be stored in place of the secret.
    #[must_use]
    pub fn digest(&self) -> SecretDigest {
        SecretDigest::of(self.expose())
    }

    /// A second secret that follows from this one and `purpose`, and that does not lead back (HMAC-SHA-256).
    ///
    /// Different purposes give independent secrets.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        Self::encode(self.derive_bytes(purpose).as_slice())
    }

    pub(crate) fn derive_bytes(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.expose().as_bytes());
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(hmac::sign(&key, purpose.as_bytes()).as_ref());
        bytes
    }
}

impl From<String> for Secret {
    /// Takes text that somebody presents as a secret.
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for Secret {
    /// Takes text that somebody presents as a secret.
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// The SHA-256 of a secret's written form: what is stored, and what a presented secret is held against.
///
/// A plain hash is enough because the secrets have 256 random bits: there is nothing to guess. Serialises as
/// base64url.
#[derive(Clone, Copy)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// The digest of a secret that is at hand as text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(sha256(text.as_bytes()))
    }

    /// The digest as it is written, in 43 characters of base64url.
    pub(crate) fn written(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// A digest that somebody else has made.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Whether `presented` is the secret that this digest was made of. Takes the same time either way.
    #[must_use]
    pub fn matches(&self, presented: &Secret) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &presented.digest().0).is_ok()
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretDigest(…)")
    }
}

impl Serialize for SecretDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written())
    }
}

impl<'de> Deserialize<'de> for SecretDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(text.as_ref())
            .map_err(serde::de::Error::custom)?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| serde::de::Error::custom("a digest has 32 bytes"))
    }
}

/// A key for marking values that leave this process and come back, so that it knows its own work again.
///
/// The mark is an HMAC-SHA-256 over all parts; parts are kept apart by their lengths, so moving a byte from one
/// part to the next gives another mark.
#[derive(Clone)]
pub struct MarkingKey(hmac::Key);

impl MarkingKey {
    /// A key that only this process has.
    #[must_use]
    pub fn random() -> Self {
        Self(hmac::Key::new(
            hmac::HMAC_SHA256,
            &random_bytes::<32>(&SystemRandomness),
        ))
    }

    /// A key that every process which is given the same secret shares.
    #[must_use]
    pub fn from_secret(secret: &Secret) -> Self {
        Self(hmac::Key::new(
            hmac::HMAC_SHA256,
            secret.derive_bytes("marking key").as_slice(),
        ))
    }

    fn sign(&self, parts: &[&str]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign()
    }

    /// The mark over `parts`, in 22 characters of base64url (128 bits of the HMAC).
    #[must_use]
    pub fn mark(&self, parts: &[&str]) -> String {
        URL_SAFE_NO_PAD.encode(&self.sign(parts).as_ref()[..16])
    }

    /// Whether `mark` is this key's mark over `parts`. Compares in constant time.
    #[must_use]
    pub fn accepts(&self, mark: &str, parts: &[&str]) -> bool {
        constant_time::verify_slices_are_equal(mark.as_bytes(), self.mark(parts).as_bytes()).is_ok()
    }
}

impl fmt::Debug for MarkingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MarkingKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing_in_debug_output() {
        let secret = Secret::random();
        let shown = format!(
            "{secret:?} {:?} {:?}",
            secret.digest(),
            MarkingKey::from_secret(&secret)
        );
        assert!(!shown.contains(secret.expose()));
        assert_eq!(shown, "Secret(…) SecretDigest(…) MarkingKey(…)");
    }

    #[test]
    fn a_secret_has_256_random_bits() {
        let secrets: std::collections::BTreeSet<_> = (0..100).map(|_| Secret::random().expose().to_owned()).collect();
        assert_eq!(secrets.len(), 100);
        let mut seen = [0_u8; 32];
        for secret in &secrets {
            let bytes = URL_SAFE_NO_PAD.decode(secret).unwrap();
            assert_eq!(bytes.len(), 32);
            seen.iter_mut().zip(bytes).for_each(|(seen, byte)| *seen |= byte);
        }
        assert_eq!(seen, [0xff; 32], "every bit is set in one secret of a hundred");
    }

    #[test]
    fn a_derived_secret_depends_on_its_purpose_and_its_origin() {
        let secret = Secret::random();
        assert_eq!(secret.derive("a").expose(), secret.derive("a").expose());
        assert_ne!(secret.derive("a").expose(), secret.derive("b").expose());
        assert_ne!(secret.derive("a").expose(), Secret::random().derive("a").expose());
    }

    #[test]
    fn a_mark_keeps_its_parts_apart() {
        let key = MarkingKey::random();
        let mark = key.mark(&["ab", "c"]);
        assert!(key.accepts(&mark, &["ab", "c"]));
        assert!(!key.accepts(&mark, &["a", "bc"]));
        assert!(!key.accepts("", &["ab", "c"]));
        assert!(!MarkingKey::random().accepts(&mark, &["ab", "c"]));
    }

    #[test]
    fn a_digest_survives_storage() {
        let secret = Secret::random();
        let stored = serde_json::to_string(&secret.digest()).unwrap();
        let digest: SecretDigest = serde_json::from_str(&stored).unwrap();
        assert!(digest.matches(&secret) && !digest.matches(&Secret::random()));
        assert!(serde_json::from_str::<SecretDigest>("\"c2hvcnQ\"").is_err());
    }
}
