//! One of the MCP servers of this program, by itself: behind a reverse proxy that asks the gateway about each request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::routing::get;
use clap::ValueEnum;
use mcp_oauth_tower::Fetcher;
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;

use crate::echo::{EchoServer, Sessions};
use crate::fetch::FetchServer;
use crate::signals::Signals;

/// Which server, and where it listens.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_enum)]
    server: Server,

    /// Address to listen on. Whoever reaches it is believed to be the proxy
    #[arg(long, env = "MCP_BIND_HOST", default_value = "127.0.0.1", value_name = "ADDRESS")]
    host: IpAddr,

    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "MCP_PORT", default_value_t = 3000)]
    port: u16,

    /// A host name that clients reach the server by, beside localhost. May be repeated
    #[arg(long, env = "MCP_ALLOWED_HOSTS", value_delimiter = ',', value_name = "HOST")]
    allowed_host: Vec<String>,

    /// Let the fetching server fetch from this machine, by http too: for development
    #[arg(long)]
    allow_loopback: bool,
}

/// The servers that there are.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Server {
    /// Echoes, with sessions: 11 tools
    EchoStateful,
    /// Echoes, without sessions: 9 tools
    EchoStateless,
    /// Fetches pages of the public internet
    Fetchs,
}

/// Serves it until it is told to stop.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
    hosts.extend(options.allowed_host.iter().filter(|host| !host.is_empty()).cloned());
    let configuration = StreamableHttpServerConfig::default().with_allowed_hosts(hosts);
    let router = match options.server {
        Server::EchoStateful => service(configuration, EchoServer::behind_a_proxy),
        Server::EchoStateless => service(
            configuration.with_legacy_session_mode(false),
            EchoServer::without_sessions,
        ),
        Server::Fetchs => {
            let fetcher = if options.allow_loopback {
                Fetcher::default().allow_loopback()
            } else {
                Fetcher::default()
            };
            let server = FetchServer::new(fetcher);
            service(configuration.with_legacy_session_mode(false), move || server.clone())
        }
    };
    let mut signals = Signals::listen()?;
    let stop = async move { signals.stop().await };
    let address = SocketAddr::new(options.host, options.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    eprintln!("full-gateway serves http://{}/mcp", listener.local_addr()?);
    axum::serve(listener, router).with_graceful_shutdown(stop).await?;
    Ok(())
}

fn service<S: ServerHandler>(
    configuration: StreamableHttpServerConfig,
    server: impl Fn() -> S + Send + Sync + 'static,
) -> Router {
    let service = StreamableHttpService::new(move || Ok(server()), Arc::<Sessions>::default(), configuration);
    Router::new()
        .route("/health", get(async || "ok"))
        .route_service("/mcp", service.clone())
        .route_service("/mcp/", service)
}
