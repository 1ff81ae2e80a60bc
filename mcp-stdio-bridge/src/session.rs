//! A session: one client, one server process, and the messages between them.
//!
//! A client may send several requests at once, with ids of its own choosing; some clients use the same id for all of
//! them. So each request gets a number here, which is its id on the pipe and also its progress token, and the
//! client's own come back with what the server sends. [`calls`] holds the requests that wait for their answer,
//! [`asked`] those of the server that wait for the client's, [`waiting`] what no stream could take yet.
//!
//! Everything the server writes is read by one task, in order, and each message goes to exactly one stream
//! ([`route`]). Streams are bounded: a client that does not read holds its own session up for a while, then its
//! stream is cut. [`supervise`] owns the process and decides when the session is over; [`Sessions`] is where
//! sessions are opened and found.
//!
//! The state is behind one lock that is never held across an await.

mod answers;
mod asked;
mod calls;
mod end;
mod route;
mod supervise;
mod table;
mod waiting;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::answers::{Answers, Events};
use self::asked::Asked;
use self::calls::{Call, Calls};
pub(crate) use self::end::End;
use self::end::Failure;
pub(crate) use self::table::{OpenError, Sessions};
use self::waiting::Waiting;
use crate::config::Limits;
use crate::message::{Kind, Message, reply};

/// How many messages a stream holds that its client has not read yet.
const STREAM: usize = 16;
/// How many messages to a server wait for it to read them.
const PIPE: usize = 16;

/// What a stream carries: one line of JSON.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A request or notification of the server.
    Message(String),
    /// The answer to the call; nothing comes after it.
    Answer { line: String, failed: bool },
}

/// Why a message could not be handed to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the session has ended; begin a new one with `initialize`")]
    Gone,
    #[error("too many requests of this session wait for their answers; wait for one of them, or cancel one")]
    Busy,
    #[error("the server has not asked for this answer, or not any more")]
    Unasked,
    #[error("the session's event stream is open already; one is all there can be")]
    Listening,
}

/// One client's session with its server process.
pub(crate) struct Session {
    id: String,
    limits: Arc<Limits>,
    pipe: mpsc::Sender<String>,
    state: Mutex<State>,
    /// The session is over; the process may still be running.
    closing: CancellationToken,
    /// The process and its group are gone.
    ended: CancellationToken,
    /// Something has changed that the supervisor's timers depend on.
    changed: Notify,
}

struct State {
    end: Option<End>,
    initialized: bool,
    calls: Calls,
    asked: Asked,
    /// The stream that a GET opened.
    events: Option<mpsc::Sender<Frame>>,
    waiting: Waiting,
    /// Requests and streams that are open now.
    open: usize,
    last_used: Instant,
}

impl Session {
    fn new(id: String, limits: Arc<Limits>) -> (Arc<Self>, mpsc::Receiver<String>) {
        let (pipe, inbox) = mpsc::channel(PIPE);
        let state = State {
            end: None,
            initialized: false,
            calls: Calls::new(limits.max_calls),
            asked: Asked::default(),
            events: None,
            waiting: Waiting::new(limits.max_line),
            open: 0,
            last_used: Instant::now(),
        };
        let session = Self {
            id,
            limits,
            pipe,
            state: Mutex::new(state),
            closing: CancellationToken::new(),
            ended: CancellationToken::new(),
            changed: Notify::new(),
        };
        (Arc::new(session), inbox)
    }

    /// The id by which the client names the session.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Enough of the id to tell sessions apart in a log. Who has the whole id has the session.
    fn label(&self) -> &str {
        self.id.get(..8).unwrap_or_default()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().end.is_none()
    }

    /// Hands a request of the client to the server.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: until the pipe has room, nothing has happened.
    pub(crate) async fn call(self: &Arc<Self>, request: &Message) -> Result<Answers, Refusal> {
        let (Kind::Request { id, method }, Some(at)) = (request.kind(), request.id_member()) else {
            // Only requests are calls; the callers have looked at the kind.
            return Err(Refusal::Unasked);
        };
        let open = Open::new(self);
        let token = request.asks_progress_by().filter(|token| token.id.is_some());
        let room = self.pipe.reserve().await.map_err(|_| Refusal::Gone)?;
        let (stream, frames) = mpsc::channel(STREAM);
        let call = Call::new(id.clone(), method, token.as_ref(), request.has_param("task"), stream);
        let failure = call.failure();

        let mut state = self.lock();
        if state.end.is_some() {
            return Err(Refusal::Gone);
        }
        let number = state.calls.insert(call).ok_or(Refusal::Busy)?;
        let own = number.to_string();
        let mut edits = vec![(&at, own.as_str())];
        edits.extend(token.as_ref().map(|token| (token, own.as_str())));
        room.send(request.line(&edits));
        drop(state);
        Ok(Answers::new(open, number, id.clone(), frames, failure))
    }

    /// Hands a notification of the client to the server.
    pub(crate) async fn notify(self: &Arc<Self>, notification: &Message) -> Result<(), Refusal> {
        let _open = Open::new(self);
        let room = self.pipe.reserve().await.map_err(|_| Refusal::Gone)?;
        let Kind::Notification { method } = notification.kind() else {
            return Err(Refusal::Unasked);
        };
        if method != "notifications/cancelled" {
            room.send(notification.line(&[]));
            return Ok(());
        }
        let Some((at, id)) = notification
            .param("requestId")
            .and_then(|at| at.id.clone().map(|id| (at, id)))
        else {
            room.send(notification.line(&[]));
            return Ok(());
        };
        // Of two calls with the same id nobody can tell which was meant: both go on. One that is not there was
        // answered meanwhile.
        if let Some((number, call)) = self.lock().calls.cancel(id.key()) {
            room.send(notification.line(&[(&at, &number.to_string())]));
            call.fail(Failure::Cancelled);
        }
        Ok(())
    }

    /// Hands the client's answer to the server that asked for it.
    pub(crate) async fn respond(self: &Arc<Self>, response: &Message) -> Result<(), Refusal> {
        let _open = Open::new(self);
        let room = self.pipe.reserve().await.map_err(|_| Refusal::Gone)?;
        let (Some(id), Some(at)) = (response.id(), response.id_member()) else {
            return Err(Refusal::Unasked);
        };
        let asked = self.lock().asked.answered(id.key()).ok_or(Refusal::Unasked)?;
        room.send(response.line(&[(&at, asked.raw())]));
        Ok(())
    }

    /// Opens the stream for what belongs to no call, beginning with what has waited for it.
    pub(crate) fn listen(self: &Arc<Self>) -> Result<Events, Refusal> {
        let mut state = self.lock();
        if state.end.is_some() {
            return Err(Refusal::Gone);
        }
        if state.events.as_ref().is_some_and(|events| !events.is_closed()) {
            return Err(Refusal::Listening);
        }
        let (stream, frames) = mpsc::channel(STREAM);
        state.events = Some(stream);
        let waited = state.waiting.take();
        for key in waited.iter().filter_map(|waited| waited.request.as_ref()) {
            state.asked.sent(key, asked::To::Events);
        }
        drop(state);
        Ok(Events::new(
            self,
            waited.into_iter().map(|waited| waited.line).collect(),
            frames,
        ))
    }

    /// Ends the session: what is in flight fails at once, the process ends in its own time. The first reason counts.
    pub(crate) fn close(&self, end: End) {
        self.lock().close(end);
        self.closing.cancel();
    }

    /// Waits until the process and its group are gone.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Gives a call up whose time is over.
    fn give_up(&self, number: u64) {
        if self.lock().calls.answered(number).is_some() {
            self.tell(reply::cancelled(number, "the time for this request is over"));
        }
    }

    /// Sends the server a message of the bridge's own, if the pipe has room: the task that reads from a server must
    /// not wait for that server to read.
    fn tell(&self, line: String) {
        if self.pipe.try_send(line).is_err() {
            tracing::warn!(
                session = self.label(),
                "a message to the server was dropped: it does not read its stdin"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&mut self, end: End) {
        if self.end.is_some() {
            return;
        }
        self.calls.fail_all(&Failure::Ended(end.clone()));
        self.end = Some(end);
        self.events = None;
        self.waiting.take();
        self.asked = Asked::default();
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
struct Open(Arc<Session>);

impl Open {
    fn new(session: &Arc<Session>) -> Self {
        session.lock().open += 1;
        Self(Arc::clone(session))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.open -= 1;
        state.last_used = Instant::now();
        drop(state);
        self.0.changed.notify_one();
    }
}
