//! The official conformance suite's client scenarios, against a client that knows nothing but stdio, with
//! `mcp-stdio-bridge connect` between it and the suite's servers.
//!
//! All that the suite has, in each version of the protocol that a scenario is for. What belongs to an extension that is
//! not supported is listed in a file, with the reason; the list is exact.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use mcp_oauth_tests::{bridge, tools};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// Each scenario is three programs that talk to each other.
const AT_ONCE: usize = 2;
/// In milliseconds. Nothing waits for it but what is broken.
const PATIENCE: &str = "120000";

/// One run: a scenario, in a version of the protocol; without one for what is no part of any.
type Run = (String, Option<String>);

#[tokio::test]
async fn a_client_behind_connect_passes_every_client_scenario() {
    let test = "the conformance suite's client scenarios";
    let Some((node, suite)) = tools::conformance_suite(test) else {
        return;
    };
    let not_supported = tools::clients().join("conformance/client-scenarios-not-supported.json");
    let not_supported: BTreeMap<String, String> =
        serde_json::from_slice(&std::fs::read(not_supported).unwrap()).unwrap();
    let runs = scenarios(&node, &suite).await;
    assert_eq!(runs.len(), RUNS, "the suite has other scenarios than it had: {runs:?}");
    let program = bridge::program();
    let results: Vec<(Run, Vec<Value>, String)> = futures_util::stream::iter(runs)
        .map(|run| play(&node, &suite, &program, run))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (mut problems, mut passed) = (Vec::new(), 0);
    for ((name, version), checks, told) in &results {
        let with = |status: &str| -> Vec<&Value> { checks.iter().filter(|check| check["status"] == status).collect() };
        let good = !with("SUCCESS").is_empty() && with("FAILURE").is_empty() && with("WARNING").is_empty();
        match (good, not_supported.get(name)) {
            (false, None) => {
                let complaints: Vec<String> = with("FAILURE")
                    .into_iter()
                    .chain(with("WARNING"))
                    .map(|check| format!("{}: {} {}", check["id"], check["description"], check["errorMessage"]))
                    .collect();
                problems.push(format!("{name} ({version:?}):\n  {}\n{told}", complaints.join("\n  ")));
            }
            (true, Some(reason)) => problems.push(format!("{name} passes, although it is said that {reason}")),
            (true, None) => passed += with("SUCCESS").len(),
            (false, Some(_)) => {}
        }
    }
    println!("{passed} checks pass in {} runs", results.len());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The scenarios, each in every version that it is for of those that differ here.
const RUNS: usize = 64;

async fn scenarios(node: &Path, suite: &Path) -> Vec<Run> {
    let mut command = Command::new(node);
    let listed = command
        .arg(suite.join("dist/index.js"))
        .args(["list", "--client"])
        .output()
        .await
        .unwrap();
    let mut runs = Vec::new();
    // `  - auth/basic-cimd [2025-11-25,2026-07-28]`
    for line in String::from_utf8(listed.stdout).unwrap().lines() {
        let Some((name, versions)) = line.strip_prefix("  - ").and_then(|line| line.split_once(" [")) else {
            continue;
        };
        let versions: Vec<&str> = versions.trim_end_matches(']').split(',').collect();
        if versions == ["extension"] {
            runs.push((name.to_owned(), None));
        }
        for version in ["2025-03-26", "2025-11-25", "2026-07-28"] {
            if versions.contains(&version) {
                runs.push((name.to_owned(), Some(version.to_owned())));
            }
        }
    }
    runs
}

async fn play(node: &Path, suite: &Path, program: &Path, run: Run) -> (Run, Vec<Value>, String) {
    let output = TempDir::new().unwrap();
    let client = tools::clients().join("conformance/stdio_client.mjs");
    let command = format!("node {} {}", client.display(), program.display());
    let mut harness = Command::new(node);
    harness.arg(suite.join("dist/index.js"));
    harness.args([
        "client",
        "--scenario",
        &run.0,
        "--timeout",
        PATIENCE,
        "--command",
        &command,
        "-o",
    ]);
    harness.arg(output.path()).kill_on_drop(true);
    if let Some(version) = &run.1 {
        harness.args(["--spec-version", version]);
    }
    let told = tokio::time::timeout(Duration::from_secs(300), harness.output()).await;
    let told = told.expect("the suite ends in time").unwrap();
    let checks = find(output.path(), "checks.json").and_then(|file| std::fs::read(file).ok());
    let checks = checks
        .and_then(|checks| serde_json::from_slice(&checks).ok())
        .unwrap_or_default();
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&told.stdout),
        String::from_utf8_lossy(&told.stderr)
    );
    (run, checks, told)
}

/// A file somewhere below a folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            find(&path, name)
        } else {
            (entry.file_name() == name).then_some(path)
        }
    })
}
