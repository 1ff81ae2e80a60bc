//! Programs of other people, which may or may not be on this machine.
//!
//! A test that needs one of them says so on stderr and passes where it is missing, so that `cargo test` needs
//! nothing but Rust. With `MCP_TEST_REQUIRE_TOOLS` set, as the project's own check has it, missing is failing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// The folder with the drivers of the real clients.
#[must_use]
pub fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Says visibly that a test does nothing here, and what to install so that it does.
pub fn skip(test: &str, install: &str) {
    let message = format!("SKIPPED {test}. To have it run: {install}\n");
    assert!(std::env::var_os("MCP_TEST_REQUIRE_TOOLS").is_none(), "{message}");
    // Not `eprintln!`, which the test harness keeps to itself when a test passes.
    let _ = std::io::stderr().write_all(message.as_bytes());
}

/// A Python that has the packages of `clients/python/requirements.txt`: `MCP_TEST_PYTHON`, or `python3`.
#[must_use]
pub fn python(test: &str) -> Option<PathBuf> {
    let python = std::env::var_os("MCP_TEST_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let found = std::process::Command::new(&python)
        .args([
            "-c",
            "import authlib, mcp.client.auth, mcp_server_fetch, mcp_server_time",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    skip(
        test,
        "run `python3 -m venv V && V/bin/pip install -r tests/clients/python/requirements.txt` and set MCP_TEST_PYTHON=V/bin/python",
    );
    None
}

/// A Python that has the packages of `clients/python-1/requirements.txt`, the SDK before version 2:
/// `MCP_TEST_PYTHON_1`.
#[must_use]
pub fn python_1(test: &str) -> Option<PathBuf> {
    let python = std::env::var_os("MCP_TEST_PYTHON_1").map(PathBuf::from);
    let found = python.filter(|python| {
        let found = std::process::Command::new(python)
            .args([
                "-c",
                "import importlib.metadata as m; assert m.version('mcp').startswith('1.')",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        found.is_ok_and(|status| status.success())
    });
    if found.is_none() {
        skip(
            test,
            "run `python3 -m venv V && V/bin/pip install -r tests/clients/python-1/requirements.txt` and set MCP_TEST_PYTHON_1=V/bin/python",
        );
    }
    found
}

/// A Chromium that a server can drive.
#[must_use]
pub fn chromium(test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)))
        .find(|program| program.is_file());
    if found.is_none() {
        skip(test, "install Chromium, Debian's package of that name for example");
    }
    found
}

/// The official conformance suite: the Node.js that it needs, and its program.
///
/// It needs version 22 or newer: the machine's own, or the one that the package `node` brings.
#[must_use]
pub fn conformance_suite(test: &str) -> Option<(PathBuf, PathBuf)> {
    let modules = node(test, "conformance")?.join("node_modules");
    let version = std::process::Command::new("node")
        .args(["-p", "process.versions.node.split('.')[0]"])
        .output();
    let version = version.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let new_enough = version.and_then(|version| version.trim().parse::<u32>().ok()) >= Some(22);
    let node = if new_enough {
        PathBuf::from("node")
    } else {
        modules.join("node/bin/node")
    };
    Some((node, modules.join("@modelcontextprotocol/conformance")))
}

/// The Node.js drivers with their packages, in this folder below `clients`.
#[must_use]
pub fn node(test: &str, folder: &str) -> Option<PathBuf> {
    let folder_path = clients().join(folder);
    let runs = std::process::Command::new("node")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if runs.is_ok_and(|status| status.success()) && folder_path.join("node_modules").is_dir() {
        return Some(folder_path);
    }
    skip(
        test,
        &format!("install Node.js 20 or newer and run `npm ci --prefix tests/clients/{folder}`"),
    );
    None
}

/// Whether Redis is here, with the tool of its operators.
#[must_use]
pub fn redis(test: &str) -> bool {
    let runs = |program: &str| {
        let mut command = std::process::Command::new(program);
        let command = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if runs("redis-server") && runs("redis-cli") {
        return true;
    }
    skip(
        test,
        "install redis-server and redis-cli (Debian: redis-server, redis-tools)",
    );
    false
}

/// Whether there is a program that gives others a terminal.
#[must_use]
pub fn terminal(test: &str) -> bool {
    let mut command = std::process::Command::new("script");
    let command = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        return true;
    }
    skip(test, "install script (Debian: bsdutils)");
    false
}

/// A proxy of Debian's by this name.
#[must_use]
pub fn proxy(test: &str, name: &str, version: &str) -> Option<PathBuf> {
    let found = std::process::Command::new(name)
        .arg(version)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_ok_and(|status| status.success()) {
        return Some(PathBuf::from(name));
    }
    skip(test, &format!("install {name} (`apt-get install {name}`)"));
    None
}

/// Runs a driver to its end. Its output goes where the test's own goes, step by step.
pub async fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the driver can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    print!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "the driver failed: {}", output.status);
}
