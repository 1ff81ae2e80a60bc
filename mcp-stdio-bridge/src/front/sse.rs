//! Server-sent events: each message one event, and a comment now and then so that no proxy takes the silence for
//! the end.
//!
//! What can be resumed has ids, `STREAM-NUMBER`, and begins with an event that says nothing, where the client's version
//! of the protocol has that: it has an id to resume from before anything else has come. What waits together is sent
//! together.

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures_util::Stream;
use http::{HeaderName, HeaderValue, header};
use tokio::time::{Instant, Sleep, sleep_until};

use super::http_sse::Connected;
use crate::child::Answers;
use crate::session::{Listening, Open};
use crate::stream::Numbered;

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When a client that was cut off is to come back, in milliseconds.
const RETRY: u32 = 1000;
/// So much goes out at once, if there is as much.
const CHUNK: usize = 64 * 1024;

/// What is streamed.
#[derive(Debug)]
pub(super) enum Source {
    /// The answers to one request, with the number of the stream if it can be resumed.
    Answers(Answers, Option<u64>),
    /// A session's own stream, or one that is resumed.
    Listening(Listening),
    /// Everything for a client of 2024-11-05.
    HttpSse(Connected),
    /// The answers to the requests of a batch.
    Batch(Vec<Answers>),
}

/// A response that streams messages as they come.
///
/// The session that it belongs to counts as used for as long as it lasts.
pub(super) fn stream(source: Source, open: Option<Open>, priming: bool) -> Response {
    let mut preface = String::new();
    if priming {
        let at = match &source {
            Source::Answers(_, Some(stream)) => Some((*stream, 0)),
            Source::Listening(listening) if listening.missed.is_empty() => Some((listening.stream, listening.last)),
            _ => None,
        };
        if let Some((stream, number)) = at {
            let _ = write!(preface, "id: {stream}-{number}\nretry: {RETRY}\ndata: \n\n");
        }
    }
    if let Source::HttpSse(connected) = &source {
        let _ = write!(preface, "event: endpoint\ndata: {}\n\n", connected.endpoint);
    }
    if let Source::Listening(listening) = &source {
        for (number, line) in &listening.missed {
            event(&mut preface, Some((listening.stream, *number)), line);
        }
    }
    let deadline = match &source {
        Source::Answers(answers, ..) => answers.deadline(),
        _ => None,
    };
    let events = Events {
        source,
        _open: open,
        chunk: preface,
        comment: Box::pin(sleep_until(Instant::now() + KEEP_ALIVE)),
        deadline: deadline.map(|deadline| Box::pin(sleep_until(deadline))),
    };
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx would otherwise keep events back until its buffer is full.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

/// The stream and the number that an event id names.
pub(super) fn event_id(text: &str) -> Option<(u64, u64)> {
    let (stream, number) = text.split_once('-')?;
    Some((stream.parse().ok()?, number.parse().ok()?))
}

struct Events {
    source: Source,
    _open: Option<Open>,
    /// What goes out next.
    chunk: String,
    comment: Pin<Box<Sleep>>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Events {
    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Option<(Option<u64>, Numbered)>> {
        match &mut self.source {
            Source::Answers(answers, stream) => answers.poll_next(context).map(|next| next.map(|next| (*stream, next))),
            Source::Listening(listening) => {
                let stream = listening.stream;
                listening
                    .reader
                    .poll_next(context)
                    .map(|next| next.map(|next| (Some(stream), next)))
            }
            Source::HttpSse(connected) => connected
                .reader
                .poll_next(context)
                .map(|next| next.map(|next| (None, next))),
            Source::Batch(all) => {
                let mut index = 0;
                while index < all.len() {
                    match all[index].poll_next(context) {
                        Poll::Ready(Some(next)) => return Poll::Ready(Some((None, next))),
                        Poll::Ready(None) => drop(all.swap_remove(index)),
                        Poll::Pending => index += 1,
                    }
                }
                if all.is_empty() {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                }
            }
        }
    }

    fn send(&mut self) -> Poll<Option<Result<String, std::convert::Infallible>>> {
        Poll::Ready(Some(Ok(std::mem::take(&mut self.chunk))))
    }
}

impl Stream for Events {
    type Item = Result<String, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while self.chunk.len() < CHUNK {
            match self.poll_source(context) {
                Poll::Ready(Some((stream, next))) => {
                    let id = stream.zip(next.number);
                    event(&mut self.chunk, id, next.frame.line());
                }
                Poll::Ready(None) if self.chunk.is_empty() => return Poll::Ready(None),
                Poll::Ready(None) => return self.send(),
                Poll::Pending => break,
            }
        }
        if !self.chunk.is_empty() {
            self.comment.as_mut().reset(Instant::now() + KEEP_ALIVE);
            return self.send();
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            self.deadline = None;
            if let Source::Answers(answers, ..) = &mut self.source {
                let late = answers.late();
                event(&mut self.chunk, None, late.line());
                return self.send();
            }
        }
        if self.comment.as_mut().poll(context).is_ready() {
            self.comment.as_mut().reset(Instant::now() + KEEP_ALIVE);
            self.chunk.push_str(":\n\n");
            // Wakes again at the next one.
            let _ = self.comment.as_mut().poll(context);
            return self.send();
        }
        Poll::Pending
    }
}

/// One message. It is one line: that is what messages are on the pipe.
fn event(chunk: &mut String, id: Option<(u64, u64)>, line: &str) {
    chunk.reserve(line.len() + 40);
    if let Some((stream, number)) = id {
        let _ = writeln!(chunk, "id: {stream}-{number}");
    }
    chunk.push_str("data: ");
    chunk.push_str(line);
    chunk.push_str("\n\n");
}
