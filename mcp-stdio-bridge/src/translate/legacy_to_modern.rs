//! A client with a session and a server of the modern era.
//!
//! `initialize` is answered from what the server says at `server/discover`, and what the client says there of itself
//! goes with each of its requests from then on. When the server answers that it needs input, its questions become
//! requests to the client, and the call is made again with the answers; the client sees one call and one answer.
//!
//! Of the methods that the modern era has given up, `ping` and `logging/setLevel` are answered here. Subscriptions to
//! resources and the changes of lists become one `subscriptions/listen`, made anew when they change; what it brings
//! goes to the session's event stream.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Changes, capability_of, declares, envelope, error, is_input_required, missing};
use crate::child::calls::Level;
use crate::child::{Answers, Child, End, Failure, Home, Refusal, Unanswered, Wants, subscription_of};
use crate::era::{Discovered, client_info, own};
use crate::message::{self, Id, Key, Kind, Message, meta, reply};
use crate::modern::level_of;
use crate::session::{Session, Translator};
use crate::stream::{Frame, Numbered, Pressure, Stream};
use crate::versions::{LEGACY, MODERN};

/// A server that asks again and again is not served for ever.
const ROUNDS: usize = 8;
/// How long a client may take to answer.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// A server that only wants to be called again gets this much time.
const PAUSE: Duration = Duration::from_millis(500);

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

/// A call of the client that is made, perhaps for the second time.
#[derive(Debug)]
struct Running {
    id: Id,
    stop: CancellationToken,
    stream: Arc<Stream>,
}

impl LegacyToModern {
    /// For the client that has sent this `initialize`.
    pub(crate) fn new(server: Discovered, initialize: &Message) -> Arc<Self> {
        let said = initialize.params().unwrap_or("{}");
        let found = message::members(said, ["clientInfo", "capabilities"]).unwrap_or([None; 2]);
        let [info, capabilities] = found.map(|found| found.map(|found| found.get().to_owned()));
        let shim = Arc::new_cyclic(|me| Self {
            client_info: info.unwrap_or_else(client_info),
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

    /// A request with what the modern era wants of it, and with the answers to what the server has asked.
    fn wrapped(&self, request: &Message, input: Option<&Input>) -> Message {
        let level = self.lock().level.clone();
        let members = envelope(MODERN, &self.client_info, &self.capabilities, level.as_deref());
        let mut input = input.map(Input::members).unwrap_or_default();
        let mut changes = Changes::default();
        let comma = if input.is_empty() { "" } else { "," };
        if let Some(params) = request.params() {
            let [about] = request.members(params, ["_meta"]);
            match about.as_ref().map(|about| request.text(about)) {
                Some(about) if about.starts_with('{') => changes.insert(request, about, members),
                // A `_meta` that is none the server has to refuse, as the client's own.
                Some(_) => {}
                None => {
                    let _ = write!(input, r#"{comma}"_meta":{{{members}}}"#);
                }
            }
            changes.insert(request, params, input);
        } else {
            let params = format!(r#"{{"_meta":{{{members}}}{comma}{input}}}"#);
            match request.params_member() {
                Some(at) => changes.replace(at, params),
                None => changes.replace(request.start(), format!(r#""params":{params},"#)),
            }
        }
        own(changes.line(request))
    }

    /// Makes a call until it has an answer.
    async fn converse(self: Arc<Self>, request: Message, number: u64, stop: CancellationToken, stream: Arc<Stream>) {
        let answer = tokio::select! {
            answer = self.rounds(&request, &stream) => answer,
            () = stop.cancelled() => None,
        };
        self.lock().running.remove(&number);
        if let Some(answer) = answer {
            stream.put(answer);
        }
    }

    async fn rounds(&self, request: &Message, stream: &Arc<Stream>) -> Option<Frame> {
        let id = request.id()?;
        let level = self.lock().level.as_deref().and_then(Level::named);
        let mut input = None;
        for _ in 0..ROUNDS {
            let wants = Wants {
                level,
                ..Wants::default()
            };
            let wrapped = self.wrapped(request, input.as_ref());
            let mut answers = match self.child().call(&wrapped, wants).await {
                // Given up when the client takes its own request back.
                Ok(answers) => answers.cancels(),
                Err(refusal) => return Some(error(id.raw(), reply::OVERLOADED, &refusal.to_string())),
            };
            let answer = loop {
                match answers.next().await? {
                    Numbered {
                        frame: answer @ Frame::Answer { .. },
                        ..
                    } => break answer,
                    Numbered { frame, .. } => {
                        stream.put(frame);
                    }
                }
            };
            let message = Message::parse(answer.line().as_bytes().to_vec()).ok()?;
            if !is_input_required(&message) {
                return Some(Self::translated(&message, answer, request.method()));
            }
            input = match self.ask(&message, id, stream).await {
                Ok(input) => Some(input),
                Err(frame) => return Some(frame),
            };
        }
        let text = "the server asked for more input than one request may need";
        Some(error(id.raw(), reply::INTERNAL_ERROR, text))
    }

    /// A resource that is not there has a code of its own in this era.
    fn translated(message: &Message, answer: Frame, method: Option<&str>) -> Frame {
        let Frame::Answer { error: Some(code), .. } = &answer else {
            return answer;
        };
        if method != Some("resources/read") || *code != i64::from(reply::INVALID_PARAMS) {
            return answer;
        }
        let outcome = message.outcome().unwrap_or_default();
        let [code, data] = message.members(outcome, ["code", "data"]);
        let about_uri = data.is_some_and(|data| declares(message.text(&data), "uri"));
        let (Some(code), true) = (code, about_uri) else {
            return answer;
        };
        let mut changes = Changes::default();
        changes.replace(code, reply::RESOURCE_NOT_FOUND.to_string());
        Frame::Answer {
            line: changes.line(message),
            error: Some(reply::RESOURCE_NOT_FOUND.into()),
        }
    }

    /// Asks the client what the server wants to know. The error is the answer to the call.
    async fn ask(&self, required: &Message, id: &Id, stream: &Arc<Stream>) -> Result<Input, Frame> {
        let result = required.outcome().unwrap_or_default();
        let [requests, state] = required.members(result, ["inputRequests", "requestState"]);
        let state = state.map(|state| required.text(&state).to_owned());
        let requests = requests
            .map(|requests| message::entries(required.text(&requests)))
            .unwrap_or_default();
        if requests.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        let mut waiting = Vec::new();
        for (name, request) in requests {
            let found = message::members(request.get(), ["method", "params"]).unwrap_or([None; 2]);
            let [method, params] = found.map(|found| found.map(serde_json::value::RawValue::get));
            let method = method.and_then(message::text_of).unwrap_or_default();
            match capability_of(&method) {
                Some(capability) if declares(&self.capabilities, capability) => {}
                Some(capability) => return Err(missing(id.raw(), capability)),
                None => {
                    let text = format!("the server asked for `{method}`, which clients cannot be asked for");
                    return Err(error(id.raw(), reply::INTERNAL_ERROR, &text));
                }
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let (sender, receiver) = oneshot::channel();
            self.lock().asked.insert(number, sender);
            let asked = Asked {
                shim: self.me.clone(),
                number,
            };
            stream.put(Frame::Message(format!(
                r#"{{"jsonrpc":"2.0","id":{number},"method":"{method}","params":{}}}"#,
                params.unwrap_or("{}").replace(['\n', '\r'], " "),
            )));
            waiting.push((name, method.into_owned(), receiver, asked));
        }
        let mut responses = Vec::new();
        for (name, method, receiver, _asked) in waiting {
            let text = match timeout(PATIENCE, receiver).await {
                Ok(Ok(response)) => {
                    let outcome = response.outcome().unwrap_or("{}").to_owned();
                    if matches!(response.kind(), Kind::Response { failed: false, .. }) {
                        responses.push((name, outcome));
                        continue;
                    }
                    format!("the client answered `{method}` with the error {outcome}")
                }
                _ => format!("the client did not answer `{method}` in time"),
            };
            return Err(error(id.raw(), reply::INTERNAL_ERROR, &text));
        }
        Ok(Input { responses, state })
    }

    /// Hears what the server says has changed, as far as it can and the client has asked.
    fn listen(self: &Arc<Self>) {
        let said: serde_json::Value = serde_json::from_str(&self.server.result).unwrap_or_default();
        let can = |what: &str, how: &str| said["capabilities"][what][how] == true;
        let (resources, previous, stop) = {
            let mut state = self.lock();
            if !state.ready {
                return;
            }
            let stop = CancellationToken::new();
            let previous = state.listening.replace(stop.clone());
            (state.resources.clone(), previous, stop)
        };
        let mut wanted = serde_json::Map::new();
        for (what, name) in [
            ("tools", "toolsListChanged"),
            ("prompts", "promptsListChanged"),
            ("resources", "resourcesListChanged"),
        ] {
            if can(what, "listChanged") {
                wanted.insert(name.to_owned(), true.into());
            }
        }
        if !resources.is_empty() {
            wanted.insert("resourceSubscriptions".to_owned(), resources.into_iter().collect());
        }
        if wanted.is_empty() {
            if let Some(previous) = previous {
                previous.cancel();
            }
            return;
        }
        let wanted = serde_json::Value::Object(wanted);
        let request = own(format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"subscriptions/listen","params":{{"notifications":{wanted}}}}}"#
        ));
        let request = self.wrapped(&request, None);
        let shim = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(answers) = shim.child().call(&request, Wants::default()).await else {
                return;
            };
            let mut answers = answers.cancels();
            let mut previous = previous;
            loop {
                let next = tokio::select! {
                    next = answers.next() => next,
                    () = stop.cancelled() => None,
                };
                let Some(Numbered {
                    frame: Frame::Message(line),
                    ..
                }) = next
                else {
                    return;
                };
                let Ok(message) = Message::parse(line.into_bytes()) else {
                    continue;
                };
                if message.method() == Some("notifications/subscriptions/acknowledged") {
                    // Not before the new one hears is the old one given up.
                    if let Some(previous) = previous.take() {
                        previous.cancel();
                    }
                    continue;
                }
                if let Some(session) = shim.session() {
                    session.send(untagged(&message), None);
                }
            }
        });
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

/// A question that is forgotten when nobody waits for its answer.
#[derive(Debug)]
struct Asked {
    shim: Weak<LegacyToModern>,
    number: u64,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(shim) = self.shim.upgrade() {
            shim.lock().asked.remove(&self.number);
        }
    }
}

/// What a call is made again with.
#[derive(Debug)]
struct Input {
    /// Raw, by name.
    responses: Vec<(String, String)>,
    /// Raw.
    state: Option<String>,
}

impl Input {
    /// As members of `params`.
    fn members(&self) -> String {
        let responses: Vec<_> = self
            .responses
            .iter()
            .map(|(name, response)| format!("{}:{response}", serde_json::Value::from(name.as_str())))
            .collect();
        let mut members = format!(r#""inputResponses":{{{}}}"#, responses.join(","));
        if let Some(state) = &self.state {
            let _ = write!(members, r#","requestState":{state}"#);
        }
        members
    }
}

/// A notification without the subscription that it came by.
fn untagged(message: &Message) -> String {
    let about = message.params().and_then(|params| {
        let [about] = message.members(params, ["_meta"]);
        about
    });
    let Some(about) = about else { return message.line(&[]) };
    let kept: Vec<_> = message::entries(message.text(&about))
        .into_iter()
        .filter(|(name, _)| name != meta::SUBSCRIPTION_ID)
        .map(|(name, value)| format!("{}:{}", serde_json::Value::from(name), value.get()))
        .collect();
    let mut changes = Changes::default();
    changes.replace(about, format!("{{{}}}", kept.join(",")));
    changes.line(message)
}
