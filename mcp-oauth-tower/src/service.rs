//! The service: the way of a request through the layer.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::authenticator::Decision;
use crate::future::OAuthFuture;
use crate::protection::Protection;
use crate::refusal::{EmptyBody, RefusalBody};

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
        match self.protection.authenticate(request.headers(), request.uri()) {
            Decision::Ready(answer) => {
                let admitted = answer.and_then(|caller| {
                    self.protection.admit(&mut request, &caller)?;
                    Ok(caller)
                });
                match admitted {
                    Ok(caller) => OAuthFuture::admitted(self.inner.call(request), Arc::clone(&self.protection), caller),
                    Err(refusal) => OAuthFuture::refused(self.protection.challenges.respond(refusal, &self.body)),
                }
            }
            Decision::Pending(authenticating) => {
                // The service that was polled ready is the one to call; its clone takes its place here.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                OAuthFuture::confirming(
                    ready,
                    request,
                    authenticating,
                    Arc::clone(&self.protection),
                    self.body.clone(),
                )
            }
        }
    }
}
