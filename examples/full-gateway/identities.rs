//! Where people sign in: GitHub, the OpenID Connect providers that the file names (`[[identity_providers]]`), or made-up
//! people. And whom of them the lists mean.

use std::sync::Arc;

use anyhow::Context;
use mcp_oauth_core::identity::IdentityProvider;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_tower::{AllowList, DevIdentity, GitHub, OpenIdConnect};

use crate::configuration::{Configuration, GitHubApp};

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
            (None, [only]) => match (settings[0].own_list(only)?, top) {
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
                    let list = settings.own_list(provider)?.with_context(|| {
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
