//! What can be seen of a gateway from outside: its metrics, its traces, its audit log, and its log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use mcp_oauth_tests::gateway::{Gateway, free_port};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use regex::Regex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::node::Http;

/// A receiver of OTLP over HTTP.
#[derive(Clone, Debug, Default)]
struct Receiver {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    logs: Arc<Mutex<Vec<ExportLogsServiceRequest>>>,
}

impl Receiver {
    /// Receives from now on; the answer is where.
    async fn start(&self) -> String {
        let router = Router::new()
            .route("/v1/traces", post(Self::trace))
            .route("/v1/logs", post(Self::log))
            .with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    #[allow(clippy::unused_async, reason = "handlers are")]
    async fn trace(State(receiver): State<Self>, body: Bytes) {
        let request = ExportTraceServiceRequest::decode(body).expect("traces in protobuf");
        receiver.traces.lock().unwrap().push(request);
    }

    #[allow(clippy::unused_async, reason = "handlers are")]
    async fn log(State(receiver): State<Self>, body: Bytes) {
        let request = ExportLogsServiceRequest::decode(body).expect("logs in protobuf");
        receiver.logs.lock().unwrap().push(request);
    }

    fn spans(&self) -> Vec<Span> {
        let traces = self.traces.lock().unwrap();
        let resources = traces.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

/// A gateway that tells everything.
struct Watched {
    gateway: Gateway,
    http: Http,
    metrics: String,
    receiver: Receiver,
    audit: PathBuf,
    directory: TempDir,
}

const SERVERS: &str = "
    [servers.broken]
    command = [\"/nonexistent/server\"]
    [limits]
    registrations_per_minute = 2
";

impl Watched {
    async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let audit = directory.path().join("audit.jsonl");
        let receiver = Receiver::default();
        let endpoint = receiver.start().await;
        let metrics = format!("127.0.0.1:{}", free_port());
        let settings = [
            ("GATEWAY_LOG_FORMAT", "json"),
            ("GATEWAY_TELEMETRY__METRICS_LISTEN", metrics.as_str()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("GATEWAY_TELEMETRY__AUDIT_FILE", audit.to_str().unwrap()),
            ("GATEWAY_TELEMETRY__AUDIT_OTLP", "true"),
        ];
        let address = format!("127.0.0.1:{}", free_port());
        let gateway = Gateway::start_with(&address, &settings, SERVERS).await;
        Self {
            http: Http::of(&gateway),
            gateway,
            metrics: format!("http://{metrics}/metrics"),
            receiver,
            audit,
            directory,
        }
    }

    async fn metrics(&self) -> String {
        reqwest::get(&self.metrics).await.unwrap().text().await.unwrap()
    }

    /// Speaks to a stdio server as clients with sessions do: the status, and the session.
    async fn message(&self, server: &str, token: &str, session: Option<&str>, message: Value) -> (u16, Option<String>) {
        let mut request = reqwest::Client::new()
            .post(format!("{}/{server}/mcp", self.gateway.url))
            .header("accept", "application/json, text/event-stream")
            .bearer_auth(token)
            .json(&message);
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        let response = request.send().await.unwrap();
        let session = response.headers().get("mcp-session-id");
        let session = session.map(|session| session.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        response.text().await.unwrap();
        (status, session)
    }

    /// Does everything once that has a metric, and says what nobody may see of it.
    async fn exercise(&self) -> Vec<(&'static str, String)> {
        let client = self.http.register().await;
        let code = self.http.code(&client).await;
        let tokens = mcp_oauth_tests::client::Tokens::of(&self.http.redeem(&client, &code).await);
        assert_eq!(self.http.call(&tokens.access_token).await.status, 200);
        assert_eq!(self.http.call("distinctive-token").await.status, 401);
        let refreshed = self.http.refresh(&client, &tokens.refresh_token).await;
        let refreshed = mcp_oauth_tests::client::Tokens::of(&refreshed);

        let notes = self.http.sign_in_to_server(&client, "notes").await;
        let (status, session) = self.message("notes", &notes.access_token, None, initialize()).await;
        assert_eq!(status, 200);
        let session = session.unwrap();
        let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
            "params": {"name": "add_note", "arguments": {"text": "distinctive-argument"}}});
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(
            self.message("notes", &notes.access_token, Some(&session), initialized)
                .await
                .0,
            202
        );
        assert_eq!(
            self.message("notes", &notes.access_token, Some(&session), call).await.0,
            200
        );
        let ended = reqwest::Client::new()
            .delete(format!("{}/notes/mcp", self.gateway.url))
            .header("mcp-session-id", &session)
            .bearer_auth(&notes.access_token)
            .send();
        assert!(ended.await.unwrap().status().is_success());
        let broken = self.http.sign_in_to_server(&client, "broken").await;
        self.message("broken", &broken.access_token, None, initialize()).await;

        // A document that nobody has, and one registration too many.
        let document =
            "/authorize?client_id=https%3A%2F%2Fdistinctive-host.invalid%2Fclient.json&state=distinctive-state";
        self.http.get(document).await;
        self.http.register().await;
        self.http.try_register().await;
        self.http.get("/distinctive-path?secret=distinctive-query").await;
        self.http.revoke(&client, &refreshed.refresh_token).await;
        vec![
            ("an access token", tokens.access_token),
            ("a refreshed access token", refreshed.access_token),
            ("a refresh token", tokens.refresh_token),
            ("the next refresh token", refreshed.refresh_token),
            ("an access token of another server", notes.access_token),
            ("a code", code),
            ("a verifier", client.verifier().to_owned()),
            ("a session", session),
            ("what somebody wrote", "distinctive-".to_owned()),
        ]
    }
}

fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}})
}

/// Looks again until it is so, or says what was there last.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match look().await {
            Ok(found) => return found,
            Err(last) => assert!(Instant::now() < until, "{what}: {last}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/full-gateway")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(documents().join(name)).unwrap()
}

/// Each metric with its type and its labels, as Prometheus reads them.
fn exposed(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let kinds = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut exposed: BTreeMap<_, _> = kinds
        .map(|(name, kind)| (name.to_owned(), (kind.to_owned(), BTreeSet::new())))
        .collect();
    let sample = Regex::new(r"^([a-z_]+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? ").unwrap();
    let label = Regex::new(r#"([a-z_]+)="(?:[^"\\]|\\.)*""#).unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let found = sample.captures(line).unwrap_or_else(|| panic!("{line} is no sample"));
        let (_, labels) = exposed
            .get_mut(&found[1])
            .unwrap_or_else(|| panic!("{line} has no type"));
        let of_line = found.get(2).map_or("", |labels| labels.as_str());
        labels.extend(
            label
                .captures_iter(of_line)
                .map(|label| label[1].to_owned())
                .filter(|label| label != "le"),
        );
    }
    exposed
}

/// The same as the document has it.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let row = Regex::new(r"(?m)^\| `(mcp_[a-z_]+)` \| (\w+) \|([^|]*)\|").unwrap();
    let name = Regex::new("`([a-z_]+)`").unwrap();
    let text = read("OBSERVING.md");
    row.captures_iter(&text)
        .map(|row| {
            let labels = name.captures_iter(&row[3]).map(|label| label[1].to_owned());
            (row[1].to_owned(), (row[2].to_owned(), labels.collect()))
        })
        .collect()
}

/// The metrics that a text asks Prometheus for.
fn asked_for(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\bmcp_(?:oauth|gateway|bridge)_[a-z_]+").unwrap();
    let part = Regex::new("_(?:bucket|sum|count)$").unwrap();
    name.find_iter(text)
        .map(|name| part.replace(name.as_str(), "").into_owned())
        .collect()
}

#[tokio::test]
async fn what_is_measured_is_documented_shown_and_watched_and_nothing_else_is() {
    let watched = Watched::start().await;
    watched.exercise().await;
    let text = eventually("the server's end is measured", async || {
        let text = watched.metrics().await;
        if text.contains("mcp_bridge_children_ended_total{") {
            Ok(text)
        } else {
            Err(text)
        }
    })
    .await;
    let (exposed, documented) = (exposed(&text), documented());
    assert_eq!(
        exposed, documented,
        "left what /metrics has, right what OBSERVING.md says"
    );

    let dashboard: Value = serde_json::from_str(&read("grafana/dashboard.json")).unwrap();
    let names: BTreeSet<_> = exposed.keys().cloned().collect();
    assert_eq!(
        asked_for(&dashboard.to_string()),
        names,
        "left what the dashboard shows, right what there is"
    );
    let alerts = asked_for(&read("grafana/alerts.yml"));
    assert!(!alerts.is_empty() && alerts.is_subset(&names), "{alerts:?}");
    assert_eq!(
        watched.http.get("/metrics").await.status,
        404,
        "metrics are served where they were asked for, and nowhere else"
    );
}

#[tokio::test]
async fn nobody_who_watches_sees_a_secret_or_who_somebody_is() {
    let watched = Watched::start().await;
    let secrets = watched.exercise().await;
    let client_id = watched.http.get("/health").await;
    assert_eq!(client_id.body, "ok");
    let metrics = watched.metrics().await;
    let audit_file = std::fs::read_to_string(&watched.audit).unwrap();
    let receiver = watched.receiver.clone();
    let _kept = watched.directory;
    let log = watched.gateway.stop_and_read().await;
    let traces = format!("{:#?}", receiver.traces.lock().unwrap());
    let audit_records = format!("{:#?}", receiver.logs.lock().unwrap());
    assert!(traces.contains("db.operation.name") && audit_records.contains("mcp_oauth.action"));
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && line["target"].is_string(), "{line}");
    }
    for (name, text) in [
        ("the metrics", &metrics),
        ("the traces", &traces),
        ("the audit log", &audit_file),
        ("the audit records", &audit_records),
        ("the log", &log),
    ] {
        for (kind, secret) in &secrets {
            // The audit log says who a client claims to be, and the log says of an unknown host that it is none.
            let said = text.lines().filter(|line| !line.contains("distinctive-host.invalid"));
            let found: Vec<_> = said.filter(|line| line.contains(secret.as_str())).collect();
            assert!(found.is_empty(), "{name} has {kind}: {found:?}");
        }
    }
    for (name, text) in [("the metrics", &metrics), ("the traces", &traces)] {
        for personal in ["development:ada", "\"ada\"", "client_", "distinctive"] {
            let found: Vec<_> = text.lines().filter(|line| line.contains(personal)).collect();
            assert!(found.is_empty(), "{name} have {personal}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_request_goes_on_in_the_trace_of_its_caller_and_the_last_span_is_sent_before_the_end() {
    let watched = Watched::start().await;
    let client = watched.http.register().await;
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", client.client_id.as_str()),
        ("refresh_token", "made.up"),
    ];
    let refused = reqwest::Client::new()
        .post(format!("{}/token", watched.gateway.url))
        .header("traceparent", format!("00-{trace}-{parent}-01"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(mcp_oauth_tests::application::encode(&form));
    assert_eq!(refused.send().await.unwrap().status(), 400);
    let (receiver, _kept) = (watched.receiver.clone(), watched.directory);
    watched.gateway.stop_and_read().await;

    let trace = u128::from_str_radix(trace, 16).unwrap().to_be_bytes();
    let parent = u64::from_str_radix(parent, 16).unwrap().to_be_bytes();
    let spans = receiver.spans();
    let of_trace: Vec<_> = spans.iter().filter(|span| span.trace_id == trace).collect();
    let named = |name: &str| {
        *of_trace
            .iter()
            .find(|span| span.name == name)
            .unwrap_or_else(|| panic!("no span {name} in {spans:#?}"))
    };
    let request = named("POST /token");
    assert_eq!(request.parent_span_id, parent);
    assert_eq!(named("token").parent_span_id, request.span_id);
    assert_eq!(named("store").parent_span_id, named("token").span_id);
}

#[tokio::test]
async fn a_server_behind_is_told_the_trace_with_the_gateway_as_its_caller() {
    let watched = Watched::start().await;
    let client = watched.http.register().await;
    let tokens = watched.http.sign_in(&client).await;
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
    "name": "printHeader", "arguments": {}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }}});
    let called = reqwest::Client::new()
        .post(format!("{}/echo/mcp", watched.gateway.url))
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "printHeader")
        .header("traceparent", format!("00-{trace}-{parent}-01"))
        .bearer_auth(&tokens.access_token)
        .json(&call);
    let told = called.send().await.unwrap().text().await.unwrap();
    assert!(told.contains(trace) && !told.contains(parent), "{told}");
}

#[tokio::test]
#[cfg(unix)]
async fn the_audit_log_is_its_owners_alone_and_goes_on_in_a_new_file_when_it_was_moved_away() {
    use std::os::unix::fs::PermissionsExt as _;

    let watched = Watched::start().await;
    let client = watched.http.register().await;
    let lines = |path: &Path| -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let mode = std::fs::metadata(&watched.audit).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let registered = &lines(&watched.audit)[..];
    let registered = registered.last().unwrap();
    assert_eq!(registered["action"], "register_client");
    assert_eq!(registered["client_id"], client.client_id);
    assert_eq!(registered["network"], "127.0.0.1");
    assert!(registered["time"].as_str().unwrap().ends_with('Z'), "{registered}");

    let moved = watched.directory.path().join("audit.jsonl.1");
    std::fs::rename(&watched.audit, &moved).unwrap();
    let process = watched.gateway.process().to_string();
    let signalled = tokio::process::Command::new("kill").args(["-HUP", &process]).status();
    assert!(signalled.await.unwrap().success());
    eventually("the file is made anew", async || {
        watched
            .audit
            .exists()
            .then_some(())
            .ok_or_else(|| "it is not there".to_owned())
    })
    .await;
    let before = lines(&moved).len();
    watched
        .http
        .form(
            "/token",
            &[("grant_type", "refresh_token"), ("client_id", &client.client_id)],
        )
        .await;
    assert_eq!(lines(&watched.audit).last().unwrap()["error"], "invalid_request");
    assert_eq!(lines(&moved).len(), before);
}

#[tokio::test]
async fn what_nobody_can_write_to_or_listen_on_is_said_at_the_start() {
    let file = [("GATEWAY_TELEMETRY__AUDIT_FILE", "/nonexistent/audit.jsonl")];
    let refused = Gateway::refuse(&file, "").await;
    assert!(
        refused.message.contains("/nonexistent/audit.jsonl"),
        "{}",
        refused.message
    );
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let listen = format!("127.0.0.1:{}", free_port());
    let settings = [
        ("GATEWAY_TELEMETRY__METRICS_LISTEN", address.as_str()),
        ("GATEWAY_LISTEN", &listen),
    ];
    let refused = Gateway::refuse(&settings, "").await;
    assert!(refused.message.contains("METRICS_LISTEN"), "{}", refused.message);
}
