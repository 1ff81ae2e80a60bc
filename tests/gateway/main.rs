//! The example gateway as people run it, and the programs of other people that talk to it.

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the test")]

mod conformance;
mod connect;
mod node;
mod oidc_provider;
mod process;
mod real_clients;
mod resource_server;
mod strict_clients;
mod two_processes;
