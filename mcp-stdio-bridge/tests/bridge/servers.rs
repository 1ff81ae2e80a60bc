//! Many servers from one file.

use axum::Router;
use http::{Method, Request, StatusCode};
use mcp_stdio_bridge::{Bridge, Servers, ServersError};
use serde_json::{Value, json};

use crate::support::{Client, INITIALIZE, call, program, request};

struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &Value) -> Self {
        let path = std::env::temp_dir().join(format!("mcp-stdio-bridge-{name}-{}.json", std::process::id()));
        std::fs::write(&path, text.to_string()).unwrap();
        Self(path)
    }

    fn write(&self, text: &Value) {
        std::fs::write(&self.0, text.to_string()).unwrap();
    }

    fn open(&self) -> Servers {
        Servers::open(&self.0, |_, command| Bridge::builder(command)).unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn client(router: Router) -> Client {
    Client { router, session: None }
}

async fn status(servers: &Servers, path: &str) -> (StatusCode, Value) {
    let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
    let answer = client(servers.router()).send(request).await;
    let status = answer.status;
    (status, serde_json::from_str(&answer.text().await).unwrap_or_default())
}

/// Opens a session at a path and calls a tool in it.
async fn result(servers: &Servers, path: &str, tool: &str) -> (Client, Value) {
    let mut client = client(servers.router());
    let opened = client.send(request(Method::POST, path, INITIALIZE)).await;
    assert_eq!(opened.status, StatusCode::OK, "{path}");
    client.session = Some(opened.headers["mcp-session-id"].to_str().unwrap().to_owned());
    let text = call("1", tool, &json!({}));
    let answer = client.send(request(Method::POST, path, text)).await.json().await;
    (client, answer["result"].clone())
}

#[tokio::test]
async fn each_server_of_the_file_is_at_its_own_path() {
    let file = File::new(
        "paths",
        &json!({ "mcpServers": {
            "one": { "command": program(), "args": ["first", "${NOT_SET_ANYWHERE:-default}", "$HOME"],
                     "env": { "NUMBER": 7, "PATH_TOO": "${PATH}" } },
            "two": { "command": program(), "args": ["second"], "type": "stdio" },
            "gone": { "command": "x", "disabled": true },
            "elsewhere": { "url": "https://example.com/mcp" },
        } }),
    );
    let servers = file.open();
    assert_eq!(servers.names(), ["one", "two"]);
    let (_, arguments) = result(&servers, "/one/mcp", "arguments").await;
    assert_eq!(arguments["arguments"], json!(["first", "default", "$HOME"]));
    let (_, environment) = result(&servers, "/one/mcp/", "environment").await;
    assert_eq!(environment["environment"]["NUMBER"], "7");
    assert_eq!(
        environment["environment"]["PATH_TOO"],
        environment["environment"]["PATH"]
    );
    let (_, arguments) = result(&servers, "/two/mcp", "arguments").await;
    assert_eq!(arguments["arguments"], json!(["second"]));
    for path in ["/three/mcp", "/one", "/one/other", "/"] {
        let answer = client(servers.router())
            .send(request(Method::POST, path, INITIALIZE))
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    servers.shutdown().await;
}

#[tokio::test]
async fn one_that_is_wrong_does_not_keep_the_others() {
    let file = File::new(
        "wrong",
        &json!({ "servers": {
            "good": { "command": program() },
            "unset": { "command": "x", "args": ["${NOT_SET_ANYWHERE}"] },
            "input": { "command": "x", "env": { "KEY": "${input:key}" } },
            "a/b": { "command": "x" },
            "none": { "args": [] },
        } }),
    );
    let servers = file.open();
    result(&servers, "/good/mcp", "seen").await;
    for path in ["/unset/mcp", "/input/mcp", "/none/mcp"] {
        let answer = client(servers.router())
            .send(request(Method::POST, path, INITIALIZE))
            .await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    let (code, ready) = status(&servers, "/ready").await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        (&ready["servers"]["good"], &ready["servers"]["unset"]),
        (&json!("ready"), &json!("misconfigured"))
    );
    assert_eq!(status(&servers, "/health").await.0, StatusCode::OK);
    assert_eq!(status(&servers, "/good/ready").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_change_of_the_file_changes_what_has_changed_in_it() {
    let entry = |argument: &str| json!({ "command": program(), "args": [argument] });
    let file = File::new(
        "reload",
        &json!({ "mcpServers": { "kept": entry("1"), "changed": entry("1"), "gone": entry("1") } }),
    );
    let servers = file.open();
    let (kept, process) = result(&servers, "/kept/mcp", "process").await;
    let (changed, _) = result(&servers, "/changed/mcp", "seen").await;
    file.write(&json!({ "mcpServers": { "kept": entry("1"), "changed": entry("2"), "new": entry("1") } }));
    servers.reload().unwrap();
    assert_eq!(servers.names(), ["changed", "kept", "new"]);
    let text = call("1", "process", &json!({}));
    let again = kept
        .send(request(Method::POST, "/kept/mcp", text.clone()))
        .await
        .json()
        .await;
    assert_eq!(again["result"], process);
    assert_eq!(
        changed.send(request(Method::POST, "/changed/mcp", text)).await.status,
        StatusCode::NOT_FOUND
    );
    let (_, arguments) = result(&servers, "/changed/mcp", "arguments").await;
    assert_eq!(arguments["arguments"], json!(["2"]));
    // What is no file of servers changes nothing.
    file.write(&json!({ "x": 1 }));
    assert!(matches!(servers.reload(), Err(ServersError::Nothing(_))));
    assert_eq!(servers.names().len(), 3);
    servers.shutdown().await;
}

#[tokio::test]
async fn the_oldest_clients_are_told_where_to_post_as_they_see_it() {
    let file = File::new("nested", &json!({ "mcpServers": { "echo": { "command": program() } } }));
    let servers = Servers::open(&file.0, |_, command| Bridge::builder(command).http_sse(true)).unwrap();
    let nested = client(Router::new().nest("/tools", servers.router()));
    let mut stream = nested.send(request(Method::GET, "/tools/echo/sse", "")).await;
    let endpoint = stream.event().await.unwrap();
    assert!(endpoint.starts_with("/tools/echo/message?sessionId="), "{endpoint}");
    let posted = nested.send(request(Method::POST, &endpoint, INITIALIZE)).await;
    assert_eq!(posted.status, StatusCode::ACCEPTED);
    let elsewhere = nested.send(request(Method::PUT, "/tools/echo/health", "")).await;
    assert_eq!(elsewhere.status, StatusCode::METHOD_NOT_ALLOWED);
    servers.shutdown().await;
}
