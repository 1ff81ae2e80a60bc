//! What a provider says of itself (OpenID Connect Discovery §4), fetched when it is needed and kept for a while.
//!
//! | | |
//! |---|---|
//! | fresh | for as long as the provider says, between five minutes and a day; an hour if it says nothing |
//! | at the same time | one fetch; the others wait for it |
//! | a fetch that fails for the moment | leaves what is known in use, for a day at most |
//! | errors | are not kept, but the next fetch is tried after [`RETRY_INTERVAL`] |

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::upstream::{Upstream, failed};
use crate::clock::UnixTime;
use crate::fetch::FreshnessBounds;
use crate::identity::IdentityError;
use crate::issuer::is_loopback;

const FRESHNESS: FreshnessBounds = FreshnessBounds {
    minimum: Duration::from_secs(5 * 60),
    maximum: MAXIMUM_AGE,
    unstated: Duration::from_secs(60 * 60),
};

/// Nothing is used for longer than this after it was fetched.
const MAXIMUM_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// So much time lies at least between two fetches that a failure leads to.
const RETRY_INTERVAL: Duration = Duration::from_secs(3);

/// How a client may prove itself at the token endpoint, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecretMethod {
    Basic,
    Post,
}

/// What was learnt of a provider, checked.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) jwks_uri: Url,
    /// Whether answers say which provider they are from (RFC 9207 §3).
    pub(super) answers_with_issuer: bool,
    /// How a client with a secret proves itself where the operator has not said.
    pub(super) secret_method: SecretMethod,
}

/// As it is written. What nobody here needs is not read.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    jwks_uri: String,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    response_types_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Metadata {
    /// `issuer` is compared character by character (OpenID Connect Discovery §4.3).
    pub(super) fn parse(document: &[u8], issuer: &str) -> Result<Self, IdentityError> {
        let document: Document = serde_json::from_slice(document)
            .map_err(|_| unusable("its discovery document lacks something that is required, or is none"))?;
        if document.issuer != issuer {
            return Err(unusable(
                "its discovery document names another issuer than the one that is configured, which has to be the same to the \
                 letter",
            ));
        }
        let types = document.response_types_supported.as_deref();
        if types.is_some_and(|types| !types.iter().any(|known| known == "code")) {
            return Err(unusable("it does not offer the response type code"));
        }
        let on_loopback = Url::parse(issuer).is_ok_and(|url| is_loopback(&url));
        let endpoint = |name: &str, text: &str| {
            let good = |url: &Url| {
                let secure = url.scheme() == "https" || (url.scheme() == "http" && on_loopback && is_loopback(url));
                secure && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
            };
            let url = Url::parse(text).ok().filter(good);
            url.ok_or_else(|| {
                unusable(format!(
                    "its {name} is no https URL without user name, password and fragment"
                ))
            })
        };
        let methods = document.token_endpoint_auth_methods_supported.unwrap_or_default();
        let offers = |method: &str| methods.iter().any(|known| known == method);
        Ok(Self {
            authorization_endpoint: endpoint("authorization_endpoint", &document.authorization_endpoint)?,
            token_endpoint: endpoint("token_endpoint", &document.token_endpoint)?,
            userinfo_endpoint: document
                .userinfo_endpoint
                .map(|text| endpoint("userinfo_endpoint", &text))
                .transpose()?,
            jwks_uri: endpoint("jwks_uri", &document.jwks_uri)?,
            answers_with_issuer: document.authorization_response_iss_parameter_supported,
            // Where nothing is said, it is Basic (OpenID Connect Discovery §3).
            secret_method: if offers("client_secret_post") && !offers("client_secret_basic") {
                SecretMethod::Post
            } else {
                SecretMethod::Basic
            },
        })
    }
}

#[derive(Clone)]
struct Held {
    metadata: Arc<Metadata>,
    fetched_at: UnixTime,
    fresh_until: UnixTime,
}

#[derive(Default)]
struct Known {
    held: Option<Held>,
    failed_at: Option<UnixTime>,
}

/// Fetches what a provider says of itself, and keeps it. Clones keep it together.
#[derive(Clone)]
pub(super) struct Discovery {
    known: Arc<Mutex<Known>>,
    /// Whoever holds this fetches.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Discovery")
    }
}

impl Discovery {
    pub(super) fn new() -> Self {
        Self {
            known: Arc::default(),
            turn: Arc::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change under this lock is the assignment of one field.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known at `now` and fresh, or as good as any other that could be had now.
    fn answer(&self, now: UnixTime) -> Option<Result<Arc<Metadata>, IdentityError>> {
        let known = self.known();
        let held = known.held.as_ref().filter(|held| held.fetched_at <= now);
        let failed = known
            .failed_at
            .is_some_and(|at| at <= now && now.since(at) < RETRY_INTERVAL);
        match held {
            Some(held) if now < held.fresh_until => Some(Ok(Arc::clone(&held.metadata))),
            Some(held) if failed && now.since(held.fetched_at) < MAXIMUM_AGE => Some(Ok(Arc::clone(&held.metadata))),
            _ if failed => Some(Err(IdentityError::Unavailable {
                retry_after: Some(RETRY_INTERVAL),
                source: None,
            })),
            _ => None,
        }
    }

    /// The metadata at `url`, which names `issuer`.
    pub(super) async fn get(
        &self,
        upstream: &Upstream,
        url: &Url,
        issuer: &str,
    ) -> Result<Arc<Metadata>, IdentityError> {
        if let Some(answer) = self.answer(upstream.now()) {
            return answer;
        }
        let _turn = self.turn.lock().await;
        // Whoever had the turn before may have fetched it.
        let now = upstream.now();
        if let Some(answer) = self.answer(now) {
            return answer;
        }
        let error = match upstream.fetcher.get(url).await {
            Ok(document) => match Metadata::parse(&document.body, issuer) {
                Ok(metadata) => {
                    let metadata = Arc::new(metadata);
                    let mut known = self.known();
                    known.held = Some(Held {
                        metadata: Arc::clone(&metadata),
                        fetched_at: now,
                        fresh_until: now + document.freshness.within(&FRESHNESS),
                    });
                    known.failed_at = None;
                    return Ok(metadata);
                }
                Err(error) => error,
            },
            Err(error) => failed(error),
        };
        tracing::warn!(
            issuer,
            error = &error as &dyn std::error::Error,
            "a provider cannot be discovered"
        );
        let mut known = self.known();
        known.failed_at = Some(now);
        let stand_in = known
            .held
            .as_ref()
            .filter(|held| now.since(held.fetched_at) < MAXIMUM_AGE);
        match (&error, stand_in) {
            (IdentityError::Unavailable { .. }, Some(held)) => Ok(Arc::clone(&held.metadata)),
            // What it says now counts, even if it is wrong.
            (IdentityError::Unusable(_), _) => {
                known.held = None;
                known.failed_at = None;
                Err(error)
            }
            _ => Err(error),
        }
    }
}

fn unusable(what: impl Into<String>) -> IdentityError {
    IdentityError::Unusable(what.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://idp.example";

    fn document() -> Value {
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://idp.example/authorize",
            "token_endpoint": "https://login.idp.example/token",
            "userinfo_endpoint": "https://idp.example/me",
            "jwks_uri": "https://idp.example/jwks",
        })
    }

    fn parse(document: &Value, issuer: &str) -> Result<Metadata, IdentityError> {
        Metadata::parse(document.to_string().as_bytes(), issuer)
    }

    #[test]
    fn a_document_names_its_issuer_to_the_letter() {
        assert!(parse(&document(), ISSUER).is_ok());
        for other in [
            "https://idp.example/",
            "https://IDP.example",
            "https://idp.example.evil",
            "",
        ] {
            assert!(parse(&document(), other).is_err(), "{other}");
        }
    }

    #[test]
    fn an_endpoint_is_an_https_url_and_nothing_beside() {
        for name in [
            "authorization_endpoint",
            "token_endpoint",
            "userinfo_endpoint",
            "jwks_uri",
        ] {
            for wrong in [
                json!("http://idp.example/x"),
                json!("http://127.0.0.1/x"),
                json!("https://user@idp.example/x"),
                json!("https://idp.example/x#y"),
                json!("javascript:alert(1)"),
                json!("/x"),
                json!(""),
                json!(7),
            ] {
                let mut document = document();
                document[name] = wrong.clone();
                assert!(parse(&document, ISSUER).is_err(), "{name}: {wrong}");
            }
        }
        let mut lacking = document();
        lacking.as_object_mut().unwrap().remove("jwks_uri");
        assert!(parse(&lacking, ISSUER).is_err());
    }

    #[test]
    fn plain_http_is_for_a_provider_on_loopback_alone() {
        let text = document()
            .to_string()
            .replace("https://idp.example", "http://127.0.0.1:1");
        let local = text.replace("https://login.idp.example", "http://localhost:2");
        assert!(Metadata::parse(local.as_bytes(), "http://127.0.0.1:1").is_ok());
        let elsewhere = text.replace("https://login.idp.example", "http://login.idp.example");
        assert!(Metadata::parse(elsewhere.as_bytes(), "http://127.0.0.1:1").is_err());
    }

    #[test]
    fn a_secret_goes_into_the_header_unless_only_the_form_is_offered() {
        for (methods, expected) in [
            (Value::Null, SecretMethod::Basic),
            (json!(["client_secret_post"]), SecretMethod::Post),
            (
                json!(["client_secret_post", "client_secret_basic"]),
                SecretMethod::Basic,
            ),
            (json!(["private_key_jwt"]), SecretMethod::Basic),
        ] {
            let mut document = document();
            document["token_endpoint_auth_methods_supported"] = methods.clone();
            assert_eq!(parse(&document, ISSUER).unwrap().secret_method, expected, "{methods}");
        }
    }

    proptest! {
        #[test]
        fn parsing_bytes_never_panics(document in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Metadata::parse(&document, ISSUER);
        }
    }
}
