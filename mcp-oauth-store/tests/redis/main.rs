//! The store in Redis against real servers, which the tests start themselves.

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the test")]

mod access;
mod contract;
mod failover;
mod faults;
mod operations;
mod promotion;
mod resharding;
mod servers;
