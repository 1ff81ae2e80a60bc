//! A call's stream as its client reads it.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Child;
use super::end::Failure;
use crate::config::Limits;
use crate::message::Id;
use crate::stream::{Frame, Log, Numbered, Peeked, Reader, Until};

/// What is there first for a call.
#[derive(Debug)]
pub(crate) enum First {
    /// The answer, and nothing before it.
    Answer(Frame),
    /// Something else, or nothing for a while: what comes has to be streamed.
    Stream,
}

/// What comes back for one request: any number of messages, then the answer.
///
/// Dropping it takes the request back only where the protocol says so ([`Answers::cancels`]); else its answer is
/// dropped when it comes, or kept for the client to come back.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(super) source: Source,
    pub(super) id: Id,
    pub(super) reader: Reader,
    pub(super) deadline: Option<Instant>,
    pub(super) done: bool,
    pub(super) cancels: bool,
}

/// Who answers.
#[derive(Debug)]
pub(super) enum Source {
    /// The server itself: the call's number on the pipe.
    Child(Arc<Child>, u64),
    /// A translation, to be stopped by this.
    Translation(CancellationToken),
}

impl Answers {
    /// What a translation answers.
    pub(crate) fn translated(id: Id, reader: Reader, stop: CancellationToken) -> Self {
        Self {
            source: Source::Translation(stop),
            id,
            reader,
            deadline: None,
            done: false,
            cancels: false,
        }
    }

    /// Makes a client that goes away take its request back.
    pub(crate) fn cancels(mut self) -> Self {
        self.cancels = true;
        self
    }

    /// What is there first for a client that waits; after the time that clients wait without anything, a stream.
    pub(crate) async fn first(&mut self, limits: &Limits) -> First {
        match &self.source {
            Source::Child(child, _) => {
                child.watch();
                let peeked = self.reader.peek(Until::Overdue).await;
                self.found(peeked).await
            }
            Source::Translation(_) => self.first_within(limits.patience()).await,
        }
    }

    /// The same for whoever has a time of their own to wait.
    pub(crate) async fn first_within(&mut self, patience: Duration) -> First {
        let patience = Instant::now() + patience;
        let until = self.deadline.map_or(patience, |deadline| deadline.min(patience));
        let peeked = timeout_at(until, self.reader.peek(Until::There)).await;
        self.found(peeked.unwrap_or(Peeked::Overdue)).await
    }

    async fn found(&mut self, peeked: Peeked) -> First {
        match peeked {
            Peeked::Answer | Peeked::End => match self.next().await {
                Some(Numbered { frame, .. }) => First::Answer(frame),
                // Not before the answer is the stream over.
                None => First::Stream,
            },
            Peeked::Overdue if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                First::Answer(self.late())
            }
            Peeked::Message | Peeked::Overdue => First::Stream,
        }
    }

    /// The next; `None` after the answer, or when another reader has taken over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Numbered> {
        match self.deadline {
            _ if self.done => None,
            None => std::future::poll_fn(|context| self.poll_next(context)).await,
            Some(deadline) => {
                match timeout_at(deadline, std::future::poll_fn(|context| self.poll_next(context))).await {
                    Ok(next) => next,
                    Err(_) => Some(Numbered {
                        frame: self.late(),
                        number: None,
                    }),
                }
            }
        }
    }

    /// The next as a stream has it, without a deadline.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Numbered>> {
        if self.done {
            return Poll::Ready(None);
        }
        let next = ready!(self.reader.poll_next(context));
        self.done = !matches!(
            next,
            Some(Numbered {
                frame: Frame::Message(_),
                ..
            })
        );
        Poll::Ready(next)
    }

    /// From here on the answers are events that can be asked for again.
    pub(crate) fn keep(&self, log: Log) {
        self.reader.keep(log);
    }

    /// The stream, for another reader to take over.
    pub(crate) fn stream(&self) -> &Arc<crate::stream::Stream> {
        self.reader.stream()
    }

    /// When the time for the answer is over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The time is over: what the client gets in place of an answer.
    pub(crate) fn late(&mut self) -> Frame {
        self.done = true;
        self.give_up("the time for this request is over");
        Failure::TimedOut.answer(&self.id)
    }

    fn give_up(&self, why: &str) {
        match &self.source {
            Source::Child(child, number) => child.give_up(*number, why),
            Source::Translation(stop) => stop.cancel(),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if self.cancels && !self.done {
            self.give_up("the client closed the connection");
        }
    }
}
