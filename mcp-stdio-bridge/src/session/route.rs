//! Where a message of the server goes: to one stream, and never to two.
//!
//! - An answer and progress go to the call they belong to.
//! - What names no call goes to the only call in flight, if there is exactly one.
//! - Else a request goes to the oldest tool call (that is where servers ask back), or the oldest call; failing that
//!   to the event stream.
//! - Else a notification goes to the event stream; failing that to the newest call.
//! - What no stream takes waits for the event stream.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::asked::To;
use super::{Frame, Session, State};
use crate::back::Long;
use crate::message::{Id, Key, Kind, Message, reply};

/// A client that has read nothing for so long is not waited for any longer.
const STALLED: Duration = Duration::from_secs(10);

impl Session {
    /// Takes a message from the server.
    pub(super) async fn receive(&self, message: Message) {
        match message.kind() {
            Kind::Response { id, failed } => self.answer(&message, id.as_ref(), *failed).await,
            Kind::Request { id, .. } => self.ask(&message, id).await,
            Kind::Notification { method } => match method.as_str() {
                "notifications/progress" => self.progress(&message).await,
                "notifications/cancelled" => self.take_back(&message).await,
                _ => self.send(message.line(&[]), None).await,
            },
        }
    }

    /// Takes note of a message that was too long to be kept: whoever waits for it is told.
    pub(super) async fn receive_long(&self, long: &Long) {
        let bound = self.limits.max_line;
        tracing::warn!(
            session = self.label(),
            bytes = long.length,
            bound,
            "a message of the server was too long and was dropped"
        );
        let Some(id) = long.id() else { return };
        if long.has_method() {
            self.tell(reply::error(
                Some(id),
                reply::INVALID_REQUEST,
                "the request is too long for the bridge",
            ));
            return;
        }
        let number = id.trim_matches('"').parse().ok();
        let Some(call) = number.and_then(|number| self.lock().calls.answered(number)) else {
            return;
        };
        let message = format!("the server's answer is longer than the {bound} bytes that the bridge lets through");
        let line = reply::error(Some(call.id().raw()), reply::INTERNAL_ERROR, &message);
        put(call.stream(), Frame::Answer { line, failed: true }).await;
    }

    async fn answer(&self, message: &Message, id: Option<&Id>, failed: bool) {
        let Some((id, at)) = id.zip(message.id_member()) else {
            tracing::warn!(
                session = self.label(),
                "the server reported an error without saying to which request"
            );
            return;
        };
        let call = id.own().and_then(|number| self.lock().calls.answered(number));
        let Some(call) = call else {
            tracing::debug!(session = self.label(), "an answer that nobody waits for was dropped");
            return;
        };
        let line = message.line(&[(&at, call.id().raw())]);
        put(call.stream(), Frame::Answer { line, failed }).await;
    }

    async fn progress(&self, message: &Message) {
        let token = message.param("progressToken");
        let number = token.as_ref().and_then(|token| token.id.as_ref()).and_then(Id::own);
        let to = number.and_then(|number| self.lock().calls.progress(number).map(|to| (number, to)));
        let (Some(at), Some((number, (stream, token)))) = (token, to) else {
            tracing::debug!(session = self.label(), "progress that nobody asked for was dropped");
            return;
        };
        let line = message.line(&[(&at, &token)]);
        match stream {
            Some(stream) => {
                if put(&stream, Frame::Message(line)).await == Put::Stalled {
                    self.lock().calls.cut(number);
                }
            }
            None => self.send(line, None).await,
        }
    }

    async fn ask(&self, message: &Message, id: &Id) {
        if !self.lock().asked.insert(id) {
            self.refuse(id.raw(), "too many requests to the client wait for their answers");
            return;
        }
        self.send(message.line(&[]), Some(id.key())).await;
    }

    /// The server takes a request back: the client hears of it where it heard of the request.
    async fn take_back(&self, message: &Message) {
        let Some(id) = message.param("requestId").and_then(|member| member.id) else {
            return;
        };
        let stream = {
            let mut state = self.lock();
            match state.asked.cancelled(id.key()) {
                Some(To::Call(number)) => state.calls.stream(number),
                Some(To::Events) => state.events.clone(),
                Some(To::Waiting) => {
                    state.waiting.cancel(id.key());
                    None
                }
                None => None,
            }
        };
        if let Some(stream) = stream {
            put(&stream, Frame::Message(message.line(&[]))).await;
        }
    }

    /// Sends what belongs to no call in particular; `request` is its id if the client has to answer.
    async fn send(&self, line: String, request: Option<&Key>) {
        let mut frame = Frame::Message(line);
        loop {
            let chosen = {
                let mut state = self.lock();
                let chosen = state.choose(request.is_some());
                if let (Some(request), Some((to, _))) = (request, &chosen) {
                    state.asked.sent(request, *to);
                }
                chosen
            };
            let Some((to, stream)) = chosen else { break };
            match put_back(&stream, frame).await {
                Ok(()) => return,
                Err((put, unsent)) => {
                    frame = unsent;
                    if put == Put::Stalled {
                        self.lock().cut(to);
                    }
                }
            }
        }
        let (Frame::Message(line) | Frame::Answer { line, .. }) = frame;
        self.wait(line, request);
    }

    /// Keeps a message until there is a stream for it.
    fn wait(&self, line: String, request: Option<&Key>) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        if let Some(request) = request {
            state.asked.sent(request, To::Waiting);
        }
        let gone = state.waiting.push(line, request.cloned());
        let refused: Vec<_> = gone
            .iter()
            .filter_map(|gone| state.asked.answered(gone.request.as_ref()?))
            .collect();
        drop(state);
        if gone.len() > refused.len() {
            tracing::warn!(
                session = self.label(),
                "a notification was dropped: the client has no stream open"
            );
        }
        for id in refused {
            self.refuse(id.raw(), "the client has no stream open");
        }
        self.changed.notify_one();
    }

    /// Answers a request of the server in the client's place.
    pub(super) fn refuse(&self, id: &str, why: &str) {
        tracing::debug!(session = self.label(), why, "a request of the server was refused");
        self.tell(reply::error(Some(id), reply::INTERNAL_ERROR, why));
    }
}

impl State {
    fn choose(&self, request: bool) -> Option<(To, mpsc::Sender<Frame>)> {
        let call = |number: Option<u64>| number.and_then(|number| Some((To::Call(number), self.calls.stream(number)?)));
        let events = || {
            let events = self.events.as_ref().filter(|events| !events.is_closed());
            events.map(|events| (To::Events, events.clone()))
        };
        let only = call(self.calls.only());
        if request {
            only.or_else(|| call(self.calls.asking())).or_else(events)
        } else {
            only.or_else(events).or_else(|| call(self.calls.newest()))
        }
    }

    /// Ends a stream that its client does not read.
    fn cut(&mut self, to: To) {
        match to {
            To::Call(number) => self.calls.cut(number),
            To::Events => self.events = None,
            To::Waiting => {}
        }
    }
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    Done,
    /// The client has gone.
    Closed,
    /// The client does not read.
    Stalled,
}

async fn put(stream: &mpsc::Sender<Frame>, frame: Frame) -> Put {
    match put_back(stream, frame).await {
        Ok(()) => Put::Done,
        Err((put, _)) => put,
    }
}

/// Puts a frame into a stream, waiting for room; what could not be sent comes back.
async fn put_back(stream: &mpsc::Sender<Frame>, frame: Frame) -> Result<(), (Put, Frame)> {
    match timeout(STALLED, stream.reserve()).await {
        Ok(Ok(room)) => {
            room.send(frame);
            Ok(())
        }
        Ok(Err(_)) => Err((Put::Closed, frame)),
        Err(_) => Err((Put::Stalled, frame)),
    }
}
