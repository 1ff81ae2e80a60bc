//! Between the eras: a client of one meets a server of the other.
//!
//! [`modern_to_legacy`]: a client of 2026-07-28 and a server that has to be initialized. What the server asks on its
//! pipe becomes the result of the call it is about, `input_required`, and the call goes on when the client repeats its
//! request with the answers ([`request_state`] finds it again).
//!
//! [`legacy_to_modern`]: a client with a session and a server of 2026-07-28. `input_required` becomes requests to the
//! client, and the bridge repeats the call.
//!
//! Either way the messages are changed where the eras differ, and nowhere else: what is not known here passes.

pub(crate) mod legacy_to_modern;
pub(crate) mod modern_to_legacy;
mod pool;
pub(crate) mod request_state;

use std::fmt::Write as _;

use crate::message::{self, Member, Message, meta, reply};
use crate::stream::Frame;

/// The changes to a message, collected.
#[derive(Debug, Default)]
struct Changes(Vec<(Member, String)>);

impl Changes {
    fn replace(&mut self, member: Member, text: impl Into<String>) {
        self.0.push((member, text.into()));
    }

    /// Puts members into an object, in front of those it has.
    fn insert(&mut self, message: &Message, object: &str, mut members: String) {
        if members.is_empty() {
            return;
        }
        if !message::is_empty(object) {
            members.push(',');
        }
        self.0.push((message.start_of(object), members));
    }

    fn line(&self, message: &Message) -> String {
        let edits: Vec<_> = self.0.iter().map(|(member, text)| (member, text.as_str())).collect();
        message.line(&edits)
    }
}

/// Whether a result asks for more.
fn is_input_required(message: &Message) -> bool {
    let Some(result) = message.outcome() else { return false };
    let [kind] = message.members(result, ["resultType"]);
    kind.is_some_and(|kind| message.text(&kind) == r#""input_required""#)
}

/// An error for the client's request.
fn error(id: &str, code: i32, text: &str) -> Frame {
    Frame::Answer {
        line: reply::error(Some(id), code, text),
        error: Some(code.into()),
    }
}

/// What a request needs that its client has not declared, as the object of capabilities that the protocol wants.
fn missing(id: &str, capability: &str) -> Frame {
    let data = serde_json::json!({ "requiredCapabilities": { capability: {} } });
    let text = format!("the request needs the client capability `{capability}`, which is not declared");
    Frame::Answer {
        line: reply::error_with(Some(id), reply::MISSING_CAPABILITY, &text, &data),
        error: Some(reply::MISSING_CAPABILITY.into()),
    }
}

/// The capability that a request to the client needs.
fn capability_of(method: &str) -> Option<&'static str> {
    match method {
        "sampling/createMessage" => Some("sampling"),
        "elicitation/create" => Some("elicitation"),
        "roots/list" => Some("roots"),
        _ => None,
    }
}

/// Whether raw capabilities have this one.
fn declares(capabilities: &str, capability: &'static str) -> bool {
    message::members(capabilities, [capability]).is_ok_and(|[found]| found.is_some_and(|found| found.get() != "null"))
}

/// The members of a `_meta` that make a request a modern one.
fn envelope(version: &str, client_info: &str, capabilities: &str, level: Option<&str>) -> String {
    let mut members = format!(
        r#""{}":"{version}","{}":{client_info},"{}":{capabilities}"#,
        meta::PROTOCOL_VERSION,
        meta::CLIENT_INFO,
        meta::CLIENT_CAPABILITIES,
    );
    if let Some(level) = level {
        let _ = write!(members, r#","{}":"{level}""#, meta::LOG_LEVEL);
    }
    members
}
