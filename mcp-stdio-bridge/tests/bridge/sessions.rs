//! How sessions begin and end, and what becomes of their processes.

use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use mcp_stdio_bridge::{Bridge, Command};
use serde_json::{Value, json};

use crate::support::{Client, INITIALIZE, builder, scripted};
#[cfg(unix)]
use crate::support::{await_end, runs};

#[tokio::test]
async fn each_session_has_its_own_process() {
    let bridge = builder().build().unwrap();
    let (first, second) = (Client::open(&bridge).await, Client::open(&bridge).await);
    assert_ne!(first.session, second.session);
    assert_ne!(
        first.result("process", &json!({})).await,
        second.result("process", &json!({})).await
    );
    assert_eq!(bridge.sessions(), 2);
}

#[tokio::test]
async fn a_request_without_a_session_is_told_to_initialize() {
    let bridge = builder().build().unwrap();
    let client = Client::new(&bridge);
    let answer = client.call("9", "seen", &json!({})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let answer = answer.json().await;
    assert_eq!(answer["id"], 9);
    assert!(answer["error"]["message"].as_str().unwrap().contains("initialize"));
    assert_eq!(client.get().await.status, StatusCode::BAD_REQUEST);
    assert_eq!(client.delete().await.status, StatusCode::BAD_REQUEST);
    assert_eq!(bridge.sessions(), 0);
}

#[tokio::test]
async fn an_unknown_session_is_not_found() {
    let bridge = builder().build().unwrap();
    let mut client = Client::open(&bridge).await;
    client.session = client.session.map(|id| id.to_uppercase() + "0");
    for answer in [
        client.call("1", "seen", &json!({})).await,
        client
            .post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
            .await,
        client.post(INITIALIZE).await,
        client.get().await,
        client.delete().await,
    ] {
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.json().await["error"]["code"], -32001);
    }
    assert_eq!(bridge.sessions(), 1);
}

#[tokio::test]
async fn a_session_is_initialized_once() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    assert_eq!(client.post(INITIALIZE).await.status, StatusCode::BAD_REQUEST);
    client.result("seen", &json!({})).await;
}

#[cfg(unix)]
#[tokio::test]
async fn delete_ends_the_process_and_what_it_has_started() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let process = client.result("process", &json!({})).await["process"].take();
    let grandchild = client.result("grandchild", &json!({})).await["process"].take();
    assert!(runs(&process) && runs(&grandchild));
    let answer = client.delete().await;
    assert_eq!(
        (answer.status, answer.text().await.as_str()),
        (StatusCode::NO_CONTENT, "")
    );
    assert!(!runs(&process) && !runs(&grandchild));
    assert_eq!(client.call("1", "seen", &json!({})).await.status, StatusCode::NOT_FOUND);
    assert_eq!(client.delete().await.status, StatusCode::NOT_FOUND);
    assert_eq!(bridge.sessions(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn a_process_that_heeds_neither_eof_nor_sigterm_is_killed() {
    let script = r#"trap "" TERM; "$0" ignore-eof; while true; do wait; done"#;
    let bridge = Bridge::builder(Command::new("sh").args(["-c", script]).arg(crate::support::program()))
        .build()
        .unwrap();
    let client = Client::open(&bridge).await;
    let process = client.result("process", &json!({})).await["process"].take();
    tokio::time::pause();
    let request = crate::support::request(http::Method::DELETE, "/mcp", "");
    assert_eq!(client.send(request).await.status, StatusCode::NO_CONTENT);
    // No time was given to the kernel, since the clock jumps.
    await_end(&process);
}

#[tokio::test]
async fn delete_fails_what_is_in_flight() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let held = json!({ "as": "a" });
    let mut call = Box::pin(client.call("1", "hold", &held));
    assert!((&mut call).now_or_never().is_none());
    client.delete().await;
    assert_eq!(call.await.json().await["error"]["code"], -32603);
}

#[tokio::test]
async fn a_crash_fails_every_call_and_ends_the_session_and_the_next_one_works() {
    let bridge = builder().build().unwrap();
    let client = Client::open(&bridge).await;
    let held = json!({ "as": "a" });
    let mut held = Box::pin(client.call("\"held\"", "hold", &held));
    assert!((&mut held).now_or_never().is_none());
    let crashed = client.call("2", "crash", &json!({ "code": 7 })).await.json().await;
    let held = held.await.json().await;
    for (answer, id) in [(crashed, json!(2)), (held, json!("held"))] {
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(-32603)));
        assert!(
            answer["error"]["message"].as_str().unwrap().contains("exit status: 7"),
            "{answer}"
        );
    }
    assert_eq!(client.call("3", "seen", &json!({})).await.status, StatusCode::NOT_FOUND);
    Client::open(&bridge).await.result("seen", &json!({})).await;
}

#[tokio::test]
async fn a_server_that_ends_at_once_leaves_no_session_and_its_status() {
    for (mode, status) in [
        ("exit-at-start", "exit status: 3"),
        ("exit-at-initialize", "exit status: 4"),
    ] {
        let bridge = Bridge::builder(scripted(&[mode])).build().unwrap();
        let answer = Client::new(&bridge).post(INITIALIZE).await;
        assert!(!answer.headers.contains_key("mcp-session-id"));
        let answer = answer.json().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(0), &json!(-32603)));
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(status) && !message.contains("settings"), "{message}");
        bridge.shutdown().await;
        assert_eq!(bridge.sessions(), 0);
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error_of_initialize() {
    let bridge = Bridge::builder(Command::new("/no/such/program")).build().unwrap();
    let answer = Client::new(&bridge).post(INITIALIZE).await.json().await;
    assert_eq!(answer["error"]["code"], -32603);
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("could not be started")
    );
}

#[tokio::test]
async fn a_refused_initialize_leaves_no_session() {
    let bridge = Bridge::builder(scripted(&["refuse"])).max_sessions(1).build().unwrap();
    let answer = Client::new(&bridge).post(INITIALIZE).await;
    assert!(!answer.headers.contains_key("mcp-session-id"));
    assert_eq!(answer.json().await["error"]["message"], "not this version");
    assert_eq!(bridge.sessions(), 0);
}

#[tokio::test]
async fn a_server_that_does_not_answer_initialize_is_given_up() {
    let bridge = Bridge::builder(scripted(&["silent"]))
        .handshake_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let answer = Client::new(&bridge).post(INITIALIZE).await.json().await;
    assert_eq!(answer["error"]["code"], -32603);
    assert!(answer["error"]["message"].as_str().unwrap().contains("did not answer"));
    bridge.shutdown().await;
}

#[tokio::test]
async fn a_client_that_leaves_during_initialize_leaves_no_process() {
    let bridge = Bridge::builder(scripted(&["silent"])).max_sessions(1).build().unwrap();
    let client = Client::new(&bridge);
    let mut opening = Box::pin(client.post(INITIALIZE));
    assert!((&mut opening).now_or_never().is_none());
    drop(opening);
    // Its place is free as soon as the process is gone.
    loop {
        let mut again = Box::pin(client.post(INITIALIZE));
        let Some(refused) = (&mut again).now_or_never() else {
            break;
        };
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        tokio::task::yield_now().await;
    }
    bridge.shutdown().await;
}

#[tokio::test]
async fn beyond_the_last_session_there_is_none_until_one_ends() {
    let bridge = builder().max_sessions(1).build().unwrap();
    let client = Client::open(&bridge).await;
    let refused = Client::new(&bridge).post(INITIALIZE).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(refused.json().await["id"], 0);
    client.result("seen", &json!({})).await;
    client.delete().await;
    // The place is given back right after the process is gone.
    while bridge.sessions() > 0 {
        tokio::task::yield_now().await;
    }
    Client::open(&bridge).await;
}

#[tokio::test]
async fn an_idle_session_ends_and_one_with_a_stream_does_not() {
    let bridge = builder().idle_timeout(Duration::from_secs(600)).build().unwrap();
    let (idle, listening) = (Client::open(&bridge).await, Client::open(&bridge).await);
    let events = listening.get().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(599)).await;
    // Whatever is used lives on.
    tokio::time::resume();
    idle.result("seen", &json!({})).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(599)).await;
    assert_eq!(bridge.sessions(), 2);
    tokio::time::advance(Duration::from_secs(2)).await;
    while bridge.sessions() == 2 {
        tokio::task::yield_now().await;
    }
    tokio::time::resume();
    assert_eq!(idle.call("1", "seen", &json!({})).await.status, StatusCode::NOT_FOUND);
    listening.result("seen", &json!({})).await;
    drop(events);
}

#[cfg(unix)]
#[tokio::test]
async fn shutdown_ends_all_sessions_and_lets_none_begin() {
    let bridge = builder().build().unwrap();
    let (first, second) = (Client::open(&bridge).await, Client::open(&bridge).await);
    let processes: [Value; 2] = [
        first.result("process", &json!({})).await,
        second.result("process", &json!({})).await,
    ];
    let mut events = first.get().await;
    bridge.shutdown().await;
    assert!(processes.iter().all(|process| !runs(&process["process"])));
    assert_eq!(events.event().await, None);
    assert_eq!(
        Client::new(&bridge).post(INITIALIZE).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(first.call("1", "seen", &json!({})).await.status, StatusCode::NOT_FOUND);
}

#[cfg(unix)]
#[test]
fn a_runtime_that_goes_down_leaves_no_process() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bridge = builder().build().unwrap();
    let (process, grandchild) = runtime.block_on(async {
        let client = Client::open(&bridge).await;
        (
            client.result("process", &json!({})).await,
            client.result("grandchild", &json!({})).await,
        )
    });
    drop(runtime);
    await_end(&process["process"]);
    await_end(&grandchild["process"]);
}

#[tokio::test]
async fn a_server_that_fails_to_start_is_left_alone_for_a_while() {
    let bridge = Bridge::builder(scripted(&["exit-at-start"]))
        .tell_stderr(true)
        .build()
        .unwrap();
    let client = Client::new(&bridge);
    let failed = client.post(INITIALIZE).await.json().await;
    let stderr = &failed["error"]["data"]["stderr"];
    assert!(stderr.as_str().unwrap().contains("settings are missing"), "{failed}");
    let refused = client.post(INITIALIZE).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers["retry-after"], "1");
    let ready = http::Request::get("/ready").body(axum::body::Body::empty()).unwrap();
    let ready = client.send(ready).await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.json().await, json!({ "status": "failing" }));
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(600)).await;
    tokio::time::resume();
    assert_eq!(client.post(INITIALIZE).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_spare_is_a_process_as_good_as_any() {
    let bridge = builder().spares(1).build().unwrap();
    let (first, second) = (Client::open(&bridge).await, Client::open(&bridge).await);
    assert_ne!(
        first.result("process", &json!({})).await,
        second.result("process", &json!({})).await
    );
    bridge.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_lets_calls_in_flight_finish() {
    let bridge = builder().drain_timeout(Duration::from_secs(30)).build().unwrap();
    let client = Client::open(&bridge).await;
    let held = json!({ "as": "a" });
    let mut call = Box::pin(client.call("1", "hold", &held));
    assert!((&mut call).now_or_never().is_none());
    let ending = tokio::spawn({
        let bridge = bridge.clone();
        async move { bridge.shutdown().await }
    });
    while Client::new(&bridge).post(INITIALIZE).await.status != StatusCode::SERVICE_UNAVAILABLE {
        tokio::task::yield_now().await;
    }
    client.result("release", &held).await;
    assert_eq!(call.await.json().await["result"]["released"], "a");
    ending.await.unwrap();
}
