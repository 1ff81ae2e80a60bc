//! The bridge as its users have it: a router, requests, and a real server process behind.

#![allow(clippy::unwrap_used)]

mod callers;
#[cfg(all(unix, feature = "cli", feature = "connect"))]
mod connect;
mod environment;
mod front;
mod http_sse;
mod interleavings;
mod messages;
mod modern;
#[cfg(all(unix, feature = "cli"))]
mod program;
mod servers;
mod sessions;
mod shared;
mod streams;
mod support;
mod translation;
