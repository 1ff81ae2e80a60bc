//! Where people sign in: GitHub, the OpenID Connect providers that the file names (`[[identity_providers]]`), or made-up
//! people. And whom of them the lists mean.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use mcp_oauth_core::identity::IdentityProvider;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_core::token::keys::SigningKey;
use mcp_oauth_tower::{AllowList, DevIdentity, GitHub, OpenIdConnect};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::configuration::hidden::Hidden;
use crate::configuration::{Configuration, GitHubApp};

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
    fn provider(&self) -> anyhow::Result<OpenIdConnect> {
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

    fn with_secret(&self, provider: OpenIdConnect, secret: &str) -> OpenIdConnect {
        if self.client_secret_in_form {
            provider.client_secret_in_form(secret)
        } else {
            provider.client_secret(secret)
        }
    }
}

/// Everywhere that people can sign in, and who of them may.
#[derive(Debug)]
pub(crate) struct Identities {
    github: Option<GitHub>,
    others: Vec<OpenIdConnect>,
    /// Who may sign in.
    pub(crate) allow: AllowList,
}

impl Identities {
    /// Reads what the configuration says, and what it leaves out that has to be said.
    pub(crate) fn read(configuration: &Configuration) -> anyhow::Result<Self> {
        let github = configuration.github_app()?.map(github).transpose()?;
        let settings = &configuration.identity_providers;
        let mut others = Vec::new();
        for settings in settings {
            let mut provider = settings.provider()?;
            if configuration.token_vault {
                provider = provider.ask_for_refresh_token();
            }
            others.push(provider);
        }
        let top = configuration.allowed_users()?;
        let allow = match (&github, others.as_slice()) {
            (None, []) => top.unwrap_or_else(AllowList::everybody),
            (Some(_), []) => top.context(
                "say who may sign in: set ALLOWED_GITHUB_USERS to logins, org=NAME or team=NAME/TEAM set apart by commas, or to * \
                 for everybody on GitHub",
            )?,
            (None, [only]) => match (own_list(&settings[0], only)?, top) {
                (Some(list), None) | (None, Some(list)) => list,
                (None, None) => anyhow::bail!(
                    "say who may sign in: set allowed_users in [[identity_providers]] to group=NAME, domain=NAME or subjects \
                     set apart by commas, or to * for everybody whom the provider knows"
                ),
                (Some(_), Some(_)) => {
                    anyhow::bail!("allowed_users is there twice, for the gateway and for its only identity provider: keep one")
                }
            },
            (github, several) => {
                let top = match (github, top) {
                    (Some(github), Some(list)) => list.of_provider(github.id()),
                    (Some(_), None) => anyhow::bail!("say who of GitHub's people may sign in: set ALLOWED_GITHUB_USERS"),
                    (None, top) => top.unwrap_or_else(AllowList::nobody),
                };
                let lists = settings.iter().zip(several).map(|(settings, provider)| {
                    let list = own_list(settings, provider)?.with_context(|| {
                        format!(
                            "say who of the people of {0} may sign in: set allowed_users in [[identity_providers]] of {0}",
                            provider.id()
                        )
                    })?;
                    Ok(list.of_provider(provider.id()))
                });
                let lists = lists.collect::<anyhow::Result<Vec<_>>>()?;
                lists.into_iter().fold(top, AllowList::or)
            }
        };
        Ok(Self { github, others, allow })
    }

    /// Whether there is nobody but made-up people.
    pub(crate) fn are_made_up(&self) -> bool {
        self.github.is_none() && self.others.is_empty()
    }

    /// Tells the builder, and each provider what the lists want to know of its people: that of the gateway, and those of its
    /// servers.
    pub(crate) fn tell<'a>(
        self,
        builder: AuthorizationServerBuilder,
        lists: impl Iterator<Item = &'a AllowList>,
    ) -> AuthorizationServerBuilder {
        let own: Vec<&AllowList> = lists.collect();
        let wanted = |provider: &str| {
            let lists = own.iter().copied().chain([&self.allow]);
            let wanted: Vec<_> = lists
                .flat_map(|list| list.memberships_at(provider).cloned().collect::<Vec<_>>())
                .collect();
            wanted
        };
        let mut providers: Vec<Arc<dyn IdentityProvider>> = Vec::new();
        if let Some(github) = self.github {
            let wanted = wanted(github.id());
            providers.push(Arc::new(github.read_memberships(wanted)));
        }
        for provider in self.others {
            let wanted = wanted(provider.id());
            providers.push(Arc::new(provider.read_memberships(wanted)));
        }
        let mut providers = providers.into_iter();
        let first = providers.next().unwrap_or_else(|| Arc::new(DevIdentity::default()));
        let builder = builder.allow(self.allow).shared_identity(first);
        providers.fold(builder, AuthorizationServerBuilder::also_sign_in_with_shared)
    }
}

fn github(app: GitHubApp) -> anyhow::Result<GitHub> {
    let mut provider = GitHub::new(app.client_id, app.client_secret);
    if let Some(token) = app.membership_token {
        provider = provider.membership_token(token);
    }
    Ok(match app.enterprise_url {
        Some(url) => provider.enterprise(&url)?,
        None => provider,
    })
}

fn own_list(settings: &IdentityProviderSettings, provider: &OpenIdConnect) -> anyhow::Result<Option<AllowList>> {
    let list = settings.allowed_users.as_deref().map(AllowList::parse).transpose();
    list.with_context(|| {
        format!(
            "allowed_users of the identity provider {} cannot be read",
            provider.id()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::tests::{read, refusal};

    const ACME: &str =
        "[[identity_providers]]\nid = \"acme\"\nissuer = \"https://login.acme.example\"\nclient_id = \"gateway\"\n";
    const GITHUB: [(&str, &str); 2] = [("GITHUB_CLIENT_ID", "x"), ("GITHUB_CLIENT_SECRET", "y")];

    fn allowed(toml: &str, environment: &[(&str, &str)]) -> AllowList {
        Identities::read(&read(toml, &[], environment).unwrap()).unwrap().allow
    }

    fn list(text: &str) -> AllowList {
        AllowList::parse(text).unwrap()
    }

    #[test]
    fn one_provider_has_one_list_wherever_it_stands() {
        assert!(refusal(ACME, &[]).contains("allowed_users"));
        let own = format!("{ACME}allowed_users = \"group=staff\"");
        assert_eq!(allowed(&own, &[]), list("group=staff"));
        assert_eq!(
            allowed(&format!("allowed_users = \"group=staff\"\n{ACME}"), &[]),
            list("group=staff")
        );
        assert!(refusal(&format!("allowed_users = \"*\"\n{own}"), &[]).contains("twice"));
        assert!(!Identities::read(&read(&own, &[], &[]).unwrap()).unwrap().are_made_up());
    }

    #[test]
    fn of_several_each_has_its_own_list_and_the_predecessors_variable_is_githubs() {
        let own = format!("{ACME}allowed_users = \"group=staff\"");
        let mut environment = GITHUB.to_vec();
        assert!(refusal(&own, &environment).contains("ALLOWED_GITHUB_USERS"));
        environment.push(("ALLOWED_GITHUB_USERS", "ada, org=acme, github:7"));
        assert!(refusal(ACME, &environment).contains("people of acme"));
        assert_eq!(
            allowed(&own, &environment),
            list("github/ada, github/org=acme, github:7, acme/group=staff")
        );
    }

    #[test]
    fn a_provider_needs_what_its_kind_needs_and_one_proof_of_the_gateway() {
        for (toml, expected) in [
            ("kind = \"oidc\"\nid = \"acme\"", "issuer"),
            ("kind = \"oidc\"\nissuer = \"https://a.example\"", "id"),
            ("kind = \"okta\"", "domain"),
            ("kind = \"keycloak\"\nbase = \"https://a.example\"", "realm"),
            ("kind = \"entra\"", "tenants"),
            ("kind = \"entra\"\ntenants = [\"common\"]", "identifier"),
            ("kind = \"other\"", "other"),
            (
                "kind = \"google\"\nclient_secret = \"a\"\nclient_secret_env = \"B\"",
                "keep one",
            ),
            (
                "kind = \"google\"\nclient_secret_env = \"NOBODY_HAS_SET_THIS\"",
                "NOBODY_HAS_SET_THIS",
            ),
            ("kind = \"google\"\nsecret = \"a\"", "secret"),
        ] {
            let toml = format!("allowed_users = \"*\"\n[[identity_providers]]\nclient_id = \"c\"\n{toml}");
            assert!(
                refusal(&toml, &[]).contains(expected),
                "{toml}: {}",
                refusal(&toml, &[])
            );
        }
        for good in [
            "kind = \"google\"\ndomain = \"acme.example\"\nclient_secret = \"s\"",
            "kind = \"entra\"\ntenants = [\"72f988bf-86f1-41af-91ab-2d7cd011db47\"]\nclient_secret = \"s\"",
            "kind = \"okta\"\ndomain = \"acme.okta.com\"\nscopes = [\"groups\"]\ngroups_claim = \"groups\"",
            "kind = \"keycloak\"\nbase = \"https://sso.example.com\"\nrealm = \"acme\"\ngroups_claim = [\"realm_access\", \"roles\"]",
        ] {
            let toml = format!("allowed_users = \"*\"\n[[identity_providers]]\nclient_id = \"c\"\n{good}");
            assert!(read(&toml, &[], &[]).is_ok(), "{good}");
        }
        let shown = format!(
            "{:?}",
            read(
                &format!("{ACME}client_secret = \"hunter2\"\nallowed_users = \"*\""),
                &[],
                &[]
            )
            .unwrap()
        );
        assert!(!shown.contains("hunter2"));
    }

    #[test]
    fn a_vault_needs_a_secret_that_seals() {
        assert!(refusal("token_vault = true", &[]).contains("GATEWAY_KEY_SEALING_SECRET"));
        let secret = [(
            "GATEWAY_KEY_SEALING_SECRET",
            "yTbDSpVfX7Ak3zL8cUhMdQnYrGxKo1WeJtvBiP0sZm4=",
        )];
        assert!(
            read("token_vault = true", &[], &secret)
                .unwrap()
                .vault_sealing()
                .unwrap()
                .is_some()
        );
        assert!(read("", &[], &secret).unwrap().vault_sealing().unwrap().is_none());
    }
}
