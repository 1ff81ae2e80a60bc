//! Another MCP server, to which the gateway passes requests on.
//!
//! Bodies go both ways as they come, never held back. What belongs to one connection stays on it (RFC 9110 §7.6.1). Who
//! calls is what the gateway says, whatever the client has written ([`identify`]); the client's `Authorization` goes on only
//! where the settings say so, and cookies, which are the authorization server's, never do. The server behind cannot set any
//! either, nor send clients elsewhere: what it answers with a redirection or with a challenge of its own is an error of the
//! set-up, told in the log and answered `502`.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use http_body_util::{LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mcp_oauth_tower::forward_auth::{IDENTITY_TOKEN_HEADER, identify};
use mcp_oauth_tower::upstream::UpstreamToken;
use mcp_oauth_tower::{AuthorizationServer, Caller, TrustedProxies};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

use crate::servers::Upstream;

type Connections = Client<HttpsConnector<HttpConnector>, Limited<Body>>;

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);

/// What is for one connection alone.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a client says to the gateway, or of itself, and not to the server behind. Where a request comes from is said anew; an
/// `Origin` is let through by its token, and would be refused by servers that only know their own.
const NOT_PASSED_ON: [&str; 10] = [
    "authorization",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "origin",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// What the server behind cannot say in the gateway's name.
const NOT_PASSED_BACK: [&str; 4] = ["alt-svc", "set-cookie", "strict-transport-security", "www-authenticate"];

/// The client's `Authorization`, which the layer in front takes away, for servers that are to have it.
#[derive(Clone)]
pub(crate) struct Presented(HeaderValue);

impl Presented {
    /// Keeps what `request` shows.
    pub(crate) fn keep(request: &mut Request) {
        if let Some(value) = request.headers().get(AUTHORIZATION) {
            let mut value = value.clone();
            value.set_sensitive(true);
            request.extensions_mut().insert(Self(value));
        }
    }
}

/// The connections to a server. Clones share them.
#[derive(Clone)]
pub(crate) struct Proxied(Arc<Inner>);

struct Inner {
    upstream: Upstream,
    connections: Connections,
    token_header: HeaderName,
}

impl Proxied {
    /// Prepares connections. Nothing is connected yet.
    pub(crate) fn new(upstream: &Upstream) -> anyhow::Result<Self> {
        let settings = &upstream.settings;
        let url = &upstream.url;
        anyhow::ensure!(
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none(),
            "the url is to be one such as http://127.0.0.1:9000/mcp, without user, query and fragment"
        );
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(settings.connect_timeout()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = match &settings.ca_file {
            None => HttpsConnectorBuilder::new()
                .with_provider_and_platform_verifier(provider)
                .context("the certificates that the system trusts cannot be read")?,
            Some(file) => {
                let mut roots = rustls::RootCertStore::empty();
                let unread = || format!("upstream.ca_file cannot be read: {}", file.display());
                for certificate in CertificateDer::pem_file_iter(file).with_context(unread)? {
                    roots.add(certificate.with_context(unread)?).with_context(unread)?;
                }
                let tls = rustls::ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()?
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                HttpsConnectorBuilder::new().with_tls_config(tls)
            }
        };
        let connector = builder.https_or_http().enable_http1().wrap_connector(http);
        let token_header = HeaderName::try_from(&settings.upstream_token_header).with_context(|| {
            let name = &settings.upstream_token_header;
            format!("upstream.upstream_token_header is {name:?}, which is no name of a header")
        })?;
        Ok(Self(Arc::new(Inner {
            upstream: upstream.clone(),
            connections: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .build(connector),
            token_header,
        })))
    }

    /// Passes a request on, and its answer back. `auth` signs who calls, where the settings say so.
    /// `proxies` are believed when they say where a request comes from.
    pub(crate) async fn pass(
        &self,
        auth: &AuthorizationServer,
        proxies: &TrustedProxies,
        request: Request,
    ) -> Response {
        let settings = &self.0.upstream.settings;
        let least = axum::body::HttpBody::size_hint(request.body()).lower();
        if usize::try_from(least).map_or(true, |least| least > settings.max_body) {
            return too_large();
        }
        let request = match self.outbound(auth, proxies, request) {
            Ok(request) => request,
            Err(response) => return *response,
        };
        let answered = tokio::time::timeout(settings.response_timeout(), self.0.connections.request(request));
        match answered.await {
            Ok(Ok(response)) => self.inbound(response.map(Body::new)),
            Ok(Err(error)) => self.failed(&error),
            Err(_) => {
                tracing::warn!(upstream = %self.0.upstream.url, "a server did not answer in time");
                unavailable(StatusCode::GATEWAY_TIMEOUT, "the server behind did not answer in time")
            }
        }
    }

    fn outbound(
        &self,
        auth: &AuthorizationServer,
        proxies: &TrustedProxies,
        request: Request,
    ) -> Result<http::Request<Limited<Body>>, Box<Response>> {
        let inner = &self.0;
        let (mut parts, body) = request.into_parts();
        let mut target = inner.upstream.url.clone();
        target.set_query(parts.uri.query());
        let host = parts.headers.get(HOST).cloned();
        let scheme = if auth.issuer().as_str().starts_with("https:") {
            "https"
        } else {
            "http"
        };
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|ConnectInfo(peer)| peer.ip().to_canonical());
        let hops = parts.headers.get_all("x-forwarded-for").iter();
        let origin = proxies
            .origin(peer, hops.map(|hop| hop.to_str().unwrap_or_default()))
            .ip();
        let headers = &mut parts.headers;
        remove_hop_by_hop(headers);
        for name in NOT_PASSED_ON {
            headers.remove(name);
        }
        headers.remove(&inner.token_header);
        let caller = parts.extensions.get::<Caller>();
        identify(headers, caller);
        if let Some(origin) = origin.and_then(|origin| HeaderValue::try_from(origin.to_string()).ok()) {
            headers.insert("x-forwarded-for", origin);
        }
        if let Some(host) = host {
            headers.insert("x-forwarded-host", host);
        }
        headers.insert("x-forwarded-proto", HeaderValue::from_static(scheme));
        if inner.upstream.settings.identity_tokens
            && let Some(caller) = caller
        {
            let token = auth.identity_token(&caller.identified()).map_err(|error| {
                tracing::error!(error = &error as &dyn Error, "a server cannot be told who calls");
                unavailable(StatusCode::SERVICE_UNAVAILABLE, "try again in a moment")
            })?;
            insert_secret(headers, HeaderName::from_static(IDENTITY_TOKEN_HEADER), token.expose());
        }
        if inner.upstream.settings.access_tokens
            && let Some(Presented(value)) = parts.extensions.get::<Presented>()
        {
            headers.insert(AUTHORIZATION, value.clone());
        }
        if let Some(token) = parts.extensions.get::<UpstreamToken>() {
            let secret = token.secret().expose();
            if inner.token_header == AUTHORIZATION {
                insert_secret(headers, AUTHORIZATION, &format!("Bearer {secret}"));
            } else {
                insert_secret(headers, inner.token_header.clone(), secret);
            }
        }
        let uri: Uri = target.as_str().parse().map_err(|_| {
            let told = "this request cannot be passed on as it is";
            (StatusCode::BAD_REQUEST, error("invalid_request", told)).into_response()
        })?;
        let mut outbound = http::Request::new(Limited::new(body, inner.upstream.settings.max_body));
        *outbound.method_mut() = parts.method;
        *outbound.uri_mut() = uri;
        *outbound.headers_mut() = parts.headers;
        Ok(outbound)
    }

    fn inbound(&self, mut response: Response) -> Response {
        let url = &self.0.upstream.url;
        let status = response.status();
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            let location = response.headers().get(header::LOCATION);
            tracing::warn!(upstream = %url, ?location, "a server sends clients elsewhere: name that address as its url");
            return unavailable(StatusCode::BAD_GATEWAY, "the server behind has moved");
        }
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            tracing::warn!(upstream = %url, "a server wants the gateway to sign in: let it trust the gateway");
            return unavailable(
                StatusCode::BAD_GATEWAY,
                "the server behind does not take requests of the gateway",
            );
        }
        let headers = response.headers_mut();
        remove_hop_by_hop(headers);
        for name in NOT_PASSED_BACK {
            headers.remove(name);
        }
        let cross_origin: Vec<_> = headers
            .keys()
            .filter(|name| name.as_str().starts_with("access-control-"))
            .cloned()
            .collect();
        for name in cross_origin {
            headers.remove(name);
        }
        response
    }

    fn failed(&self, failure: &(dyn Error + 'static)) -> Response {
        let causes = || causes(failure);
        if causes().any(<dyn Error>::is::<LengthLimitError>) {
            return too_large();
        }
        tracing::warn!(upstream = %self.0.upstream.url, error = failure, "a server cannot be reached");
        let late = |cause: &(dyn Error + 'static)| {
            let failure = cause.downcast_ref::<io::Error>();
            failure.is_some_and(|failure| failure.kind() == io::ErrorKind::TimedOut)
        };
        if causes().any(late) {
            unavailable(StatusCode::GATEWAY_TIMEOUT, "the server behind did not answer in time")
        } else {
            unavailable(StatusCode::BAD_GATEWAY, "the server behind cannot be reached")
        }
    }
}

/// A failure, and what it comes of.
fn causes<'a>(failure: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(failure);
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

fn insert_secret(headers: &mut HeaderMap, name: HeaderName, secret: &str) {
    if let Ok(mut value) = HeaderValue::try_from(secret) {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
}

fn error(code: &str, description: &str) -> Json<serde_json::Value> {
    Json(json!({"error": code, "error_description": description}))
}

fn unavailable(status: StatusCode, description: &str) -> Response {
    (status, error("temporarily_unavailable", description)).into_response()
}

fn too_large() -> Response {
    let description = "the request is longer than what is passed on";
    (StatusCode::PAYLOAD_TOO_LARGE, error("invalid_request", description)).into_response()
}
