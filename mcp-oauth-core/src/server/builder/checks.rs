//! Whether what a builder was told fits together.

use super::clients::ConfiguredClients;
use super::error::ConfigurationError;
use crate::policy::AllowList;
use crate::resource::Resource;
use crate::server::providers::Providers;

/// There is one, and none is there twice.
pub(super) fn check_resources(resources: &[Resource]) -> Result<(), ConfigurationError> {
    if resources.is_empty() {
        return Err(ConfigurationError::Missing("a protected resource: call .resource(…)"));
    }
    for (position, resource) in resources.iter().enumerate() {
        let is_same = |other: &Resource| other.uri().is(resource.uri().as_str());
        if resources[..position].iter().any(is_same) {
            return Err(ConfigurationError::DuplicateResource(resource.uri().clone()));
        }
    }
    Ok(())
}

/// Every list has to let somebody in, or it is pointed out; it has to be clear whom it means; and nobody may wait for a
/// membership that is never told.
pub(super) fn check_lists(
    providers: &Providers,
    clients: &ConfiguredClients,
    allow: &AllowList,
    resources: &[Resource],
) -> Result<(), ConfigurationError> {
    if allow.is_empty() {
        tracing::warn!("the allow-list is empty, so nobody may sign in");
    }
    let own = |resource| Resource::allowed(resource).map(|list| (resource.uri(), list));
    for (uri, _) in resources.iter().filter_map(own).filter(|(_, list)| list.is_empty()) {
        tracing::warn!(resource = %uri, "the allow-list of a resource is empty, so nobody may use it");
    }
    let first = providers.first().identity.as_ref();
    for list in resources.iter().filter_map(Resource::allowed).chain([allow]) {
        let is_enterprise = |name: &str| clients.enterprises.iter().any(|enterprise| enterprise.name == name);
        let mut named = list.providers();
        if let Some(unknown) = named.find(|name| providers.find(name).is_none() && !is_enterprise(name)) {
            return Err(ConfigurationError::UnknownProvider(unknown.to_owned()));
        }
        if let Some(entry) = list.ambiguous().filter(|_| providers.only().is_none()) {
            let example = format!("{}/{entry}", first.id());
            return Err(ConfigurationError::AmbiguousEntry { entry, example });
        }
        for (named, membership) in list.qualified_memberships() {
            let asked = match named {
                Some(name) => providers.find(name).map(|provider| provider.identity.as_ref()),
                None => Some(first),
            };
            if !asked.is_some_and(|provider| provider.tells(membership)) {
                return Err(ConfigurationError::UntoldMembership {
                    membership: membership.clone(),
                    provider: asked.unwrap_or(first).display_name().to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// What resources are to be given has to be there.
pub(super) fn check_policies(
    providers: &Providers,
    resources: &[Resource],
    has_vault: bool,
) -> Result<(), ConfigurationError> {
    for resource in resources {
        for name in resource.tokens_handed_on() {
            if !has_vault {
                return Err(ConfigurationError::NoVault(resource.uri().clone()));
            }
            if providers.find(name).is_none() {
                return Err(ConfigurationError::UnknownProvider(name.clone()));
            }
        }
    }
    Ok(())
}
