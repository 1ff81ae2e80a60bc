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
mod resharding;
mod servers;
