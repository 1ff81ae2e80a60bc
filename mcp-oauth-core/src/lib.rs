//! OAuth 2.1 for MCP servers, as state machines.
//!
//! This crate is the protocol and nothing else: it knows no HTTP framework, no database and no HTML. An
//! [`AuthorizationServer`](server::AuthorizationServer) takes typed requests and gives typed answers; between the
//! two it reads and writes records of a [`Store`](store::Store) and asks an
//! [`IdentityProvider`](identity::IdentityProvider) who people are. To serve it over HTTP, use `mcp-oauth-tower`;
//! for places to keep records, `mcp-oauth-store`.
//!
//! # What it does
//!
//! The authorization code grant with PKCE (OAuth 2.1, RFC 7636), for clients that register themselves (RFC 7591),
//! for tokens that are bound to a resource (RFC 8707, RFC 9068), with consent before anybody is asked to sign in,
//! with the issuer in every answer (RFC 9207), and with metadata for all of it (RFC 8414, RFC 9728). For devices without
//! a browser, the device authorization grant (RFC 8628).
//!
//! # The map
//!
//! | to find | look in |
//! |---|---|
//! | the endpoints, and the server they share | [`server`] |
//! | what one approval leads to: code and refresh tokens | [`grant`] |
//! | an authorization request on its way | [`transaction`] |
//! | a device that waits to be let in | [`device`] |
//! | clients: registration, redirect URIs, authentication | [`client`] |
//! | access tokens: keys, claims, verification | [`token`] |
//! | what a protected resource knows of its caller | [`access`] |
//! | tokens that others have signed: their keys, and what they prove | [`jwt`] |
//! | which grants have ended | [`revocation`] |
//! | who people are, and who may sign in | [`identity`], [`policy`] |
//! | where records are kept, and copies of them | [`store`], [`backup`] |
//! | clients of the Python project that this one follows | [`predecessor`] |
//! | what those who run a server see and do | [`server::operator`] |
//! | what happened, from where, and how often it may | [`audit`], [`origin`], [`limits`] |
//! | the vocabulary | [`issuer`], [`resource`], [`scope`], [`pkce`], [`secret`], [`parameters`], [`error`], [`clock`], [`randomness`] |
//!
//! # A server
//!
//! ```
//! use mcp_oauth_core::identity::development::DevIdentity;
//! use mcp_oauth_core::policy::AllowList;
//! use mcp_oauth_core::resource::Resource;
//! use mcp_oauth_core::server::AuthorizationServer;
//! use mcp_oauth_core::server::builder::ConfigurationError;
//!
//! # fn example(store: impl mcp_oauth_core::store::Store) -> Result<AuthorizationServer, ConfigurationError> {
//! AuthorizationServer::builder("http://127.0.0.1:8080")
//!     .resource(Resource::new("http://127.0.0.1:8080/mcp")?.scope("mcp", "use its tools")?)
//!     .identity(DevIdentity::default())
//!     .allow(AllowList::everybody())
//!     .store(store)
//!     .build()
//! # }
//! ```
//!
//! # Security
//!
//! * **Secrets** are [`Secret`](secret::Secret)s, which no `Debug` shows, and the store gets their digests alone.
//! * **Each step** is one read and one compare-and-set of one record. Of two that meet, one wins, on any number of nodes.
//! * **Fail closed**: no allow-list lets nobody in, and a store that does not answer is an
//!   [error](error::ErrorCode) of its own, never a "no" and never a "yes".
//! * **Clocks and chance** come from [`Clock`](clock::Clock) and [`Randomness`](randomness::Randomness). Hand in others in tests only.
//! * **What happened** is told to an [`AuditSink`](audit::AuditSink): replayed codes and tokens are how a theft is noticed.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `cimd` | clients whose identifier is the URL of their metadata document, and what it needs to get it within bounds |
//! | `fetch` | `fetch`: outbound HTTP within bounds; the features that need it turn it on |
//! | `remote-jwks` | keys that clients and identity providers publish at an address, and `fetch`, which gets them within bounds |
//! | `oidc` | `identity::oidc`: sign in with any OpenID Connect provider, and `remote-jwks` |
//! | `github` | `identity::github`: sign in with GitHub or GitHub Enterprise Server |
//! | `metrics` | `metrics`: what happens, counted and timed, for whatever recorder the program installs |
//! | `test-util` | `clock::ManualClock`, a clock that tests turn by hand; `store::contract`, what every store has to pass |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod access;
pub mod audit;
pub mod backup;
pub mod client;
pub mod clock;
pub mod device;
pub mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod grant;
pub mod identity;
pub mod issuer;
pub mod jwt;
pub mod limits;
mod members;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod origin;
pub mod parameters;
pub mod pkce;
pub mod policy;
pub mod predecessor;
pub mod randomness;
pub mod resource;
pub mod revocation;
pub mod scope;
pub mod secret;
pub mod server;
pub mod store;
mod telemetry;
pub mod token;
pub mod transaction;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
