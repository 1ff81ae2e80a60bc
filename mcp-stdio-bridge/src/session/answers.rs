//! The streams as the HTTP side reads them: a call's, and the session's.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::end::Failure;
use super::{Frame, Open, Session};
use crate::message::{Id, reply};

/// What comes back for one request: any number of messages, then the answer.
///
/// Dropping it does not take the request back; its answer is dropped when it comes.
#[derive(Debug)]
pub(crate) struct Answers {
    number: u64,
    id: Id,
    frames: mpsc::Receiver<Frame>,
    failure: Arc<OnceLock<Failure>>,
    deadline: Option<Instant>,
    done: bool,
    open: Open,
}

impl Answers {
    pub(super) fn new(
        open: Open,
        number: u64,
        id: Id,
        frames: mpsc::Receiver<Frame>,
        failure: Arc<OnceLock<Failure>>,
    ) -> Self {
        let deadline = open.0.limits.request_timeout.map(|limit| Instant::now() + limit);
        Self {
            number,
            id,
            frames,
            failure,
            deadline,
            done: false,
            open,
        }
    }

    /// The next; `None` after the answer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        if self.done {
            return None;
        }
        let frame = match self.deadline {
            None => self.frames.recv().await,
            Some(deadline) => {
                let Ok(frame) = timeout_at(deadline, self.frames.recv()).await else {
                    self.open.0.give_up(self.number);
                    self.done = true;
                    return Some(self.failed(&Failure::TimedOut));
                };
                frame
            }
        };
        self.done = !matches!(frame, Some(Frame::Message(_)));
        // A stream that ends without an answer has its reason set before; `Stalled` is what a cut looks like.
        Some(frame.unwrap_or_else(|| self.failed(self.failure.get().unwrap_or(&Failure::Stalled))))
    }

    fn failed(&self, failure: &Failure) -> Frame {
        let line = reply::error(Some(self.id.raw()), failure.code(), &failure.to_string());
        Frame::Answer { line, failed: true }
    }
}

/// The session's own stream.
#[derive(Debug)]
pub(crate) struct Events {
    waited: VecDeque<String>,
    frames: mpsc::Receiver<Frame>,
    _open: Open,
}

impl Events {
    pub(super) fn new(session: &Arc<Session>, waited: VecDeque<String>, frames: mpsc::Receiver<Frame>) -> Self {
        Self {
            waited,
            frames,
            _open: Open::new(session),
        }
    }

    /// The next message; `None` when the session has ended.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        match self.waited.pop_front() {
            Some(line) => Some(Frame::Message(line)),
            None => self.frames.recv().await,
        }
    }
}
