//! Proxies in front of an `rmcp` server and of a stdio server behind the bridge, asking the gateway as they are told by the
//! files that people copy: `examples/full-gateway/proxies`. Only the ports are others.
//!
//! nginx and Caddy are the real ones. Traefik and Envoy are modelled from their documentation, and read the same files.

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the test")]

mod backends;
mod caddy;
mod compose;
mod doubles;
mod envoy;
mod journey;
mod kubernetes;
mod nginx;
mod promises;
mod routing;
mod services;
mod site;
mod stack;
mod traefik;
mod wire;
