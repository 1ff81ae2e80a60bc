//! The ID token (OpenID Connect Core §2), checked as §3.1.3.7 has it. The only place here that asks for a signature.

use std::time::Duration;

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::issuer::IssuerRule;
use crate::clock::UnixTime;
use crate::identity::IdentityError;
use crate::jwt::SignatureAlgorithm;
use crate::jwt::claims::OneOrMany;
use crate::jwt::keys::JwkSet;
use crate::jwt::time::{NumericDate, Validity};
use crate::jwt::verify::{ExpectedType, UnverifiedJwt};
use crate::secret::Secret;

/// How far away `exp` may be: as long as any provider lets an ID token live.
const MAXIMUM_LIFETIME: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// At most this many bytes in a `sub` (OpenID Connect Core §2).
const MAXIMUM_SUBJECT: usize = 255;

/// What an ID token has to be.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a IssuerRule,
    pub(super) client_id: &'a str,
    /// Whom the token may be for beside this client.
    pub(super) trusted_audiences: &'a [String],
    pub(super) algorithms: &'a [SignatureAlgorithm],
    /// The nonce that went out with the sign-in; none where a token is refreshed (§12.2).
    pub(super) nonce: Option<&'a Secret>,
    /// The access token that came with it, which `at_hash` is of.
    pub(super) access_token: &'a Secret,
    pub(super) now: UnixTime,
}

/// Claims that have been checked.
#[derive(Debug)]
pub(super) struct IdToken {
    /// Who it is, told apart from the people of every other issuer that the provider may have.
    pub(super) subject: String,
    /// `sub`, as the userinfo endpoint has to repeat it.
    pub(super) sub: String,
    pub(super) claims: Map<String, Value>,
}

/// Every claim without `Option` is required, and each is of its type.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: OneOrMany,
    azp: Option<String>,
    exp: NumericDate,
    iat: NumericDate,
    nbf: Option<NumericDate>,
    nonce: Option<String>,
    at_hash: Option<String>,
}

/// Checks the token against the keys of its issuer.
pub(super) fn verify(jwt: &UnverifiedJwt, keys: &JwkSet, expected: &Expected<'_>) -> Result<IdToken, IdentityError> {
    let claims: Map<String, Value> = jwt
        .verify(keys, expected.algorithms, ExpectedType::ID_TOKEN)
        .map_err(|reason| refused(reason.to_string()))?;
    let read = Claims::deserialize(Value::Object(claims.clone()))
        .map_err(|_| refused("lacks a claim that is required, or has one of the wrong type"))?;

    let Some(subject) = expected.issuer.subject(&read.iss, &read.sub, &claims) else {
        return Err(refused("is from another issuer (iss)"));
    };
    let plain = |text: &str| !text.is_empty() && text.len() <= MAXIMUM_SUBJECT && !text.chars().any(char::is_control);
    if !plain(&read.sub) {
        return Err(refused("must have a sub of 1 to 255 bytes without control characters"));
    }
    let audiences = read.aud.as_slice();
    if !audiences.iter().any(|audience| audience == expected.client_id) {
        return Err(refused("is for another client (aud)"));
    }
    let trusted = |audience: &String| {
        audience == expected.client_id || expected.trusted_audiences.iter().any(|trusted| trusted == audience)
    };
    if !audiences.iter().all(trusted) {
        return Err(refused("is also for somebody whom nobody here knows (aud)"));
    }
    match &read.azp {
        Some(azp) if azp != expected.client_id => return Err(refused("was issued to another client (azp)")),
        None if audiences.len() > 1 => {
            return Err(refused("is for several, and does not say whom it was issued to (azp)"));
        }
        _ => {}
    }
    let validity = Validity {
        expires_at: read.exp.0,
        not_before: read.nbf.map(|moment| moment.0),
        issued_at: Some(read.iat.0),
    };
    validity
        .check(expected.now, MAXIMUM_LIFETIME)
        .map_err(|untimely| refused(untimely.to_string()))?;
    if let Some(nonce) = expected.nonce {
        let is_of_sign_in = |theirs: String| nonce.digest().matches(&Secret::from(theirs));
        if !read.nonce.is_some_and(is_of_sign_in) {
            return Err(refused("is not of this sign-in (nonce)"));
        }
    }
    if let Some(at_hash) = &read.at_hash
        && !is_hash_of(at_hash, expected.access_token, jwt.algorithm())
    {
        return Err(refused("came with another access token than its own (at_hash)"));
    }
    Ok(IdToken {
        subject,
        sub: read.sub,
        claims,
    })
}

/// The left half of a hash (§3.1.3.6), which is the one of the signature: SHA-512 for Ed25519.
fn is_hash_of(at_hash: &str, access_token: &Secret, algorithm: SignatureAlgorithm) -> bool {
    let hash = match algorithm {
        SignatureAlgorithm::EdDsa => &digest::SHA512,
        _ => &digest::SHA256,
    };
    let digest = digest::digest(hash, access_token.expose().as_bytes());
    let half = &digest.as_ref()[..digest.as_ref().len() / 2];
    constant_time::verify_slices_are_equal(URL_SAFE_NO_PAD.encode(half).as_bytes(), at_hash.as_bytes()).is_ok()
}

fn refused(reason: impl Into<String>) -> IdentityError {
    IdentityError::Unusable(format!("the ID token {}", reason.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::keys::{Algorithm, SigningKey};

    const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);
    const ISSUER: &str = "https://idp.example";

    struct Issued {
        key: SigningKey,
        claims: Value,
    }

    impl Issued {
        fn new(algorithm: Algorithm) -> Self {
            let now = NOW.as_seconds();
            Self {
                key: SigningKey::generate(algorithm).unwrap(),
                claims: json!({
                    "iss": ISSUER, "sub": "U1", "aud": "client", "exp": now + 600, "iat": now, "nonce": "the nonce",
                }),
            }
        }

        fn verified(&self) -> Result<IdToken, IdentityError> {
            self.verified_as("JWT", &SignatureAlgorithm::SUPPORTED)
        }

        fn verified_as(&self, typ: &'static str, algorithms: &[SignatureAlgorithm]) -> Result<IdToken, IdentityError> {
            let token = self.key.sign_jwt(typ, &self.claims).unwrap();
            let keys = JwkSet::read(&json!({"keys": [self.key.public()]})).unwrap();
            let nonce = Secret::from("the nonce");
            verify(
                &UnverifiedJwt::parse(token.expose()).unwrap(),
                &keys,
                &Expected {
                    issuer: &IssuerRule::Exactly(ISSUER.to_owned()),
                    client_id: "client",
                    trusted_audiences: &["api".to_owned()],
                    algorithms,
                    nonce: Some(&nonce),
                    access_token: &"the access token".into(),
                    now: NOW,
                },
            )
        }
    }

    /// V-47.
    #[test]
    fn every_claim_of_an_id_token_counts() {
        let now = NOW.as_seconds();
        let mut good = Issued::new(Algorithm::Es256);
        assert_eq!(good.verified().unwrap().subject, "U1");
        for (name, wrong) in [
            ("iss", json!("https://idp.example/")),
            ("iss", json!("https://other.example")),
            ("iss", Value::Null),
            ("aud", json!("other")),
            ("aud", json!([])),
            ("aud", json!(["client", "stranger"])),
            ("aud", json!(["client", "api"])),
            ("aud", Value::Null),
            ("azp", json!("other")),
            ("sub", json!("")),
            ("sub", json!("a\nb")),
            ("sub", json!("x".repeat(256))),
            ("sub", json!(1)),
            ("exp", json!(now - 30)),
            ("exp", json!((now + 600).to_string())),
            ("exp", json!(now + 100 * 24 * 3600)),
            ("exp", Value::Null),
            ("iat", json!(now + 31)),
            ("iat", Value::Null),
            ("nbf", json!(now + 31)),
            ("nonce", json!("another nonce")),
            ("nonce", json!("")),
            ("nonce", Value::Null),
            ("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")),
            ("at_hash", json!("")),
        ] {
            let claims = good.claims.clone();
            good.claims[name] = wrong.clone();
            assert!(good.verified().is_err(), "{name}: {wrong}");
            good.claims = claims;
        }
        good.claims["aud"] = json!(["client", "api"]);
        good.claims["azp"] = json!("client");
        assert!(good.verified().is_ok(), "several audiences, with azp");
    }

    /// V-48.
    #[test]
    fn a_token_of_another_kind_is_no_id_token() {
        let issued = Issued::new(Algorithm::Es256);
        for typ in ["at+jwt", "logout+jwt", "oauth-id-jag+jwt", "client-authentication+jwt"] {
            assert!(
                issued.verified_as(typ, &SignatureAlgorithm::SUPPORTED).is_err(),
                "{typ}"
            );
        }
        assert!(issued.verified_as("JWT", &[SignatureAlgorithm::Rs256]).is_err());
    }

    #[test]
    fn the_hash_of_the_access_token_is_that_of_the_signature() {
        for (algorithm, hash) in [
            (Algorithm::Es256, &digest::SHA256),
            (Algorithm::Rs256, &digest::SHA256),
            (Algorithm::EdDsa, &digest::SHA512),
        ] {
            let mut issued = Issued::new(algorithm);
            let digest = digest::digest(hash, b"the access token");
            issued.claims["at_hash"] = json!(URL_SAFE_NO_PAD.encode(&digest.as_ref()[..digest.as_ref().len() / 2]));
            assert!(issued.verified().is_ok(), "{algorithm:?}");
            issued.claims["at_hash"] = json!(URL_SAFE_NO_PAD.encode(digest.as_ref()));
            assert!(issued.verified().is_err(), "{algorithm:?}");
        }
    }
}
