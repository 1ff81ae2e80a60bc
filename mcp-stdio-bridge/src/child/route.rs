//! Where a message of the server goes: to one place, and never to two.
//!
//! An answer goes to the call that has its number, progress to the call whose number is its token; what a call's
//! client has given for id and token stands in them again. A request is noted, so that its answer is let back in. The
//! rest is for the process's home.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::asked::To;
use super::{Child, Failure, Unanswered, calls};
use crate::lines::Long;
use crate::message::{Id, Kind, Member, Message, meta, reply};
use crate::stream::{Frame, Pressure, Stream};

/// A client that has read nothing for so long is not waited for any longer.
const STALLED: Duration = Duration::from_secs(10);

impl Child {
    /// Takes a message from the server.
    pub(super) async fn receive(self: &Arc<Self>, message: Message) {
        let pressure = match message.kind() {
            Kind::Response { id, failed } => self.answered(&message, id.as_ref(), *failed),
            Kind::Request { id, method } => self.ask(&message, id, method),
            Kind::Notification { method } => match method.as_str() {
                "notifications/progress" => self.progress(&message),
                "notifications/cancelled" => self.take_back(&message),
                method => self.home().and_then(|home| home.notify(self, &message, method)),
            },
        };
        if let Some(stream) = pressure {
            if self.alone && timeout(STALLED, stream.drained()).await.is_ok() {
                return;
            }
            self.cut(&stream);
        }
    }

    /// Takes note of a message that was too long to be kept: whoever waits for it is told.
    pub(super) fn receive_long(&self, long: &Long) {
        let bound = self.limits.max_line;
        tracing::warn!(
            of = self.label(),
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
        let Some(mut call) = number.and_then(|number| self.lock().calls.answered(number)) else {
            return;
        };
        call.in_flight.answered(true);
        let message = format!("the server's answer is longer than the {bound} bytes that the bridge lets through");
        let line = reply::error(Some(call.id.raw()), reply::INTERNAL_ERROR, &message);
        call.stream.put(Frame::Answer {
            line,
            error: Some(reply::INTERNAL_ERROR.into()),
        });
    }

    fn answered(&self, message: &Message, id: Option<&Id>, failed: bool) -> Pressure {
        let Some((id, at)) = id.zip(message.id_member()) else {
            tracing::warn!(
                of = self.label(),
                "the server reported an error without saying to which request"
            );
            return None;
        };
        let number = id.own()?;
        let call = {
            let mut state = self.lock();
            let call = state.calls.answered(number);
            if call.is_some() {
                state.last_used = Instant::now();
            }
            call
        };
        let Some(mut call) = call else {
            tracing::debug!(of = self.label(), "an answer that nobody waits for was dropped");
            return None;
        };
        call.in_flight.answered(failed);
        let subscription = match call.kind {
            calls::Kind::Listen => subscription_of(message, message.outcome()),
            _ => None,
        };
        let mut edits = vec![(&at, call.id.raw())];
        edits.extend(subscription.as_ref().map(|subscription| (subscription, call.id.raw())));
        let error = failed.then(|| message.outcome().and_then(reply::code_of).unwrap_or_default());
        let line = message.line(&edits);
        // Nothing comes after it that a slow reader could hold up.
        call.stream.put(Frame::Answer { line, error });
        None
    }

    fn progress(self: &Arc<Self>, message: &Message) -> Pressure {
        let at = message.param("progressToken")?;
        let number = at.id.as_ref().and_then(Id::own)?;
        let running = {
            let state = self.lock();
            state.calls.get(number).map(|call| call.token.clone())
        };
        if let Some(token) = running {
            let line = message.line(&[(&at, &token?)]);
            return self.put(number, Frame::Message(line)).flatten();
        }
        // A task that goes on after the answer.
        let (session, token) = {
            let state = self.lock();
            let (session, token) = state.calls.lasting(number)?;
            (session, token.to_owned())
        };
        let again = Message::parse(message.line(&[(&at, &token)]).into_bytes()).ok()?;
        self.home()?.progress(self, &again, session)
    }

    fn ask(self: &Arc<Self>, message: &Message, id: &Id, method: &str) -> Pressure {
        let noted = {
            let state = &mut *self.lock();
            let calls = &state.calls;
            state.asked.insert(id, |number| calls.get(number).is_some())
        };
        if !noted {
            let why = Unanswered::Many.to_string();
            self.tell(reply::error(Some(id.raw()), reply::INTERNAL_ERROR, &why));
            return None;
        }
        let asked = match self.home() {
            Some(home) => home.ask(self, message, id, method),
            None => Err(Unanswered::Nobody),
        };
        asked.unwrap_or_else(|why| {
            self.refuse(id.key(), why);
            None
        })
    }

    /// The server takes a request back: the client hears of it where it heard of the request.
    fn take_back(self: &Arc<Self>, message: &Message) -> Pressure {
        let id = message.param("requestId")?.id?;
        let asked = self.lock().asked.remove(id.key())?;
        match asked.to {
            To::Call(number) => self.put(number, Frame::Message(message.line(&[]))).flatten(),
            To::Home => {
                if let Some(home) = self.home() {
                    home.take_back(self, message, id.key());
                }
                None
            }
        }
    }

    /// Takes a stream away from a client that does not read. Its call goes on only if the client can come back.
    fn cut(self: &Arc<Self>, stream: &Arc<Stream>) {
        tracing::warn!(of = self.label(), "a client does not read its stream and was cut off");
        if stream.cut() {
            return;
        }
        let call = self.lock().calls.remove_stream(stream);
        match call {
            Some((number, call)) => {
                call.fail(&Failure::Stalled);
                self.tell(reply::cancelled(number, "the client does not read"));
                self.release(number);
            }
            None => stream.finish(),
        }
    }
}

/// Where a message names the subscription it belongs to, by the number of its call.
pub(crate) fn subscription_of(message: &Message, within: Option<&str>) -> Option<Member> {
    let [found] = message.members(within?, ["_meta"]);
    let [subscription] = message.members(message.text(&found?), [meta::SUBSCRIPTION_ID]);
    subscription
}
