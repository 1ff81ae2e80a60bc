//! The bridge's program as a process of its own.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// No bridge takes so long to start or to stop, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A bridge that runs until it is dropped.
#[derive(Debug)]
pub struct Bridge {
    /// Its endpoint.
    pub url: String,
    child: Child,
    log: Arc<Mutex<String>>,
}

/// Builds the program, once, as `cargo test` builds everything else, and says where it is.
#[must_use]
pub fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM
        .get_or_init(|| {
            let output = std::process::Command::new(env!("CARGO"))
                .args([
                    "build",
                    "--workspace",
                    "--bin",
                    "mcp-stdio-bridge",
                    "--message-format=json",
                ])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .stderr(Stdio::inherit())
                .output()
                .expect("cargo runs");
            assert!(output.status.success(), "the bridge does not build");
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .filter(|message| message["target"]["name"] == "mcp-stdio-bridge")
                .find_map(|message| message["executable"].as_str().map(PathBuf::from))
                .expect("cargo says where it put the bridge")
        })
        .clone()
}

impl Bridge {
    /// Starts the program with these options on a free port in front of a server's command line, and waits until it
    /// listens.
    pub async fn start<S: AsRef<OsStr>>(options: &[&str], server: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(program());
        for (name, _) in std::env::vars() {
            // The options' variables, of which none is to get in from outside.
            if name.starts_with("MCP_") || name == "LOG_LEVEL" {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["--port", "0"])
            .args(options)
            .arg("--")
            .args(server)
            .stdin(Stdio::null())
            .stdout(Stdio::inherit())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the bridge can be started");
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let keep = {
            let log = Arc::clone(&log);
            move |line: &str| {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(line);
                log.push('\n');
            }
        };
        let started = timeout(PATIENCE, async {
            while let Some(line) = stderr.next_line().await.expect("stderr is text") {
                keep(&line);
                if let Some((_, url)) = line.split_once("mcp-stdio-bridge serves ") {
                    return url.trim().to_owned();
                }
            }
            panic!("the bridge did not start");
        });
        let url = started.await.expect("the bridge starts in time");
        // Read to the end, or the bridge would have to wait for us.
        tokio::spawn(async move {
            while let Ok(Some(line)) = stderr.next_line().await {
                keep(&line);
            }
        });
        Self { url, child, log }
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id().expect("the bridge runs")
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends the process a signal, by its name as `kill` knows it.
    pub async fn signal(&self, signal: &str) {
        let process = self.process().to_string();
        let asked = Command::new("kill").args(["-s", signal, &process]).status().await;
        assert!(asked.expect("kill runs").success());
    }

    /// Waits for the end of the process, which something else has caused.
    pub async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait())
            .await
            .expect("the bridge ends in time")
            .expect("the bridge can be waited for")
    }
}
