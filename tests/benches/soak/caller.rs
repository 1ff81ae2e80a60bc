//! Whoever calls an MCP server, as clients of either era do.

use std::sync::Arc;

use http::Method;
use mcp_oauth_tests::application::Answer;
use mcp_oauth_tests::client::Tokens;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::site::Site;
use crate::visitor::{Client, Visitor, expect};

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// A way to a server with a token.
#[derive(Debug)]
pub(crate) struct Caller {
    visitor: Visitor,
    url: String,
    token: String,
}

impl Caller {
    pub(crate) fn new(site: &Arc<Site>, server: &str, token: &str) -> Self {
        Self {
            visitor: Visitor::new(site),
            url: site.resource(server),
            token: token.to_owned(),
        }
    }

    pub(crate) fn of(site: &Arc<Site>, server: &str, tokens: &Tokens) -> Self {
        Self::new(site, server, &tokens.access_token)
    }

    /// Somebody who has just signed in to this server.
    pub(crate) async fn signed_in(site: &Arc<Site>, server: &str) -> Self {
        let tokens = Visitor::new(site)
            .sign_in(&Client::resident(), &site.resource(server))
            .await;
        Self::of(site, server, &tokens)
    }

    fn request(&self, method: Method) -> RequestBuilder {
        let request = self.visitor.request(method, &self.url).bearer_auth(&self.token);
        request.header("accept", "application/json, text/event-stream")
    }

    /// A request of a client that has no session.
    pub(crate) fn modern(&self, method: &str, mut params: Value) -> RequestBuilder {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": {"name": "soak", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
            "progressToken": 1,
        });
        let mut request = self
            .request(Method::POST)
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", method);
        if let Some(name) = params["name"].as_str() {
            request = request.header("mcp-name", name);
        }
        request.json(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    }

    /// Asks for the tools without a session.
    pub(crate) async fn list_tools(&self) {
        let answer = Visitor::send(self.modern("tools/list", json!({}))).await;
        let message = last_message(&expect(answer, 200, "the tools"));
        assert!(message["result"]["tools"].is_array(), "{message}");
    }

    /// Calls a tool without a session.
    pub(crate) async fn call(&self, tool: &str, arguments: &Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        let answer = Visitor::send(self.modern("tools/call", params)).await;
        last_message(&expect(answer, 200, tool))
    }

    /// Passes a message on, without a word about eras.
    pub(crate) async fn send(&self, message: &Value) -> Answer {
        Visitor::send(self.request(Method::POST).json(message)).await
    }

    /// A stream that nobody has a session for.
    pub(crate) async fn listen(&self) -> Response {
        self.request(Method::GET).send().await.expect("the gateway answers")
    }

    /// The token is not good here.
    pub(crate) async fn is_refused(&self) {
        let answer = Visitor::send(self.modern("tools/list", json!({}))).await;
        let answer = expect(answer, 401, "a token that is not good");
        assert!(
            answer.header("www-authenticate").contains("resource_metadata="),
            "{answer:?}"
        );
    }

    /// Opens a session.
    pub(crate) async fn open(self) -> Session {
        let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "soak", "version": "1"}}});
        let answer = expect(self.send(&initialize).await, 200, "a session is opened");
        let id = answer.header("mcp-session-id").to_owned();
        assert!(!id.is_empty(), "a session without a name: {answer:?}");
        let session = Session { id, caller: self };
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let request = session.request(Method::POST).json(&initialized);
        expect(Visitor::send(request).await, 202, "a session has begun");
        session
    }
}

/// A session with a server.
#[derive(Debug)]
pub(crate) struct Session {
    caller: Caller,
    id: String,
}

impl Session {
    fn request(&self, method: Method) -> RequestBuilder {
        let request = self.caller.request(method).header("mcp-session-id", &self.id);
        request.header("mcp-protocol-version", LEGACY)
    }

    fn call_request(&self, tool: &str, arguments: &Value) -> RequestBuilder {
        self.request(Method::POST)
            .json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": {"name": tool, "arguments": arguments, "_meta": {"progressToken": 1}}}))
    }

    /// Calls a tool, and waits for its result.
    pub(crate) async fn call(&self, tool: &str, arguments: &Value) -> Value {
        let answer = Visitor::send(self.call_request(tool, arguments)).await;
        let message = last_message(&expect(answer, 200, tool));
        assert!(message["result"].is_object(), "{tool}: {message}");
        message
    }

    /// Calls a tool, whatever comes of it.
    pub(crate) async fn try_call(&self, tool: &str) -> Answer {
        Visitor::send(self.call_request(tool, &json!({}))).await
    }

    /// Calls a tool, and goes away when the answer begins.
    pub(crate) async fn call_and_leave(&self, tool: &str) {
        let response = self.call_request(tool, &json!({})).send().await;
        let mut response = response.expect("the gateway answers");
        assert_eq!(response.status(), 200, "{tool}");
        let _ = response.chunk().await;
    }

    /// The stream on which the client only listens.
    pub(crate) async fn listen(&self) -> Response {
        let response = self.request(Method::GET).send().await.expect("the gateway answers");
        assert_eq!(response.status(), 200, "a stream");
        response
    }

    /// Ends the session, after which it is not there.
    pub(crate) async fn delete(self) {
        let answer = Visitor::send(self.request(Method::DELETE)).await;
        assert!(answer.status.is_success(), "a session is ended: {answer:?}");
        let answer = Visitor::send(self.call_request("anything", &json!({}))).await;
        expect(answer, 404, "a session that is not there");
    }
}

/// The last message of an answer, which is JSON or a stream of events.
fn last_message(answer: &Answer) -> Value {
    let data = answer.body.lines().filter_map(|line| line.strip_prefix("data:"));
    let data = data.map(str::trim).rfind(|data| !data.is_empty());
    let text = data.unwrap_or(&answer.body);
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {answer:?}"))
}
