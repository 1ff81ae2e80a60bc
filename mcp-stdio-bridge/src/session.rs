//! A session of the protocol up to 2025-11-25: one client's conversation with a server.
//!
//! The conversation is with a process of the session's own, or with one that several share; then the [`Home`] of that
//! [`Child`] shares it out. A session knows its client: to whom it belongs, the stream that a GET opened, what waits for that
//! stream ([`waiting`]), and the streams that can be resumed.

pub(crate) mod table;
mod waiting;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::time::Instant;

use self::waiting::Waiting;
use crate::caller::CallerKey;
use crate::child::{Answers, Child, End, Failure, Home, Refusal, Unanswered, Wants};
use crate::config::Limits;
use crate::events::EventStore;
use crate::message::{Id, Key, Message, reply};
use crate::stream::{Frame, Log, Pressure, Put, Reader, Stream};
use crate::versions::Version;

/// How many streams of a session can be resumed at the same time.
const RESUMABLE: usize = 64;

/// One client's session.
pub(crate) struct Session {
    id: Arc<str>,
    /// What tells it apart where it shares a process.
    number: u64,
    owner: CallerKey,
    child: Arc<Child>,
    /// Whether the process is the session's own.
    alone: bool,
    store: Arc<dyn EventStore>,
    version: OnceLock<Version>,
    /// Does the work where the server speaks the other era.
    translator: OnceLock<Arc<dyn Translator>>,
    /// The stream that a GET opens; it is there from the beginning.
    events: Arc<Stream>,
    state: Mutex<State>,
    /// Requests and streams that are open now.
    open: AtomicUsize,
}

struct State {
    over: bool,
    waiting: Waiting,
    resumable: VecDeque<(u64, Arc<Stream>)>,
    next_stream: u64,
    last_used: Instant,
}

/// Stands between a session and a server that speaks the other era, or that others use too.
#[async_trait::async_trait]
pub(crate) trait Translator: Send + Sync {
    /// A request of the client.
    async fn call(&self, request: &Message, wants: Wants<'_>) -> Result<Answers, Refusal>;

    /// A notification of the client.
    async fn notify(&self, notification: &Message) -> Result<(), Refusal>;

    /// The client's answer to what it was asked.
    async fn respond(&self, response: &Message) -> Result<(), Refusal>;
}

/// The session's own stream, or another that is resumed.
#[derive(Debug)]
pub(crate) struct Listening {
    /// The stream's number.
    pub(crate) stream: u64,
    /// What came after the last event that the client has seen.
    pub(crate) missed: Vec<(u64, Arc<str>)>,
    /// The event from which the client can resume before anything else comes.
    pub(crate) last: u64,
    pub(crate) reader: Reader,
    _open: Open,
}

/// The event is none of the session's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnknownEvent;

/// What a session is made of.
pub(crate) struct Parts {
    pub(crate) number: u64,
    pub(crate) owner: CallerKey,
    pub(crate) child: Arc<Child>,
    pub(crate) alone: bool,
    pub(crate) store: Arc<dyn EventStore>,
}

impl Session {
    pub(crate) fn new(id: Arc<str>, parts: Parts, limits: &Limits) -> Arc<Self> {
        let events = Stream::logged(Log {
            store: Arc::clone(&parts.store),
            session: Arc::clone(&id),
            stream: 0,
        });
        Arc::new(Self {
            id,
            number: parts.number,
            owner: parts.owner,
            child: parts.child,
            alone: parts.alone,
            store: parts.store,
            version: OnceLock::new(),
            translator: OnceLock::new(),
            events,
            state: Mutex::new(State {
                over: false,
                waiting: Waiting::new(limits.max_line),
                resumable: VecDeque::new(),
                next_stream: 1,
                last_used: Instant::now(),
            }),
            open: AtomicUsize::new(0),
        })
    }

    /// The id by which the client names the session.
    pub(crate) fn id(&self) -> &Arc<str> {
        &self.id
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// To whom it belongs.
    pub(crate) fn owner(&self) -> &CallerKey {
        &self.owner
    }

    pub(crate) fn child(&self) -> &Arc<Child> {
        &self.child
    }

    /// Puts something between the session and a server that speaks the other era.
    pub(crate) fn translate(&self, translator: Arc<dyn Translator>) {
        // Once only: at the beginning.
        let _ = self.translator.set(translator);
    }

    /// The version that server and client have agreed on.
    pub(crate) fn version(&self) -> Version {
        self.version.get().copied().unwrap_or_default()
    }

    pub(crate) fn agreed(&self, version: Version) {
        // Once only: at the beginning.
        let _ = self.version.set(version);
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.lock().over && self.child.is_open()
    }

    /// Keeps the session from counting as idle.
    pub(crate) fn open(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Since when nothing has been open; `None` while something is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        if self.open.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let last_used = self.lock().last_used;
        if self.alone {
            // A call whose client has gone is still worked on.
            return self.child.idle_since().map(|since| since.max(last_used));
        }
        Some(last_used)
    }

    /// Makes a stream of the session one that can be resumed.
    pub(crate) fn resumable(&self, stream: &Arc<Stream>) -> Log {
        let mut state = self.lock();
        let number = state.next_stream;
        state.next_stream += 1;
        if state.resumable.len() == RESUMABLE {
            state.resumable.pop_front();
        }
        state.resumable.push_back((number, Arc::clone(stream)));
        Log {
            store: Arc::clone(&self.store),
            session: Arc::clone(&self.id),
            stream: number,
        }
    }

    /// Opens the stream for what belongs to no call, beginning with what has waited for it. A client that opens it
    /// again has lost the one before.
    pub(crate) fn listen(self: &Arc<Self>) -> Listening {
        let last = self.events.last();
        self.listening(0, &self.events, last)
    }

    /// Goes on with a stream behind the event that its client has seen last.
    pub(crate) fn resume(self: &Arc<Self>, stream: u64, event: u64) -> Result<Listening, UnknownEvent> {
        if stream == 0 {
            return Ok(self.listening(0, &self.events, event));
        }
        let found = {
            let state = self.lock();
            let mut resumable = state.resumable.iter();
            resumable
                .find(|(number, _)| *number == stream)
                .map(|(_, stream)| Arc::clone(stream))
        };
        let found = found.ok_or(UnknownEvent)?;
        Ok(self.listening(stream, &found, event))
    }

    fn listening(self: &Arc<Self>, number: u64, stream: &Arc<Stream>, after: u64) -> Listening {
        let (missed, reader) = stream.resume(after);
        let last = missed.last().map_or(after, |(number, _)| *number);
        if number == 0 {
            let waited = self.lock().waiting.take();
            for waited in waited {
                self.events.put(Frame::Message(waited.line));
            }
        }
        Listening {
            stream: number,
            missed,
            last,
            reader,
            _open: self.open(),
        }
    }

    /// Sends the client what belongs to no call: on its event stream, or when it opens one. `request` is the id of a
    /// request that the client has to answer.
    pub(crate) fn send(&self, line: String, request: Option<&Key>) -> Pressure {
        if self.events.is_read() {
            return match self.events.put(Frame::Message(line)) {
                Put::Full => Some(Arc::clone(&self.events)),
                Put::Taken | Put::Gone => None,
            };
        }
        let gone = {
            let mut state = self.lock();
            if state.over {
                return None;
            }
            state.waiting.push(line, request.cloned())
        };
        for gone in gone {
            if let Some(key) = gone.request {
                self.child.refuse(&key, Unanswered::NoStream);
                continue;
            }
            tracing::warn!(
                session = self.label(),
                "a notification was dropped: the client has no stream open"
            );
        }
        None
    }

    /// Refuses the requests of the server that have found no stream for too long.
    pub(crate) fn expire(&self, now: Instant) {
        loop {
            let expired = self.lock().waiting.expired(now);
            let Some(key) = expired else { return };
            self.child.refuse(&key, Unanswered::NoStream);
        }
    }

    /// Marks the session as over; `false` if it was before. Its process, if it is the session's own, is told.
    pub(crate) fn close(&self, end: &End) -> bool {
        {
            let mut state = self.lock();
            if state.over {
                return false;
            }
            state.over = true;
            state.waiting.take();
            state.resumable.clear();
        }
        self.events.finish();
        if self.alone {
            self.child.close(end);
        } else {
            self.child.leave(self.number, &Failure::Ended(end.clone()));
        }
        self.store.forget(&self.id);
        true
    }

    /// Hands a request of the client to the server.
    pub(crate) async fn call(&self, request: &Message, wants: Wants<'_>) -> Result<Answers, Refusal> {
        if let Some(translator) = self.translator.get() {
            return translator.call(request, wants).await;
        }
        let session = self.number;
        self.child.call(request, Wants { session, ..wants }).await
    }

    /// Hands a notification of the client to the server.
    pub(crate) async fn notify(&self, notification: &Message) -> Result<(), Refusal> {
        match (self.translator.get(), notification.method()) {
            (Some(translator), _) => translator.notify(notification).await,
            (None, Some("notifications/cancelled")) => self.child.cancel(self.number, notification).await,
            (None, _) => self.child.send(notification.line(&[])).await,
        }
    }

    /// Hands the client's answer to the server that asked for it.
    pub(crate) async fn respond(&self, response: &Message) -> Result<(), Refusal> {
        match self.translator.get() {
            Some(translator) => translator.respond(response).await,
            None => self.child.respond(self.number, response).await,
        }
    }

    /// Waits until the session's process is gone, if it is the session's own.
    pub(crate) async fn ended(&self) {
        if self.alone {
            self.child.ended().await;
        }
    }

    /// Enough of the id to tell sessions apart in a log. Who has the whole id has the session.
    pub(crate) fn label(&self) -> &str {
        self.id.get(..8).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process that serves this session alone.
///
/// - What names no call goes to the only call in flight, if there is exactly one.
/// - Else a request goes to the oldest call in which servers ask back, or the oldest call; failing that to the event
///   stream.
/// - Else a notification goes to the event stream; failing that to the newest call.
/// - What no stream takes waits for the event stream.
impl Home for Session {
    fn notify(&self, child: &Arc<Child>, message: &Message, _method: &str) -> Pressure {
        let line = || Frame::Message(message.line(&[]));
        if let Some(put) = child.only().and_then(|only| child.put(only, line())) {
            return put;
        }
        if !self.events.is_read()
            && let Some(put) = child.newest().and_then(|newest| child.put(newest, line()))
        {
            return put;
        }
        self.send(message.line(&[]), None)
    }

    fn ask(&self, child: &Arc<Child>, message: &Message, id: &Id, method: &str) -> Result<Pressure, Unanswered> {
        if let Some(put) = child.ask_in_call(message, id) {
            return Ok(put);
        }
        child.asked_of(id.key(), self.number);
        if method == "ping" && !self.events.is_read() {
            // Nobody is there to be asked, and nothing to be said but that the connection is alive.
            child.answer(self.number, id.key(), |id| reply::result(id, "{}"));
            return Ok(None);
        }
        Ok(self.send(message.line(&[]), Some(id.key())))
    }

    fn take_back(&self, _child: &Arc<Child>, message: &Message, id: &Key) {
        if self.lock().waiting.cancel(id) {
            return;
        }
        self.send(message.line(&[]), None);
    }

    fn ended(&self, _child: &Arc<Child>, end: &End) {
        self.close(end);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.label())
            .finish_non_exhaustive()
    }
}

/// A request or stream that is open; a session that has one is not idle.
#[derive(Debug)]
pub(crate) struct Open(Arc<Session>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().last_used = Instant::now();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
