//! A server process in use: requests go in under numbers of the bridge's own, and what comes out finds its way.
//!
//! Clients may use one id for several requests at once; some use the same for all. So each request gets a number
//! here, which is its id on the pipe and also its progress token, and the client's own come back with what the server
//! sends. [`calls`] holds the requests that wait for their answer, [`asked`] those of the server that wait for a
//! client's.
//!
//! Everything the server writes is read by one task, in order, and each message goes to exactly one place ([`route`]).
//! An answer and progress go to the call they belong to. For the rest it depends on whom the process serves, a session
//! or many, with the protocol of either era: that is for its [`Home`] to say. [`supervise`] owns the process and
//! decides when it is over.
//!
//! The state is behind one lock that is never held across an await, nor while a home is called.

pub(crate) mod answers;
pub(crate) mod asked;
pub(crate) mod calls;
pub(crate) mod end;
mod patience;
mod route;
mod supervise;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

pub(crate) use self::answers::{Answers, First};
use self::asked::{Asked, To};
use self::calls::{Call, Calls, Kind, Level};
pub(crate) use self::end::{End, Failure};
use self::patience::Watched;
pub(crate) use self::route::subscription_of;
use crate::back::{Pipe, Started, Tail};
use crate::config::Limits;
use crate::message::{self, Id, Key, Message, reply};
use crate::meter::Meter;
use crate::stream::{Frame, Pressure, Put, Stream};

/// Why a message could not be handed to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the session has ended; begin a new one with `initialize`")]
    Gone,
    #[error("too many requests wait for their answers; wait for one of them, or cancel one")]
    Busy,
    #[error("the server has not asked for this answer, or not any more")]
    Unasked,
}

/// Whom a server process serves: takes what belongs to no call in particular.
pub(crate) trait Home: Send + Sync {
    /// A notification that is neither progress nor a cancellation.
    fn notify(&self, child: &Arc<Child>, message: &Message, method: &str) -> Pressure;

    /// Progress of something that goes on in a session after its answer.
    fn progress(&self, child: &Arc<Child>, message: &Message, _session: u64) -> Pressure {
        self.notify(child, message, "notifications/progress")
    }

    /// A request of the server. The error is what the server gets for an answer.
    fn ask(&self, child: &Arc<Child>, message: &Message, id: &Id, method: &str) -> Result<Pressure, Unanswered>;

    /// A request that was asked of the home is taken back.
    fn take_back(&self, child: &Arc<Child>, message: &Message, id: &Key);

    /// The process is over, and all its calls have failed.
    fn ended(&self, child: &Arc<Child>, end: &End);
}

/// Why a request of the server gets an error.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("the client has no stream open")]
    NoStream,
    #[error("no client's request is being worked on, so there is nobody to ask")]
    Nobody,
    #[error("too many requests to the client wait for their answers")]
    Many,
    #[error("the client has not declared the capability that this needs")]
    Undeclared,
    #[error("the client did not answer in time")]
    TimedOut,
}

/// How a call is made.
#[derive(Debug, Default)]
pub(crate) struct Wants<'a> {
    /// The number of the session it comes in.
    pub(crate) session: u64,
    /// Changes to the message beside those of ids.
    pub(crate) edits: Vec<(message::Member, &'a str)>,
    /// How much of the server's log belongs to the call.
    pub(crate) level: Option<Level>,
}

/// What a process is told apart by in the log.
pub(crate) type Label = Arc<str>;

/// A server process in use.
pub(crate) struct Child {
    label: Label,
    meter: Meter,
    limits: Arc<Limits>,
    pipe: Arc<Pipe>,
    next: AtomicU64,
    state: Mutex<State>,
    home: OnceLock<Weak<dyn Home>>,
    /// One client only uses the process: if it is slow, the process may have to wait for it.
    alone: bool,
    tail: Tail,
    /// It is over; the process may still be running.
    closing: CancellationToken,
    /// The process and its group are gone.
    ended: CancellationToken,
}

struct State {
    end: Option<End>,
    calls: Calls,
    asked: Asked,
    watched: Watched,
    last_used: Instant,
}

/// What a process is put to use with.
pub(crate) struct Setting<'a> {
    pub(crate) label: Label,
    pub(crate) meter: Meter,
    pub(crate) limits: Arc<Limits>,
    pub(crate) alone: bool,
    pub(crate) tasks: &'a TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Child {
    /// Puts a process to use. What was handed over with it is dropped when the process is gone.
    pub(crate) fn new<T: Send + 'static>(
        started: Started,
        setting: Setting<'_>,
        until_gone: T,
    ) -> std::io::Result<Arc<Self>> {
        let (pipe, flush) = Pipe::new(started.stdin)?;
        let child = Arc::new(Self {
            label: setting.label,
            meter: setting.meter,
            pipe,
            next: AtomicU64::new(1),
            state: Mutex::new(State {
                end: None,
                calls: Calls::new(setting.limits.max_calls),
                asked: Asked::default(),
                watched: Watched::default(),
                last_used: Instant::now(),
            }),
            limits: setting.limits,
            home: OnceLock::new(),
            alone: setting.alone,
            tail: started.tail,
            closing: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        // Within nothing: a request that has a process started would be under way for as long as the process is.
        let span = tracing::info_span!(parent: None, "server", of = &*child.label);
        let parts = supervise::Parts {
            process: started.process,
            stdout: started.stdout,
            stderr: started.stderr,
            stop: setting.stop,
        };
        let (alive, over) = (child.meter.started(), Arc::clone(&child));
        let supervised = supervise::supervise(Arc::clone(&child), parts, flush);
        setting.tasks.spawn(
            async move {
                supervised.await;
                alive.ended(over.end().as_ref());
                drop(over);
                drop(until_gone);
            }
            .instrument(span),
        );
        Ok(child)
    }

    /// Says whom the process serves.
    pub(crate) fn serve(&self, home: Weak<dyn Home>) {
        // Once only: a process does not change hands.
        let _ = self.home.set(home);
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().end.is_none()
    }

    /// Why it is over, if it is.
    pub(crate) fn end(&self) -> Option<End> {
        self.lock().end.clone()
    }

    /// The last lines of its stderr.
    pub(crate) fn stderr(&self) -> String {
        self.tail.text()
    }

    /// Since when nothing has been asked of it; `None` while something is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let state = self.lock();
        state.calls.is_empty().then_some(state.last_used)
    }

    /// How many calls are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.lock().calls.len()
    }

    /// Hands a request of a client to the server.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: until the pipe has room, nothing has happened.
    pub(crate) async fn call(self: &Arc<Self>, request: &Message, wants: Wants<'_>) -> Result<Answers, Refusal> {
        let (message::Kind::Request { id, method }, Some(at)) = (request.kind(), request.id_member()) else {
            // Only requests are calls; the callers have looked at the kind.
            return Err(Refusal::Unasked);
        };
        let routing = request.routing();
        let (stream, reader) = Stream::new();
        self.pipe.room().await.map_err(|_| Refusal::Gone)?;

        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let own = number.to_string();
        let mut edits: Vec<(&message::Member, &str)> = Vec::with_capacity(2 + wants.edits.len());
        edits.push((&at, &own));
        edits.extend(routing.token.as_ref().map(|token| (token, own.as_str())));
        edits.extend(wants.edits.iter().map(|(member, text)| (member, *text)));
        let line = request.line(&edits);
        let token = routing.token.and_then(|token| token.id);
        let begun = Instant::now();
        let call = Call {
            id: id.clone(),
            token: token.map(|token| token.raw().into()),
            kind: Kind::of(method),
            lasts: routing.task,
            stream,
            session: wants.session,
            level: wants.level,
            in_flight: self.meter.call(method),
            begun,
        };
        {
            let mut state = self.lock();
            if state.end.is_some() {
                return Err(Refusal::Gone);
            }
            if !state.calls.insert(number, call) {
                return Err(Refusal::Busy);
            }
        }
        self.write(line);
        Ok(Answers {
            source: answers::Source::Child(Arc::clone(self), number),
            id: id.clone(),
            reader,
            deadline: self.limits.request_timeout.map(|limit| begun + limit),
            done: false,
            cancels: false,
        })
    }

    /// Hands a line to the server: a notification, or an answer whose id is the server's own.
    pub(crate) async fn send(&self, line: String) -> Result<(), Refusal> {
        self.pipe.room().await.map_err(|_| Refusal::Gone)?;
        self.lock().last_used = Instant::now();
        self.write(line);
        Ok(())
    }

    /// A client takes a request back, by its own id. Of two calls with the same id nobody can tell which was meant:
    /// both go on. One that is not there was answered meanwhile.
    pub(crate) async fn cancel(&self, session: u64, notification: &Message) -> Result<(), Refusal> {
        let member = notification.param("requestId");
        let Some((at, id)) = member.and_then(|at| at.id.clone().map(|id| (at, id))) else {
            return self.send(notification.line(&[])).await;
        };
        self.pipe.room().await.map_err(|_| Refusal::Gone)?;
        let cancelled = self.lock().calls.cancel(session, id.key());
        if let Some((number, call)) = cancelled {
            self.write(notification.line(&[(&at, &number.to_string())]));
            call.fail(&Failure::Cancelled);
            self.release(number);
        }
        Ok(())
    }

    /// Hands a client's answer to the server that asked for it.
    pub(crate) async fn respond(&self, session: u64, response: &Message) -> Result<(), Refusal> {
        let (Some(id), Some(at)) = (response.id(), response.id_member()) else {
            return Err(Refusal::Unasked);
        };
        self.pipe.room().await.map_err(|_| Refusal::Gone)?;
        let asked = self.lock().asked.answered(id.key(), session).ok_or(Refusal::Unasked)?;
        self.write(response.line(&[(&at, asked.raw())]));
        Ok(())
    }

    /// Answers a request of the server, if it still waits for that.
    pub(crate) fn answer(&self, session: u64, id: &Key, line: impl FnOnce(&str) -> String) -> bool {
        let asked = self.lock().asked.answered(id, session);
        let Some(asked) = asked else { return false };
        self.tell(line(asked.raw()));
        true
    }

    /// Answers a request of the server with an error.
    pub(crate) fn refuse(&self, id: &Key, why: Unanswered) {
        let asked = self.lock().asked.remove(id);
        let Some(asked) = asked else { return };
        tracing::debug!(of = self.label(), %why, "a request of the server was refused");
        let code = match why {
            Unanswered::Undeclared => reply::METHOD_NOT_FOUND,
            _ => reply::INTERNAL_ERROR,
        };
        self.tell(reply::error(Some(asked.id.raw()), code, &why.to_string()));
    }

    /// Gives a call up: the server is told, and what it still says of it is dropped.
    pub(crate) fn give_up(&self, number: u64, why: &str) {
        let removed = self.lock().calls.remove(number);
        if removed.is_some() {
            self.tell(reply::cancelled(number, why));
            self.release(number);
        }
    }

    /// Ends what one session has under way.
    pub(crate) fn leave(&self, session: u64, failure: &Failure) {
        let failed = self.lock().calls.fail_all(Some(session), failure);
        for number in failed {
            self.tell(reply::cancelled(number, "the session has ended"));
            self.release(number);
        }
    }

    /// Ends the subscriptions as the protocol has it where a server stops in order.
    pub(crate) fn finish_listening(&self) {
        let listening = self.lock().calls.take_listening();
        for call in listening {
            let id = call.id.raw();
            let result = format!(
                r#"{{"resultType":"complete","_meta":{{"{}":{id}}}}}"#,
                message::meta::SUBSCRIPTION_ID
            );
            call.stream.put(Frame::Answer {
                line: reply::result(id, &result),
                error: None,
            });
        }
    }

    /// Ends the process: what is in flight fails at once, the process ends in its own time. The first reason counts.
    pub(crate) fn close(self: &Arc<Self>, end: &End) {
        let first = {
            let mut state = self.lock();
            let first = state.end.is_none();
            if first {
                state.calls.fail_all(None, &Failure::Ended(end.clone()));
                state.asked = Asked::default();
                state.end = Some(end.clone());
            }
            first
        };
        self.closing.cancel();
        if first && let Some(home) = self.home() {
            home.ended(self, end);
        }
    }

    /// Waits until the process and its group are gone.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    // What a home asks of the calls.

    /// The only call that a client waits for.
    pub(crate) fn only(&self) -> Option<u64> {
        self.lock().calls.only()
    }

    /// The newest call.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.lock().calls.newest()
    }

    /// The call that hears of something as grave as this.
    pub(crate) fn hearing(&self, level: Level) -> Option<u64> {
        self.lock().calls.hearing(level)
    }

    /// The most that any call in flight wants to hear of.
    pub(crate) fn lowest_level(&self) -> Option<Level> {
        self.lock().calls.lowest_level()
    }

    /// The only session that has calls in flight.
    pub(crate) fn only_session(&self) -> Option<u64> {
        self.lock().calls.only_session()
    }

    /// Puts a message into a call's stream. `None` if the call is not there any more, or nobody reads it.
    pub(crate) fn put(&self, number: u64, frame: Frame) -> Option<Pressure> {
        let stream = Arc::clone(&self.lock().calls.get(number)?.stream);
        match stream.put(frame) {
            Put::Taken => Some(None),
            Put::Full => Some(Some(stream)),
            Put::Gone => None,
        }
    }

    /// The client's own id of a call.
    pub(crate) fn client_id(&self, number: u64) -> Option<Id> {
        self.lock().calls.get(number).map(|call| call.id.clone())
    }

    /// Puts a request of the server into the stream of the call in which servers ask back.
    pub(crate) fn ask_in_call(&self, message: &Message, id: &Id) -> Option<Pressure> {
        let mut frame = Frame::Message(message.line(&[]));
        loop {
            let (number, stream) = {
                let mut state = self.lock();
                let number = state.calls.only().or_else(|| state.calls.asking())?;
                let call = state.calls.get(number)?;
                let (session, stream) = (call.session, Arc::clone(&call.stream));
                state.asked.sent(id.key(), To::Call(number), session);
                (number, stream)
            };
            let Frame::Message(line) = &frame else { return None };
            let again = line.clone();
            match stream.put(frame) {
                Put::Taken => return Some(None),
                Put::Full => return Some(Some(stream)),
                // Gone just now: the next choice is another.
                Put::Gone => {
                    if self.lock().calls.get(number).is_some_and(|call| call.stream.is_open()) {
                        return None;
                    }
                    frame = Frame::Message(again);
                }
            }
        }
    }

    /// Notes that a request of the server was sent to a session.
    pub(crate) fn asked_of(&self, id: &Key, session: u64) {
        self.lock().asked.sent(id, To::Home, session);
    }

    /// Sends the server a message of the bridge's own, if the pipe has room: the task that reads from a server must
    /// not wait for that server to read.
    pub(crate) fn tell(&self, line: String) {
        let length = line.len() + 1;
        if self.pipe.try_put(line).is_ok() {
            self.meter.sent(length);
        } else if self.is_open() {
            tracing::warn!(
                of = self.label(),
                "a message to the server was dropped: it does not read its stdin"
            );
        }
    }

    fn write(&self, line: String) {
        self.meter.sent(line.len() + 1);
        self.pipe.put(line);
    }

    /// A call is over: what the server asked in it is not waited for any more.
    fn release(&self, number: u64) {
        let mut state = self.lock();
        state.last_used = Instant::now();
        state.asked.forget_call(number);
    }

    fn home(&self) -> Option<Arc<dyn Home>> {
        self.home.get()?.upgrade()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
