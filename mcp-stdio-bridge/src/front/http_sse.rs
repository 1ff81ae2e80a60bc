//! The pair of endpoints that MCP 2024-11-05 had, for clients that know nothing newer: an event stream by GET, whose first
//! event says where to POST, and messages there, whose answers come on the stream.
//!
//! It has been out of date since 2025-03-26, and is there only where the operator asks for it. Behind it are sessions like
//! any other; one ends with its stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use uuid::Uuid;

use super::refusal::Refused;
use super::sse::{self, Source};
use super::{Front, headers};
use crate::caller::{Caller, CallerKey};
use crate::child::{Answers, End};
use crate::message::{Id, Kind, Message, reply};
use crate::server::Server;
use crate::session::Session;
use crate::stream::{Frame, Put, Reader, Stream};

/// How many streams are open without a session.
const WAITING: usize = 100;

/// The streams that are open.
#[derive(Debug, Default)]
pub(crate) struct HttpSse(Mutex<HashMap<String, Arc<Client>>>);

#[derive(Debug)]
struct Client {
    owner: CallerKey,
    out: Arc<Stream>,
    session: OnceLock<Arc<Session>>,
}

/// A stream of 2024-11-05; with it goes the client's session.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) reader: Reader,
    /// Where to POST.
    pub(super) endpoint: String,
    id: String,
    front: Weak<Front>,
}

/// Opens a stream.
pub(super) fn get(
    front: &Arc<Front>,
    streams: &HttpSse,
    uri: &Uri,
    headers: &HeaderMap,
    caller: Option<&Caller>,
) -> Result<Response, Refused> {
    headers::check_get(headers)?;
    let (out, reader) = Stream::new();
    let id = Uuid::new_v4().to_string();
    let path = uri.path().trim_end_matches('/');
    let path = path.strip_suffix("/sse").unwrap_or_default();
    let client = Client {
        owner: Server::owner(caller),
        out,
        session: OnceLock::new(),
    };
    {
        let mut clients = streams.lock();
        if clients.values().filter(|client| client.session.get().is_none()).count() >= WAITING {
            return Err(Refused::Waiting);
        }
        clients.insert(id.clone(), Arc::new(client));
    }
    let connected = Connected {
        reader,
        endpoint: format!("{path}/message?sessionId={id}"),
        id,
        front: Arc::downgrade(front),
    };
    Ok(sse::stream(Source::HttpSse(connected), None, false))
}

/// A message of the client whose stream the query names.
pub(super) async fn post(
    front: &Front,
    streams: &HttpSse,
    query: Option<&str>,
    message: &Message,
    caller: Option<&Caller>,
) -> Result<Response, Refused> {
    let id = query.and_then(|query| query.split('&').find_map(|part| part.strip_prefix("sessionId=")));
    let client = id.and_then(|id| streams.lock().get(id).cloned());
    let client = client.filter(|client| client.owner == Server::owner(caller));
    let client = client.ok_or_else(|| Refused::UnknownSession(message.id().cloned()))?;
    match (client.session.get(), message.kind()) {
        (None, Kind::Request { method, .. }) if method == "initialize" => {
            match front.server.open(message, caller).await {
                Ok((session, line)) => {
                    client.out.put(Frame::Message(line));
                    pump_events(&session, &client.out);
                    if client.session.set(Arc::clone(&session)).is_err() || !client.out.is_read() {
                        front.server.sessions().end(&session, &End::HandshakeAbandoned);
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    let line = reply::error(message.id().map(Id::raw), reply::INTERNAL_ERROR, &text);
                    client.out.put(Frame::Message(line));
                }
            }
        }
        (None, _) => return Err(Refused::UnknownSession(message.id().cloned())),
        (Some(session), Kind::Request { .. }) => {
            let refused = |refusal| Refused::Session(message.id().cloned(), refusal);
            let answers = front.server.call(session, message, caller).await.map_err(refused)?;
            pump(answers, Arc::clone(&client.out));
        }
        (Some(session), Kind::Response { .. }) => {
            session
                .respond(message)
                .await
                .map_err(|refusal| Refused::Session(None, refusal))?;
        }
        (Some(session), Kind::Notification { .. }) => {
            session
                .notify(message)
                .await
                .map_err(|refusal| Refused::Session(None, refusal))?;
        }
    }
    Ok((StatusCode::ACCEPTED, "Accepted").into_response())
}

/// Brings what comes for one call to the client's only stream.
fn pump(mut answers: Answers, out: Arc<Stream>) {
    tokio::spawn(async move {
        while let Some(next) = answers.next().await {
            if out.put(Frame::Message(next.frame.into_line())) == Put::Full {
                out.drained().await;
            }
        }
    });
}

/// Brings what belongs to no call there too.
fn pump_events(session: &Arc<Session>, out: &Arc<Stream>) {
    let mut listening = session.listen();
    let out = Arc::clone(out);
    tokio::spawn(async move {
        while let Some(next) = std::future::poll_fn(|context| listening.reader.poll_next(context)).await {
            if out.put(Frame::Message(next.frame.into_line())) == Put::Full {
                out.drained().await;
            }
        }
        // The session is over, and so is its stream.
        out.finish();
    });
}

impl HttpSse {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Client>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let Some(front) = self.front.upgrade() else { return };
        let Some(streams) = &front.http_sse else { return };
        let client = streams.lock().remove(&self.id);
        if let Some(session) = client.as_ref().and_then(|client| client.session.get()) {
            front.server.sessions().end(session, &End::Deleted);
        }
    }
}
