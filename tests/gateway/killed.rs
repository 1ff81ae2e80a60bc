//! `kill -9` of the gateway in the middle of every step, and a new process on the same Redis: nothing that was acknowledged is
//! lost, and a real client goes on by itself. The person is not asked again, but where an answer with tokens got lost.

use std::process::Stdio;

use mcp_oauth_tests::gateway::{Gateway, free_port};
use mcp_oauth_tests::redis::RedisServer;
use mcp_oauth_tests::tools;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::node::SEALING_SECRET;

/// The line between the gateway and Redis, which can keep the answer to the next change of a grant to itself: then the
/// change is made, and the gateway cannot know it.
#[derive(Debug)]
struct HoldingLine {
    address: String,
    state: watch::Sender<Holding>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holding {
    /// Everything passes.
    Nothing,
    /// The answer to the next change will not pass.
    Next,
    /// It was made, and what comes on that connection is kept.
    Held,
}

impl Drop for HoldingLine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HoldingLine {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (state, _) = watch::channel(Holding::Nothing);
        let seen = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, state) = (server.clone(), seen.clone());
                tokio::spawn(async move {
                    let server = TcpStream::connect(server).await.expect("Redis is there");
                    pass_on(client, server, state).await;
                });
            }
        });
        Self { address, state, task }
    }

    async fn held(&self) {
        let mut seen = self.state.subscribe();
        let held = seen.wait_for(|state| *state == Holding::Held);
        held.await.expect("the line is there");
    }
}

async fn pass_on(client: TcpStream, server: TcpStream, state: watch::Sender<Holding>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut request, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut changes = false;
    let mut keeps = false;
    loop {
        tokio::select! {
            read = from_client.read(&mut request) => {
                let Ok(length @ 1..) = read else { return };
                let sent = &request[..length];
                // A script that changes a grant: compare and set.
                let has = |word: &[u8]| sent.windows(word.len()).any(|part| part == word);
                if *state.borrow() == Holding::Next && has(b"EVALSHA") && has(b"mcp-oauth:grant:") {
                    changes = true;
                }
                if to_server.write_all(sent).await.is_err() {
                    return;
                }
            }
            read = from_server.read(&mut answer) => {
                let Ok(length @ 1..) = read else { return };
                let got = &answer[..length];
                // A Redis that does not know the script yet has changed nothing.
                let unknown = got.windows(8).any(|part| part == b"NOSCRIPT");
                if changes && !unknown {
                    keeps = true;
                    state.send_replace(Holding::Held);
                }
                if !keeps && to_client.write_all(got).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// A gateway that can be killed and started again, where its clients do not see the difference.
struct Place {
    _redis: RedisServer,
    line: HoldingLine,
    address: String,
    gateway: Option<Gateway>,
}

impl Place {
    async fn start() -> Self {
        let redis = RedisServer::durable().await;
        let line = HoldingLine::to(redis.address()).await;
        let mut place = Self {
            _redis: redis,
            line,
            address: format!("127.0.0.1:{}", free_port()),
            gateway: None,
        };
        place.begin().await;
        place
    }

    async fn begin(&mut self) {
        let (url, redis) = (
            format!("http://{}", self.address),
            format!("redis://{}", self.line.address),
        );
        let settings = [
            ("GATEWAY_PUBLIC_URL", url.as_str()),
            ("GATEWAY_KEY_SEALING_SECRET", SEALING_SECRET),
            ("GATEWAY_DEVICE_AUTHORIZATION", "true"),
            ("REDIS_URL", &redis),
        ];
        self.gateway = Some(Gateway::start_with(&self.address, &settings, "").await);
    }

    async fn kill_and_restart(&mut self) {
        self.gateway.take().expect("it runs").kill().await;
        self.line.state.send_replace(Holding::Nothing);
        self.begin().await;
    }
}

/// The client, which says when it waits.
struct Survivor {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    said: String,
}

impl Survivor {
    fn start(python: &std::path::Path, place: &Place, arguments: &[&str]) -> Self {
        let mut child = Command::new(python)
            .arg(tools::clients().join("python").join("survive.py"))
            .arg(format!("http://{}/echo/mcp", place.address))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            said: String::new(),
        }
    }

    /// The next moment at which it waits, until it ends.
    async fn pause(&mut self) -> Option<String> {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            if let Some(moment) = line.strip_prefix("pause ") {
                return Some(moment.to_owned());
            }
            self.said.push_str(&line);
            self.said.push('\n');
        }
        None
    }

    /// Expects this moment to be the next at which it waits.
    async fn reaches(&mut self, moment: &str, place: &Place) {
        let pause = self.pause().await;
        let log = place.gateway.as_ref().map(Gateway::log);
        assert_eq!(
            pause.as_deref(),
            Some(moment),
            "{}{}",
            self.said,
            log.unwrap_or_default()
        );
    }

    async fn go_on(&mut self) {
        self.stdin.write_all(b"\n").await.unwrap();
    }

    /// Lets it go on after each failure, to its end.
    async fn finish(mut self) {
        while let Some(moment) = self.pause().await {
            assert_eq!(moment, "failed");
            self.go_on().await;
        }
        let status = self.child.wait().await.unwrap();
        print!("{}", self.said);
        assert!(status.success() && self.said.contains("done"), "{}", self.said);
    }
}

/// Kills the gateway while the client waits at this moment.
async fn killed_at(moment: &str, arguments: &[&str]) {
    let test = format!("a gateway that is killed at {moment}");
    let (Some(python), true) = (tools::python(&test), tools::redis(&test)) else {
        return;
    };
    let mut place = Place::start().await;
    let mut client = Survivor::start(&python, &place, &[&["--at", moment], arguments].concat());
    client.reaches(moment, &place).await;
    place.kill_and_restart().await;
    client.go_on().await;
    client.finish().await;
}

/// Kills the gateway between the change of the grant and the answer to the client, in the request after this moment.
async fn killed_before_the_answer(moment: &str, arguments: &[&str]) {
    let test = format!("a gateway that is killed in the answer after {moment}");
    let (Some(python), true) = (tools::python(&test), tools::redis(&test)) else {
        return;
    };
    let mut place = Place::start().await;
    let mut client = Survivor::start(&python, &place, &[&["--at", moment], arguments].concat());
    client.reaches(moment, &place).await;
    place.line.state.send_replace(Holding::Next);
    client.go_on().await;
    place.line.held().await;
    place.kill_and_restart().await;
    client.finish().await;
}

#[tokio::test]
async fn a_registration_outlives_the_process() {
    killed_at("registered", &[]).await;
}

#[tokio::test]
async fn a_consent_page_outlives_the_process_that_showed_it() {
    killed_at("consent_shown", &[]).await;
}

#[tokio::test]
async fn a_sign_in_at_the_identity_provider_outlives_the_process_that_began_it() {
    killed_at("at_callback", &[]).await;
}

#[tokio::test]
async fn a_code_outlives_the_process_that_issued_it() {
    killed_at("code_issued", &[]).await;
}

#[tokio::test]
async fn tokens_outlive_the_process_that_issued_them() {
    killed_at("tokens_stored", &[]).await;
}

#[tokio::test]
async fn a_client_opens_a_new_session_with_its_tokens_when_the_old_one_is_gone() {
    killed_at("session_open", &[]).await;
}

#[tokio::test]
async fn a_client_of_2026_07_28_goes_on_as_if_nothing_had_been() {
    killed_at("session_open", &["--protocol", "auto"]).await;
}

#[tokio::test]
async fn a_refresh_whose_answer_is_lost_gives_the_same_answer_again() {
    killed_before_the_answer("refreshing", &[]).await;
}

/// The code is spent and nobody has the tokens. The client finds out by itself, and the person is asked once more.
#[tokio::test]
async fn a_code_whose_answer_is_lost_costs_another_sign_in_and_nothing_else() {
    killed_before_the_answer("code_issued", &["--asked", "2"]).await;
}

#[tokio::test]
async fn a_device_code_outlives_the_process_before_between_and_after_polls() {
    for moment in ["codes_shown", "polling", "approved"] {
        killed_at(moment, &["--device"]).await;
    }
}
