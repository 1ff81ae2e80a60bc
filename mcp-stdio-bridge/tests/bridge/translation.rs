//! A client of one era and a server of the other.

use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use mcp_stdio_bridge::{Bridge, Caller};
use serde_json::{Value, json};

use crate::support::{Client, INITIALIZE, Modern, builder, scripted};

const SERVER: &str = "io.modelcontextprotocol/serverInfo";
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// The state by which a call that asks is gone on with, and the name of its question.
fn asked(answer: &Value) -> (String, String) {
    assert_eq!(answer["result"]["resultType"], "input_required", "{answer}");
    let state = answer["result"]["requestState"].as_str().unwrap().to_owned();
    let requests = answer["result"]["inputRequests"].as_object().unwrap();
    (state, requests.keys().next().unwrap().clone())
}

fn answering(name: &str, state: &str) -> String {
    format!(r#","inputResponses":{{"{name}":{{"action":"accept"}}}},"requestState":"{state}""#)
}

#[tokio::test]
async fn a_server_with_sessions_is_discovered_from_what_it_says_at_initialize() {
    let bridge = builder().build().unwrap();
    let found = Modern::new(&bridge).ask("server/discover", "").await;
    assert_eq!(found.status, StatusCode::OK);
    let found = found.json().await["result"].take();
    assert_eq!(found["supportedVersions"][0], "2026-07-28");
    assert_eq!(found["capabilities"]["tools"]["listChanged"], true);
    assert_eq!(found["_meta"][SERVER]["name"], "scripted");
    assert_eq!((&found["ttlMs"], &found["cacheScope"]), (&json!(0), &json!("private")));
}

#[tokio::test]
async fn the_server_sees_the_client_and_nothing_of_the_other_era() {
    let bridge = builder().build().unwrap();
    let client = Modern::capable(&bridge);
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"x/initialized","params":{{"_meta":{{{},"mine":1.0}}}}}}"#,
        client.meta()
    );
    let answer = client
        .send(client.request("x/initialized", None, text))
        .await
        .json()
        .await;
    let line: Value = serde_json::from_str(answer["result"]["line"].as_str().unwrap()).unwrap();
    assert_eq!(line["params"], json!({ "_meta": { "mine": 1.0 } }));
    assert_eq!(answer["result"]["resultType"], "complete");
    assert_eq!(answer["result"]["_meta"][SERVER]["name"], "scripted");
}

#[tokio::test]
async fn what_a_server_asks_is_the_calls_result_until_the_client_comes_back() {
    let bridge = builder().build().unwrap();
    let client = Modern::capable(&bridge);
    let first = client.call("ask", &json!({})).await.json().await;
    let (state, name) = asked(&first);
    assert_eq!(first["result"]["inputRequests"][&name]["method"], "elicitation/create");
    // An answer to something else is none: the question is asked again.
    let again = client
        .call_with("ask", &json!({}), &answering("other", &state))
        .await
        .json()
        .await;
    let (state, name) = asked(&again);
    let told = client
        .call_with("ask", &json!({}), &answering(&name, &state))
        .await
        .json()
        .await;
    assert_eq!(
        (&told["id"], &told["result"]["told"]),
        (&json!("mine"), &json!({ "action": "accept" }))
    );
    // A state is good for one time.
    let late = client
        .call_with("ask", &json!({}), &answering(&name, &state))
        .await
        .json()
        .await;
    assert_eq!(late["error"]["code"], -32602);
}

#[tokio::test]
async fn calls_that_wait_for_their_clients_hold_up_no_others() {
    let bridge = builder().build().unwrap();
    let client = Modern::capable(&bridge);
    let mut states = Vec::new();
    for _ in 0..6 {
        states.push(asked(&client.call("ask", &json!({})).await.json().await));
    }
    for (state, name) in states {
        let told = client
            .call_with("ask", &json!({}), &answering(&name, &state))
            .await
            .json()
            .await;
        assert_eq!(told["result"]["told"], json!({ "action": "accept" }));
    }
}

#[tokio::test]
async fn a_state_is_good_for_its_own_caller_and_request_only() {
    let bridge = builder().build().unwrap();
    let mut ada = Modern::capable(&bridge);
    ada.caller = Some(Caller::new("ada"));
    let mut eve = ada.clone();
    eve.caller = Some(Caller::new("eve"));
    let (state, name) = asked(&ada.call("ask", &json!({})).await.json().await);
    let more = answering(&name, &state);
    let tampered = answering(&name, &format!("{state}-TAMPERED"));
    for answer in [
        eve.call_with("ask", &json!({}), &more).await,
        Modern::capable(&bridge).call_with("ask", &json!({}), &more).await,
        ada.call_with("seen", &json!({}), &more).await,
        ada.call_with("ask", &json!({}), &tampered).await,
    ] {
        assert_eq!(answer.json().await["error"]["code"], -32602);
    }
    let told = ada.call_with("ask", &json!({}), &more).await.json().await;
    assert_eq!(told["result"]["told"], json!({ "action": "accept" }));
}

#[tokio::test]
async fn a_client_that_does_not_come_back_is_waited_for_only_so_long() {
    let bridge = builder().input_timeout(Duration::from_millis(50)).build().unwrap();
    let client = Modern::capable(&bridge);
    let (state, name) = asked(&client.call("ask", &json!({})).await.json().await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let late = client
        .call_with("ask", &json!({}), &answering(&name, &state))
        .await
        .json()
        .await;
    assert_eq!(late["error"]["code"], -32602);
    // The server was told, and the process serves the next call.
    let seen = client.result("seen", &json!({})).await;
    assert!(seen["seen"].to_string().contains("-32603"), "{seen}");
}

#[tokio::test]
async fn what_a_client_has_not_declared_it_is_not_asked() {
    let bridge = builder().build().unwrap();
    let client = Modern::new(&bridge);
    let answer = client.call("ask", &json!({ "method": "sampling/createMessage" })).await;
    // The server is told that it cannot, and answers as it likes.
    assert_eq!(answer.json().await["result"]["failed"]["code"], -32601);
}

#[tokio::test]
async fn a_resource_that_is_not_there_has_the_code_of_the_clients_era() {
    let bridge = builder().build().unwrap();
    let client = Modern::new(&bridge);
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{{"uri":"x:y","_meta":{{{}}}}}}}"#,
        client.meta()
    );
    let answer = client
        .send(client.request("resources/read", Some("x:y"), text))
        .await
        .json()
        .await;
    assert_eq!(
        (&answer["error"]["code"], &answer["error"]["data"]["uri"]),
        (&json!(-32602), &json!("x:y"))
    );
}

#[tokio::test]
async fn a_subscription_hears_what_the_server_says_has_changed() {
    let bridge = builder().build().unwrap();
    let client = Modern::new(&bridge);
    let wanted =
        r#""notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourceSubscriptions":["x:y"]}"#;
    let mut listening = client.ask("subscriptions/listen", wanted).await;
    let acknowledged = listening.message().await;
    assert_eq!(
        acknowledged["params"]["notifications"],
        // Of prompts the server has said nothing.
        json!({ "toolsListChanged": true, "resourceSubscriptions": ["x:y"] })
    );
    client.result("change", &json!({})).await;
    client.result("update", &json!({ "uri": "x:other" })).await;
    client.result("update", &json!({ "uri": "x:y" })).await;
    for method in ["notifications/tools/list_changed", "notifications/resources/updated"] {
        let heard = listening.message().await;
        assert_eq!(
            (&heard["method"], &heard["params"]["_meta"][SUBSCRIPTION]),
            (&json!(method), &json!("mine"))
        );
    }
}

#[tokio::test]
async fn a_call_hears_of_the_servers_log_what_it_has_asked_for() {
    let bridge = builder().build().unwrap();
    let client = Modern::new(&bridge);
    let silent = client.call("log", &json!({ "level": "error" })).await;
    assert_eq!(silent.content_type(), "application/json");
    let text = |level: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"log","arguments":{{"level":"{level}"}},"_meta":{{{},"io.modelcontextprotocol/logLevel":"warning"}}}}}}"#,
            client.meta()
        )
    };
    let below = client
        .send(client.request("tools/call", Some("log"), text("info")))
        .await;
    assert_eq!(below.content_type(), "application/json");
    let mut above = client
        .send(client.request("tools/call", Some("log"), text("error")))
        .await;
    assert_eq!(above.message().await["params"]["level"], "error");
    assert_eq!(above.message().await["id"], 1);
}

/// A client with a session that can be asked.
async fn with_session(bridge: &Bridge) -> Client {
    let initialize = INITIALIZE.replace(r#""capabilities":{}"#, r#""capabilities":{"elicitation":{}}"#);
    Client::open_with(bridge, &initialize).await
}

#[tokio::test]
async fn a_server_without_sessions_is_initialized_from_what_it_says_at_discover() {
    let bridge = Bridge::builder(scripted(&["modern"])).build().unwrap();
    let answer = Client::new(&bridge).post(INITIALIZE).await.json().await;
    assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");
    assert_eq!(
        answer["result"]["serverInfo"],
        json!({ "name": "scripted", "version": "2" })
    );
    assert_eq!(answer["result"]["capabilities"]["tools"]["listChanged"], true);
}

#[tokio::test]
async fn a_request_in_a_session_says_what_the_server_wants_of_every_request() {
    let bridge = Bridge::builder(scripted(&["modern"])).build().unwrap();
    let client = with_session(&bridge).await;
    let line = client.result("line", &json!({ "x": 1.0 })).await;
    let line: Value = serde_json::from_str(line["line"].as_str().unwrap()).unwrap();
    let about = &line["params"]["_meta"];
    assert_eq!(about["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(about["io.modelcontextprotocol/clientInfo"]["name"], "test");
    assert_eq!(
        about["io.modelcontextprotocol/clientCapabilities"],
        json!({ "elicitation": {} })
    );
    let ping = client
        .post(r#"{"jsonrpc":"2.0","id":4,"method":"ping"}"#)
        .await
        .json()
        .await;
    assert_eq!(ping, json!({ "jsonrpc": "2.0", "id": 4, "result": {} }));
}

#[tokio::test]
async fn what_the_server_needs_to_know_the_client_is_asked_for() {
    let bridge = Bridge::builder(scripted(&["modern"])).build().unwrap();
    let client = with_session(&bridge).await;
    let mut answer = client.call("\"mine\"", "ask", &json!({})).await;
    let question = answer.message().await;
    assert_eq!(
        (&question["method"], &question["params"]["message"]),
        (&json!("elicitation/create"), &json!("?"))
    );
    let reply = format!(
        r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"accept"}}}}"#,
        question["id"]
    );
    assert_eq!(client.post(reply.clone()).await.status, StatusCode::ACCEPTED);
    let told = answer.message().await;
    assert_eq!(
        (&told["id"], &told["result"]),
        (
            &json!("mine"),
            &json!({ "told": { "action": "accept" }, "state": "of the server" })
        )
    );
    assert_eq!(client.post(reply).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_session_hears_of_changes_on_its_event_stream() {
    let bridge = Bridge::builder(scripted(&["modern"])).build().unwrap();
    let client = with_session(&bridge).await;
    let mut events = client.get().await;
    // The server hears of the subscription before the call.
    client.result("seen", &json!({})).await;
    client.result("change", &json!({})).await;
    let changed = events.message().await;
    assert_eq!(changed["method"], "notifications/tools/list_changed");
    assert_eq!(changed["params"]["_meta"], json!({}));
}

#[tokio::test]
async fn a_cancellation_in_a_session_reaches_a_server_without() {
    let bridge = Bridge::builder(scripted(&["modern"])).build().unwrap();
    let client = with_session(&bridge).await;
    let held = json!({ "as": "a" });
    let mut call = Box::pin(client.call("\"mine\"", "hold", &held));
    assert!((&mut call).now_or_never().is_none());
    client.result("seen", &json!({})).await;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"mine"}}"#;
    assert_eq!(client.post(cancel).await.status, StatusCode::ACCEPTED);
    assert_eq!(call.await.json().await["error"]["code"], -32800);
    let seen = client.result("seen", &json!({})).await;
    assert!(seen["seen"].to_string().contains("notifications/cancelled"), "{seen}");
}

#[tokio::test]
async fn a_call_that_waits_for_its_client_ends_with_the_session() {
    let bridge = Bridge::builder(scripted(&["modern"])).build().unwrap();
    let client = with_session(&bridge).await;
    let mut answer = client.call("\"mine\"", "ask", &json!({})).await;
    answer.message().await;
    client.delete().await;
    let ended = answer.message().await;
    assert_eq!(
        (&ended["id"], &ended["error"]["code"]),
        (&json!("mine"), &json!(-32603))
    );
}
