//! Which quotas are used up, as far as this process has seen: what lets a request be counted everywhere at the same time.
//!
//! A network has to be counted before everybody is, or what is refused to it would use up what is the others'. To wait for
//! the one before asking for the other is only needed where the network may be refused. That it was is seen here, and that
//! another request of the same network is on its way: then its next one is counted in turn. All others are counted at
//! once.
//!
//! This is a hint. It refuses nobody, and who is refused is decided by the sums in the store. What it cannot know, since
//! another process has counted it, or this one has just begun, costs everybody one count, once for each network, window and
//! process.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::UnixTime;
use crate::store::{Key, Kind};

/// So many counters are known to be used up. While there are more, everything is counted in turn.
const MAXIMUM: usize = 4096;

#[derive(Debug, Default)]
struct Known {
    /// Until the end of their windows.
    used_up: HashMap<Key, UnixTime>,
    on_their_way: HashSet<Key>,
}

/// What this process has seen.
#[derive(Debug, Default)]
pub(in crate::server) struct UsedUp(Mutex<Known>);

/// A request that is counted everywhere at once, for as long as that takes.
#[derive(Debug)]
pub(super) struct CountedAtOnce<'a> {
    seen: &'a UsedUp,
    keys: Vec<Key>,
}

impl UsedUp {
    /// Lets a request be counted by all of these counters at once; `None` if they have to be counted in turn.
    pub(super) fn at_once<'a>(
        &self,
        counters: impl Iterator<Item = &'a Key>,
        now: UnixTime,
    ) -> Option<CountedAtOnce<'_>> {
        let counters: Vec<&Key> = counters.collect();
        let mut known = self.lock();
        if known.used_up.len() >= MAXIMUM {
            known.used_up.retain(|_, until| *until > now);
            if known.used_up.len() >= MAXIMUM {
                return None;
            }
        }
        if counters.iter().any(|key| known.has_to_wait(key, now)) {
            return None;
        }
        // What everybody does is always on its way.
        let alone = |key: &&Key| key.kind() != Kind::Total;
        let keys: Vec<Key> = counters.into_iter().filter(alone).cloned().collect();
        known.on_their_way.extend(keys.iter().cloned());
        Some(CountedAtOnce { seen: self, keys })
    }

    /// Takes note that nothing is left by this counter until then.
    pub(super) fn note(&self, counter: &Key, until: UnixTime) {
        let mut known = self.lock();
        if known.used_up.len() < MAXIMUM {
            known.used_up.insert(counter.clone(), until);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing under this lock can panic between two changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn has_to_wait(&self, key: &Key, now: UnixTime) -> bool {
        self.on_their_way.contains(key) || self.used_up.get(key).is_some_and(|until| *until > now)
    }
}

impl Drop for CountedAtOnce<'_> {
    fn drop(&mut self) {
        let mut known = self.seen.lock();
        for key in &self.keys {
            known.on_their_way.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);
    const LATER: UnixTime = UnixTime::from_seconds(1_790_000_060);

    fn counters(network: usize) -> [Key; 2] {
        [
            Key::new(Kind::Counter, network.to_string()),
            Key::new(Kind::Total, "everybody"),
        ]
    }

    #[test]
    fn requests_of_different_networks_are_counted_at_once_and_of_one_network_one_at_a_time() {
        let seen = UsedUp::default();
        let first = seen.at_once(counters(1).iter(), NOW);
        assert!(first.is_some());
        assert!(seen.at_once(counters(2).iter(), NOW).is_some());
        assert!(seen.at_once(counters(1).iter(), NOW).is_none());
        drop(first);
        assert!(seen.at_once(counters(1).iter(), NOW).is_some());
    }

    #[test]
    fn what_is_used_up_is_counted_in_turn_until_its_window_is_over() {
        let seen = UsedUp::default();
        let [network, _] = counters(1);
        seen.note(&network, LATER);
        assert!(seen.at_once(counters(1).iter(), NOW).is_none());
        assert!(seen.at_once(counters(2).iter(), NOW).is_some());
        assert!(seen.at_once(counters(1).iter(), LATER).is_some());
        let [_, everybody] = counters(1);
        seen.note(&everybody, LATER + Duration::from_secs(60));
        assert!(seen.at_once(counters(2).iter(), LATER).is_none());
    }

    #[test]
    fn where_there_is_no_room_to_remember_everything_is_counted_in_turn() {
        let seen = UsedUp::default();
        for network in 0..2 * MAXIMUM {
            seen.note(&counters(network)[0], LATER);
        }
        assert!(seen.at_once(counters(3 * MAXIMUM).iter(), NOW).is_none());
        assert_eq!(seen.lock().used_up.len(), MAXIMUM);
        assert!(seen.at_once(counters(3 * MAXIMUM).iter(), LATER).is_some());
        assert!(seen.lock().used_up.is_empty());
    }
}
