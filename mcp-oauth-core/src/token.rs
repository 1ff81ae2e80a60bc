//! Access tokens: JSON Web Tokens that any resource server can check (RFC 9068).
//!
//! [`keys`] makes and holds the keys, [`claims`] says what a token contains, [`verify`] decides whether one is
//! good. The algorithm belongs to the key: what a token's header claims is held against the key that its `kid`
//! names, never obeyed.
//!
//! ```
//! use mcp_oauth_core::token::keys::{Algorithm, KeySet};
//!
//! let keys = KeySet::generate(Algorithm::Es256)?;
//! assert_eq!(keys.public().keys.len(), 1);
//! # Ok::<_, mcp_oauth_core::token::keys::KeyError>(())
//! ```

pub mod claims;
pub mod keys;
pub mod verify;
