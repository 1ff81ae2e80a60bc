//! What is known of what has ended, and for how long.

use std::collections::VecDeque;
use std::fmt;

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

/// A token of this client's that was issued under this grant.
fn issued<'a>(grant: &'a GrantId, client: &'a ClientId) -> Issued<'a> {
    Issued {
        grant,
        client,
        subject: "github:7",
        at: UnixTime::from_seconds(1_790_000_000),
    }
}

fn contain(ended: &Revocations, grant: &GrantId, clock: &ManualClock) -> Option<bool> {
    ended.contain(&issued(grant, &client()), clock.now(), clock)
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
    assert_eq!(contain(&ended, &first, &at(0)), Some(true));
    assert_eq!(contain(&ended, &second, &at(0)), Some(true));
    assert_eq!(contain(&ended, &GrantId::random(), &at(0)), Some(false));
}

/// A clock by which a reading ends in the very moment in which somebody looks at it.
#[derive(Debug)]
struct ReadingMeanwhile {
    ended: &'static Revocations,
    feed: Feed,
    clock: ManualClock,
    looked: AtomicBool,
}

impl Clock for ReadingMeanwhile {
    fn now(&self) -> UnixTime {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        if !self.looked.swap(true, Ordering::SeqCst) {
            let reading = self.ended.refresh(&self.feed, &self.clock);
            reading.now_or_never().unwrap().unwrap();
        }
        self.clock.elapsed()
    }
}

#[test]
fn a_reading_does_not_vouch_for_what_was_looked_up_before_it() {
    let clock = at(1);
    for ends in [
        |token: &Issued<'_>| Ended::Grant(token.grant.clone()),
        |token: &Issued<'_>| Ended::Client(token.client.clone()),
        |token: &Issued<'_>| Ended::Before(Holder::User(token.subject.to_owned()), token.at),
    ] {
        let ended: &'static Revocations = Box::leak(Box::new(Revocations::new(HOUR)));
        let (grant, client) = (GrantId::random(), client());
        let token = issued(&grant, &client);
        let page = FeedPage::new(vec![Bytes::from(ends(&token).to_string())], None, false);
        let clock = ReadingMeanwhile {
            ended,
            feed: Feed(Mutex::new([page].into())),
            clock: clock.clone(),
            looked: AtomicBool::new(false),
        };
        assert_eq!(ended.contain(&token, clock.now(), &clock), Some(true));
    }
}

#[tokio::test]
async fn a_client_that_has_ended_takes_its_grants_along() {
    let ended = Revocations::new(HOUR);
    ended.note(Ended::Client(client()), &at(0));
    assert_eq!(contain(&ended, &GrantId::random(), &at(0)), Some(true));
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
    assert_eq!(contain(&ended, &grant, &at(0)), None);
    ended.refresh(&Feed::default(), &at(10)).await.unwrap();
    assert_eq!(contain(&ended, &grant, &at(10)), Some(false));
    assert_eq!(contain(&ended, &grant, &at(11)), None);
    assert_eq!(contain(&ended, &grant, &at(9)), None);
}

#[tokio::test]
async fn an_ending_that_is_seen_again_is_remembered_from_then_on() {
    let ended = Revocations::new(HOUR);
    let grant = GrantId::random();
    ended.note(Ended::Grant(grant.clone()), &at(0));
    ended.note(Ended::Grant(grant.clone()), &at(3000));
    ended.refresh(&Feed::default(), &at(4000)).await.unwrap();
    assert_eq!(contain(&ended, &grant, &at(4000)), Some(true));
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
    assert!(ended.is_known(&issued(&grant, &client())));
    assert!(!ended.is_known(&issued(&other, &client())));
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
    clock.set(began - HOUR);
    assert_eq!(contain(&ended, &grant, &clock), Some(false));
    clock.advance(Duration::from_millis(999));
    assert_eq!(contain(&ended, &grant, &clock), Some(false));
    clock.advance(Duration::from_millis(1));
    clock.set(began);
    assert_eq!(contain(&ended, &grant, &clock), None, "it looks like no time at all");
}

/// While a machine sleeps, what only counts may stand still.
#[tokio::test]
async fn knowledge_gets_old_while_the_machine_sleeps() {
    let ended = Revocations::new(HOUR);
    let (grant, clock) = (GrantId::random(), ManualClock::default());
    let began = clock.now();
    ended.refresh(&Feed::default(), &clock).await.unwrap();
    clock.set(began + MAXIMUM_AGE);
    assert_eq!(contain(&ended, &grant, &clock), Some(false), "seconds are not whole");
    clock.set(began + 2 * MAXIMUM_AGE);
    assert_eq!(contain(&ended, &grant, &clock), None);
    ended.refresh(&Feed::default(), &clock).await.unwrap();
    assert_eq!(contain(&ended, &grant, &clock), Some(false));
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
        assert_eq!(contain(&ended, &grant, &clock), Some(true));
    }
    // Set back, tokens live longer than they were meant to.
    clock.advance(2 * HOUR);
    clock.set(began);
    ended.refresh(&Feed::default(), &clock).await.unwrap();
    assert_eq!(contain(&ended, &grant, &clock), Some(true));
    clock.advance(2 * HOUR);
    ended.refresh(&Feed::default(), &clock).await.unwrap();
    assert_eq!(contain(&ended, &grant, &clock), Some(false), "over by both clocks");
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
