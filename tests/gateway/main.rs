//! The example gateway as people run it, and the programs of other people that talk to it.

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the test")]

mod alone;
mod check;
mod conformance;
mod connect;
mod doctor;
mod fault;
mod fresh_machine;
mod killed;
mod node;
mod observing;
mod oidc_provider;
mod operator;
mod process;
mod proxied;
mod real_clients;
mod reload;
mod resource_server;
mod speak;
mod strict_clients;
mod tls;
mod two_processes;
mod upstream;
