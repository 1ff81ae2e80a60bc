//! The layer: how protection is configured.

use std::sync::Arc;

use mcp_oauth_core::resource::Resource;
use mcp_oauth_core::secret::{MarkingKey, Secret};
use mcp_oauth_core::server::AuthorizationServer;
use tower_layer::Layer;

use crate::authenticator::Authenticator;
use crate::protection::Protection;
use crate::refusal::{Challenges, EmptyBody, JsonBody};
use crate::service::OAuthService;

/// The authorization server does not know the resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authorization server has no resource {0:?}: add it to the builder with .resource(Resource::new({0:?})?)")]
#[non_exhaustive]
pub struct UnknownResource(String);

/// Lets only callers through who have an access token for one protected resource.
///
/// * The token comes in the `Authorization` header, exactly once. It is verified before anything else happens:
///   method, `Accept`, body and session are the server's business and are not looked at before.
/// * Every scope of the resource is required.
/// * The server gets a [`Caller`](crate::Caller) as a request extension, and no `Authorization` header: the token
///   is for this layer, and a server that cannot see it cannot pass it on (MCP *Token Passthrough*).
/// * An MCP session can be used by the caller who opened it and by nobody else.
///
/// Refusals have no body unless [`with_json_bodies`](Self::with_json_bodies) is called. Cross-origin requests are
/// not treated here: put [`cors::protected_resource`](crate::cors::protected_resource) outside, so that preflights
/// are answered before this layer asks for a token.
///
/// Cloning costs one reference count.
///
/// # Example
///
/// ```
/// use mcp_oauth_tower::{AuthorizationServer, OAuthLayer, UnknownResource};
///
/// # #[cfg(feature = "axum")]
/// fn protect(mcp: axum::Router, auth: &AuthorizationServer) -> Result<axum::Router, UnknownResource> {
///     Ok(mcp.layer(OAuthLayer::new(auth, "https://mcp.example.com/mcp")?))
/// }
/// ```
#[derive(Debug)]
pub struct OAuthLayer<B = EmptyBody> {
    protection: Arc<Protection>,
    body: B,
}

impl<B: Clone> Clone for OAuthLayer<B> {
    fn clone(&self) -> Self {
        Self {
            protection: Arc::clone(&self.protection),
            body: self.body.clone(),
        }
    }
}

impl OAuthLayer {
    /// Protects the resource with this URI, for callers with tokens of this authorization server.
    ///
    /// # Errors
    ///
    /// When the server does not know the resource.
    pub fn new(server: &AuthorizationServer, resource: &str) -> Result<Self, UnknownResource> {
        let unknown = || UnknownResource(resource.to_owned());
        let resource: Resource = server.resource(resource).ok_or_else(unknown)?.clone();
        let challenges = Challenges::new(&resource).map_err(|_| unknown())?;
        let protection = Protection {
            authenticator: Authenticator::own(server, resource.uri()),
            required: resource.scopes(),
            challenges,
            session_key: MarkingKey::random(),
        };
        Ok(Self {
            protection: Arc::new(protection),
            body: EmptyBody,
        })
    }
}

impl<B> OAuthLayer<B> {
    /// Explains refusals in JSON, for servers whose body type can be made of text, such as axum's.
    #[must_use]
    pub fn with_json_bodies(self) -> OAuthLayer<JsonBody> {
        self.with_bodies(JsonBody)
    }

    /// Makes the bodies of refusals with a type of one's own.
    #[must_use]
    pub fn with_bodies<C>(self, body: C) -> OAuthLayer<C> {
        OAuthLayer {
            protection: self.protection,
            body,
        }
    }

    /// Binds sessions with a key that follows from `secret`. Needed where several processes serve the sessions of
    /// one server; by itself a layer makes a key of its own, and sessions do not outlive the process.
    #[must_use]
    pub fn session_secret(self, secret: &Secret) -> Self {
        Self {
            protection: Arc::new(self.protection.with_session_secret(secret)),
            body: self.body,
        }
    }
}

impl<S, B: Clone> Layer<S> for OAuthLayer<B> {
    type Service = OAuthService<S, B>;

    fn layer(&self, inner: S) -> Self::Service {
        OAuthService::new(inner, Arc::clone(&self.protection), self.body.clone())
    }
}
