//! The future of a request that goes through the layer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use mcp_oauth_core::scope::rules::Requirement;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::authenticator::Authenticating;
use crate::bodies::RequestBodies;
use crate::drain::Drain;
use crate::protection::{Protection, Standing};
use crate::refusal::{Denied, Refusal, RefusalBody};

pin_project! {
    /// The response future of [`OAuthService`](crate::service::OAuthService).
    ///
    /// Nothing is boxed unless somebody has to be asked about the token, which happens at most about once a second.
    pub struct OAuthFuture<S, B, P, Q, R>
    where
        S: Service<Request<Q>, Response = Response<R>>,
        P: RequestBodies<Q>,
    {
        #[pin]
        state: State<S, B, P, Q, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B, P, Q, R>
    where
        S: Service<Request<Q>, Response = Response<R>>,
        P: RequestBodies<Q>,
    {
        Refused { #[pin] drain: Drain<Q>, response: Option<Response<R>> },
        Authenticating { #[pin] authenticating: Authenticating, waiting: Option<(Request<Q>, Waiting<S, B, P>)> },
        Judging { judging: Option<(Request<Q>, Standing, Waiting<S, B, P>)> },
        Reading { #[pin] reading: P::Reading, waiting: Option<(Parts, Standing, Waiting<S, B, P>)> },
        Admitted { #[pin] inner: S::Future, protection: Arc<Protection>, standing: Standing },
    }
}

/// What goes on when it is known who calls, and what for.
struct Waiting<S, B, P> {
    service: S,
    protection: Arc<Protection>,
    body: B,
    bodies: P,
}

impl<S, B, P> Waiting<S, B, P> {
    /// The state of a request that is refused.
    fn refuse<Q, R>(&self, denied: &Denied, drain: Drain<Q>) -> State<S, B, P, Q, R>
    where
        S: Service<Request<Q>, Response = Response<R>>,
        B: RefusalBody<R>,
        P: RequestBodies<Q>,
    {
        State::Refused {
            drain,
            response: Some(self.protection.refuse(denied, &self.body)),
        }
    }

    /// The state of a request of which everything is known.
    fn admit<Q, R>(
        mut self,
        mut request: Request<Q>,
        standing: Standing,
        required: &Requirement,
    ) -> State<S, B, P, Q, R>
    where
        S: Service<Request<Q>, Response = Response<R>>,
        B: RefusalBody<R>,
        P: RequestBodies<Q>,
    {
        match self.protection.admit(&mut request, &standing, required) {
            Err(denied) => self.refuse(&denied, Drain::of(request)),
            Ok(()) => State::Admitted {
                inner: self.service.call(request),
                protection: self.protection,
                standing,
            },
        }
    }
}

impl<S, B, P, Q, R> OAuthFuture<S, B, P, Q, R>
where
    S: Service<Request<Q>, Response = Response<R>>,
    P: RequestBodies<Q>,
{
    pub(crate) fn refused(response: Response<R>, request: Request<Q>) -> Self {
        Self {
            state: State::Refused {
                drain: Drain::of(request),
                response: Some(response),
            },
        }
    }

    pub(crate) fn admitted(inner: S::Future, protection: Arc<Protection>, standing: Standing) -> Self {
        Self {
            state: State::Admitted {
                inner,
                protection,
                standing,
            },
        }
    }

    pub(crate) fn authenticating(
        service: S,
        request: Request<Q>,
        authenticating: Authenticating,
        protection: Arc<Protection>,
        body: B,
        bodies: P,
    ) -> Self {
        let waiting = Waiting {
            service,
            protection,
            body,
            bodies,
        };
        Self {
            state: State::Authenticating {
                authenticating,
                waiting: Some((request, waiting)),
            },
        }
    }

    pub(crate) fn judging(
        service: S,
        request: Request<Q>,
        standing: Standing,
        protection: Arc<Protection>,
        body: B,
        bodies: P,
    ) -> Self {
        let waiting = Waiting {
            service,
            protection,
            body,
            bodies,
        };
        Self {
            state: State::Judging {
                judging: Some((request, standing, waiting)),
            },
        }
    }
}

impl<S, B, P, Q, R> Future for OAuthFuture<S, B, P, Q, R>
where
    S: Service<Request<Q>, Response = Response<R>>,
    B: RefusalBody<R>,
    P: RequestBodies<Q>,
    Q: Body,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        const ONCE: &str = "each state is left as soon as what it holds is taken";
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Refused { drain, response } => {
                    ready!(drain.poll(context));
                    return Poll::Ready(Ok(response
                        .take()
                        .expect("a future is not polled after it has finished")));
                }
                StateProjection::Admitted {
                    inner,
                    protection,
                    standing,
                } => {
                    let mut response = ready!(inner.poll(context))?;
                    protection.bind_session(response.headers_mut(), standing);
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Authenticating {
                    authenticating,
                    waiting,
                } => {
                    let answer = ready!(authenticating.poll(context));
                    let (request, waiting) = waiting.take().expect(ONCE);
                    match waiting.protection.standing(answer) {
                        Err(refusal) => waiting.refuse(&refusal.into(), Drain::of(request)),
                        Ok(standing) => State::Judging {
                            judging: Some((request, standing, waiting)),
                        },
                    }
                }
                StateProjection::Judging { judging } => {
                    let (request, standing, waiting) = judging.take().expect(ONCE);
                    judge(request, standing, waiting)
                }
                StateProjection::Reading { reading, waiting } => {
                    let read = ready!(reading.poll(context));
                    let (parts, standing, waiting) = waiting.take().expect(ONCE);
                    let required = match &read {
                        Ok((bytes, _)) => waiting.protection.required_by_body(&parts.headers, bytes),
                        Err(reason) => Err(Protection::refuse_body(*reason)),
                    };
                    match (read, required, &standing) {
                        (Ok((_, body)), Ok(required), _) => {
                            waiting.admit(Request::from_parts(parts, body), standing, &required)
                        }
                        // Whoever has not signed in is told to do that, whatever else is wrong.
                        (_, _, Standing::Nobody) => waiting.refuse(&Refusal::Unauthenticated.into(), Drain::nothing()),
                        (_, Err(refusal), _) => waiting.refuse(&refusal.into(), Drain::nothing()),
                        (Err(reason), Ok(_), _) => {
                            waiting.refuse(&Protection::refuse_body(reason).into(), Drain::nothing())
                        }
                    }
                }
            };
            state.set(next);
        }
    }
}

/// What comes next for a request of which it is known who sends it.
fn judge<S, B, P, Q, R>(request: Request<Q>, standing: Standing, waiting: Waiting<S, B, P>) -> State<S, B, P, Q, R>
where
    S: Service<Request<Q>, Response = Response<R>>,
    B: RefusalBody<R>,
    P: RequestBodies<Q>,
{
    let (parts, body) = request.into_parts();
    let body = if waiting.protection.depends_on_the_body(&parts.method) {
        match waiting.bodies.read(body) {
            Ok(reading) => {
                return State::Reading {
                    reading,
                    waiting: Some((parts, standing, waiting)),
                };
            }
            Err(body) => body,
        }
    } else {
        body
    };
    let required = waiting.protection.required_by_headers(&parts.method, &parts.headers);
    waiting.admit(Request::from_parts(parts, body), standing, &required)
}

impl<S, B, P, Q, R> fmt::Debug for OAuthFuture<S, B, P, Q, R>
where
    S: Service<Request<Q>, Response = Response<R>>,
    P: RequestBodies<Q>,
{
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Refused { .. } => "Refused",
            State::Authenticating { .. } => "Authenticating",
            State::Judging { .. } => "Judging",
            State::Reading { .. } => "Reading",
            State::Admitted { .. } => "Admitted",
        };
        formatter.debug_tuple("OAuthFuture").field(&state).finish()
    }
}
