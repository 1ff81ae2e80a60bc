//! Clients and identity providers that the file names: `[[clients]]` and `[[enterprises]]`.

use std::path::PathBuf;

use anyhow::Context;
use mcp_oauth_core::client::host_policy::HostPolicy;
use mcp_oauth_core::client::preregistered::PreregisteredClient;
use mcp_oauth_core::client::registration::GrantType;
use mcp_oauth_core::identity::enterprise::EnterpriseIssuer;
use mcp_oauth_core::jwt::SignatureAlgorithm;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::configuration::hidden::Hidden;

/// A client that does not register itself.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientSettings {
    /// Its `client_id`.
    id: String,
    /// Its name for people.
    name: Option<String>,
    /// Its secret: at least 32 characters.
    secret: Option<Hidden>,
    /// The SHA-256 of its secret instead, as `sha256sum` prints it.
    secret_sha256: Option<String>,
    /// A file with its public keys, as a JWK set.
    jwks_file: Option<PathBuf>,
    /// Where its public keys are published.
    jwks_uri: Option<String>,
    /// The one algorithm that it signs with.
    #[schemars(with = "Option<String>")]
    signing_algorithm: Option<SignatureAlgorithm>,
    #[serde(default)]
    redirect_uris: Vec<String>,
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    grant_types: Vec<GrantType>,
    /// The servers, by the first segment of their path, that it may use on its own behalf.
    #[serde(default)]
    servers: Vec<String>,
    /// The scopes that it may have on its own behalf; all of its servers' if none is named.
    #[serde(default)]
    scopes: Vec<String>,
    /// The servers whose access tokens it may ask about.
    #[serde(default)]
    introspects: Vec<String>,
}

/// An identity provider whose word for its people is taken.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnterpriseSettings {
    /// What stands in front of its people's subjects.
    name: String,
    /// Its issuer, to the letter.
    issuer: String,
    /// A file with its public keys, as a JWK set.
    jwks_file: Option<PathBuf>,
    /// Where its public keys are published.
    jwks_uri: Option<String>,
}

fn key_set(file: &PathBuf) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))
}

impl ClientSettings {
    pub(crate) fn has_keys_elsewhere(&self) -> bool {
        self.jwks_uri.is_some()
    }

    /// The client. `uri` tells the resource of a server by its name.
    pub(crate) fn client(&self, uri: impl Fn(&str) -> String) -> anyhow::Result<PreregisteredClient> {
        let id = &self.id;
        let ways = (&self.secret, &self.secret_sha256, &self.jwks_file, &self.jwks_uri);
        let mut client = match ways {
            (None, None, None, None) => PreregisteredClient::public(id),
            (Some(secret), None, None, None) => PreregisteredClient::with_secret(id, secret.secret().clone()),
            (None, Some(digest), None, None) => PreregisteredClient::with_secret_digest(id, digest),
            (None, None, Some(file), None) => PreregisteredClient::with_keys(id, key_set(file)?),
            (None, None, None, Some(address)) => PreregisteredClient::with_keys_at(id, address),
            _ => anyhow::bail!(
                "the client {id:?} has more than one of secret, secret_sha256, jwks_file and jwks_uri: keep one"
            ),
        };
        if let Some(name) = &self.name {
            client = client.name(name);
        }
        if let Some(algorithm) = self.signing_algorithm {
            client = client.signing_algorithm(algorithm);
        }
        client = self
            .redirect_uris
            .iter()
            .fold(client, PreregisteredClient::redirect_uri);
        client = self.scopes.iter().fold(client, PreregisteredClient::scope);
        for grant_type in &self.grant_types {
            client = client.grant_type(*grant_type);
        }
        for server in &self.servers {
            client = client.resource(uri(server));
        }
        for server in &self.introspects {
            client = client.introspects(uri(server));
        }
        Ok(client)
    }
}

impl EnterpriseSettings {
    pub(crate) fn has_keys_elsewhere(&self) -> bool {
        self.jwks_uri.is_some()
    }

    pub(crate) fn issuer(&self) -> anyhow::Result<EnterpriseIssuer> {
        let (name, issuer) = (&self.name, &self.issuer);
        match (&self.jwks_file, &self.jwks_uri) {
            (Some(file), None) => Ok(EnterpriseIssuer::with_keys(name, issuer, key_set(file)?)),
            (None, Some(address)) => Ok(EnterpriseIssuer::with_keys_at(name, issuer, address)),
            _ => anyhow::bail!("the enterprise {name:?} needs jwks_uri or jwks_file, and not both"),
        }
    }
}

/// Whose metadata documents are read.
pub(crate) fn hosts(trusted: Option<&[String]>, distrusted: &[String]) -> anyhow::Result<HostPolicy> {
    match (trusted, distrusted) {
        (None, distrusted) => Ok(HostPolicy::all_but(distrusted)?),
        (Some(trusted), []) => Ok(HostPolicy::only(trusted)?),
        (Some(_), _) => anyhow::bail!("set trusted_client_hosts or distrusted_client_hosts, and not both"),
    }
}
