//! The service: the way of a request through the layer.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::authenticator::Decision;
use crate::bodies::{AsTheyCome, RequestBodies};
use crate::future::OAuthFuture;
use crate::protection::Protection;
use crate::refusal::{EmptyBody, RefusalBody};

/// A server behind an [`OAuthLayer`](crate::OAuthLayer).
#[derive(Clone, Debug)]
pub struct OAuthService<S, B = EmptyBody, P = AsTheyCome> {
    inner: S,
    protection: Arc<Protection>,
    body: B,
    bodies: P,
}

impl<S, B, P> OAuthService<S, B, P> {
    pub(crate) fn new(inner: S, protection: Arc<Protection>, body: B, bodies: P) -> Self {
        Self {
            inner,
            protection,
            body,
            bodies,
        }
    }
}

impl<S, B, P, Q, R> Service<Request<Q>> for OAuthService<S, B, P>
where
    S: Service<Request<Q>, Response = Response<R>> + Clone,
    B: RefusalBody<R> + Clone,
    P: RequestBodies<Q>,
    Q: Body,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = OAuthFuture<S, B, P, Q, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let protection = &self.protection;
        let answer = match protection.authenticate(request.headers(), request.uri()) {
            Decision::Ready(answer) => answer,
            Decision::Pending(authenticating) => {
                let ready = self.take_ready();
                let (protection, body) = (Arc::clone(&self.protection), self.body.clone());
                return OAuthFuture::authenticating(ready, request, authenticating, protection, body, self.bodies);
            }
        };
        // What nearly every request is: somebody with a good token, at a resource whose operations all need the same.
        if protection.is_plain() {
            let admitted = answer
                .map_err(Into::into)
                .and_then(|caller| protection.admit_plainly(&mut request, caller));
            return match admitted {
                Ok(standing) => OAuthFuture::admitted(self.inner.call(request), Arc::clone(protection), standing),
                Err(denied) => OAuthFuture::refused(protection.refuse(&denied, &self.body), request),
            };
        }
        match protection.standing(answer) {
            Err(refusal) => OAuthFuture::refused(protection.refuse(&refusal.into(), &self.body), request),
            Ok(standing) => {
                let (protection, body) = (Arc::clone(protection), self.body.clone());
                OAuthFuture::judging(self.take_ready(), request, standing, protection, body, self.bodies)
            }
        }
    }
}

impl<S: Clone, B, P> OAuthService<S, B, P> {
    /// The service that was polled ready, which is the one to call; its clone takes its place here.
    fn take_ready(&mut self) -> S {
        let clone = self.inner.clone();
        std::mem::replace(&mut self.inner, clone)
    }
}
