//! Server-sent events: each message one event, and a comment now and then so that no proxy takes the silence for
//! the end.

use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::StreamExt as _;
use http::{HeaderName, HeaderValue, header};

use crate::session::Frame;

const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A response that streams frames as they come.
pub(super) fn stream(frames: impl Stream<Item = Frame> + Send + 'static) -> Response {
    let events = frames.map(|frame| {
        let (Frame::Message(line) | Frame::Answer { line, .. }) = frame;
        Ok::<_, std::convert::Infallible>(Event::default().data(line))
    });
    let mut response = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx would otherwise keep events back until its buffer is full.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}
