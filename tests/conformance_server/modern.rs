//! The era in which every request stands alone: 2026-07-28.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Map, Value, json};

use crate::client::{Change, Client, Failure, Keep, Kind, Question};
use crate::offer::{Offer, capabilities, complete, server_info};
use crate::pipe::Pipe;
use crate::seal::Seal;
use crate::serve::{Era, Request};
use crate::tasks::{self, Tasks};
use crate::{prompts, resources, tools};

const VERSION: &str = "2026-07-28";
const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

#[derive(Debug)]
pub(crate) struct Modern {
    pipe: Pipe,
    offer: Offer,
    seal: Seal,
    tasks: Tasks,
    /// By the id of the request that opened it, as text.
    subscriptions: Mutex<BTreeMap<String, Subscription>>,
}

#[derive(Debug)]
struct Subscription {
    id: Value,
    filter: Value,
}

impl Modern {
    pub(crate) fn new() -> Self {
        Self {
            pipe: Pipe::default(),
            offer: Offer::default(),
            seal: Seal::new(),
            tasks: Tasks::default(),
            subscriptions: Mutex::default(),
        }
    }
}

impl Era for Modern {
    fn pipe(&self) -> &Pipe {
        &self.pipe
    }

    fn request(&self, request: &Request) -> Option<Result<Value, Failure>> {
        if request.method == "subscriptions/listen" && check(request).is_ok() {
            self.listen(request);
            return None;
        }
        let complete = |mut result: Value, kind: &str| {
            if result["resultType"].is_null() {
                result["resultType"] = json!(kind);
            }
            result["_meta"][SERVER_INFO] = server_info();
            result
        };
        Some(match check(request).and_then(|()| self.result(request)) {
            Ok(result) => Ok(complete(result, "complete")),
            Err(Failure::InputRequired(result)) => Err(Failure::InputRequired(complete(result, "input_required"))),
            Err(failure) => Err(failure),
        })
    }

    fn notification(&self, method: &str, params: &Value) {
        if method == "notifications/cancelled" {
            let id = params["requestId"].to_string();
            self.subscriptions.lock().unwrap().remove(&id);
        }
    }
}

/// What every request has to say of itself.
fn check(request: &Request) -> Result<(), Failure> {
    let meta = request.meta();
    if request.method == "initialize" && meta[PROTOCOL_VERSION].is_null() {
        return Err(unsupported(&request.params["protocolVersion"]));
    }
    for name in [PROTOCOL_VERSION, CLIENT_CAPABILITIES] {
        if meta[name].is_null() {
            return Err(Failure::invalid(format!("_meta lacks {name}")));
        }
    }
    if meta[PROTOCOL_VERSION] == VERSION {
        Ok(())
    } else {
        Err(unsupported(&meta[PROTOCOL_VERSION]))
    }
}

fn unsupported(requested: &Value) -> Failure {
    let data = json!({ "supported": [VERSION], "requested": requested });
    Failure::error(-32022, "Unsupported protocol version", data)
}

/// Whether the client has said that it knows what a task is.
fn knows_tasks(request: &Request) -> bool {
    request.meta()[CLIENT_CAPABILITIES]["extensions"][tasks::EXTENSION].is_object()
}

/// What others may keep, and for how long: for no time at all, since lists change here at any moment.
fn cacheable(mut result: Value) -> Value {
    result["ttlMs"] = json!(0);
    result["cacheScope"] = json!("private");
    result
}

impl Modern {
    fn result(&self, request: &Request) -> Result<Value, Failure> {
        let params = &request.params;
        match &*request.method {
            "completion/complete" => Ok(complete(params)),
            "prompts/get" => {
                let client = self.client(request)?;
                prompts::get(request.name(), &params["arguments"], &self.offer, &client)
            }
            "prompts/list" => Ok(cacheable(prompts::list(&self.offer))),
            "resources/list" => Ok(cacheable(resources::list())),
            "resources/read" => {
                let uri = params["uri"]
                    .as_str()
                    .ok_or_else(|| Failure::invalid("A uri is missing"))?;
                resources::read(uri)
                    .map(cacheable)
                    .ok_or_else(|| Failure::error(-32602, "Resource not found", json!({ "uri": uri })))
            }
            "resources/templates/list" => Ok(cacheable(resources::templates())),
            "server/discover" => {
                let mut capabilities = capabilities();
                capabilities["extensions"] = json!({ tasks::EXTENSION: {} });
                Ok(cacheable(json!({
                    "supportedVersions": [VERSION],
                    "capabilities": capabilities,
                    "instructions": "Call the tools whose names begin with test.",
                })))
            }
            "tasks/cancel" | "tasks/get" | "tasks/update" => {
                self.tasks.request(&request.method, params, knows_tasks(request))
            }
            "tools/call" => {
                let client = self.client(request)?;
                let (name, arguments) = (request.name(), &params["arguments"]);
                let task = self.tasks.call(name, arguments, knows_tasks(request), &client);
                task.unwrap_or_else(|| tools::call(name, arguments, &self.offer, &client))
            }
            "tools/list" => {
                let mut result = tools::list(&self.offer);
                result["tools"].as_array_mut().unwrap().extend(tasks::list());
                Ok(cacheable(result))
            }
            method => Err(Failure::unknown_method(method)),
        }
    }

    /// Opens a subscription, which the client's cancellation closes.
    fn listen(&self, request: &Request) {
        let subscription = Subscription {
            id: request.id.clone(),
            filter: request.params["notifications"].clone(),
        };
        let mut subscriptions = self.subscriptions.lock().unwrap();
        let params = json!({ "notifications": subscription.filter });
        subscription.notify("notifications/subscriptions/acknowledged", params);
        subscriptions.insert(request.key(), subscription);
    }

    fn client<'a>(&'a self, request: &'a Request) -> Result<ModernClient<'a>, Failure> {
        let kept = match &request.params["requestState"] {
            Value::Null => Map::new(),
            Value::String(sealed) => self.open(request, sealed)?,
            _ => return Err(Failure::invalid("requestState is a string")),
        };
        let responses = &request.params["inputResponses"];
        if request.params.get("inputResponses").is_some() && !responses.is_object() {
            return Err(Failure::invalid("inputResponses is an object"));
        }
        Ok(ModernClient {
            server: self,
            request,
            kept: RefCell::new(kept),
        })
    }

    /// What an earlier round of this very call has kept.
    fn open(&self, request: &Request, sealed: &str) -> Result<Map<String, Value>, Failure> {
        let state = self.seal.open(sealed).filter(|state| state["for"] == *request.name());
        match state.map(|mut state| state["answers"].take()) {
            Some(Value::Object(answers)) => Ok(answers),
            _ => Err(Failure::invalid("requestState is not of this server's making")),
        }
    }
}

impl Subscription {
    fn wants(&self, change: &Change) -> bool {
        match change {
            Change::Prompts => self.filter["promptsListChanged"] == true,
            Change::Tools => self.filter["toolsListChanged"] == true,
            Change::Resource(uri) => self.filter["resourceSubscriptions"]
                .as_array()
                .is_some_and(|uris| uris.iter().any(|one| one == uri)),
        }
    }

    fn notify(&self, method: &str, mut params: Value) {
        params["_meta"] = json!({ SUBSCRIPTION: self.id });
        Pipe::notify(method, &params);
    }
}

struct ModernClient<'a> {
    server: &'a Modern,
    request: &'a Request,
    /// The answers of earlier rounds, and of this one.
    kept: RefCell<Map<String, Value>>,
}

impl Client for ModernClient<'_> {
    fn declares(&self, kind: Kind) -> bool {
        self.request.meta()[CLIENT_CAPABILITIES][kind.capability()].is_object()
    }

    fn ask(&self, questions: &[Question], keep: Keep) -> Result<Vec<Value>, Failure> {
        let missing = questions.iter().find(|question| !self.declares(question.kind));
        if let Some(question) = missing {
            let capability = question.kind.capability();
            let data = json!({ "requiredCapabilities": { capability: {} } });
            return Err(Failure::error(-32021, format!("This needs {capability}"), data));
        }
        let mut answers = Vec::new();
        let mut open = Map::new();
        for Question { key, kind, params } in questions {
            let given = &self.request.params["inputResponses"][key];
            let mut kept = self.kept.borrow_mut();
            if kind.accepts(given) {
                kept.insert((*key).to_owned(), given.clone());
            }
            match kept.get(*key) {
                Some(answer) => answers.push(answer.clone()),
                None => {
                    open.insert((*key).to_owned(), json!({ "method": kind.method(), "params": params }));
                }
            }
        }
        if open.is_empty() {
            return Ok(answers);
        }
        let mut result = json!({ "inputRequests": open });
        if keep == Keep::Answers {
            let state = json!({ "for": self.request.name(), "answers": *self.kept.borrow() });
            result["requestState"] = json!(self.server.seal.close(&state));
        }
        Err(Failure::InputRequired(result))
    }

    fn progress(&self, done: u32, total: u32) {
        let token = &self.request.meta()["progressToken"];
        if !token.is_null() {
            let params = json!({ "progressToken": token, "progress": done, "total": total });
            Pipe::notify("notifications/progress", &params);
        }
    }

    fn log(&self, data: &str) {
        let wanted = &self.request.meta()[LOG_LEVEL];
        if wanted == "debug" || wanted == "info" {
            Pipe::notify("notifications/message", &json!({ "level": "info", "data": data }));
        }
    }

    fn changed(&self, change: &Change) {
        let (method, params) = match change {
            Change::Prompts => ("notifications/prompts/list_changed", json!({})),
            Change::Tools => ("notifications/tools/list_changed", json!({})),
            Change::Resource(uri) => ("notifications/resources/updated", json!({ "uri": uri })),
        };
        let subscriptions = self.server.subscriptions.lock().unwrap();
        for subscription in subscriptions.values().filter(|one| one.wants(change)) {
            subscription.notify(method, params.clone());
        }
    }
}
