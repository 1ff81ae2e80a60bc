//! The names under which the gateway is reached.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

/// Refuses requests for names that are not this gateway's, as a page makes them that has had its own name point here.
/// Proxies that ask may call the gateway what they like: they are known by their address.
pub(crate) async fn known_host(State(hosts): State<Arc<Vec<String>>>, request: Request, next: Next) -> Response {
    if matches!(request.uri().path(), "/verify" | "/verify/refusal") {
        return next.run(request).await;
    }
    let named = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let without_port = named.rsplit_once(':').map_or(named, |(name, _)| name);
    if hosts
        .iter()
        .any(|host| host.eq_ignore_ascii_case(named) || host.eq_ignore_ascii_case(without_port))
    {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "this host is not served here\n").into_response()
    }
}
