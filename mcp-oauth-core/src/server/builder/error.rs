//! Why a server cannot be built.

use crate::client::preregistered::InvalidPreregisteredClient;
use crate::client::redirect_uri::InvalidRedirectUri;
use crate::identity::enterprise::InvalidEnterpriseIssuer;
use crate::identity::membership::Membership;
use crate::issuer::InvalidIssuer;
use crate::policy::InvalidAllowList;
use crate::resource::{InvalidResource, ResourceUri};
use crate::token::keys::{InvalidKeyRotation, KeyError};

/// Why a server cannot be built. Each says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// The issuer is none.
    #[error(transparent)]
    Issuer(#[from] InvalidIssuer),
    /// A resource is none.
    #[error(transparent)]
    Resource(#[from] InvalidResource),
    /// Something is missing that has no safe default.
    #[error("the authorization server needs {0}")]
    Missing(&'static str),
    /// The same resource twice.
    #[error("the resource {0} is configured twice")]
    DuplicateResource(ResourceUri),
    /// The default resource is not one of the resources.
    #[error("the default resource {0} is not among the resources")]
    UnknownDefault(String),
    /// RFC 6749 §4.1.2 allows a code ten minutes at most.
    #[error("an authorization code may live for 1 to 600 seconds: change lifetimes.grant.authorization_code")]
    CodeLifetime,
    /// Codes that people carry from one screen to another.
    #[error("a device code may live for 60 to 3600 seconds: change lifetimes.device_code")]
    DeviceCodeLifetime,
    /// A redirect URI that clients are to be allowed is wrong in itself.
    #[error("no client can be allowed this redirect URI: {0}")]
    RedirectUri(#[from] InvalidRedirectUri),
    /// The identity provider cannot be used here.
    #[error("{0}")]
    Identity(String),
    /// An allow-list is none.
    #[error(transparent)]
    AllowList(#[from] InvalidAllowList),
    /// An allow-list names something that the identity provider does not tell, so that it would let nobody in.
    #[error(
        "an allow-list names {membership}, and {provider} does not tell who belongs to that: set the provider up for it \
         (GitHub: call .read_memberships(allow.memberships().cloned())), or take it off the list"
    )]
    UntoldMembership {
        /// What the list names.
        membership: Membership,
        /// The name of the provider.
        provider: String,
    },
    /// Where people sign in with several providers, a login, an address or a group is another's at each.
    #[error(
        "an allow-list names {entry}, and people sign in with several providers, each of which can call its people that: write \
         {example}"
    )]
    AmbiguousEntry {
        /// What the list names.
        entry: String,
        /// How it could be written.
        example: String,
    },
    /// An allow-list, or a resource, names a provider that there is none of.
    #[error("{0} is none of the identity providers, whose names are those that stand in front of their subjects")]
    UnknownProvider(String),
    /// A resource is to be given tokens that nobody keeps.
    #[error("{0} is to be given tokens of an identity provider: call .vault(…) too, so that they are kept")]
    NoVault(ResourceUri),
    /// A client of the configuration cannot be like that.
    #[error("the client {client_id:?} cannot be configured: {reason}")]
    Client {
        /// Its identifier, as it was given.
        client_id: String,
        /// What to change.
        #[source]
        reason: InvalidPreregisteredClient,
    },
    /// An enterprise's identity provider cannot be like that.
    #[error("the enterprise issuer {issuer:?} cannot be configured: {reason}")]
    Enterprise {
        /// Its issuer, as it was given.
        issuer: String,
        /// What to change.
        #[source]
        reason: InvalidEnterpriseIssuer,
    },
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Keys would be exchanged so that somebody does not know them.
    #[error(transparent)]
    KeyRotation(#[from] InvalidKeyRotation),
}
