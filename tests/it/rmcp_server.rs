//! The layer in front of a real `rmcp` server, whose own habits it has to make up for.

use axum::Router;
use axum::body::Body;
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use mcp_oauth_tests::application::{Application, NOTES, request};
use mcp_oauth_tests::client::Client;
use mcp_oauth_tower::{Caller, OAuthLayer, allowed_hosts};
use rmcp::handler::server::tool::Extension;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{tool, tool_router};
use serde_json::{Value, json};
use tower::ServiceExt;

#[derive(Clone, Debug)]
struct Mirror;

#[tool_router(server_handler)]
impl Mirror {
    #[tool(description = "Tells what reaches a tool")]
    fn mirror(Extension(parts): Extension<Parts>) -> String {
        let caller = parts.extensions.get::<Caller>().expect("the layer has put it there");
        let names: Vec<_> = parts.headers.keys().map(ToString::to_string).collect();
        json!({"subject": caller.subject(), "headers": names}).to_string()
    }
}

struct Server {
    application: Application,
    router: Router,
}

impl Server {
    fn new() -> Self {
        let application = Application::new(|builder| {
            builder.resource(mcp_oauth_tower::Resource::new("https://mcp.example.com/mcp").unwrap())
        });
        let config = StreamableHttpServerConfig::default().with_allowed_hosts(allowed_hosts(&application.server));
        let service = StreamableHttpService::new(|| Ok(Mirror), LocalSessionManager::default().into(), config);
        let router = Router::new()
            .nest_service("/notes/mcp", service)
            .layer(OAuthLayer::new(&application.server, NOTES).unwrap().with_json_bodies());
        Self { application, router }
    }

    async fn token(&self, person: &str) -> String {
        Client::public(&self.application)
            .await
            .sign_in(&self.application, person)
            .await
            .access_token
    }

    /// Sends a message; what comes back is the status, the headers, and the first JSON message of the body.
    async fn send(
        &self,
        method: Method,
        token: &str,
        headers: &[(&str, &str)],
        message: &Value,
    ) -> (StatusCode, HeaderMap, Value) {
        let bearer = format!("Bearer {token}");
        let mut all = vec![
            ("authorization", bearer.as_str()),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ];
        all.extend_from_slice(headers);
        if !headers.iter().any(|(name, _)| *name == "host") {
            all.push(("host", "127.0.0.1:8080"));
        }
        let body = if message.is_null() {
            String::new()
        } else {
            message.to_string()
        };
        let request: Request<Body> = request(method.clone(), "/notes/mcp", &all, &body);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        if method == Method::GET && status == 200 {
            return (status, headers, Value::Null);
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        let json = text
            .lines()
            .map(|line| line.strip_prefix("data:").unwrap_or(line).trim());
        let message = json
            .filter_map(|line| serde_json::from_str(line).ok())
            .find(Value::is_object);
        (status, headers, message.unwrap_or(Value::Null))
    }

    /// Opens a session and gives its identifier as the client sees it.
    async fn open(&self, token: &str, headers: &[(&str, &str)]) -> String {
        let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
        let (status, answered, message) = self.send(Method::POST, token, headers, &initialize).await;
        assert_eq!(status, 200, "{message}");
        let session = answered["mcp-session-id"].to_str().unwrap().to_owned();
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let with_session = [headers, &[("mcp-session-id", session.as_str())]].concat();
        assert_eq!(self.send(Method::POST, token, &with_session, &initialized).await.0, 202);
        session
    }

    async fn call_mirror(&self, token: &str, session: &str) -> (StatusCode, Value) {
        let call =
            json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "mirror", "arguments": {}}});
        let (status, _, message) = self
            .send(Method::POST, token, &[("mcp-session-id", session)], &call)
            .await;
        (status, message)
    }
}

fn seen(message: &Value) -> Value {
    serde_json::from_str(message["result"]["content"][0]["text"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_tool_sees_its_caller_and_neither_the_token_nor_the_mark_on_the_session() {
    let server = Server::new();
    let token = server.token("ada").await;
    let session = server.open(&token, &[]).await;
    let (status, message) = server.call_mirror(&token, &session).await;
    assert_eq!(status, 200);
    assert_eq!(seen(&message)["subject"], "development:ada");
    assert!(
        !seen(&message)["headers"]
            .as_array()
            .unwrap()
            .contains(&json!("authorization"))
    );
}

#[tokio::test]
async fn a_session_belongs_to_whoever_opened_it() {
    let server = Server::new();
    let client = Client::public(&server.application).await;
    let ada = client.sign_in(&server.application, "ada").await.access_token;
    let session = server.open(&ada, &[]).await;
    // Another person by the same client; the same person by another client.
    let grace = client.sign_in(&server.application, "grace").await.access_token;
    for stranger in [grace, server.token("ada").await] {
        assert_eq!(server.call_mirror(&stranger, &session).await.0, 404);
        for method in [Method::GET, Method::DELETE] {
            let headers = [("mcp-session-id", session.as_str())];
            assert_eq!(
                server.send(method.clone(), &stranger, &headers, &Value::Null).await.0,
                404,
                "{method}"
            );
        }
    }
    assert_eq!(server.call_mirror(&ada, &session).await.0, 200, "nobody has ended it");
}

#[tokio::test]
async fn a_session_outlives_the_token_it_was_opened_with() {
    let server = Server::new();
    let client = Client::public(&server.application).await;
    let tokens = client.sign_in(&server.application, "ada").await;
    let session = server.open(&tokens.access_token, &[]).await;
    let refreshed = client.refresh(&server.application, &tokens.refresh_token, &[]).await;
    let refreshed = mcp_oauth_tests::client::Tokens::of(&refreshed);
    assert_eq!(server.call_mirror(&refreshed.access_token, &session).await.0, 200);
}

#[tokio::test]
async fn a_session_identifier_that_was_made_up_or_changed_is_unknown() {
    let server = Server::new();
    let token = server.token("ada").await;
    let session = server.open(&token, &[]).await;
    let (unmarked, mark) = session.rsplit_once('.').unwrap();
    let other_mark = format!("{unmarked}.{}", "A".repeat(mark.len()));
    let other_session = format!("00000000-0000-0000-0000-000000000000.{mark}");
    for made_up in [
        unmarked,
        &other_mark,
        &other_session,
        ".",
        "x",
        &session[..session.len() - 1],
    ] {
        let (status, message) = server.call_mirror(&token, made_up).await;
        assert_eq!(status, 404, "{made_up}");
        assert_eq!(message["error"]["code"], -32001, "{made_up}");
    }
}

#[tokio::test]
async fn the_public_host_name_works_behind_a_proxy_and_a_foreign_one_does_not() {
    let server = Server::new();
    let token = server.token("ada").await;
    server.open(&token, &[("host", "mcp.example.com")]).await;
    server.open(&token, &[("host", "127.0.0.1:8080")]).await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(
        server
            .send(Method::POST, &token, &[("host", "evil.example")], &ping)
            .await
            .0,
        403
    );
}
