//! A stdio server that does what the tests tell it.
//!
//! It answers `initialize`, and `tools/call` by the tool's name. What it has received it gives back as text, so that
//! tests see the bytes that reached it.

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
}

impl Server {
    fn take(&mut self, mode: Option<&str>, line: &str, message: &Value) {
        let Some(id) = message.get("id").filter(|_| message.get("method").is_some()) else {
            self.seen.push(line.to_owned());
            return;
        };
        match message["method"].as_str().unwrap_or_default() {
            "initialize" => match mode {
                Some("silent") => {}
                Some("refuse") => print(&json!({
                    "jsonrpc": "2.0", "id": id, "error": { "code": -32602, "message": "not this version" }
                })),
                Some("exit-at-initialize") => exit(4),
                _ => answer(
                    id,
                    &json!({
                        "protocolVersion": "2025-06-18",
                        "capabilities": { "tools": {} },
                        "serverInfo": { "name": "scripted", "version": "1" },
                        "line": line,
                    }),
                ),
            },
            "tools/call" => {
                let params = &message["params"];
                let name = params["name"].as_str().unwrap_or_default();
                self.call(name, &params["arguments"], line, id, &params["_meta"]["progressToken"]);
            }
            _ => answer(id, &json!({ "line": line })),
        }
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
            _ => print(&json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32602, "message": "no such tool" } })),
        }
    }
}

fn answer(id: &Value, result: &Value) {
    print(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
}

fn print(message: &Value) {
    raw(&message.to_string());
}

fn raw(lines: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(format!("{lines}\n").as_bytes());
    let _ = stdout.flush();
}
