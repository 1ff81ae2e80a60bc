//! Protected resources: the MCP servers that access tokens are for.
//!
//! Each resource is configured with its canonical URI (RFC 8707 §2, MCP *Canonical Server URI*), which becomes the
//! audience of tokens for it, the `resource` of its metadata (RFC 9728 §2) and the URL that people type into a
//! client.
//!
//! ```
//! use mcp_oauth_core::resource::Resource;
//!
//! let notes = Resource::new("https://mcp.example.com/notes/mcp")?.name("Notes").scope("notes:read", "read your notes")?;
//! assert_eq!(
//!     notes.metadata_url().as_str(),
//!     "https://mcp.example.com/.well-known/oauth-protected-resource/notes/mcp",
//! );
//! # Ok::<_, mcp_oauth_core::resource::InvalidResource>(())
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::issuer::is_loopback;
use crate::policy::AllowList;
use crate::scope::hierarchy::ScopeHierarchy;
use crate::scope::rules::{AccessRules, Rule};
use crate::scope::{InvalidScope, Scope, ScopeSet};

/// The canonical URI of a protected resource, kept exactly as it was configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceUri {
    text: String,
    url: Url,
}

/// What cannot be a protected resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidResource {
    /// RFC 8707 §2 asks for an absolute URI; tokens travel to it, so it has to be https or loopback.
    #[error("the resource {0:?} must be an absolute https URL (http is for loopback hosts only)")]
    NotAUrl(String),
    /// RFC 8707 §2: no fragment. A query or a user name is refused as well.
    #[error("the resource {0:?} must have no fragment, query or user name")]
    Superfluous(String),
    /// A router would read the segment as something else.
    #[error("the resource {0:?} has a segment that begins with : or *, which cannot be routed to")]
    Unroutable(String),
    /// One of its scopes is none.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// A rule names a scope that the resource does not have.
    #[error("the resource has no scope {0:?}: add it with .scope(…) before anything that names it")]
    UnknownScope(String),
}

impl ResourceUri {
    /// The URI, exactly as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a client that wrote `asked` meant this resource.
    ///
    /// Scheme and host count in any case (RFC 3986 §6.2.2.1), the default port is no port, and a URI without a path
    /// has two spellings, with and without a slash. Nothing else is the same: `/mcp` is not `/mcp/`.
    #[must_use]
    pub fn is(&self, asked: &str) -> bool {
        comparable(asked).is_some_and(|asked| comparable(&self.text) == Some(asked))
    }

    /// The URI as a URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// Splits a URL into what is compared after normalisation (the origin) and what is compared byte for byte (the rest).
fn comparable(text: &str) -> Option<(String, &str)> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))?;
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let after_scheme = text.get(url.scheme().len()..)?.strip_prefix("://")?;
    let rest = after_scheme
        .find(['/', '?', '\\'])
        .map_or("", |start| &after_scheme[start..]);
    Some((url.origin().ascii_serialization(), if rest == "/" { "" } else { rest }))
}

impl FromStr for ResourceUri {
    type Err = InvalidResource;

    fn from_str(text: &str) -> Result<Self, InvalidResource> {
        let url = Url::parse(text).map_err(|_| InvalidResource::NotAUrl(text.to_owned()))?;
        let secure = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
        if !secure || !text.starts_with(&format!("{}://", url.scheme())) {
            return Err(InvalidResource::NotAUrl(text.to_owned()));
        }
        let user_name = !url.username().is_empty() || url.password().is_some();
        let superfluous = url.fragment().is_some() || url.query().is_some() || user_name;
        // What the URL crate would write differently, two parties could read differently.
        if superfluous || (url.as_str() != text && url.as_str().trim_end_matches('/') != text) {
            return Err(InvalidResource::Superfluous(text.to_owned()));
        }
        if url.path().split('/').any(|segment| segment.starts_with([':', '*'])) {
            return Err(InvalidResource::Unroutable(text.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            url,
        })
    }
}

impl TryFrom<String> for ResourceUri {
    type Error = InvalidResource;

    fn try_from(text: String) -> Result<Self, InvalidResource> {
        text.parse()
    }
}

impl From<ResourceUri> for String {
    fn from(uri: ResourceUri) -> Self {
        uri.text
    }
}

impl fmt::Display for ResourceUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// A protected resource: where it is, what it is called, which scopes it knows, and who may use it.
#[derive(Clone, Debug)]
pub struct Resource {
    uri: ResourceUri,
    name: String,
    scopes: Vec<(Scope, String)>,
    hierarchy: ScopeHierarchy,
    rules: Vec<Rule>,
    otherwise: Option<ScopeSet>,
    allow: Option<AllowList>,
    tokens_handed_on: Vec<String>,
}

impl Resource {
    /// The resource at `uri`, named after its host until [`name`](Self::name) says better, without scopes.
    ///
    /// # Errors
    ///
    /// When `uri` is no canonical URI.
    pub fn new(uri: &str) -> Result<Self, InvalidResource> {
        let uri: ResourceUri = uri.parse()?;
        let name = uri.url().host_str().unwrap_or_default().to_owned();
        Ok(Self {
            uri,
            name,
            scopes: Vec::new(),
            hierarchy: ScopeHierarchy::default(),
            rules: Vec::new(),
            otherwise: None,
            allow: None,
            tokens_handed_on: Vec::new(),
        })
    }

    /// What people read on the consent page, and clients in `resource_name` (RFC 9728 §2).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds a scope, with what it allows in words (continuing "it may …"). Every caller of this resource needs it, unless
    /// [`otherwise`](Self::otherwise) or a [`rule`](Self::rule) says that something needs less.
    ///
    /// All scopes together are the default: a client that asks for none is offered these.
    ///
    /// # Errors
    ///
    /// When `scope` is not written as RFC 6749 §3.3 asks.
    pub fn scope(mut self, scope: &str, meaning: impl Into<String>) -> Result<Self, InvalidResource> {
        self.scopes.push((scope.parse()?, meaning.into()));
        Ok(self)
    }

    /// Whoever has `scope` has `implied` as well, and need not be granted it by itself.
    ///
    /// # Errors
    ///
    /// When one of the two is no scope of this resource.
    pub fn implies(mut self, scope: &str, implied: &str) -> Result<Self, InvalidResource> {
        let (scope, implied) = (scope.parse()?, implied.parse()?);
        self.check_known([&scope, &implied])?;
        self.hierarchy.imply(&scope, &implied);
        Ok(self)
    }

    /// Says what some operations need. See [`scope::rules`](crate::scope::rules).
    ///
    /// # Errors
    ///
    /// When it names a scope that this resource does not have.
    pub fn rule(mut self, rule: Rule) -> Result<Self, InvalidResource> {
        if let Some(scopes) = rule.scopes() {
            self.check_known(scopes.iter())?;
        }
        self.rules.push(rule);
        Ok(self)
    }

    /// The scopes, written with spaces between, that are needed for whatever no [`rule`](Self::rule) is about: all of this
    /// resource's unless said otherwise.
    ///
    /// # Errors
    ///
    /// When one of them is no scope of this resource.
    pub fn otherwise(mut self, scopes: &str) -> Result<Self, InvalidResource> {
        let scopes: ScopeSet = scopes.parse()?;
        self.check_known(scopes.iter())?;
        self.otherwise = Some(scopes);
        Ok(self)
    }

    fn check_known<'a>(&self, scopes: impl IntoIterator<Item = &'a Scope>) -> Result<(), InvalidResource> {
        let unknown = |scope: &&Scope| self.meaning(scope).is_none();
        match scopes.into_iter().find(unknown) {
            None => Ok(()),
            Some(unknown) => Err(InvalidResource::UnknownScope(unknown.to_string())),
        }
    }

    /// Who may use this resource, of those whom the server's own list lets in; all of them unless said otherwise.
    ///
    /// ```
    /// use mcp_oauth_core::policy::AllowList;
    /// use mcp_oauth_core::resource::Resource;
    ///
    /// let production = Resource::new("https://mcp.example.com/mcp")?.allow(AllowList::parse("team=acme/ops")?);
    /// assert!(production.allowed().is_some());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn allow(mut self, allow: AllowList) -> Self {
        self.allow = Some(allow);
        self
    }

    /// Hands the person's own access token with this identity provider on to this resource, if the server keeps it in its
    /// [vault](crate::server::vault). No resource gets any unless this is called, and none of another provider: whatever the
    /// token lets its bearer do there, the resource can do then, so ask the provider for no more scopes than it needs.
    #[must_use]
    pub fn hand_on_tokens_of(mut self, provider: impl Into<String>) -> Self {
        self.tokens_handed_on.push(provider.into());
        self
    }

    /// The identity providers whose tokens are handed on to this resource.
    #[must_use]
    pub fn tokens_handed_on(&self) -> &[String] {
        &self.tokens_handed_on
    }

    /// The canonical URI.
    #[must_use]
    pub fn uri(&self) -> &ResourceUri {
        &self.uri
    }

    /// The name for people.
    #[must_use]
    pub fn display_name(&self) -> &str {
        &self.name
    }

    /// The list of its own, if it has one.
    #[must_use]
    pub fn allowed(&self) -> Option<&AllowList> {
        self.allow.as_ref()
    }

    /// Every scope of this resource, in the order in which they were added.
    #[must_use]
    pub fn scopes(&self) -> ScopeSet {
        self.scopes.iter().map(|(scope, _)| scope.clone()).collect()
    }

    /// What this resource asks of its callers.
    #[must_use]
    pub fn access_rules(&self) -> AccessRules {
        let otherwise = self.otherwise.clone().unwrap_or_else(|| self.scopes());
        AccessRules::new(self.hierarchy.clone(), self.rules.clone(), otherwise, self.scopes())
    }

    /// What `scope` allows, in words.
    #[must_use]
    pub fn meaning(&self, scope: &Scope) -> Option<&str> {
        self.scopes
            .iter()
            .find(|(known, _)| known == scope)
            .map(|(_, meaning)| meaning.as_str())
    }

    /// Where the metadata of this resource is: the well-known segment goes between host and path (RFC 9728 §3.1).
    #[must_use]
    pub fn metadata_url(&self) -> Url {
        let mut url = self.uri.url().clone();
        let path = format!(
            "/.well-known/oauth-protected-resource{}",
            url.path().trim_end_matches('/')
        );
        url.set_path(&path);
        url
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(text: &str) -> ResourceUri {
        text.parse().unwrap()
    }

    #[test]
    fn a_resource_without_a_path_has_two_spellings_and_no_more() {
        for canonical in ["https://a.example", "https://a.example/"] {
            assert!(uri(canonical).is("https://a.example"));
            assert!(uri(canonical).is("https://a.example/"));
            assert!(!uri(canonical).is("https://a.example//"));
            assert!(!uri(canonical).is("https://a.example/mcp"));
        }
        assert!(!uri("https://a.example/mcp").is("https://a.example/mcp/"));
        assert!(!uri("https://a.example/mcp").is("https://a.example/x/../mcp"));
        assert!(!uri("https://a.example/mcp").is("https://a.example/%6dcp"));
        assert!(!uri("https://a.example/mcp").is("https://a.example\\mcp"));
    }

    #[test]
    fn scheme_and_host_count_in_any_case() {
        assert!(uri("https://a.example/mcp").is("HTTPS://A.EXAMPLE:443/mcp"));
        assert!(!uri("https://a.example/mcp").is("http://a.example/mcp"));
        assert!(!uri("https://a.example/mcp").is("https://a.example/MCP"));
        assert!(!uri("https://a.example/mcp").is("https://a.example/mcp#x"));
        assert!(!uri("https://a.example/mcp").is("https://a.example@evil.example/mcp"));
    }

    #[test]
    fn what_is_no_canonical_uri_is_refused() {
        for text in [
            "",
            "mcp",
            "http://a.example/mcp",
            "https://a.example/#x",
            "https://a.example/?x",
            "https://ada@a.example/mcp",
            "https://:secret@a.example/mcp",
            "https://a.example/:x",
            "https://a.example/x/*y",
            "urn:a:b",
        ] {
            assert!(text.parse::<ResourceUri>().is_err(), "{text}");
        }
    }

    #[test]
    fn metadata_lies_between_host_and_path() {
        let at = |uri| Resource::new(uri).unwrap().metadata_url().to_string();
        assert_eq!(
            at("https://a.example"),
            "https://a.example/.well-known/oauth-protected-resource"
        );
        assert_eq!(
            at("https://a.example/x/"),
            "https://a.example/.well-known/oauth-protected-resource/x"
        );
    }

    proptest! {
        #[test]
        fn comparing_never_panics(asked in ".*") {
            let _ = uri("https://a.example/mcp").is(&asked);
            let _ = asked.parse::<ResourceUri>();
        }

        #[test]
        fn only_the_path_itself_names_the_resource(path in "/[a-zA-Z0-9/._~%-]{0,20}") {
            let asked = format!("https://a.example{path}");
            prop_assert_eq!(uri("https://a.example/mcp").is(&asked), path == "/mcp");
        }
    }
}
