//! Sessions that share a process.

use futures_util::FutureExt;
use http::StatusCode;
use mcp_stdio_bridge::{Bridge, Share};
use serde_json::json;

use crate::support::{Client, INITIALIZE, builder};

fn shared() -> Bridge {
    builder().share(Share::Shared).build().unwrap()
}

#[tokio::test]
async fn clients_that_can_do_the_same_share_a_process_and_others_do_not() {
    let bridge = shared();
    let (first, second) = (Client::open(&bridge).await, Client::open(&bridge).await);
    let able = INITIALIZE.replace(r#""capabilities":{}"#, r#""capabilities":{"roots":{}}"#);
    let third = Client::open_with(&bridge, &able).await;
    let process = first.result("process", &json!({})).await;
    assert_eq!(process, second.result("process", &json!({})).await);
    assert_ne!(process, third.result("process", &json!({})).await);
    assert_eq!(bridge.sessions(), 3);
}

#[tokio::test]
async fn the_same_id_in_two_sessions_is_answered_in_each() {
    let bridge = shared();
    let (first, second) = (Client::open(&bridge).await, Client::open(&bridge).await);
    let (a, b) = (json!({ "as": "a" }), json!({ "as": "b" }));
    let mut held = Box::pin(futures_util::future::join(
        first.call("1", "hold", &a),
        second.call("1", "hold", &b),
    ));
    assert!((&mut held).now_or_never().is_none());
    // One cancels its own, and only that.
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    first.post(cancel).await;
    second.result("release", &b).await;
    let (cancelled, released) = held.await;
    assert_eq!(cancelled.json().await["error"]["code"], -32800);
    assert_eq!(released.json().await["result"]["released"], "b");
}

#[tokio::test]
async fn what_the_server_asks_only_the_session_answers_that_was_asked() {
    let bridge = shared();
    let (first, second) = (Client::open(&bridge).await, Client::open(&bridge).await);
    let mut answer = first.call("1", "ask", &json!({})).await;
    let question = answer.message().await;
    let reply = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, question["id"]);
    assert_eq!(second.post(reply.clone()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(first.post(reply).await.status, StatusCode::ACCEPTED);
    assert_eq!(answer.message().await["result"]["told"], json!({}));
}

#[tokio::test]
async fn what_has_changed_all_sessions_hear_of() {
    let bridge = shared();
    let (first, second) = (Client::open(&bridge).await, Client::open(&bridge).await);
    let (mut one, mut two) = (first.get().await, second.get().await);
    first.result("change", &json!({})).await;
    for events in [&mut one, &mut two] {
        assert_eq!(events.message().await["method"], "notifications/tools/list_changed");
    }
}

#[tokio::test]
async fn the_end_of_a_session_is_not_the_end_of_the_process() {
    let bridge = shared();
    let (first, second) = (Client::open(&bridge).await, Client::open(&bridge).await);
    let held = json!({ "as": "a" });
    let mut call = Box::pin(first.call("1", "hold", &held));
    assert!((&mut call).now_or_never().is_none());
    assert_eq!(first.clone().delete().await.status, StatusCode::NO_CONTENT);
    assert_eq!(call.await.json().await["error"]["code"], -32603);
    second.result("seen", &json!({})).await;
    // A crash is everybody's.
    second.call("2", "crash", &json!({ "code": 1 })).await;
    assert_eq!(second.call("3", "seen", &json!({})).await.status, StatusCode::NOT_FOUND);
    Client::open(&bridge).await.result("seen", &json!({})).await;
}
