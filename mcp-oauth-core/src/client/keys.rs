//! The public keys of a client that proves itself with private ones (`private_key_jwt`, RFC 7591 §2).
//!
//! They are part of what the client says of itself (`jwks`), or are published at an address (`jwks_uri`): one of the
//! two, never both. This server never has the private half, and refuses to be given it.
//!
//! ```
//! use mcp_oauth_core::client::keys::{ClientKeys, InvalidClientKeys};
//! use serde_json::json;
//!
//! let published = ClientKeys::read(None, Some(&json!("https://client.example/jwks.json")))?;
//! assert!(matches!(published, ClientKeys::Remote(_)));
//! assert_eq!(ClientKeys::read(None, None), Err(InvalidClientKeys::Missing));
//! # Ok::<_, InvalidClientKeys>(())
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::issuer::is_loopback;
use crate::jwt::keys::{InvalidJwkSet, JwkSet};

/// At most this many bytes in a `jwks_uri`.
pub const MAXIMUM_JWKS_URI: usize = 2048;

/// Where the public keys of a client are. Serialises as the member of the client's metadata that says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ClientKeys {
    /// Here: a set of public keys, at least one of which can be used, as the client wrote it.
    #[serde(rename = "jwks")]
    Inline(Value),
    /// There.
    #[serde(rename = "jwks_uri")]
    Remote(Url),
}

/// Why a client cannot prove itself with these keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidClientKeys {
    /// No keys, and no address.
    #[error("private_key_jwt needs jwks or jwks_uri, or nobody knows the public keys")]
    Missing,
    /// Keys and an address (RFC 7591 §2 forbids it).
    #[error("jwks and jwks_uri must not both be there")]
    Both,
    /// The keys are no set that can be used.
    #[error("jwks: {0}")]
    Set(#[from] InvalidJwkSet),
    /// The address is none that keys can be fetched from.
    #[error("jwks_uri must be an https URL without user name and fragment")]
    Address,
}

impl ClientKeys {
    /// Reads the two members of a client's metadata.
    ///
    /// # Errors
    ///
    /// See [`InvalidClientKeys`].
    pub fn read(jwks: Option<&Value>, jwks_uri: Option<&Value>) -> Result<Self, InvalidClientKeys> {
        let given = |member: &&Value| !member.is_null() && *member != "";
        match (jwks.filter(given), jwks_uri.filter(given)) {
            (None, None) => Err(InvalidClientKeys::Missing),
            (Some(_), Some(_)) => Err(InvalidClientKeys::Both),
            (Some(jwks), None) => {
                JwkSet::read(jwks)?;
                Ok(Self::Inline(jwks.clone()))
            }
            (None, Some(jwks_uri)) => jwks_uri
                .as_str()
                .and_then(address)
                .map(Self::Remote)
                .ok_or(InvalidClientKeys::Address),
        }
    }
}

/// An address that keys can be fetched from; http is for loopback hosts, where the server lets that through.
fn address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| text.len() <= MAXIMUM_JWKS_URI)?;
    let secure = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (secure && plain && url.has_host()).then_some(url)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::keys::{Algorithm, KeySet};

    fn set() -> Value {
        serde_json::to_value(KeySet::generate(Algorithm::Es256).unwrap().public()).unwrap()
    }

    #[test]
    fn exactly_one_of_the_two_members_counts_and_empty_ones_are_absent() {
        let (set, uri) = (set(), json!("https://client.example/jwks"));
        assert_eq!(
            ClientKeys::read(Some(&set), Some(&Value::Null)),
            Ok(ClientKeys::Inline(set.clone()))
        );
        assert!(ClientKeys::read(Some(&json!("")), Some(&uri)).is_ok());
        assert_eq!(ClientKeys::read(Some(&set), Some(&uri)), Err(InvalidClientKeys::Both));
        assert_eq!(
            ClientKeys::read(None, Some(&json!(""))),
            Err(InvalidClientKeys::Missing)
        );
    }

    #[test]
    fn a_set_needs_a_key_that_can_be_used_and_none_that_is_private() {
        let mut private = set();
        private["keys"][0]["d"] = json!("AA");
        for (jwks, reason) in [
            (private, InvalidJwkSet::PrivateKey),
            (json!({"keys": []}), InvalidJwkSet::NoUsableKey),
            (json!("x"), InvalidJwkSet::NotASet),
        ] {
            assert_eq!(ClientKeys::read(Some(&jwks), None), Err(reason.into()));
        }
    }

    #[test]
    fn an_address_is_https_or_loopback_and_has_nothing_beside() {
        for good in [
            "https://client.example/jwks",
            "https://client.example:8443/a?b",
            "http://127.0.0.1:1/jwks",
        ] {
            assert!(ClientKeys::read(None, Some(&json!(good))).is_ok(), "{good}");
        }
        for wrong in [
            json!("http://client.example/jwks"),
            json!("https://ada@client.example/jwks"),
            json!("https://client.example/jwks#a"),
            json!("file:///etc/passwd"),
            json!("data:application/json,{}"),
            json!("jwks"),
            json!(5),
            json!(format!("https://client.example/{}", "x".repeat(MAXIMUM_JWKS_URI))),
        ] {
            assert_eq!(
                ClientKeys::read(None, Some(&wrong)),
                Err(InvalidClientKeys::Address),
                "{wrong}"
            );
        }
    }

    #[test]
    fn keys_are_written_as_the_member_that_they_are() {
        let set = set();
        let inline = ClientKeys::Inline(set.clone());
        assert_eq!(serde_json::to_value(&inline).unwrap(), json!({ "jwks": set }));
        let remote = json!({"jwks_uri": "https://client.example/jwks"});
        let read: ClientKeys = serde_json::from_value(remote.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), remote);
    }
}
