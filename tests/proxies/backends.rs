//! The servers behind the proxy: they know nothing of sign-in, and believe what the proxy says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use http::request::Parts;
use mcp_oauth_tests::example::program;
use mcp_stdio_bridge::{Bridge, Command, Hosts, Origins};
use rmcp::handler::server::tool::Extension;
use rmcp::model::ProgressNotificationParam;
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, tool, tool_router};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A request as a server behind the proxy has got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) target: String,
    headers: Vec<(String, String)>,
}

impl Seen {
    /// The values of every header that a program may take for this one, whatever the case and the hyphens.
    pub(crate) fn alike(&self, name: &str) -> Vec<&str> {
        let plain = |name: &str| name.to_ascii_lowercase().replace('_', "-");
        let headers = self.headers.iter().filter(|(known, _)| plain(known) == plain(name));
        headers.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn mentions(&self, text: &str) -> bool {
        self.headers.iter().any(|(_, value)| value.contains(text))
    }
}

/// What reached the servers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(Arc<Mutex<Vec<Seen>>>);

impl Record {
    /// Takes what has come since the last time.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Takes the one request that has come.
    pub(crate) fn only(&self) -> Seen {
        let mut seen = self.take();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }
}

async fn note(State(record): State<Record>, request: Request, next: Next) -> Response {
    let headers = request.headers().iter();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let seen = Seen {
        target: request.uri().to_string(),
        headers: headers
            .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
            .collect(),
    };
    record.0.lock().unwrap().push(seen);
    let mut response = next.run(request).await;
    // The proxy's own configuration is to keep it from holding events back.
    response.headers_mut().remove("x-accel-buffering");
    response
}

/// Lets a tool go on that waits.
pub(crate) type Release = Arc<Notify>;

#[derive(Clone, Debug)]
struct Echo {
    release: Release,
}

#[tool_router(server_handler)]
impl Echo {
    #[tool(description = "Tells who calls")]
    fn whoami(Extension(parts): Extension<Parts>) -> String {
        let user = parts.headers.get("x-user-name").and_then(|value| value.to_str().ok());
        user.unwrap_or("nobody").to_owned()
    }

    #[tool(description = "Says that it has begun, and ends when it is told to")]
    async fn wait(&self, context: RequestContext<RoleServer>) -> String {
        if let Some(token) = context.meta.get_progress_token() {
            let progress = ProgressNotificationParam::new(token, 1.0).with_message("it has begun");
            context.peer.notify_progress(progress).await.unwrap();
        }
        self.release.notified().await;
        "it has ended".to_owned()
    }
}

/// Both servers on free ports.
pub(crate) struct Backends {
    pub(crate) echo: SocketAddr,
    pub(crate) notes: SocketAddr,
    pub(crate) record: Record,
    pub(crate) release: Release,
    _bridge: Bridge,
}

impl Backends {
    pub(crate) async fn start() -> Self {
        let (record, release) = (Record::default(), Release::default());
        let handler = Echo {
            release: Arc::clone(&release),
        };
        let configuration = StreamableHttpServerConfig::default().with_legacy_session_mode(false);
        let service = StreamableHttpService::new(
            move || Ok(handler.clone()),
            LocalSessionManager::default().into(),
            configuration,
        );
        let bridge = Bridge::builder(Command::new(program("scripted-server")))
            .hosts(Hosts::loopback())
            .origins(Origins::any())
            .build()
            .unwrap();
        let noted = middleware::from_fn_with_state(record.clone(), note);
        let echo = Router::new().nest_service("/mcp", service).layer(noted.clone());
        Self {
            echo: serve(echo).await,
            notes: serve(bridge.router().layer(noted)).await,
            record,
            release,
            _bridge: bridge,
        }
    }
}

/// Serves on a free port until the test ends.
pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}
