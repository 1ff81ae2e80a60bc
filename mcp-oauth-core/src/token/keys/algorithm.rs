//! How tokens are signed.

use serde::{Deserialize, Serialize};

/// How access tokens are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Algorithm {
    /// ECDSA with P-256: small tokens, fast to sign, known to every consumer of a JWKS.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// RSA with PKCS #1 v1.5, 2048 bits unless it was imported: slow to sign, known everywhere (RFC 9068 §2.1).
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
pub struct KeyError(pub(crate) &'static str);
