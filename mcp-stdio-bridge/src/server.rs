//! One stdio server: its sessions, its processes, and how requests of either era come to them.
//!
//! A session is opened with the client's own `initialize`, which no process has been asked anything before. Only if the
//! server refuses it is the server asked whether it speaks the modern era ([`era`](crate::era)), and then the session
//! is [translated](crate::translate::legacy_to_modern). A modern request goes to a process of its own era if the server
//! speaks it ([`modern`](crate::modern)), else it is [translated](crate::translate::modern_to_legacy).

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::caller::{Caller, CallerKey};
use crate::child::{Answers, Child, End, First, Refusal, Wants};
use crate::command::Command;
use crate::config::{Limits, Share};
use crate::era::{Eras, Probed, probe};
use crate::events::EventStore;
use crate::message::{self, Id, Member, Message, reply};
use crate::modern::{Found, Modern};
use crate::session::table::{Bounds, Table};
use crate::session::{Parts, Session};
use crate::shared::Shared;
use crate::start::{OpenError, Opening, Starter};
use crate::stream::Frame;
use crate::tools::Tools;
use crate::translate::legacy_to_modern::LegacyToModern;
use crate::translate::modern_to_legacy::{ModernToLegacy, NotTaken};
use crate::versions::Version;

/// How often what is not used is looked for, at least and at most.
const SWEEP: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How often a bridge that drains looks whether it is done.
const LOOK: Duration = Duration::from_millis(20);

/// One server.
#[derive(Debug)]
pub(crate) struct Server {
    share: Share,
    limits: Arc<Limits>,
    /// The member of `_meta` that tells the server who calls.
    caller_meta: Option<String>,
    store: Arc<dyn EventStore>,
    sessions: Arc<Table>,
    starter: Arc<Starter>,
    eras: Arc<Eras>,
    modern: Modern,
    translated: ModernToLegacy,
    shared: Mutex<HashMap<SharedBy, Arc<Place>>>,
    tools: Tools,
    number: AtomicU64,
    sweeping: AtomicBool,
    draining: AtomicBool,
}

/// Who may share a process: a user's sessions or everybody's, and only clients that can do the same.
type SharedBy = (CallerKey, String);

/// Where the shared process is, and who starts it.
type Place = tokio::sync::Mutex<Option<Arc<Shared>>>;

/// What a server is made of.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) name: String,
    pub(crate) command: Command,
    pub(crate) share: Share,
    pub(crate) limits: Limits,
    pub(crate) caller_meta: Option<String>,
    pub(crate) store: Arc<dyn EventStore>,
}

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// The last start has failed.
    Failing,
    /// There is no room for another session.
    Full,
    Stopping,
}

impl Server {
    pub(crate) fn new(configuration: Configuration) -> Arc<Self> {
        let limits = Arc::new(configuration.limits);
        let name = configuration.name.into();
        let starter = Arc::new(Starter::new(name, configuration.command, Arc::clone(&limits)));
        let eras: Arc<Eras> = Arc::default();
        Arc::new(Self {
            share: configuration.share,
            caller_meta: configuration.caller_meta,
            store: configuration.store,
            sessions: Arc::new(Table::new(starter.meter().clone())),
            modern: Modern::new(Arc::clone(&starter), Arc::clone(&eras)),
            translated: ModernToLegacy::new(Arc::clone(&starter), Arc::clone(&eras)),
            shared: Mutex::default(),
            tools: Tools::default(),
            number: AtomicU64::new(1),
            sweeping: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            starter,
            eras,
            limits,
        })
    }

    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    pub(crate) fn sessions(&self) -> &Table {
        &self.sessions
    }

    pub(crate) fn tools(&self) -> &Tools {
        &self.tools
    }

    /// By what callers are told apart. It is the same where processes are shared: a session is its owner's all the same.
    pub(crate) fn owner(caller: Option<&Caller>) -> CallerKey {
        caller.map(Caller::key)
    }

    /// The callers that may share a process.
    fn isolation(&self, caller: Option<&Caller>) -> CallerKey {
        match self.share {
            Share::Shared => None,
            Share::PerSession | Share::PerUser => caller.map(Caller::key),
        }
    }

    /// How the server is, without starting anything.
    pub(crate) fn readiness(&self) -> Readiness {
        if self.is_stopping() {
            Readiness::Stopping
        } else if self.starter.is_failing() {
            Readiness::Failing
        } else if self.sessions.len() >= self.limits.max_sessions {
            Readiness::Full
        } else {
            Readiness::Ready
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.draining.load(Ordering::Relaxed) || self.starter.is_stopping()
    }

    /// Starts what is to be there before anybody asks.
    pub(crate) fn warm_up(self: &Arc<Self>) {
        self.starter.refill();
    }

    /// A session of the caller's that is open.
    pub(crate) fn session(&self, id: &str, caller: Option<&Caller>) -> Option<Arc<Session>> {
        self.sessions.get(id, &Self::owner(caller))
    }

    /// Opens a session for the client that has sent this `initialize`: with it comes the server's answer.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, what was started for the session is ended.
    pub(crate) async fn open(
        self: &Arc<Self>,
        request: &Message,
        caller: Option<&Caller>,
    ) -> Result<(Arc<Session>, String), OpenError> {
        if self.is_stopping() {
            return Err(OpenError::Stopping);
        }
        let owner = Self::owner(caller);
        let bounds = Bounds {
            all: self.limits.max_sessions,
            per_caller: self.limits.max_sessions_per_caller,
        };
        self.sessions.room(&owner, bounds).map_err(OpenError::Full)?;
        self.sweep_from_now_on();
        let (session, line) = if self.eras.legacy() == Some(false) {
            self.open_translated(request, caller, owner).await?
        } else {
            let opened = match self.share {
                Share::PerSession => self.open_alone(request, caller, owner.clone()).await,
                Share::PerUser | Share::Shared => self.open_shared(request, caller, owner.clone()).await,
            };
            match opened {
                Err(OpenError::Refused(line)) if self.eras.legacy().is_none() => {
                    match self.open_translated(request, caller, owner).await {
                        Ok(opened) => {
                            self.eras.set_legacy(false);
                            opened
                        }
                        // Then it was the client's `initialize` that the server did not like.
                        Err(_) => return Err(OpenError::Refused(line)),
                    }
                }
                opened => opened?,
            }
        };
        session.agreed(version_of(&line));
        self.sessions.insert(&session);
        tracing::info!(
            session = session.label(),
            of = session.child().label(),
            "a session was opened"
        );
        Ok((session, line))
    }

    async fn open_alone(
        &self,
        request: &Message,
        caller: Option<&Caller>,
        owner: CallerKey,
    ) -> Result<(Arc<Session>, String), OpenError> {
        let child = match self.starter.start(caller, true) {
            Err(OpenError::Processes(_)) if self.make_room() => self.starter.start_soon(caller, true).await?,
            started => started?,
        };
        let session = self.new_session(Arc::clone(&child), true, owner);
        let home: Weak<Session> = Arc::downgrade(&session);
        child.serve(home);
        let opening = Opening::of(child);
        let line = self.handshake(session.child(), request, session.number()).await?;
        opening.done();
        Ok((session, line))
    }

    async fn open_shared(
        &self,
        request: &Message,
        caller: Option<&Caller>,
        owner: CallerKey,
    ) -> Result<(Arc<Session>, String), OpenError> {
        let capabilities = request.params().map(|params| {
            let [capabilities] = request.members(params, ["capabilities"]);
            capabilities.map(|capabilities| request.text(&capabilities).to_owned())
        });
        let by = (self.isolation(caller), capabilities.flatten().unwrap_or_default());
        let place = {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(shared.entry(by).or_default())
        };
        let mut place = place.lock().await;
        let current = place.as_ref().filter(|shared| shared.child().is_open()).cloned();
        let shared = if let Some(shared) = current {
            shared
        } else {
            let child = self.starter.start_soon(caller, false).await?;
            let opening = Opening::of(Arc::clone(&child));
            let line = self.handshake(&child, request, 0).await?;
            opening.done();
            let message = Message::parse(line.into_bytes()).map_err(|_| OpenError::Abandoned)?;
            let shared = Shared::new(child, message.outcome().unwrap_or("{}").into());
            *place = Some(Arc::clone(&shared));
            shared
        };
        let session = self.new_session(Arc::clone(shared.child()), false, owner);
        shared.join(&session);
        session.translate(Arc::new(crate::shared::Member::new(Arc::clone(&shared), &session)));
        let line = reply::result(request.id().map_or("null", Id::raw), shared.initialized());
        Ok((session, line))
    }

    async fn open_translated(
        &self,
        request: &Message,
        caller: Option<&Caller>,
        owner: CallerKey,
    ) -> Result<(Arc<Session>, String), OpenError> {
        let mut probed = probe(&self.starter, &self.eras, caller, true).await?;
        if let Probed::Silent(silent) = probed {
            probed = silent.listen(self.limits.handshake_timeout).await;
        }
        let Probed::Modern(server) = probed else {
            let text = "the server speaks no version of the protocol that is known here";
            return Err(OpenError::Refused(reply::error(
                request.id().map(Id::raw),
                reply::INTERNAL_ERROR,
                text,
            )));
        };
        let child = Arc::clone(&server.child);
        let translator = LegacyToModern::new(server, request);
        let session = self.new_session(child, true, owner);
        translator.belongs_to(&session);
        let line = translator.initialized(request);
        session.translate(translator);
        Ok((session, line))
    }

    fn new_session(&self, child: Arc<Child>, alone: bool, owner: CallerKey) -> Arc<Session> {
        let parts = Parts {
            number: self.number.fetch_add(1, Ordering::Relaxed),
            owner,
            child,
            alone,
            store: Arc::clone(&self.store),
        };
        Session::new(Uuid::new_v4().to_string().into(), parts, &self.limits)
    }

    /// Hands a process the client's `initialize`: its answer, if it is a good one.
    async fn handshake(&self, child: &Arc<Child>, request: &Message, session: u64) -> Result<String, OpenError> {
        let limit = self.limits.handshake_timeout;
        let handshake = async {
            let wants = Wants {
                session,
                ..Wants::default()
            };
            let mut answers = child.call(request, wants).await.ok()?;
            match answers.first_within(limit).await {
                First::Answer(frame) => Some(frame),
                First::Stream => None,
            }
        };
        let answer = timeout(limit, handshake).await.ok().flatten();
        let (Some(Frame::Answer { line, error }), true) = (answer, child.is_open()) else {
            let end = child.end().unwrap_or(End::HandshakeTimeout("initialize", limit));
            return Err(self.starter.start_failed(child, end).await);
        };
        self.starter.succeeded();
        if error.is_some() {
            child.close(&End::HandshakeRefused);
            return Err(OpenError::Refused(line));
        }
        self.eras.set_legacy(true);
        Ok(line)
    }

    /// Takes a request of the modern era.
    pub(crate) async fn request(
        self: &Arc<Self>,
        request: &Message,
        caller: Option<&Caller>,
    ) -> Result<Answers, NotTaken> {
        if self.is_stopping() {
            return Err(OpenError::Stopping.into());
        }
        self.sweep_from_now_on();
        let key = self.isolation(caller);
        if !self.starter.has_room() && self.eras.modern() != Some(false) && !self.modern.is_running(&key) {
            self.make_room();
        }
        let server = match self.modern.child(&key, caller).await? {
            Found::Modern(server) => server,
            Found::Legacy => return self.translated.call(request, &key, caller).await,
            Found::Undecided(undecided) => {
                let patience = self.limits.handshake_timeout;
                let decided = undecided.decide(patience);
                let translated = self.translated.call(request, &key, caller);
                // Until one of the two processes has said something, the request has gone to neither.
                let mut decided = pin!(decided);
                let mut translated = pin!(translated);
                tokio::select! {
                    server = &mut decided => match server {
                        Some(server) => server,
                        None => return translated.await,
                    },
                    taken = &mut translated => match taken {
                        Ok(answers) => {
                            self.eras.presume(true);
                            return Ok(answers);
                        }
                        Err(error) => decided.await.ok_or(error)?,
                    },
                }
            }
        };
        let level = match request.request_meta() {
            Ok(said) => said.log_level.and_then(message::text_of),
            Err(_) => None,
        };
        let told = self.told(request, caller);
        let wants = Wants {
            level: level.as_deref().and_then(crate::child::calls::Level::named),
            edits: told
                .iter()
                .map(|(member, text)| (member.clone(), text.as_str()))
                .collect(),
            ..Wants::default()
        };
        Ok(server.child.call(request, wants).await?.cancels())
    }

    /// Takes a request in a session.
    pub(crate) async fn call(
        &self,
        session: &Session,
        request: &Message,
        caller: Option<&Caller>,
    ) -> Result<Answers, Refusal> {
        let told = self.told(request, caller);
        let edits = told
            .iter()
            .map(|(member, text)| (member.clone(), text.as_str()))
            .collect();
        let wants = Wants {
            edits,
            ..Wants::default()
        };
        session.call(request, wants).await
    }

    /// What is put into a request to tell the server who calls.
    fn told(&self, request: &Message, caller: Option<&Caller>) -> Option<(Member, String)> {
        let name = self.caller_meta.as_deref()?;
        let value = caller.map_or_else(|| "null".to_owned(), Caller::json);
        let entry = format!("{}:{value}", serde_json::Value::from(name));
        let Some(params) = request.params() else {
            let params = format!(r#"{{"_meta":{{{entry}}}}}"#);
            return Some(match request.params_member() {
                Some(at) => (at, params),
                None => (request.start(), format!(r#""params":{params},"#)),
            });
        };
        let [about] = request.members(params, ["_meta"]);
        let comma = |object: &str| if message::is_empty(object) { "" } else { "," };
        let Some(about) = about else {
            return Some((
                request.start_of(params),
                format!(r#""_meta":{{{entry}}}{}"#, comma(params)),
            ));
        };
        let inside = request.text(&about);
        if !inside.starts_with('{') {
            return None;
        }
        // What a client says here of its caller is not what the layer in front knows.
        let claims = message::entries(inside);
        let claimed = claims.iter().find(|(claimed, _)| claimed == name);
        match claimed {
            Some((_, value)) => Some((
                request.place_of(value),
                caller.map_or_else(|| "null".to_owned(), Caller::json),
            )),
            None => Some((request.start_of(inside), format!("{entry}{}", comma(inside)))),
        }
    }

    /// Ends a process that nobody uses, for another to be started.
    fn make_room(&self) -> bool {
        let idle = |child: &Arc<Child>| Some((child.idle_since()?, Arc::clone(child)));
        let unused = self.translated.unused().into_iter().chain(self.modern.children());
        let oldest = unused.filter_map(|child| idle(&child)).min_by_key(|(since, _)| *since);
        let Some((_, child)) = oldest else { return false };
        child.close(&End::Evicted);
        true
    }

    /// Looks for what is not used any more, from the first use on.
    fn sweep_from_now_on(self: &Arc<Self>) {
        if self.sweeping.swap(true, Ordering::Relaxed) {
            return;
        }
        let server = Arc::downgrade(self);
        let pause = self
            .limits
            .idle_timeout
            .map_or(SWEEP.1, |idle| (idle / 8).clamp(SWEEP.0, SWEEP.1));
        let stopped = self.starter.stopped();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sleep(pause) => {}
                    () = stopped.cancelled() => return,
                }
                let Some(server) = server.upgrade() else { return };
                server.sweep();
            }
        });
    }

    fn sweep(&self) {
        self.sessions.sweep(self.limits.idle_timeout);
        let now = Instant::now();
        if let Some(limit) = self.limits.idle_timeout {
            let shared = self.shared_processes();
            let unused = self
                .translated
                .unused()
                .into_iter()
                .chain(self.modern.children())
                .chain(shared);
            for child in unused {
                if child.idle_since().is_some_and(|since| since + limit <= now) {
                    child.close(&End::Idle);
                }
            }
        }
        self.translated.sweep();
        self.modern.sweep();
        if self.translated.children().is_empty() {
            self.eras.presume(false);
        }
    }

    /// The shared processes in which no session is left.
    fn shared_processes(&self) -> Vec<Arc<Child>> {
        let mut places = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unused = Vec::new();
        places.retain(|_, place| {
            let Ok(shared) = place.try_lock() else { return true };
            let Some(shared) = shared.as_ref().filter(|shared| shared.child().is_open()) else {
                return false;
            };
            if !shared.is_used() {
                unused.push(Arc::clone(shared.child()));
            }
            true
        });
        unused
    }

    /// How many requests are in flight.
    fn in_flight(&self) -> usize {
        let sessions = self.sessions.children();
        let children = sessions
            .into_iter()
            .chain(self.modern.children())
            .chain(self.translated.children());
        children.map(|child| child.in_flight()).sum()
    }

    /// Ends the server: nothing new is taken, what is in flight may end within the time set for it, then everything is
    /// ended. Returns when the last process is gone.
    pub(crate) async fn shutdown(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.translated.finish();
        for child in self.modern.children() {
            child.finish_listening();
        }
        let until = Instant::now() + self.limits.drain_timeout;
        while self.in_flight() > 0 && Instant::now() < until && !self.starter.is_stopping() {
            sleep(LOOK).await;
        }
        self.stop();
        self.starter.tasks().wait().await;
    }

    /// Ends everything at once, without waiting.
    pub(crate) fn stop(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.sessions.end_all(&End::Shutdown);
        self.starter.stop();
    }
}

/// The version that the answer to `initialize` names.
fn version_of(line: &str) -> Version {
    let Ok(message) = Message::parse(line.as_bytes().to_vec()) else {
        return Version::default();
    };
    let [version] = message.members(message.outcome().unwrap_or_default(), ["protocolVersion"]);
    let version =
        version.and_then(|version| message::text_of(message.text(&version)).map(std::borrow::Cow::into_owned));
    version.map_or_else(Version::default, |version| Version::named(&version))
}
