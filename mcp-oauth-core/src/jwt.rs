//! JWTs that somebody else has signed (RFC 7519, RFC 7515, RFC 7517).
//!
//! A client proves itself with one (RFC 7523 §2.2), an enterprise's identity provider vouches for a person with one
//! (RFC 7523 §2.1). Whoever sends such a token chooses every byte of it, so the order is fixed: [`UnverifiedJwt`] is
//! text that has the form of one and is believed in nothing; it becomes claims when a key of the right [`JwkSet`]
//! has signed it, with an algorithm that the key is for and the server allows, and when its `typ` is the one that is
//! due. Only then are the claims read, each by its JSON type, and its times judged by the server's clock.
//!
//! What a header offers beyond `alg`, `kid` and `typ` is not taken: no key (`jwk`, `x5c`) and no address of keys (`jku`,
//! `x5u`). `crit` is refused, since nothing critical is understood here.
//!
//! Tokens of this server's own are another matter, see [`token`](crate::token).
//!
//! ```
//! use mcp_oauth_core::jwt::keys::JwkSet;
//! use mcp_oauth_core::jwt::verify::{ExpectedType, JwtRefused, UnverifiedJwt};
//! use mcp_oauth_core::jwt::SignatureAlgorithm;
//!
//! let keys = JwkSet::parse(
//!     br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"},
//!                  {"kty":"something new"}]}"#,
//! )?;
//! // {"alg":"EdDSA","kid":"a"} and {}, with a signature that is none
//! let token = UnverifiedJwt::parse("eyJhbGciOiJFZERTQSIsImtpZCI6ImEifQ.e30.AAAA")?;
//! let refused = token.verify::<serde_json::Value>(&keys, &SignatureAlgorithm::SUPPORTED, ExpectedType::CLIENT_AUTHENTICATION);
//! assert_eq!(refused.unwrap_err(), JwtRefused::Signature);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! [`JwkSet`]: keys::JwkSet
//! [`UnverifiedJwt`]: verify::UnverifiedJwt

mod algorithm;
pub(crate) mod claims;
pub mod keys;
#[cfg(feature = "remote-jwks")]
pub mod remote;
pub mod time;
pub mod verify;

pub use algorithm::SignatureAlgorithm;
