//! Sessions that share a process: those of one user, or everybody's.
//!
//! The process is initialized by the first session's client, and whoever comes later gets the same answer; so only
//! clients that can do the same share one. Answers and progress find their session by their number. What the server
//! asks goes to the session whose call it is most likely about, never to two; what it logs only where one session alone
//! has something under way, since it may be about that; what has changed goes to all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio_util::sync::CancellationToken;

use crate::child::{Answers, Child, End, Home, Refusal, Unanswered, Wants};
use crate::message::{Id, Key, Kind, Message, reply};
use crate::session::{Session, Translator};
use crate::stream::{Frame, Pressure, Stream};

/// A process, and the sessions that share it.
#[derive(Debug)]
pub(crate) struct Shared {
    child: Arc<Child>,
    /// The raw result of `initialize`.
    initialized: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: BTreeMap<u64, Weak<Session>>,
    /// The server has been told that its client is ready.
    ready: bool,
    /// Who has subscribed to which resource.
    subscriptions: HashMap<String, HashSet<u64>>,
}

impl Shared {
    pub(crate) fn new(child: Arc<Child>, initialized: Arc<str>) -> Arc<Self> {
        let shared = Arc::new(Self {
            child,
            initialized,
            state: Mutex::default(),
        });
        let home: Weak<Self> = Arc::downgrade(&shared);
        shared.child.serve(home);
        shared
    }

    pub(crate) fn child(&self) -> &Arc<Child> {
        &self.child
    }

    /// What every client gets for its `initialize`.
    pub(crate) fn initialized(&self) -> &str {
        &self.initialized
    }

    /// Lets a session in.
    pub(crate) fn join(&self, session: &Arc<Session>) {
        let mut state = self.lock();
        state.sessions.retain(|_, session| session.strong_count() > 0);
        state.sessions.insert(session.number(), Arc::downgrade(session));
    }

    /// Whether any session is left.
    pub(crate) fn is_used(&self) -> bool {
        let state = self.lock();
        state
            .sessions
            .values()
            .filter_map(Weak::upgrade)
            .any(|session| session.is_open())
    }

    /// Whether this is the first that says it is ready; the server has to hear it once.
    pub(crate) fn is_first_ready(&self) -> bool {
        !std::mem::replace(&mut self.lock().ready, true)
    }

    /// A session subscribes to a resource, or not any more: whether the server has to hear of it.
    pub(crate) fn subscribe(&self, session: u64, uri: &str, wanted: bool) -> bool {
        let mut state = self.lock();
        if wanted {
            let subscribers = state.subscriptions.entry(uri.to_owned()).or_default();
            subscribers.insert(session);
            return true;
        }
        let Some(subscribers) = state.subscriptions.get_mut(uri) else {
            return true;
        };
        subscribers.remove(&session);
        let last = subscribers.is_empty();
        if last {
            state.subscriptions.remove(uri);
        }
        last
    }

    fn sessions(&self, only: impl Fn(u64) -> bool) -> Vec<Arc<Session>> {
        let state = self.lock();
        let sessions = state.sessions.iter().filter(|(number, _)| only(**number));
        sessions.filter_map(|(_, session)| session.upgrade()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Home for Shared {
    fn notify(&self, child: &Arc<Child>, message: &Message, method: &str) -> Pressure {
        let audience = match method {
            "notifications/message" => {
                let only = child.only_session();
                if let Some(put) = child
                    .only()
                    .and_then(|only| child.put(only, Frame::Message(message.line(&[]))))
                {
                    return put;
                }
                self.sessions(|number| only == Some(number))
            }
            "notifications/resources/updated" => {
                let uri = message.param_text("uri").unwrap_or_default();
                let subscribers = self.lock().subscriptions.get(&uri).cloned();
                self.sessions(|number| {
                    subscribers
                        .as_ref()
                        .is_some_and(|subscribers| subscribers.contains(&number))
                })
            }
            _ => self.sessions(|_| true),
        };
        for session in audience {
            // Nobody waits for one that is slow.
            if let Some(stream) = session.send(message.line(&[]), None) {
                stream.cut();
            }
        }
        None
    }

    fn progress(&self, _child: &Arc<Child>, message: &Message, session: u64) -> Pressure {
        for session in self.sessions(|number| number == session) {
            if let Some(stream) = session.send(message.line(&[]), None) {
                stream.cut();
            }
        }
        None
    }

    fn ask(&self, child: &Arc<Child>, message: &Message, id: &Id, method: &str) -> Result<Pressure, Unanswered> {
        if method == "ping" && child.answer(0, id.key(), |id| reply::result(id, "{}")) {
            return Ok(None);
        }
        child.ask_in_call(message, id).ok_or(Unanswered::Nobody)
    }

    fn take_back(&self, _child: &Arc<Child>, _message: &Message, _id: &Key) {}

    fn ended(&self, _child: &Arc<Child>, end: &End) {
        for session in self.sessions(|_| true) {
            session.close(end);
        }
    }
}

/// One session's part in a shared process.
#[derive(Debug)]
pub(crate) struct Member {
    shared: Arc<Shared>,
    session: u64,
}

impl Member {
    pub(crate) fn new(shared: Arc<Shared>, session: &Session) -> Self {
        Self {
            shared,
            session: session.number(),
        }
    }
}

#[async_trait::async_trait]
impl Translator for Member {
    async fn call(&self, request: &Message, wants: Wants<'_>) -> Result<Answers, Refusal> {
        let Kind::Request { id, method } = request.kind() else {
            return Err(Refusal::Unasked);
        };
        let wanted = match method.as_str() {
            "resources/subscribe" => Some(true),
            "resources/unsubscribe" => Some(false),
            _ => None,
        };
        if let Some((wanted, uri)) = wanted.zip(request.param_text("uri"))
            && !self.shared.subscribe(self.session, &uri, wanted)
        {
            // Others still want to hear of it.
            let (stream, reader) = Stream::new();
            let line = reply::result(id.raw(), "{}");
            stream.put(Frame::Answer { line, error: None });
            return Ok(Answers::translated(id.clone(), reader, CancellationToken::new()));
        }
        let session = self.session;
        self.shared.child.call(request, Wants { session, ..wants }).await
    }

    async fn notify(&self, notification: &Message) -> Result<(), Refusal> {
        match notification.method() {
            Some("notifications/cancelled") => self.shared.child.cancel(self.session, notification).await,
            Some("notifications/initialized") if !self.shared.is_first_ready() => Ok(()),
            _ => self.shared.child.send(notification.line(&[])).await,
        }
    }

    async fn respond(&self, response: &Message) -> Result<(), Refusal> {
        self.shared.child.respond(self.session, response).await
    }
}
