//! The protocol without sessions: one request, its headers against its body, and its answers.

use std::collections::HashMap;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::json as value;

use super::mirror;
use super::refusal::{Refused, Wrong, json};
use super::sse::{self, Source};
use super::{Front, headers};
use crate::caller::Caller;
use crate::child::First;
use crate::era::own;
use crate::message::{self, Id, Kind, Message, RequestMeta, meta, reply};
use crate::server::Server;
use crate::stream::Frame;
use crate::tools::{self, Marks};
use crate::versions::MODERN;

/// What the versions before had, and this one has not.
const REMOVED: [&str; 5] = [
    "initialize",
    "ping",
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
];

/// A message that names its version.
pub(super) async fn post(
    front: &Front,
    headers: &HeaderMap,
    message: &Message,
    said: RequestMeta<'_>,
    caller: Option<&Caller>,
) -> Result<Response, Refused> {
    let wrong = |wrong: Wrong| Refused::Modern(message.id().cloned(), wrong);
    let Some(version) = said.version.and_then(message::text_of) else {
        return Err(wrong(Wrong::Meta(meta::PROTOCOL_VERSION)));
    };
    headers::check_same_version(headers, &version).map_err(|()| wrong(Wrong::Version(version.to_string())))?;
    if version != MODERN {
        return Err(wrong(Wrong::Unsupported(version.into_owned())));
    }
    let Kind::Request { method, .. } = message.kind() else {
        // There is nothing left that a client has to notify a server of, and nobody to hand it to.
        return Ok(StatusCode::ACCEPTED.into_response());
    };
    if !said
        .capabilities
        .is_some_and(|capabilities| capabilities.starts_with('{'))
    {
        return Err(wrong(Wrong::Meta(meta::CLIENT_CAPABILITIES)));
    }
    mirror::check(headers, message, method).map_err(|mismatch| wrong(Wrong::Mismatch(mismatch)))?;
    if REMOVED.contains(&method.as_str()) {
        return Err(wrong(Wrong::Removed(method.clone())));
    }
    if method == "tools/call"
        && let Some(tool) = message.param_text("name")
    {
        let key = Server::owner(caller);
        let marks = match front.server.tools().marks(&key, &tool) {
            Some(marks) => marks,
            None => Box::pin(ask_for_marks(&front.server, message, said, &tool, caller)).await,
        };
        mirror::check_params(headers, message, &marks).map_err(|mismatch| wrong(Wrong::Mismatch(mismatch)))?;
    }

    let answers = front.server.request(message, caller).await;
    let mut answers = answers
        .map_err(|error| Refused::from_modern(message.id().cloned(), error))?
        .cancels();
    match answers.first(front.server.limits()).await {
        First::Answer(frame) => {
            let status = match &frame {
                Frame::Answer { error: Some(code), .. } => status(*code),
                _ => StatusCode::OK,
            };
            Ok((status, json(frame.into_line())).into_response())
        }
        First::Stream => Ok(sse::stream(Source::Answers(answers, None), None, false)),
    }
}

/// A message whose header names a version that its body does not.
pub(super) fn without_meta(message: &Message) -> Result<Response, Refused> {
    match message.kind() {
        Kind::Request { .. } => Err(Refused::Modern(
            message.id().cloned(),
            Wrong::Meta(meta::PROTOCOL_VERSION),
        )),
        Kind::Notification { .. } => Ok(StatusCode::ACCEPTED.into_response()),
        Kind::Response { .. } => Err(Refused::Modern(None, Wrong::Response)),
    }
}

/// The HTTP status that goes with an error of the server.
fn status(code: i64) -> StatusCode {
    match i32::try_from(code) {
        Ok(reply::METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Ok(reply::HEADER_MISMATCH | reply::MISSING_CAPABILITY | reply::UNSUPPORTED_VERSION) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// Which parameters of the tool have to be repeated in headers. Where the server does not say, none.
async fn ask_for_marks(
    server: &std::sync::Arc<Server>,
    request: &Message,
    said: RequestMeta<'_>,
    tool: &str,
    caller: Option<&Caller>,
) -> Marks {
    let mut all = HashMap::new();
    let mut cursor = None;
    for _ in 0..tools::PAGES {
        match page(server, said, cursor.as_deref(), caller).await {
            Some(result) => cursor = tools::read(&result, &mut all),
            None => break,
        }
        if cursor.is_none() {
            break;
        }
    }
    let marks = all.get(tool).cloned().unwrap_or_else(|| Marks::from([]));
    tracing::debug!(tools = all.len(), id = ?request.id().map(Id::raw), "the tools were asked for");
    server.tools().remember(Server::owner(caller), all);
    marks
}

/// A page of the server's tools, raw.
async fn page(
    server: &std::sync::Arc<Server>,
    said: RequestMeta<'_>,
    cursor: Option<&str>,
    caller: Option<&Caller>,
) -> Option<String> {
    let cursor = cursor
        .map(|cursor| format!(r#","cursor":{}"#, value!(cursor)))
        .unwrap_or_default();
    let info = said
        .client_info
        .map(|info| format!(r#","{}":{info}"#, meta::CLIENT_INFO))
        .unwrap_or_default();
    let request = own(format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"tools/list","params":{{"_meta":{{"{}":"{MODERN}","{}":{}{info}}}{cursor}}}}}"#,
        meta::PROTOCOL_VERSION,
        meta::CLIENT_CAPABILITIES,
        said.capabilities.unwrap_or("{}"),
    ));
    let mut answers = server.request(&request, caller).await.ok()?.cancels();
    let First::Answer(frame) = answers.first_within(server.limits().handshake_timeout).await else {
        return None;
    };
    let answer = Message::parse(frame.into_line().into_bytes()).ok()?;
    matches!(answer.kind(), Kind::Response { failed: false, .. })
        .then(|| answer.outcome().map(str::to_owned))
        .flatten()
}
