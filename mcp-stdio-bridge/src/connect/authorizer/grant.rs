//! How a token is asked for, and who vouches where no person is asked.

use std::path::PathBuf;
use std::time::SystemTime;

use url::Url;

use super::super::client::{Client, ClientCredentials};
use super::super::discovery::{AuthorizationServer, Discovered};
use super::super::fetch::{FetchError, Fetcher};
use super::super::secret::Secret;
use super::super::tokens::{self, TokenRequest};
use super::error::AuthorizationError;

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// How a token is asked for.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Grant {
    /// A person signs in, in a browser on this machine.
    #[default]
    Browser,
    /// A person signs in on some other device.
    Device,
    /// The program itself is who is let in (extension OAuth client credentials).
    ClientCredentials,
    /// Somebody else vouches for the program: an assertion is exchanged for a token (RFC 7523 §2.1).
    Assertion {
        /// The file that the assertion is in. It is read each time, since those who write it renew it.
        file: PathBuf,
    },
    /// The identity provider of the enterprise vouches for the person (extension enterprise-managed authorization).
    Enterprise(Enterprise),
}

/// The identity provider of an enterprise, and who signed in there.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Enterprise {
    /// Where it gives tokens.
    pub token_endpoint: Url,
    /// This program, as the identity provider knows it.
    pub client: ClientCredentials,
    /// The file that the person's ID token is in. It is read each time.
    pub id_token_file: PathBuf,
}

impl Enterprise {
    /// The identity provider that gives tokens here, this program as it is known there, and the file with the ID token.
    #[must_use]
    pub fn new(token_endpoint: Url, client: ClientCredentials, id_token_file: impl Into<PathBuf>) -> Self {
        Self {
            token_endpoint,
            client,
            id_token_file: id_token_file.into(),
        }
    }
}

impl Grant {
    pub(super) fn needs_person(&self) -> bool {
        matches!(self, Self::Browser | Self::Device)
    }
}

pub(super) fn read_secret(file: &PathBuf) -> Result<Secret, AuthorizationError> {
    let text = std::fs::read_to_string(file).map_err(|error| AuthorizationError::Assertion {
        path: file.clone(),
        error,
    })?;
    Ok(Secret::new(text.trim()))
}

/// Asks the identity provider of the enterprise to vouch for the person (RFC 8693): an ID-JAG for this authorization
/// server and this resource.
pub(super) async fn vouched(
    fetcher: &Fetcher,
    enterprise: &Enterprise,
    discovered: &Discovered,
    scope: Option<&str>,
) -> Result<Secret, AuthorizationError> {
    let id_token = read_secret(&enterprise.id_token_file)?;
    let client = Client::configured(&enterprise.client, None);
    let endpoint = &enterprise.token_endpoint;
    fetcher.reach.check(endpoint).map_err(FetchError::from)?;
    let provider = AuthorizationServer {
        issuer: endpoint.to_string(),
        token_endpoint: endpoint.clone(),
        ..discovered.server.clone()
    };
    let mut fields = vec![
        ("grant_type", TOKEN_EXCHANGE),
        ("requested_token_type", ID_JAG),
        ("audience", discovered.server.issuer.as_str()),
        ("resource", discovered.resource.as_str()),
        ("subject_token", id_token.expose()),
        ("subject_token_type", ID_TOKEN),
    ];
    fields.extend(scope.map(|scope| ("scope", scope)));
    let asked = TokenRequest {
        fields,
        scope,
        resource: &discovered.resource,
    };
    // The type of what is issued is `N_A`: it is no access token (RFC 8693 §2.2.1).
    let issued = tokens::exchange(fetcher, &provider, &client, asked, SystemTime::now()).await?;
    Ok(issued)
}
