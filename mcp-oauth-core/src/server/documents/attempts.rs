//! When the document of a known client was last tried to be read again.
//!
//! Whoever shows a bad assertion for a client with keys has its document read again once that is no longer fresh. If that
//! fails, it is not tried again for [`INTERVAL`], however many come, and of those who come at the same time one tries and
//! the others wait. The answer of a document's server is not kept, only that it was of no use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::client::ClientId;
use crate::clock::UnixTime;

/// So much time lies between two attempts that fail.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);

/// So many clients are kept in mind at the same time.
const MAXIMUM: usize = 1024;

/// What the last attempt left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The known client counts: the document cannot be fetched at the moment, or whoever tried has hung up.
    Stands,
    /// It does not: the document is gone, bad, or was out of sight for too long.
    Falls,
}

/// The last attempt.
#[derive(Debug, Default)]
pub(super) struct LastAttempt(Option<(UnixTime, Outcome)>);

impl LastAttempt {
    /// What is known of an attempt that was a moment ago.
    pub(super) fn recent(&self, now: UnixTime) -> Option<Outcome> {
        self.0
            .filter(|(at, _)| *at <= now && now.since(*at) < INTERVAL)
            .map(|(_, outcome)| outcome)
    }

    pub(super) fn failed(&mut self, now: UnixTime, outcome: Outcome) {
        self.0 = Some((now, outcome));
    }
}

/// Whoever holds it tries.
pub(super) type Turn = Arc<futures_util::lock::Mutex<LastAttempt>>;

/// The last attempt for each client.
#[derive(Debug, Default)]
pub(in crate::server) struct Attempts(Mutex<HashMap<ClientId, Turn>>);

impl Attempts {
    pub(super) fn of(&self, client_id: &ClientId, now: UnixTime) -> Turn {
        // Nothing under this lock can panic between two changes.
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= MAXIMUM && !turns.contains_key(client_id) {
            turns.retain(|_, turn| match turn.try_lock() {
                Some(last) => last.recent(now).is_some(),
                None => true,
            });
            if turns.len() >= MAXIMUM {
                turns.clear();
            }
        }
        Arc::clone(turns.entry(client_id.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(1_790_000_000 + seconds)
    }

    #[test]
    fn an_attempt_that_failed_counts_for_ten_seconds() {
        let mut last = LastAttempt::default();
        assert_eq!(last.recent(at(0)), None);
        last.failed(at(5), Outcome::Falls);
        assert_eq!(last.recent(at(5)), Some(Outcome::Falls));
        assert_eq!(last.recent(at(14)), Some(Outcome::Falls));
        assert_eq!(last.recent(at(15)), None);
        assert_eq!(last.recent(at(4)), None, "a clock that was set back blocks nobody");
    }

    #[tokio::test]
    async fn attempts_that_are_over_make_room_and_no_more_are_kept_than_there_is_room_for() {
        let attempts = Attempts::default();
        let client = |number: usize| format!("https://client.example/{number}").parse::<ClientId>().unwrap();
        for number in 0..MAXIMUM {
            let failed_at = if number == 0 { 100 } else { 0 };
            let turn = attempts.of(&client(number), at(0));
            turn.lock().await.failed(at(failed_at), Outcome::Stands);
        }
        attempts.of(&client(MAXIMUM), at(100));
        let kept = attempts.0.lock().unwrap().len();
        assert_eq!(kept, 2, "the recent one and the new one");
        assert_eq!(
            attempts.of(&client(0), at(100)).lock().await.recent(at(100)),
            Some(Outcome::Stands)
        );
        for number in 0..3 * MAXIMUM {
            let turn = attempts.of(&client(number), at(100));
            turn.lock().await.failed(at(100), Outcome::Stands);
            assert!(attempts.0.lock().unwrap().len() <= MAXIMUM);
        }
    }
}
