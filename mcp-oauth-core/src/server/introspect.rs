//! Token introspection (RFC 7662): a client asks about a token of its own, or a resource server about one that is for it.
//!
//! Only a client that proves itself may ask, and it is told of its own tokens alone. The exception is a client of the
//! [configuration](crate::client::preregistered) that serves a resource: it is also told of the access tokens which have
//! that resource among their audience. Whatever else is asked about (unknown, expired, revoked, somebody else's) is not
//! active, and nothing more is said.
//!
//! ```
//! use mcp_oauth_core::server::introspect::Introspection;
//!
//! assert_eq!(serde_json::to_string(&Introspection::Inactive)?, r#"{"active":false}"#);
//! # Ok::<_, serde_json::Error>(())
//! ```

use serde::{Serialize, Serializer};
use tracing::field::Empty;

use super::AuthorizationServer;
use super::known_token::KnownToken;
use super::token_error::TokenError;
use crate::audit::{Action, Event};
use crate::client::ClientId;
use crate::clock::UnixTime;
use crate::error::{ErrorCode, OAuthError};
use crate::origin::Origin;
use crate::parameters::Parameters;
use crate::scope::ScopeSet;

/// What is said of a token (RFC 7662 §2.2). Serialises as its JSON body.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Introspection {
    /// Nothing.
    Inactive,
    /// It is good at this moment.
    Active(Box<ActiveToken>),
}

impl Serialize for Introspection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            active: bool,
            #[serde(flatten)]
            token: Option<&'a ActiveToken>,
        }
        let token = match self {
            Self::Inactive => None,
            Self::Active(token) => Some(token.as_ref()),
        };
        Body {
            active: token.is_some(),
            token,
        }
        .serialize(serializer)
    }
}

/// A token that is good.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ActiveToken {
    /// How far it reaches.
    #[serde(skip_serializing_if = "ScopeSet::is_empty")]
    pub scope: ScopeSet,
    /// Who uses it.
    pub client_id: ClientId,
    /// The name the person signs in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// `Bearer` for an access token; left out for a refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<&'static str>,
    /// When it stops being good, for an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<UnixTime>,
    /// When it was issued, for an access token; when the grant was last used, for a refresh token.
    pub iat: UnixTime,
    /// On whose behalf.
    pub sub: String,
    /// For which resources.
    pub aud: Vec<String>,
    /// Who issued it.
    pub iss: String,
    /// Its own identifier, for an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
}

impl AuthorizationServer {
    /// Answers an introspection request. `authorization` is the value of the header of that name.
    ///
    /// # Errors
    ///
    /// `invalid_client` when the client does not prove itself, or has nothing to do that with; `invalid_request` without a token;
    /// `temporarily_unavailable` when the store does not answer.
    #[tracing::instrument(
        level = "debug",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    pub async fn introspect(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        origin: &Origin,
    ) -> Result<Introspection, TokenError> {
        let mut event = Event::new(Action::Introspect, origin);
        let result = self.look_at(form, authorization, &mut event).await;
        self.audited(event, result)
    }

    async fn look_at(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        event: &mut Event,
    ) -> Result<Introspection, TokenError> {
        let (client, found) = self.proven_client_and_token(form, authorization, event).await?;
        // Anybody can claim to be a public client.
        if !client.credential.is_confidential() {
            let error = OAuthError::new(
                ErrorCode::InvalidClient,
                "introspection is for clients that have a secret or keys",
            );
            return Err(TokenError::challenging(error, authorization.is_some()));
        }
        let found = match found {
            Some(token) if token.is_of(&client) || self.is_for(&token, &client).await? => Some(token),
            _ => None,
        };
        let grant = match &found {
            Some(KnownToken::Refresh { grant, .. }) => Some(grant),
            Some(KnownToken::Access { grant, .. }) => grant.as_ref(),
            None => None,
        };
        if let Some(grant) = grant
            && self.is_over(&grant.record).await?
        {
            return Ok(Introspection::Inactive);
        }
        Ok(match found {
            Some(KnownToken::Refresh { token, grant }) if grant.record.is_current(&token) => {
                let grant = grant.record;
                Introspection::Active(Box::new(ActiveToken {
                    scope: grant.scopes,
                    client_id: grant.client_id,
                    username: grant.identity.login.clone(),
                    token_type: None,
                    exp: None,
                    iat: grant.last_used_at,
                    sub: grant.identity.subject(),
                    aud: grant.resources.iter().map(ToString::to_string).collect(),
                    iss: self.issuer().as_str().to_owned(),
                    jti: None,
                }))
            }
            Some(KnownToken::Access {
                claims,
                grant: Some(grant),
            }) if !grant.record.has_ended() => Introspection::Active(Box::new(ActiveToken {
                scope: claims.scope,
                client_id: claims.client_id,
                username: claims.username,
                token_type: Some("Bearer"),
                exp: Some(claims.expires_at),
                iat: claims.issued_at,
                sub: claims.subject,
                aud: claims.audience,
                iss: claims.issuer,
                jti: Some(claims.jti.into()),
            })),
            _ => Introspection::Inactive,
        })
    }
}
