//! Whether an access token is good (RFC 9068 §4, RFC 8725 §3).
//!
//! Checked are, in this order: the `kid` names a key of ours, the algorithm is that key's, `typ` is `at+jwt`,
//! nothing critical is asked for, the signature, every claim's presence and type, the issuer and the audience to
//! the byte, and the time.
//!
//! ```
//! use mcp_oauth_core::clock::UnixTime;
//! use mcp_oauth_core::token::keys::{Algorithm, KeySet};
//! use mcp_oauth_core::token::verify::{TokenRefused, TokenVerifier};
//!
//! let keys = KeySet::generate(Algorithm::Es256)?;
//! let verifier = TokenVerifier::new(&"https://auth.example.com".parse()?, &keys.public());
//! let refused = verifier.verify("not.a.token", &"https://mcp.example.com".parse()?, UnixTime::from_seconds(0));
//! assert_eq!(refused.err(), Some(TokenRefused::Malformed));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use jsonwebtoken::{DecodingKey, Validation};

use super::claims::AccessTokenClaims;
use super::keys::{Algorithm, PublicKey, PublicKeyParameters, PublicKeys};
use crate::clock::UnixTime;
use crate::issuer::Issuer;
use crate::resource::ResourceUri;

/// How far the clocks of two machines may be apart before a token is "not yet" good.
const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// Why a token is refused. A client learns no more than `invalid_token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenRefused {
    /// It is no JWT, or lacks a claim, or has one of the wrong type.
    #[error("the token is malformed")]
    Malformed,
    /// It is a JWT, but no access token (`typ`), or asks for something critical.
    #[error("the token is not an access token")]
    WrongType,
    /// No key of ours signed it with its own algorithm.
    #[error("the token was not signed by a known key")]
    Signature,
    /// Somebody else issued it.
    #[error("the token is from another issuer")]
    Issuer,
    /// It is for another resource.
    #[error("the token is for another resource")]
    Audience,
    /// It is too late, or too early.
    #[error("the token has expired or is not valid yet")]
    Time,
    /// Its grant has ended.
    #[error("the token was revoked")]
    Revoked,
}

/// Verifies the access tokens of one issuer.
pub struct TokenVerifier {
    issuer: String,
    keys: HashMap<String, (DecodingKey, Validation)>,
}

impl TokenVerifier {
    /// A verifier for the tokens of `issuer` that were signed by one of `keys`.
    #[must_use]
    pub fn new(issuer: &Issuer, keys: &PublicKeys) -> Self {
        // Where another crate of the program has switched on a second cryptographic backend, the first use would
        // panic. An "already installed" answer means that somebody has chosen, which is as good.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let keys = keys
            .keys
            .iter()
            .filter_map(|key| Some((key.kid.clone(), prepared(key)?)))
            .collect();
        Self {
            issuer: issuer.as_str().to_owned(),
            keys,
        }
    }

    /// Verifies a token that was presented at `resource` at the time `now`.
    ///
    /// # Errors
    ///
    /// The first reason to refuse it. Whether its grant has ended is not asked here, see
    /// [`EndedGrants`](crate::revocation::EndedGrants).
    pub fn verify(
        &self,
        token: &str,
        resource: &ResourceUri,
        now: UnixTime,
    ) -> Result<AccessTokenClaims, TokenRefused> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenRefused::Malformed)?;
        let (key, validation) = header
            .kid
            .as_deref()
            .and_then(|kid| self.keys.get(kid))
            .ok_or(TokenRefused::Signature)?;
        // RFC 9068 §4 also allows the long form; media types count in any case (RFC 2045 §5.1).
        let typ = header.typ.as_deref().unwrap_or_default();
        let is_access_token = typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt");
        if !is_access_token || header.crit.is_some() {
            return Err(TokenRefused::WrongType);
        }
        let claims = jsonwebtoken::decode::<AccessTokenClaims>(token, key, validation)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature
                | jsonwebtoken::errors::ErrorKind::InvalidAlgorithm => TokenRefused::Signature,
                _ => TokenRefused::Malformed,
            })?
            .claims;
        if claims.issuer != self.issuer {
            return Err(TokenRefused::Issuer);
        }
        if !claims.audience.iter().any(|audience| audience == resource.as_str()) {
            return Err(TokenRefused::Audience);
        }
        let begun = claims
            .not_before
            .is_none_or(|not_before| not_before <= now + CLOCK_SKEW);
        if now >= claims.expires_at || !begun {
            return Err(TokenRefused::Time);
        }
        Ok(claims)
    }
}

/// The key in the form that verifies fast, with the one algorithm it is for. Claims are judged by our own code,
/// since the library skips those that are absent and reads the time by itself.
fn prepared(key: &PublicKey) -> Option<(DecodingKey, Validation)> {
    let decoding = match &key.parameters {
        PublicKeyParameters::EllipticCurve { x, y, .. } => DecodingKey::from_ec_components(x, y),
        PublicKeyParameters::OctetKeyPair { x, .. } => DecodingKey::from_ed_components(x),
        PublicKeyParameters::Rsa { n, e } => DecodingKey::from_rsa_components(n, e),
    }
    .ok()?;
    let mut validation = Validation::new(match key.alg {
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    });
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    Some((decoding, validation))
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TokenVerifier")
            .field("issuer", &self.issuer)
            .field("keys", &self.keys.keys().collect::<Vec<_>>())
            .finish()
    }
}
