//! How many sessions there are: a client that goes away without a word leaves its session behind, and so may many.
//!
//! Each ends when nothing has been heard in it for an hour. Until then there are a thousand of them at most: to begin one more
//! ends the one that was used longest ago, whose client is told so with its next request and begins another.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::Stream;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::SessionManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::session::{ServerSseMessage, SessionId};

/// How many there are at most. Each keeps one message, beside two tasks and what is on its way.
const MAXIMUM: usize = 1000;

/// After this time without a message a session is over, and a tool that is still running with it.
const IDLE: Duration = Duration::from_secs(60 * 60);

/// The sessions of this process, of which there is a bounded number.
#[derive(Debug)]
pub(crate) struct Sessions {
    local: LocalSessionManager,
    maximum: usize,
    used: Mutex<Used>,
}

/// Which session was used when, as the number of the use.
#[derive(Debug, Default)]
struct Used {
    number: u64,
    last: HashMap<SessionId, u64>,
}

impl Used {
    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::at_most(MAXIMUM)
    }
}

impl Sessions {
    fn at_most(maximum: usize) -> Self {
        let mut local = LocalSessionManager::default();
        local.session_config.keep_alive = Some(IDLE);
        Self {
            local,
            maximum,
            used: Mutex::default(),
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // A number too many or too few does not matter.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that a session is used, if there is such a one.
    fn touch(&self, id: &SessionId) {
        let mut used = self.used();
        let number = used.next();
        if let Some(last) = used.last.get_mut(id) {
            *last = number;
        }
    }

    /// Takes note of a new session, and gives those that have to go for it.
    fn admit(&self, id: &SessionId) -> Vec<SessionId> {
        let mut used = self.used();
        let mut gone = Vec::new();
        while used.last.len() >= self.maximum {
            let Some((oldest, _)) = used.last.iter().min_by_key(|(_, number)| **number) else {
                break;
            };
            let oldest = oldest.clone();
            used.last.remove(&oldest);
            gone.push(oldest);
        }
        let number = used.next();
        used.last.insert(id.clone(), number);
        gone
    }
}

type Error = <LocalSessionManager as SessionManager>::Error;

impl SessionManager for Sessions {
    type Error = Error;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Error> {
        let (id, transport) = self.local.create_session().await?;
        for oldest in self.admit(&id) {
            tracing::debug!("a session of the echo server has made room for another");
            self.local.close_session(&oldest).await?;
        }
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Error> {
        self.local.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Error> {
        self.local.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Error> {
        self.used().last.remove(id);
        self.local.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        self.touch(id);
        self.local.create_stream(id, message).await
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Error> {
        self.touch(id);
        self.local.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        self.touch(id);
        self.local.create_standalone_stream(id).await
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Error> {
        self.touch(id);
        self.local.resume(id, last_event_id).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use http::{Request, StatusCode};
    use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
    use serde_json::{Value, json};
    use tower::ServiceExt as _;

    use super::super::EchoServer;
    use super::*;

    /// The server with a bound on its sessions.
    struct Echo(StreamableHttpService<EchoServer, Sessions>);

    impl Echo {
        fn with_at_most(maximum: usize) -> Self {
            Self(StreamableHttpService::new(
                || Ok(EchoServer::new()),
                Arc::new(Sessions::at_most(maximum)),
                StreamableHttpServerConfig::default(),
            ))
        }

        async fn post(&self, session: Option<&str>, message: &Value) -> (StatusCode, Option<String>) {
            let mut request = Request::post("/mcp")
                .header("host", "localhost")
                .header("accept", "application/json, text/event-stream")
                .header("content-type", "application/json");
            if let Some(session) = session {
                request = request
                    .header("mcp-session-id", session)
                    .header("mcp-protocol-version", "2025-06-18");
            }
            let request = request.body(Body::from(message.to_string())).unwrap();
            let response = self.0.clone().oneshot(request).await.unwrap();
            let session = response.headers().get("mcp-session-id");
            (
                response.status(),
                session.map(|session| session.to_str().unwrap().to_owned()),
            )
        }

        async fn begin(&self) -> String {
            let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "tester", "version": "1"},
            }});
            let (status, session) = self.post(None, &initialize).await;
            assert_eq!(status, StatusCode::OK);
            let session = session.expect("a session");
            let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            assert_eq!(self.post(Some(&session), &initialized).await.0, StatusCode::ACCEPTED);
            session
        }

        async fn ping(&self, session: &str) -> StatusCode {
            let ping = json!({"jsonrpc": "2.0", "id": 2, "method": "ping"});
            self.post(Some(session), &ping).await.0
        }
    }

    #[tokio::test]
    async fn one_session_too_many_ends_the_one_that_was_used_longest_ago() {
        let echo = Echo::with_at_most(2);
        let (first, second) = (echo.begin().await, echo.begin().await);
        assert_eq!(echo.ping(&first).await, StatusCode::OK);
        let third = echo.begin().await;
        assert_eq!(echo.ping(&second).await, StatusCode::NOT_FOUND);
        assert_eq!(echo.ping(&first).await, StatusCode::OK);
        assert_eq!(echo.ping(&third).await, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_session_that_has_ended_leaves_room() {
        let echo = Echo::with_at_most(2);
        let (first, second) = (echo.begin().await, echo.begin().await);
        let delete = Request::delete("/mcp")
            .header("host", "localhost")
            .header("mcp-session-id", &second)
            .header("mcp-protocol-version", "2025-06-18");
        let deleted = echo
            .0
            .clone()
            .oneshot(delete.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert!(deleted.status().is_success(), "{}", deleted.status());
        let third = echo.begin().await;
        assert_eq!(echo.ping(&first).await, StatusCode::OK);
        assert_eq!(echo.ping(&third).await, StatusCode::OK);
    }
}
