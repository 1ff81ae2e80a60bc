//! The layer: how protection is configured.

use std::sync::Arc;

use http::header::InvalidHeaderValue;
use mcp_oauth_core::resource::Resource;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::AuthorizationServer;
use tower_layer::Layer;

use crate::authenticator::Authenticator;
use crate::bodies::{AsTheyCome, DEFAULT_MAXIMUM_BODY, ReadBodies};
use crate::protection::Protection;
use crate::refusal::{EmptyBody, JsonBody};
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
/// * Every scope of the resource is required, unless its [rules](mcp_oauth_core::scope::rules) say that what is called needs
///   less. What is called is read in the headers `Mcp-Method` and `Mcp-Name` where `MCP-Protocol-Version` says that the
///   server holds them against the body (2026-07-28 and later), and in the body if the layer [reads
///   bodies](Self::read_bodies). It then holds the headers against the body itself; without reading, that is left to the
///   server, so a server that takes such a version without knowing it must not be given rules by that way alone.
/// * The server gets a [`Caller`](crate::Caller) as a request extension, and no `Authorization` header: the token
///   is for this layer, and a server that cannot see it cannot pass it on (MCP *Token Passthrough*).
/// * An MCP session can be used by the caller who opened it and by nobody else.
///
/// Refusals have no body unless [`with_json_bodies`](Self::with_json_bodies) is called. Cross-origin requests are
/// not treated here: put [`cors::protected_resource`](crate::cors::protected_resource) outside, so that preflights
/// are answered before this layer asks for a token.
///
/// Cloning costs one reference count. A request costs least where this is around a service (`layer.layer(service)`): an axum
/// `Router` boxes once more whatever its own `layer` wraps.
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
#[derive(Clone, Debug)]
pub struct OAuthLayer<B = EmptyBody, P = AsTheyCome> {
    protection: Arc<Protection>,
    body: B,
    bodies: P,
}

impl OAuthLayer {
    /// Protects the resource with this URI, for callers with tokens of this authorization server.
    ///
    /// # Errors
    ///
    /// When the server does not know the resource.
    pub fn new(server: &AuthorizationServer, resource: &str) -> Result<Self, UnknownResource> {
        let unknown = || UnknownResource(resource.to_owned());
        let resource: &Resource = server.resource(resource).ok_or_else(unknown)?;
        let authenticator = Authenticator::own(server, resource.uri());
        Self::of(resource, authenticator).map_err(|_| unknown())
    }

    /// Protects a resource, for whomever the authenticator knows.
    pub(crate) fn of(resource: &Resource, authenticator: Authenticator) -> Result<Self, InvalidHeaderValue> {
        Ok(Self {
            protection: Arc::new(Protection::new(resource, authenticator)?),
            body: EmptyBody,
            bodies: AsTheyCome,
        })
    }
}

impl<B, P> OAuthLayer<B, P> {
    /// Explains refusals in JSON, for servers whose body type can be made of text, such as axum's.
    #[must_use]
    pub fn with_json_bodies(self) -> OAuthLayer<JsonBody, P> {
        self.with_bodies(JsonBody)
    }

    /// Makes the bodies of refusals with a type of one's own.
    #[must_use]
    pub fn with_bodies<C>(self, body: C) -> OAuthLayer<C, P> {
        OAuthLayer {
            protection: self.protection,
            body,
            bodies: self.bodies,
        }
    }

    /// Reads the bodies of requests, where the resource has [rules](mcp_oauth_core::scope::rules) about what is called, up
    /// to [`DEFAULT_MAXIMUM_BODY`]. They have to be of a type that can be made of
    /// bytes, as axum's is.
    #[must_use]
    pub fn read_bodies(self) -> OAuthLayer<B, ReadBodies> {
        self.read_bodies_up_to(DEFAULT_MAXIMUM_BODY)
    }

    /// The same up to this many bytes. A longer body is answered with `413`.
    #[must_use]
    pub fn read_bodies_up_to(self, maximum: usize) -> OAuthLayer<B, ReadBodies> {
        OAuthLayer {
            protection: self.protection,
            body: self.body,
            bodies: ReadBodies::up_to(maximum),
        }
    }

    /// Binds sessions with a key that follows from `secret`. Needed where several processes serve the sessions of
    /// one server; by itself a layer makes a key of its own, and sessions do not outlive the process.
    #[must_use]
    pub fn session_secret(self, secret: &Secret) -> Self {
        Self {
            protection: Arc::new(self.protection.with_session_secret(secret)),
            body: self.body,
            bodies: self.bodies,
        }
    }
}

impl<S, B: Clone, P: Clone> Layer<S> for OAuthLayer<B, P> {
    type Service = OAuthService<S, B, P>;

    fn layer(&self, inner: S) -> Self::Service {
        OAuthService::new(
            inner,
            Arc::clone(&self.protection),
            self.body.clone(),
            self.bodies.clone(),
        )
    }
}
