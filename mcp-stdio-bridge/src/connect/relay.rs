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

mod answer;
mod headers;
mod session;
mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

use self::answer::Asked;
use self::headers::is_modern;
use self::session::Session;
use super::parameters::Parameters;
use super::transport::{RequestError, Transport};
use crate::message::{Body, Key, Kind, Message, reply};

/// The id of a request that is not the client's.
const OWN_ID: &str = "\"mcp-stdio-bridge\"";
/// JSON-RPC's range for errors of an implementation's own.
const UNREACHABLE: i32 = -32000;
/// The largest batch.
const BATCH: usize = 100;
/// For the server to be told that the session is over.
const FAREWELL: Duration = Duration::from_secs(1);

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

    /// Gives the client a line. Nobody there to read it is the end of all this, which is noticed elsewhere.
    async fn say(&self, line: String) {
        let _ = self.out.send(line).await;
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<Key, InFlight>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
