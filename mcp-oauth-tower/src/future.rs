//! The future of a request that goes through the layer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::authenticator::Authenticating;
use crate::caller::Caller;
use crate::protection::Protection;
use crate::refusal::RefusalBody;
use crate::session;

pin_project! {
    /// The response future of [`OAuthService`](crate::service::OAuthService).
    ///
    /// Nothing is boxed unless the store has to be asked, which happens at most about once a second.
    pub struct OAuthFuture<S, B, Q, R>
    where
        S: Service<Request<Q>, Response = Response<R>>,
    {
        #[pin]
        state: State<S, B, Q, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B, Q, R>
    where
        S: Service<Request<Q>, Response = Response<R>>,
    {
        Refused { response: Option<Response<R>> },
        Admitted { #[pin] inner: S::Future, protection: Arc<Protection>, caller: Caller },
        Confirming { #[pin] confirming: Authenticating, waiting: Option<Waiting<S, B, Q>>, protection: Arc<Protection> },
    }
}

struct Waiting<S, B, Q> {
    service: S,
    request: Request<Q>,
    body: B,
}

impl<S, B, Q, R> OAuthFuture<S, B, Q, R>
where
    S: Service<Request<Q>, Response = Response<R>>,
{
    pub(crate) fn refused(response: Response<R>) -> Self {
        Self {
            state: State::Refused {
                response: Some(response),
            },
        }
    }

    pub(crate) fn admitted(inner: S::Future, protection: Arc<Protection>, caller: Caller) -> Self {
        Self {
            state: State::Admitted {
                inner,
                protection,
                caller,
            },
        }
    }

    pub(crate) fn confirming(
        service: S,
        request: Request<Q>,
        confirming: Authenticating,
        protection: Arc<Protection>,
        body: B,
    ) -> Self {
        let waiting = Some(Waiting { service, request, body });
        Self {
            state: State::Confirming {
                confirming,
                waiting,
                protection,
            },
        }
    }
}

impl<S, B, Q, R> Future for OAuthFuture<S, B, Q, R>
where
    S: Service<Request<Q>, Response = Response<R>>,
    B: RefusalBody<R>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Refused { response } => {
                    return Poll::Ready(Ok(response
                        .take()
                        .expect("a future is not polled after it has finished")));
                }
                StateProjection::Admitted {
                    inner,
                    protection,
                    caller,
                } => {
                    let mut response = ready!(inner.poll(context))?;
                    session::mark(response.headers_mut(), &protection.session_key, caller);
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Confirming {
                    confirming,
                    waiting,
                    protection,
                } => {
                    let confirmed = ready!(confirming.poll(context));
                    let Waiting {
                        mut service,
                        mut request,
                        body,
                    } = waiting
                        .take()
                        .expect("the state changes as soon as the store has answered");
                    let admitted = confirmed.and_then(|caller| {
                        protection.admit(&mut request, &caller)?;
                        Ok(caller)
                    });
                    match admitted {
                        Ok(caller) => {
                            let inner = service.call(request);
                            State::Admitted {
                                inner,
                                protection: Arc::clone(protection),
                                caller,
                            }
                        }
                        Err(refusal) => State::Refused {
                            response: Some(protection.challenges.respond(refusal, &body)),
                        },
                    }
                }
            };
            state.set(next);
        }
    }
}

impl<S, B, Q, R> fmt::Debug for OAuthFuture<S, B, Q, R>
where
    S: Service<Request<Q>, Response = Response<R>>,
{
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Refused { .. } => "Refused",
            State::Admitted { .. } => "Admitted",
            State::Confirming { .. } => "Confirming",
        };
        formatter.debug_tuple("OAuthFuture").field(&state).finish()
    }
}
