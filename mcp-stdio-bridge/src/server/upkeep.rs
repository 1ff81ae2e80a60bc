//! What is not used any more is ended: after a while, or at once where something else needs the room.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Server;
use crate::child::{Child, End};

/// How often what is not used is looked for, at least and at most.
const SWEEP: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

impl Server {
    /// Ends a process that nobody uses, for another to be started.
    pub(super) fn make_room(&self) -> bool {
        let idle = |child: &Arc<Child>| Some((child.idle_since()?, Arc::clone(child)));
        let unused = self.translated.unused().into_iter().chain(self.modern.children());
        let oldest = unused.filter_map(|child| idle(&child)).min_by_key(|(since, _)| *since);
        let Some((_, child)) = oldest else { return false };
        child.close(&End::Evicted);
        true
    }

    /// Looks for what is not used any more, from the first use on.
    pub(super) fn sweep_from_now_on(self: &Arc<Self>) {
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
}
