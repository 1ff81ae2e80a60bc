//! Requests of the modern era with a server of the modern era: every request stands alone, and passes as it is.
//!
//! All requests of a caller go to one process (or all requests of everybody, where the process is
//! [shared](crate::Share::Shared)), and so does the retry that answers an `input_required`: a server may have sealed
//! its `requestState` with a key that it made at its start. What the server sends is told apart by the numbers that
//! stand for ids, progress tokens and subscriptions on the pipe; log messages name nothing, and go to the call that has
//! asked for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::caller::{Caller, CallerKey};
use crate::child::calls::Level;
use crate::child::{Child, End, Home, Unanswered, subscription_of};
use crate::era::{Discovered, Eras, Probed, Silent, probe};
use crate::message::{Id, Key, Message, reply};
use crate::start::{OpenError, Starter};
use crate::stream::{Frame, Pressure};

/// The processes of the modern era, by whom they serve.
#[derive(Debug)]
pub(crate) struct Modern {
    starter: Arc<Starter>,
    eras: Arc<Eras>,
    places: Mutex<HashMap<CallerKey, Arc<Place>>>,
    home: Arc<Anybody>,
}

#[derive(Debug, Default)]
struct Place {
    current: Mutex<Option<Discovered>>,
    /// Held by whoever starts the next process.
    starting: Arc<tokio::sync::Mutex<()>>,
}

/// Where a request of the modern era goes.
#[derive(Debug)]
pub(crate) enum Found {
    Modern(Discovered),
    /// The server does not speak this era.
    Legacy,
    /// It has not said so far.
    Undecided(Box<Undecided>),
}

/// A process that has not said which era it speaks. Others wait until that is decided, or this is dropped.
#[derive(Debug)]
pub(crate) struct Undecided {
    silent: Silent,
    place: Arc<Place>,
    home: Arc<Anybody>,
    _starting: tokio::sync::OwnedMutexGuard<()>,
}

impl Undecided {
    /// Waits so long for it to say something; `None` if it does not, or speaks the other era.
    pub(crate) async fn decide(self, patience: Duration) -> Option<Discovered> {
        let Self {
            silent,
            place,
            home,
            _starting: starting,
        } = self;
        let Probed::Modern(started) = silent.listen(patience).await else {
            return None;
        };
        place.serve(&started, &home);
        drop(starting);
        Some(started)
    }
}

impl Modern {
    pub(crate) fn new(starter: Arc<Starter>, eras: Arc<Eras>) -> Self {
        Self {
            starter,
            eras,
            places: Mutex::default(),
            home: Arc::new(Anybody),
        }
    }

    /// The process that serves the caller.
    pub(crate) async fn child(&self, key: &CallerKey, caller: Option<&Caller>) -> Result<Found, OpenError> {
        if self.eras.modern() == Some(false) {
            return Ok(Found::Legacy);
        }
        let place = {
            let mut places = self.lock();
            match places.get(key) {
                Some(place) => Arc::clone(place),
                None => Arc::clone(places.entry(key.clone()).or_default()),
            }
        };
        if let Some(current) = place.current() {
            return Ok(Found::Modern(current));
        }
        let starting = Arc::clone(&place.starting).lock_owned().await;
        if let Some(current) = place.current() {
            return Ok(Found::Modern(current));
        }
        let undecided = |silent| Undecided {
            silent,
            place: Arc::clone(&place),
            home: Arc::clone(&self.home),
            _starting: starting,
        };
        match probe(&self.starter, &self.eras, caller, false).await? {
            Probed::Modern(started) => {
                place.serve(&started, &self.home);
                Ok(Found::Modern(started))
            }
            Probed::Legacy => Ok(Found::Legacy),
            Probed::Silent(silent) => Ok(Found::Undecided(Box::new(undecided(silent)))),
        }
    }

    /// Whether there is a process that serves the caller.
    pub(crate) fn is_running(&self, key: &CallerKey) -> bool {
        self.lock().get(key).is_some_and(|place| place.current().is_some())
    }

    /// All processes that run.
    pub(crate) fn children(&self) -> Vec<Arc<Child>> {
        let places = self.lock();
        let current = places.values().filter_map(|place| place.current());
        current.map(|current| current.child).collect()
    }

    /// Forgets the places whose process is gone.
    pub(crate) fn sweep(&self) {
        self.lock()
            .retain(|_, place| Arc::strong_count(place) > 1 || place.current().is_some());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallerKey, Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn serve(&self, started: &Discovered, home: &Arc<Anybody>) {
        let home: Weak<Anybody> = Arc::downgrade(home);
        started.child.serve(home);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(started.clone());
    }

    fn current(&self) -> Option<Discovered> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone().filter(|current| current.child.is_open())
    }
}

/// The home of a process that knows its clients only by their requests.
#[derive(Debug)]
struct Anybody;

impl Home for Anybody {
    fn notify(&self, child: &Arc<Child>, message: &Message, method: &str) -> Pressure {
        if let Some(at) = subscription_of(message, message.params()) {
            let number = at.id.as_ref().and_then(Id::own)?;
            let id = child.client_id(number)?;
            return child
                .put(number, Frame::Message(message.line(&[(&at, id.raw())])))
                .flatten();
        }
        let call = match method {
            "notifications/message" => child.hearing(level_of(message)),
            _ => child.only(),
        };
        let Some(put) = call.and_then(|call| child.put(call, Frame::Message(message.line(&[])))) else {
            tracing::debug!(
                of = child.label(),
                method,
                "a notification that belongs to nobody was dropped"
            );
            return None;
        };
        put
    }

    /// A server of this era has no requests of its own. Being asked for a sign of life hurts nobody.
    fn ask(&self, child: &Arc<Child>, _message: &Message, id: &Id, method: &str) -> Result<Pressure, Unanswered> {
        if method == "ping" && child.answer(0, id.key(), |id| reply::result(id, "{}")) {
            return Ok(None);
        }
        Err(Unanswered::Nobody)
    }

    fn take_back(&self, _child: &Arc<Child>, _message: &Message, _id: &Key) {}

    fn ended(&self, _child: &Arc<Child>, _end: &End) {}
}

/// How grave a log message is; one that does not say is worth hearing.
pub(crate) fn level_of(message: &Message) -> Level {
    let level = message.param_text("level");
    level.as_deref().and_then(Level::named).unwrap_or(Level::Emergency)
}
