//! One stdio server: its sessions, its processes, and how requests of either era come to them.
//!
//! A session is opened with the client's own `initialize`, which no process has been asked anything before. Only if the
//! server refuses it is the server asked whether it speaks the modern era ([`era`](crate::era)), and then the session
//! is [translated](crate::translate::legacy_to_modern). A modern request goes to a process of its own era if the server
//! speaks it ([`modern`](crate::modern)), else it is [translated](crate::translate::modern_to_legacy).

mod caller_meta;
mod opening;
mod upkeep;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::caller_meta::CallerMeta;
use crate::caller::{Caller, CallerKey};
use crate::child::{Answers, End, Refusal, Wants};
use crate::command::Command;
use crate::config::{Limits, Share};
use crate::era::Eras;
use crate::events::EventStore;
use crate::message::{self, Message};
use crate::modern::{Found, Modern};
use crate::session::Session;
use crate::session::table::Table;
use crate::shared::Shared;
use crate::start::{OpenError, Starter};
use crate::tools::Tools;
use crate::translate::modern_to_legacy::{ModernToLegacy, NotTaken};

/// How often a bridge that drains looks whether it is done.
const LOOK: Duration = Duration::from_millis(20);

/// One server.
#[derive(Debug)]
pub(crate) struct Server {
    share: Share,
    limits: Arc<Limits>,
    caller_meta: CallerMeta,
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
            caller_meta: CallerMeta(configuration.caller_meta),
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
            Found::Legacy => return Box::pin(self.translated.call(request, &key, caller)).await,
            Found::Undecided(undecided) => {
                let patience = self.limits.handshake_timeout;
                let decided = undecided.decide(patience);
                let translated = self.translated.call(request, &key, caller);
                // Until one of the two processes has said something, the request has gone to neither.
                let mut decided = Box::pin(decided);
                let mut translated = Box::pin(translated);
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
        let told = self.caller_meta.edit(request, caller);
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
        let told = self.caller_meta.edit(request, caller);
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
