//! The layer in front of a server: who gets through, what the others are told, and what the server gets to see.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Waker};

use aws_lc_rs::hmac;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use mcp_oauth_tests::application::{Answer, Application, FILES, ISSUER, NOTES, request};
use mcp_oauth_tests::client::{Client, Tokens};
use serde_json::{Value, json};

const METADATA: &str = r#"resource_metadata="http://127.0.0.1:8080/.well-known/oauth-protected-resource/notes/mcp""#;

async fn call(application: &Application, headers: &[(&str, &str)]) -> Answer {
    application.send(request(Method::POST, "/notes/mcp", headers, "")).await
}

/// Defect R1.
#[tokio::test]
async fn without_a_token_every_method_is_401_and_told_where_to_begin() {
    let application = Application::default();
    for method in [Method::GET, Method::POST, Method::HEAD, Method::DELETE, Method::PUT] {
        let answer = application.send(request(method.clone(), "/notes/mcp", &[], "")).await;
        assert_eq!(answer.status, 401, "{method}");
        assert_eq!(
            answer.header("www-authenticate"),
            format!(r#"Bearer {METADATA}, scope="notes:use""#),
            "{method}"
        );
        assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 1);
    }
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_token_and_does_not_reach_the_server() {
    let application = Application::default();
    let headers = [
        ("origin", "https://inspector.example"),
        ("access-control-request-method", "POST"),
    ];
    let answer = application
        .send(request(Method::OPTIONS, "/notes/mcp", &headers, ""))
        .await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
    assert!(answer.header("access-control-allow-headers").contains("authorization"));
}

/// Defect R5.
#[tokio::test]
async fn the_scheme_counts_in_any_case_and_a_malformed_header_is_a_400() {
    let application = Application::default();
    let token = Tokens::issued_to(&application, "ada").await.access_token;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(
            call(&application, &[("authorization", &format!("{scheme} {token}"))])
                .await
                .status,
            200,
            "{scheme}"
        );
    }
    let twice = format!("Bearer {token}");
    for headers in [
        &[("authorization", "Bearer")][..],
        &[("authorization", "Bearer a b")],
        &[("authorization", "Bearer {}")],
        &[("authorization", &twice), ("authorization", &twice)],
    ] {
        let answer = call(&application, headers).await;
        assert_eq!(answer.status, 400, "{headers:?}");
        assert!(
            answer.header("www-authenticate").contains(r#"error="invalid_request""#),
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn a_wrong_token_is_a_401_that_says_so() {
    let application = Application::default();
    let answer = application.call(NOTES, "not.a.token").await;
    assert_eq!(answer.status, 401);
    assert!(
        answer
            .header("www-authenticate")
            .starts_with(r#"Bearer error="invalid_token""#)
    );
    assert!(answer.header("www-authenticate").contains(METADATA));
    assert_eq!(answer.error(), "invalid_token");
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_token_in_the_query_is_not_one() {
    let application = Application::default();
    let token = Tokens::issued_to(&application, "ada").await.access_token;
    let path = format!("/notes/mcp?access_token={token}");
    assert_eq!(
        application.send(request(Method::POST, &path, &[], "")).await.status,
        401
    );
    let bearer = format!("Bearer {token}");
    let both = application
        .send(request(Method::POST, &path, &[("authorization", &bearer)], ""))
        .await;
    assert_eq!(both.status, 400);
}

/// Defect S7.
#[tokio::test]
async fn a_token_for_one_resource_opens_no_other() {
    let application = Application::default();
    let token = Tokens::issued_to(&application, "ada").await.access_token;
    assert_eq!(application.call(NOTES, &token).await.status, 200);
    let refused = application.call(FILES, &token).await;
    assert_eq!(
        (refused.status.as_u16(), refused.error().as_str()),
        (401, "invalid_token")
    );
}

#[tokio::test]
async fn a_token_of_another_server_opens_nothing_even_with_the_same_names() {
    let application = Application::default();
    let other = Application::default();
    let token = Tokens::issued_to(&other, "ada").await.access_token;
    assert_eq!(application.call(NOTES, &token).await.status, 401);
}

#[tokio::test]
async fn a_token_is_good_until_it_expires_and_not_a_second_longer() {
    let application = Application::default();
    let token = Tokens::issued_to(&application, "ada").await.access_token;
    application.clock.advance(std::time::Duration::from_secs(3599));
    assert_eq!(application.call(NOTES, &token).await.status, 200);
    application.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(application.call(NOTES, &token).await.status, 401);
}

#[tokio::test]
async fn a_token_without_the_scope_is_a_403_that_names_all_scopes() {
    let application = Application::new(|builder| {
        let resource = mcp_oauth_tower::Resource::new("http://127.0.0.1:8080/wiki").unwrap();
        builder.resource(resource.scope("read", "read").unwrap().scope("write", "write").unwrap())
    });
    let client = Client::public(&application).await;
    let url = client.authorization_url(&[("resource", "http://127.0.0.1:8080/wiki"), ("scope", "read")]);
    let code = mcp_oauth_tests::browser::Browser::default()
        .authorize(&application, &url, "ada")
        .await
        .code();
    let token = mcp_oauth_tests::client::Tokens::of(&client.redeem(&application, &code, &[]).await).access_token;
    let layer = mcp_oauth_tower::OAuthLayer::new(&application.server, "http://127.0.0.1:8080/wiki").unwrap();
    let router = axum::Router::new()
        .route("/wiki", axum::routing::get(|| async {}))
        .layer(layer);
    let bearer = format!("Bearer {token}");
    let request = request(Method::GET, "/wiki", &[("authorization", &bearer)], "");
    let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
    assert_eq!(response.status(), 403);
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.contains(r#"error="insufficient_scope""#) && challenge.contains(r#"scope="read write""#),
        "{challenge}"
    );
    assert!(challenge.contains("resource_metadata="), "{challenge}");
}

#[tokio::test]
async fn the_server_sees_the_caller_and_not_the_token() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let token = client.sign_in(&application, "ada").await.access_token;
    let seen = application.call(NOTES, &token).await.json();
    assert_eq!(seen["subject"], "development:ada");
    assert_eq!(seen["client_id"], client.client_id.as_str());
    assert_eq!(seen["resource"], NOTES);
    assert!(!seen["headers"].as_array().unwrap().contains(&json!("authorization")));
}

/// A token with a header, claims and signature of the test's own.
fn forge(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign(signed.as_bytes())))
}

#[tokio::test]
async fn no_header_of_a_token_makes_its_signature_unnecessary() {
    let application =
        Application::new(|builder| builder.signing_algorithm(mcp_oauth_core::token::keys::Algorithm::Rs256));
    let token = Tokens::issued_to(&application, "ada").await.access_token;
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    let key = application.get("/jwks").await.json()["keys"][0].clone();
    let kid = &key["kid"];
    let mut forged = vec![token.rsplit_once('.').unwrap().0.to_owned() + "."];
    for algorithm in ["none", "nOnE", "NONE", ""] {
        forged.push(forge(
            &json!({"alg": algorithm, "typ": "at+jwt", "kid": kid}),
            &claims,
            |_| Vec::new(),
        ));
    }
    // The public key as a shared secret, in each form in which one may come across it.
    let modulus = URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
    for secret in [key.to_string().into_bytes(), key["n"].to_string().into_bytes(), modulus] {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": kid});
        forged.push(forge(&header, &claims, |signed| {
            hmac::sign(&secret, signed).as_ref().to_vec()
        }));
    }
    for token in forged {
        assert!(
            [400, 401].contains(&application.call(NOTES, &token).await.status.as_u16()),
            "{token}"
        );
    }
}

#[tokio::test]
async fn a_million_dots_are_refused_by_their_length() {
    let application = Application::default();
    assert_eq!(application.call(NOTES, &".".repeat(1_000_000)).await.status, 400);
    assert_eq!(application.call(NOTES, &".".repeat(10_000)).await.status, 401);
}

#[tokio::test]
async fn the_challenge_is_the_same_whatever_the_request_claims() {
    let application = Application::default();
    let plain = call(&application, &[]).await;
    let spoofed = call(
        &application,
        &[("host", "evil.example"), ("x-forwarded-host", "evil.example")],
    )
    .await;
    assert_eq!(plain.header("www-authenticate"), spoofed.header("www-authenticate"));
    assert!(plain.header("www-authenticate").contains(ISSUER));
}

#[tokio::test]
async fn a_browser_client_may_read_the_challenge() {
    let application = Application::default();
    let answer = call(&application, &[("origin", "https://inspector.example")]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(
        answer
            .header("access-control-expose-headers")
            .contains("www-authenticate")
    );
}

/// A connection whose body nobody reads is closed, and the challenge may be lost with it.
#[tokio::test]
async fn a_client_that_is_refused_may_send_its_message_to_the_end() {
    let application = Application::default();
    for (path, status) in [("/notes/mcp", 401), ("/register", 400), ("/jwks", 405)] {
        let (client, body) = tokio::sync::oneshot::channel::<Vec<u8>>();
        let mut request = request(Method::POST, path, &[], "");
        *request.body_mut() = Body::from_stream(futures_util::stream::once(body));
        let mut answer = pin!(application.send(request));
        assert!(
            answer
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending(),
            "{path}"
        );
        client.send(b"{}".to_vec()).unwrap();
        assert_eq!(answer.await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_client_that_is_refused_and_waits_for_a_word_gets_it_at_once() {
    let application = Application::default();
    for (path, status) in [("/notes/mcp", 401), ("/register", 400)] {
        let mut request = request(Method::POST, path, &[("expect", "100-continue")], "");
        *request.body_mut() = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, Infallible>>());
        assert_eq!(application.send(request).await.status, status, "{path}");
    }
}
