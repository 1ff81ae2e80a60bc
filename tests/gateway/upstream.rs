//! MCP servers that the gateway passes requests on to.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{tool, tool_router};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

/// A server on a port of its own, with the headers of what has reached it.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
}

#[derive(Clone, Debug)]
struct Tools;

#[tool_router(server_handler)]
impl Tools {
    #[tool(description = "Adds up")]
    fn add() -> String {
        "four".to_owned()
    }
}

impl Upstream {
    /// A server of `rmcp`.
    pub(crate) async fn rmcp() -> Self {
        let service = StreamableHttpService::new(
            || Ok(Tools),
            LocalSessionManager::default().into(),
            StreamableHttpServerConfig::default(),
        );
        Self::serve(Router::new().nest_service("/mcp", service)).await
    }

    /// One that answers each request with this.
    pub(crate) async fn answering(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Self {
        Self::serve(Router::new().route("/mcp", any(async move || answer()))).await
    }

    /// One that answers with the stream of events that the test sends, and tells when somebody asks.
    pub(crate) async fn streaming() -> (Self, Arc<Notify>, mpsc::UnboundedSender<&'static str>) {
        let asked = Arc::new(Notify::new());
        let (sender, receiver) = mpsc::unbounded_channel::<&'static str>();
        let receiver = Arc::new(Mutex::new(Some(receiver)));
        let told = Arc::clone(&asked);
        let answer = move || {
            told.notify_one();
            let receiver = receiver.lock().unwrap().take().expect("one asks");
            let events = stream::unfold(receiver, |mut receiver| async {
                let event = receiver.recv().await?;
                Some((Ok::<_, std::convert::Infallible>(Bytes::from(event)), receiver))
            });
            ([("content-type", "text/event-stream")], Body::from_stream(events)).into_response()
        };
        (Self::answering(answer).await, asked, sender)
    }

    async fn serve(router: Router) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&seen);
        let router = router.layer(middleware::from_fn(move |request: Request, next: Next| {
            keep.lock().unwrap().push(request.headers().clone());
            next.run(request)
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, seen }
    }

    /// The headers of the last request.
    pub(crate) fn last(&self) -> HeaderMap {
        self.seen.lock().unwrap().last().cloned().expect("something has come")
    }

    /// How many requests have come.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}
