//! Places to keep the records of an MCP authorization server.
//!
//! Each type here is a [`Store`](mcp_oauth_core::store::Store): it moves records atomically and decides nothing.
//!
//! | store | for |
//! |---|---|
//! | [`MemoryStore`] | one process: a person, a team, a test. Everything is gone when the process ends |
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

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod memory;

pub use memory::MemoryStore;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
