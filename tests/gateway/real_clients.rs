//! Official MCP clients, each starting from nothing but an MCP URL: discovery, registration, authorization, token,
//! initialize, list tools, call a tool, refresh, call again. In front of them an embedded server, the example's own
//! stdio server, and stdio servers that nobody here wrote.

use mcp_oauth_tests::gateway::Gateway;
use mcp_oauth_tests::tools;
use tokio::process::Command;

/// The tool to call, and what its answer has to contain.
struct Call {
    tool: &'static str,
    arguments: &'static str,
    expect: &'static str,
}

const ECHO: Call = Call {
    tool: "echo",
    arguments: r#"{"message":"hello"}"#,
    expect: "hello",
};
const NOTES: Call = Call {
    tool: "add_note",
    arguments: r#"{"text":"hello"}"#,
    expect: "was added",
};
const TIME: Call = Call {
    tool: "get_current_time",
    arguments: r#"{"timezone":"UTC"}"#,
    expect: "UTC",
};

fn with(mut command: Command, url: &str, call: &Call) -> Command {
    command.arg(url).args([
        "--tool",
        call.tool,
        "--arguments",
        call.arguments,
        "--expect",
        call.expect,
    ]);
    command
}

fn python_client(python: &std::path::Path) -> Command {
    let mut command = Command::new(python);
    command.arg(tools::clients().join("python").join("sign_in.py"));
    command
}

fn typescript_client(folder: &std::path::Path) -> Command {
    let mut command = Command::new("node");
    command.arg(folder.join("sign_in.mjs"));
    command
}

#[tokio::test]
async fn the_python_sdk_signs_in_and_calls_tools() {
    let Some(python) = tools::python("the Python SDK signs in") else {
        return;
    };
    let gateway = Gateway::start("").await;
    for (path, call) in [("/echo/mcp", &ECHO), ("/notes/mcp", &NOTES)] {
        let url = format!("{}{path}", gateway.url);
        for method in ["none", "client_secret_basic", "client_secret_post"] {
            tools::run(with(python_client(&python), &url, call).args(["--auth-method", method])).await;
        }
    }
}

#[tokio::test]
async fn the_typescript_sdk_signs_in_and_calls_tools() {
    let Some(folder) = tools::node("the TypeScript SDK signs in", "typescript") else {
        return;
    };
    let gateway = Gateway::start("").await;
    for (path, call) in [("/echo/mcp", &ECHO), ("/notes/mcp", &NOTES)] {
        let url = format!("{}{path}", gateway.url);
        for method in ["none", "client_secret_basic", "client_secret_post"] {
            tools::run(with(typescript_client(&folder), &url, call).args(["--auth-method", method])).await;
        }
    }
}

#[tokio::test]
async fn denying_is_told_to_both_sdks() {
    let gateway = Gateway::start("").await;
    let url = format!("{}/echo/mcp", gateway.url);
    if let Some(python) = tools::python("the Python SDK is denied") {
        tools::run(with(python_client(&python), &url, &ECHO).arg("--deny")).await;
    }
    if let Some(folder) = tools::node("the TypeScript SDK is denied", "typescript") {
        tools::run(with(typescript_client(&folder), &url, &ECHO).arg("--deny")).await;
    }
}

#[tokio::test]
async fn the_embedded_server_serves_clients_of_2026_07_28_too() {
    let Some(folder) = tools::node("a modern client signs in", "typescript") else {
        return;
    };
    let gateway = Gateway::start("").await;
    let url = format!("{}/echo/mcp", gateway.url);
    tools::run(with(typescript_client(&folder), &url, &ECHO).args(["--protocol", "auto"])).await;
}

#[tokio::test]
async fn a_stdio_server_from_npm_is_reached_through_the_bridge() {
    let test = "server-everything behind the bridge";
    let (Some(folder), Some(python)) = (tools::node(test, "typescript"), tools::python(test)) else {
        return;
    };
    let program = folder.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let command = serde_json::json!(["node", program]);
    let gateway = Gateway::start(&format!("[servers.everything]\ncommand = {command}")).await;
    let url = format!("{}/everything/mcp", gateway.url);
    tools::run(&mut with(python_client(&python), &url, &ECHO)).await;
    tools::run(&mut with(typescript_client(&folder), &url, &ECHO)).await;
}

#[tokio::test]
async fn a_stdio_server_from_pypi_is_reached_through_the_bridge() {
    let test = "mcp-server-time behind the bridge";
    let (Some(folder), Some(python)) = (tools::node(test, "typescript"), tools::python(test)) else {
        return;
    };
    let command = serde_json::json!([python, "-m", "mcp_server_time", "--local-timezone", "UTC"]);
    let gateway = Gateway::start(&format!("[servers.time]\nname = \"Time\"\ncommand = {command}")).await;
    let url = format!("{}/time/mcp", gateway.url);
    tools::run(&mut with(python_client(&python), &url, &TIME)).await;
    tools::run(&mut with(typescript_client(&folder), &url, &TIME)).await;
}
