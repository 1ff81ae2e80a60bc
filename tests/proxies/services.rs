//! Every server of the composition, started by the command of its container, with each of its tools called through Traefik's
//! double, the gateway and the bridge.
//!
//! What is another thing here than in a container: addresses and ports, the folders that are volumes, and that the two
//! servers that fetch may fetch from this machine, where the page is that they read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::{any, get};
use mcp_oauth_tests::{bridge, example, tools};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::compose::{Composition, Folder};
use crate::stack::Stack;

/// No server takes so long to start, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The packages of the images: `MCP_TEST_SERVICES`, with the folders `node`, `python` and `tmux`.
fn packages(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("MCP_TEST_SERVICES").map(PathBuf::from);
    let found = folder.filter(|folder| {
        [
            "node/node_modules/.bin/mcp-server-memory",
            "python/bin/mcp-server-time",
            "tmux/bin/tmux-mcp",
        ]
        .iter()
        .all(|program| folder.join(program).exists())
    });
    if found.is_none() {
        tools::skip(
            test,
            "install the packages of examples/full-gateway/compose/images as .ci/run does, and set MCP_TEST_SERVICES",
        );
    }
    found
}

/// A server of the composition, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
    /// The command of its health check, and what it finds there.
    check: Vec<String>,
    path: std::ffi::OsString,
    directory: TempDir,
}

/// The gateway's program, which is looked for once.
fn gateway() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| example::program("full-gateway")).clone()
}

fn words(value: &Value) -> Vec<String> {
    let words = value.as_array().unwrap().iter();
    words.map(|word| word.as_str().unwrap().to_owned()).collect()
}

impl Server {
    /// Starts it as its container does.
    pub(crate) async fn start(name: &str, composition: &Composition) -> Self {
        let service = &composition.0["services"][name];
        let directory = TempDir::new().unwrap();
        for folder in ["data", "workspace", "tmp"] {
            std::fs::create_dir(directory.path().join(folder)).unwrap();
        }
        let place = |folder: &str| directory.path().join(folder).to_str().unwrap().to_owned();
        let chromium = tools::chromium("").map(|path| path.to_str().unwrap().to_owned());
        let here = |text: &str| {
            let text = text
                .replace("/workspace", &place("workspace"))
                .replace("/data/", &format!("{}/", place("data")));
            let text = text.replace("\"/tmp\"", &format!("\"{}\"", place("tmp")));
            text.replace("/usr/bin/chromium", chromium.as_deref().unwrap_or("/usr/bin/chromium"))
        };
        let is_ours = service["build"]["target"] == "gateway";
        let program = if is_ours {
            example::program("full-gateway")
        } else {
            bridge::program()
        };
        let packages = std::env::var_os("MCP_TEST_SERVICES")
            .map(PathBuf::from)
            .unwrap_or_default();
        let mut path: Vec<PathBuf> = ["node/node_modules/.bin", "python/bin", "tmux/bin"]
            .map(|folder| packages.join(folder))
            .into();
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let path = std::env::join_paths(path).unwrap();
        let mut command = Command::new(program);
        command.args(words(&service["command"]).iter().map(|word| here(word)));
        match name {
            "fetch" => command.arg("--allow-private-ips"),
            "fetchs" => command.arg("--allow-loopback"),
            _ => &mut command,
        };
        for (variable, _) in std::env::vars() {
            if variable.starts_with("MCP_") || variable == "LOG_LEVEL" {
                command.env_remove(variable);
            }
        }
        for (variable, value) in composition.environment(name) {
            command.env(variable, here(value));
        }
        let mut child = command
            .env("PATH", &path)
            .env("HOME", place("tmp"))
            .env("MCP_BIND_HOST", "127.0.0.1")
            .env("MCP_PORT", "0")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::inherit())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let started = timeout(PATIENCE, async {
            let mut log = String::new();
            while let Some(line) = stderr.next_line().await.unwrap() {
                if let Some((_, url)) = line.split_once(" serves http://") {
                    return url.split('/').next().unwrap().parse().unwrap();
                }
                log.push_str(&line);
            }
            panic!("{name} does not start: {log}");
        });
        let address: SocketAddr = started.await.unwrap();
        // Read to the end, or the server would have to wait for us.
        tokio::spawn(async move { while let Ok(Some(_)) = stderr.next_line().await {} });
        let check = words(&service["healthcheck"]["test"]);
        let check = check
            .iter()
            .skip(1)
            .map(|word| word.replace("127.0.0.1:3000", &address.to_string()));
        Self {
            address,
            child,
            check: check.collect(),
            path,
            directory,
        }
    }

    /// Whether the health check of its container finds it well.
    async fn is_healthy(&self) -> bool {
        let (program, arguments) = self.check.split_first().unwrap();
        let program = match program.as_str() {
            "/full-gateway" => gateway(),
            other => other.into(),
        };
        let mut command = Command::new(program);
        let status = command
            .args(arguments)
            .env("PATH", &self.path)
            .stderr(Stdio::null())
            .status()
            .await;
        status.unwrap().success()
    }

    /// The processes that it has started, in Linux's own words.
    fn children(&self) -> usize {
        let process = self.child.id().unwrap();
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let lists =
            tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
        lists.map(|list| list.split_whitespace().count()).sum()
    }
}

/// The page that is read, a picture, and what programs are asked to leave alone.
async fn site() -> String {
    const PAGE: &str = "<!doctype html><title>A page</title><main><h1>A page</h1><p>It is there to be read by machines.</p>\
        <button id=press ondragover=\"event.preventDefault()\" onclick=\"document.title='pressed'\">Press</button><button id=ask onclick=\"alert('asked')\">Ask</button><input id=field><input id=file type=file>\
        <select id=choice><option>one<option>two</select><div id=drop draggable=true>drag me</div>\
        <a id=next href=/next>next</a></main>";
    let router = Router::new()
        .route("/page", get(async || Html(PAGE)))
        .route("/next", get(async || Html("<title>Next</title>")))
        .route(
            "/post",
            any(async |method: http::Method, body: String| format!("{method} {body}")),
        )
        .route(
            "/picture",
            get(async || ([("content-type", "image/png")], b"\x89PNG".as_slice())),
        )
        .route("/private", get(async || "secret"))
        .route(
            "/moved",
            get(async || (http::StatusCode::FOUND, [("location", "/page")])),
        )
        .route("/robots.txt", get(async || "User-agent: *\nDisallow: /private\n"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A call, and what its result has to contain. A tool whose answer is a refusal is reached all the same.
struct Call {
    tool: &'static str,
    arguments: Value,
    expect: String,
    fails: bool,
}

fn call(tool: &'static str, arguments: Value, expect: &str) -> Call {
    Call {
        tool,
        arguments,
        expect: expect.to_owned(),
        fails: false,
    }
}

fn refused(tool: &'static str, arguments: Value, expect: &str) -> Call {
    Call {
        fails: true,
        ..call(tool, arguments, expect)
    }
}

/// Calls every tool of one server through everything.
async fn call_every_tool(name: &str, calls: impl FnOnce(&str, &str) -> Vec<Call>) {
    let test = format!("every tool of {name}");
    let Some(folder) = Folder::copy(&test) else { return };
    if !tools::redis(&test) {
        return;
    }
    let composition = folder.with(&[name]);
    let is_ours = composition.0["services"][name]["build"]["target"] == "gateway";
    if !is_ours && packages(&test).is_none() {
        return;
    }
    let server = Server::start(name, &composition).await;
    let places = BTreeMap::from([(name.to_owned(), server.address)]);
    let stack = Stack::start(&composition, &places).await;

    // The predecessor's checks left a process behind each time.
    for _ in 0..3 {
        assert!(server.is_healthy().await, "{name} is not healthy: {:?}", server.check);
    }
    assert_eq!(server.children(), 0, "the health check of {name} has left processes");

    let mut session = stack.connect(name).await;
    let offered: BTreeSet<String> = session.tools().await.into_iter().collect();
    let site = site().await;
    let calls = calls(&site, server.directory.path().to_str().unwrap());
    let called: BTreeSet<String> = calls.iter().map(|call| call.tool.to_owned()).collect();
    assert_eq!(offered, called, "not every tool of {name} is called");
    for Call {
        tool,
        arguments,
        expect,
        fails,
    } in calls
    {
        let (answer, failed) = session.call(tool, &arguments).await;
        assert!(
            answer.contains(&expect),
            "{name}: {tool} {arguments}: {expect:?} is not in {answer}"
        );
        assert_eq!(failed, fails, "{name}: {tool} {arguments}: {answer}");
    }
}

fn of_echo() -> Vec<Call> {
    vec![
        call("printHeader", json!({}), "HTTP Headers"),
        call("printHeader", json!({}), "x-user-name: ada"),
        call("bearerDecode", json!({"includeRaw": true}), "Bearer Token Analysis"),
        call("authContext", json!({}), "Authentication Context Analysis"),
        call("requestTiming", json!({}), "Request Timing"),
        call("corsAnalysis", json!({}), "CORS Analysis"),
        call("environmentDump", json!({"showSecrets": true}), "Environment"),
        call("healthProbe", json!({}), "Service Health Check"),
        call("whoIStheGOAT", json!({}), "Ada"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_of_echo_with_sessions_is_called_through_everything() {
    call_every_tool("echo-stateful", |_, _| {
        let mut calls = vec![
            call("echo", json!({"message": "hello"}), "] hello"),
            call("replayLastEcho", json!({}), "[REPLAY - Session "),
            call("sessionInfo", json!({}), "messages echoed: 1"),
        ];
        calls.extend(of_echo());
        calls
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_of_echo_without_sessions_is_called_through_everything() {
    call_every_tool("echo-stateless", |_, _| {
        let mut calls = of_echo();
        calls.push(call("echo", json!({"message": "hello"}), "hello"));
        calls
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_of_fetch_is_called_through_everything() {
    call_every_tool("fetch", |site, _| {
        vec![call(
            "fetch",
            json!({"url": format!("{site}/page")}),
            "to be read by machines",
        )]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_of_the_guarded_fetch_is_called_through_everything() {
    call_every_tool("fetchs", |site, _| {
        let at = |path: &str| format!("{site}{path}");
        vec![
            call("fetch", json!({"url": at("/page")}), "Title: A page"),
            call(
                "fetch",
                json!({"url": at("/page"), "max_length": 10}),
                "[cut after 10 characters]",
            ),
            call(
                "fetch",
                json!({"url": at("/post"), "method": "POST", "body": "x=1"}),
                "POST x=1",
            ),
            call("fetch", json!({"url": at("/picture")}), "iVBORw=="),
            refused("fetch", json!({"url": at("/private")}), "robots.txt"),
            refused("fetch", json!({"url": at("/moved")}), "has moved to http"),
            refused("fetch", json!({"url": at("/nothing")}), "404"),
            refused(
                "fetch",
                json!({"url": "https://169.254.169.254/latest/meta-data"}),
                "not public",
            ),
            refused("fetch", json!({"url": "https://10.0.0.1/"}), "not public"),
            refused("fetch", json!({"url": "https://[::ffff:192.168.0.1]/"}), "not public"),
            refused("fetch", json!({"url": "http://public.example/"}), "https"),
            refused("fetch", json!({"url": "file:///etc/passwd"}), "https"),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_of_filesystem_is_called_through_everything() {
    call_every_tool("filesystem", |_, directory| {
        let at = |path: &str| format!("{directory}/workspace{path}");
        vec![
            call("list_allowed_directories", json!({}), &at("")),
            call("create_directory", json!({"path": at("/folder")}), "Successfully"),
            call(
                "write_file",
                json!({"path": at("/folder/a.txt"), "content": "one\ntwo\n"}),
                "Successfully",
            ),
            call("read_file", json!({"path": at("/folder/a.txt")}), "two"),
            call("read_text_file", json!({"path": at("/folder/a.txt"), "head": 1}), "one"),
            call("read_media_file", json!({"path": at("/folder/a.txt")}), "b25lCnR3bwo="),
            call("read_multiple_files", json!({"paths": [at("/folder/a.txt")]}), "one"),
            call(
                "edit_file",
                json!({"path": at("/folder/a.txt"), "edits": [{"oldText": "two", "newText": "three"}]}),
                "+three",
            ),
            call("list_directory", json!({"path": at("/folder")}), "[FILE] a.txt"),
            call("list_directory_with_sizes", json!({"path": at("/folder")}), "a.txt"),
            call("directory_tree", json!({"path": at("")}), "a.txt"),
            call("search_files", json!({"path": at(""), "pattern": "**/a.txt"}), "a.txt"),
            call("get_file_info", json!({"path": at("/folder/a.txt")}), "size"),
            call(
                "move_file",
                json!({"source": at("/folder/a.txt"), "destination": at("/b.txt")}),
                "Successfully",
            ),
            refused(
                "read_file",
                json!({"path": "/etc/passwd"}),
                "outside allowed directories",
            ),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_of_memory_is_called_through_everything() {
    call_every_tool("memory", |_, _| {
        let entity = |name: &str| json!({"name": name, "entityType": "person", "observations": ["counts"]});
        let relation = json!([{"from": "Ada", "to": "Grace", "relationType": "knows"}]);
        vec![
            call(
                "create_entities",
                json!({"entities": [entity("Ada"), entity("Grace")]}),
                "Ada",
            ),
            call("create_relations", json!({"relations": relation}), "knows"),
            call(
                "add_observations",
                json!({"observations": [{"entityName": "Ada", "contents": ["writes"]}]}),
                "writes",
            ),
            call("read_graph", json!({}), "knows"),
            call("search_nodes", json!({"query": "writes"}), "Ada"),
            call("open_nodes", json!({"names": ["Grace"]}), "Grace"),
            call("delete_relations", json!({"relations": relation}), "deleted"),
            call(
                "delete_observations",
                json!({"deletions": [{"entityName": "Ada", "observations": ["writes"]}]}),
                "deleted",
            ),
            call("delete_entities", json!({"entityNames": ["Grace"]}), "deleted"),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_of_sequentialthinking_is_called_through_everything() {
    call_every_tool("sequentialthinking", |_, _| {
        let thought = json!({"thought": "one", "nextThoughtNeeded": false, "thoughtNumber": 1, "totalThoughts": 1});
        vec![call("sequentialthinking", thought, "thoughtHistoryLength")]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_of_time_is_called_through_everything() {
    call_every_tool("time", |_, _| {
        vec![
            call("get_current_time", json!({"timezone": "UTC"}), "UTC"),
            call(
                "convert_time",
                json!({"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}),
                "21:00",
            ),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_of_everything_is_called_through_everything() {
    call_every_tool("everything", |_, _| {
        vec![
            call("echo", json!({"message": "hello"}), "hello"),
            call("get-annotated-message", json!({"messageType": "error"}), "Error"),
            // The bridge's own variables are not the server's.
            call("get-env", json!({}), "PATH"),
            call("get-resource-links", json!({"count": 2}), "resource_link"),
            call(
                "get-resource-reference",
                json!({"resourceType": "Text", "resourceId": 1}),
                "resource",
            ),
            call("get-structured-content", json!({"location": "New York"}), "temperature"),
            call("get-sum", json!({"a": 1, "b": 2}), "3"),
            call("get-tiny-image", json!({}), "image/png"),
            call(
                "gzip-file-as-resource",
                json!({"name": "a.gz", "data": "data:text/plain,hello"}),
                "a.gz",
            ),
            call("toggle-simulated-logging", json!({}), "logging"),
            call("toggle-subscriber-updates", json!({}), "updates"),
            call(
                "trigger-long-running-operation",
                json!({"duration": 1, "steps": 2}),
                "completed",
            ),
            // It is only there as a task, which this client does not ask for.
            refused(
                "simulate-research-query",
                json!({"topic": "tests"}),
                "requires task augmentation",
            ),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_of_tmux_is_called_through_everything() {
    if tools::proxy("every tool of tmux", "tmux", "-V").is_none() {
        return;
    }
    call_every_tool("tmux", |_, _| {
        vec![
            call("tmux_create_session", json!({"name": "work"}), "work"),
            call("tmux_list_sessions", json!({}), "work"),
            call("tmux_create_window", json!({"session": "work", "name": "second"}), ""),
            call("tmux_list_windows", json!({"session": "work"}), "second"),
            call("tmux_split_window", json!({"target": "work"}), ""),
            call("tmux_list_panes", json!({"target": "work"}), ""),
            call("tmux_select_pane", json!({"target": "work"}), ""),
            call(
                "tmux_resize_pane",
                json!({"target": "work", "direction": "U", "amount": 1}),
                "",
            ),
            call("tmux_send_keys", json!({"target": "work", "keys": "echo hello"}), ""),
            call("tmux_read_pane", json!({"target": "work"}), "hello"),
            call("tmux_read_cc_pane", json!({"target": "work", "timeout": 1}), ""),
            call(
                "tmux_rename_window",
                json!({"target": "work:second", "new_name": "third"}),
                "",
            ),
            call("tmux_select_window", json!({"target": "work:third"}), ""),
            call(
                "tmux_rename_session",
                json!({"old_name": "work", "new_name": "play"}),
                "",
            ),
            call("tmux_kill", json!({"target": "play", "type": "session"}), ""),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_of_playwright_is_called_through_everything() {
    if tools::chromium("every tool of playwright").is_none() {
        return;
    }
    call_every_tool("playwright", |site, directory| {
        let element = |target: &str| json!({"element": target, "target": target});
        let file = format!("{directory}/upload.txt");
        std::fs::write(&file, "uploaded").unwrap();
        vec![
            call("browser_navigate", json!({"url": format!("{site}/page")}), "A page"),
            call("browser_snapshot", json!({}), "to be read by machines"),
            call("browser_find", json!({"text": "machines"}), "machines"),
            call("browser_click", element("#press"), ""),
            call("browser_hover", element("#press"), ""),
            call(
                "browser_type",
                json!({"element": "field", "target": "#field", "text": "typed"}),
                "",
            ),
            call(
                "browser_fill_form",
                json!({"fields": [
                    {"element": "field", "name": "field", "type": "textbox", "target": "#field", "value": "filled"}
                ]}),
                "",
            ),
            call("browser_press_key", json!({"key": "Tab"}), ""),
            call(
                "browser_select_option",
                json!({"element": "choice", "target": "#choice", "values": ["two"]}),
                "two",
            ),
            call(
                "browser_drag",
                json!({"startElement": "from", "startTarget": "#drop", "endElement": "to", "endTarget": "#press"}),
                "",
            ),
            call(
                "browser_drop",
                json!({"element": "press", "target": "#press", "data": {"text/plain": "dropped"}}),
                "",
            ),
            call("browser_click", element("#file"), "chooser"),
            call("browser_file_upload", json!({ "paths": [file] }), ""),
            call("browser_click", element("#ask"), "asked"),
            call("browser_handle_dialog", json!({ "accept": true }), ""),
            call(
                "browser_evaluate",
                json!({"function": "() => document.querySelector('#field').value"}),
                "filled",
            ),
            call(
                "browser_run_code_unsafe",
                json!({"code": "async page => await page.title()"}),
                "pressed",
            ),
            call("browser_resize", json!({"width": 640, "height": 480}), ""),
            call("browser_emulate_media", json!({"colorScheme": "dark"}), ""),
            call("browser_take_screenshot", json!({"scale": "css"}), "image/"),
            call("browser_console_messages", json!({"level": "info"}), ""),
            call("browser_network_requests", json!({"static": true}), "/page"),
            call("browser_network_request", json!({"index": 1}), "/page"),
            call("browser_tabs", json!({"action": "list"}), "pressed"),
            call("browser_wait_for", json!({"text": "machines"}), ""),
            call("browser_navigate", json!({"url": format!("{site}/next")}), "Next"),
            call("browser_navigate_back", json!({}), "A page"),
            call("browser_close", json!({}), ""),
        ]
    })
    .await;
}
