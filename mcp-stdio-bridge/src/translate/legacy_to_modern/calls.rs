//! A call of the client's, made until it has an answer: once, and again for each time that the server wants to know more.

use std::fmt::Write as _;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::LegacyToModern;
use super::input::Input;
use crate::child::Wants;
use crate::child::calls::Level;
use crate::era::own;
use crate::message::{Id, Message, reply};
use crate::stream::{Frame, Numbered, Stream};
use crate::translate::{Changes, declares, envelope, error, is_input_required};
use crate::versions::MODERN;

/// A server that asks again and again is not served for ever.
const ROUNDS: usize = 8;

/// A call of the client that is made, perhaps for the second time.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: Id,
    pub(super) stop: CancellationToken,
    pub(super) stream: Arc<Stream>,
}

impl LegacyToModern {
    /// Makes a call until it has an answer.
    pub(super) async fn converse(
        self: Arc<Self>,
        request: Message,
        number: u64,
        stop: CancellationToken,
        stream: Arc<Stream>,
    ) {
        let answer = tokio::select! {
            answer = self.rounds(&request, &stream) => answer,
            () = stop.cancelled() => None,
        };
        self.lock().running.remove(&number);
        if let Some(answer) = answer {
            stream.put(answer);
        }
    }

    async fn rounds(&self, request: &Message, stream: &Arc<Stream>) -> Option<Frame> {
        let id = request.id()?;
        let level = self.lock().level.as_deref().and_then(Level::named);
        let mut input = None;
        for _ in 0..ROUNDS {
            let wants = Wants {
                level,
                ..Wants::default()
            };
            let wrapped = self.wrapped(request, input.as_ref());
            let mut answers = match self.child().call(&wrapped, wants).await {
                // Given up when the client takes its own request back.
                Ok(answers) => answers.cancels(),
                Err(refusal) => return Some(error(id.raw(), reply::OVERLOADED, &refusal.to_string())),
            };
            let answer = loop {
                match answers.next().await? {
                    Numbered {
                        frame: answer @ Frame::Answer { .. },
                        ..
                    } => break answer,
                    Numbered { frame, .. } => {
                        stream.put(frame);
                    }
                }
            };
            let message = Message::parse(answer.line().as_bytes().to_vec()).ok()?;
            if !is_input_required(&message) {
                return Some(with_code_of_this_era(&message, answer, request.method()));
            }
            input = match self.ask(&message, id, stream).await {
                Ok(input) => Some(input),
                Err(frame) => return Some(frame),
            };
        }
        let text = "the server asked for more input than one request may need";
        Some(error(id.raw(), reply::INTERNAL_ERROR, text))
    }

    /// A request with what the modern era wants of it, and with the answers to what the server has asked.
    pub(super) fn wrapped(&self, request: &Message, input: Option<&Input>) -> Message {
        let level = self.lock().level.clone();
        let members = envelope(MODERN, &self.client_info, &self.capabilities, level.as_deref());
        let mut input = input.map(Input::members).unwrap_or_default();
        let mut changes = Changes::default();
        let comma = if input.is_empty() { "" } else { "," };
        if let Some(params) = request.params() {
            let [about] = request.members(params, ["_meta"]);
            match about.as_ref().map(|about| request.text(about)) {
                Some(about) if about.starts_with('{') => changes.insert(request, about, members),
                // A `_meta` that is none the server has to refuse, as the client's own.
                Some(_) => {}
                None => {
                    let _ = write!(input, r#"{comma}"_meta":{{{members}}}"#);
                }
            }
            changes.insert(request, params, input);
        } else {
            let params = format!(r#"{{"_meta":{{{members}}}{comma}{input}}}"#);
            match request.params_member() {
                Some(at) => changes.replace(at, params),
                None => changes.replace(request.start(), format!(r#""params":{params},"#)),
            }
        }
        own(changes.line(request))
    }
}

/// A resource that is not there has a code of its own in this era.
fn with_code_of_this_era(message: &Message, answer: Frame, method: Option<&str>) -> Frame {
    let Frame::Answer { error: Some(code), .. } = &answer else {
        return answer;
    };
    if method != Some("resources/read") || *code != i64::from(reply::INVALID_PARAMS) {
        return answer;
    }
    let outcome = message.outcome().unwrap_or_default();
    let [code, data] = message.members(outcome, ["code", "data"]);
    let about_uri = data.is_some_and(|data| declares(message.text(&data), "uri"));
    let (Some(code), true) = (code, about_uri) else {
        return answer;
    };
    let mut changes = Changes::default();
    changes.replace(code, reply::RESOURCE_NOT_FOUND.to_string());
    Frame::Answer {
        line: changes.line(message),
        error: Some(reply::RESOURCE_NOT_FOUND.into()),
    }
}
