//! The bounds within which a bridge works, and what can be wrong with a configuration.
//!
//! Everything that grows with what others send has a bound here. At a bound the caller gets an error that says so,
//! and nobody else notices.

use std::time::Duration;

/// Which clients share a server process.
///
/// A process serves one era of the protocol, and, where it is told at the start what its client can do, clients that
/// can do the same. Within that, it serves as many as this says.
///
/// ```
/// use mcp_stdio_bridge::{Bridge, Command, Share};
///
/// let bridge = Bridge::builder(Command::new("my-server")).share(Share::PerUser);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Share {
    /// Each session has a process of its own: the default. Requests of the protocol without sessions share a process
    /// with those of the same caller.
    #[default]
    PerSession,
    /// All sessions and requests of one [`Caller`](crate::Caller) have a process.
    PerUser,
    /// Everybody shares a process. For servers that keep nothing of a client.
    Shared,
}

/// The bounds a bridge is built with; [`BridgeBuilder`](crate::BridgeBuilder) documents each.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) max_body: usize,
    pub(crate) max_line: usize,
    pub(crate) max_sessions: usize,
    pub(crate) max_sessions_per_caller: Option<usize>,
    pub(crate) max_calls: usize,
    pub(crate) max_pool: usize,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) probe_timeout: Duration,
    pub(crate) input_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    /// How long an answer may take before the response becomes a stream.
    pub(crate) stream_after: Duration,
    pub(crate) spares: usize,
    pub(crate) tell_stderr: bool,
}

impl Limits {
    /// How long a client waits for an answer before it gets something else: a stream, or an error.
    pub(crate) fn patience(&self) -> Duration {
        self.request_timeout
            .map_or(self.stream_after, |timeout| timeout.min(self.stream_after))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 16 * 1024 * 1024,
            max_line: 16 * 1024 * 1024,
            max_sessions: 100,
            max_sessions_per_caller: None,
            max_calls: 256,
            max_pool: 4,
            idle_timeout: Some(Duration::from_secs(30 * 60)),
            handshake_timeout: Duration::from_secs(30),
            request_timeout: None,
            probe_timeout: Duration::from_secs(2),
            input_timeout: Duration::from_secs(10 * 60),
            drain_timeout: Duration::from_secs(3),
            stream_after: Duration::from_secs(10),
            spares: 0,
            tell_stderr: false,
        }
    }
}

/// Why a bridge cannot be built as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The path is not one that can be routed.
    #[error("the path `{0}` has to begin with `/` and to have no `{{`, `}}`, `?` or `#`")]
    Path(String),
    /// An allowed host is not a host name or address, with a port or without.
    #[error("`{0}` is not a host: write `mcp.example.com`, `mcp.example.com:8443` or `[::1]`, without a scheme")]
    Host(String),
    /// An allowed origin is not an origin.
    #[error("`{0}` is not an origin: write scheme and host as in `https://app.example.com`, without a path")]
    Origin(String),
    /// A bound of nothing lets nothing through.
    #[error("`{0}` has to be greater than zero")]
    Zero(&'static str),
    /// A placeholder is none of those that are documented.
    #[error("`${{{0}}}` is not known here; write `$${{` where the characters themselves are meant")]
    Placeholder(String),
    /// A variable that a placeholder names is not set.
    #[error("the environment variable `{0}` is not set; give a default with `${{{0}:-…}}`")]
    Unset(String),
    /// A process that everybody shares cannot be told who calls.
    #[error("`${{caller.…}}` needs a process for each session or each user; this one is shared")]
    SharedCaller,
    /// The header is not one that can name a caller.
    #[error("`{0}` is not a header name")]
    Header(String),
    /// Limits need a program that calls [`helper::run`](crate::helper::run) first.
    #[error("resource limits need a program that calls `mcp_stdio_bridge::helper::run` before all else")]
    NoHelper,
    /// The system does not have it.
    #[error("{0} cannot be set on this system")]
    Unsupported(&'static str),
}
