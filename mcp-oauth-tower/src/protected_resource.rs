//! A protected resource with somebody else's authorization server: Keycloak, Auth0, another process of this project.
//!
//! ```
//! use mcp_oauth_tower::{InvalidProtectedResource, ProtectedResource};
//!
//! # #[cfg(feature = "axum")]
//! fn protect(mcp: axum::Router) -> Result<axum::Router, InvalidProtectedResource> {
//!     let resource = ProtectedResource::builder("https://mcp.example.com/mcp")
//!         .issuer("https://login.example.com")
//!         .require("mcp:read")
//!         .build()?;
//!     Ok(mcp.layer(resource.layer()).merge(resource.router()))
//! }
//! ```
//!
//! Nothing is fetched when it is built; the issuer's metadata and keys are when the first token comes. How tokens are
//! verified is described at [`ForeignTokens`], what servers need whose tokens are not as RFC 9068 has them at
//! [`TrustedIssuer`].

use std::sync::Arc;

use mcp_oauth_core::access::foreign::{ForeignTokens, InvalidTrustedIssuer, TrustedIssuer};
use mcp_oauth_core::clock::{Clock, SystemClock};
use mcp_oauth_core::fetch::Fetcher;
use mcp_oauth_core::resource::{InvalidResource, Resource};

use crate::authenticator::Authenticator;
use crate::layer::OAuthLayer;

/// Why a resource cannot be protected like that. Each says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProtectedResource {
    /// The resource is none, or a scope of it.
    #[error(transparent)]
    Resource(#[from] InvalidResource),
    /// An authorization server cannot be trusted like that.
    #[error(transparent)]
    Issuer(#[from] InvalidTrustedIssuer),
}

/// A protected resource whose tokens come from somebody else's authorization servers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ProtectedResource {
    resource: Resource,
    tokens: ForeignTokens,
    layer: OAuthLayer,
}

/// Puts a [`ProtectedResource`] together.
#[derive(Debug)]
#[must_use]
pub struct ProtectedResourceBuilder {
    resource: Result<Resource, InvalidResource>,
    issuers: Vec<TrustedIssuer>,
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
}

impl ProtectedResource {
    /// Begins with the URI of the resource, as clients know it.
    pub fn builder(uri: &str) -> ProtectedResourceBuilder {
        ProtectedResourceBuilder {
            resource: Resource::new(uri),
            issuers: Vec::new(),
            fetcher: Fetcher::default(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Begins with a resource that has more to it than a URI: a name, [rules](mcp_oauth_core::scope::rules) about what is
    /// called.
    pub fn of(resource: Resource) -> ProtectedResourceBuilder {
        ProtectedResourceBuilder {
            resource: Ok(resource),
            ..Self::builder("")
        }
    }

    /// The layer that goes in front of the server. All that come from here bind sessions with the same key.
    #[must_use]
    pub fn layer(&self) -> OAuthLayer {
        self.layer.clone()
    }

    /// What verifies tokens, for other ways than HTTP.
    #[must_use]
    pub fn authenticator(&self) -> Authenticator {
        Authenticator::foreign(self.tokens.clone())
    }

    /// The host names under which the resource is reached, for servers that check `Host`; see
    /// [`allowed_hosts`](crate::allowed_hosts).
    #[must_use]
    pub fn allowed_hosts(&self) -> Vec<String> {
        crate::hosts(self.resource.uri().url().host_str())
    }

    /// The metadata by which clients find the authorization servers (RFC 9728), at its place between host and path. To be
    /// merged into the application at its root.
    #[cfg(feature = "axum")]
    pub fn router(&self) -> axum::Router {
        use axum::routing::get;
        use http::header::CACHE_CONTROL;
        use mcp_oauth_core::server::metadata::ProtectedResourceMetadata;

        let issuers = self.tokens.issuers().map(str::to_owned).collect();
        let metadata = ProtectedResourceMetadata::new(&self.resource, issuers);
        let headers = [(CACHE_CONTROL, "public, max-age=3600")];
        axum::Router::new()
            .route(
                self.resource.metadata_url().path(),
                get(async move || (headers, axum::Json(metadata.clone()))),
            )
            .route_layer(crate::cors::endpoint())
    }
}

impl ProtectedResourceBuilder {
    /// Trusts an authorization server, named to the letter as in its metadata. Clients are sent to the first one.
    pub fn issuer(mut self, issuer: impl Into<TrustedIssuer>) -> Self {
        self.issuers.push(issuer.into());
        self
    }

    /// Asks every caller for this scope.
    pub fn require(mut self, scope: &str) -> Self {
        self.resource = self.resource.and_then(|resource| resource.scope(scope, scope));
        self
    }

    /// What people and clients read as the resource's name; its host unless said otherwise.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.resource = self.resource.map(|resource| resource.name(name));
        self
    }

    /// Lets authorization servers be on this machine, by http too. For development and tests.
    pub fn allow_loopback(mut self) -> Self {
        self.fetcher = self.fetcher.allow_loopback();
        self
    }

    /// Lets authorization servers be in a private network (RFC 1918, RFC 6598, RFC 4193), by https.
    pub fn allow_private_networks(mut self) -> Self {
        self.fetcher = self.fetcher.allow_private_networks();
        self
    }

    /// What fetches metadata, keys and answers, with timeouts, a resolver and a number of fetches at a time of one's own. Call
    /// it before the two above.
    pub fn fetcher(mut self, fetcher: Fetcher) -> Self {
        self.fetcher = fetcher;
        self
    }

    /// What tells the time; the operating system unless said otherwise.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks all of it, and fetches nothing.
    ///
    /// # Errors
    ///
    /// When the resource or an issuer is none, or there is no issuer; the message says what to change.
    pub fn build(self) -> Result<ProtectedResource, InvalidProtectedResource> {
        let resource = self.resource?;
        let tokens = ForeignTokens::new(resource.uri().clone(), self.issuers, self.fetcher, self.clock)?;
        let layer = OAuthLayer::of(&resource, Authenticator::foreign(tokens.clone()))
            .map_err(|_| InvalidResource::NotAUrl(resource.uri().to_string()))?;
        Ok(ProtectedResource {
            resource,
            tokens,
            layer,
        })
    }
}
