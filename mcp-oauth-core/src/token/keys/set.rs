//! Keys that are handed to a server.

use std::fmt;

use super::algorithm::{Algorithm, KeyError};
use super::pair::SigningKey;
use super::public::{PublicKey, PublicKeys};

/// Keys that an operator hands to a server: one signs, the others are published and verify.
///
/// ```
/// use mcp_oauth_core::token::keys::{Algorithm, KeySet, SigningKey};
///
/// // The key that signed so far has to be known until its last token has expired.
/// let before = SigningKey::generate(Algorithm::Rs256)?;
/// let keys = KeySet::new(SigningKey::generate(Algorithm::Es256)?).publish(before.public().clone());
/// assert_eq!(keys.algorithm(), Algorithm::Es256);
/// assert_eq!(keys.public().keys.len(), 2);
/// # Ok::<_, mcp_oauth_core::token::keys::KeyError>(())
/// ```
#[derive(Clone)]
pub struct KeySet {
    signing: SigningKey,
    public: PublicKeys,
}

impl KeySet {
    /// A set in which `signing` signs, and nothing else is published.
    #[must_use]
    pub fn new(signing: SigningKey) -> Self {
        let public = PublicKeys {
            keys: vec![signing.public().clone()],
        };
        Self { signing, public }
    }

    /// A set with one new key. RSA takes up to a few seconds.
    ///
    /// # Errors
    ///
    /// When the cryptographic library fails.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        SigningKey::generate(algorithm).map(Self::new)
    }

    /// Adds a key that is published and verifies, but does not sign: one that will sign soon, or one that did until
    /// now.
    #[must_use]
    pub fn publish(mut self, key: PublicKey) -> Self {
        self.public.add(key);
        self
    }

    /// The public halves, to be served at `jwks_uri`.
    #[must_use]
    pub fn public(&self) -> PublicKeys {
        self.public.clone()
    }

    /// How new tokens are signed.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.signing.algorithm()
    }

    /// The key that signs.
    #[must_use]
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }
}

#[cfg(test)]
impl KeySet {
    /// Signs whatever a test wants signed.
    pub(crate) fn sign_anything(&self, header: &serde_json::Value, claims: &serde_json::Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// Signs text that need not even be JSON.
    pub(crate) fn sign_text(&self, header: &str, claims: &str) -> String {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;

        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.signing.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let published: Vec<_> = self.public.keys.iter().map(|key| &key.kid).collect();
        formatter
            .debug_struct("KeySet")
            .field("signing", &self.signing.kid())
            .field("published", &published)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_signs_and_others_may_be_published_beside_it() {
        let former = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let set = KeySet::generate(Algorithm::Es256)
            .unwrap()
            .publish(former.public().clone());
        assert_eq!(set.algorithm(), Algorithm::Es256);
        let published: Vec<_> = set.public().keys.into_iter().map(|key| key.kid).collect();
        assert_eq!(published, [set.signing().kid(), former.kid()]);
        let shown = format!("{set:?}");
        assert!(
            published.iter().all(|kid| shown.contains(kid)),
            "keys are shown by their names: {shown}"
        );
    }
}
