//! MCP servers that a reverse proxy serves, which asks the gateway about each request.

use mcp_oauth_core::policy::AllowList;
use mcp_oauth_core::resource::Resource;
use mcp_oauth_tower::ForwardAuth;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::AccessSettings;

/// `[backends.<name>]`: one of them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackendSettings {
    /// What people type into their client.
    pub(crate) url: String,
    /// Its name for people.
    name: Option<String>,
    /// Who may use it, of those who may sign in.
    allowed_users: Option<String>,
    /// Where else the proxy serves it: addresses that are not below the URL.
    #[serde(default, deserialize_with = "super::texts")]
    also_at: Vec<String>,
    /// How far tokens for it reach, and what its operations need.
    #[serde(default)]
    access: AccessSettings,
    /// The identity provider whose tokens it is handed, such as `github`: the person's own, out of the vault.
    upstream_tokens_of: Option<String>,
}

/// `[forward_auth]`: what the backends are told.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ForwardAuthSettings {
    /// Whether they are told who calls in a token that they can verify.
    identity_tokens: bool,
    /// Whether they are handed the client's access token.
    access_tokens: bool,
    /// Whether they are handed the person's own token with the identity provider (`X-Upstream-Token`), where their
    /// `upstream_tokens_of` says so. The proxy has to copy that header too.
    upstream_tokens: bool,
}

impl BackendSettings {
    /// Who may use it, if not everybody who may sign in. `key` is what it is called in the file.
    pub(crate) fn allowed_users(&self, key: &str) -> anyhow::Result<Option<AllowList>> {
        super::allow_list(
            &format!("allowed_users of [backends.{key}]"),
            self.allowed_users.as_deref(),
        )
    }

    /// The protected resource that it is.
    pub(crate) fn resource(&self, key: &str) -> anyhow::Result<Resource> {
        let resource = Resource::new(&self.url)?.name(self.name.as_deref().unwrap_or(key));
        let resource = match self.allowed_users(key)? {
            Some(allow) => resource.allow(allow),
            None => resource,
        };
        let resource = match &self.upstream_tokens_of {
            Some(provider) => resource.hand_on_tokens_of(provider),
            None => resource,
        };
        self.access.apply(resource)
    }

    /// Adds the places where it is served too.
    pub(crate) fn add_places(&self, mut forward_auth: ForwardAuth) -> anyhow::Result<ForwardAuth> {
        for address in &self.also_at {
            forward_auth = forward_auth.place(address, &self.url)?;
        }
        Ok(forward_auth)
    }
}

impl ForwardAuthSettings {
    /// What the settings say, about these resources.
    pub(crate) fn apply(&self, mut forward_auth: ForwardAuth) -> ForwardAuth {
        if self.identity_tokens {
            forward_auth = forward_auth.identity_tokens();
        }
        if self.access_tokens {
            forward_auth = forward_auth.access_tokens();
        }
        if self.upstream_tokens {
            forward_auth = forward_auth.upstream_tokens();
        }
        forward_auth
    }
}

#[cfg(test)]
mod tests {
    use crate::configuration::tests::{read, refusal};

    #[test]
    fn a_backend_is_a_resource_at_its_url() {
        let toml = "trusted_proxies = \"10.0.0.0/8\"\n[backends.files]\nurl = \"https://files.example.com/mcp\"\n\
                    allowed_users = \"ada\"\n[forward_auth]\nidentity_tokens = true";
        let configuration = read(toml, &[], &[]).unwrap();
        let resource = configuration.backends["files"].resource("files").unwrap();
        assert_eq!(resource.uri().as_str(), "https://files.example.com/mcp");
        assert_eq!(resource.display_name(), "files");
        assert!(resource.allowed().is_some());
    }

    #[test]
    fn a_backend_that_cannot_be_asked_about_is_refused_by_name() {
        let url = "[backends.files]\nurl = \"https://files.example.com/mcp\"\n";
        assert!(refusal(url, &[]).contains("trusted_proxies"));
        let proxied = |toml: &str| refusal(&format!("trusted_proxies = \"10.0.0.1\"\n{toml}"), &[]);
        assert!(proxied("[backends.files]\nurl = \"files\"").contains("[backends.files]"));
        assert!(proxied(&format!("{url}alow = \"x\"")).contains("alow"));
        assert!(proxied("[forward_auth]\nidentity = true").contains("identity"));
    }
}
