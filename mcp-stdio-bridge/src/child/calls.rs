//! The clients' requests that wait for their answers.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use tokio::time::Instant;

use super::end::Failure;
use crate::message::{Id, Key};
use crate::meter::InFlight;
use crate::stream::Stream;

/// How many progress tokens of answered requests are remembered for tasks that go on.
const LASTING: usize = 64;

/// One request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(super) id: Id,
    /// The client's own progress token, raw.
    pub(super) token: Option<Box<str>>,
    pub(super) kind: Kind,
    /// The request began a task, whose progress comes under its token after the answer too.
    pub(super) lasts: bool,
    pub(super) stream: Arc<Stream>,
    /// The number of the session it came in.
    pub(super) session: u64,
    /// How much the client wants to hear of what the server logs, if it is said with the request.
    pub(super) level: Option<Level>,
    pub(super) in_flight: InFlight,
    pub(super) begun: Instant,
}

/// What kind of request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its answer brings the session id: until then nothing else can be sent to the client.
    Initialize,
    /// The kind of call in which servers ask back.
    Asking,
    /// `subscriptions/listen`.
    Listen,
    Other,
}

impl Kind {
    pub(crate) fn of(method: &str) -> Self {
        match method {
            "initialize" => Self::Initialize,
            "tools/call" | "prompts/get" | "resources/read" => Self::Asking,
            "subscriptions/listen" => Self::Listen,
            _ => Self::Other,
        }
    }
}

/// How grave a log message is: RFC 5424's severities, the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl Level {
    /// A level by its name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "notice" => Self::Notice,
            "warning" => Self::Warning,
            "error" => Self::Error,
            "critical" => Self::Critical,
            "alert" => Self::Alert,
            "emergency" => Self::Emergency,
            _ => return None,
        })
    }
}

impl Call {
    /// Answers in the server's place. A call fails once only: failing consumes it.
    pub(super) fn fail(mut self, failure: &Failure) {
        self.in_flight.failed(failure);
        self.stream.put(failure.answer(&self.id));
    }
}

/// All of them, by the number that each has on the pipe; numbers grow, so the first is the oldest.
#[derive(Debug)]
pub(super) struct Calls {
    bound: usize,
    running: BTreeMap<u64, Call>,
    lasting: VecDeque<(u64, u64, Box<str>)>,
}

impl Calls {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            bound,
            running: BTreeMap::new(),
            lasting: VecDeque::new(),
        }
    }

    /// Takes a call in; `false` where there is no room. A call whose client has gone makes room for another.
    pub(super) fn insert(&mut self, number: u64, call: Call) -> bool {
        if self.running.len() >= self.bound {
            let mut running = self.running.iter();
            let Some(abandoned) = running
                .find(|(_, call)| !call.stream.is_open())
                .map(|(number, _)| *number)
            else {
                return false;
            };
            self.running.remove(&abandoned);
        }
        self.running.insert(number, call);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Call> {
        self.running.get(&number)
    }

    /// Those with a higher number than this, the oldest first.
    pub(super) fn after(&self, number: u64) -> impl Iterator<Item = (u64, &Call)> {
        let after = (Bound::Excluded(number), Bound::Unbounded);
        self.running.range(after).map(|(number, call)| (*number, call))
    }

    /// Takes a call out whose answer has come.
    pub(super) fn answered(&mut self, number: u64) -> Option<Call> {
        let mut call = self.running.remove(&number)?;
        if let Some(token) = call.token.take_if(|_| call.lasts) {
            if self.lasting.len() == LASTING {
                self.lasting.pop_front();
            }
            self.lasting.push_back((number, call.session, token));
        }
        Some(call)
    }

    /// Takes a call out that nobody waits for any more.
    pub(super) fn remove(&mut self, number: u64) -> Option<Call> {
        self.running.remove(&number)
    }

    /// Takes the call out that has this stream.
    pub(super) fn remove_stream(&mut self, stream: &Arc<Stream>) -> Option<(u64, Call)> {
        let mut running = self.running.iter();
        let (number, _) = running.find(|(_, call)| Arc::ptr_eq(&call.stream, stream))?;
        let number = *number;
        self.running.remove(&number).map(|call| (number, call))
    }

    /// Takes the subscriptions out.
    pub(super) fn take_listening(&mut self) -> Vec<Call> {
        let listening = self.running.iter().filter(|(_, call)| call.kind == Kind::Listen);
        let numbers: Vec<_> = listening.map(|(number, _)| *number).collect();
        numbers
            .iter()
            .filter_map(|number| self.running.remove(number))
            .collect()
    }

    /// Takes the call of a session out that has this id of the client's, if exactly one has. `initialize` cannot be
    /// cancelled.
    pub(super) fn cancel(&mut self, session: u64, id: &Key) -> Option<(u64, Call)> {
        let mut matching = self
            .running
            .iter()
            .filter(|(_, call)| call.session == session && call.id.key() == id && call.kind != Kind::Initialize)
            .map(|(number, _)| *number);
        let number = matching.next()?;
        if matching.next().is_some() {
            return None;
        }
        self.running.remove(&number).map(|call| (number, call))
    }

    /// A call that was answered and whose task goes on: its session, and the client's token.
    pub(super) fn lasting(&self, number: u64) -> Option<(u64, &str)> {
        let mut lasting = self.lasting.iter();
        let (_, session, token) = lasting.find(|(lasting, ..)| *lasting == number)?;
        Some((*session, token))
    }

    /// The only call that a client waits for.
    pub(super) fn only(&self) -> Option<u64> {
        let mut read = self.read();
        let (number, _) = read.next()?;
        read.next().is_none().then_some(number)
    }

    /// The call in which a server most likely asks back: the oldest of the kind that servers ask back in, else the
    /// oldest.
    pub(super) fn asking(&self) -> Option<u64> {
        let asking = self.read().find(|(_, call)| call.kind == Kind::Asking);
        asking.or_else(|| self.read().next()).map(|(number, _)| number)
    }

    /// The newest call.
    pub(super) fn newest(&self) -> Option<u64> {
        self.read().next_back().map(|(number, _)| number)
    }

    /// The call that wants to hear of something that is as grave as this: the only one, or the oldest in which servers
    /// do their work.
    pub(super) fn hearing(&self, level: Level) -> Option<u64> {
        let hears = |(_, call): &(u64, &Call)| call.level.is_some_and(|wanted| wanted <= level);
        let asking = self.read().find(|call| call.1.kind == Kind::Asking && hears(call));
        asking.or_else(|| self.read().find(hears)).map(|(number, _)| number)
    }

    /// The most that any call wants to hear of.
    pub(super) fn lowest_level(&self) -> Option<Level> {
        self.running.values().filter_map(|call| call.level).min()
    }

    /// The sessions of the calls that are waited for.
    pub(super) fn only_session(&self) -> Option<u64> {
        let mut sessions = self.read().map(|(_, call)| call.session);
        let first = sessions.next()?;
        sessions.all(|session| session == first).then_some(first)
    }

    /// Fails those of one session, or all.
    pub(super) fn fail_all(&mut self, session: Option<u64>, failure: &Failure) -> Vec<u64> {
        let mut failed = Vec::new();
        for (number, call) in std::mem::take(&mut self.running) {
            if session.is_none_or(|session| session == call.session) {
                call.fail(failure);
                failed.push(number);
            } else {
                self.running.insert(number, call);
            }
        }
        self.lasting
            .retain(|(_, of, _)| session.is_some_and(|session| *of != session));
        failed
    }

    /// The calls on whose streams messages of the server can go.
    fn read(&self) -> impl DoubleEndedIterator<Item = (u64, &Call)> {
        self.running
            .iter()
            .filter(|(_, call)| !matches!(call.kind, Kind::Initialize | Kind::Listen) && call.stream.is_open())
            .map(|(number, call)| (*number, call))
    }
}
