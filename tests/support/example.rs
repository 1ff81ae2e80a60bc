//! The example programs, as processes.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Builds an example of this workspace, as `cargo test` builds everything else, and says where it is.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    build(name, &[])
}

/// Builds it as people run it, and says where it is.
#[must_use]
pub fn released_program(name: &str) -> PathBuf {
    build(name, &["--release"])
}

fn build(name: &str, profile: &[&str]) -> PathBuf {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["build", "--workspace", "--example", name, "--message-format=json"])
        .args(profile)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{name} does not build");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .unwrap_or_else(|| panic!("cargo does not say where it put {name}"))
}

/// An example that serves, until it is dropped.
#[derive(Debug)]
pub struct Example {
    /// Ends when this is dropped.
    _process: Child,
}

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
        Self { _process: child }
    }
}
