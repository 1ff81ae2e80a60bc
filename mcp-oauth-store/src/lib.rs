//! Places to keep the records of an MCP authorization server.
//!
//! Each type here is a [`Store`](mcp_oauth_core::store::Store): it moves records atomically and decides nothing.
//!
//! | store | for |
//! |---|---|
//! | [`MemoryStore`] | one process: a person, a team, a test. Everything is gone when the process ends |
//! | `RedisStore` (feature `redis`) | any number of processes: Redis or Valkey as one node, behind Sentinel, or as a Cluster |
//!
//! Both pass the contract that `mcp-oauth-core` publishes for every store (`store::contract`, feature `test-util`).
//!
//! ```
//! use mcp_oauth_core::store::{Key, Kind, Store};
//! use mcp_oauth_store::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), mcp_oauth_core::store::StoreError> {
//! let store = MemoryStore::default();
//! let key = Key::new(Kind::Client, "client_1");
//! assert!(store.insert(&key, "{}".into(), None).await?);
//! assert_eq!(store.get(&key).await?.as_deref(), Some(&b"{}"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `redis` | `RedisStore`, over `redis` and `deadpool-redis` |
//! | `redis-tls` | TLS to it, by `rustls` |
//!
//! # Security
//!
//! What a store gets to see are records in which secrets are digests and keys are sealed. They still say who lets in what: a
//! store belongs behind a password, and off public networks. Neither store throws anything out to make room. One that is full
//! refuses, so that a flood of strangers costs nobody a sign-in that was there.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod memory;
#[cfg(feature = "redis")]
pub mod redis;

pub use memory::MemoryStore;
#[cfg(feature = "redis")]
pub use redis::RedisStore;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
