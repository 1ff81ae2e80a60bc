//! OAuth 2.1 in front of an MCP server.
//!
//! Two halves that fit together and can be used apart:
//!
//! * [`OAuthLayer`] protects a server: a `tower` middleware that lets only callers with a good access token
//!   through, tells the others where to get one, and hands the verified [`Caller`] on.
//! * [`router`](fn@router) serves an [`AuthorizationServer`]: the endpoints that clients sign in with, the metadata
//!   by which they find them, and the pages that people see.
//!
//! # A protected server
//!
//! ```
//! use mcp_oauth_tower::{AllowList, AuthorizationServer, Caller, DevIdentity, MemoryStore, OAuthLayer, Resource, cors};
//!
//! async fn hello(caller: Caller) -> String {
//!     format!("Hello, {}!", caller.name().unwrap_or("whoever you are"))
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let auth = AuthorizationServer::builder("http://127.0.0.1:8080")
//!     .resource(Resource::new("http://127.0.0.1:8080/mcp")?.scope("mcp", "use the tools")?)
//!     .identity(DevIdentity::default())
//!     .allow(AllowList::everybody())
//!     .store(MemoryStore::default())
//!     .build()?;
//! let app: axum::Router = axum::Router::new()
//!     .route("/mcp", axum::routing::post(hello))
//!     .layer(OAuthLayer::new(&auth, "http://127.0.0.1:8080/mcp")?)
//!     .layer(cors::protected_resource())
//!     .merge(mcp_oauth_tower::router(&auth));
//! # Ok(())
//! # }
//! ```
//!
//! # The map
//!
//! | to find | look in |
//! |---|---|
//! | the layer and what it does with a request | [`OAuthLayer`], [`service`], [`future`](mod@future) |
//! | how it says no | [`refusal`] |
//! | who calls | [`Caller`], and [`upstream`] for acting in their name elsewhere |
//! | the endpoints over HTTP | [`router`](mod@router) |
//! | browsers | [`cors`] |
//! | proxies | [`proxies`] |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `axum` (default) | the routers, the pages, and `Caller` as an extractor |
//! | `memory` (default) | `MemoryStore` |
//! | `cimd` | clients whose identifier is the URL of their metadata document |
//! | `remote-jwks` | keys that clients and identity providers publish at an address; `cimd` brings it along |
//! | `github` | sign in with GitHub |
//! | `oidc` | sign in with any OpenID Connect provider |
//!
//! # Deployment
//!
//! Issuer and resources are configured and never read from a request, so no header can change where clients are
//! sent. Behind a proxy, let the proxy terminate TLS and hand everything on as it is. A server that checks `Host`
//! itself, as `rmcp` does, has to be told the public name: see [`allowed_hosts`].

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod authenticator;
mod bearer;
pub mod caller;
#[cfg(feature = "axum")]
pub mod cors;
pub mod future;
pub mod layer;
#[cfg(feature = "axum")]
mod pages;
mod protection;
#[cfg(feature = "axum")]
pub mod proxies;
pub mod refusal;
#[cfg(feature = "axum")]
pub mod router;
pub mod service;
mod session;
pub mod upstream;

pub use caller::Caller;
pub use layer::{OAuthLayer, UnknownResource};
pub use mcp_oauth_core;
#[cfg(feature = "cimd")]
pub use mcp_oauth_core::client::host_policy::HostPolicy;
pub use mcp_oauth_core::client::preregistered::PreregisteredClient;
pub use mcp_oauth_core::client::registration::GrantType;
pub use mcp_oauth_core::client::registration::policy::RegistrationPolicy;
#[cfg(feature = "remote-jwks")]
pub use mcp_oauth_core::fetch::Fetcher;
pub use mcp_oauth_core::identity::development::DevIdentity;
pub use mcp_oauth_core::identity::enterprise::EnterpriseIssuer;
#[cfg(feature = "github")]
pub use mcp_oauth_core::identity::github::GitHub;
#[cfg(feature = "oidc")]
pub use mcp_oauth_core::identity::oidc::OpenIdConnect;
pub use mcp_oauth_core::policy::AllowList;
pub use mcp_oauth_core::resource::Resource;
pub use mcp_oauth_core::server::AuthorizationServer;
pub use mcp_oauth_core::server::builder::{ConfigurationError, Lifetimes};
pub use mcp_oauth_core::token::keys::{Algorithm, KeyRotation, KeySealing, KeySet, SigningKey};
#[cfg(feature = "memory")]
pub use mcp_oauth_store::MemoryStore;
#[cfg(feature = "redis")]
pub use mcp_oauth_store::redis::{RedisConfiguration, RedisStore};
#[cfg(feature = "axum")]
pub use proxies::TrustedProxies;
#[cfg(feature = "axum")]
pub use router::{Routes, router};

/// The host names under which the protected resources are reached, for servers that check `Host`; each stands for every
/// port.
///
/// `rmcp`'s `StreamableHttpServerConfig` accepts loopback hosts alone unless told otherwise, so behind a proxy every
/// request would be refused: give it `.with_allowed_hosts(allowed_hosts(&auth))`. Ports are left out because a proxy
/// may or may not pass them on, and because a name, not a port, is what a page can have pointed at somebody else's
/// server.
#[must_use]
pub fn allowed_hosts(server: &AuthorizationServer) -> Vec<String> {
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
    let public = server
        .resources()
        .iter()
        .filter_map(|resource| resource.uri().url().host_str());
    for host in public.chain([server.issuer().host()]) {
        if !hosts.iter().any(|known| known == host) {
            hosts.push(host.to_owned());
        }
    }
    hosts
}

#[cfg(all(doctest, feature = "axum", feature = "memory"))]
#[doc = include_str!("../README.md")]
struct Readme;
