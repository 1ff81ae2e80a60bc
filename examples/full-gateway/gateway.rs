//! The gateway, put together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use mcp_oauth_core::jwt::keys::MAXIMUM_SIZE;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_core::store::Store;
use mcp_oauth_tower::{
    AllowList, AuthorizationServer, Fetcher, ForwardAuth, KeySet, MemoryStore, OAuthLayer, RedisStore, Resource,
    Routes, allowed_hosts, cors,
};
use mcp_stdio_bridge::{Bridge, Command, Hosts, Origins};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;

use crate::clients;
use crate::configuration::{Configuration, Keys, StdioServer};
use crate::echo::EchoServer;
use crate::identities::Identities;

/// After this time without a message an embedded server forgets a session.
const IDLE_SESSION: Duration = Duration::from_secs(60 * 60);

/// The scope of every server here.
const SCOPE: &str = "mcp:tools";

/// Everything that is served, and what has to be ended in the end.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) auth: AuthorizationServer,
    pub(crate) made_up_people: bool,
    listen: std::net::SocketAddr,
    router: Router,
    bridges: Vec<Bridge>,
}

/// One protected server: where it is, what it is called, who may use it, and what serves it.
struct Server {
    path: String,
    name: String,
    /// Of those who may sign in; `None` means all of them.
    allow: Option<AllowList>,
    kind: Kind,
}

enum Kind {
    Embedded,
    Stdio(Box<Command>),
}

impl Gateway {
    /// Puts the gateway together. Nothing runs yet.
    pub(crate) fn build(configuration: &Configuration) -> anyhow::Result<Self> {
        let servers = servers(configuration)?;
        let issuer = configuration.issuer();
        let identities = Identities::read(configuration)?;
        let made_up_people = identities.are_made_up();
        let mut builder = AuthorizationServer::builder(&issuer)
            .shared_store(store(configuration)?)
            .lifetimes(configuration.lifetimes())
            .registration(
                configuration
                    .registration
                    .policy(&configuration.allowed_redirect_uris)?,
            )
            .limits(configuration.limits.limits());
        builder = match configuration.keys()? {
            Keys::Made(algorithm) => builder.signing_algorithm(algorithm),
            Keys::Own(key) => builder.keys(KeySet::new(key)),
            Keys::Stored(algorithm, sealing, rotation) => {
                if configuration.redis()?.is_none() {
                    tracing::warn!(
                        "everything is kept in memory, so the sealed signing keys end with this process all the same: to \
                         keep them, use JWT_PRIVATE_KEY_B64 or REDIS_URL"
                    );
                }
                builder.signing_algorithm(algorithm).stored_keys(sealing, rotation)
            }
        };
        if configuration.device_authorization {
            builder = builder.device_authorization();
        }
        builder = with_clients(builder, configuration, &issuer)?;
        builder = with_resources(builder, configuration, &servers, &issuer)?;
        let backends = configuration.backends.iter();
        let of_backends = backends.map(|(name, backend)| backend.allowed_users(name));
        let of_backends: Vec<_> = of_backends.collect::<anyhow::Result<_>>()?;
        let own_lists = servers.iter().map(|server| &server.allow).chain(&of_backends);
        builder = identities.tell(builder, own_lists.flatten());
        if let Some(sealing) = configuration.vault_sealing()? {
            builder = builder.vault(sealing);
        }
        let auth = builder.build().context("the authorization server cannot be built")?;

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

/// Tells the builder what there is to protect: what the gateway serves, and what a proxy does.
fn with_resources(
    mut builder: AuthorizationServerBuilder,
    configuration: &Configuration,
    servers: &[Server],
    issuer: &str,
) -> anyhow::Result<AuthorizationServerBuilder> {
    let mut resources = Vec::new();
    for server in servers {
        let resource = Resource::new(&server.uri(issuer))?.name(&server.name);
        resources.push(match &server.allow {
            Some(allow) => resource.allow(allow.clone()),
            None => resource,
        });
    }
    for (name, backend) in &configuration.backends {
        resources.push(backend.resource(name)?);
    }
    // Clients that name no resource get the first one.
    if let Some(first) = resources.first() {
        builder = builder.default_resource(first.uri().as_str());
    }
    for resource in resources {
        builder = builder.resource(resource.scope(SCOPE, "see and use its tools in your name")?);
    }
    Ok(builder)
}

/// The endpoints of the authorization server, and those that proxies ask if they serve anything.
fn endpoints(auth: &AuthorizationServer, configuration: &Configuration) -> anyhow::Result<Router> {
    let mut routes = Routes::new(auth).behind(configuration.trusted_proxies()?);
    if !configuration.backends.is_empty() {
        let mut forward_auth = configuration.forward_auth.apply(ForwardAuth::of(auth));
        for backend in configuration.backends.values() {
            forward_auth = backend.add_places(forward_auth)?;
        }
        routes = routes.forward_auth(forward_auth);
    }
    Ok(routes.into_router())
}

/// Tells the builder all that the file says about clients, and about who vouches for people to them.
fn with_clients(
    mut builder: AuthorizationServerBuilder,
    configuration: &Configuration,
    issuer: &str,
) -> anyhow::Result<AuthorizationServerBuilder> {
    if configuration.client_id_metadata_documents {
        let trusted = configuration.trusted_client_hosts.as_deref();
        let hosts = clients::hosts(trusted, &configuration.distrusted_client_hosts)?;
        builder = builder
            .client_id_metadata_documents(Fetcher::default())
            .trust_client_hosts(hosts);
    }
    if configuration.names_keys_elsewhere() {
        builder = builder.remote_keys(Fetcher::default().maximum_body(MAXIMUM_SIZE));
    }
    for client in &configuration.clients {
        builder = builder.client(client.client(|server| format!("{issuer}/{server}/mcp"))?);
    }
    for enterprise in &configuration.enterprises {
        builder = builder.enterprise(enterprise.issuer()?);
    }
    Ok(builder)
}

impl Server {
    fn uri(&self, issuer: &str) -> String {
        format!("{issuer}/{}/mcp", self.path)
    }
}

/// Where records are kept. Redis need not be there yet: until it is, the gateway is not ready.
fn store(configuration: &Configuration) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match configuration.redis()? {
        Some(redis) => Arc::new(RedisStore::new(&redis).context("Redis cannot be used")?),
        None => Arc::new(MemoryStore::default()),
    })
}

fn servers(configuration: &Configuration) -> anyhow::Result<Vec<Server>> {
    let mut servers = Vec::new();
    if configuration.built_in_servers {
        // The notebook is a program of its own that knows nothing of HTTP: here it is this very program in another
        // role.
        let itself = std::env::current_exe().context("cannot find the program's own file")?;
        let allow = configuration.built_in_allowed_users()?;
        servers.push(Server {
            path: "echo".to_owned(),
            name: "Echo".to_owned(),
            allow: allow.clone(),
            kind: Kind::Embedded,
        });
        servers.push(Server {
            path: "notes".to_owned(),
            name: "Notes".to_owned(),
            allow,
            kind: Kind::Stdio(Box::new(Command::new(itself).arg("notes"))),
        });
    }
    for (path, server) in &configuration.servers {
        if servers.iter().any(|other| other.path == *path) {
            anyhow::bail!(
                "[servers.{path}] has the name of a built-in server: rename it, or set built_in_servers = false"
            );
        }
        let name = server.name.clone().unwrap_or_else(|| path.clone());
        servers.push(Server {
            path: path.clone(),
            name,
            allow: server.allowed_users(path)?,
            kind: Kind::Stdio(Box::new(command(server))),
        });
    }
    Ok(servers)
}

fn command(server: &StdioServer) -> Command {
    let (program, arguments) = server
        .command
        .split_first()
        .expect("the configuration was checked for it");
    let mut command = Command::new(program).args(arguments);
    for (name, value) in &server.env {
        command = command.env(name, value);
    }
    for name in &server.pass_env {
        command = command.pass_env(name);
    }
    if let Some(directory) = &server.directory {
        command = command.current_dir(directory);
    }
    command
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

/// Refuses requests for names that are not this gateway's, as a page makes them that has had its own name point here.
/// Proxies that ask may call the gateway what they like: they are known by their address.
async fn known_host(State(hosts): State<Arc<Vec<String>>>, request: Request, next: Next) -> Response {
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

/// Waits until the process is told to stop. It listens from now on, so whoever tells it before anybody waits is heard.
#[cfg(unix)]
pub(crate) fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + use<>> {
    use tokio::signal::unix::{SignalKind, signal};
    let cannot = "cannot listen for being told to stop";
    let mut interrupt = signal(SignalKind::interrupt()).context(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).context(cannot)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Waits until the process is told to stop.
#[cfg(not(unix))]
pub(crate) fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + use<>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
