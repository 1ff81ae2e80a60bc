//! The way back through the real gateway: `mcp-stdio-bridge connect` gets an address and somebody who signs in, and from
//! then on it needs nobody.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use mcp_oauth_tests::bridge;
use mcp_oauth_tests::gateway::Gateway;
use reqwest::Client;
use reqwest::redirect::Policy;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use url::Url;

/// No test waits so long for a program but to fail.
const PATIENCE: Duration = Duration::from_secs(90);

/// How a run ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
    /// How often somebody was asked to sign in.
    visits: usize,
}

/// Runs `connect` with somebody at hand who signs in whenever an address is shown.
async fn connect(url: &str, kept: &TempDir, arguments: &[&str], input: &[&str]) -> Ended {
    let mut command = Command::new(bridge::program());
    for (name, _) in std::env::vars() {
        if name.starts_with("MCP_") || name == "LOG_LEVEL" {
            command.env_remove(name);
        }
    }
    let mut child = command
        .args([
            "connect",
            url,
            "--browser",
            "none",
            "--drain-timeout",
            "60",
            "--credentials-directory",
        ])
        .arg(kept.path())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for line in input {
        stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let watching = async {
        let (mut err, mut visits) = (String::new(), 0);
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("http") {
                visits += 1;
                sign_in(line.parse().unwrap()).await;
            }
            err.push_str(&line);
            err.push('\n');
        }
        (err, visits)
    };
    let mut stdout = child.stdout.take().unwrap();
    let reading = async {
        let mut out = String::new();
        if input.is_empty() {
            drop(stdin);
        } else {
            // The client is there for as long as it waits for answers.
            let mut lines = BufReader::new(&mut stdout).lines();
            for _ in input.iter().filter(|line| line.contains(r#""id""#)) {
                out.push_str(&lines.next_line().await.unwrap().unwrap_or_default());
                out.push('\n');
            }
            drop(stdin);
        }
        stdout.read_to_string(&mut out).await.unwrap();
        out
    };
    let all = async { tokio::join!(watching, reading, child.wait()) };
    let ((err, visits), out, status) = timeout(PATIENCE, all).await.expect("the program ends in time");
    Ended {
        code: status.unwrap().code(),
        out,
        err,
        visits,
    }
}

/// Presses the buttons that a person would, up to the client's own address and there.
async fn sign_in(url: Url) {
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let mut cookies: BTreeMap<String, String> = BTreeMap::new();
    let (mut url, mut form) = (url, None::<String>);
    for _ in 0..12 {
        let jar: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = match form.take() {
            Some(form) => client
                .post(url.clone())
                .header("content-type", "application/x-www-form-urlencoded")
                .header("origin", url.origin().ascii_serialization())
                .body(form),
            None => client.get(url.clone()).header("accept", "text/html"),
        };
        let answer = request.header("cookie", jar.join("; ")).send().await.unwrap();
        for cookie in answer.headers().get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            cookies.insert(name.to_owned(), value.to_owned());
        }
        if answer.status().is_redirection() {
            url = url.join(answer.headers()["location"].to_str().unwrap()).unwrap();
            continue;
        }
        assert!(
            answer.status().is_success(),
            "{} answered {}",
            url.path(),
            answer.status()
        );
        if url.path() == "/callback" && url.query_pairs().any(|(name, _)| name == "iss") {
            return;
        }
        let page = answer.text().await.unwrap();
        let (action, fields) = if page.contains(r#"name="transaction""#) {
            let transaction = value(&page, r#"name="transaction" value=""#);
            (
                "/consent",
                vec![("transaction", transaction), ("decision", "approve".to_owned())],
            )
        } else {
            let state = value(&page, r#"name="state" value=""#);
            let user = value(&page, r#"name="user" value=""#);
            ("/development/sign-in", vec![("state", state), ("user", user)])
        };
        url = url.join(action).unwrap();
        form = Some(
            url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(fields)
                .finish(),
        );
    }
    panic!("the pages do not lead back to the client");
}

fn value(page: &str, begin: &str) -> String {
    let at = page.find(begin).unwrap_or_else(|| panic!("no {begin} in {page}")) + begin.len();
    page[at..].split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_stdio_client_signs_in_through_the_gateway_once() {
    let gateway = Gateway::start("").await;
    let kept = TempDir::new().unwrap();
    let url = format!("{}/echo/mcp", gateway.url);
    let legacy = [
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":"two","method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}"#,
    ];
    let first = connect(&url, &kept, &[], &legacy).await;
    assert_eq!((first.code, first.visits), (Some(0), 1), "{first:?}");
    let answers: Vec<Value> = first
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 2, "only messages are on stdout: {first:?}");
    assert_eq!(answers[1]["id"], "two");
    assert!(answers[1]["result"].to_string().contains("hello"), "{first:?}");

    let modern = [
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"echo","arguments":{"message":"again"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#,
    ];
    let second = connect(&url, &kept, &[], &modern).await;
    assert_eq!((second.code, second.visits), (Some(0), 0), "{second:?}");
    assert!(second.out.contains("again"), "{second:?}");
}

#[tokio::test]
async fn scripts_call_tools_and_manage_the_registration_of_the_gateway() {
    let gateway = Gateway::start("").await;
    let kept = TempDir::new().unwrap();
    let url = format!("{}/notes/mcp", gateway.url);
    let refused = connect(&url, &kept, &["--test-auth"], &[]).await;
    assert_eq!((refused.code, refused.visits), (Some(3), 0), "{refused:?}");
    assert!(refused.err.contains("somebody has to sign in"), "{refused:?}");
    let token = connect(&url, &kept, &["--token"], &[]).await;
    assert_eq!((token.code, token.visits), (Some(0), 1), "{token:?}");
    assert!(token.out.contains(&gateway.url), "{token:?}");
    let listed = connect(&url, &kept, &["--list-tools"], &[]).await;
    assert!(listed.out.contains("add_note"), "{listed:?}");
    let called = connect(&url, &kept, &["--call", "add_note", r#"{"text":"hello"}"#], &[]).await;
    assert_eq!((called.code, called.visits), (Some(0), 0), "{called:?}");
    assert!(called.out.contains("was added"), "{called:?}");

    let changed = connect(
        &url,
        &kept,
        &["--update-registration", r#"{"client_name":"another name"}"#],
        &[],
    )
    .await;
    assert_eq!(changed.code, Some(0), "{changed:?}");
    let shown = connect(&url, &kept, &["--show-registration"], &[]).await;
    assert_eq!(
        serde_json::from_str::<Value>(&shown.out).unwrap()["client_name"],
        "another name",
        "{shown:?}"
    );

    assert_eq!(connect(&url, &kept, &["--logout"], &[]).await.code, Some(0));
    assert_eq!(connect(&url, &kept, &["--test-auth"], &[]).await.code, Some(3));
    assert_eq!(connect(&url, &kept, &["--token"], &[]).await.visits, 1);
    let ended = connect(&url, &kept, &["--delete-registration", "--yes"], &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(connect(&url, &kept, &["--show-registration"], &[]).await.code, Some(3));
}

#[tokio::test]
async fn a_token_that_is_not_the_gateways_is_a_failure() {
    let gateway = Gateway::start("").await;
    let mut command = Command::new(bridge::program());
    command.args(["connect", &format!("{}/echo/mcp", gateway.url), "--test-auth"]);
    command.env("MCP_CLIENT_ACCESS_TOKEN", "not-a-token");
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stdout, b"");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("not-a-token"));
}
