//! What breaks real clients, measured by giving each a server that deviates in one point: here is none of it. Each test
//! names the deviation as it stands in `tests/COVERAGE.md`.

use http::Method;
use mcp_oauth_tests::application::{Answer, Application, FILES, ISSUER, NOTES, request};
use mcp_oauth_tests::browser::arrival;
use mcp_oauth_tests::client::{Client, REDIRECT_URI, public_metadata};
use serde_json::{Value, json};

const METADATA: &str = "/.well-known/oauth-authorization-server";
const RESOURCE: &str = "/.well-known/oauth-protected-resource/notes/mcp";

async fn challenge(application: &Application, method: Method) -> Answer {
    application.send(request(method, "/notes/mcp", &[], "")).await
}

/// Neither `null` nor an empty text, at any depth.
fn is_filled(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => values.iter().all(is_filled),
        Value::Object(members) => members.values().all(is_filled),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// `no_challenge`, `get405_before_auth`.
#[tokio::test]
async fn whatever_a_client_probes_with_it_is_told_where_to_begin() {
    let application = Application::default();
    for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::PUT] {
        let answer = challenge(&application, method.clone()).await;
        assert_eq!(answer.status, 401, "{method}");
        let challenge = answer.header("www-authenticate");
        assert!(challenge.starts_with("Bearer "), "{challenge}");
        assert!(
            challenge.contains(&format!("resource_metadata=\"{ISSUER}{RESOURCE}\"")),
            "{challenge}"
        );
        // Some clients split the header at every comma.
        let quoted = challenge.split('"').skip(1).step_by(2);
        assert!(quoted.into_iter().all(|value| !value.contains(',')), "{challenge}");
    }
}

/// `meta_issuer_slash`, `prm_issuer_slash`, `iss_advertised_missing`, `no_iss`.
#[tokio::test]
async fn the_issuer_is_one_and_the_same_text_everywhere() {
    let application = Application::default();
    let client = Client::public(&application).await;
    assert_eq!(application.get(METADATA).await.json()["issuer"], ISSUER);
    assert_eq!(
        application.get(RESOURCE).await.json()["authorization_servers"],
        json!([ISSUER])
    );
    let mut browser = mcp_oauth_tests::browser::Browser::default();
    let arrived = browser
        .authorize(&application, &client.authorization_url(&[]), "ada")
        .await;
    assert_eq!(arrived.parameter("iss").as_deref(), Some(ISSUER));
    let refused = arrival(
        &application
            .get(&client.authorization_url(&[("response_type", "token")]))
            .await,
    );
    assert_eq!(refused.parameter("iss").as_deref(), Some(ISSUER));
}

/// `meta_nulls`, `meta_minimal`, `no_none_method`, `no_register`.
#[tokio::test]
async fn the_metadata_says_all_that_clients_look_for_and_nothing_is_null() {
    let application = Application::default();
    let metadata = application.get(METADATA).await.json();
    assert!(is_filled(&metadata), "{metadata}");
    for name in [
        "registration_endpoint",
        "scopes_supported",
        "code_challenge_methods_supported",
        "grant_types_supported",
        "jwks_uri",
    ] {
        assert!(metadata.get(name).is_some(), "{name}");
    }
    // The first of the list is what some clients take.
    assert_eq!(metadata["token_endpoint_auth_methods_supported"][0], "none");
}

/// `no_prm`, `prm_root_only`, `prm_resource_origin`, `prm_resource_origin_slash`, `prm_resource_slash`.
#[tokio::test]
async fn each_resource_is_described_at_its_own_path_by_the_very_url_that_people_type() {
    let application = Application::default();
    for resource in [NOTES, FILES] {
        let path = resource.strip_prefix(ISSUER).unwrap();
        let document = application
            .get(&format!("/.well-known/oauth-protected-resource{path}"))
            .await;
        assert_eq!(document.json()["resource"], resource);
        assert!(is_filled(&document.json()));
    }
}

/// `reg_200`, `reg_minimal`, `reg_no_method`, `reg_empty`, `reg_nulls`.
#[tokio::test]
async fn a_registration_is_201_and_echoes_everything_and_nothing_is_null_or_empty() {
    let application = Application::default();
    let minimal = json!({"redirect_uris": [REDIRECT_URI], "scope": "", "client_name": null});
    for metadata in [public_metadata(), minimal] {
        let answer = application.post_json("/register", &metadata).await;
        assert_eq!(answer.status, 201);
        let registered = answer.json();
        assert!(is_filled(&registered), "{registered}");
        for name in [
            "client_id",
            "client_id_issued_at",
            "redirect_uris",
            "token_endpoint_auth_method",
            "grant_types",
            "response_types",
        ] {
            assert!(registered.get(name).is_some(), "{name}");
        }
    }
}

/// `reg_always_secret`: clients use a secret that they were given, whatever they registered.
#[tokio::test]
async fn who_registers_without_a_method_that_needs_one_gets_no_secret() {
    let application = Application::default();
    let registered = application.post_json("/register", &public_metadata()).await.json();
    assert!(registered.get("client_secret").is_none() && registered.get("client_secret_expires_at").is_none());
}

/// `token_201`, `token_nulls`, `string_expires_in`, `refresh_not_returned`.
#[tokio::test]
async fn tokens_come_with_200_a_lifetime_that_is_a_number_and_a_refresh_token_each_time() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let code = client.code(&application, "ada").await;
    let first = client.redeem(&application, &code, &[]).await;
    let refresh_token = first.json()["refresh_token"].as_str().unwrap().to_owned();
    let second = client.refresh(&application, &refresh_token, &[]).await;
    for answer in [first, second] {
        assert_eq!(answer.status, 200);
        let tokens = answer.json();
        assert!(is_filled(&tokens));
        assert!(tokens["expires_in"].is_u64() && tokens["refresh_token"].is_string());
        assert_eq!(tokens["token_type"], "Bearer");
        assert!(tokens.get("id_token").is_none());
    }
}

/// Codex, mcp-remote and others name scopes when they refresh, also ones that were never granted.
#[tokio::test]
async fn a_refresh_that_names_more_scopes_than_were_granted_gets_what_was_granted() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let tokens = client.sign_in(&application, "ada").await;
    let asked = [("scope", "notes:use offline_access something:else")];
    let answer = client.refresh(&application, &tokens.refresh_token, &asked).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["scope"]),
        (200, &json!("notes:use"))
    );
}

/// Claude Code registers one scope and asks for another; what was registered caps nothing.
#[tokio::test]
async fn the_registered_scope_is_no_bound_on_what_is_asked_for() {
    let application = Application::default();
    let mut metadata = public_metadata();
    metadata["scope"] = json!("something:else");
    let client = Client::register(&application, &metadata).await;
    let code = client.code(&application, "ada").await;
    assert_eq!(
        client.redeem(&application, &code, &[]).await.json()["scope"],
        "notes:use"
    );
}
