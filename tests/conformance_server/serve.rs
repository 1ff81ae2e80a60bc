//! Reads requests until stdin ends, and answers each.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::client::Failure;
use crate::pipe::Pipe;

/// How an era deals with what comes.
pub(crate) trait Era: Sync {
    fn pipe(&self) -> &Pipe;

    /// The result for a request; `None` where it is answered later, by something else.
    fn request(&self, request: &Request) -> Option<Result<Value, Failure>>;

    fn notification(&self, method: &str, params: &Value);
}

/// A request of the client.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: Value,
    pub(crate) method: String,
    pub(crate) params: Value,
    cancelled: Arc<AtomicBool>,
}

impl Request {
    /// The id as a key of maps.
    pub(crate) fn key(&self) -> String {
        self.id.to_string()
    }

    pub(crate) fn meta(&self) -> &Value {
        &self.params["_meta"]
    }

    pub(crate) fn name(&self) -> &str {
        self.params["name"].as_str().unwrap_or_default()
    }

    /// What runs code that takes its time.
    fn takes_time(&self) -> bool {
        matches!(&*self.method, "tools/call" | "prompts/get" | "resources/read")
    }

    fn answer(&self, answer: Option<Result<Value, Failure>>) {
        let Some(answer) = answer else { return };
        let mut message = json!({ "jsonrpc": "2.0", "id": self.id });
        match answer {
            Ok(result) | Err(Failure::InputRequired(result)) => message["result"] = result,
            Err(Failure::Error {
                code,
                message: text,
                data,
            }) => {
                message["error"] = json!({ "code": code, "message": text });
                if !data.is_null() {
                    message["error"]["data"] = data;
                }
            }
            Err(Failure::Refused(text)) => message["error"] = json!({ "code": -32603, "message": text }),
            Err(Failure::Cancelled) => return,
        }
        if !self.cancelled.load(Ordering::SeqCst) {
            Pipe::write(&[message]);
        }
    }
}

pub(crate) fn serve(era: &dyn Era) {
    let running: Mutex<BTreeMap<String, Arc<AtomicBool>>> = Mutex::default();
    std::thread::scope(|scope| {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            let Ok(mut message) = serde_json::from_str::<Value>(&line) else {
                let error = json!({ "code": -32700, "message": "Parse error" });
                Pipe::write(&[json!({ "jsonrpc": "2.0", "id": null, "error": error })]);
                continue;
            };
            let params = message["params"].take();
            let Some(method) = message["method"].as_str().map(str::to_owned) else {
                era.pipe().answered(message);
                continue;
            };
            let Some(id) = message.get("id").cloned() else {
                if method == "notifications/cancelled" {
                    let call = params["requestId"].to_string();
                    if let Some(cancelled) = running.lock().unwrap().get(&call) {
                        cancelled.store(true, Ordering::SeqCst);
                    }
                    era.pipe().give_up(Some(&call));
                }
                era.notification(&method, &params);
                continue;
            };
            let request = Request {
                id,
                method,
                params,
                cancelled: Arc::default(),
            };
            if request.takes_time() {
                running
                    .lock()
                    .unwrap()
                    .insert(request.key(), Arc::clone(&request.cancelled));
                let running = &running;
                scope.spawn(move || {
                    request.answer(era.request(&request));
                    running.lock().unwrap().remove(&request.key());
                });
            } else {
                request.answer(era.request(&request));
            }
        }
        era.pipe().give_up(None);
    });
}
