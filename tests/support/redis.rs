//! A real Redis that a test starts, restarts and asks, and the line to it, which a test can cut.
//!
//! (The store has servers of its own for its tests, with Sentinels and Clusters: what is here is what tests of whole
//! programs need.)

use std::net::TcpListener;
use std::process::{Command, Stdio};

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::redis_process::RedisProcess;
pub use crate::redis_process::eventually;

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct RedisServer(RedisProcess);

impl RedisServer {
    /// A server that loses nothing that it has acknowledged, whatever happens to it.
    pub async fn durable() -> Self {
        Self::start(&["--appendonly", "yes", "--appendfsync", "always"]).await
    }

    /// A server with settings of its own, as they stand on its command line.
    pub async fn start(settings: &[&str]) -> Self {
        Self(RedisProcess::start(settings).await)
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        self.0.address()
    }

    /// How a store gets here.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.0.id()
    }

    /// Ends it as a crash does (`SIGKILL`).
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it again, on what it has left behind.
    pub async fn restart(&mut self) {
        self.0.restart().await;
    }

    /// Has the server do something, as an operator does with `redis-cli`, and gives what that prints.
    #[allow(clippy::must_use_candidate, reason = "it is asked for what it does, too")]
    pub fn ask(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.0.port().to_string()])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli can be started");
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// What a line does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It passes everything on.
    Whole,
    /// It drops what is connected, and everybody who connects.
    Cut,
    /// It takes everybody and passes nothing on, as when packets get lost.
    Silent,
}

/// The line between one process and its server. Gone when it is dropped.
#[derive(Debug)]
pub struct Line {
    address: String,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Line {
    /// A line to this address.
    #[must_use]
    pub fn to(server: &str) -> Self {
        let server = server.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("it can wait");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it can be waited for");
        let address = listener.local_addr().expect("it has an address").to_string();
        let (state, seen) = watch::channel(State::Whole);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, server.clone(), seen.clone()));
            }
        });
        Self { address, state, task }
    }

    /// How a store gets here.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Cuts the line, or mends it.
    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(mut client: TcpStream, server: String, mut seen: watch::Receiver<State>) {
    let at_first = *seen.borrow_and_update();
    match at_first {
        State::Cut => {}
        // Until it is mended; then whoever waited here has to connect anew.
        State::Silent => drop(seen.changed().await),
        State::Whole => {
            let Ok(mut server) = TcpStream::connect(server).await else {
                return;
            };
            let changed = tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => return,
                changed = seen.changed() => changed,
            };
            // Both ends stay open, and nothing goes through any more.
            while changed.is_ok() && *seen.borrow_and_update() == State::Silent {
                if seen.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}
