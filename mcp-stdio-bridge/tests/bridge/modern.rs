//! Requests of MCP 2026-07-28 and a server that speaks it.

use std::time::Duration;

use futures_util::FutureExt;
use http::{Method, StatusCode};
use mcp_stdio_bridge::{Bridge, BridgeBuilder};
use serde_json::json;

use crate::support::{Modern, request, scripted};

fn modern() -> BridgeBuilder {
    Bridge::builder(scripted(&["modern"]))
}

#[tokio::test]
async fn a_request_reaches_the_server_byte_for_byte_but_for_its_id() {
    let bridge = modern().build().unwrap();
    let client = Modern::new(&bridge);
    let text = format!(
        r#"{{ "x-unknown": [1.0, 1e300], "id" : "seven\u0021","jsonrpc":"2.0", "method":"tools/call",
        "params": {{"name":"line", "arguments":{{"n":123456789012345678901234567890}},"_meta": {{ {} ,"x":1.0}}}}}}"#,
        client.meta()
    );
    let answer = client
        .send(client.request("tools/call", Some("line"), text.clone()))
        .await;
    assert_eq!(
        (answer.status, answer.content_type()),
        (StatusCode::OK, "application/json")
    );
    let answer = answer.json().await;
    assert_eq!(answer["id"], "seven!");
    let line = answer["result"]["line"].as_str().unwrap();
    // Before it came `server/discover`, and the question for marked parameters.
    assert_eq!(line, text.replace(r#""seven\u0021""#, "3").replace('\n', " "));
}

#[tokio::test]
async fn all_requests_of_nobody_in_particular_share_a_process() {
    let bridge = modern().build().unwrap();
    let (first, second) = (Modern::new(&bridge), Modern::capable(&bridge));
    assert_eq!(
        first.result("process", &json!({})).await,
        second.result("process", &json!({})).await
    );
    assert_eq!(bridge.sessions(), 0);
}

#[tokio::test]
async fn what_headers_and_body_do_not_agree_on_is_refused() {
    let bridge = modern().build().unwrap();
    let client = Modern::new(&bridge);
    let body = |version: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{{"name":"seen","_meta":{{"io.modelcontextprotocol/protocolVersion":"{version}","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
        )
    };
    for (header, value, version, code) in [
        ("mcp-protocol-version", Some("2025-11-25"), "2026-07-28", -32020),
        ("mcp-protocol-version", None, "2026-07-28", -32020),
        ("mcp-protocol-version", Some("2031-01-01"), "2031-01-01", -32022),
        ("mcp-method", Some("tools/list"), "2026-07-28", -32020),
        ("mcp-method", None, "2026-07-28", -32020),
        ("mcp-name", Some("other"), "2026-07-28", -32020),
        ("mcp-name", None, "2026-07-28", -32020),
        ("mcp-name", Some("=?base64?!?="), "2026-07-28", -32020),
    ] {
        let mut request = client.request("tools/call", Some("seen"), body(version));
        request.headers_mut().remove(header);
        if let Some(value) = value {
            request.headers_mut().insert(header, value.parse().unwrap());
        }
        let answer = client.send(request).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{header}: {value:?}");
        let answer = answer.json().await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(5), &json!(code)),
            "{header}: {value:?}"
        );
    }
    let encoded = client.request("tools/call", Some("=?base64?c2Vlbg==?="), body("2026-07-28"));
    assert_eq!(client.send(encoded).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_every_request_has_to_say_is_missed() {
    let bridge = modern().build().unwrap();
    let client = Modern::new(&bridge);
    for params in [
        "{}",
        r#"{"_meta":{}}"#,
        r#"{"_meta":{"io.modelcontextprotocol/clientCapabilities":{}}}"#,
        r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#,
        r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":1}}"#,
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":5,"method":"tools/list","params":{params}}}"#);
        let answer = client.send(client.request("tools/list", None, text)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{params}");
        assert_eq!(answer.json().await["error"]["code"], -32602, "{params}");
    }
}

#[tokio::test]
async fn methods_that_are_gone_or_unknown_are_not_found() {
    let bridge = modern().build().unwrap();
    let client = Modern::new(&bridge);
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "no/such",
    ] {
        let answer = client.ask(method, "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method}");
        let answer = answer.json().await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!("mine"), &json!(-32601)),
            "{method}"
        );
    }
    for method in [Method::GET, Method::DELETE] {
        let mut request = request(method, "/mcp", "");
        request
            .headers_mut()
            .insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
        let answer = client.send(request).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers["allow"], "POST");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_back() {
    let bridge = modern().build().unwrap();
    let client = Modern::new(&bridge);
    client.result("seen", &json!({})).await;
    let held = json!({ "as": "a" });
    let mut call = Box::pin(client.call("hold", &held));
    assert!((&mut call).now_or_never().is_none());
    drop(call);
    let seen = client.result("seen", &json!({})).await;
    let cancelled: serde_json::Value = serde_json::from_str(seen["seen"][0].as_str().unwrap()).unwrap();
    assert_eq!(cancelled["method"], "notifications/cancelled");
}

#[tokio::test]
async fn a_subscription_is_acknowledged_first_and_tagged_with_the_clients_id() {
    let bridge = modern().build().unwrap();
    let client = Modern::new(&bridge);
    let mut listening = client
        .ask("subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#)
        .await;
    assert_eq!(listening.headers["x-accel-buffering"], "no");
    let acknowledged = listening.message().await;
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    let tag = "io.modelcontextprotocol/subscriptionId";
    assert_eq!(acknowledged["params"]["_meta"][tag], "mine");
    client.result("change", &json!({})).await;
    let changed = listening.message().await;
    assert_eq!(
        (&changed["method"], &changed["params"]["_meta"][tag]),
        (&json!("notifications/tools/list_changed"), &json!("mine"))
    );
    // A server that ends in order says so.
    let ((), end) = futures_util::future::join(bridge.shutdown(), listening.message()).await;
    assert_eq!(
        (&end["id"], &end["result"]["_meta"][tag]),
        (&json!("mine"), &json!("mine"))
    );
}

#[tokio::test]
async fn what_a_server_needs_to_know_passes_and_so_does_the_answer() {
    let bridge = modern().build().unwrap();
    let client = Modern::capable(&bridge);
    let asked = client.result("ask", &json!({})).await;
    assert_eq!(
        (&asked["resultType"], &asked["requestState"]),
        (&json!("input_required"), &json!("of the server"))
    );
    let more = r#","inputResponses":{"who":{"action":"accept"}},"requestState":"of the server""#;
    let told = client.call_with("ask", &json!({}), more).await.json().await["result"].take();
    assert_eq!(
        told,
        json!({ "told": { "action": "accept" }, "state": "of the server" })
    );
}

#[tokio::test]
async fn a_marked_parameter_has_to_be_repeated_in_its_header() {
    for server in ["modern", "legacy"] {
        let bridge = Bridge::builder(scripted(&[server])).build().unwrap();
        let client = Modern::new(&bridge);
        for (header, status) in [
            (Some("eu"), StatusCode::OK),
            (Some("=?base64?ZXU=?="), StatusCode::OK),
            (Some("us"), StatusCode::BAD_REQUEST),
            (None, StatusCode::BAD_REQUEST),
        ] {
            let text = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"marked","arguments":{{"region":"eu"}},"_meta":{{{}}}}}}}"#,
                client.meta()
            );
            let mut request = client.request("tools/call", Some("marked"), text);
            if let Some(header) = header {
                request
                    .headers_mut()
                    .insert("mcp-param-region", header.parse().unwrap());
            }
            assert_eq!(client.send(request).await.status, status, "{server}: {header:?}");
        }
    }
}

#[tokio::test]
async fn a_crash_fails_the_call_and_the_next_one_works() {
    let bridge = modern().build().unwrap();
    let client = Modern::new(&bridge);
    let crashed = client.call("crash", &json!({ "code": 7 })).await.json().await;
    assert_eq!(
        (&crashed["id"], &crashed["error"]["code"]),
        (&json!("mine"), &json!(-32603))
    );
    assert!(crashed["error"]["message"].as_str().unwrap().contains("exit status: 7"));
    client.result("seen", &json!({})).await;
}

#[tokio::test]
async fn a_server_that_is_slow_to_come_up_is_not_taken_for_one_of_the_other_era() {
    let bridge = Bridge::builder(scripted(&["slow-start"]))
        .probe_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let client = Modern::new(&bridge);
    let found = client.ask("server/discover", "").await.json().await;
    assert_eq!(found["result"]["supportedVersions"], json!(["2026-07-28"]));
    client.result("seen", &json!({})).await;
}

#[tokio::test]
async fn a_process_makes_room_for_another_callers_and_not_for_its_own_requests() {
    let bridge = modern().max_sessions(1).build().unwrap();
    let of = |name: &str| {
        let mut client = Modern::new(&bridge);
        client.caller = Some(mcp_stdio_bridge::Caller::new(name));
        client
    };
    let (ada, eve) = (of("ada"), of("eve"));
    let first = ada.result("process", &json!({})).await;
    assert_eq!(ada.result("process", &json!({})).await, first);
    assert_ne!(eve.result("process", &json!({})).await, first);
}
