//! A client of the modern era and a server that has to be initialized.
//!
//! Each request gets a process that was initialized with what the request says of its client ([`pool`](super::pool)),
//! is stripped of what only the modern era knows, and has what the modern era asks for put into its result: the type,
//! the hints for caches (nothing may be kept), the server's name. `server/discover` is answered from what the server
//! said at `initialize`; `subscriptions/listen` becomes a stream that hears what the server says has changed.
//!
//! What the server asks in a call is the call's result: `input_required`, with a state that finds the call again. The
//! call waits, the process with it, until the client repeats its request with the answers, or has not for too long.

mod filter;
mod messages;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::filter::Filter;
use self::messages::{answered, discovered, is_tool_error, name_of, server_info, strip};
pub(super) use self::messages::{listened, tagged};
use super::pool::{For, Lease, Listener, Pool};
use super::request_state::{Bound, Seal, Unknown};
use super::{error, missing};
use crate::caller::{Caller, CallerKey};
use crate::child::calls::{Kind as CallKind, Level};
use crate::child::{Answers, Child, Refusal, Unanswered, Wants};
use crate::era::{Eras, client_info, own};
use crate::message::{self, Id, Key, Kind, Message, meta, reply};
use crate::start::{OpenError, Starter};
use crate::stream::{Frame, Numbered, Stream};

/// How many calls can wait for their clients.
const PARKED: usize = 256;
/// What comes this soon after a question belongs to it.
const TOGETHER: Duration = Duration::from_millis(10);

/// Why a request gets no answer from a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    State(#[from] Unknown),
    #[error("the parameters of `subscriptions/listen` name no notifications")]
    Filter,
}

/// Brings requests of the modern era to a server of the other.
#[derive(Debug)]
pub(crate) struct ModernToLegacy {
    pool: Pool,
    starter: Arc<Starter>,
    seal: Arc<Seal>,
    parked: Arc<Mutex<HashMap<u64, oneshot::Sender<Resumed>>>>,
    next: AtomicU64,
}

/// A client comes back with its answers.
#[derive(Debug)]
struct Resumed {
    /// Raw.
    responses: String,
    id: Id,
    stream: Arc<Stream>,
    stop: CancellationToken,
}

impl ModernToLegacy {
    pub(crate) fn new(starter: Arc<Starter>, eras: Arc<Eras>) -> Self {
        Self {
            pool: Pool::new(Arc::clone(&starter), eras),
            starter,
            seal: Arc::default(),
            parked: Arc::default(),
            next: AtomicU64::new(1),
        }
    }

    /// The processes that nobody uses now.
    pub(crate) fn unused(&self) -> Vec<Arc<Child>> {
        self.pool.unused()
    }

    /// Every process that runs.
    pub(crate) fn children(&self) -> Vec<Arc<Child>> {
        self.pool.children()
    }

    pub(crate) fn sweep(&self) {
        self.pool.sweep();
    }

    /// Ends the streams that hear of changes.
    pub(crate) fn finish(&self) {
        self.pool.finish();
    }

    /// Takes a request.
    pub(crate) async fn call(
        &self,
        request: &Message,
        key: &CallerKey,
        caller: Option<&Caller>,
    ) -> Result<Answers, NotTaken> {
        let (Kind::Request { id, method }, Ok(said)) = (request.kind(), request.request_meta()) else {
            return Err(Refusal::Unasked.into());
        };
        if let Some(state) = request.param_text("requestState") {
            return self.resume(request, id, method, key, &state).map_err(NotTaken::from);
        }
        let of = For {
            caller: key.clone(),
            client_info: said
                .client_info
                .map_or_else(|| client_info().to_string().into(), Arc::from),
            capabilities: said.capabilities.unwrap_or("{}").into(),
        };
        let group = self.pool.group(of);
        let exclusive = CallKind::of(method) == CallKind::Asking && group.of.can_be_asked();
        let lease = group.lease(caller, exclusive).await?;

        let (stream, reader) = Stream::new();
        let stop = CancellationToken::new();
        let answers = Answers::translated(id.clone(), reader, stop.clone());
        match method.as_str() {
            "server/discover" => {
                stream.put(discovered(id.raw(), &lease.member.initialized));
                return Ok(answers);
            }
            "subscriptions/listen" => {
                self.listen(request, id, lease, stream, stop)?;
                return Ok(answers);
            }
            _ => {}
        }
        let level_name = said.log_level.and_then(message::text_of);
        let level = level_name.as_deref().and_then(Level::named);
        lease.member.log(level, level_name.as_deref());
        let stripped = own(strip(request));
        let wants = Wants {
            level,
            ..Wants::default()
        };
        let upstream = lease.member.child.call(&stripped, wants).await?.cancels();
        let conversation = Conversation {
            id: id.clone(),
            method: method.clone(),
            name: name_of(request),
            lease,
            upstream,
            stream,
            stop,
            pending: Vec::new(),
            missing: None,
            asked: 0,
            answer: None,
        };
        let parking = Parking {
            parked: Arc::clone(&self.parked),
            number: self.next.fetch_add(1, Ordering::Relaxed),
        };
        tokio::spawn(conversation.run(parking, self.seal.clone(), self.starter.limits().input_timeout));
        Ok(answers)
    }

    /// A client repeats its request.
    fn resume(
        &self,
        request: &Message,
        id: &Id,
        method: &str,
        key: &CallerKey,
        state: &str,
    ) -> Result<Answers, Unknown> {
        let name = name_of(request);
        let bound = Bound {
            caller: key.as_deref(),
            method,
            name: &name,
        };
        let number = self.seal.open(state, bound)?;
        let waiting = self.lock().remove(&number).ok_or(Unknown)?;
        let responses = request.params().map(|params| {
            let [responses] = request.members(params, ["inputResponses"]);
            responses.map(|responses| request.text(&responses).to_owned())
        });
        let (stream, reader) = Stream::new();
        let stop = CancellationToken::new();
        let resumed = Resumed {
            responses: responses.flatten().unwrap_or_else(|| "{}".to_owned()),
            id: id.clone(),
            stream,
            stop: stop.clone(),
        };
        waiting.send(resumed).map_err(|_| Unknown)?;
        Ok(Answers::translated(id.clone(), reader, stop))
    }

    fn listen(
        &self,
        request: &Message,
        id: &Id,
        lease: Lease,
        stream: Arc<Stream>,
        stop: CancellationToken,
    ) -> Result<(), NotTaken> {
        let filter = Filter::read(request).ok_or(NotTaken::Filter)?;
        let (filter, methods) = filter.supported(&lease.member.initialized);
        stream.put(Frame::Message(format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"{}":{}}},"notifications":{filter}}}}}"#,
            meta::SUBSCRIPTION_ID,
            id.raw(),
        )));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lease.group.listeners.add(Listener {
            number,
            child: Arc::clone(&lease.member.child),
            id: id.raw().to_owned(),
            methods,
            uris: filter.uris.clone(),
            stream,
        });
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = lease.member.child.ended() => {}
            }
            lease.group.listeners.remove(number);
        });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Resumed>>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a call's place among those that wait away again, however the call ends.
#[derive(Debug)]
struct Parking {
    parked: Arc<Mutex<HashMap<u64, oneshot::Sender<Resumed>>>>,
    number: u64,
}

impl Parking {
    /// Waits for the client to come back; `None` where there is no room for another.
    fn wait(&self) -> Option<oneshot::Receiver<Resumed>> {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        if parked.len() >= PARKED {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        parked.insert(self.number, sender);
        Some(receiver)
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        parked.remove(&self.number);
    }
}

/// One call, over as many rounds as it takes.
struct Conversation {
    /// Of the client's request that is open now, or was the last.
    id: Id,
    method: String,
    name: String,
    lease: Lease,
    upstream: Answers,
    stream: Arc<Stream>,
    stop: CancellationToken,
    /// What the server has asked and the client has not answered.
    pending: Vec<Pending>,
    /// What the server has asked that the client cannot do.
    missing: Option<&'static str>,
    asked: u64,
    /// The answer, come while nobody was there to take it.
    answer: Option<(String, Option<i64>)>,
}

/// A question of the server.
struct Pending {
    /// Its name among the client's.
    name: String,
    id: Key,
    method: String,
    /// Raw.
    params: String,
}

impl Conversation {
    async fn run(mut self, parking: Parking, seal: Arc<Seal>, life: Duration) {
        loop {
            let next = tokio::select! {
                next = self.upstream.next() => next,
                () = self.stop.cancelled() => return,
            };
            match next {
                Some(Numbered {
                    frame: Frame::Answer { line, error },
                    ..
                }) => {
                    self.finish(line, error);
                    return;
                }
                Some(Numbered {
                    frame: Frame::Message(message),
                    ..
                }) => self.take(message),
                None => return,
            }
            if !self.pending.is_empty() {
                self.gather().await;
            }
            while !self.pending.is_empty() && self.answer.is_none() {
                if self.round(&parking, &seal, life).await.is_none() {
                    for pending in &self.pending {
                        self.lease.member.child.refuse(&pending.id, Unanswered::TimedOut);
                    }
                    return;
                }
            }
            if let Some((line, error)) = self.answer.take() {
                self.finish(line, error);
                return;
            }
        }
    }

    /// Takes what the server asks together with its first question, which is what comes before it is quiet for a moment.
    async fn gather(&mut self) {
        while self.answer.is_none() {
            match timeout(TOGETHER, self.upstream.next()).await {
                Ok(Some(Numbered {
                    frame: Frame::Answer { line, error },
                    ..
                })) => self.answer = Some((line, error)),
                Ok(Some(Numbered {
                    frame: Frame::Message(line),
                    ..
                })) => self.take(line),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Asks the client what the server has asked, and waits for it to come back. `None` if it does not.
    async fn round(&mut self, parking: &Parking, seal: &Seal, life: Duration) -> Option<()> {
        let bound = Bound {
            caller: self.lease.group.of.caller.as_deref(),
            method: &self.method,
            name: &self.name,
        };
        let state = seal.seal(parking.number, bound, life);
        let waiting = parking.wait();
        let (Some(state), Some(mut waiting)) = (state, waiting) else {
            let text = "too many calls wait for their clients' answers";
            self.stream.put(error(self.id.raw(), reply::OVERLOADED, text));
            return None;
        };
        self.stream.put(self.input_required(&state));
        let displaced = CancellationToken::new();
        self.lease.park(&displaced);
        let until = Instant::now() + life;
        let resumed = loop {
            tokio::select! {
                resumed = &mut waiting => break resumed.ok(),
                next = self.upstream.next(), if self.answer.is_none() => match next {
                    Some(Numbered { frame: Frame::Answer { line, error }, .. }) => self.answer = Some((line, error)),
                    Some(Numbered { frame: Frame::Message(message), .. }) => self.take(message),
                    None => break None,
                },
                () = sleep_until(until) => break None,
                () = displaced.cancelled() => break None,
            }
        }?;
        self.lease.unpark();
        self.id = resumed.id;
        self.stream = resumed.stream;
        self.stop = resumed.stop;
        let child = &self.lease.member.child;
        self.pending.retain(|pending| {
            let answers = message::entries(&resumed.responses);
            let answer = answers.iter().find(|(name, _)| *name == pending.name);
            let Some((_, answer)) = answer.filter(|(_, answer)| answer.get().starts_with('{')) else {
                return true;
            };
            child.answer(0, &pending.id, |id| reply::result(id, answer.get()));
            false
        });
        Some(())
    }

    /// Something of the server that is not the answer.
    fn take(&mut self, line: String) {
        let Ok(message) = Message::parse(line.into_bytes()) else {
            return;
        };
        match message.kind() {
            Kind::Request { id, method } => {
                if let Err(capability) = self.lease.group.of.can_answer(method) {
                    self.missing = Some(capability).filter(|capability| !capability.is_empty());
                    self.lease.member.child.refuse(id.key(), Unanswered::Undeclared);
                    return;
                }
                self.asked += 1;
                let kind = method.split('/').next().unwrap_or_default();
                self.pending.push(Pending {
                    name: format!("{kind}-{}", self.asked),
                    id: id.key().clone(),
                    method: method.clone(),
                    params: message.params().unwrap_or("{}").to_owned(),
                });
            }
            Kind::Notification { method } if method == "notifications/cancelled" => {
                let id = message.param("requestId").and_then(|member| member.id);
                self.pending
                    .retain(|pending| id.as_ref().map(Id::key) != Some(&pending.id));
            }
            _ => {
                self.stream.put(Frame::Message(message.line(&[])));
            }
        }
    }

    fn input_required(&self, state: &str) -> Frame {
        let requests: Vec<_> = self
            .pending
            .iter()
            .map(
                |Pending {
                     name, method, params, ..
                 }| { format!(r#""{name}":{{"method":"{method}","params":{params}}}"#) },
            )
            .collect();
        let result = format!(
            r#"{{"resultType":"input_required","inputRequests":{{{}}},"requestState":"{state}","_meta":{{"{}":{}}}}}"#,
            requests.join(","),
            meta::SERVER_INFO,
            server_info(&self.lease.member.initialized),
        );
        let line = reply::result(self.id.raw(), &result).replace(['\n', '\r'], " ");
        Frame::Answer { line, error: None }
    }

    /// The answer, as the modern era has it.
    fn finish(&self, line: String, code: Option<i64>) {
        let Ok(message) = Message::parse(line.into_bytes()) else {
            return;
        };
        if let Some(capability) = self.missing
            && (code.is_some() || is_tool_error(&message))
        {
            self.stream.put(missing(self.id.raw(), capability));
            return;
        }
        self.stream.put(answered(
            &message,
            code,
            self.id.raw(),
            &self.method,
            &self.lease.member.initialized,
        ));
    }
}
