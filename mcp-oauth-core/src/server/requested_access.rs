//! What a client asks for, in whichever way it comes: resources (RFC 8707 §2), and scopes of theirs (RFC 6749 §3.3).

use super::AuthorizationServer;
use crate::error::{ErrorCode, OAuthError};
use crate::parameters::Parameters;
use crate::resource::ResourceUri;
use crate::scope::{Scope, ScopeSet};

/// At most this many resources in one request.
pub const MAXIMUM_RESOURCES: usize = 8;

impl AuthorizationServer {
    /// What a request asks for: the resources, or the default one, and the scopes.
    pub(super) fn wanted_access(&self, parameters: &Parameters) -> Result<(Vec<ResourceUri>, ScopeSet), OAuthError> {
        let resources = match self.wanted_resources(parameters)? {
            Some(resources) => resources,
            None => vec![self.default_resource()?],
        };
        let scopes = self.wanted_scopes(parameters, &resources)?;
        Ok((resources, scopes))
    }

    pub(super) fn default_resource(&self) -> Result<ResourceUri, OAuthError> {
        self.0.default_resource.clone().ok_or_else(|| {
            OAuthError::new(
                ErrorCode::InvalidTarget,
                "this server protects several resources: name one of them in the parameter resource",
            )
        })
    }

    /// The resources that a request names, in their canonical spelling; `None` if it names none.
    pub(super) fn wanted_resources(&self, parameters: &Parameters) -> Result<Option<Vec<ResourceUri>>, OAuthError> {
        let mut resources: Vec<ResourceUri> = Vec::new();
        for asked in parameters.all("resource").take(MAXIMUM_RESOURCES + 1) {
            let known = self.resource(asked).ok_or_else(|| {
                OAuthError::new(
                    ErrorCode::InvalidTarget,
                    "the resource is not one that this server issues tokens for",
                )
            })?;
            if !resources.contains(known.uri()) {
                resources.push(known.uri().clone());
            }
        }
        if resources.len() > MAXIMUM_RESOURCES {
            return Err(OAuthError::new(
                ErrorCode::InvalidTarget,
                "the request names too many resources",
            ));
        }
        Ok(Some(resources).filter(|resources| !resources.is_empty()))
    }

    /// All scopes that these resources have.
    pub(super) fn scopes_of(&self, resources: &[ResourceUri]) -> ScopeSet {
        resources
            .iter()
            .filter_map(|uri| self.resource(uri.as_str()))
            .flat_map(|resource| resource.scopes().iter().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// The scopes to ask the person for: what the client asked for, as far as it exists; all of the resources' if
    /// it asked for none. Never more than was asked for.
    fn wanted_scopes(&self, parameters: &Parameters, resources: &[ResourceUri]) -> Result<ScopeSet, OAuthError> {
        let of_resources = self.scopes_of(resources);
        let asked: Vec<&str> = parameters
            .get("scope")?
            .unwrap_or_default()
            .split(' ')
            .filter(|word| !word.is_empty())
            .collect();
        let offline = asked.contains(&Scope::OFFLINE_ACCESS);
        let asks_for_more = asked.iter().any(|word| *word != Scope::OFFLINE_ACCESS);
        let mut scopes: ScopeSet = if asks_for_more {
            of_resources
                .iter()
                .filter(|scope| asked.contains(&scope.as_str()))
                .cloned()
                .collect()
        } else {
            of_resources.clone()
        };
        if scopes.is_empty() && !of_resources.is_empty() {
            return Err(OAuthError::new(
                ErrorCode::InvalidScope,
                format!("none of the scopes exists for this resource, which has: {of_resources}"),
            ));
        }
        if offline && let Ok(scope) = Scope::OFFLINE_ACCESS.parse() {
            scopes.insert(scope);
        }
        Ok(scopes)
    }

    /// What a scope of these resources allows, in words, if somebody has said so.
    #[must_use]
    pub fn scope_meaning(&self, resources: &[ResourceUri], scope: &Scope) -> Option<String> {
        if scope.as_str() == Scope::OFFLINE_ACCESS {
            return Some("stay signed in while you are away".to_owned());
        }
        let resources = resources.iter().filter_map(|uri| self.resource(uri.as_str()));
        let mut meanings = resources.filter_map(|resource| resource.meaning(scope));
        meanings.next().map(str::to_owned)
    }
}
