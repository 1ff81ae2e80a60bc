//! Messages and their ids.

use futures_util::FutureExt;
use futures_util::future::join;
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Client, INITIALIZE, builder, call, lines};

#[tokio::test]
async fn initialize_reaches_the_server_as_the_client_wrote_it() {
    let bridge = builder().build().unwrap();
    let answer = Client::new(&bridge)
        .post(INITIALIZE.replace(r#""id":0"#, r#""id" : "zero""#))
        .await
        .json()
        .await;
    assert_eq!(answer["id"], "zero");
    assert_eq!(answer["result"]["line"], INITIALIZE.replace(r#""id":0"#, r#""id" : 1"#));
}

#[tokio::test]
async fn a_request_reaches_the_server_byte_for_byte_but_for_its_id() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let text = r#"{ "x-unknown": [1.0, 1e300], "method":"tools/call", "id" : "seven\u0021","jsonrpc":"2.0",
        "params": {"name":"line", "arguments":{"n":123456789012345678901234567890, "s":"\u00e9é"},"task":{"ttl":1}}}"#;
    let answer = client.post(text).await.text().await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["id"], "seven!");
    assert_eq!(
        answer["result"]["line"],
        text.replace(r#""seven\u0021""#, "2").replace('\n', " ")
    );
}

#[tokio::test]
async fn a_result_reaches_the_client_byte_for_byte_but_for_its_id() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let line = r#"{"result": {"execution":{"a":1.0}, "s":"\u00e9\/", "n":-0 },"x":null,"jsonrpc":"2.0","id": $ID}"#;
    let answer = client.call("\"\\u0061\"", "write", &lines(&[line])).await;
    assert_eq!(answer.content_type(), "application/json");
    assert_eq!(answer.text().await, line.replace("$ID", "\"\\u0061\""));
}

#[tokio::test]
async fn two_calls_with_the_same_id_each_get_their_own_answer() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let (a, b) = (json!({ "as": "a" }), json!({ "as": "b" }));
    let both = join(client.call("1", "hold", &a), client.call("1", "hold", &b));
    // Answered in the other order.
    let release = async {
        client.result("release", &b).await;
        client.result("release", &a).await;
    };
    let ((first, second), ()) = join(both, release).await;
    let (first, second) = (first.json().await, second.json().await);
    assert_eq!((&first["id"], &first["result"]["released"]), (&json!(1), &json!("a")));
    assert_eq!((&second["id"], &second["result"]["released"]), (&json!(1), &json!("b")));
}

#[tokio::test]
async fn a_number_and_a_string_are_different_ids() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    for id in ["1", "\"1\"", "1.0", "-3", "18446744073709551616"] {
        let text = client.call(id, "seen", &json!({})).await.text().await;
        assert!(text.contains(&format!("\"id\":{id},")), "{text}");
    }
}

#[tokio::test]
async fn an_error_of_the_server_is_passed_on() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let answer = client.call("5", "unknown", &json!({})).await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = answer.json().await;
    assert_eq!(
        answer,
        json!({ "jsonrpc": "2.0", "id": 5, "error": { "code": -32602, "message": "no such tool" } })
    );
}

#[tokio::test]
async fn a_notification_is_accepted_and_reaches_the_server() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let text = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed","params":{"x":1.0}}"#;
    let answer = client.post(text).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.text().await, "");
    assert_eq!(client.result("seen", &json!({})).await["seen"][1], text);
}

#[tokio::test]
async fn a_cancellation_names_the_call_as_the_server_knows_it() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let held = json!({ "as": "a" });
    let mut call = Box::pin(client.call("\"mine\"", "hold", &held));
    assert!((&mut call).now_or_never().is_none());
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"mine","reason":"r"}}"#;
    assert_eq!(client.post(cancel).await.status, StatusCode::ACCEPTED);
    assert_eq!(call.await.json().await["error"]["code"], -32800);
    // `initialize` was 1 on the pipe, the call 2.
    let seen = client.result("seen", &json!({})).await;
    assert_eq!(seen["seen"][1], cancel.replace("\"mine\"", "2"));
    // An answer that comes nevertheless is nobody's.
    client.result("release", &held).await;
}

#[tokio::test]
async fn a_cancellation_that_could_mean_two_calls_cancels_neither() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let (a, b) = (json!({ "as": "a" }), json!({ "as": "b" }));
    let mut calls = Box::pin(join(client.call("7", "hold", &a), client.call("7", "hold", &b)));
    assert!((&mut calls).now_or_never().is_none());
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
    assert_eq!(client.post(cancel).await.status, StatusCode::ACCEPTED);
    assert_eq!(
        client.result("seen", &json!({})).await["seen"].as_array().map(Vec::len),
        Some(1)
    );
    client.result("release", &a).await;
    client.result("release", &b).await;
    let (first, second) = calls.await;
    assert_eq!(first.json().await["result"]["released"], "a");
    assert_eq!(second.json().await["result"]["released"], "b");
}

#[tokio::test]
async fn what_is_no_message_is_refused_without_reaching_the_server() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    for (text, code, part) in [
        ("{", -32700, "JSON"),
        ("", -32700, "JSON"),
        ("\u{feff}{}", -32700, "JSON"),
        ("3", -32600, "object"),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600, "batch"),
        ("[]", -32600, "batch"),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}"#, -32700, "JSON"),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
            -32600,
            "`id` appears twice",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
            -32600,
            "`name`",
        ),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, "`id`"),
        (r#"{"id":1,"method":"ping"}"#, -32600, "`jsonrpc`"),
    ] {
        let answer = client.post(text).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{text}");
        let error = answer.json().await["error"].take();
        assert_eq!(error["code"], code, "{text}");
        assert!(error["message"].as_str().unwrap().contains(part), "{text}: {error}");
    }
}

#[tokio::test]
async fn an_answer_that_was_not_asked_for_is_refused() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let answer = client.post(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json().await["error"]["code"], -32600);
    assert_eq!(
        client.result("seen", &json!({})).await["seen"].as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn a_megabyte_is_an_answer_like_any_other() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let result = client.result("big", &json!({ "bytes": 1_000_000 })).await;
    assert_eq!(result["text"].as_str().map(str::len), Some(1_000_000));
}

#[tokio::test]
async fn an_answer_beyond_the_bound_fails_its_own_call_and_no_other() {
    let bridge = builder().max_line(1000).build().unwrap();
    let client = Client::open(&bridge).await;
    let answer = client.call("\"big\"", "big", &json!({ "bytes": 5000 })).await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = answer.json().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!("big"), &json!(-32603))
    );
    assert!(answer["error"]["message"].as_str().unwrap().contains("1000"));
    // The id may stand behind what is too long.
    let text = format!(
        r#"{{"result":{{"id":99,"x":"{}"}},"jsonrpc":"2.0","id":$ID}}"#,
        "x".repeat(500)
    );
    let twice = text.replace("\"x\":", &format!("\"y\":\"{}\",\"x\":", "y".repeat(600)));
    assert_eq!(
        client.call("8", "write", &lines(&[&twice])).await.json().await["error"]["code"],
        -32603
    );
    assert_eq!(
        client.result("seen", &json!({})).await["seen"].as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn a_megabyte_on_stderr_does_not_stop_the_server() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    client.result("stderr", &json!({ "bytes": 1_000_000 })).await;
    client.result("seen", &json!({})).await;
}

#[tokio::test]
async fn noise_on_stdout_is_ignored() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let answer = r#"{"jsonrpc":"2.0","id":$ID,"result":{"ok":true}}"#;
    let noise = [
        "Server is listening",
        "",
        "{",
        "[1]",
        r#"{"level":"info"}"#,
        r#"{"jsonrpc":"2.0","id":77,"result":1}"#,
    ];
    let answer = client
        .call("1", "write", &lines(&[&noise[..], &[answer]].concat()))
        .await;
    assert_eq!(answer.json().await["result"]["ok"], true);
}

#[tokio::test]
async fn too_many_calls_at_once_are_refused_and_the_others_go_on() {
    let bridge = builder().max_calls(1).build().unwrap();
    let client = Client::open(&bridge).await;
    let held = json!({ "as": "a" });
    let mut first = Box::pin(client.call("1", "hold", &held));
    assert!((&mut first).now_or_never().is_none());
    let refused = client.call("2", "seen", &json!({})).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(refused.json().await["id"], 2);
    // A call whose client has gone makes room.
    drop(first);
    client.result("release", &held).await;
}

#[tokio::test]
async fn a_request_may_be_given_a_time() {
    let bridge = builder()
        .request_timeout(std::time::Duration::from_secs(600))
        .build()
        .unwrap();
    let client = Client::open(&bridge).await;
    tokio::time::pause();
    // Nothing else is to be done: the clock goes to the end of the request's time by itself.
    let hold = call("3", "hold", &json!({ "as": "a" }));
    let answer = tokio::time::timeout(std::time::Duration::from_secs(601), raw(&client, hold))
        .await
        .unwrap();
    assert_eq!(answer["error"]["code"], -32603);
    tokio::time::resume();
    let seen = client.result("seen", &json!({})).await;
    let cancelled: Value = serde_json::from_str(seen["seen"][1].as_str().unwrap()).unwrap();
    assert_eq!(cancelled["method"], "notifications/cancelled");
    assert_eq!(cancelled["params"]["requestId"], 2);
}

/// Without the support's own limit on time.
async fn raw(client: &Client, body: String) -> Value {
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    let mut request = crate::support::request(http::Method::POST, "/mcp", body);
    let session = client.session.as_ref().unwrap();
    request.headers_mut().insert("mcp-session-id", session.parse().unwrap());
    let response = client.router.clone().oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    // By then it has become a stream.
    let text = std::str::from_utf8(&body).unwrap();
    let last = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap_or(text);
    serde_json::from_str(last).unwrap()
}
