//! The bridge as its users have it: a router, requests, and a real server process behind.

#![allow(clippy::unwrap_used)]

mod environment;
mod front;
mod messages;
#[cfg(all(unix, feature = "cli"))]
mod program;
mod sessions;
mod streams;
mod support;
