//! Token revocation (RFC 7009): a client gives back a token of its own.
//!
//! The grant is the unit: whichever of its tokens is given back, the grant ends, and with it all the others. A
//! token that is unknown, or somebody else's, is answered like one that was revoked, and nothing happens.
//!
//! ```
//! use mcp_oauth_core::origin::Origin;
//! use mcp_oauth_core::parameters::Parameters;
//! use mcp_oauth_core::server::AuthorizationServer;
//!
//! async fn sign_out(server: &AuthorizationServer, refresh_token: &str, client_id: &str) -> bool {
//!     let pairs = [("token", refresh_token), ("client_id", client_id)];
//!     let form = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect::<Parameters>();
//!     server.revoke(&form, None, &Origin::unknown()).await.is_ok()
//! }
//! ```

use futures_util::future::try_join;
use tracing::field::Empty;

use super::AuthorizationServer;
use super::token::TokenError;
use crate::audit::{Action, Event};
use crate::client::Client;
use crate::client::authentication::PresentedClient;
use crate::error::OAuthError;
use crate::grant::{EndReason, Grant, GrantId, RefreshToken};
use crate::origin::Origin;
use crate::parameters::Parameters;
use crate::store::Loaded;
use crate::token::claims::AccessTokenClaims;

/// A token that this server has issued, and what it belongs to.
pub(super) enum KnownToken {
    Refresh {
        token: RefreshToken,
        grant: Loaded<Grant>,
    },
    Access {
        claims: Box<AccessTokenClaims>,
        grant: Option<Loaded<Grant>>,
    },
}

impl AuthorizationServer {
    /// Answers a revocation request. `authorization` is the value of the header of that name.
    ///
    /// # Errors
    ///
    /// `invalid_request` without a token; `invalid_client` when the client does not prove itself;
    /// `temporarily_unavailable` when the store does not answer, in which case the token may still be good.
    #[tracing::instrument(
        level = "debug",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    pub async fn revoke(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        origin: &Origin,
    ) -> Result<(), TokenError> {
        let mut event = Event::new(Action::Revoke, origin);
        let result = self.end_own(form, authorization, &mut event).await;
        self.audit(event.ended(result.as_ref().err().map(TokenError::error)));
        result
    }

    async fn end_own(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        event: &mut Event,
    ) -> Result<(), TokenError> {
        let (_, client, found) = self.proven_client_and_token(form, authorization, event).await?;
        let grant = match found.filter(|found| found.is_of(&client)) {
            Some(KnownToken::Refresh { grant, .. }) => Some(grant),
            Some(KnownToken::Access { grant, .. }) => grant,
            None => None,
        };
        if let Some(grant) = grant {
            event.grant = Some(grant.record.id.clone());
            event.subject = Some(grant.record.identity.subject());
            self.end_grant(grant, EndReason::Revoked, &event.origin).await?;
        }
        Ok(())
    }

    /// The client that a request comes from, proven.
    pub(super) async fn proven_client(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        event: &mut Event,
    ) -> Result<(PresentedClient, Client), TokenError> {
        let presented = PresentedClient::read(authorization, form)
            .map_err(|error| TokenError::challenging(error, authorization.is_some()))?;
        event.client_id = presented.client_id().cloned();
        let client = self.proven(&presented, &event.origin).await?.record;
        Ok((presented, client))
    }

    /// The same, with its record as it was read.
    pub(super) async fn proven_client_record(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        event: &mut Event,
    ) -> Result<Loaded<Client>, TokenError> {
        let presented = PresentedClient::read(authorization, form)
            .map_err(|error| TokenError::challenging(error, authorization.is_some()))?;
        event.client_id = presented.client_id().cloned();
        self.proven(&presented, &event.origin).await
    }

    /// The client that a request comes from, proven, and what the token is that it shows, whoever that was issued to. The
    /// two are looked up at the same time.
    pub(super) async fn proven_client_and_token(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        event: &mut Event,
    ) -> Result<(PresentedClient, Client, Option<KnownToken>), TokenError> {
        let shown = form.get("token").ok().flatten();
        let found = async {
            match shown {
                Some(token) => self.find_token(token).await.map_err(TokenError::from),
                None => Ok(None),
            }
        };
        let ((presented, client), found) = try_join(self.proven_client(form, authorization, event), found).await?;
        form.require("token")?;
        Ok((presented, client, found))
    }

    /// Whether somebody else's access token is for a resource that this client of the configuration serves, and has not
    /// ended.
    pub(super) async fn is_for(&self, token: &KnownToken, client: &Client) -> Result<bool, OAuthError> {
        let KnownToken::Access { claims, .. } = token else {
            return Ok(false);
        };
        let Some(known) = self.0.clients.preregistered.get(&client.client_id) else {
            return Ok(false);
        };
        let serves = |audience: &String| known.introspects.iter().any(|resource| resource.as_str() == audience);
        if !claims.audience.iter().any(serves) {
            return Ok(false);
        }
        // The client that the token was issued to may be gone, with grants that are still there.
        self.0.ended.refresh(self.store(), self.clock()).await?;
        let (grant, client_id) = (claims.jti.grant(), &claims.client_id);
        let marked = self.0.ended.mark(&claims.subject, client_id, claims.issued_at);
        Ok(!marked && !self.0.ended.contained_at_last_reading(grant, client_id))
    }

    /// What a token is. A hint about its kind is not needed: the kinds look different.
    async fn find_token(&self, token: &str) -> Result<Option<KnownToken>, OAuthError> {
        if let Ok(token) = token.parse::<RefreshToken>() {
            let grant = self.load_grant(token.grant()).await?;
            return Ok(grant.map(|grant| KnownToken::Refresh { token, grant }));
        }
        let Some(claims) = self.own_claims(token).await? else {
            return Ok(None);
        };
        let grant: GrantId = claims.jti.grant().clone();
        let grant = self.load_grant(&grant).await?;
        Ok(Some(KnownToken::Access {
            claims: Box::new(claims),
            grant,
        }))
    }
}

impl KnownToken {
    /// Whether it was issued to this client.
    pub(super) fn is_of(&self, client: &Client) -> bool {
        match self {
            Self::Refresh { token, grant } => grant.record.issued(token, &client.client_id),
            Self::Access { claims, .. } => claims.client_id == client.client_id,
        }
    }
}
