//! Messages of the server that no stream could take yet.
//!
//! They wait for the client to open its event stream, in order and within a bound. Where there is no room the
//! oldest notification goes; a request is never forgotten silently, its server gets an error in place of an answer.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::message::Key;

/// How many messages wait.
const BOUND: usize = 256;
/// How long a request waits before its server is told that nobody answers.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Waited {
    pub(super) line: String,
    /// The id, if it is a request.
    pub(super) request: Option<Key>,
    since: Instant,
}

#[derive(Debug)]
pub(super) struct Waiting {
    queue: VecDeque<Waited>,
    bytes: usize,
    /// How many bytes may wait.
    bound: usize,
}

impl Waiting {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            bound,
        }
    }

    /// Puts a message at the end. What had to go for it, or the message itself, comes back.
    pub(super) fn push(&mut self, line: String, request: Option<Key>) -> Vec<Waited> {
        let mut gone = Vec::new();
        let message = Waited {
            line,
            request,
            since: Instant::now(),
        };
        while self.queue.len() >= BOUND || self.bytes + message.line.len() > self.bound {
            let Some(oldest) = self.queue.iter().position(|waited| waited.request.is_none()) else {
                gone.push(message);
                return gone;
            };
            gone.extend(self.remove(oldest));
        }
        self.bytes += message.line.len();
        self.queue.push_back(message);
        gone
    }

    /// Everything, the oldest first.
    pub(super) fn take(&mut self) -> VecDeque<Waited> {
        self.bytes = 0;
        std::mem::take(&mut self.queue)
    }

    /// Takes a request out that its server has cancelled.
    pub(super) fn cancel(&mut self, id: &Key) -> bool {
        let index = self.queue.iter().position(|waited| waited.request.as_ref() == Some(id));
        index.and_then(|index| self.remove(index)).is_some()
    }

    /// Takes a request out that has waited for too long.
    pub(super) fn expired(&mut self, now: Instant) -> Option<Key> {
        let index = self.queue.iter().position(|waited| waited.request.is_some())?;
        if self.queue[index].since + PATIENCE > now {
            return None;
        }
        self.remove(index)?.request
    }

    fn remove(&mut self, index: usize) -> Option<Waited> {
        let waited = self.queue.remove(index)?;
        self.bytes -= waited.line.len();
        Some(waited)
    }
}
