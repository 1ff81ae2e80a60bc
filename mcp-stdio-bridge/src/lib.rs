//! Puts an unmodified stdio MCP server behind streamable HTTP.
//!
//! Most MCP servers are programs that talk over stdin and stdout to the one client that started them. This crate
//! starts such a program for each client that comes over HTTP, and carries the messages both ways as they are: the
//! server sees the client's own `initialize`, and the client sees every member of every result, known to this crate or
//! not. (The package is named `mcp-oauth-stdio-bridge`; the library is `mcp_stdio_bridge`.)
//!
//! ```no_run
//! use mcp_stdio_bridge::{Bridge, Command};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let bridge = Bridge::builder(Command::new("uvx").arg("mcp-server-time")).build()?;
//! let app = axum::Router::new().nest("/time", bridge.router());
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing is started before a client asks for it, so this much runs as it stands:
//!
//! ```
//! use axum::body::Body;
//! use mcp_stdio_bridge::{Bridge, Command, Hosts};
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bridge = Bridge::builder(Command::new("uvx").arg("mcp-server-time"))
//!     .hosts(Hosts::loopback().and("mcp.example.com"))
//!     .build()?;
//!
//! // A page of some other site tries to drive the server.
//! let request = http::Request::post("/mcp")
//!     .header("host", "mcp.example.com")
//!     .header("origin", "https://evil.example")
//!     .body(Body::empty())?;
//! let response = bridge.router().oneshot(request).await?;
//! assert_eq!(response.status(), 403);
//! assert_eq!(bridge.sessions(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # What it does
//!
//! - **The protocol** on both sides is MCP 2024-11-05 to 2025-11-25, with sessions, event streams that can be resumed
//!   ([`EventStore`]) and, where the version has them, batches; and MCP 2026-07-28, where every request stands alone.
//!   In the same era messages pass byte for byte but for their ids. Between the eras they are translated, with whatever
//!   both can say: what a server asks of its client, progress, logging, changes, cancellation.
//! - **A process for each session**, or one that a user's sessions share, or everybody's ([`Share`]), with an environment
//!   of its own ([`Command`]). It ends with what it is for, together with whatever it started: stdin closed, SIGTERM
//!   after two seconds, SIGKILL after three more; also if the bridge itself is killed ([`helper`]). If it ends by itself,
//!   everything in flight fails at once, and the next request is told that the session is gone. One that does not get
//!   through its start is left alone for a while, and longer each time.
//! - **Ids are kept apart.** Clients may use one id for several requests at once; each gets the answer to its own. The
//!   same holds for progress tokens, subscriptions and cancellations.
//! - **Bounds** on everything ([`BridgeBuilder`]): bodies, messages, sessions, requests in flight, queues, lines of stderr. A
//!   client that does not read is waited for only where nobody else is kept waiting, and then cut off.
//! - **Guarded** against pages in a browser ([`Hosts`], [`Origins`]). Who the caller is, is for a layer in front to say
//!   ([`Caller`]); a session belongs to the caller who opened it.
//! - **Many servers** from one file, each at its own path ([`Servers`]).
//!
//! # The map
//!
//! | to find | look in |
//! |---|---|
//! | one server behind HTTP, and all that can be set | [`Bridge`], [`BridgeBuilder`] |
//! | the program, what it sees of the environment, what it may use of the machine | [`Command`], [`ResourceLimits`] |
//! | which clients share a process, and who they are | [`Share`], [`Caller`] |
//! | which names and pages the bridge answers to | [`Hosts`], [`Origins`] |
//! | where events are kept for clients whose connection breaks | [`EventStore`] |
//! | many servers from one file | [`servers`] |
//! | the first line of `main` | [`helper`] |
//! | the way back: a remote, protected server behind stdio | `connect` (feature `connect`) |
//!
//! # Security
//!
//! - A bridge asks nobody who they are. Listen on loopback, or put a layer in front that authenticates callers, and have
//!   it say who calls by a [`Caller`] among the extensions of each request. Without one, whoever knows a session's id may
//!   use the session.
//! - Pages of other sites are turned away by `Host` and `Origin`: what a browser does at the bidding of a page is not what
//!   its user wants.
//! - A server sees a few variables and those that it is handed, and neither this process's secrets nor the client's
//!   `Authorization`.
//! - A server runs with the rights of this process, unless [`Command::user`] and [`Command::limits`] say less.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `cli` (default) | the program `mcp-stdio-bridge`. A library goes without: `default-features = false` |
//! | `connect` (default) | the way back, a remote server behind stdio: the module `connect` |
//! | `keyring` | its tokens in the system's keyring; on Linux that is reached over D-Bus |
//! | `http2` | HTTP/2 towards a remote server that offers it, where calls in flight share one connection |
//! | `metrics` | what happens, counted and timed, for whatever recorder the program installs: the module `metrics` |
//! | `test-util` | what the fuzzer calls; not part of the interface |

#![cfg_attr(docsrs, feature(doc_cfg))]

// A request's way: `front` (HTTP: who, what kind, how large) → `server` (which process is for it: `session`, `shared`, `modern`,
// or a `translate`) → `child` (under which number) → `back` (the process and its pipes). What comes back goes into the call's
// `stream`. `lines` is what pipes are read by, `message` what all pass on, `start` where processes come from, `era` how it is found out what they speak,
// `config` the bounds that all keep.
mod back;
mod bridge;
mod caller;
mod child;
mod command;
mod config;
#[cfg(feature = "connect")]
pub mod connect;
mod era;
mod events;
mod front;
pub mod helper;
mod lines;
mod message;
mod meter;
#[cfg(feature = "metrics")]
pub mod metrics;
mod modern;
mod placeholder;
mod server;
pub mod servers;
mod session;
mod shared;
mod start;
mod stream;
mod tools;
mod translate;
mod versions;

pub use self::bridge::{Bridge, BridgeBuilder};
pub use self::caller::Caller;
pub use self::command::Command;
pub use self::config::{ConfigError, Share};
pub use self::events::{EventStore, MemoryEvents};
pub use self::front::guard::{Hosts, Origins};
pub use self::helper::ResourceLimits;
pub use self::servers::{Servers, ServersError};

#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
