//! The official conformance suite, through the bridge, in front of this project's own server: with the server of the
//! same era behind, and of the other.
//!
//! Everything that the suite scores has to pass, without a warning. What the other era has no way to say is listed by
//! name, with the reason; the list is exact: what passes although it is listed fails the test as well.

use std::collections::BTreeMap;
use std::path::Path;

use mcp_oauth_tests::bridge::Bridge;
use mcp_oauth_tests::tools;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// An era, by the version of the specification that stands for it.
const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// What the suite does not score, and what passes all the same.
const UNSCORED_LEGACY: &[&str] = &["json-schema-2020-12", "server-session-lifecycle", "server-sse-polling"];
const UNSCORED_MODERN: &[&str] = &[
    "http-custom-header-server-validation",
    "http-header-validation",
    "json-schema-2020-12",
];

/// The tasks extension, which only the modern server has, and which nobody scores either.
const TASKS: &[&str] = &[
    "tasks-capability-negotiation",
    "tasks-dispatch-and-envelope",
    "tasks-lifecycle",
    "tasks-mrtr-composition",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-request-state-removal",
    "tasks-required-task-error",
    "tasks-status-notifications",
    "tasks-wire-fields",
];

/// Why a scenario cannot pass where the server behind speaks another era.
type Reason = (&'static str, &'static str);

const MODERN_CLIENT_LEGACY_SERVER: &[Reason] = &[
    (
        "input-required-result-basic-elicitation",
        "wants the question under the name that its server gave it; a request of a legacy server has no name",
    ),
    (
        "input-required-result-ignore-extra-params",
        "answers before it was asked, under that name",
    ),
];

const LEGACY_CLIENT_MODERN_SERVER: &[Reason] = &[];

#[tokio::test]
async fn clients_of_2025_11_25_reach_a_server_of_their_era() {
    let test = "the conformance suite of 2025-11-25, same era";
    let Some(scenarios) = run(test, LEGACY, LEGACY).await else {
        return;
    };
    judge(&scenarios, 30, UNSCORED_LEGACY, &[]);
}

#[tokio::test]
async fn clients_of_2026_07_28_reach_a_server_of_their_era() {
    let test = "the conformance suite of 2026-07-28, same era";
    let Some(scenarios) = run(test, MODERN, MODERN).await else {
        return;
    };
    judge(&scenarios, 37, &[UNSCORED_MODERN, TASKS].concat(), &[]);
}

#[tokio::test]
async fn clients_of_2025_11_25_reach_a_server_of_2026_07_28() {
    let test = "the conformance suite of 2025-11-25, other era";
    let Some(scenarios) = run(test, LEGACY, MODERN).await else {
        return;
    };
    judge(&scenarios, 30, UNSCORED_LEGACY, LEGACY_CLIENT_MODERN_SERVER);
}

#[tokio::test]
async fn clients_of_2026_07_28_reach_a_server_of_2025_11_25() {
    let test = "the conformance suite of 2026-07-28, other era";
    let Some(scenarios) = run(test, MODERN, LEGACY).await else {
        return;
    };
    judge(&scenarios, 37, UNSCORED_MODERN, MODERN_CLIENT_LEGACY_SERVER);
}

#[tokio::test]
async fn clients_of_2025_06_18_reach_servers_of_both_eras() {
    for server_era in [LEGACY, MODERN] {
        let test = format!("the conformance suite of 2025-06-18, server of {server_era}");
        let selection = ["--suite", "all", "--spec-version", "2025-06-18"];
        let Some(scenarios) = run_selection(&test, &selection, server_era, &[]).await else {
            return;
        };
        assert_eq!(scenarios.len(), 27, "the suite has other scenarios than it had");
        for scenario in &scenarios {
            let complaints = &scenario.complaints;
            assert!(
                scenario.passed > 0 && complaints.is_empty(),
                "{}: {complaints:?}",
                scenario.name
            );
        }
    }
}

/// What one scenario came to.
#[derive(Debug)]
struct Scenario {
    name: String,
    scored: bool,
    passed: usize,
    /// The failures and warnings, in the suite's words.
    complaints: Vec<String>,
}

impl Scenario {
    /// A scenario that has checked nothing has not passed either.
    fn passes(&self) -> bool {
        self.complaints.is_empty() && (self.passed > 0 || !self.scored)
    }
}

/// Runs what the suite requires for one era against a server of one era; `None` where the suite is not installed.
async fn run(test: &str, suite_era: &str, server_era: &str) -> Option<Vec<Scenario>> {
    let (_, suite) = tools::conformance_suite(test)?;
    let scored = scored(&suite.join(format!("requirements/{suite_era}.yaml")));
    run_selection(test, &["--requirements", suite_era], server_era, &scored).await
}

async fn run_selection(test: &str, selection: &[&str], server_era: &str, scored: &[String]) -> Option<Vec<Scenario>> {
    let (node, suite) = tools::conformance_suite(test)?;
    let server = [env!("CARGO_BIN_EXE_conformance-server"), "--era", server_era];
    let bridge = Bridge::start(&["--log-level", "debug"], server).await;
    let output = TempDir::new().unwrap();
    let mut command = Command::new(node);
    command.arg(suite.join("dist/index.js"));
    command.args(["server", "--url", &bridge.url, "-o"]).arg(output.path());
    // The exit code tells of unscored scenarios as well; the files say which scenario it was.
    let told = command.args(selection).output().await.unwrap();
    let scenarios = read(output.path(), scored);
    let told = String::from_utf8_lossy(&told.stdout);
    let summary = told
        .split_once("=== SUMMARY ===")
        .map_or(&*told, |(_, summary)| summary);
    println!("{test}:\n{summary}");
    if scenarios.iter().any(|scenario| !scenario.passes()) {
        println!("the bridge's log:\n{}", bridge.log());
    }
    Some(scenarios)
}

/// The names under `server:` in the suite's own list of requirements.
fn scored(requirements: &Path) -> Vec<String> {
    std::fs::read_to_string(requirements)
        .unwrap()
        .lines()
        .skip_while(|line| *line != "server:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  - ").map(str::to_owned))
        .collect()
}

fn read(output: &Path, scored: &[String]) -> Vec<Scenario> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(output).unwrap() {
        let folder = entry.unwrap();
        let name = folder.file_name().into_string().unwrap();
        // server-<scenario>-2026-11-24T16-35-32-751Z
        let scenario = name.strip_prefix("server-").unwrap();
        let scenario = scenario[..scenario.len() - "-2026-11-24T16-35-32-751Z".len()].to_owned();
        // A scenario that ended half-way has left no checks.
        let checks = std::fs::read_to_string(folder.path().join("checks.json")).unwrap_or_else(|_| "[]".to_owned());
        files.insert(scenario, serde_json::from_str::<Vec<Value>>(&checks).unwrap());
    }
    for name in scored {
        files.entry(name.clone()).or_default();
    }
    files
        .into_iter()
        .map(|(name, checks)| Scenario {
            scored: scored.contains(&name),
            name,
            passed: checks.iter().filter(|check| check["status"] == "SUCCESS").count(),
            complaints: checks
                .iter()
                .filter(|check| check["status"] == "FAILURE" || check["status"] == "WARNING")
                .map(|check| format!("{} {}: {}", check["status"], check["id"], check["errorMessage"]))
                .collect(),
        })
        .collect()
}

/// Fails unless exactly those scenarios pass that are expected to.
fn judge(scenarios: &[Scenario], wanted: usize, unscored: &[&str], cannot: &[Reason]) {
    let scored = scenarios.iter().filter(|scenario| scenario.scored).count();
    assert_eq!(scored, wanted, "the suite scores other scenarios than it did");
    for (name, _) in cannot {
        assert!(
            scenarios.iter().any(|scenario| scenario.name == *name),
            "there is no {name}"
        );
    }
    let mut problems = Vec::new();
    for scenario in scenarios {
        let reason = cannot.iter().find(|(name, _)| *name == scenario.name);
        let expected = scenario.scored || unscored.contains(&&*scenario.name);
        match (scenario.passes(), reason) {
            (false, None) if expected => {
                let complaints = scenario.complaints.join("\n    ");
                problems.push(format!("{} does not pass:\n    {complaints}", scenario.name));
            }
            (true, Some((name, reason))) => {
                problems.push(format!("{name} passes although it is said that it {reason}"));
            }
            _ => {}
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let passing = scenarios
        .iter()
        .filter(|scenario| scenario.scored && scenario.passes())
        .count();
    println!("{passing} of {wanted} scenarios pass");
}
