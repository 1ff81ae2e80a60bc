//! What the tests of this workspace share: an application to test, a browser, and an OAuth client.
//!
//! All of them work on the public API of the crates. The application is a real axum router; the browser keeps
//! cookies, follows redirects and presses buttons; the client does what a client does, one step at a time, so that
//! a test can do a step wrong.
//!
//! The README beside this folder says where a new test goes, and what it begins with. Here is all that a rule of the protocol
//! needs:
//!
//! ```
//! use mcp_oauth_tests::application::{Application, NOTES};
//! use mcp_oauth_tests::client::Client;
//!
//! # async fn test() {
//! let application = Application::default();
//! let client = Client::public(&application).await;
//! let tokens = client.sign_in(&application, "ada").await;
//! let fields = [("token", tokens.refresh_token.as_str())];
//! assert_eq!(client.post(&application, "/revoke", &fields).await.status, 200);
//! assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 401);
//! # }
//! ```

#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "what does not hold here fails the test"
)]

pub mod application;
pub mod bridge;
pub mod browser;
pub mod client;
pub mod device;
pub mod distant_store;
pub mod events;
pub mod example;
pub mod failing_store;
pub mod flood;
pub mod gateway;
pub mod hesitant_store;
pub mod identity;
pub mod measure;
// The store's tests start servers, too: both have to ask in one place.
#[path = "../../mcp-oauth-store/tests/redis/ports.rs"]
mod ports;
pub mod redis;
#[path = "../../mcp-oauth-store/tests/support/redis_process.rs"]
pub mod redis_process;
pub mod remembering_store;
pub mod signing;
pub mod tools;
// The store's benches have a store far away, too.
#[path = "../../mcp-oauth-store/tests/support/wrapped_store.rs"]
pub mod wrapped_store;

/// The programs that the guides show, so that `cargo test` compiles them.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/guides/own-identity-provider.md")]
    struct OwnIdentityProvider;
    #[doc = include_str!("../../docs/guides/own-store.md")]
    struct OwnStore;
    #[doc = include_str!("../../docs/guides/rmcp-server.md")]
    struct RmcpServer;
    #[doc = include_str!("../../docs/guides/several-replicas.md")]
    struct SeveralReplicas;
    #[doc = include_str!("../../docs/guides/stdio-server.md")]
    struct StdioServer;
}
