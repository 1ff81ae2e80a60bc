//! The protocol with sessions: what POST, GET and DELETE do.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::Front;
use super::headers::{self, SESSION_ID};
use super::refusal::{Refused, json};
use super::sse::{self, Source};
use crate::caller::Caller;
use crate::child::{Answers, End, First};
use crate::message::{Id, Kind, Malformed, Message};
use crate::session::Session;

/// A message of the client.
pub(super) async fn post(
    front: &Front,
    headers: &HeaderMap,
    message: &Message,
    caller: Option<&Caller>,
) -> Result<Response, Refused> {
    headers::check_version(headers)?;
    let id = || message.id().cloned();
    let initialize = message.method() == Some("initialize") && matches!(message.kind(), Kind::Request { .. });
    let Some(session) = headers::session_id(headers)? else {
        return if initialize {
            // Boxed, as all that is done once and not for each call: each open connection has room for what is not.
            Box::pin(open(front, message, caller)).await
        } else {
            Err(Refused::NoSession(id()))
        };
    };
    let session = front.server.session(session, caller);
    let session = session.ok_or_else(|| Refused::UnknownSession(id()))?;
    match message.kind() {
        _ if initialize => Err(Refused::Initialized(id())),
        Kind::Request { .. } => {
            let open = session.open();
            let answers = front.server.call(&session, message, caller).await;
            let answers = answers.map_err(|refusal| Refused::Session(id(), refusal))?;
            Ok(answer(front, &session, answers, open).await)
        }
        Kind::Notification { .. } | Kind::Response { .. } => {
            tell(&session, message).await?;
            Ok(StatusCode::ACCEPTED.into_response())
        }
    }
}

/// Several messages at once, as MCP 2025-03-26 has it.
pub(super) async fn batch(
    front: &Front,
    headers: &HeaderMap,
    messages: Vec<Message>,
    caller: Option<&Caller>,
) -> Result<Response, Refused> {
    let refused = |reason| Err(Refused::Malformed(None, reason));
    for message in &messages {
        message
            .check_params()
            .map_err(|reason| Refused::Malformed(None, reason))?;
        let modern = message.request_meta().is_ok_and(|said| said.version.is_some());
        if modern || message.method() == Some("initialize") {
            return refused(Malformed::Batch);
        }
    }
    headers::check_version(headers)?;
    let Some(id) = headers::session_id(headers)? else {
        return Err(Refused::NoSession(None));
    };
    let session = front.server.session(id, caller).ok_or(Refused::UnknownSession(None))?;
    if !session.version().has_batches() {
        return refused(Malformed::Batch);
    }
    let open = session.open();
    let mut answers = Vec::new();
    for message in &messages {
        if matches!(message.kind(), Kind::Request { .. }) {
            let begun = front.server.call(&session, message, caller).await;
            answers.push(begun.map_err(|refusal| Refused::Session(message.id().cloned(), refusal))?);
        } else {
            tell(&session, message).await?;
        }
    }
    if answers.is_empty() {
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    Ok(sse::stream(Source::Batch(answers), Some(open), false))
}

/// The stream for what belongs to no call, or one that is resumed.
pub(super) fn get(front: &Front, headers: &HeaderMap, caller: Option<&Caller>) -> Result<Response, Refused> {
    headers::check_get(headers)?;
    let session = named(front, headers, caller)?;
    let listening = match headers::last_event_id(headers) {
        None => session.listen(),
        Some(id) => {
            let (stream, event) = sse::event_id(id).ok_or(Refused::Event)?;
            session.resume(stream, event).map_err(|_| Refused::Event)?
        }
    };
    Ok(sse::stream(
        Source::Listening(listening),
        None,
        session.version().has_priming(),
    ))
}

/// The end of a session. The answer comes when the process is gone.
pub(super) async fn delete(front: &Front, headers: &HeaderMap, caller: Option<&Caller>) -> Result<Response, Refused> {
    headers::check_version(headers)?;
    let session = named(front, headers, caller)?;
    front.server.sessions().end(&session, &End::Deleted);
    session.ended().await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn open(front: &Front, request: &Message, caller: Option<&Caller>) -> Result<Response, Refused> {
    let opened = front.server.open(request, caller).await;
    let (session, line) = opened.map_err(|error| Refused::Open(request.id().cloned(), error))?;
    let mut response = json(line).into_response();
    if let Ok(id) = HeaderValue::from_str(session.id()) {
        response.headers_mut().insert(SESSION_ID, id);
    }
    Ok(response)
}

/// A notification or an answer. The id of an answer is the server's, so an error does not repeat it as if it answered
/// a request of the client.
async fn tell(session: &Arc<Session>, message: &Message) -> Result<(), Refused> {
    let _open = session.open();
    let told = match message.kind() {
        Kind::Response { .. } => session.respond(message).await,
        _ => session.notify(message).await,
    };
    told.map_err(|refusal| Refused::Session(None, refusal))
}

/// A JSON body if the answer comes first, a stream if something comes before it or it takes its time.
async fn answer(front: &Front, session: &Arc<Session>, mut answers: Answers, open: crate::session::Open) -> Response {
    match answers.first(front.server.limits()).await {
        First::Answer(frame) => json(frame.into_line()).into_response(),
        First::Stream => {
            let log = session.resumable(answers.stream());
            let number = log.stream;
            answers.keep(log);
            let source = Source::Answers(answers, Some(number));
            sse::stream(source, Some(open), session.version().has_priming())
        }
    }
}

/// The session that the headers name.
fn named(front: &Front, headers: &HeaderMap, caller: Option<&Caller>) -> Result<Arc<Session>, Refused> {
    let id = headers::session_id(headers)?.ok_or(Refused::NoSession(None::<Id>))?;
    front.server.session(id, caller).ok_or(Refused::UnknownSession(None))
}
