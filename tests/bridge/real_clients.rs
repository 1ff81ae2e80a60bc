//! Official clients of both eras, through the bridge, to servers that nobody here wrote.
//!
//! The servers of the TypeScript SDK speak the legacy protocol, those of the Python SDK the modern one where they are
//! asked to: so each client of one era has servers of the other behind the bridge as well.

#![allow(deprecated, reason = "servers still ask the model, deprecated as that is")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use mcp_oauth_tests::bridge::Bridge;
use mcp_oauth_tests::tools;
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, CreateMessageRequestParams, CreateMessageResult,
    ElicitRequestParams, ElicitResult, ElicitationAction, Implementation, ProgressNotificationParam, ProtocolVersion,
    SamplingMessage,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;

/// The servers, each behind a bridge of its own, and what to call there.
struct Servers {
    bridges: Vec<Bridge>,
    /// As the drivers want it.
    calls: Vec<Value>,
    directory: TempDir,
}

impl Servers {
    /// Starts all of them; `None` where the tools are not installed.
    async fn start(test: &str) -> Option<Self> {
        let (folder, python) = (tools::node(test, "typescript")?, tools::python(test)?);
        let directory = TempDir::new().unwrap();
        let page = serve_page().await;
        let mut servers = Self {
            bridges: Vec::new(),
            calls: Vec::new(),
            directory,
        };
        servers.add_from_npm(&folder).await;
        servers.add_from_pypi(&python, &page).await;
        if let Some(chromium) = tools::chromium(&format!("{test}: the browser")) {
            let options = ["--headless", "--isolated", "--no-sandbox", "--executable-path"].map(OsString::from);
            let command = npm(&folder, "@playwright/mcp/cli.js")
                .into_iter()
                .chain(options)
                .chain([chromium.into_os_string()]);
            let calls = json!([
                call("browser_navigate", &json!({ "url": page }), "A page"),
                call("browser_snapshot", &json!({}), "to be read by machines"),
            ]);
            servers.add("playwright", &[], command, calls).await;
        }
        Some(servers)
    }

    async fn add_from_npm(&mut self, folder: &Path) {
        let directory = self.directory.path().to_owned();
        let mut everything = call(
            "trigger-long-running-operation",
            &json!({ "duration": 1, "steps": 4 }),
            "completed",
        );
        everything["progress"] = json!(4);
        let calls = json!([
            call("echo", &json!({ "message": "hello" }), "hello"),
            call(
                "trigger-sampling-request",
                &json!({ "prompt": "hello" }),
                "an answer of the model"
            ),
            call("trigger-elicitation-request", &json!({}), "Ada"),
            everything,
        ]);
        let command = npm(folder, "@modelcontextprotocol/server-everything/dist/index.js");
        self.add("everything", &[], command, calls).await;

        let file = directory.join("file.txt");
        let calls = json!([
            call(
                "write_file",
                &json!({ "path": file, "content": "written through the bridge" }),
                "Successfully"
            ),
            call("read_text_file", &json!({ "path": file }), "written through the bridge"),
        ]);
        let mut command = npm(folder, "@modelcontextprotocol/server-filesystem/dist/index.js");
        command.push(directory.clone().into_os_string());
        self.add("filesystem", &[], command, calls).await;

        let memory = format!("MEMORY_FILE_PATH={}", directory.join("memory.jsonl").display());
        let entity = json!({ "name": "bridge", "entityType": "program", "observations": ["carries messages"] });
        let calls = json!([
            // An entity that another client has brought is not created once more.
            call("create_entities", &json!({ "entities": [entity] }), "["),
            call("search_nodes", &json!({ "query": "bridge" }), "carries messages"),
        ]);
        let command = npm(folder, "@modelcontextprotocol/server-memory/dist/index.js");
        self.add("memory", &["--env", &memory], command, calls).await;

        let thought = json!({
            "thought": "one", "nextThoughtNeeded": false, "thoughtNumber": 1, "totalThoughts": 1,
        });
        let calls = json!([call("sequentialthinking", &thought, "thoughtHistoryLength")]);
        let command = npm(folder, "@modelcontextprotocol/server-sequential-thinking/dist/index.js");
        self.add("sequential-thinking", &[], command, calls).await;
    }

    async fn add_from_pypi(&mut self, python: &Path, page: &str) {
        let module = |name: &str| vec![python.as_os_str().to_owned(), "-m".into(), name.into()];
        let calls = json!([call("get_current_time", &json!({ "timezone": "UTC" }), "UTC")]);
        self.add("time", &[], module("mcp_server_time"), calls).await;
        let calls = json!([call("fetch", &json!({ "url": page }), "to be read by machines")]);
        let mut command = module("mcp_server_fetch");
        command.push("--allow-private-ips".into());
        self.add("fetch", &[], command, calls).await;
    }

    async fn add(&mut self, name: &str, options: &[&str], command: impl IntoIterator<Item = OsString>, calls: Value) {
        // Where a server may leave what it likes.
        let folder = self.directory.path().to_str().unwrap();
        let options = [&["--cwd", folder], options].concat();
        let bridge = Bridge::start(&options, command).await;
        self.calls
            .push(json!({ "name": name, "url": bridge.url, "calls": calls }));
        self.bridges.push(bridge);
    }

    fn to_json(&self) -> String {
        json!(self.calls).to_string()
    }

    /// Runs a driver, and tells what the bridges have logged where it fails.
    async fn drive(&self, driver: &mut Command) {
        let output = driver.arg(self.to_json()).output().await.unwrap();
        print!("{}", String::from_utf8_lossy(&output.stdout));
        print!("{}", String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            let logs: Vec<String> = self.bridges.iter().map(Bridge::log).collect();
            panic!("the driver failed: {}\n{}", output.status, logs.join("\n"));
        }
    }
}

/// A tool to call, and what its result has to contain.
fn call(tool: &str, arguments: &Value, expect: &str) -> Value {
    json!({ "tool": tool, "arguments": arguments, "expect": expect })
}

/// The command line of a program from the npm packages of that folder.
fn npm(folder: &Path, program: &str) -> Vec<OsString> {
    let program = folder.join("node_modules").join(program);
    vec!["node".into(), program.into_os_string()]
}

/// A page for the servers that read pages.
async fn serve_page() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/page", listener.local_addr().unwrap());
    let html =
        "<!doctype html><title>A page</title><main><h1>A page</h1><p>It is there to be read by machines.</p></main>";
    let router = Router::new().route("/page", get(move || async move { Html(html) }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn python_driver(python: &PathBuf, protocol: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(tools::clients().join("python").join("call_tools.py"));
    command.args(["--protocol", protocol]);
    command
}

fn typescript_driver(sdk: &str, protocol: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(tools::clients().join("typescript").join("call_tools.mjs"));
    command.args(["--sdk", sdk, "--protocol", protocol]);
    command
}

#[tokio::test]
async fn the_python_sdk_1_calls_tools_of_real_servers() {
    let test = "the Python SDK 1 through the bridge";
    let (Some(python), Some(servers)) = (tools::python_1(test), Servers::start(test).await) else {
        return;
    };
    servers.drive(&mut python_driver(&python, "legacy")).await;
}

#[tokio::test]
async fn the_python_sdk_2_calls_tools_of_real_servers() {
    let test = "the Python SDK 2 through the bridge";
    let (Some(python), Some(servers)) = (tools::python(test), Servers::start(test).await) else {
        return;
    };
    // What the SDK does by itself is `auto`: it asks for the modern protocol first.
    for protocol in ["legacy", "auto", "2026-07-28"] {
        servers.drive(&mut python_driver(&python, protocol)).await;
    }
}

#[tokio::test]
async fn the_typescript_sdk_1_calls_tools_of_real_servers() {
    let Some(servers) = Servers::start("the TypeScript SDK 1 through the bridge").await else {
        return;
    };
    servers.drive(&mut typescript_driver("1", "legacy")).await;
}

#[tokio::test]
async fn the_typescript_sdk_2_calls_tools_of_real_servers() {
    let Some(servers) = Servers::start("the TypeScript SDK 2 through the bridge").await else {
        return;
    };
    for protocol in ["legacy", "2026-07-28"] {
        servers.drive(&mut typescript_driver("2", protocol)).await;
    }
}

#[tokio::test]
async fn rmcp_calls_tools_of_real_servers() {
    let Some(servers) = Servers::start("rmcp through the bridge").await else {
        return;
    };
    let modern = ClientLifecycleMode::Discover {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
    };
    for lifecycle in [ClientLifecycleMode::Initialize, modern] {
        for server in &servers.calls {
            println!("rmcp, {lifecycle:?}: {}", server["name"]);
            call_with_rmcp(server, lifecycle.clone()).await;
        }
    }
}

/// Does with `rmcp` what the drivers do with the other SDKs.
async fn call_with_rmcp(server: &Value, lifecycle: ClientLifecycleMode) {
    let transport = StreamableHttpClientTransport::from_uri(server["url"].as_str().unwrap());
    let client = Person::default()
        .serve_with_lifecycle(transport, lifecycle)
        .await
        .unwrap();
    let tools = client.list_all_tools().await.unwrap();
    for what in server["calls"].as_array().unwrap() {
        let tool = what["tool"].as_str().unwrap();
        assert!(
            tools.iter().any(|one| one.name == tool),
            "{tool} is not among {tools:?}"
        );
        let before = client.service().progress.load(Ordering::SeqCst);
        let mut params = CallToolRequestParams::new(tool.to_owned());
        params.arguments = what["arguments"].as_object().cloned();
        let result = client.call_tool(params).await.unwrap();
        let text = serde_json::to_string(&result.content).unwrap();
        assert_ne!(result.is_error, Some(true), "{tool} failed: {text}");
        assert!(text.contains(what["expect"].as_str().unwrap()), "{tool}: {text}");
        let progress = client.service().progress.load(Ordering::SeqCst) - before;
        let wanted = what["progress"].as_u64().unwrap_or_default();
        assert!(
            progress as u64 >= wanted,
            "{tool}: {progress} of {wanted} notifications came"
        );
    }
    client.cancel().await.unwrap();
}

/// Who answers for the model and the user.
#[derive(Debug, Default)]
struct Person {
    progress: AtomicUsize,
}

impl ClientHandler for Person {
    fn get_info(&self) -> ClientConfig {
        let capabilities = ClientCapabilities::builder()
            .enable_sampling()
            .enable_elicitation()
            .build();
        ClientConfig::new(capabilities, Implementation::new("call-tools test", "1.0.0"))
    }

    async fn create_message(
        &self,
        _params: CreateMessageRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let message = SamplingMessage::assistant_text("an answer of the model");
        Ok(CreateMessageResult::new(message, "none".to_owned()))
    }

    async fn create_elicitation(
        &self,
        _request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(json!({ "name": "Ada" })))
    }

    async fn on_progress(&self, _params: ProgressNotificationParam, _context: NotificationContext<RoleClient>) {
        self.progress.fetch_add(1, Ordering::SeqCst);
    }
}
