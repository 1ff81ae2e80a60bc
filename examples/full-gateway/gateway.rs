//! The gateway, put together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::middleware;
use axum::routing::get;
use http::StatusCode;
use mcp_oauth_tower::{AuthorizationServer, ForwardAuth, OAuthLayer, Routes, allowed_hosts, cors};
use mcp_stdio_bridge::{Bridge, Hosts, Origins};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;

use crate::configuration::Configuration;
use crate::echo::EchoServer;
use crate::hosts::known_host;
use crate::identities::Identities;
use crate::servers::Kind;
use crate::{authorization, servers};

/// After this time without a message an embedded server forgets a session.
const IDLE_SESSION: Duration = Duration::from_secs(60 * 60);

/// Everything that is served, and what has to be ended in the end.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) auth: AuthorizationServer,
    pub(crate) made_up_people: bool,
    listen: std::net::SocketAddr,
    router: Router,
    bridges: Vec<Bridge>,
}

impl Gateway {
    /// Puts the gateway together. Nothing runs yet.
    pub(crate) fn build(configuration: &Configuration) -> anyhow::Result<Self> {
        let servers = servers::of(configuration)?;
        let issuer = configuration.issuer();
        let made_up_people = Identities::read(configuration)?.are_made_up();
        let auth = authorization::server(configuration, &servers)?;
        let hosts = allowed_hosts(&auth);
        let mut router = endpoints(&auth, configuration)?
            .route("/health", get(health))
            .route("/ready", get(ready).with_state(auth.clone()))
            .with_state(());
        let mut bridges = Vec::new();
        for server in servers {
            let uri = server.uri(&issuer);
            let served = match server.kind {
                Kind::Embedded => Router::new().nest_service(&format!("/{}/mcp", server.path), embedded(&hosts)),
                Kind::Stdio(command) => {
                    // Origins are the layer's business: what has a good token may come from any page.
                    let bridge = Bridge::builder(*command)
                        .hosts(Hosts::loopback().and(auth.issuer().host()))
                        .origins(Origins::any())
                        .build()?;
                    let nested = Router::new().nest(&format!("/{}", server.path), bridge.router());
                    bridges.push(bridge);
                    nested
                }
            };
            let protected = served
                .route_layer(OAuthLayer::new(&auth, &uri)?.with_json_bodies())
                .route_layer(cors::protected_resource());
            router = router.merge(protected);
        }
        let router = router.layer(middleware::from_fn_with_state(Arc::new(hosts), known_host));
        Ok(Self {
            auth,
            made_up_people,
            listen: configuration.listen,
            router,
            bridges,
        })
    }

    /// Opens the port, once there are keys to sign with.
    pub(crate) async fn listen(&self) -> anyhow::Result<TcpListener> {
        self.auth.prepare_keys().await.context("there are no signing keys")?;
        self.auth
            .prepare_vault()
            .await
            .context("the token vault cannot be used")?;
        TcpListener::bind(self.listen).await.with_context(|| {
            format!(
                "cannot listen on {}: stop what uses that port, or set GATEWAY_LISTEN to another one",
                self.listen
            )
        })
    }

    /// Serves until `stop`, then ends every child.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let bridges = self.bridges.clone();
        let stopped = async move {
            stop.await;
            tracing::info!("stopping");
            for bridge in &bridges {
                bridge.shutdown().await;
            }
        };
        let service = self
            .router
            .into_make_service_with_connect_info::<std::net::SocketAddr>();
        axum::serve(listener, service).with_graceful_shutdown(stopped).await?;
        Ok(())
    }
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

fn embedded(hosts: &[String]) -> StreamableHttpService<EchoServer, LocalSessionManager> {
    let configuration = StreamableHttpServerConfig::default().with_allowed_hosts(hosts.to_vec());
    let mut sessions = LocalSessionManager::default();
    // A session without messages ends after this time, and a tool that is still running with it.
    sessions.session_config.keep_alive = Some(IDLE_SESSION);
    StreamableHttpService::new(|| Ok(EchoServer::new()), Arc::new(sessions), configuration)
}

/// Whether requests should be sent here: not while the store does not answer.
async fn ready(State(auth): State<AuthorizationServer>) -> (StatusCode, &'static str) {
    match auth.ready().await {
        Ok(()) => (StatusCode::OK, "ready"),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the gateway is not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer")
        }
    }
}

async fn health() -> &'static str {
    "ok"
}
