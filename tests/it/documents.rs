//! Clients whose identifier is the URL of what they say of themselves.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::ConnectInfo;
use http::Method;
use mcp_oauth_core::client::host_policy::HostPolicy;
use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::fetch::Resolve;
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_core::store::Kind;
use mcp_oauth_store::memory::{Bounds, MemoryStore};
use mcp_oauth_tests::application::{Answer, Application, NOTES, encode, request};
use mcp_oauth_tests::browser::{Browser, arrival};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::device::{DEVICE_GRANT, Device};
use mcp_oauth_tests::failing_store::FailingStore;
use mcp_oauth_tests::signing::{Signer, post};
use mcp_oauth_tower::Fetcher;
use serde_json::{Value, json};
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// What a published client looks like: loopback redirect URIs without ports, and no `application_type`.
const REDIRECT_URI: &str = "http://localhost:49152/callback";

struct Published {
    host: MockServer,
    application: Application,
    client: Client,
}

impl Published {
    async fn new() -> Self {
        Self::trusting(HostPolicy::everybody()).await
    }

    async fn trusting(hosts: HostPolicy) -> Self {
        let host = MockServer::start().await;
        let fetcher = Fetcher::default().allow_loopback().timeout(Duration::from_millis(500));
        let application = Application::new(|builder| {
            builder
                .client_id_metadata_documents(fetcher)
                .trust_client_hosts(hosts)
                .device_authorization()
        });
        let client = Client {
            client_id: format!("{}/client.json", host.uri()),
            client_secret: None,
            verifier: mcp_oauth_core::secret::Secret::random().expose().to_owned(),
        };
        Self {
            host,
            application,
            client,
        }
    }

    fn document(&self) -> Value {
        json!({
            "client_id": self.client.client_id,
            "client_name": "A published client",
            "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
            "token_endpoint_auth_method": "none",
        })
    }

    async fn answers(&self, answer: ResponseTemplate) {
        self.host.reset().await;
        Mock::given(method("GET"))
            .and(path("/client.json"))
            .respond_with(answer)
            .mount(&self.host)
            .await;
    }

    async fn publishes(&self, document: &Value) {
        self.answers(
            ResponseTemplate::new(200)
                .set_body_json(document)
                .insert_header("cache-control", "max-age=300"),
        )
        .await;
    }

    fn authorization_url(&self) -> String {
        self.client.authorization_url(&[("redirect_uri", REDIRECT_URI)])
    }

    async fn fetches(&self) -> usize {
        self.host.received_requests().await.unwrap().len()
    }
}

#[tokio::test]
async fn a_client_with_a_document_signs_in_without_registering() {
    let published = Published::new().await;
    published.publishes(&published.document()).await;
    let arrived = Browser::default()
        .authorize(&published.application, &published.authorization_url(), "ada")
        .await;
    assert_eq!(arrived.url.port(), Some(49152));
    let code = arrived.code();
    let redeemed = published
        .client
        .redeem(&published.application, &code, &[("redirect_uri", REDIRECT_URI)])
        .await;
    let tokens = Tokens::of(&redeemed);
    let called = published.application.call(NOTES, &tokens.access_token).await.json();
    assert_eq!(called["client_id"], published.client.client_id.as_str());
    assert_eq!(
        published
            .client
            .refresh(&published.application, &tokens.refresh_token, &[])
            .await
            .status,
        200
    );
    assert_eq!(published.fetches().await, 1, "the token endpoint fetches nothing");
}

#[tokio::test]
async fn the_consent_page_names_the_host_that_answers_for_the_client() {
    let published = Published::new().await;
    published.publishes(&published.document()).await;
    let page = published.application.get(&published.authorization_url()).await;
    assert!(
        page.body.contains("The app is published by") && page.body.contains("A published client"),
        "{}",
        page.body
    );
    assert!(
        page.body.contains("a program on this computer"),
        "a loopback redirect is warned of all the same"
    );
}

#[tokio::test]
async fn it_is_advertised_when_it_is_switched_on_and_then_only() {
    let published = Published::new().await;
    let path = "/.well-known/oauth-authorization-server";
    assert_eq!(
        published.application.get(path).await.json()["client_id_metadata_document_supported"],
        true
    );
    let without = Application::default();
    assert!(
        without
            .get(path)
            .await
            .json()
            .get("client_id_metadata_document_supported")
            .is_none()
    );
    assert_eq!(without.get(&published.authorization_url()).await.status, 400);
}

#[tokio::test]
async fn a_document_is_kept_for_as_long_as_its_server_says() {
    let published = Published::new().await;
    published.publishes(&published.document()).await;
    for _ in 0..3 {
        assert_eq!(
            published.application.get(&published.authorization_url()).await.status,
            200
        );
    }
    assert_eq!(published.fetches().await, 1);
    published.application.clock.advance(Duration::from_secs(300));
    let mut moved = published.document();
    moved["redirect_uris"] = json!(["https://client.example/callback"]);
    published.publishes(&moved).await;
    assert_eq!(
        published.application.get(&published.authorization_url()).await.status,
        400,
        "what it says now counts"
    );
}

#[tokio::test]
async fn a_bad_document_ends_on_a_page_and_is_not_kept() {
    let published = Published::new().await;
    let changed = |change: fn(&mut Value)| {
        let mut document = published.document();
        change(&mut document);
        ResponseTemplate::new(200).set_body_json(document)
    };
    for (what, answer) in [
        ("not found", ResponseTemplate::new(404)),
        (
            "redirect",
            ResponseTemplate::new(302).insert_header("location", "/elsewhere.json"),
        ),
        ("HTML", ResponseTemplate::new(200).set_body_raw("<html>", "text/html")),
        (
            "not JSON",
            ResponseTemplate::new(200).set_body_raw("{", "application/json"),
        ),
        (
            "too large",
            ResponseTemplate::new(200).set_body_raw(" ".repeat(5 * 1024 + 1), "application/json"),
        ),
        (
            "another client",
            changed(|document| document["client_id"] = json!("https://other.example/client.json")),
        ),
        ("a secret", changed(|document| document["client_secret"] = json!("s"))),
        (
            "a shared secret",
            changed(|document| document["token_endpoint_auth_method"] = json!("client_secret_post")),
        ),
        (
            "a dangerous redirect",
            changed(|document| document["redirect_uris"] = json!(["javascript:alert(1)"])),
        ),
    ] {
        published.answers(answer).await;
        let page = published.application.get(&published.authorization_url()).await;
        assert_eq!((page.status.as_u16(), page.header("location")), (400, ""), "{what}");
        assert!(page.body.contains("<!doctype html>"), "{what}");
        assert_eq!(
            published.application.store.inner().count_of(Kind::Document),
            0,
            "{what}"
        );
        assert_eq!(
            published.application.store.inner().count_of(Kind::Transaction),
            0,
            "{what}"
        );
    }
    published.publishes(&published.document()).await;
    assert_eq!(
        published.application.get(&published.authorization_url()).await.status,
        200
    );
}

#[tokio::test]
async fn a_client_that_is_known_outlives_a_moment_in_which_its_document_cannot_be_fetched() {
    let published = Published::new().await;
    published.publishes(&published.document()).await;
    assert_eq!(
        published.application.get(&published.authorization_url()).await.status,
        200
    );
    published.application.clock.advance(Duration::from_secs(300));
    published.answers(ResponseTemplate::new(503)).await;
    assert_eq!(
        published.application.get(&published.authorization_url()).await.status,
        200
    );
    published.answers(ResponseTemplate::new(404)).await;
    assert_eq!(
        published.application.get(&published.authorization_url()).await.status,
        400,
        "it was withdrawn"
    );
}

#[tokio::test]
async fn a_document_of_the_machines_own_network_is_not_fetched() {
    let application = Application::new(|builder| builder.client_id_metadata_documents(Fetcher::default()));
    for client_id in [
        "https://127.0.0.1/client.json",
        "https://localhost/client.json",
        "https://10.0.0.1/client.json",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/client.json",
        "https://[::ffff:127.0.0.1]/client.json",
        "https://2130706433/client.json",
        "http://client.example/client.json",
        "https://client.example",
        "https://user@client.example/client.json",
        "https://client.example/a/../client.json",
        "https://client.example/client.json#x",
    ] {
        let client = Client {
            client_id: client_id.to_owned(),
            client_secret: None,
            verifier: "v".repeat(43),
        };
        let page = application.get(&client.authorization_url(&[])).await;
        assert_eq!(
            (page.status.as_u16(), page.header("location")),
            (400, ""),
            "{client_id}"
        );
    }
}

#[tokio::test]
async fn nobody_manages_a_client_by_its_document_here() {
    let published = Published::new().await;
    published.publishes(&published.document()).await;
    published.application.get(&published.authorization_url()).await;
    let id: String = mcp_oauth_tests::application::encode(&[("", &published.client.client_id)]).split_off(1);
    for token in ["nobody", "x"] {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let answer = published
            .application
            .send(request(Method::GET, &format!("/register/{id}"), &headers, ""))
            .await;
        assert_eq!(answer.status, 401);
    }
}

/// As VS Code publishes it. A device may come here before anybody has asked for authorization.
#[tokio::test]
async fn a_client_with_a_document_may_begin_on_a_device() {
    let published = Published::new().await;
    let mut document = published.document();
    document["grant_types"] = json!(["authorization_code", "refresh_token", DEVICE_GRANT]);
    published.publishes(&document).await;
    let device = Device::of(&published.application, published.client.clone()).await;
    device.let_in(&published.application, "ada").await;
    let tokens = Tokens::of(&device.poll(&published.application).await);
    let called = published.application.call(NOTES, &tokens.access_token).await.json();
    assert_eq!(called["client_id"], published.client.client_id);
    assert_eq!(published.fetches().await, 1, "the token endpoint fetches nothing");

    let other = Published::new().await;
    let mut document = other.document();
    document["grant_types"] = json!(["authorization_code"]);
    other.publishes(&document).await;
    let refused = other
        .client
        .post(&other.application, "/device_authorization", &[])
        .await;
    assert_eq!(refused.error(), "unauthorized_client");
    let unknown = Published::new().await;
    let refused = unknown
        .client
        .post(&unknown.application, "/device_authorization", &[])
        .await;
    assert_eq!((refused.status.as_u16(), &*refused.error()), (401, "invalid_client"));
}

// === Whose documents are read ===

#[tokio::test]
async fn a_host_that_is_not_trusted_is_told_to_the_person_and_asked_nothing() {
    for hosts in [
        HostPolicy::only(["claude.ai", "*.example.com"]).unwrap(),
        HostPolicy::all_but(["127.0.0.1"]).unwrap(),
    ] {
        let published = Published::trusting(hosts).await;
        published.publishes(&published.document()).await;
        let page = published.application.get(&published.authorization_url()).await;
        assert_eq!((page.status.as_u16(), page.header("location")), (400, ""));
        assert!(
            page.body
                .contains("does not let clients in that are published by 127.0.0.1"),
            "{}",
            page.body
        );
        assert_eq!(published.fetches().await, 0);
    }
    let published = Published::trusting(HostPolicy::only(["127.0.0.1"]).unwrap()).await;
    published.publishes(&published.document()).await;
    assert_eq!(
        published.application.get(&published.authorization_url()).await.status,
        200
    );
}

#[tokio::test]
async fn a_host_that_is_not_trusted_any_more_refreshes_nothing() {
    let published = Published::new().await;
    published.publishes(&published.document()).await;
    let tokens = published.sign_in().await;
    let stricter = Application::with(
        published.application.store.clone(),
        published.application.clock.clone(),
        |builder| {
            builder
                .client_id_metadata_documents(Fetcher::default())
                .trust_client_hosts(HostPolicy::only(["claude.ai"]).unwrap())
        },
    );
    let refreshed = published.client.refresh(&stricter, &tokens.refresh_token, &[]).await;
    assert_eq!(
        (refreshed.status.as_u16(), refreshed.error().as_str()),
        (401, "invalid_client")
    );
}

// === A flood ===

#[tokio::test]
async fn a_flood_of_documents_has_a_shelf_of_its_own_and_clients_in_use_stay() {
    let clock = ManualClock::default();
    let mut bounds = Bounds::default();
    bounds.documents = 10;
    let store = FailingStore::new(MemoryStore::with_bounds(bounds).with_clock(clock.clone()));
    let host = MockServer::start().await;
    let fetcher = Fetcher::default().allow_loopback();
    let application = Application::with(store, clock.clone(), |builder| {
        builder.client_id_metadata_documents(fetcher)
    });
    let client = |number: u32| Client {
        client_id: format!("{}/{number}.json", host.uri()),
        client_secret: None,
        verifier: mcp_oauth_core::secret::Secret::random().expose().to_owned(),
    };
    let uri = host.uri();
    Mock::given(path_regex("^/[0-9]+.json$"))
        .respond_with(move |request: &wiremock::Request| {
            let document = json!({"client_id": format!("{uri}{}", request.url.path()),
                "redirect_uris": ["http://localhost/callback"]});
            ResponseTemplate::new(200).set_body_json(document)
        })
        .mount(&host)
        .await;
    let begin = |client: Client| {
        let application = application.clone();
        async move {
            let url = client.authorization_url(&[("redirect_uri", REDIRECT_URI)]);
            application.get(&url).await.status.as_u16()
        }
    };
    let in_use = client(0);
    let url = in_use.authorization_url(&[("redirect_uri", REDIRECT_URI)]);
    let code = Browser::default().authorize(&application, &url, "ada").await.code();
    let redeemed = in_use
        .redeem(&application, &code, &[("redirect_uri", REDIRECT_URI)])
        .await;
    let tokens = Tokens::of(&redeemed);
    for number in 1..10 {
        assert_eq!(begin(client(number)).await, 200);
    }
    assert_eq!(begin(client(10)).await, 503, "the shelf is full, and says so");
    assert_eq!(begin(client(0)).await, 200, "a client that is known is not affected");
    Client::public(&application).await.sign_in(&application, "ada").await;
    let refreshed = in_use.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(refreshed.status, 200);

    clock.advance(Duration::from_secs(30 * 60));
    assert_eq!(
        begin(client(11)).await,
        200,
        "what nobody has signed in with is soon forgotten"
    );
    let refreshed = in_use
        .refresh(&application, &Tokens::of(&refreshed).refresh_token, &[])
        .await;
    assert_eq!(refreshed.status, 200, "what is in use is not");
    assert_eq!(application.store.inner().count_of(Kind::Document), 2);
}

#[tokio::test]
async fn a_client_is_not_forgotten_between_consent_and_code() {
    for max_age in ["max-age=300", "max-age=7200"] {
        let published = Published::new().await;
        let answer = ResponseTemplate::new(200)
            .set_body_json(published.document())
            .insert_header("cache-control", max_age);
        published.answers(answer).await;
        published.application.get(&published.authorization_url()).await;
        // As late as it can be, and still be remembered.
        published.application.clock.advance(Duration::from_secs(23 * 60 + 30));
        let code = published.code().await;
        published.application.clock.advance(Duration::from_secs(59));
        let redeemed = published
            .client
            .redeem(&published.application, &code, &[("redirect_uri", REDIRECT_URI)])
            .await;
        assert_eq!(redeemed.status, 200, "{max_age}");
    }
}

#[tokio::test]
async fn a_client_is_not_forgotten_while_a_person_takes_their_time() {
    let published = Published::new().await;
    published.publishes(&published.document()).await;
    let application = &published.application;
    let mut browser = Browser::default();
    let consent = browser.open(application, &published.authorization_url()).await;
    application.clock.advance(Duration::from_secs(599));
    let approved = browser.decide(application, &consent, "approve").await;
    application.clock.advance(Duration::from_secs(599));
    let code = arrival(&browser.sign_in(application, &approved, "ada").await).code();
    application.clock.advance(Duration::from_secs(59));
    let redeemed = published
        .client
        .redeem(application, &code, &[("redirect_uri", REDIRECT_URI)])
        .await;
    assert_eq!(redeemed.status, 200);
}

#[tokio::test]
async fn a_client_that_nobody_signs_in_with_is_forgotten_however_often_its_document_is_read() {
    let published = Published::new().await;
    published.publishes(&published.document()).await;
    for _ in 0..3 {
        published.application.get(&published.authorization_url()).await;
        published.application.clock.advance(Duration::from_secs(300));
    }
    assert_eq!(published.fetches().await, 3);
    published.application.clock.advance(Duration::from_secs(24 * 60));
    assert_eq!(published.application.store.inner().count_of(Kind::Document), 0);
}

// === Keys ===

/// What ChatGPT publishes, in its shape.
fn with_keys_at(document: &Value, address: &str) -> Value {
    let mut document = document.clone();
    document["token_endpoint_auth_method"] = json!("private_key_jwt");
    document["token_endpoint_auth_signing_alg"] = json!("EdDSA");
    document["jwks_uri"] = json!(address);
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

    async fn code(&self) -> String {
        Browser::default()
            .authorize(&self.application, &self.authorization_url(), "ada")
            .await
            .code()
    }

    async fn sign_in(&self) -> Tokens {
        let code = self.code().await;
        let redeemed = self
            .client
            .redeem(&self.application, &code, &[("redirect_uri", REDIRECT_URI)])
            .await;
        Tokens::of(&redeemed)
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
    let mut document = published.document();
    document["token_endpoint_auth_method"] = json!("private_key_jwt");
    document["jwks"] = signer.jwks();
    published.publishes(&document).await;
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
    let with = |signer: &Signer| {
        let mut document = published.document();
        document["token_endpoint_auth_method"] = json!("private_key_jwt");
        document["jwks"] = signer.jwks();
        document
    };
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
    let mut document = published.document();
    document["token_endpoint_auth_method"] = json!("private_key_jwt");
    document["jwks"] = signer.jwks();
    published.publishes(&document).await;
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
    published.publishes(&document).await;
    published.application.clock.advance(Duration::from_secs(10));
    assert_eq!(published.refresh_with(&signer, &tokens.refresh_token).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_assertions_that_come_at_the_same_time_one_has_the_document_read_and_all_are_good() {
    let published = Published::new().await;
    let signer = Signer::new("old");
    let mut document = published.document();
    document["token_endpoint_auth_method"] = json!("private_key_jwt");
    document["jwks"] = signer.jwks();
    published.publishes(&document).await;
    published.code().await;
    let new = Signer::new("new");
    document["jwks"] = new.jwks();
    published.publishes(&document).await;
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
