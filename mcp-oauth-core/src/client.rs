//! Clients: the programs that ask for access on somebody's behalf.
//!
//! A [`Client`] is what the server knows of one: its identifier, what it
//! [registered](registration::ClientMetadata), and how it [proves itself](authentication). Of a client's secret
//! only the digest is kept.
//!
//! ```
//! use mcp_oauth_core::client::ClientId;
//!
//! assert!("client_AbC-123".parse::<ClientId>().is_ok());
//! assert!("no\nnewlines".parse::<ClientId>().is_err());
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::randomness::{Randomness, SystemRandomness, random_id};
use crate::secret::SecretDigest;

pub mod assertion;
pub mod authentication;
#[cfg(feature = "cimd")]
pub mod client_id_url;
#[cfg(feature = "cimd")]
pub mod host_policy;
pub mod keys;
#[cfg(feature = "cimd")]
pub mod metadata_document;
pub mod preregistered;
pub mod redirect_uri;
pub mod redirect_uri_policy;
pub mod registration;
pub mod registration_policy;

use redirect_uri::RedirectUri;
use registration::ClientMetadata;

/// How the identifiers begin that this server makes.
const REGISTERED: &str = "client_";

/// A client identifier: 1 to 512 printable ASCII characters without space (`client_id`, RFC 6749 Appendix A.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

/// Text that cannot be a client identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client_id is 1 to 512 printable ASCII characters without space")]
#[non_exhaustive]
pub struct InvalidClientId;

impl ClientId {
    /// A new identifier for a client that registers itself. It never looks like a URL, so it is never mistaken for
    /// a client ID metadata document.
    #[must_use]
    pub fn random() -> Self {
        Self::drawn_from(&SystemRandomness)
    }

    pub(crate) fn drawn_from(random: &dyn Randomness) -> Self {
        Self(format!("{REGISTERED}{}", random_id(random)))
    }

    /// Whether it looks like one that this server gives to clients that register themselves.
    pub(crate) fn looks_registered(&self) -> bool {
        self.0.starts_with(REGISTERED)
    }

    /// Whether it is meant to be the URL of a client ID metadata document, good or bad. No other kind of client has such
    /// an identifier.
    #[must_use]
    pub fn is_url(&self) -> bool {
        means_url(&self.0)
    }

    /// The identifier as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn means_url(text: &str) -> bool {
    ["https://", "http://"].into_iter().any(|scheme| {
        let beginning = text.as_bytes().get(..scheme.len());
        beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(scheme.as_bytes()))
    })
}

impl FromStr for ClientId {
    type Err = InvalidClientId;

    fn from_str(text: &str) -> Result<Self, InvalidClientId> {
        let fits = (1..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned())).ok_or(InvalidClientId)
    }
}

impl TryFrom<String> for ClientId {
    type Error = InvalidClientId;

    fn try_from(text: String) -> Result<Self, InvalidClientId> {
        text.parse()
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a client shows to prove who it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClientCredential {
    /// Nothing: a public client, which anybody can claim to be (OAuth 2.1 §2.1).
    None,
    /// A secret that this server has given it.
    Secret {
        /// What is left of the secret here.
        digest: SecretDigest,
    },
    /// A key of its own, with which it signs an [`assertion`] for each request. The public half is in its
    /// [metadata](ClientMetadata::keys).
    Keys,
}

impl ClientCredential {
    /// Whether the client proves itself at all, so that it cannot be anybody who says so (OAuth 2.1 §2.1).
    #[must_use]
    pub fn is_confidential(&self) -> bool {
        match self {
            Self::None => false,
            Self::Secret { .. } | Self::Keys => true,
        }
    }
}

/// What is known of who is behind a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientIdentity {
    /// The operator of this server has configured it.
    Configured,
    /// Its identifier is the URL of a document at this host, which answers for it.
    Published {
        /// The host.
        host: String,
    },
    /// It has registered itself, and nobody has checked what it says.
    SelfAsserted {
        /// The host of its home page, if it named one.
        home: Option<String>,
    },
}

impl ClientIdentity {
    /// Whether somebody answers for it.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        !matches!(self, Self::SelfAsserted { .. })
    }
}

/// A client that this server knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Client {
    /// Its identifier.
    pub client_id: ClientId,
    /// When it was registered.
    pub client_id_issued_at: UnixTime,
    /// When it is forgotten unless it is used before; `None` means never.
    pub expires_at: Option<UnixTime>,
    /// How it proves itself.
    pub credential: ClientCredential,
    /// What is left here of the token that it manages its registration with; `None` if it cannot be managed here.
    pub registration_access_token: Option<SecretDigest>,
    /// For a client whose identifier is the URL of a document: until when what was read there may be used without reading
    /// it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_fresh_until: Option<UnixTime>,
    /// What it registered.
    pub metadata: ClientMetadata,
}

impl Client {
    /// Its name for people: what it calls itself, or its identifier. Nobody has checked it.
    #[must_use]
    pub fn display_name(&self) -> &str {
        self.metadata.client_name.as_deref().unwrap_or(self.client_id.as_str())
    }

    /// Where a code for this client may be sent.
    #[must_use]
    pub fn redirect_uris(&self) -> &[RedirectUri] {
        &self.metadata.redirect_uris
    }
}
