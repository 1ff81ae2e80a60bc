//! The two endpoints of MCP 2024-11-05.

use axum::Router;
use http::{Method, StatusCode};
use serde_json::json;

use crate::support::{Client, INITIALIZE, builder, call, request};

#[tokio::test]
async fn a_client_of_the_oldest_version_has_a_stream_and_a_place_to_post() {
    let bridge = builder().http_sse(true).build().unwrap();
    let client = Client {
        router: Router::new().nest("/old", bridge.router()),
        session: None,
    };
    let mut stream = client.send(request(Method::GET, "/old/sse", "")).await;
    let endpoint = stream.event().await.unwrap();
    assert!(endpoint.starts_with("/old/message?sessionId="), "{endpoint}");
    let post = async |text: &str| {
        let answer = client.send(request(Method::POST, &endpoint, text.to_owned())).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{text}");
    };
    let early = client
        .send(request(Method::POST, &endpoint, call("1", "seen", &json!({}))))
        .await;
    assert_eq!(early.status, StatusCode::NOT_FOUND);
    post(INITIALIZE).await;
    assert_eq!(stream.message().await["result"]["serverInfo"]["name"], "scripted");
    post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    post(&call("2", "ask", &json!({}))).await;
    let question = stream.message().await;
    assert_eq!(question["method"], "elicitation/create");
    post(&format!(
        r#"{{"jsonrpc":"2.0","id":{},"result":{{"x":1}}}}"#,
        question["id"]
    ))
    .await;
    let told = stream.message().await;
    assert_eq!((&told["id"], &told["result"]["told"]), (&json!(2), &json!({ "x": 1 })));
    post(&call("3", "change", &json!({}))).await;
    let (one, two) = (stream.message().await, stream.message().await);
    let changed = "notifications/tools/list_changed";
    assert!(one["method"] == changed || two["method"] == changed);
    assert_eq!(bridge.sessions(), 1);
    // The session ends with the stream.
    drop(stream);
    assert_eq!(bridge.sessions(), 0);
    let late = client
        .send(request(Method::POST, &endpoint, call("4", "seen", &json!({}))))
        .await;
    assert_eq!(late.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn they_are_not_there_unless_they_are_wanted() {
    let bridge = builder().build().unwrap();
    let answer = Client::new(&bridge).send(request(Method::GET, "/sse", "")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}
