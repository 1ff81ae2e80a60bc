//! What the program does where things go wrong: each row for each pair of eras, as far as the eras have it.

use std::time::Duration;

use mcp_oauth_tests::bridge::Bridge;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::client::{Client, Era, text};

/// A bridge in front of the server that does as it is told, and the folder in which that leaves word.
struct Stage {
    bridge: Bridge,
    folder: TempDir,
}

impl Stage {
    async fn new(server: Era, options: &[&str], flags: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().to_str().unwrap();
        let command = [
            env!("CARGO_BIN_EXE_unruly-server"),
            "--era",
            server.version(),
            "--folder",
            path,
        ];
        let bridge = Bridge::start(options, command.iter().chain(flags)).await;
        Self { bridge, folder }
    }

    async fn client(&self, era: Era) -> Client {
        Client::open(&self.bridge.url, era).await
    }

    fn client_before_handshake(&self, era: Era) -> Client {
        Client::new(&self.bridge.url, era, era.version())
    }

    /// Returns when the server has left this word.
    async fn told(&self, word: &str) {
        let file = self.folder.path().join(word);
        let told = async {
            while !file.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let patience = Duration::from_secs(60);
        assert!(
            timeout(patience, told).await.is_ok(),
            "no {word}:\n{}",
            self.bridge.log()
        );
    }

    fn was_told(&self, word: &str) -> bool {
        self.folder.path().join(word).exists()
    }

    /// Lets a call go on that waits.
    fn release(&self, name: &str) {
        std::fs::write(self.folder.path().join(format!("{name}.released")), "").unwrap();
    }
}

#[tokio::test]
async fn a_crash_is_told_to_the_call_that_waits_and_the_next_client_is_served() {
    for (client, server) in Era::PAIRS {
        let stage = Stage::new(server, &[], &[]).await;
        let first = stage.client(client).await;
        let message = first.call("crash", json!({})).await;
        assert_eq!(message["error"]["code"], -32603, "{client:?} {server:?}: {message}");
        if client == Era::Legacy {
            let answer = first.start(&json!(9), "echo", json!({})).await;
            assert_eq!(answer.status, 404, "{server:?}: the session ended with its server");
        }
        let next = stage.client(client).await;
        assert_eq!(next.text("echo", json!({ "text": "again" })).await, "again");
    }
}

#[tokio::test]
async fn calls_with_the_same_id_at_the_same_time_each_get_their_own_answer() {
    for (era, server) in Era::PAIRS {
        let stage = Stage::new(server, &[], &[]).await;
        let client = stage.client(era).await;
        let stranger = stage.client(era).await;
        let id = json!(1);
        let calls = ["a", "b", "c"].map(|name| client.begin(&id, "progress", &json!({ "steps": 1, "as": name })));
        let other = stranger
            .start(&id, "echo", json!({ "text": "stranger" }))
            .await
            .last()
            .await;
        assert_eq!(text(&other), "stranger", "{era:?} {server:?}");
        let mut answers = Vec::new();
        for call in calls {
            // The answer has begun, and with it the call is known to wait.
            let mut answer = call.await.unwrap();
            let progress = answer.message().await.unwrap();
            assert_eq!(progress["params"]["progressToken"], id);
            answers.push(answer);
        }
        for (name, mut answer) in ["a", "b", "c"].into_iter().zip(answers).rev() {
            stage.release(name);
            let message = answer.last().await;
            assert_eq!(message["id"], id);
            assert_eq!(text(&message), name, "{era:?} {server:?}");
        }
    }
}

#[tokio::test]
async fn progress_comes_on_the_stream_of_its_own_call() {
    for (era, server) in Era::PAIRS {
        let stage = Stage::new(server, &[], &[]).await;
        let client = stage.client(era).await;
        let calls = [json!("x"), json!(2)].map(|id| {
            let call = client.begin(&id, "progress", &json!({ "steps": 3 }));
            (id, call)
        });
        for (id, call) in calls {
            let messages = call.await.unwrap().all().await;
            let tokens: Vec<&Value> = messages
                .iter()
                .map(|message| &message["params"]["progressToken"])
                .collect();
            assert_eq!(
                tokens,
                [&id, &id, &id, &Value::Null],
                "{era:?} {server:?}: {messages:?}"
            );
            assert_eq!(messages[3]["id"], id);
        }
    }
}

#[tokio::test]
async fn a_legacy_client_cancels_by_saying_so_and_not_by_going_away() {
    for server in [Era::Legacy, Era::Modern] {
        let stage = Stage::new(server, &[], &[]).await;
        let client = stage.client(Era::Legacy).await;
        let gone = client.begin(&json!(70), "wait", &json!({ "as": "gone" }));
        stage.told("gone.waiting").await;
        gone.abort();
        let said = client.begin(&json!(71), "wait", &json!({ "as": "said" }));
        stage.told("said.waiting").await;
        client
            .notify("notifications/cancelled", json!({ "requestId": 71 }))
            .await;
        stage.told("said.cancelled").await;
        assert!(!stage.was_told("gone.cancelled"), "{server:?}");
        said.abort();
    }
}

#[tokio::test]
async fn a_modern_client_cancels_by_going_away() {
    for server in [Era::Legacy, Era::Modern] {
        let stage = Stage::new(server, &[], &[]).await;
        let client = stage.client(Era::Modern).await;
        let stays = client.begin(&json!(70), "wait", &json!({ "as": "stays" }));
        let gone = client.begin(&json!(70), "wait", &json!({ "as": "gone" }));
        stage.told("stays.waiting").await;
        stage.told("gone.waiting").await;
        gone.abort();
        stage.told("gone.cancelled").await;
        stage.release("stays");
        assert_eq!(text(&stays.await.unwrap().last().await), "stays", "{server:?}");
    }
}

#[tokio::test]
async fn a_stream_that_broke_is_taken_up_where_it_was() {
    for server in [Era::Legacy, Era::Modern] {
        let stage = Stage::new(server, &[], &[]).await;
        let client = stage.client(Era::Legacy).await;
        let mut broken = client
            .start(&json!("first"), "progress", json!({ "steps": 3, "as": "first" }))
            .await;
        let mut other = client
            .start(&json!("other"), "progress", json!({ "steps": 1, "as": "other" }))
            .await;
        let seen = broken.message().await.unwrap();
        assert_eq!(seen["params"]["progress"], 1);
        let last_event = broken.last_event.clone().expect("events have ids");
        drop(broken);
        stage.release("other");
        stage.release("first");
        let mut resumed = client.get(Some(&last_event)).await;
        assert_eq!(resumed.status, 200);
        let rest = [(); 3];
        let mut messages = Vec::new();
        for () in rest {
            messages.push(resumed.message().await.expect("the rest of the stream"));
        }
        let progress: Vec<&Value> = messages.iter().map(|message| &message["params"]["progress"]).collect();
        assert_eq!(
            progress,
            [&json!(2), &json!(3), &Value::Null],
            "{server:?}: {messages:?}"
        );
        assert_eq!(messages[2]["id"], "first");
        assert_eq!(text(&messages[2]), "first");
        assert_eq!(text(&other.last().await), "other");
    }
}

#[tokio::test]
async fn noise_floods_and_large_messages_do_not_stop_a_server() {
    for (era, server) in Era::PAIRS {
        let stage = Stage::new(server, &[], &[]).await;
        let client = stage.client(era).await;
        let pair = format!("{era:?} {server:?}");
        assert_eq!(client.text("noise", json!({})).await, "after the noise", "{pair}");
        assert_eq!(
            client.text("stderr", json!({ "bytes": 1_000_000 })).await,
            "complained",
            "{pair}"
        );
        let large = "y".repeat(3_000_000);
        assert!(client.text("echo", json!({ "text": large })).await == large, "{pair}");
        assert_eq!(
            client.text("big", json!({ "bytes": 10_000_000 })).await.len(),
            10_000_000,
            "{pair}"
        );
        assert_eq!(client.text("echo", json!({ "text": "then" })).await, "then", "{pair}");
    }
}

#[tokio::test]
async fn a_message_beyond_the_bound_fails_its_own_call_and_no_other() {
    for (era, server) in Era::PAIRS {
        let stage = Stage::new(server, &["--max-line", "100000"], &[]).await;
        let client = stage.client(era).await;
        let message = client.call("big", json!({ "bytes": 200_000 })).await;
        assert!(
            message["error"]["code"].is_i64(),
            "{era:?} {server:?}: {}",
            message["error"]
        );
        assert_eq!(client.text("echo", json!({ "text": "then" })).await, "then");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_nobody_else() {
    for (era, server) in Era::PAIRS {
        let stage = Stage::new(server, &[], &[]).await;
        let client = stage.client(era).await;
        // Far more than all the buffers between the server and the client hold.
        let flood = client
            .start(&json!(7), "progress", json!({ "steps": 4000, "bytes": 4000 }))
            .await;
        let echo = client.text("echo", json!({ "text": "then" }));
        assert_eq!(
            timeout(Duration::from_secs(60), echo).await.unwrap(),
            "then",
            "{era:?} {server:?}"
        );
        drop(flood);
    }
}

#[tokio::test]
async fn what_is_refused_or_only_asks_how_things_are_starts_nothing() {
    for (era, server) in Era::PAIRS {
        let stage = Stage::new(server, &["--max-body", "10000"], &[]).await;
        let client = stage.client_before_handshake(era);
        let params = json!({
            "protocolVersion": era.version(), "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
        });
        let method = if era == Era::Legacy {
            "initialize"
        } else {
            "server/discover"
        };
        for (name, value, status) in [
            ("origin", "http://evil.example", 403),
            ("host", "evil.example", 403),
            ("content-type", "text/plain", 415),
        ] {
            let header = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            let request = client.request(&json!(1), method, params.clone()).headers(header);
            assert_eq!(
                request.send().await.unwrap().status(),
                status,
                "{era:?} {server:?}: {name}"
            );
        }
        let large = client.body(&json!("x".repeat(20_000)));
        assert_eq!(large.send().await.unwrap().status(), 413, "{era:?} {server:?}");
        let root = stage.bridge.url.trim_end_matches("/mcp").to_owned();
        for path in ["/health", "/ready"] {
            let answer = reqwest::get(format!("{root}{path}")).await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
        }
        assert!(!stage.bridge.log().contains("was started"), "{}", stage.bridge.log());
    }
}

#[cfg(target_os = "linux")]
mod processes {
    use std::future::Future;

    use serde_json::json;
    use tokio::task::JoinSet;

    use super::Stage;
    use crate::client::{Client, Era};
    use crate::processes::{ended, no_zombies, runs};

    /// A client, and the processes that are there because of it: a server, and what the server has started.
    async fn family(stage: &Stage, era: Era) -> (Client, [String; 2]) {
        let client = stage.client(era).await;
        let grandchild = client.text("grandchild", json!({})).await;
        let server = client.text("process", json!({})).await;
        assert!(runs(&server) && runs(&grandchild));
        (client, [server, grandchild])
    }

    /// Plays a piece for each pair of eras, all at the same time: most of it is waiting.
    async fn for_each_pair<F>(piece: impl Fn(Era, Era) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut pieces = JoinSet::new();
        for (client, server) in Era::PAIRS {
            pieces.spawn(piece(client, server));
        }
        while let Some(played) = pieces.join_next().await {
            played.unwrap();
        }
    }

    #[tokio::test]
    async fn a_bridge_that_is_told_to_stop_answers_what_waits_and_leaves_nothing() {
        for_each_pair(|era, server| async move {
            let mut stage = Stage::new(server, &[], &["--stubborn"]).await;
            let (client, family) = family(&stage, era).await;
            let mut waiting = client
                .start(&json!(7), "progress", json!({ "steps": 1, "as": "waiting" }))
                .await;
            waiting.message().await.unwrap();
            stage.bridge.signal("TERM").await;
            let message = waiting.last().await;
            assert!(message["error"]["code"].is_i64(), "{era:?} {server:?}: {message}");
            assert_eq!(stage.bridge.ended().await.code(), Some(0), "{era:?} {server:?}");
            for process in &family {
                assert!(!runs(process), "{era:?} {server:?}: {process} is left");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_bridge_that_is_killed_leaves_nothing() {
        for_each_pair(|era, server| async move {
            let mut stage = Stage::new(server, &[], &["--stubborn"]).await;
            let (_client, family) = family(&stage, era).await;
            stage.bridge.signal("KILL").await;
            stage.bridge.ended().await;
            for process in &family {
                ended(process).await;
            }
        })
        .await;
    }

    #[tokio::test]
    async fn clients_that_vanish_leave_nothing() {
        for_each_pair(|era, server| async move {
            let stage = Stage::new(server, &["--idle-timeout", "1"], &["--stubborn"]).await;
            let (client, family) = family(&stage, era).await;
            drop(client);
            for process in &family {
                ended(process).await;
            }
            no_zombies(stage.bridge.process()).await;
        })
        .await;
    }

    #[tokio::test]
    async fn the_end_of_a_session_is_the_end_of_its_processes() {
        for server in [Era::Legacy, Era::Modern] {
            let stage = Stage::new(server, &[], &["--stubborn"]).await;
            let (client, family) = family(&stage, Era::Legacy).await;
            assert!(client.delete().await.is_success());
            for process in &family {
                ended(process).await;
            }
            no_zombies(stage.bridge.process()).await;
        }
    }

    #[tokio::test]
    async fn a_server_that_is_killed_is_waited_for() {
        for_each_pair(|era, server| async move {
            let stage = Stage::new(server, &[], &[]).await;
            let (client, [child, grandchild]) = family(&stage, era).await;
            let mut waiting = client
                .start(&json!(7), "progress", json!({ "steps": 1, "as": "waiting" }))
                .await;
            waiting.message().await.unwrap();
            let killed = tokio::process::Command::new("kill")
                .args(["-s", "KILL", &child])
                .status()
                .await;
            assert!(killed.unwrap().success());
            let message = waiting.last().await;
            assert_eq!(message["error"]["code"], -32603, "{era:?} {server:?}: {message}");
            ended(&grandchild).await;
            no_zombies(stage.bridge.process()).await;
            let next = stage.client(era).await;
            assert_eq!(next.text("echo", json!({ "text": "again" })).await, "again");
        })
        .await;
    }
}
