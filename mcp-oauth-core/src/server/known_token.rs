//! What a token is that a client shows to have it [revoked](super::revoke) or to [ask about it](super::introspect): of which
//! grant, and whose.

use futures_util::future::try_join;

use super::AuthorizationServer;
use super::token_error::TokenError;
use crate::audit::Event;
use crate::client::Client;
use crate::error::OAuthError;
use crate::grant::{Grant, GrantId, RefreshToken};
use crate::parameters::Parameters;
use crate::revocation::Issued;
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

impl KnownToken {
    /// Whether it was issued to this client.
    pub(super) fn is_of(&self, client: &Client) -> bool {
        match self {
            Self::Refresh { token, grant } => grant.record.issued(token, &client.client_id),
            Self::Access { claims, .. } => claims.client_id == client.client_id,
        }
    }
}

impl AuthorizationServer {
    /// The client that a request comes from, proven, and what the token is that it shows, whoever that was issued to. The
    /// two are looked up at the same time.
    pub(super) async fn proven_client_and_token(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        event: &mut Event,
    ) -> Result<(Client, Option<KnownToken>), TokenError> {
        let shown = form.get("token").ok().flatten();
        let found = async {
            match shown {
                Some(token) => self.find_token(token).await.map_err(TokenError::from),
                None => Ok(None),
            }
        };
        let (client, found) = try_join(self.proven_client(form, authorization, event), found).await?;
        form.require("token")?;
        Ok((client.record, found))
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
        let issued = Issued {
            grant,
            client: client_id,
            subject: &claims.subject,
            at: claims.issued_at,
        };
        Ok(!self.0.ended.is_known(&issued))
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
