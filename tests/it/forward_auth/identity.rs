//! What a backend is handed that proves who calls.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mcp_oauth_core::jwt::keys::JwkSet;
use mcp_oauth_core::server::identity_token::IDENTITY_TOKEN_TYPE;
use mcp_oauth_core::token::keys::Algorithm;
use mcp_oauth_tests::application::{Application, NOTES, SCOPE};
use mcp_oauth_tests::client::Client;
use mcp_oauth_tests::signing;
use mcp_oauth_tower::ForwardAuth;
use serde_json::{Value, json};

use super::Proxy;

/// Defect S13, V-59.
#[tokio::test]
async fn the_access_token_is_handed_on_only_if_the_operator_says_so() {
    let proxy = Proxy::new();
    let token = proxy.token("ada").await;
    let answer = proxy.call_with(&token).await;
    assert!(
        answer
            .headers
            .values()
            .all(|value| !value.to_str().unwrap().contains(&token))
    );
    assert_eq!(answer.headers["x-auth-token"], "");

    let proxy = Proxy::with(ForwardAuth::access_tokens);
    let token = proxy.token("ada").await;
    let answer = proxy.call_with(&token).await;
    assert_eq!(answer.header("x-auth-token"), token);
    assert!(answer.headers["x-auth-token"].is_sensitive());
}

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn a_backend_can_be_told_who_calls_under_a_signature_for_it_alone() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let application = Application::new(|builder| builder.signing_algorithm(algorithm));
        let proxy = Proxy::of(application, ForwardAuth::identity_tokens);
        let client = Client::public(&proxy.application).await;
        let token = client.sign_in(&proxy.application, "ada").await.access_token;
        let answer = proxy.call_with(&token).await;
        let identity = answer.header("x-identity-token");
        let (header, claims) = (part(identity, 0), part(identity, 1));
        assert_eq!(header["typ"], IDENTITY_TOKEN_TYPE);
        assert_eq!(claims["aud"], NOTES);
        assert_eq!(claims["iss"], "http://127.0.0.1:8080");
        assert_eq!(
            (&claims["sub"], &claims["client_id"]),
            (&json!("development:ada"), &json!(client.client_id))
        );
        assert_eq!((&claims["scope"], &claims["username"]), (&json!(SCOPE), &json!("ada")));
        assert_eq!(claims["grant_id"], answer.header("x-grant-id"));
        let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert_eq!(life, 60);

        let keys = proxy.application.get("/jwks").await.body;
        assert!(
            JwkSet::parse(keys.as_bytes())
                .unwrap()
                .has(header["kid"].as_str().unwrap())
        );
        assert!(signing::verifies(&serde_json::from_str(&keys).unwrap(), identity));
        let (signed, _) = identity.rsplit_once('.').unwrap();
        let (_, other) = token.rsplit_once('.').unwrap();
        assert!(!signing::verifies(
            &serde_json::from_str(&keys).unwrap(),
            &format!("{signed}.{other}")
        ));
    }
}

/// V-48: one kind of JWT is not taken for another.
#[tokio::test]
async fn an_identity_token_opens_nothing() {
    let proxy = Proxy::with(ForwardAuth::identity_tokens);
    let client = Client::public(&proxy.application).await;
    let token = client.sign_in(&proxy.application, "ada").await.access_token;
    let identity = proxy.call_with(&token).await.header("x-identity-token").to_owned();
    assert_eq!(proxy.call_with(&identity).await.status, 401);
    assert_eq!(proxy.application.call(NOTES, &identity).await.status, 401);
    let told = client
        .post(&proxy.application, "/introspect", &[("token", &identity)])
        .await;
    assert!(
        told.status == 401 || told.json() == json!({"active": false}),
        "{told:?}"
    );
    let revoked = client
        .post(&proxy.application, "/revoke", &[("token", &identity)])
        .await;
    assert_eq!(revoked.status, 200);
    assert_eq!(proxy.call_with(&token).await.status, 200);
}

#[tokio::test]
async fn an_identity_token_does_not_outlive_the_access_token() {
    let proxy = Proxy::with(ForwardAuth::identity_tokens);
    let token = proxy.token("ada").await;
    proxy.application.clock.advance(Duration::from_secs(3590));
    let answer = proxy.call_with(&token).await;
    let claims = part(answer.header("x-identity-token"), 1);
    assert_eq!(claims["exp"], part(&token, 1)["exp"]);
}
