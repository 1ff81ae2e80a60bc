//! The example gateway as a process of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::example;

/// A gateway that runs until it is dropped.
#[derive(Debug)]
pub struct Gateway {
    /// Its issuer.
    pub url: String,
    /// What it printed before it was ready.
    pub announcement: String,
    log: JoinHandle<String>,
    child: Child,
    _directory: TempDir,
}

/// A gateway that did not start.
#[derive(Debug)]
pub struct Refused {
    /// What it wrote to stderr.
    pub message: String,
    /// The code it exited with.
    pub code: Option<i32>,
}

/// Builds the gateway, once, as `cargo test` builds everything else, and says where it is.
fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| example::program("full-gateway")).clone()
}

/// A port that nobody listens on at this moment.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// The gateway's program in an empty directory, with nothing of this process's configuration.
fn command(directory: &TempDir, settings: &[(&str, &str)], toml: &str) -> Command {
    std::fs::write(directory.path().join("gateway.toml"), toml).expect("the directory can be written to");
    let mut command = Command::new(program());
    for (name, _) in std::env::vars() {
        let ours = ["GATEWAY_", "GITHUB_", "REDIS_", "RUST_BACKTRACE"];
        if ours.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
        .envs(settings.iter().copied())
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Gateway {
    /// Starts a gateway with a TOML file on a free port, and waits until it serves.
    pub async fn start(toml: &str) -> Self {
        Self::start_with(&format!("127.0.0.1:{}", free_port()), &[], toml).await
    }

    /// Starts a gateway that listens here, with variables and a TOML file, and waits until it serves.
    pub async fn start_with(address: &str, settings: &[(&str, &str)], toml: &str) -> Self {
        let directory = TempDir::new().expect("a directory");
        let settings = [&[("GATEWAY_LISTEN", address)], settings].concat();
        let mut child = command(&directory, &settings, toml)
            .spawn()
            .expect("the gateway can be started");
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        // Read to the end, or the gateway would have to wait for us.
        let log = tokio::spawn(async move {
            let mut log = String::new();
            while let Ok(Some(line)) = stderr.next_line().await {
                log.push_str(&line);
                log.push('\n');
            }
            log
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut announcement = String::new();
        loop {
            match stdout.next_line().await.expect("stdout is text") {
                Some(line) if line.starts_with("Stop with") => break,
                Some(line) => {
                    announcement.push_str(&line);
                    announcement.push('\n');
                }
                None => panic!("the gateway did not start: {}", log.await.expect("the log is read")),
            }
        }
        Self {
            url: format!("http://{address}"),
            announcement,
            log,
            child,
            _directory: directory,
        }
    }

    /// Starts a gateway that is expected to refuse.
    pub async fn refuse(settings: &[(&str, &str)], toml: &str) -> Refused {
        let directory = TempDir::new().expect("a directory");
        let mut child = command(&directory, settings, toml)
            .spawn()
            .expect("the gateway can be started");
        let mut message = String::new();
        let mut stderr = child.stderr.take().expect("stderr is piped");
        stderr.read_to_string(&mut message).await.expect("stderr is text");
        let status = child.wait().await.expect("the gateway ends");
        Refused {
            message,
            code: status.code(),
        }
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id().expect("the gateway runs")
    }

    /// Ends the gateway as a crash does (`SIGKILL`).
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the gateway runs");
    }

    /// Asks the gateway to stop, waits for it, and says what it has logged.
    pub async fn stop_and_read(self) -> String {
        let process = self.process().to_string();
        let Self { log, mut child, .. } = self;
        let asked = Command::new("kill").arg(process).status().await.expect("kill runs");
        assert!(asked.success());
        assert_eq!(child.wait().await.expect("the gateway ends").code(), Some(0));
        log.await.expect("the log is read")
    }

    /// Asks the gateway to stop, as `kill` does, and waits for it.
    pub async fn stop(mut self) -> Option<i32> {
        let process = self.process().to_string();
        let asked = Command::new("kill").arg(process).status().await.expect("kill runs");
        assert!(asked.success());
        self.child.wait().await.expect("the gateway ends").code()
    }
}
