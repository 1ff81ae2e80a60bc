//! What the eras say differently, and what reaches the client all the same: with the server of its own era and of the
//! other.

use mcp_oauth_tests::bridge::Bridge;
use serde_json::{Value, json};

use crate::client::{Answer, Client, Era};

const WATCHED: &str = "test://watched-resource";
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

async fn bridge(server: Era) -> Bridge {
    let server = [env!("CARGO_BIN_EXE_conformance-server"), "--era", server.version()];
    Bridge::start(&[], server).await
}

/// The names of the notifications, without what they have in common.
fn names(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .filter_map(|message| message["method"].as_str()?.strip_prefix("notifications/"))
        .collect()
}

#[tokio::test]
async fn changes_reach_a_legacy_client_on_its_event_stream() {
    for server in [Era::Legacy, Era::Modern] {
        let bridge = bridge(server).await;
        let client = Client::open(&bridge.url, Era::Legacy).await;
        let mut stream = client.get(None).await;
        let subscribed = client.request(&json!(1), "resources/subscribe", json!({ "uri": WATCHED }));
        let subscribed = Answer::of(subscribed).await.last().await;
        assert_eq!(subscribed["result"], json!({}), "{server:?}");
        for (trigger, expected) in [
            ("test_trigger_tool_change", "tools/list_changed"),
            ("test_trigger_prompt_change", "prompts/list_changed"),
            ("test_trigger_resource_update", "resources/updated"),
        ] {
            // It may come on the call's own stream too, which is as good a place. And it may come twice while one
            // subscription takes the place of another; what must not be is that it does not come.
            let mut messages = client.start(&json!(2), trigger, json!({})).await.all().await;
            messages.retain(|message| names(std::slice::from_ref(message)) == [expected]);
            while messages.is_empty() {
                let message = stream.message().await.unwrap();
                if names(std::slice::from_ref(&message)) == [expected] {
                    messages.push(message);
                }
            }
            if expected == "resources/updated" {
                assert_eq!(messages[0]["params"]["uri"], WATCHED);
            }
        }
    }
}

#[tokio::test]
async fn changes_reach_a_modern_client_that_listens_for_them() {
    for server in [Era::Modern, Era::Legacy] {
        let bridge = bridge(server).await;
        let client = Client::open(&bridge.url, Era::Modern).await;
        let filter = json!({
            "toolsListChanged": true, "promptsListChanged": true, "resourceSubscriptions": [WATCHED],
        });
        let id = json!("all");
        let mut all = client.listen(&id, &filter).await;
        let mut prompts = client.listen(&json!(2), &json!({ "promptsListChanged": true })).await;
        for stream in [&mut all, &mut prompts] {
            let first = stream.message().await.unwrap();
            assert_eq!(names(&[first]), ["subscriptions/acknowledged"], "{server:?}");
        }
        for (trigger, expected) in [
            ("test_trigger_tool_change", "tools/list_changed"),
            ("test_trigger_resource_update", "resources/updated"),
            ("test_trigger_prompt_change", "prompts/list_changed"),
        ] {
            client.call(trigger, json!({})).await;
            let message = all.message().await.unwrap();
            assert_eq!(message["params"]["_meta"][SUBSCRIPTION], id, "{server:?}: {message}");
            assert_eq!(names(&[message]), [expected], "{server:?}");
        }
        // Of the three changes this one has asked for the last only.
        let message = prompts.message().await.unwrap();
        assert_eq!(message["params"]["_meta"][SUBSCRIPTION], 2, "{server:?}: {message}");
        assert_eq!(names(&[message]), ["prompts/list_changed"], "{server:?}");
    }
}

#[tokio::test]
async fn a_legacy_client_sets_the_level_of_what_it_wants_to_see_logged() {
    for server in [Era::Legacy, Era::Modern] {
        let bridge = bridge(server).await;
        let client = Client::open(&bridge.url, Era::Legacy).await;
        for (level, count) in [("info", 3), ("error", 0), ("debug", 3)] {
            let set = client.request(&json!(1), "logging/setLevel", json!({ "level": level }));
            let set = Answer::of(set).await.last().await;
            assert_eq!(set["result"], json!({}), "{server:?}");
            let messages = client
                .start(&json!(2), "test_tool_with_logging", json!({}))
                .await
                .all()
                .await;
            assert_eq!(names(&messages), vec!["message"; count], "{server:?} {level}");
        }
    }
}

#[tokio::test]
async fn a_modern_client_sees_logged_what_its_request_asks_for() {
    for server in [Era::Modern, Era::Legacy] {
        let bridge = bridge(server).await;
        let client = Client::open(&bridge.url, Era::Modern).await;
        for (level, count) in [
            (json!("info"), 3),
            (Value::Null, 0),
            (json!("error"), 0),
            (json!("debug"), 3),
        ] {
            let mut params = json!({ "name": "test_tool_with_logging", "arguments": {}, "_meta": {} });
            if !level.is_null() {
                params["_meta"]["io.modelcontextprotocol/logLevel"] = level.clone();
            }
            let request = client.request(&json!(2), "tools/call", params);
            let messages = Answer::of(request).await.all().await;
            assert_eq!(names(&messages), vec!["message"; count], "{server:?} {level}");
        }
    }
}

#[tokio::test]
async fn each_version_of_the_legacy_protocol_is_agreed_on() {
    for server in [Era::Legacy, Era::Modern] {
        let bridge = bridge(server).await;
        for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
            let client = Client::open_with(&bridge.url, Era::Legacy, version).await;
            let message = client.call("test_simple_text", json!({})).await;
            assert!(
                message["result"]["content"].is_array(),
                "{server:?} {version}: {message}"
            );
        }
    }
}

#[tokio::test]
async fn a_batch_of_2025_03_26_is_answered_as_a_whole_and_no_later_version_has_any() {
    for server in [Era::Legacy, Era::Modern] {
        let bridge = bridge(server).await;
        let client = Client::open_with(&bridge.url, Era::Legacy, "2025-03-26").await;
        let request = |id: &str, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method });
        let notification = json!({ "jsonrpc": "2.0", "method": "notifications/roots/list_changed" });
        let batch = json!([request("a", "ping"), notification, request("b", "tools/list")]);
        let mut answer = Answer::of(client.body(&batch)).await;
        assert_eq!(answer.status, 200, "{server:?}");
        let messages = answer.all().await;
        let messages = messages.iter().flat_map(|message| match message {
            Value::Array(messages) => messages.clone(),
            message => vec![message.clone()],
        });
        let mut answered: Vec<(Value, bool)> = messages
            .map(|message| (message["id"].clone(), message["result"].is_object()))
            .collect();
        answered.sort_by_key(|(id, _)| id.to_string());
        assert_eq!(answered, [(json!("a"), true), (json!("b"), true)], "{server:?}");
        let only_notifications = Answer::of(client.body(&json!([notification]))).await;
        assert_eq!(only_notifications.status, 202, "{server:?}");

        let later = Client::open(&bridge.url, Era::Legacy).await;
        assert_eq!(Answer::of(later.body(&batch)).await.status, 400, "{server:?}");
    }
}
