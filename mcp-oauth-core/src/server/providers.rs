//! The identity providers that people choose from.
//!
//! Each has a callback of its own: `/callback` for the first, and `/callback/<name>` for those that were added to it. A
//! sign-in has a `state` and a PKCE verifier for each of them. So what a provider was given, or got another to give, is of
//! no use anywhere but at its own callback (RFC 9700 §4.4.2, *mix-up*), and the place where somebody came back tells
//! which provider is to be asked.

use std::sync::Arc;

use url::Url;

use super::AuthorizationServer;
use super::builder::ConfigurationError;
use crate::identity::enterprise::Enterprise;
use crate::identity::{Identity, IdentityProvider};
use crate::issuer::Issuer;

/// Where people come back to from the first provider, and what the others' names stand behind.
const CALLBACK: &str = "/callback";

/// One at least, each under a name of its own.
pub(super) struct Providers {
    first: Provider,
    others: Vec<Provider>,
}

/// A provider, and where people come back to from it.
pub(super) struct Provider {
    pub(super) identity: Arc<dyn IdentityProvider>,
    pub(super) callback: Url,
}

impl Providers {
    /// Checks that nobody can be taken for somebody of another provider.
    pub(super) fn new(
        issuer: &Issuer,
        first: Arc<dyn IdentityProvider>,
        others: Vec<Arc<dyn IdentityProvider>>,
        enterprises: &[Enterprise],
    ) -> Result<Self, ConfigurationError> {
        let all = || std::iter::once(&first).chain(&others);
        for provider in all() {
            provider.check(issuer).map_err(ConfigurationError::Identity)?;
        }
        let names: Vec<&str> = all().map(|provider| provider.id()).collect();
        for (position, name) in names.iter().enumerate() {
            if names[..position].contains(name) {
                return Err(ConfigurationError::Identity(format!(
                    "two identity providers are called {name}: give one of them another name, which then stands in front of its \
                     subjects"
                )));
            }
        }
        // A subject is a name, a colon and an identifier, and both may hold colons.
        let speakers = names
            .iter()
            .copied()
            .chain(enterprises.iter().map(|enterprise| enterprise.name.as_str()));
        let within = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with(':'));
        for other in speakers {
            if let Some(name) = names.iter().find(|name| within(name, other) || within(other, name)) {
                return Err(ConfigurationError::Identity(format!(
                    "the identity providers {name} and {other} could give the same subject to different people: give one of them \
                     another name"
                )));
            }
        }
        let with_callback = |identity: Arc<dyn IdentityProvider>| Provider {
            callback: issuer.endpoint(&format!("{CALLBACK}/{}", identity.id())),
            identity,
        };
        Ok(Self {
            first: Provider {
                callback: issuer.endpoint(CALLBACK),
                identity: first,
            },
            others: others.into_iter().map(with_callback).collect(),
        })
    }

    pub(super) fn first(&self) -> &Provider {
        &self.first
    }

    /// The only one, if there is but one.
    pub(super) fn only(&self) -> Option<&Provider> {
        self.others.is_empty().then_some(&self.first)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Provider> {
        std::iter::once(&self.first).chain(&self.others)
    }

    pub(super) fn find(&self, id: &str) -> Option<&Provider> {
        self.iter().find(|provider| provider.identity.id() == id)
    }
}

impl AuthorizationServer {
    /// Who tells who people are: the only identity provider, or the first of several.
    #[must_use]
    pub fn identity(&self) -> &dyn IdentityProvider {
        self.0.identities.first().identity.as_ref()
    }

    /// Every identity provider, in the order in which people are offered them.
    pub fn identity_providers(&self) -> impl Iterator<Item = &dyn IdentityProvider> {
        self.0.identities.iter().map(|provider| provider.identity.as_ref())
    }

    /// The identity provider of this name.
    #[must_use]
    pub fn identity_provider(&self, id: &str) -> Option<&dyn IdentityProvider> {
        self.0.identities.find(id).map(|provider| provider.identity.as_ref())
    }

    /// Where people come back to from the identity provider of this name: what has to be registered there. It is
    /// `/callback` below the issuer for the first, and `/callback/<name>` for those that were added to it.
    #[must_use]
    pub fn callback_url(&self, provider: &str) -> Option<&Url> {
        self.0.identities.find(provider).map(|provider| &provider.callback)
    }

    /// The made-up people of a provider for development, if there is one.
    #[must_use]
    pub fn development_users(&self) -> Option<&[Identity]> {
        self.identity_providers().find_map(IdentityProvider::development_users)
    }

    /// What the consent page calls the place where people sign in.
    pub(super) fn sign_in_places(&self) -> String {
        let names: Vec<&str> = self.identity_providers().map(IdentityProvider::display_name).collect();
        match names.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    }
}
