//! Clients whose identifier is the URL of what they say of themselves.

use std::time::Duration;

use http::Method;
use mcp_oauth_core::client::host_policy::HostPolicy;
use mcp_oauth_core::store::Kind;
use mcp_oauth_tests::application::{Application, NOTES, request};
use mcp_oauth_tests::browser::Browser;
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::device::{DEVICE_GRANT, Device};
use mcp_oauth_tower::Fetcher;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

mod floods;
mod keys;
mod trust;

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
