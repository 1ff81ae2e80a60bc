//! `[github]`: the app that people sign in with at GitHub.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hidden::Hidden;

/// Sign in with GitHub.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GitHubSettings {
    /// The app's `client_id`.
    pub(super) client_id: Option<String>,
    /// Its secret.
    pub(super) client_secret: Option<Hidden>,
    /// A GitHub Enterprise Server.
    pub(super) enterprise_url: Option<String>,
    /// A token of the operator's, to find out about people who are away.
    pub(super) membership_token: Option<Hidden>,
}

/// An app that is complete.
#[derive(Clone)]
pub(crate) struct GitHubApp {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) enterprise_url: Option<String>,
    pub(crate) membership_token: Option<String>,
}

impl GitHubSettings {
    /// The app, if there is one.
    pub(super) fn app(&self) -> anyhow::Result<Option<GitHubApp>> {
        match (&self.client_id, &self.client_secret) {
            (None, None) => Ok(None),
            (Some(client_id), Some(client_secret)) => Ok(Some(GitHubApp {
                client_id: client_id.clone(),
                client_secret: client_secret.expose().to_owned(),
                enterprise_url: self.enterprise_url.clone(),
                membership_token: self.membership_token.as_ref().map(|token| token.expose().to_owned()),
            })),
            (Some(_), None) => anyhow::bail!("GITHUB_CLIENT_ID is set: set GITHUB_CLIENT_SECRET too"),
            (None, Some(_)) => anyhow::bail!("GITHUB_CLIENT_SECRET is set: set GITHUB_CLIENT_ID too"),
        }
    }
}
