//! An authorization server and what it serves, in one breath.

use mcp_oauth_core::server::AuthorizationServer;

use crate::layer::{OAuthLayer, UnknownResource};

/// What this crate adds to an [`AuthorizationServer`], as methods. Each is short for a function of its own.
///
/// ```
/// use mcp_oauth_tower::{AuthorizationServer, AuthorizationServerExt, UnknownResource};
///
/// # #[cfg(feature = "axum")]
/// fn application(auth: &AuthorizationServer, mcp: axum::Router) -> Result<axum::Router, UnknownResource> {
///     Ok(axum::Router::new().nest("/mcp", mcp).layer(auth.protect("/mcp")?).merge(auth.router()))
/// }
/// ```
pub trait AuthorizationServerExt {
    /// [`OAuthLayer::new`] for the resource at this path of the issuer's own host.
    ///
    /// # Errors
    ///
    /// When the server has no such resource.
    fn protect(&self, path: &str) -> Result<OAuthLayer, UnknownResource>;

    /// [`router`](fn@crate::router).
    #[cfg(feature = "axum")]
    fn router(&self) -> axum::Router;

    /// [`allowed_hosts`](crate::allowed_hosts).
    fn allowed_hosts(&self) -> Vec<String>;
}

impl AuthorizationServerExt for AuthorizationServer {
    fn protect(&self, path: &str) -> Result<OAuthLayer, UnknownResource> {
        OAuthLayer::new(self, &format!("{}{path}", self.issuer().origin()))
    }

    #[cfg(feature = "axum")]
    fn router(&self) -> axum::Router {
        crate::router::router(self)
    }

    fn allowed_hosts(&self) -> Vec<String> {
        crate::allowed_hosts(self)
    }
}
