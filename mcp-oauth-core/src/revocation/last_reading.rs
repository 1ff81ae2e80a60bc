//! When the feed was read to its end the last time, for every request to look at without waiting for another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Nanoseconds by [`Clock::elapsed`](crate::clock::Clock::elapsed), which is enough for 584 years.
#[derive(Debug)]
pub(super) struct LastReading(AtomicU64);

const NEVER: u64 = u64::MAX;

impl Default for LastReading {
    fn default() -> Self {
        Self(AtomicU64::new(NEVER))
    }
}

impl LastReading {
    /// When it began; `None` if there was none yet. Whoever knows this sees what was read as well.
    pub(super) fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Acquire) {
            NEVER => None,
            nanoseconds => Some(Duration::from_nanos(nanoseconds)),
        }
    }

    /// Comes after all that was read is known.
    pub(super) fn set(&self, began: Duration) {
        // A clock that is beyond that has never read anything, so the store is asked each time.
        let nanoseconds = u64::try_from(began.as_nanos()).unwrap_or(NEVER);
        self.0.store(nanoseconds, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_that_was_set_is_the_one_that_is_got() {
        let last = LastReading::default();
        assert_eq!(last.get(), None);
        for began in [Duration::ZERO, Duration::new(1_790_000_000, 999_999_999)] {
            last.set(began);
            assert_eq!(last.get(), Some(began));
        }
        last.set(Duration::MAX);
        assert_eq!(last.get(), None);
    }
}
