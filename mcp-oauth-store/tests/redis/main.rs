//! The store in Redis against real servers, which the tests start themselves.

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the test")]

mod access;
mod backup;
mod contract;
mod failover;
mod faults;
mod lists;
mod migration;
mod operations;
mod people;
mod ports;
mod promotion;
#[path = "../support/redis_process.rs"]
#[allow(unreachable_pub, reason = "the tests of the workspace have it in a library")]
mod redis_process;
mod resharding;
mod servers;
