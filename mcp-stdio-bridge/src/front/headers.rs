//! What a request's headers say about its body, its answer and its session.

use http::{HeaderMap, HeaderName, header};

use super::refusal::Refused;
use crate::versions::LEGACY;

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const BOTH: &str = "application/json, text/event-stream";

/// The headers of a POST: type of the body, types of the answer.
///
/// A client has to accept both kinds of answer, JSON and an event stream. `*/*` and `application/*` count, and so
/// does the absence of `Accept`, which by HTTP's own rules means anything.
pub(super) fn check_post(headers: &HeaderMap) -> Result<(), Refused> {
    check_content_type(headers)?;
    let mut accept = headers.get_all(header::ACCEPT).iter();
    match (accept.next(), accept.next()) {
        (None, _) => Ok(()),
        // As nearly every client writes it; then there is nothing to be read.
        (Some(accept), None) if accept == BOTH => Ok(()),
        _ if accepts(headers, JSON) && accepts(headers, EVENTS) => Ok(()),
        _ => Err(Refused::Accept("application/json and text/event-stream")),
    }
}

/// The body has to be JSON: what a page can send without asking is not.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), Refused> {
    let content_type = headers.get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value == JSON) {
        return Ok(());
    }
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case(JSON)) {
        return Err(Refused::ContentType);
    }
    Ok(())
}

/// The headers of a GET: it has to ask for an event stream by name, since that is what it gets without an end.
pub(super) fn check_get(headers: &HeaderMap) -> Result<(), Refused> {
    if !ranges(headers).any(|(range, wanted)| wanted && range.eq_ignore_ascii_case(EVENTS)) {
        return Err(Refused::Accept(EVENTS));
    }
    check_version(headers)
}

/// A version that is named has to be one of ours; none need be.
pub(super) fn check_version(headers: &HeaderMap) -> Result<(), Refused> {
    for version in headers.get_all(PROTOCOL_VERSION) {
        if !LEGACY.iter().any(|known| known.as_bytes() == version.as_bytes()) {
            return Err(Refused::Version(
                String::from_utf8_lossy(version.as_bytes()).into_owned(),
            ));
        }
    }
    Ok(())
}

/// The session that is named, if one is. A value that is no text names none that exists.
pub(super) fn session_id(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let mut ids = headers.get_all(SESSION_ID).iter();
    let id = ids.next();
    if ids.next().is_some() {
        return Err(Refused::TwoSessions);
    }
    Ok(id.map(|id| id.to_str().unwrap_or_default()))
}

/// The event that the client has seen last. One that is no text is none that was sent.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default())
}

/// Whether this version is named.
pub(super) fn names_version(headers: &HeaderMap, version: &str) -> bool {
    headers
        .get_all(PROTOCOL_VERSION)
        .iter()
        .any(|named| named.as_bytes() == version.as_bytes())
}

/// The version has to be named once, and as the body has it.
pub(super) fn check_same_version(headers: &HeaderMap, version: &str) -> Result<(), ()> {
    let mut named = headers.get_all(PROTOCOL_VERSION).iter();
    match (named.next(), named.next()) {
        (Some(named), None) if named.as_bytes() == version.as_bytes() => Ok(()),
        _ => Err(()),
    }
}

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let family = kind.split('/').next().unwrap_or_default();
    // The most specific range that matches decides.
    let decides = |wanted: &str| {
        ranges(headers)
            .find(|(range, _)| range.eq_ignore_ascii_case(wanted))
            .map(|(_, wanted)| wanted)
    };
    decides(kind)
        .or_else(|| decides(&format!("{family}/*")))
        .or_else(|| decides("*/*"))
        .unwrap_or(false)
}

/// The media ranges of `Accept`, each with whether it is wanted: `q=0` says that it is not.
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = (&str, bool)> {
    let values = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        (
            name,
            quality.is_none_or(|quality| quality.parse::<f32>().is_ok_and(|quality| quality > 0.0)),
        )
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::{EVENTS, JSON, accepts};

    #[test]
    fn the_most_specific_range_decides() {
        for (accept, json, events) in [
            ("application/json, text/event-stream", true, true),
            ("*/*", true, true),
            ("application/*,text/*;q=0.5", true, true),
            ("application/json", true, false),
            ("text/html, */*;q=0", false, false),
            ("text/event-stream;q=0, */*", true, false),
            ("Application/JSON ; charset=utf-8, TEXT/Event-Stream", true, true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(
                (accepts(&headers, JSON), accepts(&headers, EVENTS)),
                (json, events),
                "{accept}"
            );
        }
    }
}
