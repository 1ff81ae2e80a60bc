//! `[[identity_providers]]`: an OpenID Connect provider, and who of its people may sign in.

use std::path::PathBuf;

use anyhow::Context as _;
use mcp_oauth_core::identity::IdentityProvider as _;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::token::keys::SigningKey;
use mcp_oauth_tower::{AllowList, OpenIdConnect};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::hidden::Hidden;

/// An OpenID Connect provider.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IdentityProviderSettings {
    /// A well-known kind, which knows its issuer.
    #[serde(default)]
    kind: Kind,
    /// What stands in front of its people's subjects, and must never change.
    id: Option<String>,
    /// Its name for people.
    name: Option<String>,
    /// Its issuer, to the letter.
    issuer: Option<String>,
    /// The Google Workspace whose people may sign in, or the domain of the Okta organisation.
    domain: Option<String>,
    /// The tenants of Entra whose people may sign in, by their identifiers.
    #[serde(default)]
    tenants: Vec<String>,
    /// Where Keycloak is, without the realm.
    base: Option<String>,
    /// The realm of Keycloak.
    realm: Option<String>,
    /// Under which the gateway is registered there.
    client_id: String,
    client_secret: Option<Hidden>,
    /// The variable that holds the secret.
    client_secret_env: Option<String>,
    /// Whether the secret goes into the form, and not into the header.
    #[serde(default)]
    client_secret_in_form: bool,
    /// A file with a private key in PEM, to sign with in place of a secret.
    private_key_file: Option<PathBuf>,
    /// More scopes to ask for.
    #[serde(default)]
    scopes: Vec<String>,
    /// The claim with the groups, or the way to it.
    #[serde(default, deserialize_with = "path")]
    #[schemars(with = "Path")]
    groups_claim: Vec<String>,
    /// Whether the userinfo endpoint says nothing of groups.
    #[serde(default)]
    groups_in_id_token_alone: bool,
    /// The claim that is shown as the name that people sign in with.
    login_claim: Option<String>,
    /// Who of its people may sign in.
    allowed_users: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Oidc,
    Google,
    Entra,
    Okta,
    Keycloak,
}

/// One name, or several on the way to a claim.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Path {
    Name(String),
    Names(Vec<String>),
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match Path::deserialize(deserializer)? {
        Path::Name(name) => vec![name],
        Path::Names(names) => names,
    })
}

impl IdentityProviderSettings {
    /// The provider, without what it has to tell of its people.
    pub(crate) fn provider(&self) -> anyhow::Result<OpenIdConnect> {
        let id = || {
            self.id
                .clone()
                .context("[[identity_providers]] needs an id, such as id = \"acme\"")
        };
        let need = |value: &Option<String>, name: &str| {
            let value = value.clone();
            value.with_context(|| format!("[[identity_providers]] of the kind {:?} needs {name}", self.kind))
        };
        let client_id = self.client_id.as_str();
        let mut provider = match self.kind {
            Kind::Oidc => OpenIdConnect::new(id()?, need(&self.issuer, "issuer")?, client_id)?,
            Kind::Google => OpenIdConnect::google(client_id, self.domain.as_deref()),
            Kind::Entra => match self.tenants.as_slice() {
                [only] => OpenIdConnect::entra(only, client_id)?,
                several => OpenIdConnect::entra_tenants(several.iter().map(String::as_str), client_id)
                    .context("[[identity_providers]] of the kind entra needs tenants")?,
            },
            Kind::Okta => OpenIdConnect::okta(&need(&self.domain, "domain")?, client_id)?,
            Kind::Keycloak => {
                OpenIdConnect::keycloak(&need(&self.base, "base")?, &need(&self.realm, "realm")?, client_id)?
            }
        };
        if self.kind != Kind::Oidc
            && let Some(id) = &self.id
        {
            provider = provider.provider_id(id)?;
        }
        if let Some(name) = &self.name {
            provider = provider.display_name(name);
        }
        match (&self.client_secret, &self.client_secret_env, &self.private_key_file) {
            (None, None, None) => {}
            (Some(secret), None, None) => provider = self.with_secret(provider, secret.expose()),
            (None, Some(variable), None) => {
                let secret = std::env::var(variable)
                    .with_context(|| format!("the variable {variable}, which holds a client secret, cannot be read"))?;
                provider = self.with_secret(provider, &secret);
            }
            (None, None, Some(file)) => {
                let pem = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
                let key = SigningKey::from_pem(&Secret::from(pem))
                    .with_context(|| format!("{} cannot be used", file.display()))?;
                provider = provider.private_key(key);
            }
            _ => anyhow::bail!(
                "[[identity_providers]] has more than one of client_secret, client_secret_env and private_key_file: keep one"
            ),
        }
        provider = provider
            .scopes(self.scopes.iter().cloned())
            .groups_claim(self.groups_claim.iter().cloned());
        if self.groups_in_id_token_alone {
            provider = provider.groups_in_id_token_alone();
        }
        if let Some(claim) = &self.login_claim {
            provider = provider.login_claim(claim);
        }
        Ok(provider)
    }

    /// Who of its people may sign in, if it says so itself.
    pub(crate) fn own_list(&self, provider: &OpenIdConnect) -> anyhow::Result<Option<AllowList>> {
        let list = self.allowed_users.as_deref().map(AllowList::parse).transpose();
        list.with_context(|| {
            format!(
                "allowed_users of the identity provider {} cannot be read",
                provider.id()
            )
        })
    }

    fn with_secret(&self, provider: OpenIdConnect, secret: &str) -> OpenIdConnect {
        if self.client_secret_in_form {
            provider.client_secret_in_form(secret)
        } else {
            provider.client_secret(secret)
        }
    }
}
