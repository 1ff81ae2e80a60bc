//! All sessions of a server: where they are found, counted and ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use crate::caller::CallerKey;
use crate::child::{Child, End};
use crate::meter::Meter;

/// A session that has been idle for so long makes room for another.
const EVICTED_AFTER: Duration = Duration::from_secs(5 * 60);

/// The sessions that are open, by id.
#[derive(Debug)]
pub(crate) struct Table {
    sessions: Mutex<HashMap<Arc<str>, Arc<Session>>>,
    meter: Meter,
}

/// How many sessions there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) all: usize,
    pub(crate) per_caller: Option<usize>,
}

/// There is no room for another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("all {0} sessions are in use; try again later")]
    All(usize),
    #[error("you have {0} sessions open, which is all you can have; end one of them")]
    Yours(usize),
}

impl Table {
    /// No session yet; how many there are is told to this.
    pub(crate) fn new(meter: Meter) -> Self {
        Self {
            sessions: Mutex::default(),
            meter,
        }
    }

    /// The session of this id, if it is open and the caller's own. A stranger's does not exist.
    pub(crate) fn get(&self, id: &str, caller: &CallerKey) -> Option<Arc<Session>> {
        let session = self.lock().get(id).cloned();
        session.filter(|session| session.owner() == caller && session.is_open())
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn insert(&self, session: &Arc<Session>) {
        self.lock().insert(Arc::clone(session.id()), Arc::clone(session));
        self.meter.session_opened();
        if !session.is_open() {
            // Ended meanwhile: nobody would take it out again.
            self.remove(session.id());
        }
    }

    pub(crate) fn remove(&self, id: &str) {
        let removed = self.lock().remove(id);
        if removed.is_some() {
            self.meter.session_over();
        }
    }

    /// Whether there is room for another; one that has long been idle makes room.
    pub(crate) fn room(&self, caller: &CallerKey, bounds: Bounds) -> Result<(), Full> {
        let evicted = {
            let sessions = self.lock();
            if let Some(bound) = bounds.per_caller {
                let theirs = sessions.values().filter(|session| session.owner() == caller);
                if theirs.count() >= bound {
                    return Err(Full::Yours(bound));
                }
            }
            if sessions.len() < bounds.all {
                return Ok(());
            }
            let now = Instant::now();
            let idle = sessions
                .values()
                .filter_map(|session| Some((session.idle_since()?, session)));
            let oldest = idle.min_by_key(|(since, _)| *since);
            oldest
                .filter(|(since, _)| *since + EVICTED_AFTER <= now)
                .map(|(_, session)| Arc::clone(session))
        };
        let session = evicted.ok_or(Full::All(bounds.all))?;
        self.end(&session, &End::Evicted);
        Ok(())
    }

    /// Ends a session.
    pub(crate) fn end(&self, session: &Session, end: &End) {
        self.remove(session.id());
        if session.close(end) {
            tracing::info!(session = session.label(), reason = %end, "the session is over");
        }
    }

    /// Ends all.
    pub(crate) fn end_all(&self, end: &End) {
        for session in self.all() {
            self.end(&session, end);
        }
    }

    /// Ends those that were not used for too long, or whose process is gone, and looks after the others.
    pub(crate) fn sweep(&self, idle_timeout: Option<Duration>) {
        let now = Instant::now();
        for session in self.all() {
            session.expire(now);
            let idle = idle_timeout.zip(session.idle_since());
            if idle.is_some_and(|(limit, since)| since + limit <= now) {
                self.end(&session, &End::Idle);
            } else if !session.is_open() {
                self.remove(session.id());
            }
        }
    }

    /// The processes that sessions use, each once.
    pub(crate) fn children(&self) -> Vec<Arc<Child>> {
        let mut children: Vec<Arc<Child>> = Vec::new();
        for session in self.all() {
            if !children.iter().any(|child| Arc::ptr_eq(child, session.child())) {
                children.push(Arc::clone(session.child()));
            }
        }
        children
    }

    fn all(&self) -> Vec<Arc<Session>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
