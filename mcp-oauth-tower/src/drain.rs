//! What a client is still sending when it is refused.
//!
//! A refusal often needs nothing but the head of a request, and is written before the body has come. A server of HTTP/1 that is
//! left with an unread body has to close the connection, and a client that is still writing may lose the answer with it: of the
//! challenge that was to begin its sign-in it sees a broken connection. So a refused body is read to its end first, up to a
//! bound, and thrown away (RFC 9112 §9.6 has the reasons). Whoever asked with `Expect: 100-continue` sends none when it is
//! refused (RFC 9110 §10.1.1), so there nothing is waited for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::Request;
use http::header::EXPECT;
use http_body::Body;
use pin_project_lite::pin_project;

/// As much as a body that is read may have at most, in bytes. What comes after it costs the connection.
const BOUND: usize = crate::bodies::DEFAULT_MAXIMUM_BODY;

pin_project! {
    /// Reads what is left of a body, and keeps nothing.
    pub(crate) struct Drain<Q> {
        #[pin]
        body: Option<Q>,
        left: usize,
    }
}

impl<Q> Drain<Q> {
    /// The body of a request that nobody has looked into.
    pub(crate) fn of(request: Request<Q>) -> Self {
        let expects = request.headers().contains_key(EXPECT);
        Self {
            body: (!expects).then(|| request.into_body()),
            left: BOUND,
        }
    }

    /// Nothing is left.
    pub(crate) fn nothing() -> Self {
        Self { body: None, left: 0 }
    }
}

impl<Q: Body> Future for Drain<Q> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        while let Some(body) = this.body.as_mut().as_pin_mut() {
            if body.is_end_stream() {
                break;
            }
            let Some(Ok(frame)) = ready!(body.poll_frame(context)) else {
                break;
            };
            let length = frame.data_ref().map_or(0, Buf::remaining);
            // A frame counts, be it empty: frames without end are as good as bytes without end.
            match this.left.checked_sub(length.max(1)) {
                Some(left) => *this.left = left,
                None => break,
            }
        }
        this.body.set(None);
        Poll::Ready(())
    }
}

#[cfg(feature = "axum")]
pub(crate) use self::routes::answer_when_sent;

#[cfg(feature = "axum")]
mod routes {
    use std::sync::{Arc, Mutex, PoisonError};

    use axum::extract::Request;
    use axum::middleware::Next;
    use axum::response::Response;
    use bytes::Bytes;
    use http_body::{Frame, SizeHint};

    use super::{Body, Context, Drain, EXPECT, Pin, Poll};

    /// The same for handlers, which may answer without a look into the body that they were given.
    pub(crate) async fn answer_when_sent(request: Request, next: Next) -> Response {
        if request.body().is_end_stream() || request.headers().contains_key(EXPECT) {
            return next.run(request).await;
        }
        let (parts, body) = request.into_parts();
        let body = Lent(Arc::new(Mutex::new(body)));
        let left = Drain::of(Request::new(body.clone()));
        let passed_on = axum::body::Body::new(body);
        let response = next.run(Request::from_parts(parts, passed_on)).await;
        left.await;
        response
    }

    /// A body that is not gone when a handler drops it.
    #[derive(Clone, Debug)]
    struct Lent(Arc<Mutex<axum::body::Body>>);

    impl Body for Lent {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Pin::new(&mut *body).poll_frame(context)
        }

        fn is_end_stream(&self) -> bool {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
        }

        fn size_hint(&self) -> SizeHint {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::Bytes;
    use http_body::Frame;

    use super::*;

    /// A body that comes in pieces, and says how many of them were taken.
    #[derive(Debug)]
    struct Pieces<'a>(VecDeque<Result<Bytes, ()>>, &'a std::cell::Cell<usize>);

    impl Body for Pieces<'_> {
        type Data = Bytes;
        type Error = ();

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
            self.1.set(self.1.get() + 1);
            Poll::Ready(self.0.pop_front().map(|piece| piece.map(Frame::data)))
        }
    }

    async fn taken(pieces: impl IntoIterator<Item = Result<Bytes, ()>>, request: http::request::Builder) -> usize {
        let taken = std::cell::Cell::new(0);
        let body = Pieces(pieces.into_iter().collect(), &taken);
        Drain::of(request.body(body).unwrap()).await;
        taken.get()
    }

    #[tokio::test]
    async fn what_is_left_is_read_to_its_end() {
        let pieces = || [Bytes::from_static(b"a"), Bytes::from_static(b"bc")].map(Ok);
        assert_eq!(taken(pieces(), Request::builder()).await, 3);
        let broken = pieces().into_iter().chain([Err(())]).chain(pieces());
        assert_eq!(taken(broken, Request::builder()).await, 3);
    }

    #[tokio::test]
    async fn nobody_is_listened_to_without_end() {
        let quarter = Bytes::from(vec![0; BOUND / 4]);
        assert_eq!(taken(vec![Ok(quarter); 100], Request::builder()).await, 5);
        assert_eq!(
            taken(vec![Ok(Bytes::new()); 2 * BOUND], Request::builder()).await,
            BOUND + 1
        );
    }

    #[tokio::test]
    async fn whoever_waits_for_a_word_before_it_sends_is_not_waited_for() {
        let request = Request::builder().header(EXPECT, "100-continue");
        assert_eq!(taken([Ok(Bytes::from_static(b"a"))], request).await, 0);
    }
}
