//! What was begun and when: what the store may hold follows from that and from how long things live.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Something that leaves a record behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// A client that has registered.
    Client,
    /// A client that has got tokens, of which there is a list of grants.
    UsedClient,
    /// A client that was deleted.
    DeletedClient,
    /// A sign-in.
    SignIn,
    /// A grant: somebody has approved, and signed in.
    Grant,
    /// A device that has asked to be let in.
    Device,
}

/// Everything that was begun.
#[derive(Debug, Default)]
pub(crate) struct Begun(Mutex<BTreeMap<What, Vec<Instant>>>);

impl Begun {
    fn moments(&self) -> MutexGuard<'_, BTreeMap<What, Vec<Instant>>> {
        // A moment is there or not, whichever flow has failed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something begins now. To be called before it can be in the store.
    pub(crate) fn add(&self, what: What) {
        self.moments().entry(what).or_default().push(Instant::now());
    }

    /// How many there have been.
    pub(crate) fn all(&self, what: What) -> usize {
        self.moments().get(&what).map_or(0, Vec::len)
    }

    /// How many of them began in the time before this moment.
    pub(crate) fn within(&self, what: What, time: Duration, until: Instant) -> usize {
        let moments = self.moments();
        let moments = moments.get(&what).map(Vec::as_slice).unwrap_or_default();
        moments
            .iter()
            .filter(|moment| **moment <= until && until.duration_since(**moment) <= time)
            .count()
    }
}
