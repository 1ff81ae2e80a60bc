//! What is turned away before a server hears of it.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Waker};

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use mcp_stdio_bridge::{Bridge, Command, ConfigError, Hosts, Origins};
use serde_json::json;
use tower::ServiceExt;

use crate::support::{Client, INITIALIZE, builder, request};

/// With a header replaced, or taken away.
fn with(name: &'static str, value: Option<&str>) -> Request<Body> {
    let mut request = request(Method::POST, "/mcp", INITIALIZE);
    request.headers_mut().remove(name);
    if let Some(value) = value {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn a_foreign_host_or_origin_starts_nothing() {
    // Were it started, the answer would be another.
    let bridge = Bridge::builder(Command::new("/no/such/program")).build().unwrap();
    let client = Client::new(&bridge);
    for foreign in [
        with("host", Some("evil.example")),
        with("host", None),
        with("origin", Some("https://evil.example")),
        with("origin", Some("null")),
    ] {
        let answer = client.send(foreign).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.json().await["error"]["code"], -32600);
    }
}

#[tokio::test]
async fn hosts_and_origins_that_are_configured_are_let_in() {
    let bridge = builder()
        .hosts(Hosts::list(["mcp.example.com"]))
        .origins(Origins::list(["https://app.example.com"]))
        .build()
        .unwrap();
    let client = Client::new(&bridge);
    for (origin, status) in [
        (None, StatusCode::OK),
        (Some("https://app.example.com"), StatusCode::OK),
        (Some("https://mcp.example.com"), StatusCode::OK),
        (Some("http://localhost:6274"), StatusCode::FORBIDDEN),
    ] {
        let mut request = with("origin", origin);
        request.headers_mut().insert("host", "mcp.example.com".parse().unwrap());
        assert_eq!(client.send(request).await.status, status, "{origin:?}");
    }
    assert_eq!(client.send(with("origin", None)).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn headers_that_do_not_fit_are_refused_and_start_nothing() {
    let bridge = Bridge::builder(Command::new("/no/such/program")).build().unwrap();
    let client = Client::new(&bridge);
    for (name, value, status) in [
        ("content-type", Some("text/plain"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("content-type", None, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("accept", Some("application/json"), StatusCode::NOT_ACCEPTABLE),
        ("accept", Some("text/html"), StatusCode::NOT_ACCEPTABLE),
        ("mcp-protocol-version", Some("1900-01-01"), StatusCode::BAD_REQUEST),
    ] {
        let answer = client.send(with(name, value)).await;
        assert_eq!(answer.status, status, "{name}: {value:?}");
        assert!(answer.json().await["error"]["message"].is_string());
    }
}

#[tokio::test]
async fn headers_that_are_in_order_are_let_through() {
    let bridge = builder().build().unwrap();
    let client = Client::new(&bridge);
    for (name, value) in [
        ("content-type", Some("Application/JSON; charset=utf-8")),
        ("accept", Some("*/*")),
        ("accept", None),
        ("mcp-protocol-version", Some("2025-03-26")),
        ("mcp-protocol-version", Some("2025-11-25")),
        ("mcp-protocol-version", None),
    ] {
        assert_eq!(
            client.send(with(name, value)).await.status,
            StatusCode::OK,
            "{name}: {value:?}"
        );
    }
}

#[tokio::test]
async fn an_unsupported_version_is_told_which_are_supported() {
    let bridge = builder().build().unwrap();
    let answer = Client::new(&bridge)
        .send(with("mcp-protocol-version", Some("2027-01-01")))
        .await;
    let error = answer.json().await["error"].take();
    assert_eq!(
        (&error["code"], &error["data"]["requested"]),
        (&json!(-32022), &json!("2027-01-01"))
    );
    assert!(
        error["data"]["supported"]
            .as_array()
            .unwrap()
            .contains(&json!("2025-11-25"))
    );
}

#[tokio::test]
async fn an_event_stream_has_to_be_asked_for() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    for accept in ["*/*", "application/json", "text/event-stream;q=0"] {
        let mut request = request(Method::GET, "/mcp", "");
        request.headers_mut().insert("accept", accept.parse().unwrap());
        assert_eq!(
            client.send(request).await.status,
            StatusCode::NOT_ACCEPTABLE,
            "{accept}"
        );
    }
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused_announced_or_not() {
    let bridge = builder().max_body(1000).build().unwrap();
    let client = Client::new(&bridge);
    let large = " ".repeat(2000);
    let mut announced = request(Method::POST, "/mcp", "");
    announced
        .headers_mut()
        .insert("content-length", "2000".parse().unwrap());
    let pieces = futures_util::stream::iter(["{", &large].map(|piece| Ok::<_, std::io::Error>(piece.to_owned())));
    for request in [announced, request(Method::POST, "/mcp", Body::from_stream(pieces))] {
        let answer = client.send(request).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(
            answer.json().await["error"]["message"]
                .as_str()
                .unwrap()
                .contains("1000")
        );
    }
    assert_eq!(client.post(INITIALIZE).await.status, StatusCode::OK);
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let bridge = builder().build().unwrap();
    let client = Client::new(&bridge);
    for method in [Method::PUT, Method::PATCH, Method::HEAD, Method::OPTIONS] {
        let answer = client.send(request(method, "/mcp", "")).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers["allow"], "POST, GET, DELETE");
    }
}

#[tokio::test]
async fn health_is_told_without_starting_anything() {
    let bridge = builder().build().unwrap();
    let client = Client::new(&bridge);
    let probe = || {
        Request::get("/health")
            .header("host", "10.0.0.7:3000")
            .body(Body::empty())
            .unwrap()
    };
    let answer = client.send(probe()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json().await, json!({ "status": "ok" }));
    assert_eq!(bridge.sessions(), 0);
    bridge.shutdown().await;
    assert_eq!(client.send(probe()).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn without_a_router_the_answers_are_the_same() {
    for bridge in [
        builder().build().unwrap(),
        builder().path("/").build().unwrap(),
        builder().path("/tools/time/").http_sse(true).build().unwrap(),
    ] {
        for path in [
            "/",
            "/mcp",
            "/mcp/",
            "/mcp//",
            "/tools/time",
            "/tools/time/",
            "/health",
            "/health/",
            "/ready",
            "/sse",
            "/message",
            "/x",
        ] {
            for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::OPTIONS] {
                let asked = || request(method.clone(), path, INITIALIZE);
                let routed = bridge.router().oneshot(asked()).await.unwrap();
                let answered = bridge.answer(asked()).await;
                let told = |response: &http::Response<Body>| {
                    let methods = response.headers().get("allow").map(|methods| methods.to_str().unwrap());
                    let methods = methods.map(|methods| methods.replace(", ", ","));
                    (response.status(), methods)
                };
                assert_eq!(told(&answered), told(&routed), "{method} {path}");
            }
        }
        bridge.shutdown().await;
    }
}

#[tokio::test]
async fn the_endpoint_is_where_it_is_put() {
    let bridge = builder().build().unwrap();
    let at_root = builder().path("/").build().unwrap();
    let elsewhere = builder().path("/tools/time/").build().unwrap();
    let nested = Router::new().nest("/notes", bridge.router());
    for (router, path) in [
        (bridge.router(), "/mcp"),
        (bridge.router(), "/mcp/"),
        (nested.clone(), "/notes/mcp"),
        (nested, "/notes/mcp/"),
        (at_root.router(), "/"),
        (Router::new().nest("/notes", at_root.router()), "/notes"),
        (elsewhere.router(), "/tools/time"),
        (elsewhere.router(), "/tools/time/"),
    ] {
        let response = router.oneshot(request(Method::POST, path, INITIALIZE)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_layer_in_front_decides_first() {
    let bridge = builder().build().unwrap();
    let router = bridge.router().layer(axum::middleware::from_fn(
        |request: Request<Body>, next: axum::middleware::Next| async move {
            if request.headers().contains_key("authorization") {
                next.run(request).await
            } else {
                axum::response::IntoResponse::into_response(StatusCode::UNAUTHORIZED)
            }
        },
    ));
    let mut client = Client::new(&bridge);
    client.router = router;
    assert_eq!(client.post(INITIALIZE).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(bridge.sessions(), 0);
    assert_eq!(
        client.send(with("authorization", Some("Bearer x"))).await.status,
        StatusCode::OK
    );
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    assert_eq!(
        builder().path("mcp").build().err(),
        Some(ConfigError::Path("mcp".into()))
    );
    assert_eq!(
        builder().path("/{id}").build().err(),
        Some(ConfigError::Path("/{id}".into()))
    );
    assert_eq!(
        builder().max_sessions(0).build().err(),
        Some(ConfigError::Zero("max_sessions"))
    );
    let url = "https://mcp.example.com";
    assert_eq!(
        builder().hosts(Hosts::list([url])).build().err(),
        Some(ConfigError::Host(url.into()))
    );
}

/// A connection whose body nobody reads is closed, and the answer may be lost with it.
#[tokio::test]
async fn a_refused_client_may_send_its_message_to_the_end() {
    let bridge = Bridge::builder(Command::new("/no/such/program")).build().unwrap();
    let (client, body) = tokio::sync::oneshot::channel::<Vec<u8>>();
    let body = Body::from_stream(futures_util::stream::once(body));
    let request = Request::builder().method(Method::POST).uri("/mcp").body(body).unwrap();
    let mut answer = pin!(bridge.router().oneshot(request));
    assert!(
        answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    client.send(b"{}".to_vec()).unwrap();
    assert_eq!(answer.await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_refused_client_that_waits_for_a_word_gets_it_at_once() {
    let bridge = Bridge::builder(Command::new("/no/such/program")).build().unwrap();
    let request = Request::builder().method(Method::POST).uri("/mcp");
    let request = request.header("expect", "100-continue");
    let body = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, Infallible>>());
    let answer = bridge.router().oneshot(request.body(body).unwrap()).await;
    assert_eq!(answer.unwrap().status(), StatusCode::FORBIDDEN);
}
