//! The client's requests that wait for their answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use super::Frame;
use super::end::Failure;
use crate::message::{Id, Key, Member};

/// How many progress tokens of answered requests are remembered for tasks that go on.
const LASTING: usize = 64;

/// One request.
#[derive(Debug)]
pub(super) struct Call {
    id: Id,
    token: Option<Box<str>>,
    kind: Kind,
    /// The request began a task, whose progress comes under its token after the answer too.
    lasts: bool,
    stream: mpsc::Sender<Frame>,
    failure: Arc<OnceLock<Failure>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its answer brings the session id: until then nothing else can be sent to the client.
    Initialize,
    /// The kind of call in which servers ask back.
    Tool,
    Other,
}

impl Call {
    pub(super) fn new(id: Id, method: &str, token: Option<&Member>, lasts: bool, stream: mpsc::Sender<Frame>) -> Self {
        let kind = match method {
            "initialize" => Kind::Initialize,
            "tools/call" => Kind::Tool,
            _ => Kind::Other,
        };
        let token = token
            .and_then(|token| token.id.as_ref())
            .map(|token| token.raw().into());
        Self {
            id,
            token,
            kind,
            lasts,
            stream,
            failure: Arc::default(),
        }
    }

    /// The client's id.
    pub(super) fn id(&self) -> &Id {
        &self.id
    }

    pub(super) fn stream(&self) -> &mpsc::Sender<Frame> {
        &self.stream
    }

    /// Where the reason will be if the stream ends without an answer.
    pub(super) fn failure(&self) -> Arc<OnceLock<Failure>> {
        Arc::clone(&self.failure)
    }

    /// Ends the stream without an answer.
    pub(super) fn fail(self, failure: Failure) {
        // A call fails once only: failing consumes it.
        let _ = self.failure.set(failure);
    }

    /// Whether the client reads the stream.
    fn is_read(&self) -> bool {
        !self.stream.is_closed()
    }
}

/// All of them, by the number that each has on the pipe; numbers grow, so the first is the oldest.
#[derive(Debug)]
pub(super) struct Calls {
    next: u64,
    bound: usize,
    running: BTreeMap<u64, Call>,
    lasting: VecDeque<(u64, Box<str>)>,
}

impl Calls {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            next: 1,
            bound,
            running: BTreeMap::new(),
            lasting: VecDeque::new(),
        }
    }

    /// Takes a call in; `None` where there is no room. A call whose client has gone makes room for another.
    pub(super) fn insert(&mut self, call: Call) -> Option<u64> {
        if self.running.len() >= self.bound {
            let abandoned = self
                .running
                .iter()
                .find(|(_, call)| !call.is_read())
                .map(|(number, _)| *number)?;
            self.running.remove(&abandoned);
        }
        let number = self.next;
        self.next += 1;
        self.running.insert(number, call);
        Some(number)
    }

    /// Takes a call out whose answer has come.
    pub(super) fn answered(&mut self, number: u64) -> Option<Call> {
        let mut call = self.running.remove(&number)?;
        if let Some(token) = call.token.take_if(|_| call.lasts) {
            if self.lasting.len() == LASTING {
                self.lasting.pop_front();
            }
            self.lasting.push_back((number, token));
        }
        Some(call)
    }

    /// Takes the call out that has this id of the client's, if exactly one has. `initialize` cannot be cancelled.
    pub(super) fn cancel(&mut self, id: &Key) -> Option<(u64, Call)> {
        let mut matching = self
            .running
            .iter()
            .filter(|(_, call)| call.id.key() == id && call.kind != Kind::Initialize)
            .map(|(number, _)| *number);
        let number = matching.next()?;
        if matching.next().is_some() {
            return None;
        }
        self.running.remove(&number).map(|call| (number, call))
    }

    /// Where progress of a call goes, and under which token of the client's. No stream: the call was answered, its
    /// task goes on.
    pub(super) fn progress(&self, number: u64) -> Option<(Option<mpsc::Sender<Frame>>, Box<str>)> {
        if let Some(call) = self.running.get(&number) {
            return call.token.clone().map(|token| (Some(call.stream.clone()), token));
        }
        self.lasting
            .iter()
            .find(|(lasting, _)| *lasting == number)
            .map(|(_, token)| (None, token.clone()))
    }

    /// The stream of a call.
    pub(super) fn stream(&self, number: u64) -> Option<mpsc::Sender<Frame>> {
        self.running.get(&number).map(|call| call.stream.clone())
    }

    /// The only call that a client waits for.
    pub(super) fn only(&self) -> Option<u64> {
        let mut read = self.read();
        let (number, _) = read.next()?;
        read.next().is_none().then_some(number)
    }

    /// The call in which a server most likely asks back: the oldest of a tool, else the oldest.
    pub(super) fn asking(&self) -> Option<u64> {
        let tool = self.read().find(|(_, call)| call.kind == Kind::Tool);
        tool.or_else(|| self.read().next()).map(|(number, _)| number)
    }

    /// The newest call.
    pub(super) fn newest(&self) -> Option<u64> {
        self.read().next_back().map(|(number, _)| number)
    }

    /// Cuts a call off whose client does not read.
    pub(super) fn cut(&mut self, number: u64) {
        if let Some(call) = self.running.remove(&number) {
            call.fail(Failure::Stalled);
        }
    }

    pub(super) fn fail_all(&mut self, failure: &Failure) {
        for (_, call) in std::mem::take(&mut self.running) {
            call.fail(failure.clone());
        }
        self.lasting.clear();
    }

    /// The calls on whose streams messages of the server can go.
    fn read(&self) -> impl DoubleEndedIterator<Item = (u64, &Call)> {
        self.running
            .iter()
            .filter(|(_, call)| call.is_read() && call.kind != Kind::Initialize)
            .map(|(number, call)| (*number, call))
    }
}
