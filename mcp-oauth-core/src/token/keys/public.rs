//! The half of a key that everybody may have (RFC 7517).

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::Serialize;

use super::algorithm::Algorithm;

/// The public half of a signing key, as it stands in a JWKS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PublicKey {
    /// The key itself.
    #[serde(flatten)]
    pub parameters: PublicKeyParameters,
    /// Its thumbprint.
    pub kid: String,
    /// The one algorithm it is for.
    pub alg: Algorithm,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub key_use: &'static str,
}

impl PublicKey {
    pub(super) fn new(algorithm: Algorithm, parameters: PublicKeyParameters) -> Self {
        Self {
            kid: parameters.thumbprint(),
            parameters,
            alg: algorithm,
            key_use: "sig",
        }
    }
}

/// The numbers that make up a public key, in base64url (RFC 7518 §6, RFC 8037 §2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kty")]
#[non_exhaustive]
pub enum PublicKeyParameters {
    /// A point on P-256.
    #[serde(rename = "EC")]
    EllipticCurve {
        /// Always `P-256`.
        crv: &'static str,
        /// First coordinate.
        x: String,
        /// Second coordinate.
        y: String,
    },
    /// An Ed25519 key.
    #[serde(rename = "OKP")]
    OctetKeyPair {
        /// Always `Ed25519`.
        crv: &'static str,
        /// The key.
        x: String,
    },
    /// An RSA key.
    #[serde(rename = "RSA")]
    Rsa {
        /// Modulus.
        n: String,
        /// Exponent.
        e: String,
    },
}

impl PublicKeyParameters {
    /// The thumbprint: SHA-256 over the required members in alphabetical order (RFC 7638 §3).
    fn thumbprint(&self) -> String {
        let canonical = match self {
            Self::EllipticCurve { crv, x, y } => format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#),
            Self::OctetKeyPair { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
    }
}

/// A JSON Web Key Set (RFC 7517 §5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PublicKeys {
    /// The keys.
    pub keys: Vec<PublicKey>,
}

impl PublicKeys {
    /// Adds a key, unless it is there already.
    pub(super) fn add(&mut self, key: PublicKey) {
        if !self.keys.iter().any(|known| known.kid == key.kid) {
            self.keys.push(key);
        }
    }

    /// Adds those that are not there yet.
    pub(crate) fn extend(&mut self, others: &Self) {
        for key in &others.keys {
            self.add(key.clone());
        }
    }
}

/// A key set as it is served at `jwks_uri`: written once, for everybody who asks.
#[derive(Clone, Debug)]
pub struct KeySetDocument {
    keys: PublicKeys,
    body: Bytes,
    entity_tag: String,
}

impl KeySetDocument {
    pub(crate) fn new(keys: PublicKeys) -> serde_json::Result<Self> {
        let body = Bytes::from(serde_json::to_vec(&keys)?);
        let digest = digest::digest(&digest::SHA256, &body);
        Ok(Self {
            keys,
            entity_tag: format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16])),
            body,
        })
    }

    /// The keys that it names.
    #[must_use]
    pub fn keys(&self) -> &PublicKeys {
        &self.keys
    }

    /// The document, as `application/json`.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// A strong entity tag in its quotes (RFC 9110 §8.8.3): another one as soon as a key comes or goes.
    #[must_use]
    pub fn entity_tag(&self) -> &str {
        &self.entity_tag
    }
}
