//! Software statements: somebody else's word for what a client says of itself (RFC 7591 §2.3).
//!
//! A publisher signs a JWT whose claims are metadata, and each copy of its software sends it along when it registers. What
//! the statement says counts for more than what the client says beside it (§3.1.1), but only if its issuer is one that the
//! operator trusts. There are three ways to go about it, see [`SoftwareStatements`]; the default is to ignore them, since
//! hardly any MCP client has one, and a claim that nobody checks is worth nothing.
//!
//! A trusted statement has a signature of one of its issuer's keys, `iss`, and `software_id`, so that no other JWT of the
//! same issuer can pass for one; `exp`, `nbf` and `iat` count if they are there, and `aud` has to name this server if it is
//! there. It is kept with the registration and echoed (§3.2.1).
//!
//! # Where codes are sent
//!
//! A statement is no secret: every copy of the software has it, and so has whoever takes it out of one. Where a statement is
//! [required](SoftwareStatements::Required), the operator counts on clients being what their publisher says, so the
//! redirect URIs have to come from it too, or anybody could register a name that is vouched for with an address of their
//! own. A publisher that leaves the addresses to its customers has to be told so
//! ([`leave_redirect_uris_to_clients`](TrustedIssuers::leave_redirect_uris_to_clients)); then only
//! [`only_hosts`](crate::client::redirect_uri_policy::RedirectUriPolicy::only_hosts) says where codes go. Where a
//! statement is merely [trusted](SoftwareStatements::Trusted), anybody may register anything without one, so nothing is
//! gained by asking.
//!
//! ```
//! use mcp_oauth_core::client::registration::statement::{SoftwareStatements, TrustedIssuers};
//! use mcp_oauth_core::jwt::keys::JwkSet;
//!
//! let keys = JwkSet::parse(br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?;
//! let trusted = SoftwareStatements::Trusted(TrustedIssuers::default().trust("https://publisher.example", keys));
//! # let _ = trusted;
//! # Ok::<_, mcp_oauth_core::jwt::keys::InvalidJwkSet>(())
//! ```

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{InvalidRegistration, RegistrationRequest, refuse};
use crate::clock::UnixTime;
use crate::issuer::Issuer;
use crate::jwt::SignatureAlgorithm;
use crate::jwt::claims::OneOrMany;
use crate::jwt::keys::JwkSet;
use crate::jwt::time::{CLOCK_SKEW, NumericDate};
use crate::jwt::verify::{ExpectedType, JwtRefused, UnverifiedJwt};
use crate::members::Members;

/// What becomes of software statements.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum SoftwareStatements {
    /// They are ignored, as RFC 7591 §3.1.1 lets a server do: what the client says itself counts.
    #[default]
    Ignored,
    /// A registration that has one is refused.
    Refused,
    /// They are believed if one of these issuers has signed them, and refused otherwise. A client without one registers as
    /// ever.
    Trusted(TrustedIssuers),
    /// The same, and a client without one is refused, or with one that leaves open where codes are sent.
    Required(TrustedIssuers),
}

/// Whose software statements are believed, and the keys by which they are known.
#[derive(Clone, Default)]
pub struct TrustedIssuers {
    keys: Vec<(String, JwkSet)>,
    leaves_redirect_uris: bool,
}

impl TrustedIssuers {
    /// Believes what this issuer, as it stands in `iss`, has signed with these keys.
    #[must_use]
    pub fn trust(mut self, issuer: impl Into<String>, keys: JwkSet) -> Self {
        self.keys.push((issuer.into(), keys));
        self
    }

    /// Lets clients say themselves where codes are sent, also where a statement is required that does not.
    #[must_use]
    pub fn leave_redirect_uris_to_clients(mut self) -> Self {
        self.leaves_redirect_uris = true;
        self
    }
}

impl fmt::Debug for TrustedIssuers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.keys.iter().map(|(issuer, _)| issuer))
            .finish()
    }
}

/// Why a software statement is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidStatement {
    /// It is no text.
    #[error("the software statement must be a text: a signed JWT")]
    NotAText,
    /// It is no JWT, or its signature is not that of its issuer.
    #[error("the software statement {0}")]
    Jwt(#[from] JwtRefused),
    /// It is over, or not good yet.
    #[error("the software statement has expired or is not good yet (exp, nbf, iat)")]
    Untimely,
    /// It is for another server.
    #[error("the software statement is for another server (aud)")]
    Audience,
    /// It says nothing about redirect URIs, and what the client says does not count here.
    #[error("the software statement must hold redirect_uris: what the client says itself does not count here")]
    RedirectUris,
}

/// Claims that say something about the statement, and nothing about the client (RFC 7519 §4.1).
const ABOUT_THE_STATEMENT: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

#[derive(Deserialize)]
struct Claims {
    iss: String,
    software_id: String,
    aud: Option<OneOrMany>,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    #[serde(flatten)]
    metadata: Map<String, Value>,
}

#[derive(Deserialize)]
struct Issued {
    iss: String,
}

impl SoftwareStatements {
    /// Reads a registration request, with what its software statement has to say.
    pub(crate) fn read(
        &self,
        body: &[u8],
        server: &Issuer,
        now: UnixTime,
    ) -> Result<RegistrationRequest, InvalidRegistration> {
        let (trusted, required) = match self {
            Self::Ignored => return RegistrationRequest::parse(body),
            Self::Refused => (None, false),
            Self::Trusted(trusted) => (Some(trusted), false),
            Self::Required(trusted) => (Some(trusted), true),
        };
        let Ok(Members(mut members)) = serde_json::from_slice(body) else {
            return refuse("the request must be a JSON object, without a member that is there twice");
        };
        let statement = members
            .remove("software_statement")
            .filter(|statement| !statement.is_null() && statement != "");
        let Some(statement) = statement else {
            return if required {
                refuse("software_statement is required here: clients register with the word of their publisher")
            } else {
                RegistrationRequest::of_members(members, None)
            };
        };
        let trusted = trusted.ok_or(InvalidRegistration::UnapprovedStatement)?;
        let Value::String(statement) = statement else {
            return Err(InvalidStatement::NotAText.into());
        };
        let stated: Vec<_> = trusted.metadata(&statement, server, now)?.collect();
        let says_where = stated.iter().any(|(name, _)| name == "redirect_uris");
        if required && !trusted.leaves_redirect_uris && !says_where && members.contains_key("redirect_uris") {
            return Err(InvalidStatement::RedirectUris.into());
        }
        members.extend(stated);
        RegistrationRequest::of_members(members, Some(statement))
    }
}

impl TrustedIssuers {
    /// What the statement says of the client, if it is believed.
    fn metadata(
        &self,
        statement: &str,
        server: &Issuer,
        now: UnixTime,
    ) -> Result<impl Iterator<Item = (String, Value)> + use<>, InvalidRegistration> {
        let jwt = UnverifiedJwt::parse(statement).map_err(InvalidStatement::from)?;
        let Issued { iss } = jwt.claimed().map_err(InvalidStatement::from)?;
        let mut keys = self
            .keys
            .iter()
            .filter(|(issuer, _)| *issuer == iss)
            .map(|(_, keys)| keys);
        let keys = keys.next().ok_or(InvalidRegistration::UnapprovedStatement)?;
        let claims: Claims = jwt
            .verify(keys, &SignatureAlgorithm::SUPPORTED, ExpectedType::SOFTWARE_STATEMENT)
            .map_err(InvalidStatement::from)?;
        if claims.iss != iss {
            return Err(InvalidRegistration::UnapprovedStatement);
        }
        let over = claims.exp.is_some_and(|NumericDate(exp)| exp + CLOCK_SKEW <= now);
        let future = |moment: Option<NumericDate>| moment.is_some_and(|NumericDate(moment)| moment > now + CLOCK_SKEW);
        if over || future(claims.nbf) || future(claims.iat) {
            return Err(InvalidStatement::Untimely.into());
        }
        let for_us = |audience: &OneOrMany| audience.as_slice().iter().any(|name| name == server.as_str());
        if !claims.aud.as_ref().is_none_or(for_us) {
            return Err(InvalidStatement::Audience.into());
        }
        let software_id = ("software_id".to_owned(), Value::String(claims.software_id));
        let about_the_client = |(name, _): &(String, Value)| !ABOUT_THE_STATEMENT.contains(&name.as_str());
        Ok(claims
            .metadata
            .into_iter()
            .filter(about_the_client)
            .chain([software_id]))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::client::redirect_uri_policy::RedirectUriPolicy;
    use crate::client::registration::ClientMetadata;
    use crate::error::{ErrorCode, OAuthError};
    use crate::token::keys::{Algorithm, KeySet};

    const PUBLISHER: &str = "https://publisher.example";
    const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);

    struct Publisher {
        keys: KeySet,
        trusted: TrustedIssuers,
    }

    impl Publisher {
        fn new() -> Self {
            let keys = KeySet::generate(Algorithm::Es256).unwrap();
            let published = JwkSet::read(&serde_json::to_value(keys.public()).unwrap()).unwrap();
            let trusted = TrustedIssuers::default().trust(PUBLISHER, published);
            Self { keys, trusted }
        }

        fn sign(&self, claims: &Value) -> String {
            let kid = &self.keys.public().keys[0].kid;
            self.keys.sign_anything(&json!({"alg": "ES256", "kid": kid}), claims)
        }

        /// A good statement, with these claims changed; `null` takes one away.
        fn statement(&self, changes: &Value) -> String {
            let mut claims = json!({"iss": PUBLISHER, "software_id": "4NRB1"});
            for (name, value) in changes.as_object().unwrap() {
                if value.is_null() {
                    claims.as_object_mut().unwrap().remove(name);
                } else {
                    claims[name] = value.clone();
                }
            }
            self.sign(&claims)
        }
    }

    fn register(policy: &SoftwareStatements, members: &Value) -> Result<ClientMetadata, OAuthError> {
        let mut request = json!({"redirect_uris": ["https://client.example/cb"], "client_name": "What it says itself"});
        for (name, value) in members.as_object().unwrap() {
            request[name] = value.clone();
        }
        let server = "https://auth.example".parse().unwrap();
        let request = policy.read(request.to_string().as_bytes(), &server, NOW)?;
        Ok(request.accept(&RedirectUriPolicy::default())?)
    }

    fn refused(policy: &SoftwareStatements, statement: impl Into<Value>) -> ErrorCode {
        let members = json!({"software_statement": statement.into()});
        register(policy, &members).unwrap_err().code()
    }

    #[test]
    fn what_a_trusted_statement_says_overrides_what_the_client_says_and_is_echoed() {
        let publisher = Publisher::new();
        let statement = publisher.statement(&json!({
            "client_name": "What its publisher says", "client_name#de": "Was der Verlag sagt",
            "redirect_uris": ["https://publisher.example/cb"], "jti": "x", "iat": 1_780_000_000,
        }));
        let policy = SoftwareStatements::Trusted(publisher.trusted.clone());
        let members =
            json!({"software_statement": statement, "software_id": "another", "tos_uri": "https://client.example"});
        let metadata = serde_json::to_value(register(&policy, &members).unwrap()).unwrap();
        for (name, value) in [
            ("client_name", json!("What its publisher says")),
            ("client_name#de", json!("Was der Verlag sagt")),
            ("redirect_uris", json!(["https://publisher.example/cb"])),
            ("software_id", json!("4NRB1")),
            ("tos_uri", json!("https://client.example")),
            ("software_statement", json!(statement)),
        ] {
            assert_eq!(metadata[name], value, "{name}");
        }
        assert!(metadata.get("iss").is_none() && metadata.get("jti").is_none());
    }

    #[test]
    fn what_a_trusted_statement_says_has_to_be_good_like_anything_else() {
        let publisher = Publisher::new();
        let statement = publisher.statement(&json!({"redirect_uris": ["http://evil.example/"]}));
        let policy = SoftwareStatements::Trusted(publisher.trusted.clone());
        assert_eq!(refused(&policy, statement), ErrorCode::InvalidRedirectUri);
        let statement = publisher.statement(&json!({"client_name": 5}));
        assert_eq!(refused(&policy, statement), ErrorCode::InvalidClientMetadata);
    }

    #[test]
    fn whom_one_trusts_is_shown_by_name_and_without_keys() {
        let shown = format!("{:?}", Publisher::new().trusted);
        assert_eq!(shown, format!("[\"{PUBLISHER}\"]"));
    }

    #[test]
    fn a_statement_that_is_not_its_issuers_is_invalid() {
        let (publisher, stranger) = (Publisher::new(), Publisher::new());
        let policy = SoftwareStatements::Trusted(publisher.trusted.clone());
        let good = publisher.statement(&json!({}));
        let unsigned = good.rsplit_once('.').map(|(signed, _)| format!("{signed}.")).unwrap();
        for statement in [
            json!(stranger.statement(&json!({}))),
            json!(unsigned),
            json!("x"),
            json!("a.b.c"),
            json!(5),
            json!({"iss": PUBLISHER}),
            json!(publisher.statement(&json!({"software_id": null}))),
            json!(publisher.statement(&json!({"software_id": 5}))),
            json!(publisher.statement(&json!({"iss": null}))),
        ] {
            assert_eq!(
                refused(&policy, statement.clone()),
                ErrorCode::InvalidSoftwareStatement,
                "{statement}"
            );
        }
        assert!(register(&policy, &json!({"software_statement": good})).is_ok());
    }

    #[test]
    fn a_statement_of_an_issuer_that_is_not_trusted_is_not_approved() {
        let publisher = Publisher::new();
        let statement = publisher.statement(&json!({"iss": "https://stranger.example"}));
        for policy in [
            SoftwareStatements::Trusted(publisher.trusted.clone()),
            SoftwareStatements::Trusted(TrustedIssuers::default()),
            SoftwareStatements::Refused,
        ] {
            assert_eq!(
                refused(&policy, statement.clone()),
                ErrorCode::UnapprovedSoftwareStatement
            );
        }
    }

    #[test]
    fn times_and_audience_count_if_they_are_there() {
        let publisher = Publisher::new();
        let policy = SoftwareStatements::Trusted(publisher.trusted.clone());
        let at = |seconds: u64| json!(NOW.as_seconds() - 100 + seconds);
        for claims in [
            json!({"exp": at(0)}),
            json!({"exp": "tomorrow"}),
            json!({"nbf": at(200)}),
            json!({"iat": at(200)}),
            json!({"aud": "https://other.example"}),
            json!({"aud": []}),
        ] {
            assert_eq!(
                refused(&policy, publisher.statement(&claims)),
                ErrorCode::InvalidSoftwareStatement,
                "{claims}"
            );
        }
        for claims in [
            json!({"exp": at(100 - 29)}),
            json!({"nbf": at(100 + 30), "iat": at(100 + 30)}),
        ] {
            let members = json!({"software_statement": publisher.statement(&claims)});
            assert!(register(&policy, &members).is_ok(), "clocks may be apart: {claims}");
        }
        for claims in [
            json!({"exp": at(100 - 30)}),
            json!({"nbf": at(100 + 31)}),
            json!({"iat": at(100 + 31)}),
        ] {
            let statement = publisher.statement(&claims);
            assert_eq!(
                refused(&policy, statement),
                ErrorCode::InvalidSoftwareStatement,
                "{claims}"
            );
        }
        let good = json!({"exp": at(200), "nbf": at(0), "iat": at(0), "aud": ["https://other.example", "https://auth.example"]});
        let members = json!({"software_statement": publisher.statement(&good)});
        assert!(register(&policy, &members).is_ok());
        assert_eq!(CLOCK_SKEW, Duration::from_secs(30));
    }

    #[test]
    fn a_client_without_a_statement_registers_as_ever_unless_one_is_required() {
        let publisher = Publisher::new();
        let required = SoftwareStatements::Required(publisher.trusted.clone());
        for without in [
            json!({}),
            json!({"software_statement": null}),
            json!({"software_statement": ""}),
        ] {
            for policy in [
                SoftwareStatements::Ignored,
                SoftwareStatements::Refused,
                SoftwareStatements::Trusted(publisher.trusted.clone()),
            ] {
                assert_eq!(register(&policy, &without).unwrap().software_statement, None);
            }
            let error = register(&required, &without).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidClientMetadata);
        }
        let statement = publisher.statement(&json!({"redirect_uris": ["https://publisher.example/cb"]}));
        assert!(register(&required, &json!({ "software_statement": statement })).is_ok());
    }

    #[test]
    fn where_a_statement_is_required_it_says_where_codes_are_sent() {
        let publisher = Publisher::new();
        let silent = json!({"software_statement": publisher.statement(&json!({}))});
        let required = SoftwareStatements::Required(publisher.trusted.clone());
        assert_eq!(
            register(&required, &silent).unwrap_err().code(),
            ErrorCode::InvalidSoftwareStatement
        );
        let uris = json!(["https://publisher.example/cb"]);
        let statement = publisher.statement(&json!({ "redirect_uris": uris }));
        let registered = register(&required, &json!({ "software_statement": statement })).unwrap();
        assert_eq!(serde_json::to_value(registered).unwrap()["redirect_uris"], uris);
        let lenient = publisher.trusted.clone().leave_redirect_uris_to_clients();
        for policy in [
            SoftwareStatements::Required(lenient),
            SoftwareStatements::Trusted(publisher.trusted.clone()),
        ] {
            let registered = register(&policy, &silent).unwrap();
            assert_eq!(registered.redirect_uris[0].as_str(), "https://client.example/cb");
        }
    }

    #[test]
    fn an_ignored_statement_says_nothing_and_is_not_echoed() {
        let statement = Publisher::new().statement(&json!({"client_name": "What its publisher says"}));
        for statement in [json!(statement), json!(5), json!("x")] {
            let metadata = register(&SoftwareStatements::Ignored, &json!({"software_statement": statement})).unwrap();
            assert_eq!(metadata.client_name.as_deref(), Some("What it says itself"));
            assert_eq!(metadata.software_statement, None);
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), statement in ".{0,60}") {
            let policy = SoftwareStatements::Trusted(Publisher::new().trusted);
            let _ = policy.read(&bytes, &"https://auth.example".parse().unwrap(), NOW);
            let _ = register(&policy, &json!({"software_statement": statement}));
        }
    }
}
