//! The gateway reads its configuration anew, and stops, without cutting anybody off.

#![cfg(unix)]

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use mcp_oauth_tests::gateway::{Gateway, free_port};
use serde_json::json;

use crate::node::Http;
use crate::speak::{Session, Speaker, answer, client};
use crate::upstream::Upstream;

async fn ada_at(gateway: &Gateway, server: &str) -> Speaker {
    let http = Http::to(&gateway.url, client(&[], 0));
    let url = format!("{}/{server}/mcp", gateway.url);
    let token = http.sign_in_to(&url, "ada").await.access_token;
    Speaker {
        client: client(&[], 0),
        url,
        token,
    }
}

async fn write(session: &Session) {
    let (status, told) = session.call("add_note", &json!({"text": "build an engine"})).await;
    assert_eq!(status, 200, "{told}");
}

async fn reads(session: &Session) -> bool {
    let (_, told) = session.call("list_notes", &json!({})).await;
    told.contains("engine")
}

#[tokio::test]
async fn what_has_not_changed_goes_on_with_its_sessions_and_tokens_while_servers_come_and_go() {
    let (slow, asked, events) = Upstream::streaming().await;
    let gateway = Gateway::start(&format!("[servers.old]\nurl = \"{}\"", slow.url)).await;
    let session = ada_at(&gateway, "notes").await.session().await;
    write(&session).await;
    let old = ada_at(&gateway, "old").await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let in_flight = tokio::spawn(answer(old.post(&ping)));
    asked.notified().await;

    let upstream = Upstream::rmcp().await;
    let told = gateway
        .reload(&format!("[servers.new]\nurl = \"{}\"", upstream.url))
        .await;
    assert!(told.contains("was read anew"), "{told}");

    assert!(reads(&session).await, "a session goes on, with its token");
    let new = ada_at(&gateway, "new").await;
    assert_eq!(new.session().await.call("add", &json!({})).await.1, "four");
    assert_eq!(answer(old.post(&ping)).await.0, 404, "what was removed is not served");
    events.send("data: done\n\n").unwrap();
    drop(events);
    let (status, _, body) = in_flight.await.unwrap();
    assert_eq!(
        (status, body.as_str()),
        (200, "data: done\n\n"),
        "what was in flight is finished"
    );
}

#[tokio::test]
async fn a_program_that_is_configured_in_another_way_is_another_one() {
    let program = mcp_oauth_tests::gateway::program();
    let program = program.display();
    let toml = |env: &str| format!("[servers.pad]\ncommand = ['{program}', \"notes\"]\nenv = {{ A = \"{env}\" }}");
    let gateway = Gateway::start(&toml("1")).await;
    let ada = ada_at(&gateway, "pad").await;
    let session = ada.session().await;
    write(&session).await;
    gateway.reload(&toml("1")).await;
    assert!(reads(&session).await);
    gateway.reload(&toml("2")).await;
    let (status, _) = session.call("list_notes", &json!({})).await;
    assert_eq!(status, 404, "clients begin anew");
    assert!(!reads(&ada.session().await).await);
}

#[tokio::test]
async fn a_configuration_that_is_wrong_changes_nothing_and_is_told_with_what_is_wrong() {
    let gateway = Gateway::start("").await;
    let session = ada_at(&gateway, "notes").await.session().await;
    write(&session).await;
    for (toml, says) in [
        ("lisen = 1", "lisen"),
        ("[servers.files]\ncommand = []", "needs a command"),
        ("listen = ", "gateway.toml"),
        ("[servers.echo]\ncommand = [\"x\"]", "built-in"),
    ] {
        let told = gateway.reload(toml).await;
        assert!(
            told.contains("goes on with the one that it has") && told.contains(says),
            "{toml}: {told}"
        );
    }
    assert!(reads(&session).await);
}

#[tokio::test]
async fn settings_that_need_a_restart_are_named() {
    let gateway = Gateway::start("").await;
    let told = gateway
        .reload("log = \"debug\"\n[redis]\nurl = \"redis://127.0.0.1:1\"")
        .await;
    assert!(told.contains("redis, log") && told.contains("started again"), "{told}");
    let (status, ..) = answer(reqwest::Client::new().get(format!("{}/ready", gateway.url))).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_ends_the_streams_on_which_clients_only_listen() {
    let (slow, asked, events) = Upstream::streaming().await;
    let gateway = Gateway::start(&format!("[servers.slow]\nurl = \"{}\"", slow.url)).await;
    let session = ada_at(&gateway, "notes").await.session().await;
    let mut listening = session.listen().send().await.unwrap();
    assert_eq!(listening.status(), 200);
    let slow = ada_at(&gateway, "slow").await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let in_flight = tokio::spawn(answer(slow.post(&ping)));
    asked.notified().await;

    gateway.signal("TERM").await;
    while listening.chunk().await.unwrap().is_some() {}
    events.send("data: done\n\n").unwrap();
    drop(events);
    let (status, _, body) = in_flight.await.unwrap();
    assert_eq!((status, body.as_str()), (200, "data: done\n\n"));
    assert_eq!(gateway.ended().await, Some(0));
}

#[tokio::test]
async fn a_stop_has_a_bound_and_a_second_signal_is_a_stop_at_once() {
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    for (settings, second, code) in [("shutdown_timeout = 1", None, 0), ("", Some("INT"), 1)] {
        let (slow, asked, _events) = Upstream::streaming().await;
        let gateway = Gateway::start(&format!("{settings}\n[servers.slow]\nurl = \"{}\"", slow.url)).await;
        let slow = ada_at(&gateway, "slow").await;
        let in_flight = tokio::spawn(slow.post(&ping).send());
        asked.notified().await;
        gateway.signal("TERM").await;
        let until = std::time::Instant::now() + Duration::from_secs(30);
        while !gateway.log().contains("stopping") {
            assert!(std::time::Instant::now() < until);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if let Some(signal) = second {
            gateway.signal(signal).await;
        }
        assert_eq!(gateway.ended().await, Some(code), "{settings}");
        drop(in_flight.await.unwrap());
    }
}

#[tokio::test]
async fn systemd_is_told_how_the_gateway_stands() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let heard = move |expected: &str| {
        let mut buffer = [0; 1024];
        loop {
            let length = socket
                .recv(&mut buffer)
                .unwrap_or_else(|_| panic!("nobody says {expected}"));
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.contains(expected) {
                return message;
            }
        }
    };
    let settings = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let gateway = Gateway::start_with(&format!("127.0.0.1:{}", free_port()), &settings, "").await;
    heard("READY=1");
    heard("WATCHDOG=1");
    gateway.reload("").await;
    assert!(heard("RELOADING=1").contains("MONOTONIC_USEC="));
    heard("READY=1");
    gateway.signal("TERM").await;
    heard("STOPPING=1");
    assert_eq!(gateway.ended().await, Some(0));
}
