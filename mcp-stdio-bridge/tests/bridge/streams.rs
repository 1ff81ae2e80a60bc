//! What the server says beside its answers.

use futures_util::FutureExt;
use futures_util::future::join;
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::log::Log;
use crate::support::{Client, builder, later, lines};

const ANSWER: &str = r#"{"jsonrpc":"2.0","id":$ID,"result":{"ok":true}}"#;
const LOG: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"d"}}"#;
const ASK: &str = r#"{"jsonrpc":"2.0","id":"q\u0031","method":"elicitation/create","params":{"message":"?"}}"#;

fn progressing(id: &str, token: &str, arguments: &Value) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"_meta":{{"progressToken":{token}}},"name":"write","arguments":{arguments}}}}}"#
    )
}

#[tokio::test]
async fn progress_makes_the_answer_a_stream_and_carries_the_clients_token() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":$TOKEN, "total":2.0}}"#;
    let mut answer = client
        .post(progressing("4", "\"t\\u0031\"", &lines(&[progress, ANSWER])))
        .await;
    assert_eq!(answer.headers["cache-control"], "no-cache");
    assert_eq!(answer.headers["x-accel-buffering"], "no");
    assert_eq!(
        answer.event().await.unwrap(),
        progress.replace("$TOKEN", "\"t\\u0031\"")
    );
    assert_eq!(answer.event().await.unwrap(), ANSWER.replace("$ID", "4"));
    assert_eq!(answer.event().await, None);
}

#[tokio::test]
async fn progress_goes_to_its_own_call_even_if_two_clients_chose_the_same_token() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let progress = |by: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":$TOKEN,"progress":1,"message":"{by}"}}}}"#
        )
    };
    let first = client.post(progressing("1", "0", &lines(&[&progress("first"), ANSWER])));
    let second = client.post(progressing("1", "0", &lines(&[&progress("second"), ANSWER])));
    let (mut first, mut second) = join(first, second).await;
    for (answer, by) in [(&mut first, "first"), (&mut second, "second")] {
        let message = answer.message().await;
        assert_eq!(
            (&message["params"]["message"], &message["params"]["progressToken"]),
            (&json!(by), &json!(0))
        );
        assert_eq!(answer.message().await["result"]["ok"], true);
        assert_eq!(answer.event().await, None);
    }
}

#[tokio::test]
async fn progress_that_nobody_asked_for_is_dropped() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":77,"progress":1}}"#;
    let answer = client.call("1", "write", &lines(&[progress, ANSWER])).await;
    assert_eq!(answer.json().await["result"]["ok"], true);
}

#[tokio::test]
async fn a_request_of_the_server_comes_on_the_calls_stream_and_its_answer_goes_back() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let mut answer = client.call("1", "write", &lines(&[ASK, ANSWER])).await;
    assert_eq!(answer.event().await.unwrap(), ASK);
    assert_eq!(answer.message().await["result"]["ok"], true);
    // Spelled differently, the same id.
    let reply = r#"{"jsonrpc":"2.0","id":"q1","result":{"action":"accept"}}"#;
    let accepted = client.post(reply).await;
    assert_eq!(
        (accepted.status, accepted.text().await.as_str()),
        (StatusCode::ACCEPTED, "")
    );
    let seen = client.result("seen", &json!({})).await;
    assert_eq!(seen["seen"][1], reply.replace("q1", "q\\u0031"));
    // Once is enough.
    assert_eq!(client.post(reply).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_request_of_the_server_goes_to_the_oldest_tool_call_of_several() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let (a, b) = (json!({ "as": "a" }), json!({ "as": "b" }));
    let mut calls = Box::pin(join(client.call("1", "hold", &a), client.call("2", "hold", &b)));
    assert!((&mut calls).now_or_never().is_none());
    let third = client.call("3", "write", &lines(&[ASK, ANSWER])).await;
    assert_eq!(third.json().await["result"]["ok"], true);
    client.result("release", &b).await;
    client.result("release", &a).await;
    let (mut first, second) = calls.await;
    assert_eq!(first.message().await["method"], "elicitation/create");
    assert_eq!(first.message().await["result"]["released"], "a");
    assert_eq!(second.json().await["result"]["released"], "b");
}

#[tokio::test]
async fn a_notification_goes_to_the_event_stream_if_several_calls_are_in_flight() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let mut events = client.get().await;
    assert_eq!(events.status, StatusCode::OK);
    let held = json!({ "as": "a" });
    let mut first = Box::pin(client.call("1", "hold", &held));
    assert!((&mut first).now_or_never().is_none());
    let second = client.call("2", "write", &lines(&[LOG, ANSWER])).await;
    assert_eq!(second.json().await["result"]["ok"], true);
    assert_eq!(events.event().await.unwrap(), LOG);
    client.result("release", &held).await;
    assert_eq!(first.await.json().await["result"]["released"], "a");
}

#[tokio::test]
async fn a_notification_goes_to_the_newest_call_if_there_is_no_event_stream() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let held = json!({ "as": "a" });
    let mut first = Box::pin(client.call("1", "hold", &held));
    assert!((&mut first).now_or_never().is_none());
    let mut second = client.call("2", "write", &lines(&[LOG, ANSWER])).await;
    assert_eq!(second.event().await.unwrap(), LOG);
    assert_eq!(second.message().await["result"]["ok"], true);
    client.result("release", &held).await;
    assert_eq!(first.await.json().await["result"]["released"], "a");
}

#[tokio::test]
async fn a_notification_goes_to_the_only_call_and_not_to_the_event_stream() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let mut events = client.get().await;
    let mut answer = client.call("1", "write", &lines(&[LOG, ANSWER])).await;
    assert_eq!(answer.event().await.unwrap(), LOG);
    assert_eq!(answer.message().await["result"]["ok"], true);
    client.delete().await;
    assert_eq!(events.event().await, None);
}

#[tokio::test]
async fn what_comes_without_a_call_waits_for_the_event_stream_in_order() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    // Behind the answer, so that no call is there any more.
    let answer = client.call("1", "write", &lines(&[ANSWER, LOG, ASK])).await;
    assert_eq!(answer.json().await["result"]["ok"], true);
    let mut events = client.get().await;
    assert_eq!(events.event().await.unwrap(), LOG);
    assert_eq!(events.event().await.unwrap(), ASK);
    let accepted = client
        .post(r#"{"jsonrpc":"2.0","id":"q1","error":{"code":1,"message":"no"}}"#)
        .await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_request_that_no_stream_takes_gets_an_error() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    client.call("1", "write", &lines(&[ANSWER, ASK])).await.json().await;
    // The server reads what it gets before the next call.
    let refused = loop {
        later(31).await;
        let seen = client.result("seen", &json!({})).await;
        if let Some(line) = seen["seen"][1].as_str() {
            break serde_json::from_str::<Value>(line).unwrap();
        }
    };
    assert_eq!(
        (&refused["id"], &refused["error"]["code"]),
        (&json!("q1"), &json!(-32603))
    );
}

#[tokio::test]
async fn a_request_that_the_server_takes_back_is_followed_by_its_cancellation() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q1"}}"#;
    let mut answer = client.call("1", "write", &lines(&[ASK, cancel, ANSWER])).await;
    assert_eq!(answer.event().await.unwrap(), ASK);
    assert_eq!(answer.event().await.unwrap(), cancel);
    assert_eq!(answer.message().await["result"]["ok"], true);
    let late = client.post(r#"{"jsonrpc":"2.0","id":"q1","result":{}}"#).await;
    assert_eq!(late.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_event_stream_that_is_opened_again_takes_the_place_of_the_one_before() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let mut first = client.get().await;
    assert_eq!(first.content_type(), "text/event-stream");
    let mut second = client.get().await;
    assert_eq!(second.status, StatusCode::OK);
    assert_eq!(first.event().await, None);
    client.call("1", "write", &lines(&[ANSWER, LOG])).await.json().await;
    assert_eq!(second.event().await.unwrap(), LOG);
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_cancel_its_call() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let held = json!({ "as": "a" });
    let mut call = Box::pin(client.call("1", "hold", &held));
    assert!((&mut call).now_or_never().is_none());
    drop(call);
    client.result("release", &held).await;
    assert_eq!(
        client.result("seen", &json!({})).await["seen"].as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn a_task_has_progress_after_its_first_answer() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let progress =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$TOKEN,"progress":1}}"#;
    let call = progressing("1", "\"t\"", &lines(&[ANSWER, progress]));
    let answer = client.post(call.replace("\"name\"", "\"task\":{},\"name\"")).await;
    assert_eq!(answer.json().await["result"]["ok"], true);
    let mut events = client.get().await;
    assert_eq!(events.message().await["params"]["progressToken"], "t");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_can_come_back() {
    let bridge = builder().build().unwrap();
    let (client, other) = (Client::open(&bridge).await, Client::open(&bridge).await);
    let many: Vec<_> = std::iter::repeat_n(LOG, 3000).collect();
    let log = Log::default();
    let listening = log.listen();
    let mut unread = client.call("1", "write", &lines(&many)).await;
    assert_eq!(unread.event().await.unwrap(), LOG);
    // Until it is cut off, it has to be the only call: what the server says goes to that.
    while !log.text().contains("was cut off") {
        later(11).await;
        other.result("seen", &json!({})).await;
    }
    drop(listening);
    // The server goes on. It answers the call that was cut off, the second on the pipe, and then this one; what else it still
    // has to say may come along with either.
    let late = ANSWER.replace("$ID", "2");
    let written = client.call("2", "write", &lines(&[&late, ANSWER])).await.text().await;
    let answer = written
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ").unwrap_or(line)).ok())
        .find(|message| message["id"] == json!(2))
        .expect("the call is answered");
    assert_eq!(answer["error"], Value::Null);
    assert!(answer["result"].is_object(), "{answer}");
    let mut read = 1;
    while let Some(event) = unread.event().await {
        assert_eq!(event, LOG);
        read += 1;
    }
    assert!(read < many.len());
    let mut resumed = client.resume(&unread.last_event.unwrap()).await;
    // Only what comes for this call for certain is waited for: the stream of one that has no answer goes on and on.
    loop {
        let message = resumed.message().await;
        if message["id"] == json!(1) {
            break;
        }
        assert_eq!(message, serde_json::from_str::<Value>(LOG).unwrap());
    }
}

/// A client of MCP 2025-11-25.
async fn newest(bridge: &mcp_stdio_bridge::Bridge) -> Client {
    Client::open_with(bridge, &crate::support::INITIALIZE.replace("2025-06-18", "2025-11-25")).await
}

#[tokio::test]
async fn a_stream_begins_with_an_event_to_resume_from_where_the_version_has_that() {
    let bridge = builder().build().unwrap();
    for (client, primed) in [(newest(&bridge).await, true), (Client::open(&bridge).await, false)] {
        let mut answer = client.call("1", "write", &lines(&[LOG, ANSWER])).await;
        assert_eq!(answer.event().await.unwrap(), LOG);
        assert_eq!(answer.retry.is_some(), primed);
        // The message has an id of its own either way.
        assert!(answer.last_event.as_deref().is_some_and(|id| id.ends_with("-1")));
    }
}

#[tokio::test]
async fn a_call_whose_connection_breaks_can_be_gone_on_with() {
    let bridge = builder().build().unwrap();
    let client = newest(&bridge).await;
    let mut answer = client.call("7", "write", &lines(&[LOG])).await;
    assert_eq!(answer.event().await.unwrap(), LOG);
    let seen = answer.last_event.clone().unwrap();
    drop(answer);
    // The call is the second on the pipe; its answer comes while nobody reads.
    let late = ANSWER.replace("$ID", "2");
    client
        .call("8", "write", &lines(&[LOG, &late, ANSWER]))
        .await
        .text()
        .await;
    let mut resumed = client.resume(&seen).await;
    assert_eq!(resumed.message().await["id"], 7);
    assert_eq!(resumed.event().await, None);
    for unknown in ["99-1", "x", ""] {
        assert_eq!(
            client.resume(unknown).await.status,
            StatusCode::BAD_REQUEST,
            "{unknown}"
        );
    }
}

#[tokio::test]
async fn the_event_stream_is_gone_on_with_where_it_broke() {
    let bridge = builder().build().unwrap();
    let client = newest(&bridge).await;
    let mut events = client.get().await;
    client
        .call("1", "write", &lines(&[ANSWER, LOG, ASK]))
        .await
        .json()
        .await;
    assert_eq!(events.event().await.unwrap(), LOG);
    let seen = events.last_event.clone().unwrap();
    drop(events);
    let mut resumed = client.resume(&seen).await;
    assert_eq!(resumed.event().await.unwrap(), ASK);
}

#[tokio::test]
async fn an_answer_that_takes_its_time_comes_as_a_stream() {
    let bridge = builder()
        .stream_after(std::time::Duration::from_millis(20))
        .build()
        .unwrap();
    let client = Client::open(&bridge).await;
    let held = json!({ "as": "a" });
    let mut answer = client.call("1", "hold", &held).await;
    assert_eq!(answer.content_type(), "text/event-stream");
    client.result("release", &held).await;
    assert_eq!(answer.message().await["result"]["released"], "a");
}

#[tokio::test]
async fn several_messages_at_once_are_for_the_version_that_has_them() {
    let bridge = builder().build().unwrap();
    let initialize = crate::support::INITIALIZE.replace("2025-06-18", "2025-03-26");
    let client = Client::open_with(&bridge, &initialize).await;
    let batch = r#"[{"jsonrpc":"2.0","id":"a","method":"x/y"},{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":"b","method":"x/z"}]"#;
    let mut answer = client.post(batch).await;
    let mut ids = vec![
        answer.message().await["id"].clone(),
        answer.message().await["id"].clone(),
    ];
    ids.sort_by_key(Value::to_string);
    assert_eq!(ids, [json!("a"), json!("b")]);
    assert_eq!(answer.event().await, None);
    let notifications = r#"[{"jsonrpc":"2.0","method":"notifications/x"}]"#;
    assert_eq!(client.post(notifications).await.status, StatusCode::ACCEPTED);
    let initialize = format!("[{initialize}]");
    assert_eq!(client.post(initialize).await.status, StatusCode::BAD_REQUEST);
}
