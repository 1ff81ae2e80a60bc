//! Messages from stdio to the server and back, as they are.
//!
//! A request is carried by a task of its own; what is no request is sent in its turn, before anything that follows it.
//! `initialize` is waited for, since what follows it needs the session that it begins. Of each message only the envelope
//! is read.
//!
//! Up to 2025-11-25 there is a session: its id and version go with each request, its stream brings what the server says by
//! itself, an answer whose connection breaks is gone on with where it broke off, and a session that the server has lost is
//! begun again with what the client said when it began the first. From 2026-07-28 on each request stands alone, and one
//! that is cancelled is cancelled by closing its connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

use super::authorizer::AuthorizationError;
use super::events::Events;
use super::parameters::Parameters;
use super::transport::{RequestError, Transport, is_event_stream};
use crate::message::{Body, Id, Key, Kind, Message, reply, text_of};
use crate::versions::LEGACY;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The id of a request that is not the client's.
const OWN_ID: &str = "\"mcp-stdio-bridge\"";
/// JSON-RPC's range for errors of an implementation's own.
const UNREACHABLE: i32 = -32000;
/// The largest batch.
const BATCH: usize = 100;
/// How often a stream is taken up again that brings nothing new.
const RESUMPTIONS: u32 = 5;
/// Before a stream is taken up again, where the server has no wish.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// For the server to be told that the session is over.
const FAREWELL: Duration = Duration::from_secs(1);
/// How many pages of tools are read for a header that is missing.
const PAGES: usize = 20;

/// What is known of the session.
#[derive(Debug, Default, Clone)]
struct Session {
    id: Option<HeaderValue>,
    version: Option<HeaderValue>,
    /// The client's `initialize`, for another session like the first.
    initialize: Option<Message>,
    /// Which session it is, of those that there were.
    generation: u64,
}

/// Carries messages between one client and the server.
#[derive(Debug)]
pub(crate) struct Relay {
    transport: Transport,
    out: mpsc::Sender<String>,
    session: Mutex<Session>,
    /// Begins one session at a time.
    beginning: tokio::sync::Mutex<()>,
    in_flight: Mutex<HashMap<Key, InFlight>>,
    stream: Mutex<Option<JoinHandle<()>>>,
    parameters: Parameters,
    /// Somebody may be asked to sign in.
    sign_in: bool,
    /// Why the last request that failed did.
    failure: Mutex<Option<RequestError>>,
}

#[derive(Debug)]
struct InFlight {
    task: AbortHandle,
    modern: bool,
}

/// A request whose answer is waited for.
struct Asked<'a> {
    message: &'a Message,
    id: &'a Id,
    modern: bool,
    /// Nobody but the relay waits for the answer.
    own: bool,
}

/// Whether a message has been the one that was waited for.
enum Delivered {
    Answer(Message),
    Other,
}

impl Relay {
    pub(crate) fn new(transport: Transport, out: mpsc::Sender<String>, sign_in: bool) -> Arc<Self> {
        Arc::new(Self {
            transport,
            out,
            session: Mutex::default(),
            beginning: tokio::sync::Mutex::default(),
            in_flight: Mutex::default(),
            stream: Mutex::default(),
            parameters: Parameters::default(),
            sign_in,
            failure: Mutex::default(),
        })
    }

    /// Why the last request failed, if it failed and nobody has asked yet.
    pub(crate) fn failure(&self) -> Option<RequestError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes one line of the client.
    pub(crate) async fn take(self: &Arc<Self>, line: Vec<u8>) {
        match Message::parse_body(line, BATCH) {
            Ok(Body::One(message)) => self.take_message(message).await,
            // Its members are taken one by one: no server but those of one version knows batches.
            Ok(Body::Batch(messages)) => {
                for message in messages {
                    self.take_message(message).await;
                }
            }
            Err(error) => self.say(reply::error(None, error.code(), &error.to_string())).await,
        }
    }

    async fn take_message(self: &Arc<Self>, message: Message) {
        match message.kind() {
            Kind::Request { id, method } => {
                let begins = method == "initialize";
                let key = id.key().clone();
                let modern = is_modern(&message);
                let relay = Arc::clone(self);
                let (listed, ready) = tokio::sync::oneshot::channel::<()>();
                let task = tokio::spawn({
                    let key = key.clone();
                    async move {
                        // Not before it is among those in flight.
                        let _ = ready.await;
                        relay.request(&message).await;
                        relay.in_flight().remove(&key);
                    }
                });
                let flying = InFlight {
                    task: task.abort_handle(),
                    modern,
                };
                self.in_flight().insert(key, flying);
                let _ = listed.send(());
                if begins {
                    let _ = task.await;
                }
            }
            Kind::Notification { method } => {
                if method == "notifications/cancelled" && self.cancel(&message) {
                    return;
                }
                let initialized = method == "notifications/initialized";
                self.tell(&message).await;
                if initialized {
                    self.listen();
                }
            }
            Kind::Response { .. } => self.tell(&message).await,
        }
    }

    /// Cancels a request of a version where closing the connection does it. `false` where the server has to be told.
    fn cancel(&self, message: &Message) -> bool {
        let Some(id) = message.param("requestId").and_then(|member| member.id) else {
            return false;
        };
        let mut in_flight = self.in_flight();
        match in_flight.get(id.key()) {
            Some(flying) if flying.modern => {
                flying.task.abort();
                in_flight.remove(id.key());
                true
            }
            _ => false,
        }
    }

    /// Sends what has no answer.
    async fn tell(&self, message: &Message) {
        let modern = is_modern(message);
        let headers = self.headers(message, modern);
        match self
            .transport
            .send(Method::POST, &headers, Some(&message.line(&[])), false)
            .await
        {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => {
                let status = response.status().as_u16();
                tracing::warn!(status, method = message.method(), "the server did not take a message");
            }
            Err(error) => tracing::warn!(%error, method = message.method(), "a message did not reach the server"),
        }
    }

    /// Carries a request, and what answers it: what the server says, or why it says nothing.
    async fn request(self: &Arc<Self>, message: &Message) {
        let Kind::Request { id, .. } = message.kind() else {
            return;
        };
        let asked = Asked {
            message,
            id,
            modern: is_modern(message),
            own: false,
        };
        if let Err(error) = self.ask(&asked).await {
            tracing::warn!(%error, method = message.method(), "a request failed");
            let code = match error {
                RequestError::SessionLost(_) => reply::SESSION_NOT_FOUND,
                _ => UNREACHABLE,
            };
            let text = error.to_string();
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            self.say(reply::error(Some(id.raw()), code, &text)).await;
        }
    }

    async fn ask(self: &Arc<Self>, asked: &Asked<'_>) -> Result<Message, RequestError> {
        let method = asked.message.method().unwrap_or_default();
        let begins = method == "initialize" && !asked.modern;
        if begins && !asked.own {
            let mut session = self.session();
            *session = Session {
                initialize: Some(asked.message.clone()),
                generation: session.generation + 1,
                ..Session::default()
            };
            drop(session);
            self.stop_listening();
        }
        let (mut lost, mut mismatched) = (false, false);
        loop {
            if !begins && !asked.own && !asked.modern {
                // Not between two sessions.
                drop(self.beginning.lock().await);
            }
            let session = self.session().clone();
            let headers = self.headers(asked.message, asked.modern);
            let body = asked.message.line(&[]);
            let response = self
                .transport
                .send(Method::POST, &headers, Some(&body), self.sign_in)
                .await?;
            let status = response.status();
            if status == StatusCode::NOT_FOUND
                && session.id.is_some()
                && !asked.modern
                && !begins
                && !asked.own
                && !lost
            {
                lost = true;
                self.begin_again(session.generation).await?;
                continue;
            }
            if begins && status.is_success() {
                self.session().id = response.headers().get(SESSION_ID).cloned();
            }
            if is_event_stream(&response) && status.is_success() {
                return self.follow(response, asked).await;
            }
            let text = self.transport.body(response).await?;
            let answer = match Message::parse_body(text, BATCH) {
                Ok(Body::One(message)) => message,
                Ok(Body::Batch(messages)) => return self.deliver_all(messages, asked).await,
                Err(_) if !status.is_success() => return Err(RequestError::Status(status)),
                Err(error) => return Err(RequestError::Malformed(error.to_string())),
            };
            let mismatch = |answer: &Message| {
                let code = answer.outcome().and_then(reply::code_of);
                code == Some(i64::from(reply::HEADER_MISMATCH))
            };
            if status == StatusCode::BAD_REQUEST
                && asked.modern
                && method == "tools/call"
                && !mismatched
                && mismatch(&answer)
            {
                // A tool that was not listed since it changed: its marks are learned, and it is called once more.
                mismatched = true;
                if self.learn(asked).await {
                    continue;
                }
            }
            return match self.deliver(answer, asked).await {
                Delivered::Answer(message) => Ok(message),
                Delivered::Other if status.is_success() => Err(RequestError::Interrupted),
                Delivered::Other => Err(RequestError::Status(status)),
            };
        }
    }

    async fn deliver_all(&self, messages: Vec<Message>, asked: &Asked<'_>) -> Result<Message, RequestError> {
        let mut answer = None;
        for message in messages {
            if let Delivered::Answer(message) = self.deliver(message, asked).await {
                answer = Some(message);
            }
        }
        answer.ok_or(RequestError::Interrupted)
    }

    /// Reads the stream of an answer to its end, over as many connections as it takes.
    async fn follow(self: &Arc<Self>, response: reqwest::Response, asked: &Asked<'_>) -> Result<Message, RequestError> {
        let mut response = response;
        let mut last_id: Option<String> = None;
        let mut without_news = 0;
        loop {
            let mut events = Events::new(self.transport.most);
            let mut chunks = response.bytes_stream();
            let mut news = false;
            while let Some(Ok(chunk)) = chunks.next().await {
                let texts = events.feed(&chunk);
                for text in texts.map_err(|_| RequestError::TooLarge(self.transport.most))? {
                    news = true;
                    let Ok(body) = Message::parse_body(text.into_bytes(), BATCH) else {
                        tracing::warn!("an event of the server is no message; it is left out");
                        continue;
                    };
                    let messages = match body {
                        Body::One(message) => vec![message],
                        Body::Batch(messages) => messages,
                    };
                    if let Ok(answer) = self.deliver_all(messages, asked).await {
                        return Ok(answer);
                    }
                }
            }
            drop(chunks);
            last_id = events.last_id().map(str::to_owned).or(last_id);
            without_news = if news { 0 } else { without_news + 1 };
            let id = last_id
                .as_deref()
                .filter(|_| !asked.modern && without_news <= RESUMPTIONS);
            let Some(id) = id else {
                return Err(RequestError::Interrupted);
            };
            tokio::time::sleep(pause(&events, without_news)).await;
            let resumed = self.resume(id).await?;
            if !(resumed.status().is_success() && is_event_stream(&resumed)) {
                return Err(RequestError::Interrupted);
            }
            response = resumed;
        }
    }

    async fn resume(&self, last_id: &str) -> Result<reqwest::Response, RequestError> {
        let mut headers = self.session_headers();
        headers.insert(header::ACCEPT, EVENTS);
        if let Ok(id) = HeaderValue::from_str(last_id) {
            headers.insert(LAST_EVENT_ID, id);
        }
        self.transport.send(Method::GET, &headers, None, false).await
    }

    /// Hands a message on, and says whether it was the answer.
    async fn deliver(&self, message: Message, asked: &Asked<'_>) -> Delivered {
        let answers = match message.kind() {
            Kind::Response { id: Some(id), .. } => id.key() == asked.id.key(),
            // Who could not tell which request it was had only one to answer.
            Kind::Response { id: None, failed } => *failed,
            _ => false,
        };
        if !answers {
            self.say(message.line(&[])).await;
            return Delivered::Other;
        }
        let method = asked.message.method().unwrap_or_default();
        let failed = matches!(message.kind(), Kind::Response { failed: true, .. });
        let result = message.outcome().filter(|_| !failed);
        if method == "initialize"
            && !asked.modern
            && let Some(version) = result.and_then(version_of)
        {
            self.session().version = Some(version);
        }
        if asked.own {
            return Delivered::Answer(message);
        }
        let kept = match result.filter(|_| method == "tools/list" && asked.modern) {
            Some(result) => self.parameters.learn(result),
            None => None,
        };
        let line = match kept {
            Some(result) => reply::result(asked.id.raw(), &result),
            None => match message.id_member().filter(|member| member.id.is_none()) {
                Some(id) => message.line(&[(&id, asked.id.raw())]),
                None => message.line(&[]),
            },
        };
        self.say(line).await;
        Delivered::Answer(message)
    }

    /// Learns the marks of all tools, on behalf of a call.
    async fn learn(self: &Arc<Self>, asked: &Asked<'_>) -> bool {
        let meta = asked.message.param("_meta");
        let meta = meta.map_or("{}", |meta| asked.message.text(&meta));
        let mut cursor = String::new();
        for _ in 0..PAGES {
            let text = format!(
                r#"{{"jsonrpc":"2.0","id":{OWN_ID},"method":"tools/list","params":{{{cursor}"_meta":{meta}}}}}"#
            );
            let Ok(message) = Message::parse(text.into_bytes()) else {
                return false;
            };
            let Kind::Request { id, .. } = message.kind() else {
                return false;
            };
            let own = Asked {
                message: &message,
                id,
                modern: true,
                own: true,
            };
            let Ok(answer) = Box::pin(self.ask(&own)).await else {
                return false;
            };
            let Some(result) = answer.outcome() else { return false };
            self.parameters.learn(result);
            let next = serde_json::from_str::<Value>(result).unwrap_or_default();
            match next["nextCursor"].as_str() {
                Some(next) => cursor = format!(r#""cursor":{},"#, Value::from(next)),
                None => return true,
            }
        }
        true
    }

    /// Begins a session like the one that the server has lost, unless somebody has.
    async fn begin_again(self: &Arc<Self>, lost: u64) -> Result<(), RequestError> {
        let _one = self.beginning.lock().await;
        let before = self.session().clone();
        if before.generation != lost {
            return Ok(());
        }
        let failed = |reason: &str| RequestError::SessionLost(reason.to_owned());
        let initialize = before.initialize.ok_or_else(|| failed("it was never begun here"))?;
        tracing::info!("the server has ended the session; another is begun");
        self.stop_listening();
        {
            let mut session = self.session();
            session.id = None;
            session.version = None;
        }
        let Some(place) = initialize.id_member() else {
            return Err(failed("it was never begun here"));
        };
        let text = initialize.line(&[(&place, OWN_ID)]);
        let message = Message::parse(text.into_bytes()).map_err(|_| failed("it was never begun here"))?;
        let Kind::Request { id, .. } = message.kind() else {
            return Err(failed("it was never begun here"));
        };
        let own = Asked {
            message: &message,
            id,
            modern: false,
            own: true,
        };
        let answer = Box::pin(self.ask(&own)).await?;
        if matches!(answer.kind(), Kind::Response { failed: true, .. }) {
            return Err(failed("the server refused to begin another"));
        }
        if self.session().version != before.version {
            return Err(failed("it would speak another version of the protocol"));
        }
        let initialized = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_vec();
        if let Ok(initialized) = Message::parse(initialized) {
            self.tell(&initialized).await;
        }
        self.session().generation += 1;
        self.listen();
        Ok(())
    }

    /// Reads what the server says by itself, for as long as the session lasts.
    fn listen(self: &Arc<Self>) {
        let relay = Arc::clone(self);
        let task = tokio::spawn(async move { relay.listen_until_refused().await });
        let before = self.stream.lock().unwrap_or_else(PoisonError::into_inner).replace(task);
        if let Some(before) = before {
            before.abort();
        }
    }

    fn stop_listening(&self) {
        if let Some(task) = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }

    async fn listen_until_refused(&self) {
        let mut last_id: Option<String> = None;
        let mut without_news: u32 = 0;
        loop {
            let mut headers = self.session_headers();
            headers.insert(header::ACCEPT, EVENTS);
            if let Some(id) = last_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok()) {
                headers.insert(LAST_EVENT_ID, id);
            }
            let mut events = Events::new(self.transport.most);
            match self.transport.send(Method::GET, &headers, None, false).await {
                Ok(response) if response.status().is_success() && is_event_stream(&response) => {
                    let mut chunks = response.bytes_stream();
                    while let Some(Ok(chunk)) = chunks.next().await {
                        let Ok(texts) = events.feed(&chunk) else {
                            tracing::warn!("an event of the server is too large; its stream is not read any more");
                            return;
                        };
                        for text in texts {
                            without_news = 0;
                            if let Ok(message) = Message::parse(text.into_bytes()) {
                                self.say(message.line(&[])).await;
                            } else {
                                tracing::warn!("an event of the server is no message; it is left out");
                            }
                        }
                    }
                }
                // There is none, or the session is over; the next request will tell.
                Ok(response) if response.status().is_client_error() => return,
                Ok(response) => tracing::debug!(status = response.status().as_u16(), "no stream now"),
                Err(RequestError::Authorization(AuthorizationError::SignInNeeded)) => return,
                Err(error) => tracing::debug!(%error, "no stream now"),
            }
            last_id = events.last_id().map(str::to_owned).or(last_id);
            without_news = without_news.saturating_add(1);
            tokio::time::sleep(pause(&events, without_news)).await;
        }
    }

    /// Waits for requests in flight, for so long.
    pub(crate) async fn drain(&self, time: Duration) {
        let empty = async {
            while !self.in_flight().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(time, empty).await;
    }

    /// Ends what is in flight, and tells the server that the session is over.
    pub(crate) async fn close(&self) {
        self.stop_listening();
        for (_, flying) in self.in_flight().drain() {
            flying.task.abort();
        }
        if self.session().id.is_none() {
            return;
        }
        let headers = self.session_headers();
        let told = self.transport.send(Method::DELETE, &headers, None, false);
        let _ = tokio::time::timeout(FAREWELL, told).await;
    }

    fn headers(&self, message: &Message, modern: bool) -> HeaderMap {
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

    fn session_headers(&self) -> HeaderMap {
        let session = self.session();
        let mut headers = HeaderMap::new();
        headers.extend(session.id.clone().map(|id| (SESSION_ID, id)));
        headers.extend(session.version.clone().map(|version| (PROTOCOL_VERSION, version)));
        headers
    }

    /// Gives the client a line. Nobody there to read it is the end of all this, which is noticed elsewhere.
    async fn say(&self, line: String) {
        let _ = self.out.send(line).await;
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<Key, InFlight>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a stream is left alone before it is taken up again.
fn pause(events: &Events, without_news: u32) -> Duration {
    let longer = PAUSE * 2_u32.saturating_pow(without_news.min(6).saturating_sub(1));
    events.retry().unwrap_or(longer).min(LONGEST_PAUSE)
}

/// The version that a message names itself, as from 2026-07-28 on each does.
fn version_in(message: &Message) -> Option<String> {
    let meta = message.request_meta().ok()?;
    text_of(meta.version?).map(std::borrow::Cow::into_owned)
}

fn is_modern(message: &Message) -> bool {
    version_in(message).is_some_and(|version| !LEGACY.contains(&version.as_str()))
}

/// The version that the answer to `initialize` settles for.
fn version_of(result: &str) -> Option<HeaderValue> {
    let result: Value = serde_json::from_str(result).ok()?;
    HeaderValue::from_str(result["protocolVersion"].as_str()?).ok()
}
