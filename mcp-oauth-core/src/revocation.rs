//! What has ended, known without asking the store for every request.
//!
//! A token is good until it expires, unless its grant or its client has ended before. `Revocations` is what one
//! process knows of that: it reads the store's feed when its knowledge is older than [`MAXIMUM_AGE`] and answers
//! from memory in between. So a token is refused everywhere at most that long after the end; if the store cannot be
//! reached and the knowledge is too old, there is no answer, which is not the same as "good".
//!
//! # The bound
//!
//! Whoever has been told that a grant has ended, and from then on waits for [`MAXIMUM_AGE`] before they send a request
//! with one of its tokens, is refused by every process: what it knows was read at most that long ago, so after the end was
//! written. Nothing has to run for that, and nobody has to be told in time, so it holds as well
//!
//! * when a connection is lost or the store is away: knowledge gets old by itself, and then there is no answer;
//! * when a process starts: it knows nothing, and reads the feed from its beginning before its first answer;
//! * when the feed was cut, restored or moved: a position that is not in it any more means to begin at the beginning;
//! * when somebody sets the clock: age is measured by [`Clock::elapsed`], which nobody sets, and what has ended is forgotten
//!   only when it is over by both clocks;
//! * when the machine sleeps, while what only counts may stand still: what was read is too old as well when the clock that
//!   people set has gone on by more than a second since.
//!
//! Publish and subscribe, by which Redis could tell of an end sooner, is not used: it loses messages without a word, so it
//! could not make the bound smaller, and it would cost each process another connection and each operator another right to
//! give.
//!
//! Requests that find the knowledge too old share a reading: however many there are, one reads.
//!
//! ```
//! use mcp_oauth_core::revocation::MAXIMUM_AGE;
//!
//! assert_eq!(MAXIMUM_AGE.as_secs(), 1);
//! ```

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::lock::Mutex as Turn;

use crate::client::ClientId;
use crate::clock::{Clock, UnixTime};
use crate::grant::GrantId;
use crate::store::{FeedPosition, Store, StoreError};

mod ended;
mod last_reading;
mod marks;

pub(crate) use ended::Ended;
use last_reading::LastReading;
pub(crate) use marks::Holder;
use marks::Marks;

/// After this time what is known of ended grants is refreshed before it is used.
pub const MAXIMUM_AGE: Duration = Duration::from_secs(1);

/// How much longer than an access token lives its end is remembered: a token may have been signed just before its
/// grant ended, by a machine whose clock is ahead.
pub(crate) const MARGIN: Duration = Duration::from_secs(60);

/// A moment by both clocks: the one that people set, and the one that only counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    now: UnixTime,
    elapsed: Duration,
}

impl Moment {
    fn of(clock: &dyn Clock) -> Self {
        Self {
            now: clock.now(),
            elapsed: clock.elapsed(),
        }
    }

    fn after(self, duration: Duration) -> Self {
        Self {
            now: self.now + duration,
            elapsed: self.elapsed.saturating_add(duration),
        }
    }

    fn later_of(self, other: Self) -> Self {
        Self {
            now: self.now.max(other.now),
            elapsed: self.elapsed.max(other.elapsed),
        }
    }

    /// Whether it is behind `present` by both clocks. If somebody sets one forward and back, what has ended must not be
    /// forgotten in between.
    fn is_over(self, present: Self) -> bool {
        self.now < present.now && self.elapsed < present.elapsed
    }
}

#[derive(Debug, Default)]
struct Known {
    /// Until when each end has to be remembered: until every token that it concerns has expired.
    grants: HashMap<GrantId, Moment>,
    clients: HashMap<ClientId, Moment>,
    position: Option<FeedPosition>,
    swept_at: Option<Duration>,
}

impl Known {
    fn remember(&mut self, ended: Ended, until: Moment) {
        let remembered = match ended {
            Ended::Grant(grant) => self.grants.entry(grant).or_insert(until),
            Ended::Client(client) => self.clients.entry(client).or_insert(until),
            // Marks are kept apart.
            Ended::Before(..) => return,
        };
        *remembered = until.later_of(*remembered);
    }

    fn concerns(&self, grant: &GrantId, client: &ClientId) -> bool {
        self.grants.contains_key(grant) || self.clients.contains_key(client)
    }

    fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.clients.is_empty()
    }

    /// Forgets what is over, but not so often that it would cost anything.
    fn sweep(&mut self, present: Moment) {
        let elapsed = present.elapsed;
        if self
            .swept_at
            .is_none_or(|swept_at| elapsed.saturating_sub(swept_at) >= MARGIN)
        {
            self.grants.retain(|_, until| !until.is_over(present));
            self.clients.retain(|_, until| !until.is_over(present));
            self.swept_at = Some(elapsed);
        }
    }
}

/// What a token says of how it was issued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Issued<'a> {
    pub(crate) grant: &'a GrantId,
    pub(crate) client: &'a ClientId,
    pub(crate) subject: &'a str,
    /// When.
    pub(crate) at: UnixTime,
}

/// How the last reading of the feed ended.
#[derive(Debug, Default)]
struct Reading {
    /// Which one it was; the first is 1.
    number: u64,
    failed: bool,
}

/// What a process knows of what has ended.
#[derive(Debug)]
pub(crate) struct Revocations {
    known: Mutex<Known>,
    /// Whether a grant or a client is known to have ended (marks have their own): every request asks, and where none has, no
    /// request has to wait for another.
    any: AtomicBool,
    last_reading: LastReading,
    marks: Marks,
    access_token_lifetime: Duration,
    /// How many readings have begun.
    begun: AtomicU64,
    /// Held by the one request that reads the feed.
    turn: Turn<Reading>,
}

impl Revocations {
    /// Knows nothing yet; entries are kept for the life of an access token.
    pub(crate) fn new(access_token_lifetime: Duration) -> Self {
        Self {
            known: Mutex::default(),
            any: AtomicBool::new(false),
            last_reading: LastReading::default(),
            marks: Marks::default(),
            access_token_lifetime,
            begun: AtomicU64::new(0),
            turn: Turn::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing is left half done under this lock: every change is a single insertion or a whole read page.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until(&self, present: Moment) -> Moment {
        present.after(self.access_token_lifetime + MARGIN)
    }

    /// Whether the token's grant, its client, or all that its person had has ended, as far as this process knows; `None` if its
    /// knowledge is too old to say.
    pub(crate) fn contain(&self, token: &Issued<'_>, now: UnixTime, clock: &dyn Clock) -> Option<bool> {
        // First when, and then what: a reading that ends in between knows of more, and must not vouch for what was looked up
        // before it.
        let fresh = self.is_fresh(now, clock);
        if self.is_known(token) {
            return Some(true);
        }
        fresh.then_some(false)
    }

    fn is_fresh(&self, now: UnixTime, clock: &dyn Clock) -> bool {
        let elapsed = clock.elapsed();
        self.last_reading.get().is_some_and(|began| {
            // A clock that goes back all the same makes what was read later look older than it is, never fresher.
            let age = elapsed.checked_sub(began.elapsed);
            age.is_some_and(|age| age < MAXIMUM_AGE) && now.since(began.now) <= MAXIMUM_AGE
        })
    }

    /// Whether the token's grant, its client, or all that its person had has ended, by what was read last, however long ago that
    /// was, and by what was noted since.
    pub(crate) fn is_known(&self, token: &Issued<'_>) -> bool {
        self.marks.concern(token.subject, token.client, token.at)
            || (self.any.load(Ordering::Acquire) && self.known().concerns(token.grant, token.client))
    }

    /// Sees to it that this process knows everything that had been written to the feed when this was called.
    ///
    /// Of those who call it at the same time one reads, and the others wait for a reading that began after they had come.
    pub(crate) async fn refresh(&self, store: &dyn Store, clock: &dyn Clock) -> Result<(), StoreError> {
        let begun = self.begun.load(Ordering::SeqCst);
        let mut last = self.turn.lock().await;
        if last.number > begun {
            return if last.failed { Err(not_read()) } else { Ok(()) };
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let outcome = self.read(store, Moment::of(clock)).await;
        *last = Reading {
            number,
            failed: outcome.is_err(),
        };
        outcome
    }

    /// Reads what the feed has that this process does not know yet, to its end.
    async fn read(&self, store: &dyn Store, present: Moment) -> Result<(), StoreError> {
        loop {
            let position = self.known().position.clone();
            let page = store.read_ended(position.as_ref()).await?;
            let mut known = self.known();
            for entry in &page.entries {
                match Ended::read(entry) {
                    Some(Ended::Before(holder, at)) => self.marks.remember(holder, at, self.until(present)),
                    Some(ended) => self.remember(&mut known, ended, self.until(present)),
                    None => tracing::warn!("the feed of what has ended has an entry that cannot be read"),
                }
            }
            if page.position.is_some() {
                known.position = page.position;
            }
            if !page.more {
                known.sweep(present);
                self.any.store(!known.is_empty(), Ordering::Release);
                self.marks.sweep(present);
                self.last_reading.set(present);
                return Ok(());
            }
        }
    }

    /// Takes what is known as it is under its lock, under which alone `any` changes.
    fn remember(&self, known: &mut Known, ended: Ended, until: Moment) {
        known.remember(ended, until);
        self.any.store(true, Ordering::Release);
    }

    /// Notes what this very process has ended, so that it is refused here at once.
    pub(crate) fn note(&self, ended: Ended, clock: &dyn Clock) {
        let until = self.until(Moment::of(clock));
        match ended {
            Ended::Before(holder, at) => self.marks.remember(holder, at, until),
            ended => self.remember(&mut self.known(), ended, until),
        }
    }
}

/// The reading that several requests waited for has failed. The one that did it says why.
fn not_read() -> StoreError {
    StoreError::Unavailable("another request has just found that it cannot be read what has ended".into())
}

#[cfg(test)]
mod tests;
