//! The era of the handshake: 2024-11-05 to 2025-11-25.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use serde_json::{Value, json};

use crate::client::{Change, Client, Failure, Keep, Kind, Question};
use crate::offer::{Offer, capabilities, complete, server_info};
use crate::pipe::Pipe;
use crate::serve::{Era, Request};
use crate::{prompts, resources, tools};

/// The newest is last.
const VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

#[derive(Debug, Default)]
pub(crate) struct Legacy {
    pipe: Pipe,
    offer: Offer,
    /// The client's capabilities, from its `initialize`.
    client: OnceLock<Value>,
    watched: Mutex<BTreeSet<String>>,
    /// The lowest of the levels that the client wants to see: all, until it says otherwise.
    level: AtomicUsize,
}

impl Era for Legacy {
    fn pipe(&self) -> &Pipe {
        &self.pipe
    }

    fn request(&self, request: &Request) -> Option<Result<Value, Failure>> {
        Some(self.result(request))
    }

    fn notification(&self, _method: &str, _params: &Value) {}
}

impl Legacy {
    fn result(&self, request: &Request) -> Result<Value, Failure> {
        let params = &request.params;
        match &*request.method {
            "initialize" => return self.initialize(params),
            "ping" => return Ok(json!({})),
            // What a server of this era says to a method that it has never heard of.
            method if self.client.get().is_none() => return Err(Failure::unknown_method(method)),
            _ => {}
        }
        let client = LegacyClient { server: self, request };
        match &*request.method {
            "completion/complete" => Ok(complete(params)),
            "logging/setLevel" => {
                let level = LEVELS.iter().position(|level| params["level"] == **level);
                let level = level.ok_or_else(|| Failure::invalid("There is no such level"))?;
                self.level.store(level, Ordering::SeqCst);
                Ok(json!({}))
            }
            "prompts/get" => prompts::get(request.name(), &params["arguments"], &self.offer, &client),
            "prompts/list" => Ok(prompts::list(&self.offer)),
            "resources/list" => Ok(resources::list()),
            "resources/read" => {
                let uri = uri(params)?;
                resources::read(uri).ok_or_else(|| Failure::error(-32002, "Resource not found", json!({ "uri": uri })))
            }
            "resources/subscribe" => {
                self.watched.lock().unwrap().insert(uri(params)?.to_owned());
                Ok(json!({}))
            }
            "resources/templates/list" => Ok(resources::templates()),
            "resources/unsubscribe" => {
                self.watched.lock().unwrap().remove(uri(params)?);
                Ok(json!({}))
            }
            "tools/call" => match tools::call(request.name(), &params["arguments"], &self.offer, &client) {
                Err(Failure::Refused(message)) => Ok(tools::error(&message)),
                result => result,
            },
            "tools/list" => Ok(tools::list(&self.offer)),
            method => Err(Failure::unknown_method(method)),
        }
    }

    fn initialize(&self, params: &Value) -> Result<Value, Failure> {
        if self.client.set(params["capabilities"].clone()).is_err() {
            return Err(Failure::error(-32600, "The handshake is over", Value::Null));
        }
        let version = VERSIONS
            .into_iter()
            .find(|version| params["protocolVersion"] == *version);
        Ok(json!({
            "protocolVersion": version.unwrap_or(VERSIONS[VERSIONS.len() - 1]),
            "capabilities": capabilities(),
            "serverInfo": server_info(),
            "instructions": "Call the tools whose names begin with test.",
        }))
    }
}

fn uri(params: &Value) -> Result<&str, Failure> {
    params["uri"]
        .as_str()
        .ok_or_else(|| Failure::invalid("A uri is missing"))
}

struct LegacyClient<'a> {
    server: &'a Legacy,
    request: &'a Request,
}

impl Client for LegacyClient<'_> {
    fn declares(&self, kind: Kind) -> bool {
        let capabilities = self.server.client.get();
        capabilities.is_some_and(|capabilities| capabilities[kind.capability()].is_object())
    }

    /// Asks whatever the client has declared, as the official SDKs do that are not told to be strict: who cannot
    /// answer says so.
    fn ask(&self, questions: &[Question], _keep: Keep) -> Result<Vec<Value>, Failure> {
        let requests: Vec<(&str, &Value)> = questions
            .iter()
            .map(|question| (question.kind.method(), &question.params))
            .collect();
        let answers = self.server.pipe.ask(&self.request.key(), &requests)?;
        questions
            .iter()
            .zip(answers)
            .map(|(question, mut answer)| {
                let result = answer["result"].take();
                if question.kind.accepts(&result) {
                    Ok(result)
                } else {
                    let method = question.kind.method();
                    Err(Failure::Refused(format!("No answer to {method}: {}", answer["error"])))
                }
            })
            .collect()
    }

    fn progress(&self, done: u32, total: u32) {
        let token = &self.request.meta()["progressToken"];
        if !token.is_null() {
            let params = json!({ "progressToken": token, "progress": done, "total": total });
            Pipe::notify("notifications/progress", &params);
        }
    }

    fn log(&self, data: &str) {
        let info = LEVELS.iter().position(|level| *level == "info");
        if info >= Some(self.server.level.load(Ordering::SeqCst)) {
            Pipe::notify("notifications/message", &json!({ "level": "info", "data": data }));
        }
    }

    fn changed(&self, change: &Change) {
        match change {
            Change::Prompts => Pipe::notify("notifications/prompts/list_changed", &json!({})),
            Change::Tools => Pipe::notify("notifications/tools/list_changed", &json!({})),
            Change::Resource(uri) => {
                if self.server.watched.lock().unwrap().contains(uri) {
                    Pipe::notify("notifications/resources/updated", &json!({ "uri": uri }));
                }
            }
        }
    }
}
