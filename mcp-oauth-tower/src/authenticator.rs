//! Whether a token is good for a resource: the one question that everything in front of a server asks.
//!
//! An [`Authenticator`] has the answer, wherever it comes from: the keys of an authorization server in the same process,
//! the keys that somebody else's publishes, or that one's word. Nearly always it is known at once, and then nothing is
//! allocated and nothing awaited; the rest is a [future](Authenticating).
//!
//! [`OAuthLayer`](crate::OAuthLayer) uses one for HTTP. Use one by itself where a token comes another way, such as in the
//! first message on a WebSocket:
//!
//! ```
//! use mcp_oauth_tower::Caller;
//! use mcp_oauth_tower::authenticator::Authenticator;
//! use mcp_oauth_tower::refusal::Refusal;
//!
//! async fn who(authenticator: &Authenticator, token: &str) -> Result<Caller, Refusal> {
//!     authenticator.authenticate(token).await
//! }
//! ```

use std::fmt;
use std::future::{Future, IntoFuture, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

#[cfg(feature = "remote-jwks")]
use mcp_oauth_core::access::foreign::{ForeignError, ForeignTokens, Verified};
use mcp_oauth_core::resource::ResourceUri;
use mcp_oauth_core::server::AuthorizationServer;
use mcp_oauth_core::server::access::{ConfirmError, VerifiedToken};
use mcp_oauth_core::token::verify::TokenRefused;

use crate::caller::Caller;
use crate::refusal::Refusal;

/// Verifies access tokens for one protected resource. Cheap to clone; clones share what they remember.
#[derive(Clone, Debug)]
pub struct Authenticator(Source);

#[derive(Clone, Debug)]
enum Source {
    Own {
        server: AuthorizationServer,
        resource: ResourceUri,
    },
    #[cfg(feature = "remote-jwks")]
    Foreign(ForeignTokens),
}

impl Authenticator {
    /// Takes the tokens that `server` has issued for `resource`.
    #[must_use]
    pub fn own(server: &AuthorizationServer, resource: &ResourceUri) -> Self {
        Self(Source::Own {
            server: server.clone(),
            resource: resource.clone(),
        })
    }

    /// Takes the tokens of somebody else's authorization servers.
    #[cfg(feature = "remote-jwks")]
    #[must_use]
    pub fn foreign(tokens: ForeignTokens) -> Self {
        Self(Source::Foreign(tokens))
    }

    /// The resource that tokens have to be for.
    #[must_use]
    pub fn resource(&self) -> &ResourceUri {
        match &self.0 {
            Source::Own { resource, .. } => resource,
            #[cfg(feature = "remote-jwks")]
            Source::Foreign(tokens) => tokens.resource(),
        }
    }

    /// Who presents this, if it is a token that was found good before and still is. `None` says nothing about it:
    /// [`authenticate`](Self::authenticate) does.
    pub(crate) fn recall(&self, presented: &[u8]) -> Option<Caller> {
        let token = match &self.0 {
            Source::Own { server, resource } => server.recall_access_token(presented, resource),
            #[cfg(feature = "remote-jwks")]
            Source::Foreign(tokens) => tokens.recall(presented),
        };
        token.map(Caller::new)
    }

    /// Who presents this token.
    ///
    /// A token that is not good is [`Refusal::InvalidToken`]; if nobody can say, since keys or store cannot be reached,
    /// that is [`Refusal::Unavailable`]. Which scopes the token has is the caller's to look at.
    pub fn authenticate(&self, token: &str) -> Decision {
        match &self.0 {
            Source::Own { server, resource } => match server.verify_access_token(token, resource) {
                Ok(VerifiedToken::Good(token)) => Decision::Ready(Ok(Caller::new(token))),
                Ok(VerifiedToken::Unconfirmed(token)) => {
                    let (server, resource) = (server.clone(), resource.clone());
                    Decision::pending(async move {
                        match server.confirm_access_token(token).await {
                            Ok(token) => Ok(Caller::new(token)),
                            Err(ConfirmError::Refused(reason)) => Err(refused(&resource, reason)),
                            Err(error) => Err(unavailable(&resource, &error)),
                        }
                    })
                }
                Err(reason) => Decision::Ready(Err(refused(resource, reason))),
            },
            #[cfg(feature = "remote-jwks")]
            Source::Foreign(tokens) => match tokens.verify(token) {
                Ok(Verified::Good(token)) => Decision::Ready(Ok(Caller::new(token))),
                Ok(Verified::Unsettled(token)) => {
                    let tokens = tokens.clone();
                    Decision::pending(async move {
                        match tokens.settle(token).await {
                            Ok(token) => Ok(Caller::new(token)),
                            Err(ForeignError::Refused(reason)) => Err(refused(tokens.resource(), reason)),
                            Err(error) => Err(unavailable(tokens.resource(), &error)),
                        }
                    })
                }
                Err(reason) => Decision::Ready(Err(refused(tokens.resource(), reason))),
            },
        }
    }
}

fn refused(resource: &ResourceUri, reason: TokenRefused) -> Refusal {
    tracing::debug!(%resource, %reason, "an access token was refused");
    Refusal::InvalidToken
}

fn unavailable(resource: &ResourceUri, error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::error!(%resource, error, "nobody can say whether a token is good");
    Refusal::Unavailable
}

/// Who presents a token, or why it is refused; or a future of that.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "something is known or it is not")]
#[must_use]
pub enum Decision {
    /// That is known.
    Ready(Result<Caller, Refusal>),
    /// Somebody has to be asked: the store, or the authorization server that has issued the token.
    Pending(Authenticating),
}

impl Decision {
    fn pending(future: impl Future<Output = Result<Caller, Refusal>> + Send + 'static) -> Self {
        Self::Pending(Authenticating(Box::pin(future)))
    }
}

impl IntoFuture for Decision {
    type Output = Result<Caller, Refusal>;
    type IntoFuture = Deciding;

    fn into_future(self) -> Deciding {
        match self {
            Self::Ready(answer) => Deciding(Answer::Ready(ready(answer))),
            Self::Pending(future) => Deciding(Answer::Pending(future)),
        }
    }
}

/// A [`Decision`] as a future.
#[derive(Debug)]
pub struct Deciding(Answer);

#[derive(Debug)]
enum Answer {
    Ready(Ready<Result<Caller, Refusal>>),
    Pending(Authenticating),
}

impl Future for Deciding {
    type Output = Result<Caller, Refusal>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            Answer::Ready(answer) => Pin::new(answer).poll(context),
            Answer::Pending(future) => Pin::new(future).poll(context),
        }
    }
}

/// Somebody is being asked about a token. The only thing here that is boxed, and needed about once a second.
pub struct Authenticating(Pin<Box<dyn Future<Output = Result<Caller, Refusal>> + Send>>);

impl Future for Authenticating {
    type Output = Result<Caller, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Authenticating {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authenticating(…)")
    }
}
