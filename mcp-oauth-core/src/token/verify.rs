//! Whether an access token is good (RFC 9068 §4, RFC 8725 §3).
//!
//! Checked are, in this order: nothing critical is asked for, `typ` is `at+jwt`, the `kid` names a key of ours, the
//! algorithm is that key's, the signature, every claim's presence and type, the issuer and the audience to the byte, and
//! the time. How a JWT is read and its signature checked is the same for everybody's, see [`jwt`](crate::jwt).
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

use std::fmt;

use serde_json::{Map, Value};

use super::claims::{AccessTokenClaims, OwnClaims};
use super::keys::PublicKeys;
use crate::access::AccessToken;
use crate::clock::UnixTime;
use crate::issuer::Issuer;
use crate::jwt::SignatureAlgorithm;
use crate::jwt::keys::JwkSet;
use crate::jwt::time::{CLOCK_SKEW, Validity};
use crate::jwt::verify::{ExpectedType, JwtRefused, UnverifiedJwt};
use crate::resource::ResourceUri;

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

impl From<JwtRefused> for TokenRefused {
    fn from(refused: JwtRefused) -> Self {
        match refused {
            JwtRefused::Malformed | JwtRefused::Claims => Self::Malformed,
            JwtRefused::Critical | JwtRefused::Type => Self::WrongType,
            JwtRefused::Algorithm | JwtRefused::UnknownKey | JwtRefused::AmbiguousKey | JwtRefused::Signature => {
                Self::Signature
            }
        }
    }
}

/// Verifies the access tokens of one issuer.
pub struct TokenVerifier {
    issuer: String,
    keys: JwkSet,
}

impl TokenVerifier {
    /// A verifier for the tokens of `issuer` that were signed by one of `keys`.
    #[must_use]
    pub fn new(issuer: &Issuer, keys: &PublicKeys) -> Self {
        let members = |key| match serde_json::to_value(key) {
            Ok(Value::Object(members)) => Some(members),
            _ => None,
        };
        let keys: Vec<Map<String, Value>> = keys.keys.iter().filter_map(members).collect();
        Self {
            issuer: issuer.as_str().to_owned(),
            keys: JwkSet::of(&keys),
        }
    }

    /// Verifies a token that was presented at `resource` at the time `now`.
    ///
    /// # Errors
    ///
    /// The first reason to refuse it. Whether its grant has ended is not asked here, see
    /// [`access`](crate::server::access).
    pub fn verify(&self, token: &str, resource: &ResourceUri, now: UnixTime) -> Result<AccessToken, TokenRefused> {
        let (claims, kid) = self.read(token)?;
        if !claims.audience.iter().any(|audience| audience == resource.as_str()) {
            return Err(TokenRefused::Audience);
        }
        check_time(&claims, now)?;
        Ok(AccessToken::own(claims, resource, kid))
    }

    /// Reads a token that was issued by this server and is good at the time `now`, for whatever resource.
    pub(crate) fn verify_own(&self, token: &str, now: UnixTime) -> Result<AccessTokenClaims, TokenRefused> {
        let (claims, _) = self.read(token)?;
        check_time(&claims, now)?;
        Ok(claims)
    }

    /// Reads a JWT of another kind that this server has issued to itself and that is good at the time `now`.
    pub(crate) fn verify_own_jwt<C: serde::de::DeserializeOwned>(
        &self,
        token: &str,
        expected: ExpectedType,
        now: UnixTime,
    ) -> Result<OwnClaims<C>, TokenRefused> {
        let jwt = UnverifiedJwt::parse(token)?;
        jwt.kid().ok_or(TokenRefused::Signature)?;
        let claims: OwnClaims<C> = jwt.verify(&self.keys, &SignatureAlgorithm::SUPPORTED, expected)?;
        if claims.iss != self.issuer {
            return Err(TokenRefused::Issuer);
        }
        if claims.aud != self.issuer {
            return Err(TokenRefused::Audience);
        }
        let is_time = claims.iat <= now + CLOCK_SKEW && now < claims.exp;
        is_time.then_some(claims).ok_or(TokenRefused::Time)
    }

    /// Whether there is a key of this name.
    pub(crate) fn knows(&self, kid: &str) -> bool {
        self.keys.has(kid)
    }

    /// The name of the key that a token says it was signed with, if it could be an access token of a server like this
    /// one. Nothing of that is proven.
    pub(crate) fn key_named_by(token: &str) -> Option<String> {
        let jwt = UnverifiedJwt::parse(token).ok()?;
        // Names are thumbprints, which all have the same length.
        let kid = jwt.kid().filter(|kid| kid.len() == 43)?.to_owned();
        jwt.is(ExpectedType::ACCESS_TOKEN).then_some(kid)
    }

    /// Checks everything but audience and time, and says which key it was.
    fn read(&self, token: &str) -> Result<(AccessTokenClaims, String), TokenRefused> {
        let jwt = UnverifiedJwt::parse(token)?;
        let kid = jwt.kid().ok_or(TokenRefused::Signature)?.to_owned();
        let claims: AccessTokenClaims =
            jwt.verify(&self.keys, &SignatureAlgorithm::SUPPORTED, ExpectedType::ACCESS_TOKEN)?;
        if claims.issuer != self.issuer {
            return Err(TokenRefused::Issuer);
        }
        Ok((claims, kid))
    }
}

fn check_time(claims: &AccessTokenClaims, now: UnixTime) -> Result<(), TokenRefused> {
    let validity = Validity {
        expires_at: claims.expires_at,
        not_before: claims.not_before,
        issued_at: Some(claims.issued_at),
    };
    validity.covers(now).then_some(()).ok_or(TokenRefused::Time)
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TokenVerifier")
            .field("issuer", &self.issuer)
            .field("keys", &self.keys.names().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::token::keys::{Algorithm, KeySet};

    const NOW: u64 = 1_790_000_000;
    const ALGORITHMS: [Algorithm; 3] = [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa];

    struct Setting {
        keys: KeySet,
        verifier: TokenVerifier,
        header: Value,
        claims: Value,
    }

    impl Setting {
        fn new(algorithm: Algorithm) -> Self {
            let keys = KeySet::generate(algorithm).unwrap();
            let public = keys.public();
            let header = json!({"typ": "at+jwt", "alg": algorithm.as_str(), "kid": public.keys[0].kid});
            let claims = json!({"iss": "https://auth.example", "aud": "https://mcp.example/mcp", "sub": "github:1",
                "client_id": "c", "scope": "a b", "iat": NOW, "exp": NOW + 60, "jti": "AAAAAAAAAAAAAAAAAAAAAA.x"});
            let verifier = TokenVerifier::new(&"https://auth.example".parse().unwrap(), &public);
            Self {
                keys,
                verifier,
                header,
                claims,
            }
        }

        fn verify(&self, header: &Value, claims: &Value) -> Result<AccessToken, TokenRefused> {
            let token = self.keys.sign_anything(header, claims);
            let resource = "https://mcp.example/mcp".parse().unwrap();
            self.verifier.verify(&token, &resource, UnixTime::from_seconds(NOW))
        }

        fn with_header(&self, name: &str, value: Value) -> Option<TokenRefused> {
            let mut header = self.header.clone();
            header[name] = value;
            self.verify(&header, &self.claims).err()
        }

        fn with_claim(&self, name: &str, value: Value) -> Option<TokenRefused> {
            let mut claims = self.claims.clone();
            claims[name] = value;
            self.verify(&self.header, &claims).err()
        }
    }

    #[test]
    fn a_good_token_of_each_algorithm_is_good() {
        for algorithm in ALGORITHMS {
            let setting = Setting::new(algorithm);
            let claims = setting.verify(&setting.header, &setting.claims).unwrap();
            assert_eq!(claims.subject, "github:1");
            assert_eq!(claims.scopes.to_string(), "a b");
        }
    }

    #[test]
    fn a_jwt_of_another_type_is_no_access_token() {
        let setting = Setting::new(Algorithm::Es256);
        for typ in ["JWT", "", "oauth-id-jag+jwt", "logout+jwt", "at+jwt "] {
            assert_eq!(
                setting.with_header("typ", json!(typ)),
                Some(TokenRefused::WrongType),
                "{typ}"
            );
        }
        assert!(setting.with_header("typ", Value::Null).is_some());
        for typ in ["AT+JWT", "application/at+jwt"] {
            assert_eq!(setting.with_header("typ", json!(typ)), None, "{typ}");
        }
    }

    #[test]
    fn a_critical_header_that_is_not_understood_is_refused() {
        let setting = Setting::new(Algorithm::Es256);
        assert_eq!(
            setting.with_header("crit", json!(["b64"])),
            Some(TokenRefused::WrongType)
        );
    }

    #[test]
    fn the_algorithm_is_that_of_the_key_whatever_the_header_says() {
        for algorithm in ALGORITHMS {
            let setting = Setting::new(algorithm);
            for named in ["ES256", "RS256", "EdDSA", "HS256", "PS256", "ES384"] {
                if named != algorithm.as_str() {
                    assert_eq!(
                        setting.with_header("alg", json!(named)),
                        Some(TokenRefused::Signature),
                        "{named}"
                    );
                }
            }
            for named in ["none", "nOnE", "x"] {
                assert_eq!(
                    setting.with_header("alg", json!(named)),
                    Some(TokenRefused::Signature),
                    "{named}"
                );
            }
        }
    }

    #[test]
    fn the_key_has_to_be_named_and_known() {
        let setting = Setting::new(Algorithm::Es256);
        assert_eq!(
            setting.with_header("kid", json!("other")),
            Some(TokenRefused::Signature)
        );
        let header = json!({"typ": "at+jwt", "alg": "ES256"});
        assert_eq!(
            setting.verify(&header, &setting.claims).err(),
            Some(TokenRefused::Signature)
        );
    }

    #[test]
    fn issuer_and_audience_count_to_the_byte() {
        let setting = Setting::new(Algorithm::Es256);
        for issuer in [
            "https://auth.example/",
            "https://AUTH.example",
            "https://other.example",
            "",
        ] {
            assert_eq!(
                setting.with_claim("iss", json!(issuer)),
                Some(TokenRefused::Issuer),
                "{issuer}"
            );
        }
        for audience in [
            json!("https://mcp.example"),
            json!([]),
            json!(["https://mcp.example/mcp/"]),
        ] {
            assert_eq!(
                setting.with_claim("aud", audience.clone()),
                Some(TokenRefused::Audience),
                "{audience}"
            );
        }
        assert_eq!(setting.with_claim("aud", json!(["x", "https://mcp.example/mcp"])), None);
    }

    #[test]
    fn every_claim_is_needed_and_of_its_own_type() {
        let setting = Setting::new(Algorithm::Es256);
        for name in ["iss", "aud", "sub", "client_id", "scope", "iat", "exp", "jti"] {
            let mut claims = setting.claims.clone();
            claims.as_object_mut().unwrap().remove(name);
            assert_eq!(
                setting.verify(&setting.header, &claims).err(),
                Some(TokenRefused::Malformed),
                "no {name}"
            );
            assert_eq!(
                setting.with_claim(name, Value::Null),
                Some(TokenRefused::Malformed),
                "{name} is null"
            );
            assert_eq!(
                setting.with_claim(name, json!({})),
                Some(TokenRefused::Malformed),
                "{name} is an object"
            );
        }
        for expiry in [
            json!("9999999999"),
            json!(1e300),
            json!([NOW + 60]),
            json!(-1),
            json!(1.5),
        ] {
            assert_eq!(
                setting.with_claim("exp", expiry.clone()),
                Some(TokenRefused::Malformed),
                "{expiry}"
            );
        }
    }

    #[test]
    fn a_token_is_refused_when_it_has_expired_or_has_not_begun() {
        let setting = Setting::new(Algorithm::Es256);
        assert_eq!(setting.with_claim("exp", json!(NOW)), Some(TokenRefused::Time));
        assert_eq!(setting.with_claim("exp", json!(NOW + 1)), None);
        assert_eq!(setting.with_claim("nbf", json!(NOW + 31)), Some(TokenRefused::Time));
        assert_eq!(
            setting.with_claim("nbf", json!(NOW + 30)),
            None,
            "clocks may be a little apart"
        );
    }

    #[test]
    fn a_changed_signature_or_none_is_refused() {
        for algorithm in ALGORITHMS {
            let setting = Setting::new(algorithm);
            let token = setting.keys.sign_anything(&setting.header, &setting.claims);
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let resource = "https://mcp.example/mcp".parse().unwrap();
            let flipped = if signature.starts_with('A') { "B" } else { "A" };
            for other in [
                String::new(),
                format!("{flipped}{}", &signature[1..]),
                signature[4..].to_owned(),
            ] {
                let token = format!("{signed}.{other}");
                assert!(
                    setting
                        .verifier
                        .verify(&token, &resource, UnixTime::from_seconds(NOW))
                        .is_err()
                );
            }
        }
    }

    proptest! {
        #[test]
        fn verifying_never_panics(token in "[A-Za-z0-9_=.{}\"-]{0,200}") {
            let setting = Setting::new(Algorithm::Es256);
            let resource = "https://mcp.example/mcp".parse().unwrap();
            let _ = setting.verifier.verify(&token, &resource, UnixTime::from_seconds(NOW));
        }
    }
}
