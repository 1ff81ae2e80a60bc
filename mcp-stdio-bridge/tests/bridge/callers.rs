//! Who calls: what belongs to whom, and what a server learns of it.

use http::{Method, Request, StatusCode};
use mcp_stdio_bridge::{Bridge, Caller, ConfigError, Share};
use serde_json::{Value, json};

use crate::support::{Answer, Client, INITIALIZE, builder, call, request, scripted};

/// A request of somebody's.
fn of(name: Option<&str>, method: Method, body: &str, session: Option<&str>) -> Request<axum::body::Body> {
    let mut request = request(method, "/mcp", body.to_owned());
    if let Some(name) = name {
        let caller = Caller::new(name).with("email", format!("{name}@example.com"));
        request.extensions_mut().insert(caller);
    }
    if let Some(session) = session {
        request.headers_mut().insert("mcp-session-id", session.parse().unwrap());
    }
    request
}

async fn open(bridge: &Bridge, name: Option<&str>) -> String {
    let answer = Client::new(bridge).send(of(name, Method::POST, INITIALIZE, None)).await;
    answer.headers["mcp-session-id"].to_str().unwrap().to_owned()
}

async fn result(bridge: &Bridge, name: Option<&str>, session: &str, tool: &str) -> Value {
    let text = call("1", tool, &json!({}));
    let answer: Answer = Client::new(bridge)
        .send(of(name, Method::POST, &text, Some(session)))
        .await;
    answer.json().await["result"].take()
}

#[tokio::test]
async fn a_session_is_there_for_nobody_but_its_owner() {
    let bridge = builder().build().unwrap();
    let client = Client::new(&bridge);
    let session = open(&bridge, Some("ada")).await;
    let text = call("1", "seen", &json!({}));
    for stranger in [Some("eve"), None] {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let body = if method == Method::POST { &text } else { "" };
            let answer = client.send(of(stranger, method.clone(), body, Some(&session))).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{stranger:?} {method}");
        }
    }
    let answer = client.send(of(Some("ada"), Method::POST, &text, Some(&session))).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_caller_has_so_many_sessions_and_others_theirs() {
    let bridge = builder().max_sessions_per_caller(1).build().unwrap();
    let client = Client::new(&bridge);
    open(&bridge, Some("ada")).await;
    let refused = client.send(of(Some("ada"), Method::POST, INITIALIZE, None)).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    open(&bridge, Some("eve")).await;
}

#[tokio::test]
async fn a_header_names_the_caller_only_where_it_is_trusted() {
    for (trusted, status) in [(true, StatusCode::NOT_FOUND), (false, StatusCode::OK)] {
        let bridge = if trusted {
            builder().caller_header("X-User")
        } else {
            builder()
        };
        let bridge = bridge.build().unwrap();
        let client = Client::new(&bridge);
        let named = |name: &str, body: &str, session: Option<&str>| {
            let mut request = of(None, Method::POST, body, session);
            request.headers_mut().insert("x-user", name.parse().unwrap());
            request
        };
        let opened = client.send(named("ada", INITIALIZE, None)).await;
        let session = opened.headers["mcp-session-id"].to_str().unwrap().to_owned();
        let text = call("1", "seen", &json!({}));
        assert_eq!(client.send(named("eve", &text, Some(&session))).await.status, status);
        assert_eq!(
            client.send(named("ada", &text, Some(&session))).await.status,
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn a_server_learns_who_calls_by_its_environment_if_it_is_to() {
    let command = scripted(&[])
        .caller_env("WHO", "${caller.subject} <${caller.email}>${caller.none}")
        .unwrap();
    assert_eq!(
        Bridge::builder(command.clone()).share(Share::Shared).build().err(),
        Some(ConfigError::SharedCaller)
    );
    let bridge = Bridge::builder(command).build().unwrap();
    let session = open(&bridge, Some("ada")).await;
    let environment = result(&bridge, Some("ada"), &session, "environment").await;
    assert_eq!(environment["environment"]["WHO"], "ada <ada@example.com>");
}

#[tokio::test]
async fn a_server_learns_who_calls_by_meta_and_no_client_says_so_itself() {
    let bridge = builder().caller_meta("example.com/caller").build().unwrap();
    let session = open(&bridge, Some("ada")).await;
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"line"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"line","_meta":{"x":1}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"line","_meta":{"example.com/caller":"eve"}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/any","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/any"}"#,
    ] {
        let answer = Client::new(&bridge)
            .send(of(Some("ada"), Method::POST, text, Some(&session)))
            .await;
        let answer = answer.json().await;
        let line: Value = serde_json::from_str(answer["result"]["line"].as_str().unwrap()).unwrap();
        assert_eq!(
            line["params"]["_meta"]["example.com/caller"],
            json!({ "subject": "ada", "email": "ada@example.com" }),
            "{text}"
        );
    }
}
