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
//!   only when it is over by both clocks.
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
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::lock::Mutex as Turn;

use crate::client::ClientId;
use crate::clock::{Clock, UnixTime};
use crate::grant::GrantId;
use crate::store::{FeedPosition, Store, StoreError};

mod marks;

pub(crate) use marks::Holder;
use marks::Marks;

/// After this time what is known of ended grants is refreshed before it is used.
pub const MAXIMUM_AGE: Duration = Duration::from_secs(1);

/// How much longer than an access token lives its end is remembered: a token may have been signed just before its
/// grant ended, by a machine whose clock is ahead.
pub(crate) const MARGIN: Duration = Duration::from_secs(60);

/// Something that has ended, with everything that came of it. Written as an entry of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Grant(GrantId),
    Client(ClientId),
    /// Whatever was issued to this holder up to this moment.
    Before(Holder, UnixTime),
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(grant) => write!(formatter, "grant:{grant}"),
            Self::Client(client) => write!(formatter, "client:{client}"),
            Self::Before(holder, at) => write!(formatter, "before:{}:{holder}", at.as_seconds()),
        }
    }
}

impl Ended {
    pub(crate) fn read(entry: &[u8]) -> Option<Self> {
        match std::str::from_utf8(entry).ok()?.split_once(':')? {
            ("grant", grant) => grant.parse().ok().map(Self::Grant),
            ("client", client) => client.parse().ok().map(Self::Client),
            ("before", mark) => {
                let (at, holder) = mark.split_once(':')?;
                let at = UnixTime::from_seconds(at.parse().ok()?);
                Some(Self::Before(Holder::read(holder)?, at))
            }
            _ => None,
        }
    }
}

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
    /// When the last reading began, by [`Clock::elapsed`].
    read_at: Option<Duration>,
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

    /// Whether what was issued at this moment to this person and client is over, as far as this process knows. Has to be
    /// asked before whether the knowledge is fresh.
    pub(crate) fn mark(&self, subject: &str, client: &ClientId, issued_at: UnixTime) -> bool {
        self.marks.concern(subject, client, issued_at)
    }

    /// Whether the grant or the client has ended, as far as this process knows; `None` if its knowledge is too old
    /// to say.
    pub(crate) fn contain(&self, grant: &GrantId, client: &ClientId, clock: &dyn Clock) -> Option<bool> {
        let known = self.known();
        if known.concerns(grant, client) {
            return Some(true);
        }
        let read_at = known.read_at?;
        // A clock that goes back all the same makes what was read later look older than it is, never fresher.
        let age = clock.elapsed().checked_sub(read_at)?;
        (age < MAXIMUM_AGE).then_some(false)
    }

    /// Whether the grant or the client has ended, as of the last time the feed was read, however long ago that was.
    pub(crate) fn contained_at_last_reading(&self, grant: &GrantId, client: &ClientId) -> bool {
        self.known().concerns(grant, client)
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
                    Some(ended) => known.remember(ended, self.until(present)),
                    None => tracing::warn!("the feed of what has ended has an entry that cannot be read"),
                }
            }
            if page.position.is_some() {
                known.position = page.position;
            }
            if !page.more {
                known.sweep(present);
                self.marks.sweep(present);
                known.read_at = Some(present.elapsed);
                return Ok(());
            }
        }
    }

    /// Notes what this very process has ended, so that it is refused here at once.
    pub(crate) fn note(&self, ended: Ended, clock: &dyn Clock) {
        let until = self.until(Moment::of(clock));
        match ended {
            Ended::Before(holder, at) => self.marks.remember(holder, at, until),
            ended => self.known().remember(ended, until),
        }
    }
}

/// The reading that several requests waited for has failed. The one that did it says why.
fn not_read() -> StoreError {
    StoreError::Unavailable("another request has just found that it cannot be read what has ended".into())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use async_trait::async_trait;
    use bytes::Bytes;
    use futures_util::FutureExt as _;

    use super::*;
    use crate::clock::ManualClock;
    use crate::store::{Counts, FeedPage, Kept, Key, KeyPage, Kind, ListPosition, MemberPage};

    const HOUR: Duration = Duration::from_secs(3600);

    /// A store of which these tests read the feed, and nothing else.
    #[async_trait]
    trait OnlyTheFeed: fmt::Debug + Send + Sync + 'static {
        async fn read(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError>;
    }

    #[async_trait]
    impl<F: OnlyTheFeed> Store for F {
        async fn read_ended(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
            self.read(position).await
        }
        async fn get(&self, _: &Key) -> Result<Option<Bytes>, StoreError> {
            unreachable!("only the feed is read")
        }
        async fn insert(&self, _: &Key, _: Bytes, _: Option<Duration>) -> Result<bool, StoreError> {
            unreachable!("only the feed is read")
        }
        async fn compare_and_set(&self, _: &Key, _: &[u8], _: Bytes, _: Option<Duration>) -> Result<bool, StoreError> {
            unreachable!("only the feed is read")
        }
        async fn remove(&self, _: &Key) -> Result<bool, StoreError> {
            unreachable!("only the feed is read")
        }
        async fn increment(&self, _: &Key, _: Duration) -> Result<u64, StoreError> {
            unreachable!("only the feed is read")
        }
        async fn inspect(&self, _: &Key) -> Result<Option<Kept>, StoreError> {
            unreachable!("only the feed is read")
        }
        async fn add_member(&self, _: &Key, _: &str, _: Duration) -> Result<(), StoreError> {
            unreachable!("only the feed is read")
        }
        async fn remove_member(&self, _: &Key, _: &str) -> Result<bool, StoreError> {
            unreachable!("only the feed is read")
        }
        async fn members(&self, _: &Key, _: Option<&ListPosition>, _: usize) -> Result<MemberPage, StoreError> {
            unreachable!("only the feed is read")
        }
        async fn list(&self, _: Kind, _: Option<&ListPosition>, _: usize) -> Result<KeyPage, StoreError> {
            unreachable!("only the feed is read")
        }
        async fn count(&self) -> Result<Counts, StoreError> {
            unreachable!("only the feed is read")
        }
        async fn publish_ended(&self, _: &str, _: Duration) -> Result<(), StoreError> {
            unreachable!("only the feed is read")
        }
    }

    /// A feed that was written beforehand; nothing else of a store.
    #[derive(Debug, Default)]
    struct Feed(Mutex<VecDeque<FeedPage>>);

    impl Feed {
        fn then(self, entries: &[&GrantId], more: bool) -> Self {
            let entries = entries
                .iter()
                .map(|grant| Bytes::from(Ended::Grant((*grant).clone()).to_string()))
                .collect();
            self.0.lock().unwrap().push_back(FeedPage::new(entries, None, more));
            self
        }
    }

    #[async_trait]
    impl OnlyTheFeed for Feed {
        async fn read(&self, _: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
            Ok(self.0.lock().unwrap().pop_front().unwrap_or_default())
        }
    }

    fn client() -> ClientId {
        "client_of_these_tests".parse().unwrap()
    }

    /// A clock that shows this many seconds after some beginning, and has counted them.
    fn at(seconds: u64) -> ManualClock {
        let clock = ManualClock::default();
        clock.advance(Duration::from_secs(seconds));
        clock
    }

    #[tokio::test]
    async fn a_feed_is_read_to_its_end_before_anything_counts_as_known() {
        let (first, second) = (GrantId::random(), GrantId::random());
        let ended = Revocations::new(HOUR);
        let feed = Feed::default().then(&[&first], true).then(&[&second], false);
        ended.refresh(&feed, &at(0)).await.unwrap();
        assert_eq!(ended.contain(&first, &client(), &at(0)), Some(true));
        assert_eq!(ended.contain(&second, &client(), &at(0)), Some(true));
        assert_eq!(ended.contain(&GrantId::random(), &client(), &at(0)), Some(false));
    }

    #[tokio::test]
    async fn a_client_that_has_ended_takes_its_grants_along() {
        let ended = Revocations::new(HOUR);
        ended.note(Ended::Client(client()), &at(0));
        assert_eq!(ended.contain(&GrantId::random(), &client(), &at(0)), Some(true));
    }

    #[test]
    fn an_entry_of_the_feed_is_read_as_it_was_written() {
        for ended in [
            Ended::Grant(GrantId::random()),
            Ended::Client("a:b".parse().unwrap()),
            Ended::Before(Holder::User("github:a:7".to_owned()), UnixTime::from_seconds(1)),
            Ended::Before(
                Holder::Client("https://a.example/c".parse().unwrap()),
                UnixTime::from_seconds(2),
            ),
        ] {
            assert_eq!(Ended::read(ended.to_string().as_bytes()), Some(ended));
        }
        assert_eq!(Ended::read(b"AAAAAAAAAAAAAAAAAAAAAA"), None);
        for damaged in [
            &b"grant:\xff"[..],
            b"before:",
            b"before:x:user:a",
            b"before:1:nobody:a",
            b"before:1",
        ] {
            assert_eq!(Ended::read(damaged), None);
        }
    }

    #[tokio::test]
    async fn knowledge_gets_old_and_a_clock_that_is_set_back_does_not_make_it_young() {
        let ended = Revocations::new(HOUR);
        let grant = GrantId::random();
        assert_eq!(ended.contain(&grant, &client(), &at(0)), None);
        ended.refresh(&Feed::default(), &at(10)).await.unwrap();
        assert_eq!(ended.contain(&grant, &client(), &at(10)), Some(false));
        assert_eq!(ended.contain(&grant, &client(), &at(11)), None);
        assert_eq!(ended.contain(&grant, &client(), &at(9)), None);
    }

    #[tokio::test]
    async fn an_ending_that_is_seen_again_is_remembered_from_then_on() {
        let ended = Revocations::new(HOUR);
        let grant = GrantId::random();
        ended.note(Ended::Grant(grant.clone()), &at(0));
        ended.note(Ended::Grant(grant.clone()), &at(3000));
        ended.refresh(&Feed::default(), &at(4000)).await.unwrap();
        assert_eq!(ended.contain(&grant, &client(), &at(4000)), Some(true));
    }

    #[tokio::test]
    async fn what_is_over_is_forgotten() {
        let ended = Revocations::new(HOUR);
        for number in 0..1000 {
            ended.note(Ended::Grant(GrantId::random()), &at(number));
        }
        ended.refresh(&Feed::default(), &at(1000 + 3600 + 60)).await.unwrap();
        assert_eq!(ended.known().grants.len(), 0);
    }

    #[tokio::test]
    async fn an_ending_is_known_for_as_long_as_there_may_be_an_access_token_of_the_grant() {
        let ended = Revocations::new(HOUR);
        let (grant, other) = (GrantId::random(), GrantId::random());
        ended.note(Ended::Grant(grant.clone()), &at(0));
        // Issued at the last moment before the end, and good for an hour and for what clocks may differ.
        let last = HOUR + MARGIN;
        ended.refresh(&Feed::default(), &at(last.as_secs())).await.unwrap();
        assert!(ended.contained_at_last_reading(&grant, &client()));
        assert!(!ended.contained_at_last_reading(&other, &client()));
    }

    #[tokio::test]
    async fn what_is_over_is_looked_for_once_in_a_while() {
        let ended = Revocations::new(Duration::ZERO);
        let margin = MARGIN.as_secs();
        ended.refresh(&Feed::default(), &at(0)).await.unwrap();
        ended.note(Ended::Grant(GrantId::random()), &at(0));
        ended.refresh(&Feed::default(), &at(2 * margin)).await.unwrap();
        assert_eq!(ended.known().grants.len(), 0, "after a while it is");
        ended.note(Ended::Grant(GrantId::random()), &at(0));
        ended.refresh(&Feed::default(), &at(3 * margin - 1)).await.unwrap();
        assert_eq!(ended.known().grants.len(), 1, "not yet again");
        ended.refresh(&Feed::default(), &at(3 * margin)).await.unwrap();
        assert_eq!(ended.known().grants.len(), 0, "and now it is");
    }

    #[tokio::test]
    async fn a_feed_is_read_on_from_where_it_was_left() {
        /// Gives a position, and wants it back.
        #[derive(Debug)]
        struct Positions(Mutex<Vec<Option<String>>>);

        #[async_trait]
        impl OnlyTheFeed for Positions {
            async fn read(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
                let mut asked = self.0.lock().unwrap();
                asked.push(position.map(|position| position.0.clone()));
                // The second page is empty and names no position: the first one's still counts.
                let next = (asked.len() == 1).then(|| FeedPosition("7".to_owned()));
                Ok(FeedPage::new(Vec::new(), next, false))
            }
        }

        let ended = Revocations::new(HOUR);
        let feed = Positions(Mutex::default());
        for second in 0..3 {
            ended.refresh(&feed, &at(second)).await.unwrap();
        }
        let seven = || Some("7".to_owned());
        assert_eq!(*feed.0.lock().unwrap(), [None, seven(), seven()]);
    }

    #[tokio::test]
    async fn knowledge_gets_old_however_the_clock_is_set() {
        let ended = Revocations::new(HOUR);
        let (grant, clock) = (GrantId::random(), ManualClock::default());
        let began = clock.now();
        ended.refresh(&Feed::default(), &clock).await.unwrap();
        clock.set(began + HOUR);
        assert_eq!(ended.contain(&grant, &client(), &clock), Some(false));
        clock.advance(Duration::from_millis(999));
        assert_eq!(ended.contain(&grant, &client(), &clock), Some(false));
        clock.advance(Duration::from_millis(1));
        clock.set(began);
        assert_eq!(
            ended.contain(&grant, &client(), &clock),
            None,
            "it looks like no time at all"
        );
    }

    #[tokio::test]
    async fn a_clock_that_is_set_forward_and_back_has_nothing_forgotten() {
        let ended = Revocations::new(HOUR);
        let (grant, clock) = (GrantId::random(), ManualClock::default());
        let began = clock.now();
        ended.note(Ended::Grant(grant.clone()), &clock);
        for set_to in [began + 10 * HOUR, began] {
            clock.set(set_to);
            clock.advance(2 * MARGIN);
            ended.refresh(&Feed::default(), &clock).await.unwrap();
            assert_eq!(ended.contain(&grant, &client(), &clock), Some(true));
        }
        // Set back, tokens live longer than they were meant to.
        clock.advance(2 * HOUR);
        clock.set(began);
        ended.refresh(&Feed::default(), &clock).await.unwrap();
        assert_eq!(ended.contain(&grant, &client(), &clock), Some(true));
        clock.advance(2 * HOUR);
        ended.refresh(&Feed::default(), &clock).await.unwrap();
        assert_eq!(
            ended.contain(&grant, &client(), &clock),
            Some(false),
            "over by both clocks"
        );
    }

    /// A feed that is read when the test says so, or cannot be.
    #[derive(Debug, Default)]
    struct SlowFeed {
        asked: AtomicU64,
        gate: Turn<()>,
        broken: bool,
    }

    #[async_trait]
    impl OnlyTheFeed for SlowFeed {
        async fn read(&self, _: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let _open = self.gate.lock().await;
            if self.broken {
                return Err(StoreError::Unavailable("the test has broken it".into()));
            }
            Ok(FeedPage::default())
        }
    }

    #[tokio::test]
    async fn those_who_come_at_the_same_time_share_a_reading_that_began_after_they_had_come() {
        for broken in [false, true] {
            let feed = SlowFeed {
                broken,
                ..SlowFeed::default()
            };
            let (ended, clock) = (Revocations::new(HOUR), ManualClock::default());
            let closed = feed.gate.lock().await;
            let outcomes = futures_util::future::join_all((0..100).map(|number| {
                let (ended, feed, clock) = (&ended, &feed, &clock);
                async move {
                    // The second half comes while the first is waiting: that reading may be too old for them.
                    if number >= 50 {
                        tokio::task::yield_now().await;
                    }
                    ended.refresh(feed, clock).await
                }
            }));
            let opened = async {
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                drop(closed);
            };
            let (outcomes, ()) = futures_util::future::join(outcomes, opened).await;
            assert!(outcomes.iter().all(|outcome| outcome.is_err() == broken));
            assert_eq!(feed.asked.load(Ordering::SeqCst), 2);
        }
    }

    #[tokio::test]
    async fn who_gives_up_reading_leaves_it_to_the_next() {
        let (ended, clock, feed) = (Revocations::new(HOUR), ManualClock::default(), SlowFeed::default());
        let closed = feed.gate.lock().await;
        assert!(ended.refresh(&feed, &clock).now_or_never().is_none());
        drop(closed);
        ended.refresh(&feed, &clock).await.unwrap();
        assert_eq!(feed.asked.load(Ordering::SeqCst), 2);
    }
}
