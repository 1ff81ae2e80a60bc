//! How long a client waits for an answer before it gets a stream: one timer for all calls of a process.
//!
//! Nearly every answer is there in a moment, so a timer for each call would be set and taken away again for nothing, and a timer
//! that is due before all others wakes the thread that waits for timers. The calls of a process begin in the order of their
//! numbers and are all waited for as long. So one task sleeps until the oldest one is due, and when it wakes, that one was
//! mostly answered long ago and there is another oldest.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Child;

/// How far the calls of a process are watched.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Somebody watches them.
    by_somebody: bool,
    /// The number of the last one that was told that its time is over.
    told: u64,
}

impl Child {
    /// Has the calls watched, if nobody does.
    pub(super) fn watch(self: &Arc<Self>) {
        let watched = std::mem::replace(&mut self.lock().watched.by_somebody, true);
        if !watched {
            tokio::spawn(Arc::clone(self).tell_the_overdue());
        }
    }

    async fn tell_the_overdue(self: Arc<Self>) {
        let patience = self.limits.patience();
        while let Some(next) = self.next_due(patience) {
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.closing.cancelled() => return,
            }
        }
    }

    /// Tells those whose time is over, and says when the next one's is; `None` if there is none, and nobody watches.
    fn next_due(&self, patience: Duration) -> Option<Instant> {
        let now = Instant::now();
        let state = &mut *self.lock();
        for (number, call) in state.calls.after(state.watched.told) {
            let due = call.begun + patience;
            if due > now {
                return Some(due);
            }
            call.stream.overdue();
            state.watched.told = number;
        }
        state.watched.by_somebody = false;
        None
    }
}
