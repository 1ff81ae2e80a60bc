//! Clients that prove themselves with a key of their own (`private_key_jwt`, RFC 7523 §2.2 and §3).
//!
//! The client signs a JWT that says who it is, who is to read it and for how long it is good, and sends it with its
//! request. What such an assertion has to say here:
//!
//! | claim | |
//! |---|---|
//! | `iss`, `sub` | both the `client_id` |
//! | `aud` | this server's issuer, to the letter, and nothing beside it |
//! | `exp` | at most an hour away ([`MAXIMUM_LIFETIME`]) |
//! | `jti` | 1 to 512 bytes, never used before by this client |
//! | `iat`, `nbf` | not in the future, if they are there |
//!
//! The header's `typ` may be absent, `JWT` or `client-authentication+jwt`. Clocks may be
//! [half a minute](crate::jwt::time::CLOCK_SKEW) apart.
//!
//! # The audience
//!
//! RFC 7523 let a client name the token endpoint, and older libraries do. But the address of a token endpoint is what
//! some metadata says, and metadata can be somebody else's: a server that names another one's token endpoint as its own
//! would be handed assertions that are good there. The issuer is what the client has checked (RFC 8414 §3.3), so the
//! revision of that specification (draft-ietf-oauth-rfc7523bis §4) asks for the issuer alone, and so does this server.
//! Libraries that send the token endpoint can be told to send the issuer; the error says so. The SDKs of MCP send the
//! issuer.
//!
//! ```
//! use mcp_oauth_core::client::assertion::{ClientAssertion, JWT_BEARER};
//! use mcp_oauth_core::parameters::Parameters;
//!
//! // {"alg":"ES256"} and {"sub":"a"}
//! let form = format!("client_assertion_type={JWT_BEARER}&client_assertion=eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.AAAA");
//! let assertion = ClientAssertion::read(&Parameters::parse(form.as_bytes())?)?.expect("there is one");
//! assert_eq!(assertion.subject().map(|id| id.as_str()), Some("a"));
//! # Ok::<_, mcp_oauth_core::error::OAuthError>(())
//! ```

use std::time::Duration;

use serde::Deserialize;

use super::{Client, ClientId};
use crate::clock::UnixTime;
use crate::error::{ErrorCode, OAuthError};
use crate::issuer::Issuer;
use crate::jwt::SignatureAlgorithm;
use crate::jwt::claims::{JwtId, OneOrMany, SingleUse};
use crate::jwt::keys::JwkSet;
use crate::jwt::time::{NumericDate, Untimely, Validity};
use crate::jwt::verify::{ExpectedType, JwtRefused, UnverifiedJwt};
use crate::parameters::Parameters;

/// The one `client_assertion_type` (RFC 7523 §2.2).
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How far away the `exp` of an assertion may be. Libraries choose between a minute and an hour.
pub const MAXIMUM_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// A client's assertion, as it came. Nothing it says has been checked.
#[derive(Clone, Debug)]
pub struct ClientAssertion {
    jwt: UnverifiedJwt,
    subject: Option<ClientId>,
}

/// Every claim is required, and of its type.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: OneOrMany,
    exp: NumericDate,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    jti: JwtId,
}

/// Why an assertion does not prove its client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AssertionRefused {
    /// It was not signed by the client. A stranger is not told more than that.
    #[error("the client assertion {0}")]
    NotTheClients(JwtRefused),
    #[error("the client assertion must have iss and sub, and both must be the client_id")]
    Client,
    #[error(
        "the aud of the client assertion must be the issuer {0} and nothing else, not the URL of the token endpoint"
    )]
    Audience(String),
    #[error("the client assertion {0}")]
    Time(#[from] Untimely),
    #[error("the client assertion needs iss, sub, aud, exp and jti, each of its JSON type and once")]
    Claims,
}

impl ClientAssertion {
    /// Reads the assertion of a request, if there is one.
    ///
    /// # Errors
    ///
    /// * `invalid_request` when one of the two parameters is missing or there more than once.
    /// * `invalid_client` when the type is another one, or the assertion is no signed JWT (RFC 7521 §4.2.1).
    pub fn read(form: &Parameters) -> Result<Option<Self>, OAuthError> {
        #[derive(Deserialize)]
        struct Subject {
            sub: Option<String>,
        }
        let missing = |name: &str| OAuthError::new(ErrorCode::InvalidRequest, format!("{name} is missing"));
        let assertion = match (form.get("client_assertion_type")?, form.get("client_assertion")?) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(missing("client_assertion_type")),
            (Some(_), None) => return Err(missing("client_assertion")),
            (Some(JWT_BEARER), Some(assertion)) => assertion,
            (Some(_), Some(_)) => {
                let description = format!("client_assertion_type must be {JWT_BEARER}");
                return Err(OAuthError::new(ErrorCode::InvalidClient, description));
            }
        };
        let jwt = UnverifiedJwt::parse(assertion)
            .map_err(|refused| OAuthError::new(ErrorCode::InvalidClient, format!("the client assertion {refused}")))?;
        let subject = jwt.claimed::<Subject>().ok().and_then(|claims| claims.sub);
        Ok(Some(Self {
            subject: subject.and_then(|subject| subject.parse().ok()),
            jwt,
        }))
    }

    /// The client that it says it is.
    #[must_use]
    pub fn subject(&self) -> Option<&ClientId> {
        self.subject.as_ref()
    }

    /// The name of the key that it says it was signed with.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.jwt.kid()
    }

    /// Does the work of a verification for nothing, for a client that is unknown or has no keys.
    pub(crate) fn verify_in_vain(&self) {
        self.jwt.verify_in_vain();
    }

    /// Whether the assertion is this client's, is meant for this server, and is good now. What has to be remembered so
    /// that it is good for one request comes back.
    pub(crate) fn verify(
        &self,
        client: &Client,
        keys: &JwkSet,
        issuer: &Issuer,
        now: UnixTime,
    ) -> Result<SingleUse, AssertionRefused> {
        let registered = client.metadata.token_endpoint_auth_signing_alg;
        let allowed = registered
            .as_ref()
            .map_or(SignatureAlgorithm::SUPPORTED.as_slice(), std::slice::from_ref);
        let claims: Claims = self
            .jwt
            .verify(keys, allowed, ExpectedType::CLIENT_AUTHENTICATION)
            .map_err(|refused| match refused {
                JwtRefused::Claims => AssertionRefused::Claims,
                refused => AssertionRefused::NotTheClients(refused),
            })?;
        let client_id = client.client_id.as_str();
        if claims.iss != client_id || claims.sub != client_id {
            return Err(AssertionRefused::Client);
        }
        if !claims.aud.is_only(issuer.as_str()) {
            return Err(AssertionRefused::Audience(issuer.as_str().to_owned()));
        }
        let validity = Validity {
            expires_at: claims.exp.0,
            not_before: claims.nbf.map(|moment| moment.0),
            issued_at: claims.iat.map(|moment| moment.0),
        };
        validity.check(now, MAXIMUM_LIFETIME)?;
        Ok(SingleUse::of(
            "client assertion",
            client_id,
            &claims.jti,
            validity.until(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::client::registration::RegistrationRequest;
    use crate::client::{ClientCredential, ClientId};
    use crate::token::keys::{Algorithm, KeySet};

    const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);
    const ISSUER: &str = "https://auth.example.com";

    struct Setting {
        keys: KeySet,
        client: Client,
        claims: Value,
    }

    impl Setting {
        fn new() -> Self {
            let keys = KeySet::generate(Algorithm::Es256).unwrap();
            let metadata = json!({"redirect_uris": ["http://127.0.0.1/"], "token_endpoint_auth_method": "private_key_jwt",
                "jwks": keys.public()});
            let client_id = ClientId::random();
            let client = Client {
                client_id: client_id.clone(),
                client_id_issued_at: NOW,
                expires_at: None,
                credential: ClientCredential::Keys,
                registration_access_token: None,
                document_fresh_until: None,
                metadata: RegistrationRequest::parse(metadata.to_string().as_bytes())
                    .unwrap()
                    .accept(&crate::client::redirect_uri_policy::RedirectUriPolicy::default())
                    .unwrap(),
            };
            let seconds = NOW.as_seconds();
            let claims = json!({"iss": client_id, "sub": client_id, "aud": ISSUER, "exp": seconds + 60, "iat": seconds,
                "jti": "1"});
            Self { keys, client, claims }
        }

        fn form(&self, claims: &Value) -> Parameters {
            let assertion = self.keys.sign_anything(&json!({"alg": "ES256"}), claims);
            [("client_assertion_type", JWT_BEARER), ("client_assertion", &assertion)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter()
                .collect()
        }

        fn verify(&self, claims: &Value) -> Result<SingleUse, AssertionRefused> {
            let keys = JwkSet::read(&serde_json::to_value(self.keys.public()).unwrap()).unwrap();
            let assertion = ClientAssertion::read(&self.form(claims)).unwrap().unwrap();
            assertion.verify(&self.client, &keys, &ISSUER.parse().unwrap(), NOW)
        }

        fn with(&self, name: &str, value: Value) -> Option<AssertionRefused> {
            let mut claims = self.claims.clone();
            claims[name] = value;
            self.verify(&claims).err()
        }
    }

    #[test]
    fn a_good_assertion_is_remembered_until_nobody_takes_it_any_more() {
        let setting = Setting::new();
        let single = setting.verify(&setting.claims).unwrap();
        assert_eq!(single.until, NOW + Duration::from_secs(90));
        let again = setting.verify(&setting.claims).unwrap();
        assert_eq!(single, again, "the same assertion has the same name");
        let mut other = setting.claims.clone();
        other["jti"] = json!("2");
        assert_ne!(setting.verify(&other).unwrap().id, single.id);
        let somebody = Setting::new();
        assert_ne!(somebody.verify(&somebody.claims).unwrap().id, single.id);
    }

    /// Whose keys are elsewhere has them fetched again for a name that is new.
    #[test]
    fn an_assertion_says_who_signed_it_and_with_which_key() {
        let setting = Setting::new();
        let read = |header: &Value| {
            let assertion = setting.keys.sign_anything(header, &setting.claims);
            let form = [("client_assertion_type", JWT_BEARER), ("client_assertion", &assertion)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter()
                .collect();
            ClientAssertion::read(&form).unwrap().unwrap()
        };
        let named = read(&json!({"alg": "ES256", "kid": "the second"}));
        assert_eq!(named.kid(), Some("the second"));
        assert_eq!(named.subject(), Some(&setting.client.client_id));
        assert_eq!(read(&json!({"alg": "ES256"})).kid(), None);
    }

    #[test]
    fn each_claim_is_required_and_of_its_type() {
        let setting = Setting::new();
        for name in ["iss", "sub", "aud", "exp", "jti"] {
            let mut claims = setting.claims.clone();
            claims.as_object_mut().unwrap().remove(name);
            assert_eq!(setting.verify(&claims), Err(AssertionRefused::Claims), "{name}");
            for wrong in [json!(null), json!(true), json!({}), json!([1])] {
                assert_eq!(setting.with(name, wrong), Some(AssertionRefused::Claims), "{name}");
            }
        }
        let exp = NOW.as_seconds() + 60;
        for wrong in [json!(exp.to_string()), json!(-1), json!([exp])] {
            assert_eq!(setting.with("exp", wrong), Some(AssertionRefused::Claims));
        }
        for wrong in [json!("now"), json!(false)] {
            assert_eq!(setting.with("iat", wrong.clone()), Some(AssertionRefused::Claims));
            assert_eq!(setting.with("nbf", wrong), Some(AssertionRefused::Claims));
        }
        for wrong in [json!(""), json!(7), json!("x".repeat(513))] {
            assert_eq!(setting.with("jti", wrong), Some(AssertionRefused::Claims));
        }
        let mut without = setting.claims.clone();
        without.as_object_mut().unwrap().remove("iat");
        assert!(setting.verify(&without).is_ok(), "iat is not required");
    }

    #[test]
    fn the_client_is_named_twice_and_is_the_one_that_signed() {
        let setting = Setting::new();
        for name in ["iss", "sub"] {
            for other in ["somebody", "", ISSUER] {
                assert_eq!(setting.with(name, json!(other)), Some(AssertionRefused::Client));
            }
        }
        let stranger = Setting::new();
        let form = stranger.form(&setting.claims);
        let keys = JwkSet::read(&serde_json::to_value(setting.keys.public()).unwrap()).unwrap();
        let refused = ClientAssertion::read(&form).unwrap().unwrap().verify(
            &setting.client,
            &keys,
            &ISSUER.parse().unwrap(),
            NOW,
        );
        assert_eq!(refused, Err(AssertionRefused::NotTheClients(JwtRefused::Signature)));
    }

    #[test]
    fn the_audience_is_the_issuer_alone() {
        let setting = Setting::new();
        assert_eq!(setting.with("aud", json!([ISSUER])), None);
        for other in [
            json!("https://auth.example.com/"),
            json!("https://auth.example.com/token"),
            json!("https://AUTH.example.com"),
            json!("https://other.example"),
            json!(""),
            json!([]),
            json!([ISSUER, "https://other.example"]),
            json!([ISSUER, ISSUER]),
        ] {
            let refused = setting.with("aud", other.clone()).unwrap();
            assert_eq!(refused, AssertionRefused::Audience(ISSUER.to_owned()), "{other}");
            assert!(refused.to_string().contains(ISSUER));
        }
    }

    #[test]
    fn the_times_are_held_against_the_clock() {
        let setting = Setting::new();
        let now = NOW.as_seconds();
        for (claim, value) in [
            ("exp", now - 30),
            ("exp", now + 3600 + 31),
            ("exp", u64::MAX),
            ("nbf", now + 31),
            ("iat", now + 31),
        ] {
            let refused = setting.with(claim, json!(value)).unwrap();
            assert!(matches!(refused, AssertionRefused::Time(_)), "{claim} {value}");
        }
        assert_eq!(setting.with("exp", json!(now + 3600)), None);
        assert_eq!(setting.with("nbf", json!(now + 30)), None);
    }

    #[test]
    fn only_the_algorithm_that_the_client_registered_counts() {
        let mut setting = Setting::new();
        setting.client.metadata.token_endpoint_auth_signing_alg = Some(SignatureAlgorithm::Es256);
        assert!(setting.verify(&setting.claims).is_ok());
        setting.client.metadata.token_endpoint_auth_signing_alg = Some(SignatureAlgorithm::Rs256);
        assert_eq!(
            setting.verify(&setting.claims),
            Err(AssertionRefused::NotTheClients(JwtRefused::Algorithm))
        );
    }

    #[test]
    fn half_an_assertion_is_an_invalid_request_and_another_kind_an_invalid_client() {
        let read = |form: &str| ClientAssertion::read(&Parameters::parse(form.as_bytes()).unwrap());
        assert!(
            read("client_id=a&client_assertion=&client_assertion_type=")
                .unwrap()
                .is_none()
        );
        let code = |form: &str| read(form).unwrap_err().code();
        let bearer = format!("client_assertion_type={JWT_BEARER}");
        assert_eq!(code("client_assertion=a.b.c"), ErrorCode::InvalidRequest);
        assert_eq!(code(&bearer), ErrorCode::InvalidRequest);
        assert_eq!(
            code(&format!("{bearer}&client_assertion=a&client_assertion=a")),
            ErrorCode::InvalidRequest
        );
        assert_eq!(
            code(&format!("{bearer}&client_assertion=a.b.c")),
            ErrorCode::InvalidClient
        );
        let saml = "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer&client_assertion=x";
        assert_eq!(code(saml), ErrorCode::InvalidClient);
    }

    proptest! {
        #[test]
        fn reading_never_panics(assertion in r#"[A-Za-z0-9_=.{}"-]{0,200}"#) {
            let form: Parameters = [("client_assertion_type", JWT_BEARER), ("client_assertion", &assertion)]
                .map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
            let _ = ClientAssertion::read(&form);
        }
    }
}
