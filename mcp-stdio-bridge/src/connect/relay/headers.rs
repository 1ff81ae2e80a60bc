//! What a message carries in the head of its request: which session, which version, and which kinds of answer it takes.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Relay;
use crate::message::{Message, text_of};
use crate::versions::LEGACY;

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Relay {
    /// With which a message is sent.
    pub(super) fn headers(&self, message: &Message, modern: bool) -> HeaderMap {
        let mut headers = if modern {
            self.parameters.headers(message)
        } else if message.method() == Some("initialize") {
            HeaderMap::new()
        } else {
            self.session_headers()
        };
        if modern
            && let Some(version) = version_in(message)
            && let Ok(version) = HeaderValue::from_str(&version)
        {
            headers.insert(PROTOCOL_VERSION, version);
        }
        headers.insert(header::ACCEPT, BOTH);
        headers.insert(header::CONTENT_TYPE, JSON);
        headers
    }

    /// With which a stream is asked for, from the beginning or from an event on.
    pub(super) fn stream_headers(&self, last_id: Option<&str>) -> HeaderMap {
        let mut headers = self.session_headers();
        headers.insert(header::ACCEPT, EVENTS);
        if let Some(id) = last_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(LAST_EVENT_ID, id);
        }
        headers
    }

    /// What says which session it is.
    pub(super) fn session_headers(&self) -> HeaderMap {
        let session = self.session();
        let mut headers = HeaderMap::new();
        headers.extend(session.id.clone().map(|id| (SESSION_ID, id)));
        headers.extend(session.version.clone().map(|version| (PROTOCOL_VERSION, version)));
        headers
    }
}

/// The version that a message names itself, as from 2026-07-28 on each does.
fn version_in(message: &Message) -> Option<String> {
    let meta = message.request_meta().ok()?;
    text_of(meta.version?).map(std::borrow::Cow::into_owned)
}

pub(super) fn is_modern(message: &Message) -> bool {
    version_in(message).is_some_and(|version| !LEGACY.contains(&version.as_str()))
}
