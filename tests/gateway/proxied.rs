//! Servers that the gateway passes requests on to: what reaches them, what comes back, and what is told when they fail.

use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use mcp_oauth_tests::gateway::{Gateway, free_port};
use mcp_oauth_tower::forward_auth::IDENTITY_HEADERS;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::node::Http;
use crate::speak::{Speaker, answer, client};
use crate::upstream::Upstream;

/// A gateway in front of a server at this URL, and Ada's way to it.
async fn in_front_of(url: &str, settings: &str) -> (Gateway, Speaker) {
    let gateway = Gateway::start(&format!("[servers.files]\nurl = \"{url}\"\n{settings}")).await;
    let http = Http::to(&gateway.url, client(&[], 0));
    let url = format!("{}/files/mcp", gateway.url);
    let token = http.sign_in_to(&url, "ada").await.access_token;
    let client = client(&[], 0);
    (gateway, Speaker { client, url, token })
}

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

fn fine() -> axum::response::Response {
    axum::Json(json!({"jsonrpc": "2.0", "id": 1, "result": {}})).into_response()
}

#[tokio::test]
async fn the_server_is_told_who_calls_and_gets_nothing_that_the_client_says_of_itself() {
    let upstream = Upstream::answering(fine).await;
    let (_gateway, ada) = in_front_of(&upstream.url, "").await;
    let mut request = ada
        .post(&ping())
        .header("cookie", "__Host-session=x")
        .header("x_user_id", "root");
    for &name in IDENTITY_HEADERS {
        request = request.header(name, "forged");
    }
    for (name, value) in [
        ("x-upstream-token", "forged"),
        ("x-forwarded-for", "203.0.113.1"),
        ("x-forwarded-proto", "gopher"),
        ("forwarded", "for=203.0.113.1"),
        ("origin", "https://app.example.com"),
        ("connection", "keep-alive, x-secret-hop"),
        ("x-secret-hop", "1"),
        ("te", "trailers"),
        ("mcp-protocol-version", "2025-06-18"),
        ("x-own", "stays"),
    ] {
        request = request.header(name, value);
    }
    let (status, ..) = answer(request).await;
    assert_eq!(status, 200);
    let seen = upstream.last();
    for &name in IDENTITY_HEADERS {
        assert_eq!(seen.get_all(name).iter().count(), 1, "{name}");
        assert_ne!(seen[name], "forged", "{name}");
    }
    assert_eq!(seen["x-user-id"], "development:ada");
    assert_eq!(
        (&seen["x-identity-token"], &seen["x-auth-token"]),
        (&"".parse().unwrap(), &"".parse().unwrap())
    );
    for name in [
        "authorization",
        "cookie",
        "x_user_id",
        "x-upstream-token",
        "forwarded",
        "origin",
        "x-secret-hop",
        "te",
    ] {
        assert!(!seen.contains_key(name), "{name}");
    }
    assert_eq!(
        (&seen["x-own"], &seen["mcp-protocol-version"]),
        (&"stays".parse().unwrap(), &"2025-06-18".parse().unwrap())
    );
    assert_eq!(
        (&seen["x-forwarded-for"], &seen["x-forwarded-proto"]),
        (&"127.0.0.1".parse().unwrap(), &"http".parse().unwrap())
    );
    let host = upstream.url.trim_start_matches("http://").trim_end_matches("/mcp");
    assert_eq!(seen["host"], host);
}

#[tokio::test]
async fn the_token_goes_on_only_where_it_was_asked_for_and_a_signed_identity_can_go_with_it() {
    let upstream = Upstream::answering(fine).await;
    let settings = "upstream = { access_tokens = true, identity_tokens = true }";
    let (_gateway, ada) = in_front_of(&upstream.url, settings).await;
    assert_eq!(answer(ada.post(&ping())).await.0, 200);
    let seen = upstream.last();
    assert_eq!(seen["authorization"], format!("Bearer {}", ada.token));
    let token = seen["x-identity-token"].to_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(
        (&claims["sub"], &claims["aud"]),
        (&json!("development:ada"), &json!(ada.url))
    );
}

#[tokio::test]
async fn events_come_one_by_one_as_the_server_sends_them() {
    let (upstream, _, events) = Upstream::streaming().await;
    let (_gateway, ada) = in_front_of(&upstream.url, "").await;
    let asking = tokio::spawn(ada.post(&ping()).send());
    events.send("data: 1\n\n").unwrap();
    let mut response = asking.await.unwrap().unwrap();
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert_eq!(response.headers()["cache-control"], "no-cache");
    assert_eq!(response.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    // The first one has come before there is a second one.
    events.send("data: 2\n\n").unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "data: 2\n\n");
    drop(events);
    assert_eq!(response.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn the_server_sets_no_cookies_and_makes_no_rules_in_the_gateways_name() {
    let upstream = Upstream::answering(|| {
        let headers = [
            ("set-cookie", "a=b"),
            ("strict-transport-security", "max-age=1"),
            ("access-control-allow-origin", "https://only.example"),
            ("access-control-allow-credentials", "true"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("mcp-session-id", "session"),
        ];
        (headers, "{}").into_response()
    });
    let (_gateway, ada) = in_front_of(&upstream.await.url, "").await;
    let (status, headers, _) = answer(ada.post(&ping()).header("origin", "https://a.example")).await;
    assert_eq!(status, 200);
    for name in [
        "set-cookie",
        "strict-transport-security",
        "access-control-allow-credentials",
        "x-hop",
    ] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert!(headers["mcp-session-id"].to_str().unwrap().starts_with("session"));
}

#[tokio::test]
async fn a_server_that_fails_is_told_of_and_its_challenges_and_redirections_are_not_the_clients() {
    let away = format!("http://127.0.0.1:{}/mcp", free_port());
    let (_gateway, ada) = in_front_of(&away, "").await;
    let (status, _, body) = answer(ada.post(&ping())).await;
    assert_eq!(status, 502);
    assert!(
        body.contains("cannot be reached") && !body.contains("127.0.0.1"),
        "{body}"
    );

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", silent.local_addr().unwrap());
    let (_gateway, ada) = in_front_of(&url, "upstream = { response_timeout = 1 }").await;
    assert_eq!(answer(ada.post(&ping())).await.0, 504);

    for answered in [
        (
            StatusCode::UNAUTHORIZED,
            [("www-authenticate", "Bearer resource_metadata=\"https://evil.example\"")],
        ),
        (StatusCode::TEMPORARY_REDIRECT, [("location", "http://10.0.0.1/mcp/")]),
    ] {
        let upstream = Upstream::answering(move || (answered.0, answered.1, "").into_response()).await;
        let (gateway, ada) = in_front_of(&upstream.url, "").await;
        let (status, headers, _) = answer(ada.post(&ping())).await;
        assert_eq!(status, 502, "{answered:?}");
        assert!(!headers.contains_key("www-authenticate") && !headers.contains_key("location"));
        assert!(gateway.log().contains(&upstream.url), "the operator is told");
    }
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused_and_nobody_else_sees_it() {
    let upstream = Upstream::answering(fine).await;
    let (_gateway, ada) = in_front_of(&upstream.url, "upstream = { max_body = 100 }").await;
    let long = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "y".repeat(200)}});
    assert_eq!(answer(ada.post(&long)).await.0, 413);
    assert_eq!(upstream.count(), 0);
    assert_eq!(answer(ada.post(&ping())).await.0, 200);
}
