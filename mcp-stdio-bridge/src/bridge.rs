//! The bridge as an application holds it, and how it is configured.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;

use crate::command::Command;
use crate::config::{ConfigError, Limits};
use crate::front::guard::{Guard, Hosts, Origins};
use crate::front::{self, Front};
use crate::session::Sessions;

/// A stdio MCP server behind streamable HTTP.
///
/// Each client that sends `initialize` gets a process of its own. The handle is cheap to clone; when the last one and
/// the last [`router`](Self::router) are gone, so are the processes. To wait for their end, use
/// [`shutdown`](Self::shutdown).
///
/// # Who the caller is
///
/// The bridge does not ask. Whoever has a session's id may use the session. Where several people share a bridge, put
/// a layer in front that authenticates them and keeps each to the sessions they opened.
#[derive(Debug, Clone)]
pub struct Bridge {
    front: Arc<Front>,
    path: Arc<str>,
}

impl Bridge {
    /// A bridge to this server, with the defaults that [`Builder`] names.
    pub fn builder(command: Command) -> Builder {
        Builder {
            command,
            path: "/mcp".to_owned(),
            hosts: Hosts::default(),
            origins: Origins::default(),
            limits: Limits::default(),
        }
    }

    /// The routes: the endpoint (`/mcp` and `/mcp/`) and `/health`.
    ///
    /// They can be nested and merged, and have layers put in front, as any [`Router`]. `/health` answers `200` with
    /// JSON, and `503` from the beginning of a shutdown; it starts nothing, and any `Host` may ask.
    pub fn router(&self) -> Router {
        front::router(Arc::clone(&self.front), &self.path)
    }

    /// How many sessions are open.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.front.sessions.len()
    }

    /// Ends all sessions, and returns when the last process is gone: mostly at once, at the latest after some six
    /// seconds. Requests in flight get their error at once, and new sessions are refused.
    pub async fn shutdown(&self) {
        self.front.sessions.shutdown().await;
    }
}

/// The configuration of a [`Bridge`].
#[derive(Debug, Clone)]
#[must_use]
pub struct Builder {
    command: Command,
    path: String,
    hosts: Hosts,
    origins: Origins,
    limits: Limits,
}

impl Builder {
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

    /// The longest body of a request, in bytes; default 4 MiB. A longer one is answered with `413`.
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

    /// How many sessions, and so processes, there can be; default 100. Then `initialize` is answered with `503`.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.limits.max_sessions = sessions;
        self
    }

    /// How many requests of one session can wait for their answers; default 256. Then the next is answered with
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

    /// The bridge. No process is started before a client asks for one.
    ///
    /// # Errors
    ///
    /// The path, a host or an origin is not one, or a bound is zero.
    pub fn build(self) -> Result<Bridge, ConfigError> {
        let Self {
            command,
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
        ];
        if let Some((name, _)) = bounds.into_iter().find(|(_, bound)| *bound == 0) {
            return Err(ConfigError::Zero(name));
        }
        let guard = Guard::new(hosts, origins)?;
        let max_body = limits.max_body;
        let sessions = Sessions::new(command, Arc::new(limits));
        Ok(Bridge {
            front: Arc::new(Front {
                guard,
                sessions,
                max_body,
            }),
            path: path.into(),
        })
    }
}
