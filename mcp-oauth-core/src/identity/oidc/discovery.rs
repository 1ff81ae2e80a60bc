//! What a provider says of itself (OpenID Connect Discovery §4), fetched when it is needed and kept for a while.
//!
//! | | |
//! |---|---|
//! | fresh | for as long as the provider says, between five minutes and a day; an hour if it says nothing |
//! | at the same time | one fetch; the others wait for it |
//! | a fetch that fails for the moment | leaves what is known in use, for a day at most |
//! | errors | are not kept, but the next fetch is tried after three seconds |

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::upstream::{Upstream, failed};
use crate::fetch::FreshnessBounds;
use crate::fetch::kept::{Ages, Kept};
use crate::identity::IdentityError;
use crate::issuer::is_loopback;

const FRESHNESS: FreshnessBounds = FreshnessBounds {
    minimum: Duration::from_secs(5 * 60),
    maximum: AGES.maximum,
    unstated: Duration::from_secs(60 * 60),
};

/// Somebody waits in front of a sign-in page, so a failure is not held against a provider for long.
const AGES: Ages = Ages {
    maximum: Duration::from_secs(24 * 60 * 60),
    retry: Duration::from_secs(3),
};

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

/// Fetches what a provider says of itself, and keeps it. Clones keep it together.
#[derive(Clone)]
pub(super) struct Discovery(Arc<Kept<Metadata>>);

impl std::fmt::Debug for Discovery {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Discovery")
    }
}

/// Whatever is known of a provider will do.
fn anything(_: &Metadata) -> bool {
    true
}

fn not_now() -> IdentityError {
    IdentityError::Unavailable {
        retry_after: Some(AGES.retry),
        source: None,
    }
}

impl Discovery {
    pub(super) fn new() -> Self {
        Self(Arc::new(Kept::new(AGES)))
    }

    /// The metadata at `url`, which names `issuer`.
    pub(super) async fn get(
        &self,
        upstream: &Upstream,
        url: &Url,
        issuer: &str,
    ) -> Result<Arc<Metadata>, IdentityError> {
        if let Some(answer) = self.0.answer(upstream.now(), anything) {
            return answer.or(not_now);
        }
        let _turn = self.0.turn().await;
        // Whoever had the turn before may have fetched it.
        let now = upstream.now();
        if let Some(answer) = self.0.answer(now, anything) {
            return answer.or(not_now);
        }
        let error = match upstream.fetcher.get(url).await {
            Ok(document) => match Metadata::parse(&document.body, issuer) {
                Ok(metadata) => {
                    let metadata = Arc::new(metadata);
                    let lifetime = document.freshness.within(&FRESHNESS);
                    self.0.succeeded(Arc::clone(&metadata), lifetime, now);
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
        match error {
            // What it says now counts, even if it is wrong.
            IdentityError::Unusable(_) => {
                self.0.forget();
                Err(error)
            }
            IdentityError::Unavailable { .. } => {
                self.0.failed(now);
                self.0.stand_in(now, anything).ok_or(error)
            }
            error => {
                self.0.failed(now);
                Err(error)
            }
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
