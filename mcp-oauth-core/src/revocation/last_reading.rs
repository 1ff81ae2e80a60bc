//! When the feed was read to its end the last time, for every request to look at without waiting for another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Moment;
use crate::clock::UnixTime;

#[derive(Debug)]
pub(super) struct LastReading {
    /// Nanoseconds by [`Clock::elapsed`](crate::clock::Clock::elapsed), which is enough for 584 years.
    elapsed: AtomicU64,
    /// Seconds by [`Clock::now`](crate::clock::Clock::now).
    now: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Default for LastReading {
    fn default() -> Self {
        Self {
            elapsed: AtomicU64::new(NEVER),
            now: AtomicU64::new(0),
        }
    }
}

impl LastReading {
    /// When it began; `None` if there was none yet. Whoever knows this sees what was read as well.
    ///
    /// While another one ends, this may be the time of the one by one clock and of the other by the other. What was read the
    /// second time is seen then too, so it is only older than it looks by the first clock.
    pub(super) fn get(&self) -> Option<Moment> {
        let elapsed = match self.elapsed.load(Ordering::Acquire) {
            NEVER => return None,
            nanoseconds => Duration::from_nanos(nanoseconds),
        };
        let now = UnixTime::from_seconds(self.now.load(Ordering::Acquire));
        Some(Moment { now, elapsed })
    }

    /// Comes after all that was read is known.
    pub(super) fn set(&self, began: Moment) {
        self.now.store(began.now.as_seconds(), Ordering::Release);
        // A clock that is beyond that has never read anything, so the store is asked each time.
        let nanoseconds = u64::try_from(began.elapsed.as_nanos()).unwrap_or(NEVER);
        self.elapsed.store(nanoseconds, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_that_was_set_is_the_one_that_is_got() {
        let last = LastReading::default();
        assert_eq!(last.get(), None);
        for elapsed in [Duration::ZERO, Duration::new(1_790_000_000, 999_999_999)] {
            let now = UnixTime::from_seconds(1_790_000_000);
            last.set(Moment { now, elapsed });
            assert_eq!(last.get(), Some(Moment { now, elapsed }));
        }
        let (now, elapsed) = (UnixTime::from_seconds(1), Duration::MAX);
        last.set(Moment { now, elapsed });
        assert_eq!(last.get(), None);
    }
}
