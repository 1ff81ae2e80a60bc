//! Private keys from outside, in PEM (RFC 7468).
//!
//! Which algorithm a key is for follows from the key: RSA is RS256, P-256 is ES256, Ed25519 is EdDSA.

use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::algorithm::KeyError;
use super::pair::{KeyPair, SigningKey};
use crate::secret::Secret;

/// The longest text that is looked at. An RSA key of 8192 bits takes less than a tenth.
const MAXIMUM_LENGTH: usize = 128 * 1024;

/// Base64 as any tool writes it: with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a private key cannot be imported. Each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyImportError {
    /// It is no base64.
    #[error("the key is no base64: write it with `base64 -w0 private_key.pem`")]
    NotBase64,
    /// Base64 was asked for, and it is PEM itself.
    #[error("the key is PEM where base64 of the PEM is expected: write it with `base64 -w0 private_key.pem`")]
    PemInsteadOfBase64,
    /// There is no private key in it.
    #[error(
        "there is no private key in PEM form: it has to begin with -----BEGIN PRIVATE KEY----- and to end with its END line"
    )]
    NotPem,
    /// It is the public half.
    #[error("this is a public key or a certificate: give the private key it belongs to")]
    NotPrivate,
    /// It is protected by a passphrase.
    #[error("the private key is encrypted: take the passphrase off with `openssl pkey -in key.pem -out plain.pem`")]
    Encrypted,
    /// There is more than one.
    #[error("there is more than one private key in it: give the one that is to sign")]
    Several,
    /// RSA with less than 2048 bits.
    #[error(
        "the RSA key has less than 2048 bits, which can be broken: make another with `openssl genpkey -algorithm RSA \
         -pkeyopt rsa_keygen_bits:2048`"
    )]
    WeakRsa,
    /// RSA with a public exponent below 65537.
    #[error("the RSA key has a public exponent below 65537: make another with `openssl genpkey -algorithm RSA`")]
    WeakExponent,
    /// RSA with more than 8192 bits.
    #[error("the RSA key has more than 8192 bits, which few resource servers can verify: use one with 2048 to 4096")]
    LargeRsa,
    /// Another curve, another kind of key, or something damaged.
    #[error(
        "the private key cannot be used: it is damaged, or none of RSA, P-256 and Ed25519; make one with \
         `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
    )]
    Unsupported,
    /// The cryptographic library fails.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl SigningKey {
    /// Imports a private key in PEM: PKCS #8 (`PRIVATE KEY`), PKCS #1 (`RSA PRIVATE KEY`) or SEC 1
    /// (`EC PRIVATE KEY`). Text around it, such as `EC PARAMETERS`, is left aside.
    ///
    /// # Errors
    ///
    /// When there is not exactly one private key in it, or one that is too weak or not supported.
    ///
    /// ```
    /// use mcp_oauth_core::token::keys::{KeyImportError, SigningKey};
    ///
    /// let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----";
    /// assert_eq!(SigningKey::from_pem(&public.into()).unwrap_err(), KeyImportError::NotPrivate);
    /// ```
    pub fn from_pem(pem: &Secret) -> Result<Self, KeyImportError> {
        let text = pem.expose();
        if text.len() > MAXIMUM_LENGTH {
            return Err(KeyImportError::NotPem);
        }
        // The label of PKCS #8 says so, and a header of the older forms (RFC 1421 §4.6.1.1).
        if text.contains("ENCRYPTED") {
            return Err(KeyImportError::Encrypted);
        }
        let mut keys = PrivateKeyDer::pem_slice_iter(text.as_bytes());
        let mut key = match keys.next() {
            Some(Ok(key)) => key,
            None if text.contains("PUBLIC KEY-----") || text.contains("CERTIFICATE-----") => {
                return Err(KeyImportError::NotPrivate);
            }
            None | Some(Err(_)) => return Err(KeyImportError::NotPem),
        };
        let imported = parse(&key);
        key.zeroize();
        if let Some(another) = keys.next() {
            another.map_err(|_| KeyImportError::NotPem)?.zeroize();
            return Err(KeyImportError::Several);
        }
        imported
    }

    /// Imports a private key from the base64 of its PEM, as variables such as `JWT_PRIVATE_KEY_B64` hold it. Line
    /// breaks and missing padding do no harm.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem), and when it is no base64.
    pub fn from_base64_pem(base64: &Secret) -> Result<Self, KeyImportError> {
        let text = base64.expose();
        if text.len() > MAXIMUM_LENGTH {
            return Err(KeyImportError::NotBase64);
        }
        if text.contains("-----BEGIN") {
            return Err(KeyImportError::PemInsteadOfBase64);
        }
        let compact: Zeroizing<String> = Zeroizing::new(
            text.chars()
                .filter(|character| !character.is_ascii_whitespace())
                .collect(),
        );
        let mut bytes = Zeroizing::new(
            BASE64
                .decode(compact.as_bytes())
                .map_err(|_| KeyImportError::NotBase64)?,
        );
        match String::from_utf8(std::mem::take(&mut *bytes)) {
            Ok(pem) => Self::from_pem(&Secret::from(pem)),
            Err(error) => {
                error.into_bytes().zeroize();
                Err(KeyImportError::NotPem)
            }
        }
    }
}

fn parse(key: &PrivateKeyDer<'_>) -> Result<SigningKey, KeyImportError> {
    let pair = match key {
        PrivateKeyDer::Pkcs1(der) => rsa(RsaKeyPair::from_der(der.secret_pkcs1_der()))?,
        PrivateKeyDer::Sec1(der) => {
            let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_sec1_der());
            KeyPair::Es256(pair.map_err(|_| KeyImportError::Unsupported)?)
        }
        PrivateKeyDer::Pkcs8(der) => {
            let der = der.secret_pkcs8_der();
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
                KeyPair::Es256(pair)
            } else if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
                KeyPair::EdDsa(pair)
            } else {
                rsa(RsaKeyPair::from_pkcs8(der))?
            }
        }
        _ => return Err(KeyImportError::Unsupported),
    };
    Ok(SigningKey::of(pair)?)
}

fn rsa(parsed: Result<RsaKeyPair, KeyRejected>) -> Result<KeyPair, KeyImportError> {
    let pair = parsed.map_err(|rejected| match rejected.description_() {
        "TooSmall" => KeyImportError::WeakRsa,
        "TooLarge" => KeyImportError::LargeRsa,
        _ => KeyImportError::Unsupported,
    })?;
    // 65537 is the smallest odd number with 17 bits.
    let exponent = pair.public_key().exponent().big_endian_without_leading_zero();
    if exponent.len() < 3 {
        return Err(KeyImportError::WeakExponent);
    }
    Ok(KeyPair::Rs256(pair))
}
