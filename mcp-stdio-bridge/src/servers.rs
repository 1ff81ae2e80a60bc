//! Many servers in one process, from a file in the form that people have already.
//!
//! ```json
//! {
//!   "mcpServers": {
//!     "time":  { "command": "uvx", "args": ["mcp-server-time"] },
//!     "notes": { "command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "${userHome}/notes"],
//!                "env": { "TOKEN": "${NOTES_TOKEN}" }, "cwd": "/srv", "share": "per-user" }
//!   }
//! }
//! ```
//!
//! That is what Claude Desktop reads; `servers`, as VS Code has it, does as well. Each server is at a path of its own,
//! `/time/mcp` and `/notes/mcp`. Beside `command`, `args`, `env`, `cwd` and `disabled` an entry may have what is only
//! known here: `share` (`per-session`, `per-user`, `shared`), `passEnv` (names), `spares`, `maxSessions` and
//! `idleTimeout` (seconds). Other members are left alone, and entries with a `url` are none of a stdio bridge's. In
//! texts placeholders stand for variables: `${NAME}`, `${NAME:-default}`, `${env:NAME}`, `${userHome}`, and in `env`
//! also `${caller.subject}` and the like (see [`Command::caller_env`]).
//!
//! When the file is read again, only what has changed in it changes: servers that are new begin, those that are gone or
//! different end in order, and nobody else notices. An entry that is wrong is an error of its own server's path only.

mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{OriginalUri, Request, State};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri, header};
use serde_json::Value;
use tokio_util::task::TaskTracker;

use self::file::{Configure, EntryError};
use crate::bridge::{Bridge, BridgeBuilder};
use crate::command::Command;
use crate::front;
use crate::server::Readiness;

/// The servers of a file, each behind a bridge of its own.
///
/// ```no_run
/// use mcp_stdio_bridge::{Bridge, Servers};
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let servers = Servers::open("servers.json", |_name, command| Bridge::builder(command).max_sessions(20))?;
/// let app = axum::Router::new().nest("/tools", servers.router());
/// // Reads the file again whenever it changes.
/// tokio::spawn({
///     let servers = servers.clone();
///     async move { servers.watch(std::time::Duration::from_secs(2)).await }
/// });
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(listener, app).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Servers(Arc<Inner>);

struct Inner {
    file: PathBuf,
    configure: Box<Configure>,
    running: RwLock<BTreeMap<String, Entry>>,
    /// The shutdowns of those that are gone from the file.
    ending: TaskTracker,
}

/// One server of the file.
struct Entry {
    /// As the file has it.
    said: Value,
    bridge: Result<Bridge, EntryError>,
}

/// Why a file of servers cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServersError {
    /// The file cannot be read.
    #[error("{0} cannot be read")]
    Read(PathBuf, #[source] std::io::Error),
    /// The file is not what it should be.
    #[error("{0} is not a file of servers")]
    Form(PathBuf, #[source] serde_json::Error),
    /// The file has neither `mcpServers` nor `servers`.
    #[error("{0} has neither `mcpServers` nor `servers`")]
    Nothing(PathBuf),
}

impl Servers {
    /// Reads a file. `configure` makes a configuration of each server's name and command; what the entry itself says of
    /// sessions and sharing comes on top.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not a file of servers. An entry that is wrong is not an error here: it is logged,
    /// and what comes to its path is answered with `503`.
    pub fn open(
        file: impl Into<PathBuf>,
        configure: impl Fn(&str, Command) -> BridgeBuilder + Send + Sync + 'static,
    ) -> Result<Self, ServersError> {
        let servers = Self(Arc::new(Inner {
            file: file.into(),
            configure: Box::new(configure),
            running: RwLock::default(),
            ending: TaskTracker::new(),
        }));
        servers.reload()?;
        Ok(servers)
    }

    /// The routes: `/NAME/mcp`, `/NAME/health` and `/NAME/ready` for each server, and `/health` and `/ready` for all.
    /// They follow the file.
    pub fn router(&self) -> Router {
        let route = async |State(servers): State<Self>, OriginalUri(uri): OriginalUri, request: Request| {
            route(&servers, &uri, request).await
        };
        Router::new().fallback(route).with_state(self.clone())
    }

    /// What the [routes](Self::router) answer, without a router around; see [`Bridge::answer`].
    pub async fn answer(&self, request: Request) -> Response {
        let uri = request.uri().clone();
        route(self, &uri, request).await
    }

    /// The names of the servers, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.read().keys().cloned().collect()
    }

    /// Reads the file again.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open); then everything stays as it was.
    pub fn reload(&self) -> Result<(), ServersError> {
        let said = file::read(&self.0.file)?;
        let mut gone = Vec::new();
        {
            let mut running = self.0.running.write().unwrap_or_else(PoisonError::into_inner);
            let removed: Vec<_> = running
                .iter()
                .filter(|(name, entry)| said.get(*name) != Some(&entry.said))
                .map(|(name, _)| name.clone())
                .collect();
            for name in removed {
                gone.extend(running.remove(&name).and_then(|entry| entry.bridge.ok()));
            }
            for (name, said) in said {
                if running.contains_key(&name) {
                    continue;
                }
                let bridge = self.build(&name, &said);
                match &bridge {
                    Ok(_) => tracing::info!(server = name, "the server is served"),
                    Err(error) => tracing::error!(server = name, %error, "the server cannot be served"),
                }
                running.insert(name, Entry { said, bridge });
            }
        }
        for bridge in gone {
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => {
                    self.0.ending.spawn_on(async move { bridge.shutdown().await }, &runtime);
                }
                Err(_) => bridge.stop(),
            }
        }
        Ok(())
    }

    /// Reads the file again whenever it has changed, looking so often. Does not end.
    pub async fn watch(&self, every: Duration) {
        let mut before = file::stamp(&self.0.file);
        loop {
            tokio::time::sleep(every).await;
            let now = file::stamp(&self.0.file);
            if now == before {
                continue;
            }
            before = now;
            match self.reload() {
                Ok(()) => tracing::info!("the file of servers was read again"),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "everything stays as it was");
                }
            }
        }
    }

    /// Ends all servers in order, as [`Bridge::shutdown`] does, all at the same time.
    pub async fn shutdown(&self) {
        let ends = self
            .bridges()
            .into_iter()
            .map(|bridge| async move { bridge.shutdown().await });
        futures_util::future::join_all(ends).await;
        self.0.ending.close();
        self.0.ending.wait().await;
    }

    /// Ends all servers at once.
    pub fn stop(&self) {
        for bridge in self.bridges() {
            bridge.stop();
        }
    }

    fn bridges(&self) -> Vec<Bridge> {
        self.read()
            .values()
            .filter_map(|entry| entry.bridge.clone().ok())
            .collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Entry>> {
        self.0.running.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn build(&self, name: &str, said: &Value) -> Result<Bridge, EntryError> {
        let builder = file::configured(name, said, &*self.0.configure)?;
        let bridge = builder.build()?;
        bridge.warm_up();
        Ok(bridge)
    }

    /// Whether all are ready, and how each is.
    fn readiness(&self) -> (bool, Value) {
        let mut all = true;
        let mut each = serde_json::Map::new();
        for (name, entry) in &*self.read() {
            let readiness = entry.bridge.as_ref().ok().map(Bridge::readiness);
            all &= readiness == Some(Readiness::Ready);
            let word = readiness.map_or("misconfigured", front::word);
            each.insert(name.clone(), word.into());
        }
        (all, Value::Object(each))
    }
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Servers")
            .field("file", &self.0.file)
            .field("names", &self.names())
            .finish_non_exhaustive()
    }
}

async fn route(servers: &Servers, uri: &Uri, request: Request) -> Response {
    let path = request.uri().path().trim_matches('/').to_owned();
    let asked = matches!(*request.method(), Method::GET | Method::HEAD);
    match path.as_str() {
        "health" if asked => return front::status(true, "ok"),
        "ready" if asked => {
            let (all, each) = servers.readiness();
            let status = if all {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            let body = serde_json::json!({ "status": if all { "ready" } else { "degraded" }, "servers": each });
            let headers = [
                (header::CONTENT_TYPE, "application/json"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            return (status, headers, body.to_string()).into_response();
        }
        _ => {}
    }
    let Some((name, rest)) = path.split_once('/') else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let bridge = servers.read().get(name).map(|entry| entry.bridge.clone());
    match bridge {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(Err(_)) => front::status(false, "misconfigured"),
        Some(Ok(bridge)) => {
            if rest == bridge.path().trim_matches('/') {
                return front::serve(bridge.front(), request).await;
            }
            Box::pin(front::serve_beside(bridge.front(), rest, uri, request)).await
        }
    }
}
