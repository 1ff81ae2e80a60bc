//! A private key with its public half.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use zeroize::Zeroizing;

use super::algorithm::{Algorithm, KeyError};
use super::public::{PublicKey, PublicKeyParameters};
use crate::secret::Secret;

/// The two halves, in the form that signs fast.
pub(super) enum KeyPair {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

struct Parsed {
    pair: KeyPair,
    public: PublicKey,
}

/// A private key that signs access tokens, with its public half. Clones are the same key.
///
/// ```
/// use mcp_oauth_core::token::keys::{Algorithm, SigningKey};
///
/// let key = SigningKey::generate(Algorithm::Es256)?;
/// assert_eq!(key.public().kid, key.kid());
/// assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.kid()));
/// # Ok::<_, mcp_oauth_core::token::keys::KeyError>(())
/// ```
#[derive(Clone)]
pub struct SigningKey(Arc<Parsed>);

#[derive(Serialize)]
struct Header<'a> {
    typ: &'static str,
    alg: &'static str,
    kid: &'a str,
}

impl SigningKey {
    /// A new key. One for RSA takes up to a few seconds, the others take no time.
    ///
    /// # Errors
    ///
    /// When the cryptographic library fails.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError("generate a key");
        Self::of(match algorithm {
            Algorithm::Es256 => {
                KeyPair::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?)
            }
            Algorithm::EdDsa => KeyPair::EdDsa(Ed25519KeyPair::generate().map_err(failed)?),
            Algorithm::Rs256 => KeyPair::Rs256(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?),
        })
    }

    /// Reads what [`to_pkcs8`](Self::to_pkcs8) has written.
    pub(super) fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let failed = |_| KeyError("read a key");
        Self::of(match algorithm {
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8);
                KeyPair::Es256(pair.map_err(failed)?)
            }
            Algorithm::EdDsa => KeyPair::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(failed)?),
            Algorithm::Rs256 => KeyPair::Rs256(RsaKeyPair::from_pkcs8(pkcs8).map_err(failed)?),
        })
    }

    pub(super) fn of(pair: KeyPair) -> Result<Self, KeyError> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public = match &pair {
            KeyPair::Es256(pair) => {
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
                PublicKey::new(Algorithm::Es256, parameters)
            }
            KeyPair::EdDsa(pair) => {
                let x = encode(pair.public_key().as_ref());
                PublicKey::new(
                    Algorithm::EdDsa,
                    PublicKeyParameters::OctetKeyPair { crv: "Ed25519", x },
                )
            }
            KeyPair::Rs256(pair) => {
                let n = encode(pair.public_key().modulus().big_endian_without_leading_zero());
                let e = encode(pair.public_key().exponent().big_endian_without_leading_zero());
                PublicKey::new(Algorithm::Rs256, PublicKeyParameters::Rsa { n, e })
            }
        };
        Ok(Self(Arc::new(Parsed { pair, public })))
    }

    /// The half that everybody may have.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.0.public
    }

    /// The name of the key: its thumbprint (RFC 7638).
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.0.public.kid
    }

    /// The one algorithm that the key is for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.0.public.alg
    }

    /// The private key as PKCS #8 (RFC 5208), to be sealed.
    pub(super) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let failed = |_| KeyError("write a key");
        Ok(Zeroizing::new(match &self.0.pair {
            KeyPair::Es256(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            KeyPair::EdDsa(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            KeyPair::Rs256(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                der.as_ref().to_vec()
            }
        }))
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError("sign");
        let random = SystemRandom::new();
        match &self.0.pair {
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

    /// Signs claims as a JWT of this type.
    pub(crate) fn sign_jwt(&self, typ: &'static str, claims: &impl Serialize) -> Result<Secret, KeyError> {
        let header = Header {
            typ,
            alg: self.algorithm().as_str(),
            kid: self.kid(),
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
        let signature = URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes())?);
        Ok(Secret::from(format!("{signed}.{signature}")))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.kid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_being_written_and_read() {
        for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
            let key = SigningKey::generate(algorithm).unwrap();
            let read = SigningKey::from_pkcs8(algorithm, &key.to_pkcs8().unwrap()).unwrap();
            assert_eq!(read.public(), key.public());
            assert_eq!(read.algorithm(), algorithm);
        }
    }

    #[test]
    fn a_key_is_not_read_as_one_for_another_algorithm() {
        let key = SigningKey::generate(Algorithm::Es256).unwrap().to_pkcs8().unwrap();
        assert!(SigningKey::from_pkcs8(Algorithm::EdDsa, &key).is_err());
        assert!(SigningKey::from_pkcs8(Algorithm::Rs256, &key).is_err());
    }
}
