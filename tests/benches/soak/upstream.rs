//! A server that the gateway passes requests on to. It knows how many of its streams somebody still listens to.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The server.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) url: String,
    streams: Arc<AtomicUsize>,
}

/// One stream, for as long as it is there.
struct Listener(Arc<AtomicUsize>);

impl Listener {
    fn of(streams: &Arc<AtomicUsize>) -> Self {
        streams.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(streams))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let streams = Arc::new(AtomicUsize::new(0));
        let router = Router::new()
            .route("/mcp", get(listen).post(answer))
            .with_state(Arc::clone(&streams));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/mcp", listener.local_addr().expect("it has an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, streams }
    }

    /// How many streams are open.
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }
}

/// Events without end.
#[allow(clippy::unused_async, reason = "handlers are")]
async fn listen(State(streams): State<Arc<AtomicUsize>>) -> Response {
    let listener = Listener::of(&streams);
    let ticks = tokio::time::interval(Duration::from_millis(100));
    let events = stream::unfold((listener, ticks), |(listener, mut ticks)| async move {
        ticks.tick().await;
        let message = json!({"jsonrpc": "2.0", "method": "notifications/message",
            "params": {"level": "info", "data": "still here"}});
        let event = Bytes::from(format!("data: {message}\n\n"));
        Some((Ok::<_, Infallible>(event), (listener, ticks)))
    });
    ([("content-type", "text/event-stream")], Body::from_stream(events)).into_response()
}

async fn answer(axum::Json(request): axum::Json<Value>) -> axum::Json<Value> {
    axum::Json(json!({"jsonrpc": "2.0", "id": request["id"], "result": {
        "content": [{"type": "text", "text": "from elsewhere"}]}}))
}
