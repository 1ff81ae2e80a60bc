//! What clients say of themselves when they register (RFC 7591 §2).
//!
//! [`RegistrationRequest`] is the JSON as it comes; [`ClientMetadata`] is what was registered, in full and with
//! every default filled in, which is also what the answer echoes (RFC 7591 §3.2.1). Real clients send `null`, empty
//! strings, grant types that nobody knows and no authentication method at all; each of these has one answer here,
//! and none of them reaches the record.
//!
//! ```
//! use mcp_oauth_core::client::redirect_uri_policy::RedirectUriPolicy;
//! use mcp_oauth_core::client::registration::RegistrationRequest;
//!
//! let request = RegistrationRequest::parse(br#"{"redirect_uris":["http://localhost/cb"],"client_name":"Ada's client"}"#)?;
//! let metadata = request.accept(&RedirectUriPolicy::default())?;
//! assert_eq!(metadata.response_types, ["code"]);
//! # Ok::<_, mcp_oauth_core::client::registration::InvalidRegistration>(())
//! ```

use serde::{Deserialize, Serialize};

use super::keys::{ClientKeys, InvalidClientKeys};
use super::redirect_uri::{InvalidRedirectUri, RedirectUri};
use crate::error::{ErrorCode, OAuthError};
use crate::jwt::SignatureAlgorithm;
use crate::scope::ScopeSet;

pub mod localized;
mod request;
mod sharing;
pub mod statement;
mod values;

pub use request::RegistrationRequest;

use localized::LocalizedMembers;
use statement::InvalidStatement;

/// At most this many redirect URIs, contacts and the like in one registration.
pub const MAXIMUM_ENTRIES: usize = 20;

/// At most this many bytes in one registered text.
pub const MAXIMUM_TEXT: usize = 2048;

/// At most this many characters in a client's name: it stands on the consent page, above what the person has to read.
pub const MAXIMUM_NAME: usize = 100;

/// At most this many bytes in all that a client registers, since anybody can.
pub const MAXIMUM_METADATA: usize = 8 * 1024;

/// How a client proves itself at the token endpoint (RFC 7591 §2, `token_endpoint_auth_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenEndpointAuthMethod {
    /// It does not: a public client.
    None,
    /// Its secret in the `Authorization` header.
    ClientSecretBasic,
    /// Its secret in the form.
    ClientSecretPost,
    /// An assertion that it has signed with a key of its own (RFC 7523 §2.2).
    PrivateKeyJwt,
}

impl TokenEndpointAuthMethod {
    /// The methods of this server, in the order in which the metadata lists them. Some clients take the first.
    pub const SUPPORTED: [Self; 4] = [
        Self::None,
        Self::ClientSecretBasic,
        Self::ClientSecretPost,
        Self::PrivateKeyJwt,
    ];

    /// The methods by which a client really proves something.
    pub(crate) const CONFIDENTIAL: [Self; 3] = [Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt];

    /// Whether a client that proves itself like that has a secret.
    pub(crate) fn needs_secret(self) -> bool {
        match self {
            Self::None | Self::PrivateKeyJwt => false,
            Self::ClientSecretBasic | Self::ClientSecretPost => true,
        }
    }
}

/// The grant types that a client can register here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GrantType {
    /// RFC 6749 §4.1.
    AuthorizationCode,
    /// RFC 6749 §6.
    RefreshToken,
    /// RFC 8628 §3.4.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
    /// RFC 6749 §4.4, for clients of the configuration.
    ClientCredentials,
    /// RFC 7523 §2.1, with an assertion of an enterprise's identity provider.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:jwt-bearer")]
    JwtBearer,
}

impl GrantType {
    /// The grant types of this server. A client that names none gets those of them that are switched on.
    pub const SUPPORTED: [Self; 3] = [Self::AuthorizationCode, Self::RefreshToken, Self::DeviceCode];

    /// The grant types that a client can register by naming them.
    const REGISTRABLE: [Self; 4] = [
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::DeviceCode,
        Self::JwtBearer,
    ];

    /// The grant type as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::ClientCredentials => "client_credentials",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }

    /// Whether a client can come to its first token this way.
    fn is_a_beginning(self) -> bool {
        match self {
            Self::AuthorizationCode | Self::DeviceCode | Self::ClientCredentials | Self::JwtBearer => true,
            Self::RefreshToken => false,
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        Self::REGISTRABLE.into_iter().find(|known| known.as_str() == text)
    }
}

/// Whether a client is a program on a device or on a server (OpenID Connect Dynamic Client Registration §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ApplicationType {
    /// On a server.
    Web,
    /// On the person's device.
    Native,
}

/// What a client has registered. Members that were not given are left out, never `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClientMetadata {
    /// Where codes may be sent: at least one, if it may use codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<RedirectUri>,
    /// How it proves itself at the token endpoint.
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    /// The one algorithm that its assertions are signed with, if it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_signing_alg: Option<SignatureAlgorithm>,
    /// Where its public keys are, if it proves itself with keys.
    #[serde(flatten)]
    pub keys: Option<ClientKeys>,
    /// The grant types that it may use.
    pub grant_types: Vec<GrantType>,
    /// Always `code`.
    pub response_types: Vec<String>,
    /// On a device or on a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_type: Option<ApplicationType>,
    /// What it calls itself. Nobody has checked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The scopes it expects to ask for. They limit nothing: what a person approves counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeSet>,
    /// `client_uri`, `logo_uri`, `tos_uri` and `policy_uri`, as far as they were given.
    #[serde(flatten)]
    pub links: ClientLinks,
    /// How to reach its developers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    /// Which software it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    /// Which version of that software.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
    /// Somebody else's word for some of this, which was believed (RFC 7591 §2.3), as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_statement: Option<String>,
    /// Its name and its pages in certain languages.
    #[serde(flatten)]
    pub localized: LocalizedMembers,
}

/// The web pages of a client. Each is an `https` URL: nothing else is registered, so nothing else can be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClientLinks {
    /// Its home page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// Its logo. Pages of this project never load it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    /// Its terms of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<String>,
    /// Its privacy policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<String>,
}

/// Why a registration is refused (RFC 7591 §3.2.2).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRegistration {
    /// A redirect URI cannot be registered.
    #[error(transparent)]
    RedirectUri(#[from] InvalidRedirectUri),
    /// Several redirect URIs cannot be registered.
    #[error("{}", listed(.0))]
    RedirectUris(Vec<InvalidRedirectUri>),
    /// Another member is not good.
    #[error("{0}")]
    Metadata(String),
    /// There is a software statement that is not good.
    #[error(transparent)]
    Statement(#[from] InvalidStatement),
    /// There is a software statement, and none is wanted, or not from that issuer.
    #[error("software statements are not accepted from whoever has signed this one: register without it")]
    UnapprovedStatement,
}

impl From<InvalidClientKeys> for InvalidRegistration {
    fn from(error: InvalidClientKeys) -> Self {
        Self::Metadata(error.to_string())
    }
}

/// At most this many redirect URIs are named in one error.
const MAXIMUM_NAMED: usize = 4;

fn listed(errors: &[InvalidRedirectUri]) -> String {
    let named: Vec<_> = errors.iter().take(MAXIMUM_NAMED).map(ToString::to_string).collect();
    let named = named.join("; ");
    match errors.len().saturating_sub(MAXIMUM_NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

impl From<Vec<InvalidRedirectUri>> for InvalidRegistration {
    fn from(mut errors: Vec<InvalidRedirectUri>) -> Self {
        match (errors.len(), errors.pop()) {
            (1, Some(only)) => Self::RedirectUri(only),
            (_, last) => {
                errors.extend(last);
                Self::RedirectUris(errors)
            }
        }
    }
}

impl From<InvalidRegistration> for OAuthError {
    fn from(error: InvalidRegistration) -> Self {
        let code = match error {
            InvalidRegistration::RedirectUri(_) | InvalidRegistration::RedirectUris(_) => ErrorCode::InvalidRedirectUri,
            InvalidRegistration::Metadata(_) => ErrorCode::InvalidClientMetadata,
            InvalidRegistration::Statement(_) => ErrorCode::InvalidSoftwareStatement,
            InvalidRegistration::UnapprovedStatement => ErrorCode::UnapprovedSoftwareStatement,
        };
        Self::new(code, error.to_string())
    }
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, InvalidRegistration> {
    Err(InvalidRegistration::Metadata(reason.into()))
}

fn usable(grant_types: Vec<GrantType>) -> Result<Vec<GrantType>, InvalidRegistration> {
    if grant_types.iter().any(|grant_type| grant_type.is_a_beginning()) {
        Ok(grant_types)
    } else {
        refuse("grant_types must include one that leads to a first token here, such as authorization_code")
    }
}

impl ClientMetadata {
    /// The same without the grant types that are not `offered`, as if nobody had ever heard of them.
    ///
    /// # Errors
    ///
    /// `invalid_client_metadata` when no way to a token is left.
    pub(crate) fn limited_to(mut self, offered: impl Iterator<Item = GrantType>) -> Result<Self, InvalidRegistration> {
        let offered: Vec<GrantType> = offered.collect();
        self.grant_types.retain(|grant_type| offered.contains(grant_type));
        self.grant_types = usable(self.grant_types)?;
        Ok(self)
    }
}
