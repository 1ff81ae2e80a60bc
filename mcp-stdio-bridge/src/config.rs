//! The bounds within which a bridge works, and what can be wrong with a configuration.
//!
//! Everything that grows with what others send has a bound here. At a bound the caller gets an error that says so,
//! and nobody else notices.

use std::time::Duration;

/// The bounds a bridge is built with; [`Builder`](crate::Builder) documents each.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) max_body: usize,
    pub(crate) max_line: usize,
    pub(crate) max_sessions: usize,
    pub(crate) max_calls: usize,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) request_timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 4 * 1024 * 1024,
            max_line: 16 * 1024 * 1024,
            max_sessions: 100,
            max_calls: 256,
            idle_timeout: Some(Duration::from_secs(30 * 60)),
            handshake_timeout: Duration::from_secs(30),
            request_timeout: None,
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
}
