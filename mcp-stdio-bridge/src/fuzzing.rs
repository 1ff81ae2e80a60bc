//! What the fuzzer calls: the envelope is read, and what is read of it holds.

use crate::message::{Body, Message};

/// Reads bytes as the front does and as the pipe does. Panics where a property does not hold.
///
/// # Panics
///
/// A message that was read is not one line of the same JSON, or another id changes more than the id.
pub fn envelope(bytes: &[u8]) {
    if let Ok(Body::Batch(messages)) = Message::parse_body(bytes.to_vec(), 16) {
        assert!(!messages.is_empty() && messages.len() <= 16);
    }
    let Ok(message) = Message::parse(bytes.to_vec()) else {
        return;
    };
    let _ = message.check_params();
    let _ = message.request_meta();
    let routing = message.routing();
    let line = message.line(&[]);
    assert!(!line.contains(['\n', '\r']), "a line is one line");
    let before: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    let after: Option<serde_json::Value> = serde_json::from_str(&line).ok();
    assert_eq!(before, after, "a line is the same JSON");

    let Some(at) = message.id_member() else { return };
    let mut edits = vec![(&at, "12345")];
    edits.extend(routing.token.as_ref().map(|token| (token, "12345")));
    let Ok(renamed) = Message::parse(message.line(&edits).into_bytes()) else {
        panic!("a message under another id is a message");
    };
    assert_eq!(renamed.id().and_then(crate::message::Id::own), Some(12345));
    let token = renamed.routing().token.and_then(|token| token.id);
    assert_eq!(token.is_some(), routing.token.is_some());
    assert_eq!(renamed.method(), message.method());
    // And back again.
    let back = renamed
        .id_member()
        .map(|again| renamed.line(&[(&again, message.text(&at))]));
    let back: Option<Message> = back.and_then(|line| Message::parse(line.into_bytes()).ok());
    assert_eq!(
        back.as_ref().and_then(Message::id).map(crate::message::Id::raw),
        message.id().map(crate::message::Id::raw)
    );
}

/// Reads an event stream as the way back does, in one piece and byte by byte.
///
/// # Panics
///
/// Where the network cuts makes a difference.
#[cfg(feature = "connect")]
pub fn events(bytes: &[u8]) {
    crate::connect::fuzzing::events(bytes);
}

/// Reads challenges, what a browser brings back, and addresses.
///
/// # Panics
///
/// A challenge has no scheme.
#[cfg(feature = "connect")]
pub fn challenges(text: &str) {
    crate::connect::fuzzing::challenges(text);
    crate::connect::fuzzing::returned(text);
}

/// Reads the metadata of a resource or of an authorization server.
///
/// # Panics
///
/// An authorization server is taken for another, or one of its endpoints is not https.
#[cfg(feature = "connect")]
pub fn metadata(bytes: &[u8]) {
    crate::connect::fuzzing::metadata(bytes);
}
