//! What was fetched, kept for a while.
//!
//! Key sets and discovery documents are kept by the same rules, which differ in their times alone:
//!
//! | | |
//! |---|---|
//! | fresh | what is known is the answer |
//! | no longer fresh | a fetch is due, unless one was attempted a moment ago |
//! | a fetch that fails for the moment | leaves what is known in use, up to an age |
//! | a publisher that goes on failing | keeps nobody waiting who can do with what is known |
//! | what is withdrawn or unusable | ends the use of what is known |
//! | errors | are not kept, but the next fetch is not attempted at once |
//!
//! This holds no lock while anything is fetched. Who fetches is decided by [`Kept::turn`], so that there is one fetch at
//! a time and the others wait for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use crate::clock::UnixTime;

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ages {
    /// Nothing is used for longer than this after it was fetched.
    pub(crate) maximum: Duration,
    /// So much time lies at least between two fetches of which the first was in vain.
    pub(crate) retry: Duration,
}

struct Held<T> {
    value: Arc<T>,
    fetched_at: UnixTime,
    fresh_until: UnixTime,
}

struct Known<T> {
    held: Option<Held<T>>,
    attempted_at: Option<UnixTime>,
    /// Whether the last attempt came to nothing.
    failed: bool,
}

/// What can be said without a fetch.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    /// This.
    Known(Arc<T>),
    /// That nothing that would do is known, as was found out a moment ago.
    NotNow,
}

impl<T> Answer<T> {
    /// What is known, or this error.
    pub(crate) fn or<E>(self, not_now: impl FnOnce() -> E) -> Result<Arc<T>, E> {
        match self {
            Self::Known(value) => Ok(value),
            Self::NotNow => Err(not_now()),
        }
    }
}

/// One thing that somebody publishes.
pub(crate) struct Kept<T> {
    ages: Ages,
    known: Mutex<Known<T>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl<T> Kept<T> {
    /// Nothing is known yet.
    pub(crate) fn new(ages: Ages) -> Self {
        Self {
            ages,
            known: Mutex::new(Known {
                held: None,
                attempted_at: None,
                failed: false,
            }),
            turn: Arc::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known<T>> {
        // Each change under this lock is the assignment of one field.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be answered without a fetch; nothing if one is due. What is fresh has to be `enough`, or is fetched again.
    pub(crate) fn answer(&self, now: UnixTime, enough: impl Fn(&T) -> bool) -> Option<Answer<T>> {
        let known = self.known();
        let held = self.within(&known, now);
        let attempted = known
            .attempted_at
            .is_some_and(|at| at <= now && now.since(at) < self.ages.retry);
        match held {
            Some(held) if now < held.fresh_until && enough(&held.value) => Some(Answer::Known(Arc::clone(&held.value))),
            // Who cannot be asked has perhaps just published what is missing.
            Some(held) if attempted && known.failed && !enough(&held.value) => Some(Answer::NotNow),
            Some(held) if attempted => Some(Answer::Known(Arc::clone(&held.value))),
            None if attempted => Some(Answer::NotNow),
            _ => None,
        }
    }

    /// What is known, if it may stand in while another attempt is made after one that came to nothing.
    pub(crate) fn stand_in_for_failing(&self, now: UnixTime, enough: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let failed = self.known().failed;
        failed.then(|| self.stand_in(now, enough)).flatten()
    }

    /// What is known, if it may still stand in for what cannot be fetched, and is `enough`.
    pub(crate) fn stand_in(&self, now: UnixTime, enough: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let known = self.known();
        let held = self.within(&known, now).filter(|held| enough(&held.value));
        held.map(|held| Arc::clone(&held.value))
    }

    /// A clock that was set back makes things look older than they are, never younger.
    fn within<'a>(&self, known: &'a Known<T>, now: UnixTime) -> Option<&'a Held<T>> {
        let held = known.held.as_ref();
        held.filter(|held| held.fetched_at <= now && now.since(held.fetched_at) < self.ages.maximum)
    }

    /// The last that was fetched, however old.
    pub(crate) fn last(&self) -> Option<Arc<T>> {
        self.known().held.as_ref().map(|held| Arc::clone(&held.value))
    }

    /// Waits until nobody else fetches.
    pub(crate) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// The turn to fetch, if nobody has it.
    pub(crate) fn turn_if_free(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.turn).try_lock_owned().ok()
    }

    /// Keeps what was fetched `now` and is fresh for `lifetime`.
    pub(crate) fn succeeded(&self, value: Arc<T>, lifetime: Duration, now: UnixTime) {
        let mut known = self.known();
        known.held = Some(Held {
            value,
            fetched_at: now,
            fresh_until: now + lifetime,
        });
        known.attempted_at = Some(now);
        known.failed = false;
    }

    /// Notes that nothing could be fetched.
    pub(crate) fn failed(&self, now: UnixTime) {
        let mut known = self.known();
        known.attempted_at = Some(now);
        known.failed = true;
    }

    /// Forgets everything, so that the next fetch is due at once.
    #[cfg(feature = "oidc")]
    pub(crate) fn forget(&self) {
        let mut known = self.known();
        known.held = None;
        known.attempted_at = None;
        known.failed = false;
    }

    /// Notes that there is nothing more, or nothing that can be used.
    pub(crate) fn withdrawn(&self, now: UnixTime) {
        self.known().held = None;
        self.failed(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn kept() -> Kept<&'static str> {
        Kept::new(Ages {
            maximum: SECOND * 100,
            retry: SECOND * 10,
        })
    }

    fn answer(kept: &Kept<&'static str>, now: UnixTime, enough: bool) -> Option<Result<&'static str, ()>> {
        let answer = kept.answer(now, |_| enough)?;
        Some(answer.or(|| ()).map(|value| *value))
    }

    #[test]
    fn a_fetch_is_due_when_nothing_is_known_or_it_is_fresh_no_longer() {
        let kept = kept();
        assert_eq!(answer(&kept, NOW, true), None);
        kept.succeeded(Arc::new("a"), SECOND * 60, NOW);
        assert_eq!(answer(&kept, NOW + SECOND * 59, true), Some(Ok("a")));
        assert_eq!(answer(&kept, NOW + SECOND * 60, true), None);
    }

    #[test]
    fn what_is_not_enough_is_fetched_again_but_not_at_once() {
        let kept = kept();
        kept.succeeded(Arc::new("a"), SECOND * 60, NOW);
        assert_eq!(answer(&kept, NOW + SECOND * 9, false), Some(Ok("a")));
        assert_eq!(answer(&kept, NOW + SECOND * 10, false), None);
        kept.failed(NOW + SECOND * 10);
        assert_eq!(answer(&kept, NOW + SECOND * 19, false), Some(Err(())));
        assert_eq!(answer(&kept, NOW + SECOND * 20, false), None);
    }

    #[test]
    fn what_is_known_stands_in_up_to_its_age() {
        let kept = kept();
        kept.succeeded(Arc::new("a"), SECOND * 60, NOW);
        assert!(kept.stand_in_for_failing(NOW + SECOND * 61, |_| true).is_none());
        kept.failed(NOW + SECOND * 60);
        assert_eq!(answer(&kept, NOW + SECOND * 61, true), Some(Ok("a")));
        assert!(kept.stand_in_for_failing(NOW + SECOND * 99, |_| true).is_some());
        assert!(kept.stand_in_for_failing(NOW + SECOND * 99, |_| false).is_none());
        assert!(kept.stand_in(NOW + SECOND * 100, |_| true).is_none());
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_younger() {
        let kept = kept();
        kept.succeeded(Arc::new("a"), SECOND * 60, NOW);
        assert_eq!(answer(&kept, UnixTime::from_seconds(1_789_999_999), true), None);
    }

    #[test]
    fn what_is_withdrawn_is_not_used_any_more() {
        let kept = kept();
        kept.succeeded(Arc::new("a"), SECOND * 60, NOW);
        kept.withdrawn(NOW + SECOND);
        assert_eq!(answer(&kept, NOW + SECOND * 10, true), Some(Err(())));
        assert_eq!(answer(&kept, NOW + SECOND * 11, true), None);
        assert!(kept.last().is_none());
    }

    #[cfg(feature = "oidc")]
    #[test]
    fn what_is_forgotten_is_fetched_at_once() {
        let kept = kept();
        kept.succeeded(Arc::new("a"), SECOND * 60, NOW);
        kept.forget();
        assert_eq!(answer(&kept, NOW, true), None);
        assert!(kept.last().is_none());
    }

    #[tokio::test]
    async fn one_at_a_time_has_the_turn() {
        let kept = kept();
        let turn = kept.turn().await;
        assert!(kept.turn_if_free().is_none());
        drop(turn);
        assert!(kept.turn_if_free().is_some());
    }
}
