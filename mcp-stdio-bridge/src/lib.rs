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
//! - **The protocol** is streamable HTTP of MCP 2025-03-26 to 2025-11-25: requests, notifications and answers by POST,
//!   answers as JSON or as an event stream, the session's own stream by GET, its end by DELETE. Batches are refused.
//! - **A process for each session**, with an environment of its own ([`Command`]). It ends with the session, together
//!   with whatever it started: stdin closed, SIGTERM after two seconds, SIGKILL after three more. If it ends by itself,
//!   everything in flight fails at once, and the next request is told that the session is gone.
//! - **Ids are kept apart.** Clients may use one id for several requests at once; each gets the answer to its own. The
//!   same holds for progress tokens and cancellations.
//! - **Bounds** on everything ([`Builder`]): bodies, messages, sessions, requests in flight, queues, lines of stderr.
//! - **Guarded** against pages in a browser ([`Hosts`], [`Origins`]). Who the caller is, is for a layer in front.
//!
//! # The map
//!
//! A request's way: `front` (HTTP: who, what kind, how large) → `session` (which process, under which number) →
//! `back` (the process and its pipes); `message` is what all three pass on, `config` the bounds they keep.
//!
//! # Features
//!
//! - `cli` (default): the program `mcp-stdio-bridge`. A library goes without: `default-features = false`.

mod back;
mod bridge;
mod caller;
mod child;
mod command;
mod config;
mod era;
mod events;
mod front;
pub mod helper;
mod message;
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

pub use self::bridge::{Bridge, Builder};
pub use self::caller::Caller;
pub use self::command::Command;
pub use self::config::{ConfigError, Share};
pub use self::events::{EventStore, MemoryEvents};
pub use self::front::guard::{Hosts, Origins};
pub use self::helper::ResourceLimits;
pub use self::servers::{Servers, ServersError};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
