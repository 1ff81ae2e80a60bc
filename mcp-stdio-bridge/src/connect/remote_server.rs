//! Calls to a server without a client behind stdio: to list what it has, or to call a tool from a script.
//!
//! The server is spoken to in the newest version with sessions, and in the version without them where it knows no other.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::ConnectError;
use super::relay::Relay;
use super::transport::RequestError;
use crate::era::client_info;
use crate::message::{meta, reply};
use crate::versions::{LEGACY, MODERN};

/// A call that came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The connection could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The request came to nothing.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The server's answer is an error.
    #[error("{message} ({code})")]
    Failed {
        /// The code, as JSON-RPC has it.
        code: i64,
        /// What it says.
        message: String,
    },
    /// No answer came.
    #[error("the connection ended before the answer came")]
    Interrupted,
}

impl CallError {
    /// Whether the server has read the request, and did not like it.
    fn is_the_servers_own(&self) -> bool {
        match self {
            Self::Failed { .. } => true,
            Self::Request(RequestError::Status(status)) => status.is_client_error(),
            _ => false,
        }
    }
}

/// A remote server as somebody who calls it has it. [`Connection::call`](super::Connection::call) begins one.
#[derive(Debug)]
pub struct RemoteServer {
    relay: Arc<Relay>,
    lines: mpsc::Receiver<String>,
    next: u64,
    modern: bool,
    server: Value,
}

impl RemoteServer {
    pub(crate) async fn begin(relay: Arc<Relay>, lines: mpsc::Receiver<String>) -> Result<Self, CallError> {
        let mut remote = Self {
            relay,
            lines,
            next: 0,
            modern: false,
            server: Value::Null,
        };
        let initialize = json!({"protocolVersion": LEGACY[0], "capabilities": {}, "clientInfo": client_info()});
        match remote.request("initialize", initialize).await {
            Ok(server) => {
                remote.server = server;
                remote
                    .send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
                    .await;
            }
            // A server that knows no sessions says so in one of many ways; it knows this, or nothing helps.
            Err(error) if error.is_the_servers_own() => {
                remote.modern = true;
                remote.server = remote.request("server/discover", json!({})).await.map_err(|_| error)?;
            }
            Err(error) => return Err(error),
        }
        Ok(remote)
    }

    /// What the server said of itself: the result of `initialize` or `server/discover`.
    #[must_use]
    pub fn server(&self) -> &Value {
        &self.server
    }

    /// Sends a request, and waits for its result. What the server says meanwhile is logged.
    pub async fn request(&mut self, method: &str, params: Value) -> Result<Value, CallError> {
        self.next += 1;
        let id = self.next;
        let params = if self.modern { with_meta(params) } else { params };
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .await;
        while let Some(line) = self.lines.recv().await {
            let mut message: Value = serde_json::from_str(&line).unwrap_or_default();
            if message["method"].is_string() {
                self.answer(&message).await;
            } else if message["id"] == id || message["id"].is_null() {
                if let Some(result) = message.get_mut("result") {
                    return Ok(result.take());
                }
                if let Some(failure) = self.relay.failure() {
                    return Err(failure.into());
                }
                let error = &message["error"];
                return Err(CallError::Failed {
                    code: error["code"].as_i64().unwrap_or_default(),
                    message: error["message"]
                        .as_str()
                        .unwrap_or("the server gave no reason")
                        .to_owned(),
                });
            }
        }
        Err(CallError::Interrupted)
    }

    /// All entries of a list, over as many pages as it has: `tools/list` with `tools` and the like.
    pub async fn list(&mut self, method: &str, member: &str) -> Result<Vec<Value>, CallError> {
        let mut all = Vec::new();
        let mut params = json!({});
        loop {
            let mut page = self.request(method, params).await?;
            match page[member].take() {
                Value::Array(entries) => all.extend(entries),
                _ => return Ok(all),
            }
            match page["nextCursor"].take() {
                Value::String(cursor) if all.len() < 100_000 => params = json!({"cursor": cursor}),
                _ => return Ok(all),
            }
        }
    }

    /// Ends the session, if there is one.
    pub async fn close(self) {
        self.relay.close().await;
    }

    /// Nobody is here to be asked anything.
    async fn answer(&self, message: &Value) {
        let method = message["method"].as_str().unwrap_or_default();
        let Some(id) = message.get("id") else {
            tracing::info!(method, "the server says something");
            return;
        };
        let answer = match method {
            "ping" => reply::result(&id.to_string(), "{}"),
            _ => reply::error(Some(&id.to_string()), reply::METHOD_NOT_FOUND, "there is nobody to ask"),
        };
        self.relay.take(answer.into_bytes()).await;
    }

    async fn send(&self, message: &Value) {
        self.relay.take(message.to_string().into_bytes()).await;
    }
}

/// What each request says of its client where there is no session.
fn with_meta(params: Value) -> Value {
    let mut params = match params {
        Value::Object(params) => params,
        _ => Map::new(),
    };
    let about = params.entry("_meta").or_insert_with(|| json!({}));
    if let Value::Object(members) = about {
        members.insert(meta::PROTOCOL_VERSION.to_owned(), MODERN.into());
        members.insert(meta::CLIENT_CAPABILITIES.to_owned(), json!({}));
        members.insert(meta::CLIENT_INFO.to_owned(), client_info());
    }
    Value::Object(params)
}
