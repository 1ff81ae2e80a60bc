//! Tokens for clients that act on their own behalf (RFC 6749 §4.4, the MCP extension *OAuth client credentials*).
//!
//! No person is asked, so the operator is: only a client of the [configuration](crate::client::preregistered) gets such
//! tokens, for the resources that it names there, and never beyond the scopes that it names there. A client that has
//! registered itself gets none, whatever it registers. Allow-lists and policies are about people and say nothing here.
//!
//! The `sub` of such a token is `client:` and the `client_id`. No identity provider may be called `client`, so no
//! person has such a subject (RFC 9068 §5). There is no refresh token (RFC 6749 §4.4.3): the client comes again. The
//! token belongs to a grant of its own, so it can be revoked, and asked about, like any other.
//!
//! ```
//! use mcp_oauth_core::client::preregistered::PreregisteredClient;
//! use mcp_oauth_core::client::registration::GrantType;
//! use mcp_oauth_core::secret::Secret;
//! use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
//!
//! fn with_nightly_job(builder: AuthorizationServerBuilder, secret: Secret) -> AuthorizationServerBuilder {
//!     builder.client(
//!         PreregisteredClient::with_secret("nightly-job", secret)
//!             .grant_type(GrantType::ClientCredentials)
//!             .resource("https://mcp.example.com/notes"),
//!     )
//! }
//! ```

use super::AuthorizationServer;
use super::token::{TokenError, TokenResponse};
use crate::audit::{Action, Event};
use crate::client::authentication::PresentedClient;
use crate::client::preregistered::Preregistered;
use crate::client::registration::GrantType;
use crate::error::{ErrorCode, OAuthError};
use crate::grant::Approval;
use crate::identity::Identity;
use crate::identity::enterprise::CLIENT;
use crate::parameters::Parameters;
use crate::resource::ResourceUri;
use crate::scope::ScopeSet;

impl AuthorizationServer {
    /// Whether any client may have tokens on its own behalf.
    pub(super) fn offers_client_credentials(&self) -> bool {
        let may = |known: &Preregistered| {
            known
                .client
                .metadata
                .grant_types
                .contains(&GrantType::ClientCredentials)
        };
        self.0.clients.preregistered.values().any(|known| may(known))
    }

    /// Answers a request for tokens on the client's own behalf.
    pub(super) async fn client_credentials(
        &self,
        form: &Parameters,
        presented: &PresentedClient,
        event: &mut Event,
    ) -> Result<TokenResponse, TokenError> {
        event.action = Action::IssueTokens(Some(GrantType::ClientCredentials));
        let wanted = self.wanted_resources(form)?;
        let asked = form.get("scope")?;
        let client = self.proven(presented, &event.origin).await?.record;
        let known = self.0.clients.preregistered.get(&client.client_id);
        let known = known
            .filter(|known| {
                known
                    .client
                    .metadata
                    .grant_types
                    .contains(&GrantType::ClientCredentials)
            })
            .ok_or_else(|| {
                OAuthError::new(
                    ErrorCode::UnauthorizedClient,
                    "client credentials are for clients that the operator of this server has configured for them",
                )
            })?;
        let resources = self.resources_of_client(known, wanted)?;
        let scopes = self.scopes_of_client(known, &resources, asked)?;
        self.prepare_keys().await.map_err(OAuthError::from)?;
        let mut identity = Identity::new(CLIENT, client.client_id.as_str());
        identity.name.clone_from(&client.metadata.client_name);
        let approval = Approval {
            client_id: client.client_id,
            identity,
            resources,
            scopes,
            upstream: None,
        };
        self.issue_without_code(approval, event).await
    }

    /// The resources that the client asks for, if it may; without a wish the only one that it may, or the default.
    fn resources_of_client(
        &self,
        known: &Preregistered,
        wanted: Option<Vec<ResourceUri>>,
    ) -> Result<Vec<ResourceUri>, OAuthError> {
        let wanted = match (wanted, known.resources.as_slice()) {
            (Some(wanted), _) => wanted,
            (None, [only]) => vec![only.clone()],
            (None, _) => vec![self.default_resource()?],
        };
        if wanted.iter().all(|resource| known.resources.contains(resource)) {
            return Ok(wanted);
        }
        Err(OAuthError::new(
            ErrorCode::InvalidTarget,
            "the resource is not one that this client may have tokens for on its own behalf",
        ))
    }

    /// What the client asks for, as far as it may; all that it may if it asks for nothing.
    fn scopes_of_client(
        &self,
        known: &Preregistered,
        resources: &[ResourceUri],
        asked: Option<&str>,
    ) -> Result<ScopeSet, OAuthError> {
        let of_resources = self.scopes_of(resources);
        let allowed = match &known.scopes {
            Some(scopes) => of_resources.intersection(scopes),
            None => of_resources,
        };
        let Some(asked) = asked else {
            return Ok(allowed);
        };
        let granted: ScopeSet = allowed
            .iter()
            .filter(|scope| asked.split(' ').any(|word| word == scope.as_str()))
            .cloned()
            .collect();
        if granted.is_empty() && !allowed.is_empty() {
            return Err(OAuthError::new(
                ErrorCode::InvalidScope,
                format!("this client may have none of the scopes on its own behalf, but: {allowed}"),
            ));
        }
        Ok(granted)
    }
}
