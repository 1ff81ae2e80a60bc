//! Clients that prove themselves with keys which their document names.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::ConnectInfo;
use http::Method;
use mcp_oauth_core::fetch::Resolve;
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_core::store::Kind;
use mcp_oauth_tests::application::{Answer, Application, encode, request};
use mcp_oauth_tests::client::Tokens;
use mcp_oauth_tests::signing::{Signer, post};
use mcp_oauth_tower::Fetcher;
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, ResponseTemplate};

use super::{Published, REDIRECT_URI};

/// What ChatGPT publishes, in its shape.
fn with_keys_at(document: &Value, address: &str) -> Value {
    let mut document = document.clone();
    document["token_endpoint_auth_method"] = json!("private_key_jwt");
    document["token_endpoint_auth_signing_alg"] = json!("EdDSA");
    document["jwks_uri"] = json!(address);
    document
}

/// The document of a client that proves itself with this key, which stands in it.
fn with_keys_of(document: &Value, signer: &Signer) -> Value {
    let mut document = document.clone();
    document["token_endpoint_auth_method"] = json!("private_key_jwt");
    document["jwks"] = signer.jwks();
    document
}

impl Published {
    /// Publishes a document, and keys beside it.
    async fn publishes_with_keys(&self, document: &Value, keys: &Value) {
        self.publishes(document).await;
        Mock::given(path("/jwks"))
            .respond_with(ResponseTemplate::new(200).set_body_json(keys))
            .mount(&self.host)
            .await;
    }

    async fn redeem_with(&self, signer: &Signer, code: &str) -> Answer {
        let assertion = signer.assertion(&self.application, &self.client.client_id, &json!({}));
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", &self.client.verifier),
        ];
        post(&self.application, "/token", &assertion, &fields).await
    }

    async fn refresh_with(&self, signer: &Signer, refresh_token: &str) -> Answer {
        let assertion = signer.assertion(&self.application, &self.client.client_id, &json!({}));
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        post(&self.application, "/token", &assertion, &fields).await
    }
}

#[tokio::test]
async fn a_client_with_a_document_proves_itself_with_keys_at_an_address() {
    let published = Published::new().await;
    let signer = Signer::new("a");
    let address = format!("{}/jwks", published.host.uri());
    let document = with_keys_at(&published.document(), &address);
    published.publishes_with_keys(&document, &signer.jwks()).await;
    let code = published.code().await;
    assert_eq!(
        published.fetches().await,
        1,
        "keys are fetched when there is something to verify"
    );
    let tokens = Tokens::of(&published.redeem_with(&signer, &code).await);
    let refreshed = published.refresh_with(&signer, &tokens.refresh_token).await;
    assert_eq!(refreshed.status, 200);
    assert_eq!(published.fetches().await, 2);
}

/// Row 125: who declares keys is held to them, in every request.
#[tokio::test]
async fn a_client_that_publishes_keys_has_to_use_them() {
    let published = Published::new().await;
    let signer = Signer::new("a");
    published.publishes(&with_keys_of(&published.document(), &signer)).await;
    let code = published.code().await;
    let redeem = [("redirect_uri", REDIRECT_URI)];
    let without = published.client.redeem(&published.application, &code, &redeem).await;
    assert_eq!(
        (without.status.as_u16(), without.error().as_str()),
        (401, "invalid_client")
    );
    let stranger = published.redeem_with(&Signer::new("a"), &code).await;
    assert_eq!(stranger.status, 401);
    let tokens = Tokens::of(&published.redeem_with(&signer, &code).await);
    let without = published
        .client
        .refresh(&published.application, &tokens.refresh_token, &[])
        .await;
    assert_eq!(without.status, 401);
    assert_eq!(published.refresh_with(&signer, &tokens.refresh_token).await.status, 200);
}

#[tokio::test]
async fn a_key_that_is_taken_out_of_the_document_is_not_good_any_more() {
    let published = Published::new().await;
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let with = |signer: &Signer| with_keys_of(&published.document(), signer);
    published.publishes(&with(&old)).await;
    let code = published.code().await;
    let tokens = Tokens::of(&published.redeem_with(&old, &code).await);
    published.publishes(&with(&new)).await;
    published.application.clock.advance(Duration::from_secs(300));
    assert_eq!(published.refresh_with(&old, &tokens.refresh_token).await.status, 401);
    let refreshed = published.refresh_with(&new, &tokens.refresh_token).await;
    let tokens = Tokens::of(&refreshed);

    published.answers(ResponseTemplate::new(503)).await;
    published.application.clock.advance(Duration::from_secs(24 * 60 * 60));
    let refreshed = published.refresh_with(&new, &tokens.refresh_token).await;
    let tokens = Tokens::of(&refreshed);
    published.application.clock.advance(Duration::from_secs(300));
    let too_old = published.refresh_with(&new, &tokens.refresh_token).await;
    assert_eq!(too_old.status, 503, "keys that were not seen for a day prove nobody");
    published.publishes(&with(&new)).await;
    published.application.clock.advance(Duration::from_secs(10));
    assert_eq!(published.refresh_with(&new, &tokens.refresh_token).await.status, 200);
}

#[tokio::test]
async fn however_many_bad_assertions_come_a_document_is_tried_again_every_ten_seconds() {
    let published = Published::new().await;
    let signer = Signer::new("a");
    published.publishes(&with_keys_of(&published.document(), &signer)).await;
    let code = published.code().await;
    let mut tokens = Tokens::of(&published.redeem_with(&signer, &code).await);
    let stranger = Signer::new("a");
    // For the moment it cannot be had: the known client counts.
    published.answers(ResponseTemplate::new(503)).await;
    published.application.clock.advance(Duration::from_secs(300));
    for _ in 0..5 {
        let refused = published.refresh_with(&stranger, &tokens.refresh_token).await;
        assert_eq!(refused.status, 401);
    }
    tokens = Tokens::of(&published.refresh_with(&signer, &tokens.refresh_token).await);
    assert_eq!(published.fetches().await, 1);
    // It is gone: the first is told so, and those who come in the next moment are told to come again.
    published.answers(ResponseTemplate::new(404)).await;
    published.application.clock.advance(Duration::from_secs(10));
    assert_eq!(
        published.refresh_with(&stranger, &tokens.refresh_token).await.status,
        401
    );
    for _ in 0..5 {
        let refused = published.refresh_with(&signer, &tokens.refresh_token).await;
        assert_eq!(
            (refused.status.as_u16(), &*refused.error()),
            (503, "temporarily_unavailable")
        );
        assert_eq!(refused.header("retry-after"), "1");
    }
    assert_eq!(published.fetches().await, 1);
    // It is back.
    published.publishes(&with_keys_of(&published.document(), &signer)).await;
    published.application.clock.advance(Duration::from_secs(10));
    assert_eq!(published.refresh_with(&signer, &tokens.refresh_token).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_assertions_that_come_at_the_same_time_one_has_the_document_read_and_all_are_good() {
    let published = Published::new().await;
    let signer = Signer::new("old");
    published.publishes(&with_keys_of(&published.document(), &signer)).await;
    published.code().await;
    let new = Signer::new("new");
    published.publishes(&with_keys_of(&published.document(), &new)).await;
    published.application.clock.advance(Duration::from_secs(300));
    let asked: Vec<_> = (0..16)
        .map(|_| {
            let application = published.application.clone();
            let assertion = new.assertion(&application, &published.client.client_id, &json!({}));
            tokio::spawn(async move {
                post(&application, "/introspect", &assertion, &[("token", "x")])
                    .await
                    .status
            })
        })
        .collect();
    for answer in asked {
        assert_eq!(answer.await.unwrap(), 200);
    }
    assert_eq!(published.fetches().await, 1);
}

#[tokio::test]
async fn a_client_whose_document_cannot_be_fetched_for_the_moment_is_told_to_come_again() {
    let published = Published::new().await;
    for answer in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(503),
        ResponseTemplate::new(429),
        ResponseTemplate::new(200).set_delay(Duration::from_secs(2)),
    ] {
        published.answers(answer).await;
        let page = published.application.get(&published.authorization_url()).await;
        assert_eq!(page.status, 503);
        assert_eq!(page.header("retry-after"), "1");
        assert!(!page.body.contains("remove the connection"), "{}", page.body);
        assert_eq!(published.application.store.inner().count_of(Kind::Document), 0);
        let form = [("client_id", published.client.client_id.as_str())];
        let device = published.application.post_form("/device_authorization", &form).await;
        assert_eq!(
            (device.status.as_u16(), &*device.error()),
            (503, "temporarily_unavailable")
        );
    }
    published.publishes(&published.document()).await;
    assert_eq!(
        published.application.get(&published.authorization_url()).await.status,
        200
    );
}

/// Counts what it is asked for, and finds nothing.
#[derive(Clone, Debug, Default)]
struct Lookups(Arc<AtomicUsize>);

#[async_trait]
impl Resolve for Lookups {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_network_that_has_begun_too_many_sign_ins_has_no_more_documents_looked_for() {
    let lookups = Lookups::default();
    let fetcher = Fetcher::default().resolver(lookups.clone());
    let mut limits = Limits::default();
    limits.authorizations_of_a_network = Quota::per_minute(2);
    limits.device_authorizations_of_a_network = Quota::per_minute(2);
    let application = Application::new(|builder| {
        builder
            .limits(limits)
            .client_id_metadata_documents(fetcher)
            .device_authorization()
    });
    let query = encode(&[("client_id", "https://client.example/client.json")]);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for _ in 0..4 {
        for (method, path, headers, body) in [
            (Method::GET, format!("/authorize?{query}"), &[][..], ""),
            (
                Method::POST,
                "/device_authorization".to_owned(),
                &form[..],
                query.as_str(),
            ),
        ] {
            let mut request = request(method, &path, headers, body);
            let peer = ConnectInfo(SocketAddr::from(([203, 0, 113, 1], 1)));
            request.extensions_mut().insert(peer);
            assert_ne!(application.send(request).await.status, 200);
        }
    }
    assert_eq!(lookups.0.load(Ordering::SeqCst), 4);
}
