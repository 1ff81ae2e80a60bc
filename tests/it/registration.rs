//! Dynamic client registration.

use std::time::Duration;

use mcp_oauth_tests::application::{Application, request};
use mcp_oauth_tests::client::{Client, REDIRECT_URI, Tokens, public_metadata};
use serde_json::json;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_public_client_gets_an_identifier_and_no_secret() {
    let application = Application::default();
    let answer = application.post_json("/register", &public_metadata()).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!(body["token_endpoint_auth_method"], "none");
    assert!(body["client_id_issued_at"].is_u64());
    assert!(body.get("client_secret").is_none() && body.get("client_secret_expires_at").is_none());
    assert!(!body["client_id"].as_str().unwrap().starts_with("https://"));
}

#[tokio::test]
async fn a_confidential_client_gets_a_secret_with_its_expiry() {
    let application = Application::default();
    for method in ["client_secret_basic", "client_secret_post"] {
        let metadata = json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": method});
        let body = application.post_json("/register", &metadata).await.json();
        assert_eq!(body["token_endpoint_auth_method"], method);
        assert!(body["client_secret"].as_str().unwrap().len() >= 43);
        let lifetime =
            body["client_secret_expires_at"].as_u64().unwrap() - body["client_id_issued_at"].as_u64().unwrap();
        assert_eq!(lifetime, 90 * 24 * 3600);
    }
}

#[tokio::test]
async fn an_eternal_clients_secret_expires_at_0() {
    let application = Application::new(|builder| {
        let mut lifetimes = mcp_oauth_core::server::builder::Lifetimes::default();
        lifetimes.client = None;
        builder.lifetimes(lifetimes)
    });
    let body = application
        .post_json("/register", &json!({"redirect_uris": [REDIRECT_URI]}))
        .await
        .json();
    assert_eq!(body["client_secret_expires_at"], 0);
}

#[tokio::test]
async fn everything_that_was_registered_is_echoed_and_nothing_is_null() {
    let application = Application::default();
    let mut metadata = public_metadata();
    for (name, value) in [
        ("grant_types", json!(["authorization_code", "refresh_token"])),
        ("response_types", json!(["code"])),
        ("application_type", json!("native")),
        ("client_uri", json!("https://client.example")),
        ("logo_uri", json!("https://client.example/logo.png")),
        ("tos_uri", json!("https://client.example/tos")),
        ("policy_uri", json!("https://client.example/policy")),
        ("contacts", json!(["ada@client.example"])),
        ("scope", json!("notes:use")),
        ("software_id", json!("4NRB1")),
        ("software_version", json!("1.0")),
    ] {
        metadata[name] = value;
    }
    let body = application.post_json("/register", &metadata).await.json();
    for (name, value) in metadata.as_object().unwrap() {
        assert_eq!(&body[name], value, "{name}");
    }
    assert!(
        body.as_object()
            .unwrap()
            .values()
            .all(|value| !value.is_null() && value != "")
    );
}

/// Defect S10.
#[tokio::test]
async fn redirect_uris_that_are_dangerous_or_ambiguous_are_refused() {
    let application = Application::default();
    for uri in [
        "http://localhost.evil.example/",
        "http://127.0.0.1.evil.example/",
        "HTTP://evil.example/",
        "http://evil.example/",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://a.example/#fragment",
        "https://user@a.example/",
        "https://",
        "https:a.example",
        "/relative",
        "",
        "myapp://callback",
    ] {
        let answer = application
            .post_json("/register", &json!({"redirect_uris": [REDIRECT_URI, uri]}))
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().as_str()),
            (400, "invalid_redirect_uri"),
            "{uri}"
        );
    }
}

#[tokio::test]
async fn a_registration_without_redirect_uris_says_what_is_required() {
    let application = Application::default();
    for metadata in [json!({}), json!({"redirect_uris": []})] {
        let answer = application.post_json("/register", &metadata).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().as_str()),
            (400, "invalid_client_metadata")
        );
        assert!(answer.body.contains("redirect_uris is required"));
    }
}

#[tokio::test]
async fn what_real_clients_send_is_registered() {
    let application =
        Application::new(|builder| builder.allow_redirect_uri("cursor://anysphere.cursor-mcp/oauth/callback"));
    let clients = [
        (
            "Claude.ai",
            json!({"redirect_uris": ["https://claude.ai/api/mcp/auth_callback"], "token_endpoint_auth_method": "none"}),
        ),
        (
            "Claude Code",
            json!({"redirect_uris": ["http://localhost:3118/callback"], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"], "scope": "mcp"}),
        ),
        (
            "VS Code",
            json!({"redirect_uris": ["https://insiders.vscode.dev/redirect", "https://vscode.dev/redirect",
            "http://127.0.0.1/", "http://127.0.0.1:33418/"], "token_endpoint_auth_method": "none", "application_type": "native",
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]}),
        ),
        (
            "Cursor",
            json!({"redirect_uris": ["cursor://anysphere.cursor-mcp/oauth/callback",
            "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"],
            "application_type": "web", "token_endpoint_auth_method": "none"}),
        ),
        (
            "Gemini CLI",
            json!({"redirect_uris": ["http://localhost:7777/oauth/callback"], "scope": "",
            "token_endpoint_auth_method": "none"}),
        ),
        (
            "Python SDK 1.x",
            json!({"redirect_uris": ["http://127.0.0.1:8000/callback"],
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"]}),
        ),
    ];
    for (name, metadata) in clients {
        let answer = application.post_json("/register", &metadata).await;
        assert_eq!(answer.status, 201, "{name}: {answer:?}");
        assert_eq!(answer.json()["redirect_uris"], metadata["redirect_uris"], "{name}");
    }
}

#[tokio::test]
async fn an_authorization_header_at_registration_is_ignored() {
    let application = Application::default();
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("authorization", "Bearer whatever"),
    ];
    let answer = application
        .send(request(
            http::Method::POST,
            "/register",
            &headers,
            &public_metadata().to_string(),
        ))
        .await;
    assert_eq!(answer.status, 201);
}

#[tokio::test]
async fn a_client_that_nobody_signs_in_with_is_forgotten_after_a_day() {
    let application = Application::default();
    let client = Client::public(&application).await;
    application.clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(application.get(&client.authorization_url(&[])).await.status, 200);
    application.clock.advance(Duration::from_secs(1));
    assert_eq!(application.get(&client.authorization_url(&[])).await.status, 400);
    let refused = client.refresh(&application, "x", &[]).await;
    assert_eq!(
        (refused.status.as_u16(), refused.error().as_str()),
        (401, "invalid_client")
    );
}

#[tokio::test]
async fn a_client_that_is_used_lives_on_and_one_that_is_not_ends_after_90_days() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let mut tokens = client.sign_in(&application, "ada").await;
    for _ in 0..10 {
        application.clock.advance(29 * DAY);
        tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    }
    application.clock.advance(90 * DAY);
    let refused = client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(
        (refused.status.as_u16(), refused.error().as_str()),
        (401, "invalid_client")
    );
}

#[tokio::test]
async fn an_eternal_client_stays_once_it_was_used() {
    let application = Application::new(|builder| {
        let mut lifetimes = mcp_oauth_core::server::builder::Lifetimes::default();
        lifetimes.client = None;
        builder.lifetimes(lifetimes)
    });
    let client = Client::public(&application).await;
    client.sign_in(&application, "ada").await;
    application.clock.advance(4000 * DAY);
    assert_eq!(application.get(&client.authorization_url(&[])).await.status, 200);
}

#[tokio::test]
async fn a_secret_is_shown_once_and_not_stored() {
    let application = Application::default();
    let client = Client::confidential(&application).await;
    let key = mcp_oauth_core::store::Key::new(mcp_oauth_core::store::Kind::Client, client.client_id.as_str());
    let record = mcp_oauth_core::store::Store::get(&application.store, &key)
        .await
        .unwrap()
        .unwrap();
    assert!(!String::from_utf8_lossy(&record).contains(client.client_secret.as_deref().unwrap()));
}
