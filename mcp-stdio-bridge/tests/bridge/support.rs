//! A client of the tests', and the server that does what they say.

pub(crate) mod log;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;
use http::{HeaderMap, Method, Request, StatusCode};
use mcp_stdio_bridge::{Bridge, BridgeBuilder, Command};
use serde_json::{Value, json};
use tower::ServiceExt;

/// No test takes so long unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;

/// The scripted server's program, beside the test's own.
pub(crate) fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
        let program = profile
            .join("examples")
            .join(format!("scripted-server{}", std::env::consts::EXE_SUFFIX));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripted-server.rs");
        let changed = |path: &std::path::Path| path.metadata().and_then(|data| data.modified()).ok();
        if changed(&program).is_none() || changed(&program) < changed(source.as_ref()) {
            // Where this test alone is asked for (`--test bridge`), examples are not built.
            let mut cargo = std::process::Command::new(env!("CARGO"));
            cargo.args(["build", "--example", "scripted-server", "--manifest-path"]);
            cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
            cargo.arg("--target-dir").arg(profile.parent().unwrap());
            if profile.ends_with("release") {
                cargo.arg("--release");
            }
            assert!(cargo.status().unwrap().success(), "the scripted server does not build");
        }
        program
    };
    PROGRAM.get_or_init(find).clone()
}

/// The scripted server with these arguments.
pub(crate) fn scripted(arguments: &[&str]) -> Command {
    Command::new(program()).args(arguments.iter().copied())
}

pub(crate) fn builder() -> BridgeBuilder {
    Bridge::builder(scripted(&[]))
}

/// Lets so many seconds pass on the clock.
pub(crate) async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// A request with the headers that a well-behaved client sends.
pub(crate) fn request(method: Method, path: &str, body: impl Into<Body>) -> Request<Body> {
    let accept = if method == Method::GET {
        "text/event-stream"
    } else {
        "application/json, text/event-stream"
    };
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost:3000")
        .header("content-type", "application/json")
        .header("accept", accept)
        .body(body.into())
        .unwrap()
}

/// A client, with a session or without.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) router: Router,
    pub(crate) session: Option<String>,
}

impl Client {
    pub(crate) fn new(bridge: &Bridge) -> Self {
        Self {
            router: bridge.router(),
            session: None,
        }
    }

    /// A client that has gone through the handshake.
    pub(crate) async fn open(bridge: &Bridge) -> Self {
        Self::open_with(bridge, INITIALIZE).await
    }

    /// The same with an `initialize` of its own.
    pub(crate) async fn open_with(bridge: &Bridge, initialize: &str) -> Self {
        let mut client = Self::new(bridge);
        let answer = client.post(initialize.to_owned()).await;
        assert_eq!(answer.status, StatusCode::OK);
        client.session = Some(answer.headers["mcp-session-id"].to_str().unwrap().to_owned());
        let initialized = client
            .post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
            .await;
        assert_eq!(initialized.status, StatusCode::ACCEPTED);
        client
    }

    pub(crate) async fn send(&self, mut request: Request<Body>) -> Answer {
        if let Some(session) = &self.session {
            request.headers_mut().insert("mcp-session-id", session.parse().unwrap());
        }
        let response = tokio::time::timeout(PATIENCE, self.router.clone().oneshot(request)).await;
        let (parts, body) = response.expect("no response").unwrap().into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.into_data_stream(),
            text: String::new(),
            last_event: None,
            retry: None,
        }
    }

    pub(crate) async fn post(&self, body: impl Into<Body>) -> Answer {
        self.send(request(Method::POST, "/mcp", body)).await
    }

    pub(crate) async fn get(&self) -> Answer {
        self.send(request(Method::GET, "/mcp", "")).await
    }

    /// Goes on with a stream behind an event.
    pub(crate) async fn resume(&self, event: &str) -> Answer {
        let mut request = request(Method::GET, "/mcp", "");
        request.headers_mut().insert("last-event-id", event.parse().unwrap());
        self.send(request).await
    }

    pub(crate) async fn delete(&self) -> Answer {
        self.send(request(Method::DELETE, "/mcp", "")).await
    }

    /// Calls a tool; the id is raw JSON.
    pub(crate) async fn call(&self, id: &str, tool: &str, arguments: &Value) -> Answer {
        self.post(call(id, tool, arguments)).await
    }

    /// Calls a tool that answers with a result.
    pub(crate) async fn result(&self, tool: &str, arguments: &Value) -> Value {
        let mut message = self.call("1", tool, arguments).await.json().await;
        assert_eq!(message["error"], Value::Null);
        message["result"].take()
    }
}

/// A client of MCP 2026-07-28.
#[derive(Clone)]
pub(crate) struct Modern {
    pub(crate) router: Router,
    /// Raw.
    pub(crate) capabilities: String,
    pub(crate) caller: Option<mcp_stdio_bridge::Caller>,
}

impl Modern {
    pub(crate) fn new(bridge: &Bridge) -> Self {
        Self {
            router: bridge.router(),
            capabilities: "{}".to_owned(),
            caller: None,
        }
    }

    /// A client that can be asked everything.
    pub(crate) fn capable(bridge: &Bridge) -> Self {
        Self {
            capabilities: r#"{"elicitation":{},"sampling":{},"roots":{}}"#.to_owned(),
            ..Self::new(bridge)
        }
    }

    /// The members of every request's `_meta`.
    pub(crate) fn meta(&self) -> String {
        format!(
            r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"test","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{}"#,
            self.capabilities
        )
    }

    /// A request with the headers that go with it.
    pub(crate) fn request(&self, method: &str, name: Option<&str>, body: impl Into<Body>) -> Request<Body> {
        let mut request = request(Method::POST, "/mcp", body);
        let headers = request.headers_mut();
        headers.insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
        headers.insert("mcp-method", method.parse().unwrap());
        if let Some(name) = name {
            headers.insert("mcp-name", name.parse().unwrap());
        }
        if let Some(caller) = &self.caller {
            request.extensions_mut().insert(caller.clone());
        }
        request
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let client = Client {
            router: self.router.clone(),
            session: None,
        };
        client.send(request).await
    }

    /// A request with these raw members of `params`.
    pub(crate) async fn ask(&self, method: &str, params: &str) -> Answer {
        let comma = if params.is_empty() { "" } else { "," };
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":"mine","method":"{method}","params":{{"_meta":{{{}}}{comma}{params}}}}}"#,
            self.meta()
        );
        self.send(self.request(method, None, text)).await
    }

    /// A tool call with these further raw members of `params`.
    pub(crate) async fn call_with(&self, tool: &str, arguments: &Value, more: &str) -> Answer {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":"mine","method":"tools/call","params":{{"_meta":{{{}}},"name":"{tool}","arguments":{arguments}{more}}}}}"#,
            self.meta()
        );
        self.send(self.request("tools/call", Some(tool), text)).await
    }

    pub(crate) async fn call(&self, tool: &str, arguments: &Value) -> Answer {
        self.call_with(tool, arguments, "").await
    }

    pub(crate) async fn result(&self, tool: &str, arguments: &Value) -> Value {
        let mut message = self.call(tool, arguments).await.json().await;
        assert_eq!(message["error"], Value::Null);
        message["result"].take()
    }
}

/// A tool call's text.
pub(crate) fn call(id: &str, tool: &str, arguments: &Value) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    )
}

/// Arguments of `write`.
pub(crate) fn lines(lines: &[&str]) -> Value {
    json!({ "lines": lines })
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: BodyDataStream,
    text: String,
    /// The id of the last event.
    pub(crate) last_event: Option<String>,
    pub(crate) retry: Option<String>,
}

impl Answer {
    pub(crate) fn content_type(&self) -> &str {
        self.headers
            .get("content-type")
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// The whole body.
    pub(crate) async fn text(mut self) -> String {
        let begun = Instant::now();
        while self.more().await {
            assert!(begun.elapsed() < PATIENCE, "the body goes on and on");
        }
        self.text
    }

    /// The body, which is one JSON value.
    pub(crate) async fn json(self) -> Value {
        assert_eq!(self.content_type(), "application/json");
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// The next event's data; `None` at the end of the stream.
    pub(crate) async fn event(&mut self) -> Option<String> {
        assert_eq!(self.content_type(), "text/event-stream");
        // A stream with nothing to say says that it is there, again and again.
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "no event comes");
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::to_owned)
                };
                let (id, data) = (field("id: "), field("data: "));
                self.retry = self.retry.take().or_else(|| field("retry: "));
                self.text = String::from(rest);
                self.last_event = id.or(self.last_event.take());
                // An event without a message is there for its id.
                if let Some(data) = data.filter(|data| !data.is_empty()) {
                    return Some(data);
                }
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The next event's message.
    pub(crate) async fn message(&mut self) -> Value {
        serde_json::from_str(&self.event().await.expect("the stream has ended")).unwrap()
    }

    async fn more(&mut self) -> bool {
        let piece = tokio::time::timeout(PATIENCE, self.body.next())
            .await
            .expect("the body hangs");
        let Some(piece) = piece else { return false };
        self.text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        true
    }
}

/// Whether a process runs. One that has ended and was not waited for by its parent does not.
#[cfg(unix)]
pub(crate) fn runs(process: &Value) -> bool {
    use nix::sys::signal::kill;
    use nix::unistd::Pid;

    let id = i32::try_from(process.as_i64().unwrap()).unwrap();
    let ended = std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, state)| state.starts_with(['Z', 'X']))
    });
    kill(Pid::from_raw(id), None).is_ok() && !ended
}

/// Waits for a process that was sent SIGKILL: nothing tells when the kernel is done with it.
#[cfg(unix)]
pub(crate) fn await_end(process: &Value) {
    let late = Instant::now() + PATIENCE;
    while runs(process) {
        assert!(Instant::now() < late, "the process still runs");
        std::thread::yield_now();
    }
}
