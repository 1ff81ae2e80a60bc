//! MCP sessions belong to whoever opened them.
//!
//! A session identifier is a handle, not a credential (MCP *Security Best Practices*, session hijacking); yet
//! servers commonly let any authenticated caller use any session whose identifier they know. The layer closes this
//! without storing anything: to each `Mcp-Session-Id` that a server hands out it appends a mark over the identifier
//! and the caller (issuer, subject and client, never the token, which changes at every refresh). Only requests of
//! the same caller get past it, and the server sees its own identifier, without the mark. A session that was opened
//! without a token, where a rule allows that, is used without one; whoever signs in opens another.

use http::{HeaderMap, HeaderName, HeaderValue};
use mcp_oauth_core::resource::ResourceUri;
use mcp_oauth_core::secret::MarkingKey;

use crate::caller::Caller;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// The session that a request names is not the caller's.
#[derive(Debug)]
pub(crate) struct NotTheirs;

/// What the mark is over. A session that was opened without a token is nobody's: it has no issuer, which every caller has.
fn parts<'a>(session: &'a str, caller: Option<&'a Caller>, resource: &'a ResourceUri) -> [&'a str; 5] {
    let [issuer, subject, client_id] = caller.map_or([""; 3], |caller| {
        [caller.issuer(), caller.subject(), caller.client_id()]
    });
    [session, issuer, subject, client_id, resource.as_str()]
}

/// Takes the mark off the request's session identifier.
pub(crate) fn unmark(
    headers: &mut HeaderMap,
    key: &MarkingKey,
    caller: Option<&Caller>,
    resource: &ResourceUri,
) -> Result<(), NotTheirs> {
    let mut values = headers.get_all(&SESSION_ID).iter();
    let Some(value) = values.next() else { return Ok(()) };
    if values.next().is_some() {
        return Err(NotTheirs);
    }
    let (session, mark) = value
        .to_str()
        .ok()
        .and_then(|value| value.rsplit_once('.'))
        .ok_or(NotTheirs)?;
    if !key.accepts(mark, &parts(session, caller, resource)) {
        return Err(NotTheirs);
    }
    let session = HeaderValue::from_str(session).map_err(|_| NotTheirs)?;
    headers.insert(SESSION_ID, session);
    Ok(())
}

/// Puts the mark onto the response's session identifier.
pub(crate) fn mark(headers: &mut HeaderMap, key: &MarkingKey, caller: Option<&Caller>, resource: &ResourceUri) {
    let Some(session) = headers.get(&SESSION_ID) else {
        return;
    };
    let marked = session.to_str().ok().and_then(|session| {
        let mark = key.mark(&parts(session, caller, resource));
        HeaderValue::from_str(&format!("{session}.{mark}")).ok()
    });
    match marked {
        Some(marked) => headers.insert(SESSION_ID, marked),
        // MCP asks for visible ASCII; what is not could not be bound, so it is not handed out.
        None => headers.remove(SESSION_ID),
    };
}
