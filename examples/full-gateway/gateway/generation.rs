//! What one reading of the configuration makes: the authorization server, and each server behind its layer.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, Uri};
use mcp_oauth_core::clock::{Clock as _, SystemClock};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::NotReady;
use mcp_oauth_tower::upstream::UpstreamTokenLayer;
use mcp_oauth_tower::{
    AuthorizationServer, Caller, ForwardAuth, OAuthLayer, Routes, TrustedProxies, allowed_hosts, cors,
};
use mcp_stdio_bridge::Bridge;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::authorization::{self, Foundation};
use crate::configuration::{Configuration, Embedded};
use crate::echo::{EchoServer, Sessions};
use crate::proxied::{Presented, Proxied};
use crate::servers::{self, Kind, Program, Server, Upstream};
use crate::sites::Sites;
use crate::streams::unbuffered;
use crate::telemetry::Observer;
use crate::tls::{self, Certificate};

/// What one reading of the configuration has made.
pub(crate) struct Generation {
    pub(crate) auth: AuthorizationServer,
    pub(crate) sites: Sites,
    pub(super) running: BTreeMap<String, Running>,
    /// What is shown to clients, if there is TLS.
    pub(crate) certificate: Option<Certificate>,
}

/// A server that serves.
#[derive(Clone)]
pub(super) struct Running {
    serves: Serves,
    /// Ends when it is no longer served.
    pub(super) ended: CancellationToken,
}

#[derive(Clone)]
enum Serves {
    Embedded(Embedded),
    Program(Box<Program>, String, Bridge),
    Upstream(Box<Upstream>, Proxied),
}

impl Generation {
    pub(super) async fn prepare(&self) -> anyhow::Result<()> {
        self.auth.prepare_keys().await.context("there are no signing keys")?;
        self.auth
            .prepare_vault()
            .await
            .context("the token vault cannot be used")
    }
}

impl Running {
    pub(super) fn is(&self, other: &Self) -> bool {
        match (&self.serves, &other.serves) {
            (Serves::Embedded(one), Serves::Embedded(other)) => one == other,
            (Serves::Program(one, host, _), Serves::Program(other, other_host, _)) => {
                one == other && host == other_host
            }
            (Serves::Upstream(one, _), Serves::Upstream(other, _)) => one == other,
            _ => false,
        }
    }

    pub(super) fn bridge(&self) -> Option<&Bridge> {
        match &self.serves {
            Serves::Program(_, _, bridge) => Some(bridge),
            Serves::Embedded(_) | Serves::Upstream(..) => None,
        }
    }
}

/// What holds for all servers.
struct Rules {
    /// The origins of pages that may ask; `None` means any.
    origins: Option<Vec<HeaderValue>>,
    /// Who is believed about where requests come from.
    trusted: TrustedProxies,
}

/// What a generation is made of, beside its configuration.
pub(super) struct Parts<'a> {
    pub(super) foundation: &'a Foundation,
    pub(super) observer: &'a Observer,
    pub(super) session_secret: &'a Secret,
    pub(super) echo_sessions: &'a Arc<Sessions>,
    pub(super) ended: &'a CancellationToken,
}

impl Parts<'_> {
    pub(super) fn generation(
        &self,
        configuration: &Configuration,
        before: &BTreeMap<String, Running>,
    ) -> anyhow::Result<Generation> {
        let servers = servers::of(configuration)?;
        let auth = authorization::on(self.foundation, configuration, &servers)?;
        let main = endpoints(&auth, configuration)?
            .route("/health", get(health))
            .route("/ready", get(ready).with_state(auth.clone()))
            .with_state(());
        let mut sites = Sites::new(self.observer.observe(main), auth.issuer().path(), allowed_hosts(&auth));
        let rules = Rules {
            origins: configuration.cors_origins()?,
            trusted: configuration.trusted_proxies()?,
        };
        let mut running = BTreeMap::new();
        for server in &servers {
            let wrong = || format!("[servers.{}] cannot be served", server.key);
            let runs = self.run(server, &auth, before).with_context(wrong)?;
            let protected = self.protect(server, &runs, &auth, &rules).with_context(wrong)?;
            let protected = self.observer.observe_as(&server.endpoint(), protected);
            let uri: http::Uri = server.uri(auth.issuer().as_str()).parse().with_context(wrong)?;
            sites.add(server.host.as_deref(), uri.path(), protected);
            running.insert(server.key.clone(), runs);
        }
        let hosts = sites.hosts().chain([auth.issuer().host()]);
        let hosts: Vec<String> = hosts.map(str::to_owned).collect();
        let certificate = match configuration.tls.files()? {
            Some(files) => Some(tls::read(files, &hosts, SystemClock.now())?),
            None => None,
        };
        Ok(Generation {
            auth,
            sites,
            running,
            certificate,
        })
    }

    /// What serves it: the same as before, if nothing about it has changed.
    fn run(
        &self,
        server: &Server,
        auth: &AuthorizationServer,
        before: &BTreeMap<String, Running>,
    ) -> anyhow::Result<Running> {
        let host = server.host.as_deref().unwrap_or_else(|| auth.issuer().host());
        if let Some(old) = before.get(&server.key) {
            let same = match (&server.kind, &old.serves) {
                (Kind::Embedded(one), Serves::Embedded(other)) => one == other,
                (Kind::Program(one), Serves::Program(other, other_host, _)) => one == other && host == other_host,
                (Kind::Upstream(one), Serves::Upstream(other, _)) => one == other,
                _ => false,
            };
            if same {
                return Ok(old.clone());
            }
        }
        Ok(Running {
            serves: match &server.kind {
                Kind::Embedded(embedded) => Serves::Embedded(*embedded),
                Kind::Program(program) => {
                    let bridge = program.bridge(&server.key, host)?;
                    Serves::Program(program.clone(), host.to_owned(), bridge)
                }
                Kind::Upstream(upstream) => Serves::Upstream(upstream.clone(), Proxied::new(upstream)?),
            },
            ended: self.ended.child_token(),
        })
    }

    /// The server behind the layer that lets callers with a good token through.
    fn protect(
        &self,
        server: &Server,
        running: &Running,
        auth: &AuthorizationServer,
        rules: &Rules,
    ) -> anyhow::Result<Router> {
        let uri = server.uri(auth.issuer().as_str());
        let path = uri.parse::<Uri>()?.path().to_owned();
        let inner = match &running.serves {
            Serves::Embedded(Embedded::Echo) => Router::new().fallback_service(self.echo(auth)),
            Serves::Program(_, _, bridge) => {
                let bridge = bridge.router();
                Router::new().fallback(move |request: Request| bridge.clone().oneshot(as_the_bridge_knows_it(request)))
            }
            Serves::Upstream(_, proxied) => {
                let passed_on = (proxied.clone(), auth.clone(), rules.trusted.clone());
                let passed_on = Arc::new(passed_on);
                Router::new().fallback(move |request: Request| {
                    let to = Arc::clone(&passed_on);
                    async move { to.0.pass(&to.1, &to.2, request).await }
                })
            }
        };
        let ended = running.ended.clone();
        let endpoint = move |request: Request| {
            let (inner, ended) = (inner.clone(), ended.clone());
            let here = request.uri().path().strip_suffix('/').unwrap_or(request.uri().path()) == path;
            async move {
                if !here {
                    return StatusCode::NOT_FOUND.into_response();
                }
                let method = request.method().clone();
                let response = inner.oneshot(request).await.into_response();
                unbuffered(response, &method, &ended)
            }
        };
        let mut router = Router::new().fallback(endpoint);
        if server.upstream_tokens_of.is_some() {
            router = router.layer(UpstreamTokenLayer::new(auth));
        }
        let layer = OAuthLayer::new(auth, &uri)?.session_secret(self.session_secret);
        router = router.layer(layer.with_json_bodies().read_bodies());
        if let Serves::Upstream(upstream, _) = &running.serves
            && upstream.settings.access_tokens
        {
            router = router.layer(middleware::from_fn(keep_presented));
        }
        let cross_origin = cors::protected_resource();
        let cross_origin = match &rules.origins {
            Some(origins) => cross_origin.allow_origin(origins.clone()),
            None => cross_origin,
        };
        Ok(router.layer(cross_origin))
    }

    fn echo(&self, auth: &AuthorizationServer) -> StreamableHttpService<EchoServer, Sessions> {
        let configuration = StreamableHttpServerConfig::default().with_allowed_hosts(allowed_hosts(auth));
        StreamableHttpService::new(|| Ok(EchoServer::new()), Arc::clone(self.echo_sessions), configuration)
    }
}

async fn keep_presented(mut request: Request, next: Next) -> Response {
    Presented::keep(&mut request);
    next.run(request).await
}

/// The request as the bridge has it: at its own path, and with whoever calls under the bridge's own name for that.
fn as_the_bridge_knows_it(mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().remove::<mcp_stdio_bridge::Caller>();
    if let Some(caller) = request.extensions().get::<Caller>() {
        let mut known = mcp_stdio_bridge::Caller::new(caller.subject()).with("client_id", caller.client_id());
        for (name, value) in [("username", caller.username()), ("name", caller.name())] {
            if let Some(value) = value {
                known = known.with(name, value);
            }
        }
        request.extensions_mut().insert(known);
    }
    *request.uri_mut() = Uri::from_static("/mcp");
    request
}

/// The endpoints of the authorization server, and those that proxies ask if they serve anything.
fn endpoints(auth: &AuthorizationServer, configuration: &Configuration) -> anyhow::Result<Router> {
    let mut routes = Routes::new(auth)
        .behind(configuration.trusted_proxies()?)
        .pages(configuration.pages.pages()?);
    if !configuration.backends.is_empty() {
        let mut forward_auth = configuration.forward_auth.apply(ForwardAuth::of(auth));
        for backend in configuration.backends.values() {
            forward_auth = backend.add_places(forward_auth)?;
        }
        routes = routes.forward_auth(forward_auth);
    }
    Ok(routes.into_router())
}

/// Whether requests should be sent here: not while the store does not answer, nor without keys to sign with.
async fn ready(State(auth): State<AuthorizationServer>) -> (StatusCode, &'static str) {
    match auth.ready().await {
        Ok(()) => (StatusCode::OK, "ready"),
        Err(error) => {
            let (told, error): (_, &dyn std::error::Error) = match &error {
                NotReady::Store(error) => ("the store does not answer", error),
                error => ("the signing keys cannot be read", error),
            };
            tracing::warn!(error, "the gateway is not ready");
            (StatusCode::SERVICE_UNAVAILABLE, told)
        }
    }
}

async fn health() -> &'static str {
    "ok"
}
