//! The bridge as people run it: the official conformance suite in front of it, real clients and real servers, and
//! what it does when things go wrong.

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the test")]

mod behaviour;
mod client;
mod conformance;
mod connect_conformance;
#[cfg(target_os = "linux")]
mod processes;
mod real_clients;
mod translation;
