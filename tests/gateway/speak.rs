//! What a client of MCP says over HTTP, word by word.

use http::HeaderMap;
use reqwest::{Client, RequestBuilder, redirect};
use serde_json::{Value, json};

/// A way to a server with somebody's token.
#[derive(Clone, Debug)]
pub(crate) struct Speaker {
    pub(crate) client: Client,
    pub(crate) url: String,
    pub(crate) token: String,
}

/// A client of HTTP that follows nothing by itself, and has names of its own for this machine.
pub(crate) fn client(names: &[&str], port: u16) -> Client {
    let mut builder = Client::builder().redirect(redirect::Policy::none()).no_proxy();
    for name in names {
        builder = builder.resolve(name, ([127, 0, 0, 1], port).into());
    }
    builder.build().unwrap()
}

impl Speaker {
    pub(crate) fn post(&self, message: &Value) -> RequestBuilder {
        self.client
            .post(&self.url)
            .header("accept", "application/json, text/event-stream")
            .bearer_auth(&self.token)
            .json(message)
    }

    /// Opens a session.
    pub(crate) async fn session(&self) -> Session {
        let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
        }});
        let response = self.post(&initialize).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.unwrap();
        assert_eq!(status, 200, "{body}");
        let session = Session {
            speaker: self.clone(),
            id: headers["mcp-session-id"].to_str().unwrap().to_owned(),
        };
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(session.post(&initialized).send().await.unwrap().status(), 202);
        session
    }
}

/// A session with it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    speaker: Speaker,
    pub(crate) id: String,
}

impl Session {
    pub(crate) fn post(&self, message: &Value) -> RequestBuilder {
        let request = self.speaker.post(message);
        request
            .header("mcp-session-id", &self.id)
            .header("mcp-protocol-version", "2025-06-18")
    }

    /// The stream on which the client only listens.
    pub(crate) fn listen(&self) -> RequestBuilder {
        self.speaker
            .client
            .get(&self.speaker.url)
            .header("accept", "text/event-stream")
            .header("mcp-session-id", &self.id)
            .header("mcp-protocol-version", "2025-06-18")
            .bearer_auth(&self.speaker.token)
    }

    /// Calls a tool; what comes back is the status and the text of the result.
    pub(crate) async fn call(&self, tool: &str, arguments: &Value) -> (u16, String) {
        let (status, _, body) = answer(self.post(&call(tool, arguments))).await;
        let message = message(&body);
        let text = message["result"]["content"][0]["text"].as_str();
        (status, text.map_or(body, str::to_owned))
    }
}

pub(crate) fn call(tool: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

pub(crate) async fn answer(request: RequestBuilder) -> (u16, HeaderMap, String) {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.text().await.unwrap())
}

/// The last message in a body, which is JSON or a stream of events.
fn message(body: &str) -> Value {
    let data = body.lines().filter_map(|line| line.strip_prefix("data:"));
    let data = data.map(str::trim).rfind(|data| !data.is_empty());
    serde_json::from_str(data.unwrap_or(body)).unwrap_or_default()
}
