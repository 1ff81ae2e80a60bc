//! A stream of messages to one reader: a call's, up to its answer, or a session's own.
//!
//! The task that reads from a server puts messages in and never waits while it does: a stream takes what it is given
//! and says when it holds more than it should ([`Pressure`]). What to do then is for that task to decide: to read no
//! further from a server that only this client uses, or to cut the reader off where others use the server too.
//!
//! A stream that is sent as events can be resumed. From then on each message has a number and is kept in the event
//! store as well ([`Log`]); if the reader goes away the stream goes on, and the next reader begins where the last one
//! stopped.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::events::EventStore;

/// How many messages a stream holds before its reader counts as slow.
const MESSAGES: usize = 64;
/// How many bytes.
const BYTES: usize = 1024 * 1024;

/// What a stream carries: one line of JSON.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A request or notification of the server.
    Message(String),
    /// The answer to the call; nothing comes after it.
    Answer {
        line: String,
        /// The code, if the answer is an error.
        error: Option<i64>,
    },
}

impl Frame {
    /// The JSON.
    pub(crate) fn line(&self) -> &str {
        match self {
            Self::Message(line) | Self::Answer { line, .. } => line,
        }
    }

    /// The JSON, to be sent.
    pub(crate) fn into_line(self) -> String {
        match self {
            Self::Message(line) | Self::Answer { line, .. } => line,
        }
    }

    fn is_answer(&self) -> bool {
        matches!(self, Self::Answer { .. })
    }
}

/// A frame, and its number in the stream if the stream can be resumed.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) frame: Frame,
    pub(crate) number: Option<u64>,
}

/// What became of a frame that was put into a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    Taken,
    /// Taken, and the reader is slow.
    Full,
    /// Nobody reads, and nobody will.
    Gone,
}

/// A stream whose reader is slow.
pub(crate) type Pressure = Option<Arc<Stream>>;

/// Where the events of a stream are kept.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) session: Arc<str>,
    /// The stream's number in its session.
    pub(crate) stream: u64,
}

pub(crate) struct Stream(Mutex<State>);

#[derive(Default)]
struct State {
    queue: VecDeque<Numbered>,
    bytes: usize,
    /// Which reader is the one that reads; the ones before it have been replaced.
    reader: u32,
    attached: bool,
    /// Nothing more comes in.
    finished: bool,
    /// Whoever waits for the first frame has waited long enough.
    overdue: bool,
    log: Option<Log>,
    /// The number of the next event; 0 is the priming event.
    next: u64,
    waker: Option<Waker>,
    /// Of the task that waits for the reader to read.
    drained: Option<Waker>,
}

impl Stream {
    /// A stream and the reader that it is for.
    pub(crate) fn new() -> (Arc<Self>, Reader) {
        let stream = Arc::new(Self(Mutex::new(State {
            attached: true,
            next: 1,
            ..State::default()
        })));
        let reader = Reader {
            stream: Arc::clone(&stream),
            number: 0,
        };
        (stream, reader)
    }

    /// A stream that nobody reads yet, to be resumed.
    pub(crate) fn logged(log: Log) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            log: Some(log),
            next: 1,
            ..State::default()
        })))
    }

    /// Puts a frame in.
    pub(crate) fn put(&self, frame: Frame) -> Put {
        let mut state = self.lock();
        if state.finished {
            return Put::Gone;
        }
        state.finished = frame.is_answer();
        let number = state.record(&frame);
        if !state.attached {
            return if number.is_some() { Put::Taken } else { Put::Gone };
        }
        state.bytes += frame.line().len();
        state.queue.push_back(Numbered { frame, number });
        let full = state.is_full();
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        if full { Put::Full } else { Put::Taken }
    }

    /// Whether somebody reads, or can come back to read.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.lock();
        !state.finished && (state.attached || state.log.is_some())
    }

    /// Whether somebody reads now.
    pub(crate) fn is_read(&self) -> bool {
        let state = self.lock();
        !state.finished && state.attached
    }

    /// Ends the stream; what is in it is still read.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        state.finished = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Tells a reader that waits for the first frame that it has waited long enough.
    pub(crate) fn overdue(&self) {
        let mut state = self.lock();
        state.overdue = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the stream away from a reader that does not read, if it can be resumed.
    pub(crate) fn cut(&self) -> bool {
        let mut state = self.lock();
        if state.log.is_none() {
            return false;
        }
        state.detach();
        state.reader = state.reader.wrapping_add(1);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Waits until the reader has read, or is gone.
    pub(crate) async fn drained(&self) {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.finished || !state.attached || !state.is_full() {
                return Poll::Ready(());
            }
            state.drained = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Makes the stream one that can be resumed.
    fn keep(&self, log: Log) {
        let mut state = self.lock();
        if state.log.is_some() {
            return;
        }
        state.log = Some(log);
        let mut queue = std::mem::take(&mut state.queue);
        for waiting in &mut queue {
            waiting.number = state.record(&waiting.frame);
        }
        state.queue = queue;
    }

    /// A reader in place of the one before, beginning behind the event with this number.
    pub(crate) fn resume(self: &Arc<Self>, after: u64) -> (Vec<(u64, Arc<str>)>, Reader) {
        let mut state = self.lock();
        let missed = state
            .log
            .as_ref()
            .map(|log| log.store.after(&log.session, log.stream, after));
        state.detach();
        state.reader = state.reader.wrapping_add(1);
        state.attached = true;
        let number = state.reader;
        let waker = state.waker.take();
        drop(state);
        // The reader before this one finds that it has been replaced.
        if let Some(waker) = waker {
            waker.wake();
        }
        let reader = Reader {
            stream: Arc::clone(self),
            number,
        };
        (missed.unwrap_or_default(), reader)
    }

    /// The number of the last event so far.
    pub(crate) fn last(&self) -> u64 {
        self.lock().next - 1
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn record(&mut self, frame: &Frame) -> Option<u64> {
        let log = self.log.as_ref()?;
        let number = self.next;
        self.next += 1;
        log.store.append(&log.session, log.stream, number, frame.line());
        Some(number)
    }

    fn is_full(&self) -> bool {
        self.queue.len() > MESSAGES || self.bytes > BYTES
    }

    fn detach(&mut self) {
        self.attached = false;
        self.queue.clear();
        self.bytes = 0;
        if let Some(waker) = self.drained.take() {
            waker.wake();
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

/// What is there to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peeked {
    Answer,
    Message,
    /// Nothing, and nothing will be.
    End,
    /// Nothing yet.
    Overdue,
}

/// Until when a reader waits for something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Until it is there.
    There,
    /// At most until the stream is [overdue](Stream::overdue).
    Overdue,
}

/// The one that reads a stream. Dropping it leaves the stream without a reader.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: Arc<Stream>,
    number: u32,
}

impl Reader {
    /// The next frame; `None` at the end, or when another reader has taken over.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Numbered>> {
        let mut state = self.stream.lock();
        if state.reader != self.number {
            return Poll::Ready(None);
        }
        if let Some(next) = state.queue.pop_front() {
            state.bytes -= next.frame.line().len();
            let drained = if state.is_full() { None } else { state.drained.take() };
            drop(state);
            if let Some(drained) = drained {
                drained.wake();
            }
            return Poll::Ready(Some(next));
        }
        if state.finished {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits until there is something to read, or `until` says that this was long enough.
    pub(crate) async fn peek(&mut self, until: Until) -> Peeked {
        poll_fn(|context| {
            let mut state = self.stream.lock();
            if let Some(next) = state.queue.front() {
                return Poll::Ready(if next.frame.is_answer() {
                    Peeked::Answer
                } else {
                    Peeked::Message
                });
            }
            if state.finished || state.reader != self.number {
                return Poll::Ready(Peeked::End);
            }
            if state.overdue && until == Until::Overdue {
                return Poll::Ready(Peeked::Overdue);
            }
            state.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// From here on the stream can be resumed.
    pub(crate) fn keep(&self, log: Log) {
        self.stream.keep(log);
    }

    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.stream.lock();
        if state.reader == self.number {
            state.detach();
        }
    }
}
