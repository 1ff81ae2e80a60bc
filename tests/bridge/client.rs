//! A client of either era that does one thing at a time, so that a test can do a thing wrong.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

/// No answer takes so long, on however busy a machine, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

impl Era {
    /// Each client with each server.
    pub(crate) const PAIRS: [(Self, Self); 4] = [
        (Self::Legacy, Self::Legacy),
        (Self::Modern, Self::Modern),
        (Self::Modern, Self::Legacy),
        (Self::Legacy, Self::Modern),
    ];

    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    era: Era,
    version: &'static str,
    pub(crate) session: Option<String>,
    next: AtomicU64,
}

impl Client {
    /// A client that has gone through the handshake, if its era has one.
    pub(crate) async fn open(url: &str, era: Era) -> Self {
        Self::open_with(url, era, era.version()).await
    }

    /// A client that has said nothing yet.
    pub(crate) fn new(url: &str, era: Era, version: &'static str) -> Self {
        Self {
            http: reqwest::Client::new(),
            url: url.to_owned(),
            era,
            version,
            session: None,
            next: AtomicU64::new(1),
        }
    }

    /// A client of that very version of its era.
    pub(crate) async fn open_with(url: &str, era: Era, version: &'static str) -> Self {
        let mut client = Self::new(url, era, version);
        if era == Era::Legacy {
            let info = json!({ "name": "test", "version": "1" });
            let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": info });
            let mut answer = client.send(&json!(0), "initialize", params).await;
            assert_eq!(answer.status, StatusCode::OK, "initialize");
            client.session = Some(answer.headers["mcp-session-id"].to_str().unwrap().to_owned());
            let result = &answer.last().await["result"];
            assert_eq!(result["protocolVersion"], version, "{result}");
            let initialized = client.notify("notifications/initialized", json!({})).await;
            assert_eq!(initialized, StatusCode::ACCEPTED);
        }
        client
    }

    /// Calls a tool and waits for the end: the last message.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        let id = json!(self.next.fetch_add(1, Ordering::SeqCst));
        let message = self.start(&id, tool, arguments).await.last().await;
        assert_eq!(message["id"], id, "{message}");
        message
    }

    /// Calls a tool that has a text as its result.
    pub(crate) async fn text(&self, tool: &str, arguments: Value) -> String {
        let message = self.call(tool, arguments).await;
        text(&message)
    }

    /// Calls a tool, and returns when the answer begins.
    pub(crate) async fn start(&self, id: &Value, tool: &str, arguments: Value) -> Answer {
        let params = json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": id } });
        self.send(id, "tools/call", params).await
    }

    /// Calls a tool whose answer does not begin before long; `task` is to be awaited once it does.
    pub(crate) fn begin(&self, id: &Value, tool: &str, arguments: &Value) -> tokio::task::JoinHandle<Answer> {
        let params = json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": id } });
        let request = self.request(id, "tools/call", params);
        tokio::spawn(async move { Answer::of(request).await })
    }

    async fn send(&self, id: &Value, method: &str, params: Value) -> Answer {
        Answer::of(self.request(id, method, params)).await
    }

    /// A request as a client of this era writes it.
    pub(crate) fn request(&self, id: &Value, method: &str, mut params: Value) -> RequestBuilder {
        let mut request = self.body(&Value::Null);
        if self.era == Era::Modern {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(self.version);
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
            request = request.header("mcp-method", method);
            if let Some(name) = params["name"].as_str() {
                request = request.header("mcp-name", name);
            }
        }
        request.json(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
    }

    /// A request with this body, whatever that is.
    pub(crate) fn body(&self, body: &Value) -> RequestBuilder {
        let request = self.http(Method::POST);
        request
            .header("accept", "application/json, text/event-stream")
            .json(body)
    }

    /// Listens for what a filter names.
    pub(crate) async fn listen(&self, id: &Value, filter: &Value) -> Answer {
        self.send(id, "subscriptions/listen", json!({ "notifications": filter }))
            .await
    }

    /// A request with the headers that every request of this client has.
    pub(crate) fn http(&self, method: Method) -> RequestBuilder {
        let mut request = self.http.request(method, &self.url).timeout(PATIENCE);
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        // The first version that has the header.
        if self.version >= "2025-06-18" && (self.session.is_some() || self.era == Era::Modern) {
            request = request.header("mcp-protocol-version", self.version);
        }
        request
    }

    pub(crate) async fn notify(&self, method: &str, params: Value) -> StatusCode {
        let body = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.body(&body).send().await.unwrap().status()
    }

    pub(crate) async fn get(&self, last_event: Option<&str>) -> Answer {
        let mut request = self.http(Method::GET).header("accept", "text/event-stream");
        if let Some(id) = last_event {
            request = request.header("last-event-id", id);
        }
        Answer::of(request).await
    }

    pub(crate) async fn delete(&self) -> StatusCode {
        self.http(Method::DELETE).send().await.unwrap().status()
    }
}

/// The text of a tool's result.
pub(crate) fn text(message: &Value) -> String {
    let text = message["result"]["content"][0]["text"].as_str();
    text.unwrap_or_else(|| panic!("no result: {message}")).to_owned()
}

/// An answer that may still go on.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    response: Response,
    unread: String,
    /// The id of the event that came last.
    pub(crate) last_event: Option<String>,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            response,
            unread: String::new(),
            last_event: None,
        }
    }

    fn is_stream(&self) -> bool {
        let content_type = self.headers.get("content-type").and_then(|value| value.to_str().ok());
        content_type.is_some_and(|value| value.starts_with("text/event-stream"))
    }

    /// The next message; `None` at the end.
    pub(crate) async fn message(&mut self) -> Option<Value> {
        if !self.is_stream() {
            while self.more().await {}
            let body = std::mem::take(&mut self.unread);
            return (!body.is_empty()).then(|| serde_json::from_str(&body).expect("JSON"));
        }
        loop {
            while let Some((event, rest)) = self.unread.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.unread = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let Some(id) = field("id:") {
                    self.last_event = Some(id.to_owned());
                }
                // An event without data only tells where the stream is.
                if let Some(data) = field("data:").filter(|data| !data.is_empty()) {
                    return Some(serde_json::from_str(data).expect("JSON"));
                }
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The message that ends the answer.
    pub(crate) async fn last(&mut self) -> Value {
        self.all().await.pop().expect("a message")
    }

    /// All messages up to the end.
    pub(crate) async fn all(&mut self) -> Vec<Value> {
        let mut messages = Vec::new();
        while let Some(message) = self.message().await {
            messages.push(message);
        }
        messages
    }

    async fn more(&mut self) -> bool {
        let piece = timeout(PATIENCE, self.response.chunk())
            .await
            .expect("the answer hangs");
        // A connection that breaks is an end as well.
        let Some(piece) = piece.ok().flatten() else {
            return false;
        };
        self.unread.push_str(&String::from_utf8_lossy(&piece));
        true
    }
}
