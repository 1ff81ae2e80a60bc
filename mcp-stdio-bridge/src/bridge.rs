//! The bridge as an application holds it, and how it is configured.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::HeaderName;

use crate::command::Command;
use crate::config::{ConfigError, Limits, Share};
use crate::events::{EventStore, MemoryEvents};
use crate::front::guard::{Guard, Hosts, Origins};
use crate::front::http_sse::HttpSse;
use crate::front::{self, Front};
use crate::server::{Configuration, Readiness, Server};

/// A stdio MCP server behind streamable HTTP.
///
/// Each client that sends `initialize` gets a process of its own. The handle is cheap to clone; when the last one and
/// the last [`router`](Self::router) are gone, so are the processes. To wait for their end, use
/// [`shutdown`](Self::shutdown).
///
/// # Who the caller is
///
/// The bridge does not ask; a layer in front does, and says so with a [`Caller`](crate::Caller) in the extensions of
/// each request. A session belongs to the caller who opened it. Without such a layer, whoever has a session's id may
/// use the session.
#[derive(Debug, Clone)]
pub struct Bridge {
    front: Arc<Front>,
    path: Arc<str>,
}

impl Bridge {
    /// A bridge to this server, with the defaults that [`BridgeBuilder`] names.
    pub fn builder(command: Command) -> BridgeBuilder {
        BridgeBuilder {
            command,
            name: None,
            share: Share::default(),
            caller_header: None,
            caller_meta: None,
            store: None,
            http_sse: false,
            path: "/mcp".to_owned(),
            hosts: Hosts::default(),
            origins: Origins::default(),
            limits: Limits::default(),
        }
    }

    /// The routes: the endpoint (`/mcp` and `/mcp/`), `/health` and `/ready`.
    ///
    /// They can be nested and merged, and have layers put in front, as any [`Router`]. `/health` answers `200` with
    /// JSON, and `503` from the beginning of a shutdown; `/ready` answers `503` also where a new client would not be
    /// served, because the server's last start has failed or there is no room. Neither starts anything, and any `Host`
    /// may ask.
    pub fn router(&self) -> Router {
        self.warm_up();
        front::router(Arc::clone(&self.front), &self.path)
    }

    /// What the [routes](Self::router) answer, without a router around the endpoint: for a server that takes its connections
    /// itself, or has its own way to the bridge, and where what a router costs would show.
    ///
    /// ```
    /// use mcp_stdio_bridge::{Bridge, Command};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bridge = Bridge::builder(Command::new("my-server")).build()?;
    /// let request = http::Request::get("http://localhost/health").body(axum::body::Body::empty())?;
    /// assert_eq!(bridge.answer(request).await.status(), 200);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn answer(&self, request: Request) -> Response {
        let path = request.uri().path();
        if path.strip_suffix('/').unwrap_or(path) == &*self.path {
            return front::serve(&self.front, request).await;
        }
        let uri = request.uri().clone();
        let path = uri.path().strip_prefix('/').unwrap_or_default();
        Box::pin(front::serve_beside(&self.front, path, &uri, request)).await
    }

    /// How many sessions are open.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.front.server.sessions().len()
    }

    /// Ends everything in order: new requests are refused, those in flight may finish within the
    /// [time](BridgeBuilder::drain_timeout) set for that and get an error then, and the processes are ended. Returns when the
    /// last one is gone, which takes some six seconds more if it does not want to go.
    pub async fn shutdown(&self) {
        self.front.server.shutdown().await;
    }

    /// Ends everything at once; [`shutdown`](Self::shutdown) can be waited for after it.
    pub fn stop(&self) {
        self.front.server.stop();
    }

    /// Starts the [spares](BridgeBuilder::spares), if there is a runtime for them to be started in. [`router`](Self::router) has
    /// done so; without it, the first client would wait for the first start.
    pub fn warm_up(&self) {
        if tokio::runtime::Handle::try_current().is_ok() {
            self.front.server.warm_up();
        }
    }

    pub(crate) fn front(&self) -> &Arc<Front> {
        &self.front
    }

    pub(crate) fn readiness(&self) -> Readiness {
        self.front.server.readiness()
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// The configuration of a [`Bridge`].
#[derive(Debug, Clone)]
#[must_use]
pub struct BridgeBuilder {
    command: Command,
    name: Option<String>,
    share: Share,
    caller_header: Option<String>,
    caller_meta: Option<String>,
    store: Option<Arc<dyn EventStore>>,
    http_sse: bool,
    path: String,
    hosts: Hosts,
    origins: Origins,
    limits: Limits,
}

impl BridgeBuilder {
    /// What the server is called in the log; the program's name where nothing is said.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Which clients share a process; default [`Share::PerSession`].
    pub fn share(mut self, share: Share) -> Self {
        self.share = share;
        self
    }

    /// Takes the caller's name from a header that a proxy in front sets, where no [`Caller`](crate::Caller) says who
    /// calls. Only for a bridge that nobody can reach but through that proxy: whoever else sets the header is who they
    /// like.
    pub fn caller_header(mut self, name: impl Into<String>) -> Self {
        self.caller_header = Some(name.into());
        self
    }

    /// Tells the server who calls: with each request, under this name in `_meta`, an object with `subject` and whatever
    /// else is known, or `null`. What a client says there itself is replaced.
    pub fn caller_meta(mut self, name: impl Into<String>) -> Self {
        self.caller_meta = Some(name.into());
        self
    }

    /// Where events are kept for clients whose connection breaks; default [`MemoryEvents`].
    pub fn event_store(mut self, store: impl EventStore + 'static) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Serves the two endpoints of MCP 2024-11-05 as well, `/sse` and `/message`; default no. For clients that know
    /// nothing newer.
    pub fn http_sse(mut self, wanted: bool) -> Self {
        self.http_sse = wanted;
        self
    }

    /// The endpoint's path; default `/mcp`. It is served with a slash at the end as well.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The hosts under which the bridge is reached; default [`Hosts::loopback`].
    pub fn hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts;
        self
    }

    /// The origins of pages that may use the bridge, beside those of its hosts; default [`Origins::none`].
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// The longest body of a request, in bytes; default 16 MiB. A longer one is answered with `413`.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.limits.max_body = bytes;
        self
    }

    /// The longest message of the server, in bytes; default 16 MiB. Of a longer one, the request that it answers
    /// fails, and nothing else.
    pub fn max_line(mut self, bytes: usize) -> Self {
        self.limits.max_line = bytes;
        self
    }

    /// How many sessions there can be, and how many processes; default 100. Then one that has been idle for five
    /// minutes makes room, or `initialize` is answered with `503`.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.limits.max_sessions = sessions;
        self
    }

    /// How many sessions one [`Caller`](crate::Caller) can have; default as many as there can be.
    pub fn max_sessions_per_caller(mut self, sessions: impl Into<Option<usize>>) -> Self {
        self.limits.max_sessions_per_caller = sessions.into();
        self
    }

    /// How many processes one client of 2026-07-28 can have of a server that has to be initialized, for calls in which
    /// the server may ask back; default 4. With 1 all its calls meet the same process, one after the other.
    pub fn max_pool(mut self, processes: usize) -> Self {
        self.limits.max_pool = processes;
        self
    }

    /// How many requests to one process can wait for their answers; default 256. Then the next is answered with
    /// `503`, unless the client of one that waits has gone: that one's answer is given up.
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.limits.max_calls = calls;
        self
    }

    /// How long a session lives after its last request and its last stream; default 30 minutes. `None` is for ever.
    pub fn idle_timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.limits.idle_timeout = time.into();
        self
    }

    /// How long a server has to answer `initialize`; default 30 seconds.
    pub fn handshake_timeout(mut self, time: Duration) -> Self {
        self.limits.handshake_timeout = time;
        self
    }

    /// How long a server has to answer any other request; default `None`, as long as it takes. Then the client gets
    /// an error, and the server is told that the request is cancelled.
    pub fn request_timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.limits.request_timeout = time.into();
        self
    }

    /// How long a server may be silent when it is asked which era of the protocol it speaks; default 2 seconds. Then
    /// another process is initialized beside the one that was asked, and whichever answers first is used.
    pub fn probe_timeout(mut self, time: Duration) -> Self {
        self.limits.probe_timeout = time;
        self
    }

    /// How long a call waits for what its client of 2026-07-28 was asked; default 10 minutes.
    pub fn input_timeout(mut self, time: Duration) -> Self {
        self.limits.input_timeout = time;
        self
    }

    /// How long requests in flight have to finish at a shutdown; default 3 seconds.
    pub fn drain_timeout(mut self, time: Duration) -> Self {
        self.limits.drain_timeout = time;
        self
    }

    /// How long an answer may take before its response becomes an event stream; default 10 seconds. From then on
    /// proxies see a sign of life, and a client with a session whose connection breaks can come back for the answer.
    pub fn stream_after(mut self, time: Duration) -> Self {
        self.limits.stream_after = time;
        self
    }

    /// How many processes are started before anybody asks; default none. For servers that take their time to come up.
    /// They come on top of [`max_sessions`](Self::max_sessions).
    pub fn spares(mut self, processes: usize) -> Self {
        self.limits.spares = processes;
        self
    }

    /// Whether a client is told what a server that did not start has written to stderr; default no. It is in the log in
    /// any case. A server may print its settings there: only for clients that may see them.
    pub fn tell_stderr(mut self, tell: bool) -> Self {
        self.limits.tell_stderr = tell;
        self
    }

    /// The bridge. No process is started before a client asks for one, but for [spares](Self::spares), which are started
    /// with the first [`router`](Bridge::router).
    ///
    /// # Errors
    ///
    /// The path, a host or an origin is not one, a bound is zero, or the command cannot be run as configured.
    pub fn build(self) -> Result<Bridge, ConfigError> {
        let Self {
            command,
            name,
            share,
            caller_header,
            caller_meta,
            store,
            http_sse,
            path,
            hosts,
            origins,
            limits,
        } = self;
        if !path.starts_with('/') || path.contains(['{', '}', '?', '#']) {
            return Err(ConfigError::Path(path));
        }
        let bounds = [
            ("max_body", limits.max_body),
            ("max_line", limits.max_line),
            ("max_sessions", limits.max_sessions),
            ("max_calls", limits.max_calls),
            ("max_pool", limits.max_pool),
        ];
        if let Some((name, _)) = bounds.into_iter().find(|(_, bound)| *bound == 0) {
            return Err(ConfigError::Zero(name));
        }
        command.check(share == Share::Shared)?;
        let caller_header = match caller_header {
            Some(name) => Some(HeaderName::try_from(&name).map_err(|_| ConfigError::Header(name))?),
            None => None,
        };
        let guard = Arc::new(Guard::new(hosts, origins)?);
        let program = std::path::Path::new(command.program()).file_name();
        let program = program.map(|name| name.to_string_lossy().into_owned());
        let server = Server::new(Configuration {
            name: name.or(program).unwrap_or_else(|| "server".to_owned()),
            command,
            share,
            limits,
            caller_meta,
            store: store.unwrap_or_else(|| Arc::new(MemoryEvents::default())),
        });
        Ok(Bridge {
            front: Arc::new(Front {
                guard,
                server,
                caller_header,
                http_sse: http_sse.then(HttpSse::default),
            }),
            path: match path.trim_matches('/') {
                "" => "".into(),
                path => format!("/{path}").into(),
            },
        })
    }
}
