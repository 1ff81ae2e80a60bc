//! What clients of both eras do with servers of both, and how they leave.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::caller::Caller;
use crate::site::Site;
use crate::visitor::Visitor;

/// How long somebody listens who then goes away.
const LISTENING: Duration = Duration::from_millis(500);

/// A session that is opened, used, listened to, and ended.
pub(crate) async fn whole(site: Arc<Site>) {
    let notebook = Caller::signed_in(&site, "pad").await.open().await;
    let listening = notebook.listen().await;
    for number in 0..10 {
        notebook
            .call("add_note", &json!({"text": format!("note {number}")}))
            .await;
    }
    notebook.call("list_notes", &json!({})).await;
    drop(listening);
    notebook.delete().await;

    let echo = Caller::signed_in(&site, "echo").await.open().await;
    echo.call("echo", &json!({"message": "hello"})).await;
    echo.delete().await;
}

/// Sessions that nobody ends: of a process of their own, and of one that all sessions of a person share.
pub(crate) async fn abandoned(site: Arc<Site>) {
    for server in ["pad", "person", "legacy"] {
        let session = Caller::signed_in(&site, server).await.open().await;
        let tool = if server == "legacy" {
            "test_simple_text"
        } else {
            "list_notes"
        };
        session.call(tool, &json!({})).await;
    }
}

/// Clients without sessions, at a server of their era and, translated, at one of the other; and a client with a session at
/// a server that knows none.
pub(crate) async fn eras(site: Arc<Site>) {
    for server in ["modern", "legacy"] {
        let caller = Caller::signed_in(&site, server).await;
        caller.list_tools().await;
        for tool in ["test_simple_text", "test_tool_with_progress", "test_error_handling"] {
            let message = caller.call(tool, &json!({})).await;
            assert!(message["result"].is_object(), "{tool}: {message}");
        }
    }
    let session = Caller::signed_in(&site, "modern").await.open().await;
    session.call("test_tool_with_progress", &json!({})).await;
    session.delete().await;
}

/// Streams of every kind that are dropped while they go on.
pub(crate) async fn streams(site: Arc<Site>) {
    let session = Caller::signed_in(&site, "legacy").await.open().await;
    let listening = session.listen().await;
    session.call_and_leave("test_tool_with_progress").await;
    tokio::time::sleep(LISTENING).await;
    drop(listening);
    // Somebody who lost the stream comes back.
    drop(session.listen().await);
    session.call("test_simple_text", &json!({})).await;
    session.delete().await;

    let caller = Caller::signed_in(&site, "modern").await;
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let listening = caller.modern("subscriptions/listen", filter).send().await;
    let mut listening = listening.expect("the gateway answers");
    assert_eq!(listening.status(), 200, "a subscription");
    assert!(listening.chunk().await.expect("a stream").is_some(), "it is confirmed");
    let call = json!({"name": "test_tool_with_progress", "arguments": {}});
    let left = caller.modern("tools/call", call).send().await;
    assert_eq!(left.expect("the gateway answers").status(), 200, "a call that is left");
    tokio::time::sleep(LISTENING).await;
}

/// A server that complains, talks nonsense, leaves processes behind and crashes.
pub(crate) async fn unruly(site: Arc<Site>) {
    let session = Caller::signed_in(&site, "unruly").await.open().await;
    session.call("noise", &json!({})).await;
    session.call("stderr", &json!({"bytes": 20_000})).await;
    session.call("big", &json!({"bytes": 200_000})).await;
    session.call("grandchild", &json!({})).await;
    session.delete().await;

    let session = Caller::signed_in(&site, "unruly").await.open().await;
    session.call("grandchild", &json!({})).await;
    let crashed = session.try_call("crash").await;
    assert!(crashed.body.contains("error"), "a crash is told: {crashed:?}");
}

/// A server from PyPI.
pub(crate) async fn python(site: Arc<Site>) {
    let session = Caller::signed_in(&site, "time").await.open().await;
    session.call("get_current_time", &json!({"timezone": "UTC"})).await;
    session.delete().await;
}

/// A server elsewhere, whose answers and streams pass through.
pub(crate) async fn passed_on(site: Arc<Site>) {
    let caller = Caller::signed_in(&site, "elsewhere").await;
    for _ in 0..10 {
        let answer = caller
            .send(&json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"}))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains("from elsewhere"), "{answer:?}");
    }
    let mut listening = caller.listen().await;
    assert_eq!(listening.status(), 200, "a stream from elsewhere");
    for _ in 0..2 {
        assert!(listening.chunk().await.expect("a stream").is_some());
    }
}

/// A proxy that asks about requests to the server behind it.
pub(crate) async fn verify(site: Arc<Site>) {
    let resource = site.resource("behind");
    let mut visitor = Visitor::new(&site);
    let client = crate::visitor::Client::resident();
    let tokens = visitor.sign_in(&client, &resource).await;
    let host = site.gateway.url.trim_start_matches("http://").to_owned();
    for (token, status) in [(tokens.access_token.as_str(), 200), ("a.b.c", 401)] {
        for _ in 0..20 {
            let request = visitor
                .request(http::Method::GET, "/verify")
                .bearer_auth(token)
                .header("x-forwarded-method", "POST")
                .header("x-forwarded-proto", "http")
                .header("x-forwarded-host", &host)
                .header("x-forwarded-uri", "/behind/mcp");
            let answer = Visitor::send(request).await;
            assert_eq!(answer.status, status, "{answer:?}");
        }
    }
}
