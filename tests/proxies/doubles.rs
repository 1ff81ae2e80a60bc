//! What the doubles of Traefik and Envoy have in common: a server that takes requests whole and sends them on.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::net::TcpListener;

/// A request on its way through a proxy.
pub(crate) struct Passing {
    pub(crate) method: Method,
    /// As the client has written it, in the request line or else in `Host`.
    pub(crate) host: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) peer: SocketAddr,
}

impl Passing {
    /// The path, decoded once.
    pub(crate) fn decoded_path(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        let pairs = format!("x={}", path.replace('+', "%2B").replace('&', "%26"));
        let decoded = form_urlencoded::parse(pairs.as_bytes()).next();
        decoded.map(|(_, path)| path.into_owned()).unwrap_or_default()
    }
}

/// What belongs to one connection (RFC 9110 §7.6.1).
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authorization",
];

/// Takes away what belongs to one connection.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Takes away what `Connection` names.
pub(crate) fn remove_named_by_connection(headers: &mut HeaderMap) {
    let options = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let names: Vec<HeaderName> = options
        .flat_map(|options| options.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// Sends a request on; what comes back is passed on piece by piece.
pub(crate) async fn send(
    to: &str,
    method: Method,
    target: &str,
    host: &str,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
    // Not through a URL, which would be normalised.
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let mut request = http::Request::new(Body::from(body));
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    match format!("{to}{target}").parse() {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    }
    match client.request(request).await {
        Ok(response) => {
            let (mut parts, body) = response.into_parts();
            remove_hop_by_hop(&mut parts.headers);
            Response::from_parts(parts, Body::new(body))
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// Serves at this address until the test ends.
pub(crate) async fn listen<F>(address: SocketAddr, pass: impl Fn(Passing) -> F + Send + Sync + 'static)
where
    F: Future<Output = Response> + Send + 'static,
{
    let pass = Arc::new(pass);
    let handler = move |ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request| {
        let pass = Arc::clone(&pass);
        async move {
            let (parts, body) = request.into_parts();
            let hosts: Vec<_> = parts.headers.get_all(header::HOST).iter().collect();
            let [host] = hosts.as_slice() else {
                return StatusCode::BAD_REQUEST.into_response();
            };
            let host = match parts.uri.authority() {
                Some(authority) => authority.to_string(),
                None => host.to_str().unwrap_or_default().to_owned(),
            };
            let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
            let passing = Passing {
                method: parts.method,
                host,
                target: target.to_owned(),
                headers: parts.headers,
                body: axum::body::to_bytes(body, 1 << 20).await.unwrap(),
                peer,
            };
            pass(passing).await
        }
    };
    let listener = TcpListener::bind(address).await.unwrap();
    let service = Router::new()
        .fallback(handler)
        .into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
}
