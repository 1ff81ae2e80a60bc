//! What the layer does with the bodies of requests: leave them alone, or read them.
//!
//! To a server with [rules](mcp_oauth_core::scope::rules) about methods and tools, a legacy client says what it wants in the
//! body and nowhere else. A layer that [reads bodies](ReadBodies) looks at them before the server does, up to a bound, and
//! hands them on byte for byte. A layer that leaves bodies [as they come](AsTheyCome) works with every [`Body`]; where the
//! headers do not say what is called, it asks for all scopes of the resource.
//!
//! ```
//! use mcp_oauth_tower::bodies::ReadBodies;
//! use mcp_oauth_tower::{AuthorizationServer, OAuthLayer, UnknownResource};
//!
//! fn layer(auth: &AuthorizationServer) -> Result<OAuthLayer<mcp_oauth_tower::refusal::EmptyBody, ReadBodies>, UnknownResource> {
//!     Ok(OAuthLayer::new(auth, "https://mcp.example.com/mcp")?.read_bodies())
//! }
//! ```

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Pending};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use pin_project_lite::pin_project;

/// The longest body that is read unless said otherwise, in bytes.
pub const DEFAULT_MAXIMUM_BODY: usize = 2 * 1024 * 1024;

/// How a layer treats bodies of the type `Q`. Not to be implemented elsewhere.
pub trait RequestBodies<Q>: sealed::Sealed + Copy {
    /// Reads a body.
    type Reading: Future<Output = Result<(Bytes, Q), BodyRefused>>;

    /// Begins to read a body; gives it back if bodies are left alone.
    ///
    /// # Errors
    ///
    /// The body, untouched.
    fn read(self, body: Q) -> Result<Self::Reading, Q>;
}

mod sealed {
    #[allow(unnameable_types, reason = "nobody else is to implement it")]
    pub trait Sealed {}
    impl Sealed for super::AsTheyCome {}
    impl Sealed for super::ReadBodies {}
}

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there are two ways to fail")]
pub enum BodyRefused {
    /// It is longer than the bound.
    TooLong,
    /// It broke off.
    Broken,
}

/// Leaves bodies alone, whatever their type.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AsTheyCome;

impl<Q> RequestBodies<Q> for AsTheyCome {
    type Reading = Never<Q>;

    fn read(self, body: Q) -> Result<Never<Q>, Q> {
        Err(body)
    }
}

/// The future of what does not happen.
#[derive(Debug)]
pub struct Never<Q>(Infallible, Pending<Q>);

impl<Q> Future for Never<Q> {
    type Output = Result<(Bytes, Q), BodyRefused>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0 {}
    }
}

/// Reads bodies that can be made of bytes, as axum's can.
#[derive(Clone, Copy, Debug)]
pub struct ReadBodies {
    maximum: usize,
}

impl Default for ReadBodies {
    fn default() -> Self {
        Self {
            maximum: DEFAULT_MAXIMUM_BODY,
        }
    }
}

impl ReadBodies {
    /// Reads up to this many bytes, and refuses what is longer.
    #[must_use]
    pub const fn up_to(maximum: usize) -> Self {
        Self { maximum }
    }
}

impl<Q: Body + From<Bytes>> RequestBodies<Q> for ReadBodies {
    type Reading = ReadBody<Q>;

    fn read(self, body: Q) -> Result<ReadBody<Q>, Q> {
        Ok(ReadBody {
            body,
            read: Bytes::new(),
            more: BytesMut::new(),
            maximum: self.maximum,
        })
    }
}

pin_project! {
    /// Reads a body to its end, up to a bound.
    pub struct ReadBody<Q> {
        #[pin]
        body: Q,
        // The first chunk, which is nearly always the only one and then is not copied.
        read: Bytes,
        more: BytesMut,
        maximum: usize,
    }
}

impl<Q: Body + From<Bytes>> Future for ReadBody<Q> {
    type Output = Result<(Bytes, Q), BodyRefused>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let too_long = |length: usize| length > *this.maximum;
        if usize::try_from(this.body.size_hint().lower()).map_or(true, too_long) {
            return Poll::Ready(Err(BodyRefused::TooLong));
        }
        while let Some(frame) = ready!(this.body.as_mut().poll_frame(context)) {
            // Trailers are not part of what is read, and no MCP client sends any.
            let Ok(mut data) = frame.map_err(|_| BodyRefused::Broken)?.into_data() else {
                continue;
            };
            let so_far = this.read.len().max(this.more.len());
            if too_long(so_far.saturating_add(data.remaining())) {
                return Poll::Ready(Err(BodyRefused::TooLong));
            }
            if so_far == 0 {
                *this.read = data.copy_to_bytes(data.remaining());
            } else {
                if this.more.is_empty() {
                    this.more.extend_from_slice(this.read);
                }
                while data.has_remaining() {
                    let chunk = data.chunk();
                    let length = chunk.len();
                    this.more.extend_from_slice(chunk);
                    data.advance(length);
                }
            }
        }
        let read = if this.more.is_empty() {
            std::mem::take(this.read)
        } else {
            std::mem::take(this.more).freeze()
        };
        Poll::Ready(Ok((read.clone(), Q::from(read))))
    }
}

impl<Q> fmt::Debug for ReadBody<Q> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ReadBody")
            .field("maximum", &self.maximum)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body::Frame;
    use proptest::prelude::*;

    use super::*;

    /// A body that comes in pieces.
    #[derive(Debug, Default)]
    struct Pieces(VecDeque<Result<Bytes, ()>>);

    impl From<Bytes> for Pieces {
        fn from(bytes: Bytes) -> Self {
            Self([Ok(bytes)].into())
        }
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = ();

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
            Poll::Ready(self.0.pop_front().map(|piece| piece.map(Frame::data)))
        }
    }

    async fn read(pieces: Vec<Vec<u8>>, maximum: usize) -> Result<Bytes, BodyRefused> {
        let body = Pieces(pieces.into_iter().map(|piece| Ok(piece.into())).collect());
        let (read, handed_on) = ReadBodies::up_to(maximum).read(body).unwrap().await?;
        assert_eq!(handed_on.0, [Ok(read.clone())]);
        Ok(read)
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound_and_not_a_byte_further() {
        assert_eq!(read(vec![], 3).await.unwrap(), "");
        assert_eq!(read(vec![b"abc".to_vec()], 3).await.unwrap(), "abc");
        assert_eq!(
            read(vec![b"a".to_vec(), vec![], b"bc".to_vec()], 3).await.unwrap(),
            "abc"
        );
        assert_eq!(read(vec![b"abcd".to_vec()], 3).await, Err(BodyRefused::TooLong));
        assert_eq!(
            read(vec![b"abc".to_vec(), b"d".to_vec()], 3).await,
            Err(BodyRefused::TooLong)
        );
    }

    #[tokio::test]
    async fn a_body_that_announces_too_much_is_not_read() {
        let body = http_body_util::Full::new(Bytes::from_static(b"abcd"));
        let refused = ReadBodies::up_to(3).read(body).unwrap().await.unwrap_err();
        assert_eq!(refused, BodyRefused::TooLong);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_body() {
        let body = Pieces([Ok(Bytes::from_static(b"a")), Err(())].into());
        let refused = ReadBodies::default().read(body).unwrap().await.unwrap_err();
        assert_eq!(refused, BodyRefused::Broken);
    }

    proptest! {
        #[test]
        fn every_byte_is_handed_on(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6)) {
            let whole = pieces.concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            prop_assert_eq!(runtime.block_on(read(pieces, 1000)).unwrap(), whole);
        }
    }
}
