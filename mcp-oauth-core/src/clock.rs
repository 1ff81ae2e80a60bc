//! Time, as something that is handed in.
//!
//! OAuth counts in whole seconds since 1970 (RFC 7519 §2, *NumericDate*), so that is all there is: [`UnixTime`].
//! Nothing in this project asks the operating system for the time by itself; it asks a [`Clock`], which a test can
//! turn by hand.
//!
//! ```
//! use std::time::Duration;
//! use mcp_oauth_core::clock::{Clock, SystemClock, UnixTime};
//!
//! let now = SystemClock.now();
//! assert!(now > UnixTime::from_seconds(1_700_000_000));
//! assert_eq!((now + Duration::from_secs(60)).since(now), Duration::from_secs(60));
//! ```

use std::fmt::Debug;
use std::ops::{Add, Sub};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Whole seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The moment that lies `seconds` after the epoch.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// The number of seconds since the epoch.
    #[must_use]
    pub const fn as_seconds(self) -> u64 {
        self.0
    }

    /// How much time has passed since `earlier`; zero if `earlier` lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for UnixTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }
}

impl Sub<Duration> for UnixTime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }
}

/// Tells the time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> UnixTime;

    /// How long it is since some moment that stays the same while the process runs.
    ///
    /// What a process has in memory gets old by this: unlike [`now`](Self::now), which somebody may set, it never goes
    /// back, and knows parts of a second. By default it is what `now` says, which is right for a clock that nobody sets.
    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.now().as_seconds())
    }
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        // A clock set before 1970 reads as 1970: every token is then from the future, which fails closed.
        UnixTime(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| elapsed.as_secs()),
        )
    }

    fn elapsed(&self) -> Duration {
        static BEGINNING: OnceLock<Instant> = OnceLock::new();
        BEGINNING.get_or_init(Instant::now).elapsed()
    }
}

/// A clock that stands still until a test moves it. Clones show the same time.
#[cfg(any(test, feature = "test-util"))]
#[derive(Clone, Debug)]
pub struct ManualClock(std::sync::Arc<Hands>);

#[cfg(any(test, feature = "test-util"))]
#[derive(Debug)]
struct Hands {
    /// In seconds since 1970.
    now: std::sync::atomic::AtomicU64,
    /// In milliseconds.
    elapsed: std::sync::atomic::AtomicU64,
}

#[cfg(any(test, feature = "test-util"))]
impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: UnixTime) -> Self {
        Self(std::sync::Arc::new(Hands {
            now: now.as_seconds().into(),
            elapsed: 0.into(),
        }))
    }

    /// Moves the hands forward: this much time passes.
    pub fn advance(&self, by: Duration) {
        let milliseconds = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let ordering = std::sync::atomic::Ordering::SeqCst;
        self.0.elapsed.fetch_add(milliseconds, ordering);
        self.0.now.fetch_add(by.as_secs(), ordering);
    }

    /// Sets the clock, forward or back. No time passes.
    pub fn set(&self, now: UnixTime) {
        self.0.now.store(now.as_seconds(), std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(any(test, feature = "test-util"))]
impl Default for ManualClock {
    /// A clock that shows a moment in 2026.
    fn default() -> Self {
        Self::at(UnixTime::from_seconds(1_790_000_000))
    }
}

#[cfg(any(test, feature = "test-util"))]
impl Clock for ManualClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.now.load(std::sync::atomic::Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.elapsed.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_goes_on_counting() {
        let clock = ManualClock::default();
        let before = clock.now();
        clock.advance(Duration::from_millis(1500));
        clock.set(before - Duration::from_secs(3600));
        assert_eq!(clock.now(), before - Duration::from_secs(3600));
        assert_eq!(clock.elapsed(), Duration::from_millis(1500));
    }

    #[test]
    fn the_clock_of_the_system_never_goes_back() {
        let moments: Vec<_> = (0..1000).map(|_| SystemClock.elapsed()).collect();
        assert!(moments.is_sorted());
    }

    #[test]
    fn a_clock_that_only_tells_the_time_counts_by_it() {
        #[derive(Debug)]
        struct Plain;
        impl Clock for Plain {
            fn now(&self) -> UnixTime {
                UnixTime::from_seconds(42)
            }
        }
        assert_eq!(Plain.elapsed(), Duration::from_secs(42));
    }
}
