//! The keys that sign access tokens, and the public half that everybody may have (RFC 7517).
//!
//! A key is parsed once and signs many times. Its `kid` is its thumbprint (RFC 7638), so two keys never share one
//! and the same key has the same one everywhere. A server has its keys from one of three places:
//!
//! * It makes one when it starts. Its tokens end with the process, which is fine for a single one.
//! * An operator hands them in as a [`KeySet`]: keys that were made elsewhere, and imported with
//!   [`SigningKey::from_pem`] or [`SigningKey::from_base64_pem`]. The operator exchanges them.
//! * They are in the store, sealed with a secret of the operator ([`KeySealing`]). All nodes share them, and they are
//!   exchanged by themselves ([`KeyRotation`]), on command, or at once when one has leaked; see
//!   [`server::keys`](crate::server::keys).
//!
//! A key that signed under another software keeps verifying what was signed here with it. Tokens of the Python
//! `mcp-oauth-gateway` are not among that: they have no `kid` and no `typ` of `at+jwt` (RFC 9068 §2.1), so they are
//! refused, and clients get new ones.
//!
//! ```
//! use mcp_oauth_core::token::keys::{Algorithm, KeySet};
//!
//! let keys = KeySet::generate(Algorithm::EdDsa)?;
//! let jwks = serde_json::to_value(keys.public())?;
//! assert_eq!(jwks["keys"][0]["alg"], "EdDSA");
//! assert_eq!(jwks["keys"][0]["use"], "sig");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod algorithm;
mod import;
mod pair;
mod public;
pub(crate) mod record;
pub(crate) mod ring;
pub(crate) mod rotation;
mod sealing;
mod set;

pub use algorithm::{Algorithm, KeyError};
pub use import::KeyImportError;
pub use pair::SigningKey;
pub use public::{KeySetDocument, PublicKey, PublicKeyParameters, PublicKeys};
pub use record::UnreadableKeyRing;
pub use ring::{KeyState, KeyStatus};
pub use rotation::{InvalidKeyRotation, JWKS_MAXIMUM_AGE, KEYS_MAXIMUM_AGE, KeyRotation};
pub use sealing::{KeySealing, WeakSealingSecret};
pub use set::KeySet;
