//! The protocol with sessions: what POST, GET and DELETE do.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::headers::{self, SESSION_ID};
use super::refusal::{Refused, json};
use super::{Front, events};
use crate::message::{Id, Kind, Message};
use crate::session::{Answers, End, Frame, Session};

/// A message of the client.
pub(super) async fn post(front: &Front, request: Request) -> Result<Response, Refused> {
    headers::check_post(request.headers())?;
    let session = headers::session_id(request.headers())?.map(str::to_owned);
    let body = body(front.max_body, request).await?;
    let message = Message::parse(body).map_err(|reason| Refused::Malformed(None, reason))?;
    let id = || message.id().cloned();
    message
        .check_params()
        .map_err(|reason| Refused::Malformed(id(), reason))?;

    let initialize = matches!(message.kind(), Kind::Request { method, .. } if method == "initialize");
    let Some(session) = session else {
        return if initialize {
            open(front, &message).await
        } else {
            Err(Refused::NoSession(id()))
        };
    };
    let session = front
        .sessions
        .get(&session)
        .ok_or_else(|| Refused::UnknownSession(id()))?;
    let refused = |refusal| Refused::Session(id(), refusal);
    match message.kind() {
        _ if initialize => Err(Refused::Initialized(id())),
        Kind::Request { .. } => {
            let answers = session.call(&message).await.map_err(refused)?;
            Ok(answer(answers).await)
        }
        Kind::Notification { .. } => {
            session.notify(&message).await.map_err(refused)?;
            Ok(StatusCode::ACCEPTED.into_response())
        }
        Kind::Response { .. } => {
            // Its id is the server's, so an error does not repeat it as if it answered a request of the client.
            session
                .respond(&message)
                .await
                .map_err(|refusal| Refused::Session(None, refusal))?;
            Ok(StatusCode::ACCEPTED.into_response())
        }
    }
}

/// The stream for what belongs to no call.
pub(super) fn get(front: &Front, headers: &HeaderMap) -> Result<Response, Refused> {
    headers::check_get(headers)?;
    let listening = named(front, headers)?
        .listen()
        .map_err(|refusal| Refused::Session(None, refusal))?;
    Ok(events::stream(stream::unfold(listening, |mut listening| async {
        listening.next().await.map(|frame| (frame, listening))
    })))
}

/// The end of a session. The answer comes when the process is gone.
pub(super) async fn delete(front: &Front, headers: &HeaderMap) -> Result<Response, Refused> {
    headers::check_version(headers)?;
    let session = named(front, headers)?;
    session.close(End::Deleted);
    session.ended().await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn open(front: &Front, request: &Message) -> Result<Response, Refused> {
    let opened = front.sessions.initialize(request).await;
    let (session, line) = opened.map_err(|error| Refused::Open(request.id().cloned(), error))?;
    let mut response = json(line).into_response();
    if let Ok(id) = HeaderValue::from_str(session.id()) {
        response.headers_mut().insert(SESSION_ID, id);
    }
    Ok(response)
}

/// A JSON body if the answer comes first, a stream if something comes before it.
async fn answer(mut answers: Answers) -> Response {
    match answers.next().await {
        Some(Frame::Answer { line, .. }) => json(line).into_response(),
        Some(first @ Frame::Message(_)) => {
            let rest = stream::unfold(answers, |mut answers| async {
                answers.next().await.map(|frame| (frame, answers))
            });
            events::stream(stream::iter([first]).chain(rest))
        }
        // The first frame is there in any case: an answer, if nothing else.
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The session that the headers name.
fn named(front: &Front, headers: &HeaderMap) -> Result<Arc<Session>, Refused> {
    let id = headers::session_id(headers)?.ok_or(Refused::NoSession(None::<Id>))?;
    front.sessions.get(id).ok_or(Refused::UnknownSession(None))
}

/// The body, if it is within the bound.
async fn body(bound: usize, request: Request) -> Result<Vec<u8>, Refused> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if announced
        .and_then(|length| length.parse::<usize>().ok())
        .is_some_and(|length| length > bound)
    {
        return Err(Refused::TooLarge(bound));
    }
    let mut pieces = request.into_body().into_data_stream();
    let mut body = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Refused::Body)?;
        if body.len() + piece.len() > bound {
            return Err(Refused::TooLarge(bound));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}
