//! The HTTP side: streamable HTTP as MCP 2025-03-26 to 2025-11-25 have it.
//!
//! A request is looked at in a fixed order, and nothing is started for one that fails: `Host` and `Origin`
//! ([`guard`]), method, then what the headers say ([`headers`]), then the size of the body, then the message itself
//! ([`legacy`]). Every answer that is not the server's is a JSON-RPC error with the HTTP status that the protocol
//! gives it ([`refusal`]).

mod events;
pub(crate) mod guard;
mod headers;
mod legacy;
mod refusal;
mod versions;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::{Method, StatusCode, header};

use self::guard::Guard;
use self::refusal::{Refused, json};
use crate::session::Sessions;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) guard: Guard,
    pub(crate) sessions: Sessions,
    pub(crate) max_body: usize,
}

impl Drop for Front {
    /// With the last router and the last handle the bridge is gone, and the servers with it.
    fn drop(&mut self) {
        self.sessions.stop();
    }
}

/// The endpoint at `path`, with a slash at its end or without, and `/health` beside it.
pub(crate) fn router(front: Arc<Front>, path: &str) -> Router {
    let path = path.trim_end_matches('/');
    let router = Router::new()
        .route("/health", get(health))
        .route(&format!("{path}/"), any(endpoint));
    let router = if path.is_empty() {
        router
    } else {
        router.route(path, any(endpoint))
    };
    router.with_state(front)
}

async fn endpoint(State(front): State<Arc<Front>>, request: Request) -> Response {
    let handled = async {
        front.guard.check(request.uri(), request.headers())?;
        match *request.method() {
            Method::POST => legacy::post(&front, request).await,
            Method::GET => legacy::get(&front, request.headers()),
            Method::DELETE => legacy::delete(&front, request.headers()).await,
            _ => Err(Refused::Method),
        }
    };
    handled.await.unwrap_or_else(IntoResponse::into_response)
}

/// Whether the bridge takes requests. Starts nothing, and tells nothing else: this is not behind the guard.
async fn health(State(front): State<Arc<Front>>) -> Response {
    let (status, body) = if front.sessions.is_stopping() {
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"stopping"}"#)
    } else {
        (StatusCode::OK, r#"{"status":"ok"}"#)
    };
    (status, [(header::CACHE_CONTROL, "no-store")], json(body.to_owned())).into_response()
}
