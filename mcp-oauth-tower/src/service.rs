//! The service: the decision, and the way to the server behind.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response, Uri, header};
use mcp_oauth_core::resource::ResourceUri;
use mcp_oauth_core::scope::ScopeSet;
use mcp_oauth_core::secret::{MarkingKey, Secret};
use mcp_oauth_core::server::{AuthorizationServer, UnconfirmedToken, VerifiedToken};
use mcp_oauth_core::token::claims::AccessTokenClaims;
use tower_service::Service;

use crate::bearer::{self, Bearer};
use crate::caller::Caller;
use crate::future::OAuthFuture;
use crate::refusal::{Challenges, EmptyBody, Refusal, RefusalBody};
use crate::session;

/// What the layer and its services share.
#[derive(Debug)]
pub(crate) struct Protection {
    pub(crate) server: AuthorizationServer,
    pub(crate) resource: ResourceUri,
    pub(crate) required: ScopeSet,
    pub(crate) challenges: Challenges,
    pub(crate) session_key: MarkingKey,
}

/// What is to be done with a request.
pub(crate) enum Decision {
    Admit(Caller),
    Refuse(Refusal),
    /// Admit or refuse when the store has said whether the token's grant has ended.
    Confirm(UnconfirmedToken),
}

impl Protection {
    pub(crate) fn with_session_secret(&self, secret: &Secret) -> Self {
        Self {
            server: self.server.clone(),
            resource: self.resource.clone(),
            required: self.required.clone(),
            challenges: self.challenges.clone(),
            session_key: MarkingKey::from_secret(secret),
        }
    }

    pub(crate) fn decide(&self, headers: &HeaderMap, uri: &Uri) -> Decision {
        let token = match bearer::read(headers, uri) {
            Bearer::Absent => return Decision::Refuse(Refusal::Unauthenticated),
            Bearer::Malformed => return Decision::Refuse(Refusal::InvalidRequest),
            Bearer::Token(token) => token,
        };
        match self.server.verify_access_token(token, &self.resource) {
            Err(reason) => {
                tracing::debug!(resource = %self.resource, %reason, "an access token was refused");
                Decision::Refuse(Refusal::InvalidToken)
            }
            Ok(VerifiedToken::Unconfirmed(token)) => Decision::Confirm(token),
            Ok(VerifiedToken::Good(claims)) => match self.authorize(claims) {
                Ok(caller) => Decision::Admit(caller),
                Err(refusal) => Decision::Refuse(refusal),
            },
        }
    }

    /// Whether the claims of a good token suffice for this resource.
    pub(crate) fn authorize(&self, claims: AccessTokenClaims) -> Result<Caller, Refusal> {
        if claims.scope.contains_all(&self.required) {
            Ok(Caller::new(claims, self.resource.clone()))
        } else {
            Err(Refusal::InsufficientScope)
        }
    }

    /// Gives the request the form in which the server behind may see it.
    pub(crate) fn admit<B>(&self, request: &mut Request<B>, caller: &Caller) -> Result<(), Refusal> {
        session::unmark(request.headers_mut(), &self.session_key, caller).map_err(|_| Refusal::UnknownSession)?;
        request.headers_mut().remove(header::AUTHORIZATION);
        request.extensions_mut().insert(caller.clone());
        Ok(())
    }
}

/// A server behind an [`OAuthLayer`](crate::OAuthLayer).
#[derive(Clone, Debug)]
pub struct OAuthService<S, B = EmptyBody> {
    inner: S,
    protection: Arc<Protection>,
    body: B,
}

impl<S, B> OAuthService<S, B> {
    pub(crate) fn new(inner: S, protection: Arc<Protection>, body: B) -> Self {
        Self {
            inner,
            protection,
            body,
        }
    }
}

impl<S, B, Q, R> Service<Request<Q>> for OAuthService<S, B>
where
    S: Service<Request<Q>, Response = Response<R>> + Clone,
    B: RefusalBody<R> + Clone,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = OAuthFuture<S, B, Q, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        match self.protection.decide(request.headers(), request.uri()) {
            Decision::Refuse(refusal) => OAuthFuture::refused(self.protection.challenges.respond(refusal, &self.body)),
            Decision::Admit(caller) => match self.protection.admit(&mut request, &caller) {
                Ok(()) => OAuthFuture::admitted(self.inner.call(request), Arc::clone(&self.protection), caller),
                Err(refusal) => OAuthFuture::refused(self.protection.challenges.respond(refusal, &self.body)),
            },
            Decision::Confirm(token) => {
                // The service that was polled ready is the one to call; its clone takes its place here.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                OAuthFuture::confirming(ready, request, token, Arc::clone(&self.protection), self.body.clone())
            }
        }
    }
}
