//! A stdio server that does what the tests tell it.
//!
//! It answers `initialize`, and `tools/call` by the tool's name; with `modern` as its first argument it speaks MCP
//! 2026-07-28 and nothing else. What it has received it gives back as text, so that tests see the bytes that reached it.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::process::{Command, Stdio, exit};

use serde_json::{Value, json};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mode = arguments.first().map(String::as_str);
    match mode {
        Some("exit-at-start") => {
            eprintln!("the settings are missing");
            exit(3);
        }
        Some("slow-start") => std::thread::sleep(std::time::Duration::from_millis(700)),
        // As a grandchild: stays until it is killed.
        Some("stay") => stay(),
        _ => {}
    }
    let mut server = Server {
        arguments: arguments.clone(),
        ..Server::default()
    };
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let Ok(message) = serde_json::from_str::<Value>(&line) else {
            eprintln!("no message");
            continue;
        };
        server.take(mode, &line, &message);
    }
    if mode == Some("ignore-eof") {
        stay();
    }
}

fn stay() -> ! {
    loop {
        std::thread::park();
    }
}

#[derive(Default)]
struct Server {
    arguments: Vec<String>,
    /// Requests whose answers the tests ask for later, by a name of the tests'.
    held: BTreeMap<String, Value>,
    /// What came that was no request.
    seen: Vec<String>,
    /// The ids of the subscriptions.
    listening: Vec<Value>,
    /// Calls that wait for the client's answer, by the id of the question.
    asking: BTreeMap<String, Value>,
}

impl Server {
    fn take(&mut self, mode: Option<&str>, line: &str, message: &Value) {
        let Some(id) = message.get("id").filter(|_| message.get("method").is_some()) else {
            if let Some(call) = self.asking.remove(&message["id"].to_string()) {
                answer(
                    &call,
                    &json!({ "told": message.get("result"), "failed": message.get("error") }),
                );
            }
            self.seen.push(line.to_owned());
            return;
        };
        if matches!(mode, Some("modern" | "slow-start")) && self.take_modern(line, message, id) {
            return;
        }
        match message["method"].as_str().unwrap_or_default() {
            "server/discover" => fail(id, -32601, "no such method"),
            "initialize" => match mode {
                Some("silent") => {}
                Some("refuse") => print(&json!({
                    "jsonrpc": "2.0", "id": id, "error": { "code": -32602, "message": "not this version" }
                })),
                Some("exit-at-initialize") => exit(4),
                _ => answer(
                    id,
                    &json!({
                        "protocolVersion": message["params"]["protocolVersion"],
                        "capabilities": {
                            "tools": { "listChanged": true }, "logging": {}, "resources": { "subscribe": true }
                        },
                        "serverInfo": { "name": "scripted", "version": "1" },
                        "line": line,
                    }),
                ),
            },
            "tools/list" => answer(
                id,
                &json!({ "tools": [{ "name": "marked", "inputSchema": {
                    "type": "object", "properties": { "region": { "type": "string", "x-mcp-header": "Region" } }
                } }] }),
            ),
            "resources/read" => print(&json!({
                "jsonrpc": "2.0", "id": id,
                "error": { "code": -32002, "message": "no such resource", "data": { "uri": message["params"]["uri"] } }
            })),
            "tools/call" => {
                let params = &message["params"];
                let name = params["name"].as_str().unwrap_or_default();
                self.call(name, &params["arguments"], line, id, &params["_meta"]["progressToken"]);
            }
            _ => answer(id, &json!({ "line": line })),
        }
    }

    /// What is different in the modern era; `false` for what is not.
    fn take_modern(&mut self, line: &str, message: &Value, id: &Value) -> bool {
        const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
        let params = &message["params"];
        if params["_meta"][VERSION] != "2026-07-28" {
            print(&json!({ "jsonrpc": "2.0", "id": id, "error": {
                "code": -32022, "message": "this server speaks 2026-07-28", "data": { "supported": ["2026-07-28"] }
            } }));
            return true;
        }
        match message["method"].as_str().unwrap_or_default() {
            "server/discover" => answer(
                id,
                &json!({
                    "resultType": "complete", "supportedVersions": ["2026-07-28"], "ttlMs": 0, "cacheScope": "private",
                    "capabilities": { "tools": { "listChanged": true }, "resources": { "subscribe": true } },
                    "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "scripted", "version": "2" } },
                }),
            ),
            "subscriptions/listen" => {
                self.listening.push(id.clone());
                print(&json!({
                    "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {
                        "_meta": { "io.modelcontextprotocol/subscriptionId": id },
                        "notifications": params["notifications"],
                    }
                }));
            }
            "tools/call" if params["name"] == "ask" => {
                if params["inputResponses"].is_object() {
                    let told = &params["inputResponses"]["who"];
                    answer(id, &json!({ "told": told, "state": params["requestState"] }));
                } else {
                    answer(
                        id,
                        &json!({
                            "resultType": "input_required", "requestState": "of the server",
                            "inputRequests": { "who": { "method": "elicitation/create", "params": { "message": "?" } } },
                        }),
                    );
                }
            }
            "tools/list" | "tools/call" | "resources/read" => return false,
            "hold" => answer(id, &json!({ "line": line })),
            _ => fail(id, -32601, "no such method"),
        }
        true
    }

    fn call(&mut self, name: &str, arguments: &Value, line: &str, id: &Value, token: &Value) {
        let number = |name: &str| usize::try_from(arguments[name].as_u64().unwrap_or_default()).unwrap_or_default();
        match name {
            "line" => answer(id, &json!({ "line": line })),
            "seen" => answer(id, &json!({ "seen": self.seen })),
            "arguments" => answer(id, &json!({ "arguments": self.arguments })),
            "environment" => {
                let names: BTreeMap<String, String> = std::env::vars().collect();
                answer(id, &json!({ "environment": names }));
            }
            "directory" => answer(id, &json!({ "directory": std::env::current_dir().ok() })),
            "process" => answer(id, &json!({ "process": std::process::id() })),
            // Answered with what the client answers.
            "ask" => {
                let question = json!(format!("question {id}"));
                self.asking.insert(question.to_string(), id.clone());
                let method = arguments["method"].as_str().unwrap_or("elicitation/create");
                print(&json!({ "jsonrpc": "2.0", "id": question, "method": method, "params": { "message": "?" } }));
            }
            // Something has changed; the answer comes first, so that no call is there to hear of it.
            "change" => {
                answer(id, &json!({}));
                let method = "notifications/tools/list_changed";
                if self.listening.is_empty() {
                    print(&json!({ "jsonrpc": "2.0", "method": method }));
                }
                for subscription in &self.listening {
                    let about = json!({ "io.modelcontextprotocol/subscriptionId": subscription });
                    print(&json!({ "jsonrpc": "2.0", "method": method, "params": { "_meta": about } }));
                }
            }
            "update" => {
                answer(id, &json!({}));
                let params = json!({ "uri": arguments["uri"] });
                print(&json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params }));
            }
            "log" => {
                let params = json!({ "level": arguments["level"], "data": "d" });
                print(&json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": params }));
                answer(id, &json!({}));
            }
            "marked" => answer(id, &json!({ "region": arguments["region"] })),
            // Held until `release` names it.
            "hold" => {
                self.held
                    .insert(arguments["as"].as_str().unwrap_or_default().to_owned(), id.clone());
            }
            "release" => {
                let key = arguments["as"].as_str().unwrap_or_default();
                if let Some(held) = self.held.remove(key) {
                    answer(&held, &json!({ "released": key }));
                }
                answer(id, &json!({}));
            }
            // Lines of the tests' making; the id and token of this request are put in.
            "write" => {
                let lines = arguments["lines"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str);
                let lines: Vec<_> = lines
                    .map(|line| {
                        line.replace("$ID", &id.to_string())
                            .replace("$TOKEN", &token.to_string())
                    })
                    .collect();
                // All at once: the tests count on nothing coming in between.
                raw(&lines.join("\n"));
            }
            "big" => answer(id, &json!({ "text": "x".repeat(number("bytes")) })),
            "stderr" => {
                // One long line, then many short ones.
                let _ = writeln!(std::io::stderr(), "{}", "e".repeat(number("bytes") / 2));
                let mut stderr = std::io::stderr().lock();
                for _ in 0..number("bytes") / 20 {
                    let _ = writeln!(stderr, "complaint");
                }
                answer(id, &json!({}));
            }
            "grandchild" => {
                let program = std::env::current_exe().unwrap_or_default();
                let grandchild = Command::new(program)
                    .arg("stay")
                    .stdin(Stdio::null())
                    .stdout(Stdio::inherit())
                    .spawn();
                answer(
                    id,
                    &json!({ "process": grandchild.map(|child| child.id()).unwrap_or_default() }),
                );
            }
            "crash" => exit(i32::try_from(number("code")).unwrap_or(1)),
            _ => fail(id, -32602, "no such tool"),
        }
    }
}

fn answer(id: &Value, result: &Value) {
    print(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
}

fn fail(id: &Value, code: i32, message: &str) {
    print(&json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }));
}

fn print(message: &Value) {
    raw(&message.to_string());
}

fn raw(lines: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(format!("{lines}\n").as_bytes());
    let _ = stdout.flush();
}
