//! The way back, against a remote server and its authorization server that do what they are told to.

mod device;
mod remote;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mcp_stdio_bridge::connect::{
    AuthorizationError, CallError, ClientCredentials, Connection, ConnectionBuilder, DevicePrompt, FileStorage, Person,
    RequestError, Secret,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use url::Url;

use self::remote::Remote;

/// No test waits so long for another process but to fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who visits each address that is shown, and approves.
#[derive(Debug, Default)]
struct Approving {
    visits: Arc<AtomicUsize>,
}

#[async_trait]
impl Person for Approving {
    async fn visit(&self, url: &Url) {
        self.visits.fetch_add(1, Ordering::SeqCst);
        // Follows to the callback, whose page is the end.
        let _ = reqwest::get(url.clone()).await;
    }

    async fn enter(&self, _: &DevicePrompt) {}
}

struct Setting {
    remote: Remote,
    kept: TempDir,
    visits: Arc<AtomicUsize>,
}

impl Setting {
    async fn new() -> Self {
        Self {
            remote: Remote::start().await,
            kept: TempDir::new().unwrap(),
            visits: Arc::default(),
        }
    }

    fn builder(&self) -> ConnectionBuilder {
        let visits = Arc::clone(&self.visits);
        Connection::builder(self.remote.server())
            .storage(FileStorage::new(self.kept.path()).unwrap())
            .person(Approving { visits })
    }

    fn connection(&self) -> Connection {
        self.builder().build().unwrap()
    }

    fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}

async fn call(connection: &Connection, tool: &str) -> Result<Value, CallError> {
    let mut caller = connection.call().await?;
    let result = caller
        .request("tools/call", json!({"name": tool, "arguments": {}}))
        .await;
    caller.close().await;
    result
}

fn refusal(result: Result<Value, CallError>) -> AuthorizationError {
    match result {
        Err(CallError::Request(RequestError::Authorization(error))) => error,
        other => panic!("this is no refusal to sign in: {other:?}"),
    }
}

#[tokio::test]
async fn somebody_signs_in_once_and_the_next_process_needs_nobody() {
    let setting = Setting::new().await;
    assert_eq!(
        call(&setting.connection(), "read").await.unwrap()["content"][0]["text"],
        "read"
    );
    assert_eq!(
        call(&setting.connection(), "read").await.unwrap()["content"][0]["text"],
        "read"
    );
    assert_eq!(setting.visits(), 1);
    let seen = setting.remote.seen();
    assert_eq!(seen.registrations.len(), 1);
    assert_eq!(seen.registrations[0]["application_type"], "native");
    assert_eq!(seen.authorizations[0]["scope"], "read");
    assert_eq!(seen.authorizations[0]["resource"], setting.remote.server());
    assert_eq!(seen.authorizations[0]["code_challenge_method"], "S256");
}

#[tokio::test]
async fn more_scope_is_asked_for_together_with_what_was_granted() {
    let setting = Setting::new().await;
    assert_eq!(
        call(&setting.connection(), "write").await.unwrap()["content"][0]["text"],
        "write"
    );
    assert_eq!(setting.visits(), 2);
    assert_eq!(setting.remote.seen().authorizations[1]["scope"], "read write");
}

#[tokio::test]
async fn a_server_that_is_never_satisfied_is_not_asked_for_ever() {
    let setting = Setting::new().await;
    let error = refusal(call(&setting.connection(), "never").await);
    assert!(matches!(error, AuthorizationError::ScopeNotEnough(_)), "{error}");
    assert_eq!(setting.visits(), 2);
}

#[tokio::test]
async fn two_at_once_refresh_once() {
    let setting = Setting::new().await;
    call(&setting.connection(), "read").await.unwrap();
    setting.remote.end_access_tokens();
    let (one, other) = (setting.connection(), setting.connection());
    let (one, other) = tokio::join!(call(&one, "read"), call(&other, "read"));
    one.unwrap();
    other.unwrap();
    assert_eq!(setting.remote.seen().refreshes, 1);
    assert_eq!(setting.visits(), 1);
}

fn program(setting: &Setting, arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mcp-stdio-bridge"));
    for (name, _) in std::env::vars() {
        if name.starts_with("MCP_") || name == "LOG_LEVEL" {
            command.env_remove(name);
        }
    }
    let kept = setting.kept.path().to_str().unwrap();
    command.args([
        "connect",
        &setting.remote.server(),
        "--credentials-directory",
        kept,
        "--browser",
        "none",
    ]);
    command.args(arguments).kill_on_drop(true);
    command
}

async fn run(setting: &Setting, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(PATIENCE, program(setting, arguments).output()).await;
    let output = output.expect("the program ends in time").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn two_processes_at_once_refresh_once() {
    let setting = Setting::new().await;
    call(&setting.connection(), "read").await.unwrap();
    setting.remote.end_access_tokens();
    let arguments = ["--call", "read", "{}"];
    let (one, other) = tokio::join!(run(&setting, &arguments), run(&setting, &arguments));
    for (code, out, err) in [one, other] {
        assert_eq!((code, out.as_str()), (Some(0), "read\n"), "{err}");
    }
    assert_eq!(setting.remote.seen().refreshes, 1);
}

#[tokio::test]
async fn the_program_says_by_its_exit_code_how_it_went() {
    let setting = Setting::new().await;
    let (code, out, err) = run(&setting, &["--test-auth"]).await;
    assert_eq!((code, out.as_str()), (Some(3), ""), "{err}");
    call(&setting.connection(), "read").await.unwrap();
    let (code, out, _) = run(&setting, &["--test-auth"]).await;
    assert_eq!(code, Some(0));
    assert!(out.contains("scope       read"), "{out}");
    let (code, out, _) = run(&setting, &["--list-tools"]).await;
    assert_eq!((code, out.lines().next()), (Some(0), Some("read\tReads")));
    let (code, out, _) = run(&setting, &["-c", "read a=1"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "read\n"));
    let (code, out, _) = run(
        &setting,
        &["--raw", r#"{"id":"x","method":"tools/call","params":{"name":"read"}}"#],
    )
    .await;
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["id"]), (Some(0), &json!("x")));
    assert_eq!(run(&setting, &["--call", "broken"]).await.0, Some(5));
    assert_eq!(run(&setting, &["--call", "read", "[]"]).await.0, Some(2));
    let mut with_token = program(&setting, &["--test-auth"]);
    with_token.env("MCP_CLIENT_ACCESS_TOKEN", "invalid");
    assert_eq!(with_token.output().await.unwrap().status.code(), Some(3));
    let (code, out, _) = run(&setting, &["--print-token"]).await;
    assert_eq!(code, Some(0));
    assert!(setting.remote.takes(out.trim()), "the token and nothing else");
    assert_eq!(run(&setting, &["--logout"]).await.0, Some(0));
    assert!(!setting.remote.takes(out.trim()), "the token was given back");
    assert_eq!(run(&setting, &["--test-auth"]).await.0, Some(3));
}

#[tokio::test]
async fn tokens_that_were_revoked_end_in_another_sign_in_and_in_no_loop() {
    let setting = Setting::new().await;
    call(&setting.connection(), "read").await.unwrap();
    setting.remote.revoke_all();
    call(&setting.connection(), "read").await.unwrap();
    assert_eq!(setting.visits(), 2);
    assert_eq!(setting.remote.seen().refreshes, 0, "the refresh token was refused");
}

#[tokio::test]
async fn an_answer_of_another_issuer_is_not_used() {
    let setting = Setting::new().await;
    setting
        .remote
        .set(|tricks| tricks.iss = Some("https://evil.example".to_owned()));
    let error = refusal(call(&setting.connection(), "read").await);
    assert!(matches!(error, AuthorizationError::Issuer(_)), "{error}");
    assert_eq!(setting.remote.seen().codes, 0, "the code goes nowhere");
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_used() {
    let setting = Setting::new().await;
    setting
        .remote
        .set(|tricks| tricks.issuer = Some("https://evil.example".to_owned()));
    let error = refusal(call(&setting.connection(), "read").await);
    assert!(error.to_string().contains("https://evil.example"), "{error}");
    assert_eq!(setting.visits(), 0);
}

#[tokio::test]
async fn nobody_signs_in_without_pkce() {
    let setting = Setting::new().await;
    setting.remote.set(|tricks| tricks.no_pkce = true);
    let error = refusal(call(&setting.connection(), "read").await);
    assert!(matches!(error, AuthorizationError::NoPkce(_)), "{error}");
    assert_eq!(setting.visits(), 0);
}

#[tokio::test]
async fn an_authorization_endpoint_that_is_no_address_of_the_web_is_never_opened() {
    for endpoint in [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "a:$(touch x)?response_type=code",
        "http://as.example/authorize",
    ] {
        let setting = Setting::new().await;
        setting
            .remote
            .set(|tricks| tricks.authorization_endpoint = Some(endpoint.to_owned()));
        let error = refusal(call(&setting.connection(), "read").await);
        assert!(matches!(error, AuthorizationError::Discovery(_)), "{endpoint}: {error}");
        assert_eq!(setting.visits(), 0);
    }
}

#[tokio::test]
async fn what_one_authorization_server_gave_is_not_shown_to_another() {
    let setting = Setting::new().await;
    call(&setting.connection(), "read").await.unwrap();
    setting.remote.set(|tricks| tricks.moved = true);
    setting.remote.end_access_tokens();
    call(&setting.connection(), "read").await.unwrap();
    let seen = setting.remote.seen();
    assert_eq!(seen.registrations.len(), 2, "it registers anew");
    assert_eq!(seen.authorizations[0]["client_id"], "as-1");
    assert_eq!(seen.authorizations[1]["client_id"], "other-2");
    assert_eq!(
        (seen.refreshes, seen.refreshes_refused),
        (0, 0),
        "the first one's refresh token stays with the first"
    );
}

#[tokio::test]
async fn a_client_secret_that_was_configured_goes_to_the_first_issuer_only() {
    let setting = Setting::new().await;
    let credentials = || ClientCredentials::with_secret("mine", Secret::new("my-secret"));
    let connection = || setting.builder().client(credentials()).build().unwrap();
    call(&connection(), "read").await.unwrap();
    setting.remote.set(|tricks| tricks.moved = true);
    setting.remote.revoke_all();
    let error = refusal(call(&connection(), "read").await);
    assert!(matches!(error, AuthorizationError::OtherIssuer { .. }), "{error}");
    let named = setting
        .builder()
        .client(credentials())
        .issuer("https://as.example")
        .build()
        .unwrap();
    assert!(matches!(
        refusal(call(&named, "read").await),
        AuthorizationError::OtherIssuer { .. }
    ));
    assert_eq!(setting.visits(), 1);
}

#[tokio::test]
async fn a_registration_is_shown_changed_and_ended() {
    let setting = Setting::new().await;
    let connection = setting.connection();
    assert!(connection.registration().await.is_err(), "there is none yet");
    call(&connection, "read").await.unwrap();
    assert_eq!(
        connection.registration().await.unwrap()["client_name"],
        "mcp-stdio-bridge"
    );
    let changes = json!({"client_name": "another"}).as_object().cloned().unwrap();
    let renamed = connection.update_registration(changes).await.unwrap();
    assert_eq!(renamed["client_name"], "another");
    assert_eq!(renamed["application_type"], "native", "the rest stays");
    connection.delete_registration().await.unwrap();
    assert!(connection.registration().await.is_err());
    assert_eq!(connection.status().await.unwrap().issuer, None);
    call(&connection, "read").await.unwrap();
    assert_eq!(setting.remote.seen().registrations.len(), 2);
}

#[tokio::test]
async fn a_registration_that_the_server_has_forgotten_is_made_again() {
    let setting = Setting::new().await;
    call(&setting.connection(), "read").await.unwrap();
    setting.remote.revoke_all();
    setting.remote.forget_clients();
    call(&setting.connection(), "read").await.unwrap();
    assert_eq!(setting.remote.seen().registrations.len(), 2);
}

/// A client behind stdio: writes lines, reads lines.
struct Stdio {
    input: tokio::io::DuplexStream,
    output: tokio::io::Lines<BufReader<tokio::io::DuplexStream>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Stdio {
    fn open(connection: Connection) -> Self {
        let (input, theirs_in) = tokio::io::duplex(1 << 16);
        let (theirs_out, output) = tokio::io::duplex(1 << 16);
        let serving = tokio::spawn(async move {
            connection
                .serve(theirs_in, theirs_out, std::future::pending())
                .await
                .unwrap();
        });
        Self {
            input,
            output: BufReader::new(output).lines(),
            serving,
        }
    }

    async fn write(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn read(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await;
        line.expect("a line comes in time").unwrap().expect("there is a line")
    }

    async fn initialize(&mut self) {
        self.write(r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#).await;
        assert!(self.read().await.contains("protocolVersion"));
        self.write(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
            .await;
    }

    async fn close(self) {
        drop(self.input);
        self.serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_message_passes_byte_for_byte() {
    let setting = Setting::new().await;
    let mut stdio = Stdio::open(setting.connection());
    stdio.initialize().await;
    let params = r#"{"name":"mirror","arguments":{"a" : 1.50,"é":"\u00e9","big":12345678901234567890123}}"#;
    let line = format!(r#"{{"jsonrpc":"2.0","id":"\u0031x","method":"tools/call","params":{params}}}"#);
    stdio.write(&line).await;
    assert_eq!(
        stdio.read().await,
        format!(r#"{{"jsonrpc":"2.0","id":"\u0031x","result":{params}}}"#)
    );
    stdio.close().await;
    assert_eq!(
        setting.remote.seen().deleted,
        1,
        "the server is told that the session is over"
    );
}

#[tokio::test]
async fn a_session_that_the_server_has_lost_is_begun_again() {
    let setting = Setting::new().await;
    let mut stdio = Stdio::open(setting.connection());
    stdio.initialize().await;
    setting.remote.lose_sessions();
    stdio
        .write(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"}}"#)
        .await;
    let answer: Value = serde_json::from_str(&stdio.read().await).unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "read");
    assert_eq!(setting.remote.seen().initialized, 2);
    stdio.close().await;
}

#[tokio::test]
async fn an_answer_whose_connection_breaks_is_gone_on_with() {
    let setting = Setting::new().await;
    let mut stdio = Stdio::open(setting.connection());
    stdio.initialize().await;
    stdio
        .write(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"breaks"}}"#)
        .await;
    assert!(stdio.read().await.contains("notifications/progress"));
    let answer: Value = serde_json::from_str(&stdio.read().await).unwrap();
    assert_eq!(
        (&answer["id"], &answer["result"]["content"][0]["text"]),
        (&json!(1), &json!("resumed"))
    );
    assert_eq!(setting.remote.seen().resumed_from.as_deref(), Some("event-1"));
    stdio.close().await;
}

#[tokio::test]
async fn a_request_without_a_session_names_its_method_and_its_name_in_headers() {
    let setting = Setting::new().await;
    let mut stdio = Stdio::open(setting.connection());
    stdio
        .write(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#)
        .await;
    assert!(stdio.read().await.contains("read"));
    let seen = setting.remote.seen();
    assert_eq!(
        seen.modern_headers,
        Some(["2026-07-28", "tools/call", "read"].map(str::to_owned))
    );
    assert_eq!(seen.initialized, 0);
    stdio.close().await;
}

#[tokio::test]
async fn what_is_no_message_is_answered_and_the_next_is_carried() {
    let setting = Setting::new().await;
    let mut stdio = Stdio::open(setting.connection());
    stdio.write("this is not JSON").await;
    assert!(stdio.read().await.contains("-32700"));
    stdio.initialize().await;
    stdio.close().await;
}

#[tokio::test]
async fn no_log_and_no_output_of_the_program_has_a_secret() {
    let setting = Setting::new().await;
    call(&setting.connection(), "read").await.unwrap();
    setting.remote.end_access_tokens();
    let (code, out, err) = run(&setting, &["--log-level", "trace", "--token", "--json"]).await;
    assert_eq!(code, Some(0), "{err}");
    for secret in setting.remote.secrets() {
        assert!(
            !out.contains(&secret) && !err.contains(&secret),
            "{secret}:\n{out}\n{err}"
        );
    }
}
