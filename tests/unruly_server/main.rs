//! A stdio MCP server that behaves as badly as it is told: it crashes, floods, ignores signals, leaves processes behind.
//!
//! `--era 2025-11-25` or `--era 2026-07-28`; with `--stubborn` it heeds neither the end of stdin nor SIGTERM. The rest
//! is its tools'. It answers in the order of the requests, but for those that wait: a call that waits as `NAME` leaves
//! `NAME.waiting` in the folder behind `--folder`, goes on when there is a `NAME.released`, and leaves
//! `NAME.cancelled` where it was cancelled. Tests see so what happens on whichever process.

#![allow(clippy::unwrap_used, reason = "a server under test may end where it has a mistake")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio, exit};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    // What the tool `grandchild` leaves behind: stays until it is killed.
    if has("--stay") {
        stay();
    }
    let folder = arguments.iter().skip_while(|argument| *argument != "--folder").nth(1);
    let server = Server {
        modern: has("2026-07-28"),
        stubborn: has("--stubborn"),
        folder: folder.map(PathBuf::from).unwrap_or_default(),
        waiting: Arc::default(),
    };
    if server.stubborn {
        ignore_sigterm();
    }
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let message: Value = serde_json::from_str(&line).unwrap();
        server.take(&message);
    }
    if server.stubborn {
        stay();
    }
    ExitCode::SUCCESS
}

struct Server {
    modern: bool,
    stubborn: bool,
    folder: PathBuf,
    /// The calls that wait: their ids, by their names.
    waiting: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Server {
    fn take(&self, message: &Value) {
        let params = &message["params"];
        let method = message["method"].as_str().unwrap_or_default();
        let Some(id) = message.get("id").filter(|_| !method.is_empty()) else {
            if method == "notifications/cancelled" {
                let mut waiting = self.waiting.lock().unwrap();
                let name = waiting
                    .iter()
                    .find(|(_, id)| **id == params["requestId"])
                    .map(|(name, _)| name.clone());
                let name = name.unwrap_or_else(|| "unknown".to_owned());
                waiting.remove(&name);
                touch(&self.folder, &name, "cancelled");
            }
            return;
        };
        let info = json!({ "name": "unruly-server", "version": "1" });
        match method {
            "initialize" if self.modern => refuse(id, -32022, &json!({ "supported": ["2026-07-28"] })),
            "initialize" => self.answer(
                id,
                json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": info }),
            ),
            "server/discover" if self.modern => self.answer(
                id,
                json!({
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": { "tools": {} },
                    "ttlMs": 0,
                    "cacheScope": "private",
                    "_meta": { "io.modelcontextprotocol/serverInfo": info },
                }),
            ),
            "tools/list" => {
                let tool = json!({ "name": "echo", "inputSchema": { "type": "object" } });
                self.answer(id, json!({ "tools": [tool], "ttlMs": 0, "cacheScope": "private" }));
            }
            "tools/call" => self.call(id, params),
            _ => refuse(id, -32601, &Value::Null),
        }
    }

    fn call(&self, id: &Value, params: &Value) {
        let arguments = &params["arguments"];
        let number = |name: &str| usize::try_from(arguments[name].as_u64().unwrap_or_default()).unwrap();
        let name = arguments["as"].as_str().unwrap_or_default().to_owned();
        match params["name"].as_str().unwrap_or_default() {
            "echo" => self.say(id, arguments["text"].as_str().unwrap_or_default()),
            "process" => self.say(id, &std::process::id().to_string()),
            "wait" => self.wait(id, name),
            "progress" => {
                let padding = "x".repeat(number("bytes"));
                for step in 1..=number("steps") {
                    let token = &params["_meta"]["progressToken"];
                    let params = json!({ "progressToken": token, "progress": step, "message": padding });
                    print(&json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }));
                }
                if name.is_empty() {
                    self.say(id, "done");
                } else {
                    self.wait(id, name);
                }
            }
            "crash" => exit(3),
            "big" => self.say(id, &"x".repeat(number("bytes"))),
            "stderr" => {
                let mut stderr = std::io::stderr().lock();
                for _ in 0..number("bytes") / 20 {
                    let _ = writeln!(stderr, "a line of complaint");
                }
                self.say(id, "complained");
            }
            "noise" => {
                let mut stdout = std::io::stdout().lock();
                let _ = stdout.write_all(b"\n  \nStarting up...\n{\"not\":\n\xff\xfe\n[]\n42\n\"text\"\n{}\n");
                drop(stdout);
                self.say(id, "after the noise");
            }
            "grandchild" => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.arg("--stay").stdin(Stdio::null());
                #[allow(clippy::zombie_processes, reason = "to be left behind is what it is there for")]
                let grandchild = command.spawn().unwrap();
                self.say(id, &grandchild.id().to_string());
            }
            _ => refuse(id, -32602, &Value::Null),
        }
    }

    /// Answers a call when it is released, unless it is cancelled before.
    fn wait(&self, id: &Value, name: String) {
        self.waiting.lock().unwrap().insert(name.clone(), id.clone());
        touch(&self.folder, &name, "waiting");
        let (waiting, folder, modern) = (Arc::clone(&self.waiting), self.folder.clone(), self.modern);
        std::thread::spawn(move || {
            let released = folder.join(format!("{name}.released"));
            while !released.exists() {
                if !waiting.lock().unwrap().contains_key(&name) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            if let Some(id) = waiting.lock().unwrap().remove(&name) {
                say(&id, &name, modern);
            }
        });
    }

    fn say(&self, id: &Value, text: &str) {
        say(id, text, self.modern);
    }

    fn answer(&self, id: &Value, result: Value) {
        answer(id, result, self.modern);
    }
}

/// Leaves word for the tests.
fn touch(folder: &Path, name: &str, what: &str) {
    std::fs::write(folder.join(format!("{name}.{what}")), "").unwrap();
}

fn say(id: &Value, text: &str, modern: bool) {
    answer(id, json!({ "content": [{ "type": "text", "text": text }] }), modern);
}

fn answer(id: &Value, mut result: Value, modern: bool) {
    if modern {
        result["resultType"] = json!("complete");
    }
    print(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
}

fn refuse(id: &Value, code: i64, data: &Value) {
    let error = json!({ "code": code, "message": "refused", "data": data });
    print(&json!({ "jsonrpc": "2.0", "id": id, "error": error }));
}

fn print(message: &Value) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{message}").and_then(|()| stdout.flush());
}

fn stay() -> ! {
    ignore_sigterm();
    loop {
        std::thread::park();
    }
}

/// From here on the signal is held back from this process, for good.
#[cfg(unix)]
fn ignore_sigterm() {
    use nix::sys::signal::{SigSet, Signal};

    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block().unwrap();
}

#[cfg(not(unix))]
fn ignore_sigterm() {}
