//! The example programs, as processes.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Builds an example, as `cargo test` builds everything else, and says where it is.
fn program(name: &str) -> PathBuf {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["build", "--workspace", "--example", name, "--message-format=json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "the example does not build");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo says where it put the example")
}

/// An example that serves, until it is dropped.
#[derive(Debug)]
pub struct Example(#[allow(dead_code, reason = "it ends when this is dropped")] Child);

impl Example {
    /// Starts an example with these arguments and this environment, and waits until it says on stdout that it serves.
    pub async fn start(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(program(name))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("the example can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let line = lines
            .next_line()
            .await
            .expect("stdout is text")
            .expect("the example starts");
        assert!(line.starts_with("Serving"), "{line}");
        Self(child)
    }
}
