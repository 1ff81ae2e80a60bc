//! OAuth 2.1 in front of an MCP server.
//!
//! Two halves that fit together and can be used apart:
//!
//! * [`OAuthLayer`] protects a server: a `tower` middleware that lets only callers with a good access token
//!   through, tells the others where to get one, and hands the verified [`Caller`] on.
//! * [`router`](fn@router) serves an [`AuthorizationServer`]: the endpoints that clients sign in with, the metadata
//!   by which they find them, and the pages that people see.
//!
//! # A server that people sign in to
//!
//! The whole of it, with GitHub as the place where people sign in and [`rmcp`](https://docs.rs/rmcp) as the server
//! (features `github` and `rmcp`):
//!
//! ```no_run
//! # #[cfg(all(feature = "axum", feature = "memory", feature = "github", feature = "rmcp"))]
//! # mod program {
//! use mcp_oauth_tower::{
//!     AllowList, AuthorizationServer, AuthorizationServerExt, Caller, GitHub, MemoryStore, Resource, cors,
//! };
//! use rmcp::transport::streamable_http_server::{
//!     StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
//! };
//!
//! struct Tools;
//!
//! #[rmcp::tool_router(server_handler)]
//! impl Tools {
//!     #[rmcp::tool(description = "Tells who is signed in.")]
//!     fn whoami(caller: Caller) -> String {
//!         caller.subject().to_owned()
//!     }
//! }
//!
//! # pub
//! async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//!     let auth = AuthorizationServer::builder("https://mcp.example.com")
//!         .resource(Resource::new("https://mcp.example.com/mcp")?.scope("mcp:tools", "use the tools")?)
//!         .identity(GitHub::new("client id", "client secret"))
//!         .allow(AllowList::parse("ada, grace")?)
//!         .store(MemoryStore::default())
//!         .build()?;
//!     let config = StreamableHttpServerConfig::default().with_allowed_hosts(auth.allowed_hosts());
//!     let mcp = StreamableHttpService::new(|| Ok(Tools), LocalSessionManager::default().into(), config);
//!     let app = axum::Router::new()
//!         .nest_service("/mcp", mcp)
//!         .layer(auth.protect("/mcp")?)
//!         .layer(cors::protected_resource())
//!         .merge(auth.router());
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     Ok(axum::serve(listener, app.into_make_service_with_connect_info::<std::net::SocketAddr>()).await?)
//! }
//! # }
//! ```
//!
//! It is for a proxy in front that does TLS, which [`Routes::behind`](router::Routes::behind) then has to name. To try it on
//! your own machine, have `http://127.0.0.1:8080` in place of `https://mcp.example.com`, and [`DevIdentity`] in place of
//! `GitHub`.
//!
//! # A server with somebody else's authorization server
//!
//! Keycloak, Auth0, another process of this project (feature `remote-jwks`):
//!
//! ```
//! # #[cfg(all(feature = "axum", feature = "remote-jwks"))]
//! # fn protect(mcp: axum::Router) -> Result<axum::Router, Box<dyn std::error::Error>> {
//! use mcp_oauth_tower::ProtectedResource;
//!
//! let resource = ProtectedResource::builder("https://mcp.example.com/mcp")
//!     .issuer("https://login.example.com")
//!     .require("mcp:read")
//!     .build()?;
//! let app = axum::Router::new()
//!     .nest("/mcp", mcp)
//!     .layer(resource.layer())
//!     .merge(resource.router());
//! # Ok(app)
//! # }
//! ```
//!
//! # The map
//!
//! | to find | look in |
//! |---|---|
//! | the layer and what it does with a request | [`OAuthLayer`], [`service`], [`future`](mod@future) |
//! | how it says no | [`refusal`] |
//! | which scopes a tool, a prompt or a method needs | [`Rule`], and [`bodies`] for clients that say what they call nowhere else |
//! | whether a token is good | [`authenticator`] |
//! | somebody else's authorization server | `protected_resource` (feature `remote-jwks`) |
//! | who calls | [`Caller`], and [`upstream`] for acting in their name elsewhere |
//! | the authorization server and all that can be set | [`AuthorizationServer`], [`mcp_oauth_core::server::builder`] |
//! | where people sign in, and who may | [`DevIdentity`], `GitHub`, `OpenIdConnect`, [`AllowList`]; [`mcp_oauth_core::identity`] for one of your own |
//! | the endpoints over HTTP | [`router`](mod@router) |
//! | what people see | [`pages`] |
//! | a reverse proxy that asks about each request | [`forward_auth`] |
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
//! | `remote-jwks` | keys that others publish at an address, of clients, identity providers and authorization servers: `ProtectedResource`; `cimd` brings it along |
//! | `rmcp` | `Caller` as an argument of rmcp's tools; follows rmcp's major versions |
//! | `metrics` | `metrics`: what happens, counted and timed, for whatever recorder the program installs |
//! | `github` | sign in with GitHub |
//! | `oidc` | sign in with any OpenID Connect provider |
//! | `redis` | `RedisStore`: records that several processes share, in Redis or Valkey |
//! | `redis-tls` | TLS to it |
//!
//! # Security
//!
//! * The layer fails closed: what it cannot decide is 503, what is not allowed is 401 or 403, and no error of the store lets a
//!   request through.
//! * `Authorization` does not reach the server behind the layer; who calls does, as a [`Caller`]. To act in somebody's name
//!   elsewhere there is [`upstream`], and never the client's own token.
//! * Put CORS *outside* of the layer: preflights carry no token.
//! * Pages run no script and load nothing; their policy is in every answer and cannot be loosened by accident.
//! * What is promised, and what an operator has to do, stands in the project's `SECURITY.md`.
//!
//! # Deployment
//!
//! Quotas are counted by the network that a request comes from, and that is known only to an application which is served with
//! `into_make_service_with_connect_info::<SocketAddr>()`, as above. What happens is told through [`tracing`](https://docs.rs/tracing):
//! install a subscriber to see who signed in, who was refused, and why.
//!
//! Issuer and resources are configured and never read from a request, so no header can change where clients are
//! sent. Behind a proxy, let the proxy terminate TLS and hand everything on as it is. A server that checks `Host`
//! itself, as `rmcp` does, has to be told the public name: see [`allowed_hosts`].

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod authenticator;
mod bearer;
pub mod bodies;
pub mod caller;
#[cfg(feature = "axum")]
pub mod cors;
mod decisions;
mod drain;
mod extension;
#[cfg(feature = "axum")]
pub mod forward_auth;
pub mod future;
pub mod layer;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "axum")]
pub mod pages;
#[cfg(feature = "remote-jwks")]
pub mod protected_resource;
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
pub use extension::AuthorizationServerExt;
#[cfg(feature = "axum")]
pub use forward_auth::ForwardAuth;
pub use layer::{OAuthLayer, UnknownResource};
pub use mcp_oauth_core;
#[cfg(feature = "remote-jwks")]
pub use mcp_oauth_core::access::foreign::TrustedIssuer;
#[cfg(feature = "cimd")]
pub use mcp_oauth_core::client::host_policy::HostPolicy;
pub use mcp_oauth_core::client::preregistered::PreregisteredClient;
pub use mcp_oauth_core::client::registration::GrantType;
pub use mcp_oauth_core::client::registration_policy::RegistrationPolicy;
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
pub use mcp_oauth_core::scope::rules::Rule;
pub use mcp_oauth_core::secret::Secret;
pub use mcp_oauth_core::server::AuthorizationServer;
pub use mcp_oauth_core::server::builder::{ConfigurationError, Lifetimes};
pub use mcp_oauth_core::token::keys::{Algorithm, KeyRotation, KeySealing, KeySet, SigningKey};
#[cfg(feature = "memory")]
pub use mcp_oauth_store::MemoryStore;
#[cfg(feature = "redis")]
pub use mcp_oauth_store::redis::{RedisConfiguration, RedisStore};
#[cfg(feature = "axum")]
pub use pages::Pages;
#[cfg(feature = "remote-jwks")]
pub use protected_resource::{InvalidProtectedResource, ProtectedResource};
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
    let public = server
        .resources()
        .iter()
        .filter_map(|resource| resource.uri().url().host_str());
    hosts(public.chain([server.issuer().host()]))
}

/// The names of this machine to itself, and these.
fn hosts<'a>(public: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
    for host in public {
        if !hosts.iter().any(|known| known == host) {
            hosts.push(host.to_owned());
        }
    }
    hosts
}

#[cfg(all(doctest, feature = "axum", feature = "memory"))]
#[doc = include_str!("../README.md")]
struct Readme;
