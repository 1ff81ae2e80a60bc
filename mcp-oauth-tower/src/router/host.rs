//! The host that a request asks for. It never decides what is answered, only which of several configured answers is
//! meant, or that there is none.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, Uri, header};
use mcp_oauth_core::transaction::TransactionRefused;

use super::{Endpoints, consent};

/// The name or address, without a port: from the request line, as HTTP/2 has it, or from `Host`.
pub(super) fn asked(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if let Some(host) = uri.host() {
        return Some(host.to_owned());
    }
    let authority = headers.get(header::HOST)?.to_str().ok()?;
    let authority: http::uri::Authority = authority.parse().ok()?;
    Some(authority.host().to_owned())
}

fn is_loopback(host: &str) -> bool {
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// With made-up people, whoever reaches the pages can be anybody. So a page of somebody else's, which has had its
/// own name point to this machine (DNS rebinding), does not reach them: its requests ask for that name.
pub(super) async fn only_loopback(State(endpoints): State<Endpoints>, request: Request, next: Next) -> Response {
    match asked(request.uri(), request.headers()) {
        Some(host) if !is_loopback(&host) => consent::refuse(&endpoints, &TransactionRefused::OtherBrowser.into()),
        _ => next.run(request).await,
    }
}
