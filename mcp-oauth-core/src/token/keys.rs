//! The keys that sign access tokens, and the public half that everybody may have (RFC 7517).
//!
//! A key is parsed once and signs many times. Its `kid` is its thumbprint (RFC 7638), so two keys never share one
//! and the same key has the same one everywhere.
//!
//! ```
//! use mcp_oauth_core::token::keys::{Algorithm, KeySet};
//!
//! let keys = KeySet::generate(Algorithm::EdDsa)?;
//! let jwks = serde_json::to_value(keys.public())?;
//! assert_eq!(jwks["keys"][0]["alg"], "EdDSA");
//! assert_eq!(jwks["keys"][0]["use"], "sig");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::claims::AccessTokenClaims;
use crate::secret::Secret;

/// How access tokens are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum Algorithm {
    /// ECDSA with P-256: small tokens, fast to sign, known to every consumer of a JWKS.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// RSA with PKCS #1 v1.5, 2048 bits: slow to sign, known everywhere (RFC 9068 §2.1).
    #[serde(rename = "RS256")]
    Rs256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// The name in a token's header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A key could not be made or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library could not {0}")]
pub struct KeyError(&'static str);

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

enum KeyPair {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

/// A private key with its public half.
struct SigningKey {
    pair: KeyPair,
    public: PublicKey,
}

impl SigningKey {
    fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError("generate a key");
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (pair, parameters) = match algorithm {
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
                // An uncompressed point: 0x04, then two coordinates of 32 bytes (SEC 1 §2.3.3).
                let point = pair.public_key().as_ref();
                let (x, y) = point
                    .get(1..)
                    .and_then(|point| point.split_at_checked(32))
                    .ok_or(KeyError("read a key"))?;
                let parameters = PublicKeyParameters::EllipticCurve {
                    crv: "P-256",
                    x: encode(x),
                    y: encode(y),
                };
                (KeyPair::Es256(pair), parameters)
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate().map_err(failed)?;
                let x = encode(pair.public_key().as_ref());
                (
                    KeyPair::EdDsa(pair),
                    PublicKeyParameters::OctetKeyPair { crv: "Ed25519", x },
                )
            }
            Algorithm::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                let n = encode(pair.public_key().modulus().big_endian_without_leading_zero());
                let e = encode(pair.public_key().exponent().big_endian_without_leading_zero());
                (KeyPair::Rs256(pair), PublicKeyParameters::Rsa { n, e })
            }
        };
        let kid = parameters.thumbprint();
        Ok(Self {
            pair,
            public: PublicKey {
                parameters,
                kid,
                alg: algorithm,
                key_use: "sig",
            },
        })
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError("sign");
        let random = SystemRandom::new();
        match &self.pair {
            KeyPair::Es256(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            KeyPair::EdDsa(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
            KeyPair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

/// The keys of an authorization server. Clones share them.
#[derive(Clone)]
pub struct KeySet(Arc<SigningKey>);

#[derive(Serialize)]
struct Header<'a> {
    typ: &'static str,
    alg: &'static str,
    kid: &'a str,
}

impl KeySet {
    /// A set with one new key. RSA takes up to a few seconds.
    ///
    /// # Errors
    ///
    /// When the cryptographic library fails.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        SigningKey::generate(algorithm).map(|key| Self(Arc::new(key)))
    }

    /// The public halves, to be served at `jwks_uri`.
    #[must_use]
    pub fn public(&self) -> PublicKeys {
        PublicKeys {
            keys: vec![self.0.public.clone()],
        }
    }

    /// How new tokens are signed.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.0.public.alg
    }

    /// Signs an access token (RFC 9068 §2.1: `typ` is `at+jwt`).
    pub(crate) fn sign(&self, claims: &AccessTokenClaims) -> Result<Secret, KeyError> {
        let key = &self.0.public;
        let header = Header {
            typ: "at+jwt",
            alg: key.alg.as_str(),
            kid: &key.kid,
        };
        let part = |json: serde_json::Result<Vec<u8>>| {
            json.map(|json| URL_SAFE_NO_PAD.encode(json))
                .map_err(|_| KeyError("write a token"))
        };
        let signed = format!(
            "{}.{}",
            part(serde_json::to_vec(&header))?,
            part(serde_json::to_vec(claims))?
        );
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes())?);
        Ok(Secret::from(format!("{signed}.{signature}")))
    }
}

#[cfg(test)]
impl KeySet {
    /// Signs whatever a test wants signed.
    pub(crate) fn sign_anything(&self, header: &serde_json::Value, claims: &serde_json::Value) -> String {
        let part = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.0.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("KeySet").field(&self.0.public.kid).finish()
    }
}
