//! The HTTP side: streamable HTTP, with sessions up to MCP 2025-11-25 and without from 2026-07-28 on.
//!
//! A request is looked at in a fixed order, and nothing is started for one that fails: `Host` and `Origin`
//! ([`guard`]), method, then what the headers say ([`headers`]), then the size of the body, then the message itself.
//! The message says which era it is of, never a header: one whose `_meta` names a version stands alone ([`modern`]);
//! any other belongs to a session or opens one ([`legacy`]). Every answer that is not the server's is a JSON-RPC error
//! with the HTTP status that the protocol gives it ([`refusal`]). What is more than one message is an event stream
//! ([`sse`]).

pub(crate) mod guard;
mod headers;
pub(crate) mod http_sse;
mod legacy;
mod mirror;
mod modern;
mod refusal;
mod sse;

use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::StreamExt as _;
use http::{HeaderName, Method, StatusCode, Uri, header};

use self::guard::Guard;
use self::http_sse::HttpSse;
use self::refusal::{Refused, json};
use crate::caller::Caller;
use crate::message::{Body, Kind, Message};
use crate::server::{Readiness, Server};
use crate::versions::MODERN;

/// How much of the body of a request that is refused for its head is read at most, in bytes.
const UNREAD: usize = 2 * 1024 * 1024;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) guard: Arc<Guard>,
    pub(crate) server: Arc<Server>,
    /// The header that names the caller, where one is trusted to.
    pub(crate) caller_header: Option<HeaderName>,
    /// The endpoints of 2024-11-05, where they are wanted.
    pub(crate) http_sse: Option<HttpSse>,
}

impl Drop for Front {
    /// With the last router and the last handle the bridge is gone, and the servers with it.
    fn drop(&mut self) {
        self.server.stop();
    }
}

/// The endpoint at `path`, with a slash at its end or without, and `/health` and `/ready` beside it.
pub(crate) fn router(front: Arc<Front>, path: &str) -> Router {
    let mut router = Router::new().route(&format!("{path}/"), any(endpoint));
    if !path.is_empty() {
        router = router.route(path, any(endpoint));
    }
    let beside: &[_] = match front.http_sse {
        Some(_) => &["health", "ready", "sse", "message"],
        None => &["health", "ready"],
    };
    for name in beside {
        let answer = async |State(front): State<Arc<Front>>, OriginalUri(uri): OriginalUri, request: Request| {
            serve_beside(&front, name, &uri, request).await
        };
        router = router.route(&format!("/{name}"), any(answer));
    }
    router.with_state(front)
}

async fn endpoint(State(front): State<Arc<Front>>, request: Request) -> Response {
    serve(&front, request).await
}

/// Answers what is asked for beside the endpoint: `path` is what stands there instead, `uri` what the client has asked for.
pub(crate) async fn serve_beside(front: &Arc<Front>, path: &str, uri: &Uri, request: Request) -> Response {
    let old = front.http_sse.is_some();
    let asked = matches!(*request.method(), Method::GET | Method::HEAD);
    match path {
        "health" if asked => health(front),
        "ready" if asked => ready(front),
        "sse" if old && asked => old_stream(front, uri, &request).unwrap_or_else(IntoResponse::into_response),
        "message" if old && *request.method() == Method::POST => old_message(front, request).await,
        "health" | "ready" => only("GET, HEAD"),
        "sse" if old => only("GET, HEAD"),
        "message" if old => only("POST"),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn only(methods: &'static str) -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, methods)]).into_response()
}

/// The stream of 2024-11-05.
fn old_stream(front: &Arc<Front>, uri: &Uri, request: &Request) -> Result<Response, impl IntoResponse + use<>> {
    front.guard.check(request.uri(), request.headers())?;
    let http_sse = front.http_sse.as_ref().ok_or(Refused::Method)?;
    http_sse::get(front, http_sse, uri, request.headers(), caller(front, request).as_ref())
}

/// A message of 2024-11-05.
async fn old_message(front: &Front, mut request: Request) -> Response {
    match old_post(front, &mut request).await {
        Ok(response) => response,
        Err(refused) => refuse(refused, request).await,
    }
}

async fn old_post(front: &Front, request: &mut Request) -> Result<Response, Refused> {
    front.guard.check(request.uri(), request.headers())?;
    let http_sse = front.http_sse.as_ref().ok_or(Refused::Method)?;
    headers::check_content_type(request.headers())?;
    let caller = caller(front, request);
    let body = std::mem::take(request.body_mut());
    let body = read(front.server.limits().max_body, request.headers(), body).await?;
    let message = Message::parse(body).map_err(|reason| Refused::Malformed(None, reason))?;
    let malformed = |reason| Refused::Malformed(message.id().cloned(), reason);
    message.check_params().map_err(malformed)?;
    http_sse::post(front, http_sse, request.uri().query(), &message, caller.as_ref()).await
}

/// Takes a request to the endpoint.
pub(crate) async fn serve(front: &Front, mut request: Request) -> Response {
    match handle(front, &mut request).await {
        Ok(response) => response,
        Err(refused) => Box::pin(refuse(refused, request)).await,
    }
}

async fn handle(front: &Front, request: &mut Request) -> Result<Response, Refused> {
    front.guard.check(request.uri(), request.headers())?;
    match *request.method() {
        Method::POST => post(front, request).await,
        // Neither is there in the protocol without sessions.
        Method::GET | Method::DELETE if headers::names_version(request.headers(), MODERN) => Err(Refused::PostOnly),
        Method::GET => {
            let caller = caller(front, request);
            legacy::get(front, request.headers(), caller.as_ref())
        }
        Method::DELETE => {
            let caller = caller(front, request);
            Box::pin(legacy::delete(front, request.headers(), caller.as_ref())).await
        }
        _ => Err(Refused::Method),
    }
}

/// A message of the client, or several.
async fn post(front: &Front, request: &mut Request) -> Result<Response, Refused> {
    headers::check_post(request.headers())?;
    let caller = caller(front, request);
    let caller = caller.as_ref();
    let limits = front.server.limits();
    let body = std::mem::take(request.body_mut());
    let headers = request.headers();
    let body = read(limits.max_body, headers, body).await?;
    let message = match Message::parse_body(body, limits.max_calls) {
        Ok(Body::One(message)) => message,
        Ok(Body::Batch(messages)) => return Box::pin(legacy::batch(front, headers, messages, caller)).await,
        Err(reason) => return Err(Refused::Malformed(None, reason)),
    };
    let malformed = |reason| Refused::Malformed(message.id().cloned(), reason);
    message.check_params().map_err(malformed)?;
    let said = message.request_meta().map_err(malformed)?;
    if said.version.is_some() && !matches!(message.kind(), Kind::Response { .. }) {
        return modern::post(front, headers, &message, said, caller).await;
    }
    if headers::names_version(headers, MODERN) {
        return modern::without_meta(&message);
    }
    legacy::post(front, headers, &message, caller).await
}

/// Says no, when the client has sent what it had to say.
///
/// A server that answers before it has read a body has to close the connection, and the client may find that closed instead of
/// the answer (RFC 9112 §9.6). So what has not been looked at is read and thrown away, up to the usual bound; where a client
/// waits for a word before it sends anything (RFC 9110 §10.1.1), there is nothing to read.
async fn refuse(refused: Refused, request: Request) -> Response {
    if !request.headers().contains_key(header::EXPECT) {
        let mut left = UNREAD;
        let mut pieces = request.into_body().into_data_stream();
        while let Some(Ok(piece)) = pieces.next().await {
            // A piece counts, be it empty.
            match left.checked_sub(piece.len().max(1)) {
                Some(fewer) => left = fewer,
                None => break,
            }
        }
    }
    refused.into_response()
}

/// Who calls: as the layer in front says, or a header that is trusted.
fn caller(front: &Front, request: &Request) -> Option<Caller> {
    let known = request.extensions().get::<Caller>().cloned();
    known.or_else(|| Caller::in_header(request.headers(), front.caller_header.as_ref()?))
}

/// The body, if it is within the bound.
async fn read(bound: usize, headers: &http::HeaderMap, body: axum::body::Body) -> Result<Vec<u8>, Refused> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > bound) {
        return Err(Refused::TooLarge(bound));
    }
    let mut pieces = body.into_data_stream();
    // What is announced is not believed beyond the ordinary.
    let mut body = Vec::with_capacity(announced.unwrap_or(0).min(64 * 1024));
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Refused::Body)?;
        if body.len() + piece.len() > bound {
            return Err(Refused::TooLarge(bound));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Whether the bridge is alive. Starts nothing, and tells nothing else: this is not behind the guard.
fn health(front: &Front) -> Response {
    let alive = !front.server.is_stopping();
    status(alive, if alive { "ok" } else { "stopping" })
}

/// Whether a new client would be served. Starts nothing either.
fn ready(front: &Front) -> Response {
    let readiness = front.server.readiness();
    status(readiness == Readiness::Ready, word(readiness))
}

/// How a server is, in a word.
pub(crate) fn word(readiness: Readiness) -> &'static str {
    match readiness {
        Readiness::Ready => "ready",
        Readiness::Failing => "failing",
        Readiness::Full => "full",
        Readiness::Stopping => "stopping",
    }
}

/// `200` or `503`, and a word.
pub(crate) fn status(good: bool, word: &str) -> Response {
    let status = if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = format!(r#"{{"status":"{word}"}}"#);
    (status, [(header::CACHE_CONTROL, "no-store")], json(body)).into_response()
}
