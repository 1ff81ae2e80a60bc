//! Dynamic client registration.

use std::time::Duration;

use mcp_oauth_core::server::builder::Lifetimes;
use mcp_oauth_tests::application::{Application, request};
use mcp_oauth_tests::client::{Client, REDIRECT_URI, Tokens, public_metadata};
use serde_json::json;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn with_client_lifetime(lifetime: Option<Duration>) -> Application {
    Application::new(|builder| {
        let mut lifetimes = Lifetimes::default();
        lifetimes.client = lifetime;
        builder.lifetimes(lifetimes)
    })
}

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
async fn a_confidential_client_gets_a_secret_that_has_no_end_of_its_own() {
    let application = Application::default();
    for method in ["client_secret_basic", "client_secret_post"] {
        let metadata = json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": method});
        let body = application.post_json("/register", &metadata).await.json();
        assert_eq!(body["token_endpoint_auth_method"], method);
        assert!(body["client_secret"].as_str().unwrap().len() >= 43);
        assert_eq!(body["client_secret_expires_at"], 0);
    }
}

/// What was stated at registration holds ever after, whatever the operator's lifetimes are: the secret is good as long as
/// its client is known. (The predecessor stated a day that passed, and the client lived on.)
#[tokio::test]
async fn a_secret_never_outlives_what_was_stated_of_it() {
    for lifetime in [Some(90 * DAY), Some(DAY / 24), None] {
        let application = with_client_lifetime(lifetime);
        let client = Client::confidential(&application).await;
        let mut tokens = client.sign_in(&application, "ada").await;
        for _ in 0..6 {
            application
                .clock
                .advance(lifetime.unwrap_or(90 * DAY).min(29 * DAY) / 2);
            tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
        }
        application.clock.advance(lifetime.unwrap_or(4000 * DAY));
        let refused = client.refresh(&application, &tokens.refresh_token, &[]).await;
        let expected = if lifetime.is_some() {
            "invalid_client"
        } else {
            "invalid_grant"
        };
        assert_eq!(refused.error(), expected, "{lifetime:?}");
    }
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
        ("client_name#de", json!("Testprogramm")),
        ("client_uri#fr-CH", json!("https://client.example/fr")),
        ("tos_uri#ja-Jpan-JP", json!("https://client.example/ja")),
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
        "file:///etc/passwd",
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

/// V-21. A page in https to an internal host stays, since nothing ever loads it.
#[tokio::test]
async fn pages_of_a_client_are_https_or_are_not_registered_in_any_language() {
    let application = Application::default();
    for member in [
        "client_uri",
        "logo_uri",
        "tos_uri",
        "policy_uri",
        "logo_uri#de",
        "policy_uri#fr-CH",
    ] {
        for uri in [
            "javascript:alert(1)",
            "data:image/svg+xml,x",
            "file:///etc/passwd",
            "http://169.254.169.254/latest",
            "https://user@a.example/",
            "//a.example/",
            "x",
        ] {
            let mut metadata = public_metadata();
            metadata[member] = json!(uri);
            let answer = application.post_json("/register", &metadata).await;
            assert_eq!(
                (answer.status.as_u16(), answer.error().as_str()),
                (400, "invalid_client_metadata"),
                "{member} {uri}"
            );
        }
    }
}

/// Standards row 97, and V-21's scopes: what does not exist is left out, and the answer says what is left.
#[tokio::test]
async fn grants_response_types_and_scopes_are_what_this_server_has_and_are_echoed_as_such() {
    let application = Application::default();
    let mut metadata = public_metadata();
    metadata["grant_types"] = json!(["implicit", "authorization_code", "password"]);
    metadata["response_types"] = json!(["code", "token", "id_token"]);
    metadata["scope"] = json!("");
    let body = application.post_json("/register", &metadata).await.json();
    assert_eq!(body["grant_types"], json!(["authorization_code"]));
    assert_eq!(body["response_types"], json!(["code"]));
    assert!(body.get("scope").is_none());
    for (member, value) in [
        ("grant_types", json!(["implicit"])),
        ("response_types", json!(["token"])),
    ] {
        let mut metadata = public_metadata();
        metadata[member] = value;
        let answer = application.post_json("/register", &metadata).await;
        assert_eq!(answer.error(), "invalid_client_metadata", "{member}");
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
async fn a_client_that_could_live_for_ever_is_forgotten_after_a_day_like_any_other_if_nobody_uses_it() {
    let application = with_client_lifetime(None);
    let unused = Client::public(&application).await;
    let asked_only = Client::public(&application).await;
    assert_eq!(application.get(&asked_only.authorization_url(&[])).await.status, 200);
    application.clock.advance(DAY);
    for client in [unused, asked_only] {
        assert_eq!(application.get(&client.authorization_url(&[])).await.status, 400);
    }
}

/// A client that is used on day 1, and then as seldom as its refresh token allows, is there each time.
#[tokio::test]
async fn a_clients_life_counts_from_its_last_use_to_within_a_day() {
    let application = Application::default();
    let client = Client::public(&application).await;
    client.sign_in(&application, "ada").await;
    application.clock.advance(2 * DAY);
    client.sign_in(&application, "ada").await;
    application.clock.advance(Duration::from_secs(90 * 24 * 3600 - 1));
    assert_eq!(application.get(&client.authorization_url(&[])).await.status, 200);
    application.clock.advance(Duration::from_secs(1));
    assert_eq!(application.get(&client.authorization_url(&[])).await.status, 400);
}

#[tokio::test]
async fn no_application_type_is_too_much_and_none_changes_where_a_client_comes_back() {
    let application = Application::default();
    for application_type in [json!("native"), json!("web"), json!("service"), json!(""), json!(null)] {
        let mut metadata = public_metadata();
        metadata["application_type"] = application_type.clone();
        metadata["redirect_uris"] = json!(["http://localhost/callback", "http://127.0.0.1/callback"]);
        let client = Client::register(&application, &metadata).await;
        for back in ["http://localhost:49152/callback", "http://127.0.0.1:49152/callback"] {
            let asked = client.authorization_url(&[("redirect_uri", back)]);
            assert_eq!(application.get(&asked).await.status, 200, "{application_type} {back}");
        }
    }
}

#[tokio::test]
async fn an_eternal_client_stays_once_it_was_used() {
    let application = with_client_lifetime(None);
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
