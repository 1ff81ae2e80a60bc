//! A client with a session and a server of the modern era.
//!
//! `initialize` is answered from what the server says at `server/discover`, and what the client says there of itself
//! goes with each of its requests from then on. When the server answers that it needs input, its questions become
//! requests to the client, and the call is made again with the answers; the client sees one call and one answer.
//!
//! Of the methods that the modern era has given up, `ping` and `logging/setLevel` are answered here. Subscriptions to
//! resources and the changes of lists become one `subscriptions/listen`, made anew when they change; what it brings
//! goes to the session's event stream.

mod calls;
mod input;
mod subscriptions;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::calls::Running;
use crate::child::calls::Level;
use crate::child::{Answers, Child, End, Failure, Home, Refusal, Unanswered, Wants, subscription_of};
use crate::era::{Discovered, client_info};
use crate::message::{self, Id, Key, Kind, Message, meta, reply};
use crate::modern::level_of;
use crate::session::{Session, Translator};
use crate::stream::{Frame, Pressure, Stream};
use crate::versions::LEGACY;

/// Stands between a session and a server of the modern era.
#[derive(Debug)]
pub(crate) struct LegacyToModern {
    server: Discovered,
    session: OnceLock<Weak<Session>>,
    /// Raw.
    client_info: String,
    /// Raw.
    capabilities: String,
    me: Weak<Self>,
    next: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    level: Option<String>,
    running: HashMap<u64, Running>,
    /// What the client was asked.
    asked: HashMap<u64, oneshot::Sender<Message>>,
    resources: BTreeSet<String>,
    listening: Option<CancellationToken>,
    ready: bool,
}

impl LegacyToModern {
    /// For the client that has sent this `initialize`.
    pub(crate) fn new(server: Discovered, initialize: &Message) -> Arc<Self> {
        let said = initialize.params().unwrap_or("{}");
        let found = message::members(said, ["clientInfo", "capabilities"]).unwrap_or([None; 2]);
        let [info, capabilities] = found.map(|found| found.map(|found| found.get().to_owned()));
        let shim = Arc::new_cyclic(|me| Self {
            client_info: info.unwrap_or_else(|| client_info().to_string()),
            capabilities: capabilities.unwrap_or_else(|| "{}".to_owned()),
            session: OnceLock::new(),
            me: me.clone(),
            next: AtomicU64::new(1),
            state: Mutex::default(),
            server,
        });
        let home: Weak<Self> = Arc::downgrade(&shim);
        shim.server.child.serve(home);
        shim
    }

    /// Says whose it is.
    pub(crate) fn belongs_to(&self, session: &Arc<Session>) {
        // Once only: at the beginning.
        let _ = self.session.set(Arc::downgrade(session));
    }

    /// The answer to `initialize`.
    pub(crate) fn initialized(&self, initialize: &Message) -> String {
        let wanted = initialize.param_text("protocolVersion");
        let version = wanted
            .as_deref()
            .filter(|wanted| LEGACY.contains(wanted))
            .unwrap_or(LEGACY[0]);
        let names = ["capabilities", "instructions", "_meta"];
        let found = message::members(&self.server.result, names).unwrap_or([None; 3]);
        let [capabilities, instructions, about] = found.map(|found| found.map(serde_json::value::RawValue::get));
        let server_info = about.and_then(|about| message::members(about, [meta::SERVER_INFO]).ok()?[0]);
        let server_info = server_info.map_or(r#"{"name":"unknown","version":"0"}"#, serde_json::value::RawValue::get);
        let instructions = instructions
            .filter(|text| *text != "null")
            .map(|text| format!(r#","instructions":{text}"#))
            .unwrap_or_default();
        let result = format!(
            r#"{{"protocolVersion":"{version}","capabilities":{},"serverInfo":{server_info}{instructions}}}"#,
            capabilities.unwrap_or("{}"),
        );
        reply::result(initialize.id().map_or("null", Id::raw), &result)
    }

    fn session(&self) -> Option<Arc<Session>> {
        self.session.get()?.upgrade()
    }

    fn child(&self) -> &Arc<Child> {
        &self.server.child
    }

    fn done(id: &Id) -> Answers {
        Self::answered(id, reply::result(id.raw(), "{}"))
    }

    fn answered(id: &Id, line: String) -> Answers {
        let (stream, reader) = Stream::new();
        stream.put(Frame::Answer { line, error: None });
        Answers::translated(id.clone(), reader, CancellationToken::new())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Translator for LegacyToModern {
    async fn call(&self, request: &Message, wants: Wants<'_>) -> Result<Answers, Refusal> {
        let (Kind::Request { id, method }, Some(me)) = (request.kind(), self.me.upgrade()) else {
            return Err(Refusal::Unasked);
        };
        match method.as_str() {
            "ping" => return Ok(Self::done(id)),
            "logging/setLevel" => {
                let level = request.param_text("level");
                if level.as_deref().and_then(Level::named).is_none() {
                    let text = "there is no such level";
                    return Ok(Self::answered(
                        id,
                        reply::error(Some(id.raw()), reply::INVALID_PARAMS, text),
                    ));
                }
                self.lock().level = level;
                return Ok(Self::done(id));
            }
            "resources/subscribe" | "resources/unsubscribe" => {
                let Some(uri) = request.param_text("uri") else {
                    let text = "`uri` is missing";
                    return Ok(Self::answered(
                        id,
                        reply::error(Some(id.raw()), reply::INVALID_PARAMS, text),
                    ));
                };
                if method == "resources/subscribe" {
                    self.lock().resources.insert(uri);
                } else {
                    self.lock().resources.remove(&uri);
                }
                me.listen();
                return Ok(Self::done(id));
            }
            _ => {}
        }
        let (stream, reader) = Stream::new();
        let stop = CancellationToken::new();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if !self.child().is_open() {
            return Err(Refusal::Gone);
        }
        self.lock().running.insert(
            number,
            Running {
                id: id.clone(),
                stop: stop.clone(),
                stream: Arc::clone(&stream),
            },
        );
        let edits: Vec<_> = wants.edits.iter().map(|(member, text)| (member, *text)).collect();
        let Ok(request) = Message::parse(request.line(&edits).into_bytes()) else {
            return Err(Refusal::Unasked);
        };
        let answers = Answers::translated(id.clone(), reader, stop.clone());
        tokio::spawn(me.converse(request, number, stop, stream));
        Ok(answers)
    }

    async fn notify(&self, notification: &Message) -> Result<(), Refusal> {
        match notification.method() {
            Some("notifications/initialized") => {
                self.lock().ready = true;
                if let Some(me) = self.me.upgrade() {
                    me.listen();
                }
            }
            Some("notifications/cancelled") => {
                let id = notification.param("requestId").and_then(|member| member.id);
                let Some(id) = id else { return Ok(()) };
                let stopped = {
                    let mut state = self.lock();
                    let mut running = state.running.iter().filter(|(_, running)| running.id.key() == id.key());
                    let number = running.next().map(|(number, _)| *number);
                    let only = running.next().is_none();
                    number.filter(|_| only).and_then(|number| state.running.remove(&number))
                };
                if let Some(running) = stopped {
                    running.stop.cancel();
                    running.stream.put(Failure::Cancelled.answer(&running.id));
                }
            }
            // The modern era asks for roots when it needs them.
            _ => {}
        }
        Ok(())
    }

    async fn respond(&self, response: &Message) -> Result<(), Refusal> {
        let number = response.id().and_then(Id::own).ok_or(Refusal::Unasked)?;
        let waiting = self.lock().asked.remove(&number).ok_or(Refusal::Unasked)?;
        let response = Message::parse(response.line(&[]).into_bytes()).map_err(|_| Refusal::Unasked)?;
        waiting.send(response).map_err(|_| Refusal::Unasked)
    }
}

impl Home for LegacyToModern {
    fn notify(&self, child: &Arc<Child>, message: &Message, method: &str) -> Pressure {
        if let Some(at) = subscription_of(message, message.params()) {
            let number = at.id.as_ref().and_then(Id::own)?;
            return child.put(number, Frame::Message(message.line(&[]))).flatten();
        }
        let call = match method {
            "notifications/message" => child.hearing(level_of(message)),
            _ => child.only(),
        };
        let line = message.line(&[]);
        match call {
            Some(call) => child.put(call, Frame::Message(line)).flatten(),
            None => self.session().and_then(|session| session.send(line, None)),
        }
    }

    fn ask(&self, child: &Arc<Child>, _message: &Message, id: &Id, method: &str) -> Result<Pressure, Unanswered> {
        if method == "ping" && child.answer(0, id.key(), |id| reply::result(id, "{}")) {
            return Ok(None);
        }
        Err(Unanswered::Nobody)
    }

    fn take_back(&self, _child: &Arc<Child>, _message: &Message, _id: &Key) {}

    fn ended(&self, _child: &Arc<Child>, end: &End) {
        // A call may be waiting for its client just now, and not for the server.
        let (running, listening) = {
            let mut state = self.lock();
            state.asked.clear();
            (std::mem::take(&mut state.running), state.listening.take())
        };
        for running in running.into_values() {
            running.stop.cancel();
            running.stream.put(Failure::Ended(end.clone()).answer(&running.id));
        }
        if let Some(listening) = listening {
            listening.cancel();
        }
        if let Some(session) = self.session() {
            session.close(end);
        }
    }
}
