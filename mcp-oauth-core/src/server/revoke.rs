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

/// A token that the client that shows it may know about.
pub(super) enum OwnToken {
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
        let (_, client) = self.proven_client(form, authorization, event).await?;
        let token = form.require("token")?;
        let grant = match self.own_token(token, &client).await? {
            Some(OwnToken::Refresh { grant, .. }) => Some(grant),
            Some(OwnToken::Access { grant, .. }) => grant,
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

    /// What an access token is, if it is for a resource that this client of the configuration serves.
    pub(super) async fn token_for(&self, token: &str, client: &Client) -> Result<Option<OwnToken>, OAuthError> {
        let Some(known) = self.0.clients.preregistered.get(&client.client_id) else {
            return Ok(None);
        };
        let served = |claims: &AccessTokenClaims| {
            let serves = |audience: &String| known.introspects.iter().any(|resource| resource.as_str() == audience);
            claims.audience.iter().any(serves)
        };
        let Some(claims) = self.own_claims(token).await?.filter(served) else {
            return Ok(None);
        };
        // The client that the token was issued to may be gone, with grants that are still there.
        self.0.ended.refresh(self.store(), self.now()).await?;
        let grant = claims.jti.grant().clone();
        if self.0.ended.contained_at_last_reading(&grant, &claims.client_id) {
            return Ok(None);
        }
        let grant = self.load_grant(&grant).await?;
        Ok(Some(OwnToken::Access {
            claims: Box::new(claims),
            grant,
        }))
    }

    /// What a token is, if it was issued to this client. A hint about its kind is not needed: the kinds look
    /// different.
    pub(super) async fn own_token(&self, token: &str, client: &Client) -> Result<Option<OwnToken>, OAuthError> {
        if let Ok(token) = token.parse::<RefreshToken>() {
            let found = self.load_grant(token.grant()).await?;
            let own = found.filter(|found| found.record.issued(&token, &client.client_id));
            return Ok(own.map(|grant| OwnToken::Refresh { token, grant }));
        }
        let Some(claims) = self.own_claims(token).await? else {
            return Ok(None);
        };
        if claims.client_id != client.client_id {
            return Ok(None);
        }
        let grant: GrantId = claims.jti.grant().clone();
        let grant = self.load_grant(&grant).await?;
        Ok(Some(OwnToken::Access {
            claims: Box::new(claims),
            grant,
        }))
    }
}
