//! A person at their own pages: signed in for themselves, and not for a client.
//!
//! The account page shows what somebody has let in, so it has to know who they are. They sign in with the same identity
//! providers and come back to the same callbacks as for a client, yet nothing else is shared: there is no client, no grant
//! and no record. What is needed on the way back is a [`SessionTicket`] in the browser that went out, signed by this server;
//! the `state` says the same as it and is of no use without it. What comes of it is a [`Session`], which is a signed cookie
//! too, good for [`SESSION_LIFETIME`]. Both have a `typ` of their own (RFC 8725 §3.11), so neither is an access token and no
//! access token is one of them.
//!
//! No allow-list is asked: whoever has left one may still see and end what they let in before, and who never was on one
//! sees that there is nothing. A session gets nobody anything else.
//!
//! ```
//! use mcp_oauth_core::server::AuthorizationServer;
//! use mcp_oauth_core::server::session::SessionError;
//!
//! async fn greeting(server: &AuthorizationServer, cookie: &str) -> Result<String, SessionError> {
//!     Ok(match server.session(cookie).await? {
//!         Some(session) => format!("Hello {}", session.display_name()),
//!         None => "Please sign in".to_owned(),
//!     })
//! }
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AuthorizationServer;
use super::consent::SignInUrl;
use super::providers::Provider;
use crate::audit::{Action, Event};
use crate::clock::UnixTime;
use crate::error::{ErrorCode, OAuthError};
use crate::identity::{Identity, IdentityError, SignIn, SignInReturn};
use crate::jwt::verify::ExpectedType;
use crate::limits::Work;
use crate::origin::Origin;
use crate::parameters::Parameters;
use crate::secret::Secret;
use crate::transaction::{SignInSecret, SignInState, TransactionId, TransactionRefused};

/// How long somebody is signed in for themselves: time enough to look through a list, and too short to be found open.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(15 * 60);

const TICKET_TYPE: &str = "mcp-session-ticket+jwt";
const SESSION_TYPE: &str = "mcp-session+jwt";

/// What the browser has that went out to sign in. `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct SessionTicket(Secret);

impl SessionTicket {
    /// Takes the value of the cookie.
    #[must_use]
    pub fn from_cookie(value: &str) -> Self {
        Self(Secret::from(value))
    }

    /// The value for the cookie.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// Somebody on their way to an identity provider.
#[derive(Debug)]
#[non_exhaustive]
pub struct SessionSignIn {
    /// The identity provider's page.
    pub location: SignInUrl,
    /// Which sign-in it is: its `state` begins with this.
    pub id: TransactionId,
    /// The value of the cookie that the callback will ask for.
    pub ticket: SessionTicket,
}

/// Somebody who is signed in for themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// The `sub` of their tokens.
    pub subject: String,
    /// The name that they sign in with.
    pub login: Option<String>,
    /// What they are called.
    pub name: Option<String>,
    /// When it is over.
    pub expires_at: UnixTime,
}

impl Session {
    /// What to call them: their name, their login or, if they have neither, their subject.
    #[must_use]
    pub fn display_name(&self) -> &str {
        let name = self.name.as_deref().or(self.login.as_deref());
        name.filter(|name| !name.trim().is_empty()).unwrap_or(&self.subject)
    }
}

/// Why nobody is signed in. The person is told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// This sign-in does not go on.
    #[error(transparent)]
    Refused(#[from] TransactionRefused),
    /// The identity provider did not say who it is.
    #[error("{provider}: {error}")]
    Provider {
        /// What the provider is called.
        provider: String,
        /// What happened.
        #[source]
        error: IdentityError,
    },
    /// The signing keys are not to be had at the moment.
    #[error(transparent)]
    Failed(#[from] OAuthError),
}

impl From<&SessionError> for OAuthError {
    fn from(error: &SessionError) -> Self {
        match error {
            SessionError::Refused(refused) => Self::new(ErrorCode::InvalidRequest, refused.to_string()),
            SessionError::Provider { error, .. } => {
                let code = match error {
                    IdentityError::Denied => ErrorCode::AccessDenied,
                    _ => ErrorCode::TemporarilyUnavailable,
                };
                Self::new(code, "the identity provider did not say who the person is")
            }
            SessionError::Failed(error) => error.clone(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct TicketClaims {
    id: TransactionId,
    #[serde(rename = "jti")]
    secret: String,
}

#[derive(Serialize, Deserialize)]
struct SessionClaims {
    sub: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Two sessions of the same second differ too: what is derived from one is of no use in another.
    jti: String,
}

impl AuthorizationServer {
    /// Sends somebody to this identity provider, to sign in for themselves. Nothing is stored, and it counts as an
    /// authorization request does ([`Limits`](crate::limits::Limits)): the provider is asked because of it.
    ///
    /// # Errors
    ///
    /// When there is no such provider, when there were too many from there, when it cannot be asked where to, and when the signing keys cannot be read.
    pub async fn begin_session(&self, provider: &str, origin: &Origin) -> Result<SessionSignIn, SessionError> {
        let provider = self
            .0
            .identities
            .find(provider)
            .ok_or(TransactionRefused::UnknownProvider)?;
        self.spend(Work::Authorization, origin).await?;
        let id = TransactionId::drawn_from(self.randomness());
        let secret = Secret::drawn_from(self.randomness());
        let claims = TicketClaims {
            id: id.clone(),
            secret: secret.expose().to_owned(),
        };
        let ticket = self.sign_own(TICKET_TYPE, claims, self.end_of_step()).await?;
        let sign_in = SignInSecret::from_cookie(secret.expose());
        let state = SignInState::new(&id, &sign_in, provider.identity.id()).expose();
        let code_verifier = sign_in.code_verifier(provider.identity.id());
        let leaving = SignIn {
            state: &state,
            callback: &provider.callback,
            code_verifier: &code_verifier,
            choose_account: false,
        };
        let location = provider.identity.sign_in_url(&leaving).await;
        Ok(SessionSignIn {
            location: SignInUrl(location.map_err(|error| failed(provider, error))?),
            id,
            ticket: SessionTicket(ticket),
        })
    }

    /// Takes somebody back from an identity provider, or from the first one if none is named: who they are, and the value
    /// of the cookie that says so. `ticket` is the value of this sign-in's cookie.
    ///
    /// # Errors
    ///
    /// When this sign-in was begun in another browser, or too long ago, or led to another provider; when the provider does
    /// not say who it is; when the signing keys cannot be read.
    pub async fn finish_session(
        &self,
        provider: Option<&str>,
        state: &SignInState,
        ticket: &SessionTicket,
        parameters: &Parameters,
        origin: &Origin,
    ) -> Result<(Session, Secret), SessionError> {
        let mut event = Event::new(Action::SignInToAccount, origin);
        let signed_in = self.signed_in(provider, state, ticket, parameters).await;
        event.subject = signed_in.as_ref().ok().map(|(session, _)| session.subject.clone());
        self.audited(event, signed_in)
    }

    async fn signed_in(
        &self,
        provider: Option<&str>,
        state: &SignInState,
        ticket: &SessionTicket,
        parameters: &Parameters,
    ) -> Result<(Session, Secret), SessionError> {
        let provider = match provider {
            None => self.0.identities.first(),
            Some(name) => self
                .0
                .identities
                .find(name)
                .ok_or(TransactionRefused::UnknownProvider)?,
        };
        let (claims, _) = self
            .verify_own_jwt::<TicketClaims>(ticket.expose(), ExpectedType::SESSION_TICKET)
            .await?
            .ok_or(TransactionRefused::Unknown)?;
        let sign_in = SignInSecret::from_cookie(&claims.secret);
        if claims.id != *state.transaction() || !state.is_of(&sign_in, provider.identity.id()) {
            return Err(TransactionRefused::OtherBrowser.into());
        }
        let code_verifier = sign_in.code_verifier(provider.identity.id());
        let returned = SignInReturn {
            parameters,
            callback: &provider.callback,
            code_verifier: &code_verifier,
        };
        let identified = self.identified(provider.identity.as_ref(), &returned).await;
        let identity = identified.map_err(|error| failed(provider, error))?.identity;
        self.new_session(&identity).await
    }

    async fn new_session(&self, identity: &Identity) -> Result<(Session, Secret), SessionError> {
        let session = Session {
            subject: identity.subject(),
            login: identity.login.clone(),
            name: identity.name.clone(),
            expires_at: self.now() + SESSION_LIFETIME,
        };
        let claims = SessionClaims {
            sub: session.subject.clone(),
            login: session.login.clone(),
            name: session.name.clone(),
            jti: Secret::drawn_from(self.randomness()).expose().to_owned(),
        };
        let cookie = self.sign_own(SESSION_TYPE, claims, session.expires_at).await?;
        Ok((session, cookie))
    }

    /// Who is signed in by this cookie; nobody, if it is none of this server's or its time is over.
    ///
    /// # Errors
    ///
    /// When the signing keys cannot be read.
    pub async fn session(&self, cookie: &str) -> Result<Option<Session>, SessionError> {
        let verified = self
            .verify_own_jwt::<SessionClaims>(cookie, ExpectedType::SESSION)
            .await?;
        Ok(verified.map(|(claims, expires_at)| Session {
            subject: claims.sub,
            login: claims.login,
            name: claims.name,
            expires_at,
        }))
    }
}

fn failed(provider: &Provider, error: IdentityError) -> SessionError {
    tracing::warn!(
        error = &error as &dyn std::error::Error,
        provider = provider.identity.id(),
        "nobody could be signed in to their own pages"
    );
    SessionError::Provider {
        provider: provider.identity.display_name().to_owned(),
        error,
    }
}
