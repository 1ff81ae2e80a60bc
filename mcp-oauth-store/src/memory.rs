//! A store in the memory of one process.
//!
//! Each kind of record has a shelf of its own with a bound of its own, so that a flood of one kind leaves the
//! others alone. A full shelf first drops what has expired and then refuses: nothing that is still good is ever
//! thrown out.
//!
//! ```
//! use mcp_oauth_store::memory::{Bounds, MemoryStore};
//!
//! let mut bounds = Bounds::default();
//! bounds.transactions = 1_000;
//! let store = MemoryStore::with_bounds(bounds);
//! assert!(store.is_empty());
//! ```

use std::collections::HashMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mcp_oauth_core::clock::{Clock, SystemClock, UnixTime};
use mcp_oauth_core::store::{
    Counts, FeedPage, FeedPosition, Kept, Key, KeyPage, Kind, ListPosition, MemberPage, Store, StoreError,
};

mod feed;
mod sets;
mod shelf;

use feed::Feed;
use sets::SetShelf;
use shelf::Shelf;

/// How many records of each kind a [`MemoryStore`] holds. A record takes about one to two kilobytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bounds {
    /// Registered clients (50,000).
    pub clients: usize,
    /// Clients that are known by their metadata documents (20,000).
    pub documents: usize,
    /// Authorization requests on their way (20,000).
    pub transactions: usize,
    /// Grants (200,000); as many people and as many clients whose grants are listed, and as many of whom all that they had
    /// is over.
    pub grants: usize,
    /// Counters of quotas (100,000).
    pub counters: usize,
    /// Assertions of those whom the operator has configured (100,000).
    pub once: usize,
    /// Assertions of clients that the operator has not configured (100,000).
    pub assertions: usize,
    /// Devices that wait to be let in, as many codes that they show, and as many decisions about them (5,000).
    pub devices: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            clients: 50_000,
            documents: 20_000,
            transactions: 20_000,
            grants: 200_000,
            counters: 100_000,
            once: 100_000,
            assertions: 100_000,
            devices: 5_000,
        }
    }
}

impl Bounds {
    fn of(&self, kind: Kind) -> usize {
        match kind {
            Kind::Client => self.clients,
            Kind::Document => self.documents,
            Kind::Transaction => self.transactions,
            Kind::Counter => self.counters,
            Kind::Once => self.once,
            Kind::Assertion => self.assertions,
            Kind::Device | Kind::DeviceDecision | Kind::UserCode => self.devices,
            _ => self.grants,
        }
    }
}

#[derive(Default)]
struct Contents {
    by_kind: HashMap<Kind, Shelf>,
    sets: HashMap<Kind, SetShelf>,
    feed: Feed,
}

/// A store in the memory of one process. Clones share their records.
#[derive(Clone)]
pub struct MemoryStore {
    contents: Arc<Mutex<Contents>>,
    bounds: Bounds,
    clock: Arc<dyn Clock>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_bounds(Bounds::default())
    }
}

impl MemoryStore {
    /// An empty store with bounds of one's own.
    #[must_use]
    pub fn with_bounds(bounds: Bounds) -> Self {
        Self {
            contents: Arc::default(),
            bounds,
            clock: Arc::new(SystemClock),
        }
    }

    /// The same store by another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How many records it holds, expired ones not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counted(|_| true)
    }

    /// How many records of one kind it holds, expired ones not counted.
    #[must_use]
    pub fn count_of(&self, kind: Kind) -> usize {
        self.counted(|known| known == kind)
    }

    fn counted(&self, wanted: impl Fn(Kind) -> bool) -> usize {
        let now = self.clock.now();
        let mut contents = self.lock();
        let shelves = contents.by_kind.iter_mut().filter(|(kind, _)| wanted(**kind));
        shelves
            .map(|(_, shelf)| {
                shelf.drop_expired(now);
                shelf.records.len()
            })
            .sum()
    }

    /// Whether it holds no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // No code of anybody else's runs under this lock, and every operation leaves record and expiry in step
        // before it could panic, so a poisoned lock still guards good records.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one operation on the shelf of a key, with everything expired out of the way.
    fn on_shelf<T>(&self, key: &Key, operation: impl FnOnce(&mut Shelf, UnixTime) -> T) -> T {
        let now = self.clock.now();
        let mut contents = self.lock();
        let kept = contents.by_kind.entry(key.kind()).or_default();
        kept.drop_expired(now);
        operation(kept, now)
    }

    /// The same with the sets of a kind.
    fn on_sets<T>(&self, kind: Kind, operation: impl FnOnce(&mut SetShelf, UnixTime) -> T) -> T {
        let now = self.clock.now();
        let mut contents = self.lock();
        let kept = contents.sets.entry(kind).or_default();
        kept.drop_expired(now);
        operation(kept, now)
    }
}

/// Where a list goes on: after this identifier.
fn after(position: Option<&ListPosition>) -> Option<&str> {
    position?.0.strip_prefix("after ")
}

/// A page of the identifiers that come after a position, which are in their order.
fn page<'a>(
    kind: Kind,
    ids: impl Iterator<Item = &'a String>,
    position: Option<&ListPosition>,
    limit: usize,
) -> KeyPage {
    let after = after(position);
    let mut rest = ids
        .skip_while(|id| after.is_some_and(|after| id.as_str() <= after))
        .peekable();
    let keys: Vec<_> = rest.by_ref().take(limit.max(1)).map(|id| Key::new(kind, id)).collect();
    let last = keys.last().filter(|_| rest.peek().is_some());
    let next = last.map(|last| ListPosition(format!("after {}", last.id())));
    KeyPage::new(keys, next)
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        Ok(self.on_shelf(key, |shelf, _| {
            shelf.records.get(key.id()).map(|entry| entry.record.clone())
        }))
    }

    async fn insert(&self, key: &Key, record: Bytes, time_to_live: Option<Duration>) -> Result<bool, StoreError> {
        self.on_shelf(key, |shelf, now| {
            if shelf.records.contains_key(key.id()) {
                return Ok(false);
            }
            if shelf.records.len() >= self.bounds.of(key.kind()) {
                return Err(StoreError::Full(key.kind()));
            }
            shelf.put(key.id(), record, time_to_live.map(|time_to_live| now + time_to_live));
            Ok(true)
        })
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: &[u8],
        record: Bytes,
        time_to_live: Option<Duration>,
    ) -> Result<bool, StoreError> {
        Ok(self.on_shelf(key, |shelf, now| {
            let unchanged = shelf
                .records
                .get(key.id())
                .is_some_and(|entry| entry.record == expected);
            if unchanged {
                shelf.put(key.id(), record, time_to_live.map(|time_to_live| now + time_to_live));
            }
            unchanged
        }))
    }

    async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        Ok(self.on_shelf(key, |shelf, _| shelf.remove(key.id())))
    }

    async fn increment(&self, key: &Key, time_to_live: Duration) -> Result<u64, StoreError> {
        self.on_shelf(key, |shelf, now| {
            let (number, expires_at) = match shelf.records.get(key.id()) {
                Some(entry) => (parse_number(key, &entry.record)?, entry.expires_at),
                None if shelf.records.len() >= self.bounds.of(key.kind()) => {
                    return Err(StoreError::Full(key.kind()));
                }
                None => (0, Some(now + time_to_live)),
            };
            let sum = number.saturating_add(1);
            shelf.put(key.id(), Bytes::from(sum.to_string()), expires_at);
            Ok(sum)
        })
    }

    async fn publish_ended(&self, grant: &str, time_to_live: Duration) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut contents = self.lock();
        contents.feed.drop_expired(now);
        contents
            .feed
            .entries
            .push_back((now + time_to_live, Bytes::copy_from_slice(grant.as_bytes())));
        Ok(())
    }

    async fn read_ended(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
        let mut contents = self.lock();
        contents.feed.drop_expired(self.clock.now());
        let feed = &contents.feed;
        let after = position.map_or(0, |position| feed.before(position));
        let skip = usize::try_from(after.saturating_sub(feed.dropped)).unwrap_or(usize::MAX);
        let end = feed.dropped + feed.entries.len() as u64;
        let entries = feed.entries.iter().skip(skip).map(|(_, entry)| entry.clone()).collect();
        Ok(FeedPage::new(entries, Some(feed.position(end)), false))
    }

    async fn inspect(&self, key: &Key) -> Result<Option<Kept>, StoreError> {
        Ok(self.on_shelf(key, |shelf, now| {
            let entry = shelf.records.get(key.id())?;
            let time_to_live = entry.expires_at.map(|expires_at| expires_at.since(now));
            Some(Kept::new(entry.record.clone(), time_to_live))
        }))
    }

    async fn add_member(&self, set: &Key, member: &str, time_to_live: Duration) -> Result<(), StoreError> {
        let bound = self.bounds.of(set.kind());
        let added = self.on_sets(set.kind(), |sets, now| {
            sets.add(set.id(), member, now, now + time_to_live, bound)
        });
        if added {
            Ok(())
        } else {
            Err(StoreError::Full(set.kind()))
        }
    }

    async fn remove_member(&self, set: &Key, member: &str) -> Result<bool, StoreError> {
        Ok(self.on_sets(set.kind(), |sets, now| sets.remove(set.id(), member, now)))
    }

    async fn members(
        &self,
        set: &Key,
        position: Option<&ListPosition>,
        limit: usize,
    ) -> Result<MemberPage, StoreError> {
        Ok(self.on_sets(set.kind(), |sets, now| sets.page(set.id(), position, limit, now)))
    }

    async fn list(&self, kind: Kind, position: Option<&ListPosition>, limit: usize) -> Result<KeyPage, StoreError> {
        if kind.is_set() {
            return Ok(self.on_sets(kind, |sets, _| {
                page(kind, sets.ids_after(after(position)), position, limit)
            }));
        }
        let now = self.clock.now();
        let mut contents = self.lock();
        let kept = contents.by_kind.entry(kind).or_default();
        kept.drop_expired(now);
        let rest = kept
            .records
            .range::<str, _>((sets::behind(after(position)), Bound::Unbounded));
        Ok(page(kind, rest.map(|(id, _)| id), position, limit))
    }

    async fn count(&self) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        for kind in Kind::ALL.iter().copied() {
            let count = if kind.is_set() {
                self.on_sets(kind, |sets, _| sets.len())
            } else {
                self.count_of(kind)
            };
            if count > 0 {
                counts.add(kind, count as u64);
            }
        }
        Ok(counts)
    }
}

fn parse_number(key: &Key, record: &[u8]) -> Result<u64, StoreError> {
    let number = std::str::from_utf8(record).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| StoreError::Unreadable {
        key: key.clone(),
        reason: "it is not a number".to_owned(),
    })
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MemoryStore")
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mcp_oauth_core::clock::ManualClock;

    use super::*;

    const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

    fn key(id: &str) -> Key {
        Key::new(Kind::Transaction, id)
    }

    fn store_at(clock: &ManualClock, transactions: usize) -> MemoryStore {
        MemoryStore::with_bounds(Bounds {
            transactions,
            ..Bounds::default()
        })
        .with_clock(clock.clone())
    }

    #[tokio::test]
    async fn a_record_is_gone_when_its_time_is_over() {
        let clock = ManualClock::default();
        let store = store_at(&clock, 10);
        store.insert(&key("a"), "1".into(), MINUTE).await.unwrap();
        clock.advance(Duration::from_secs(59));
        assert!(store.get(&key("a")).await.unwrap().is_some());
        clock.advance(Duration::from_secs(1));
        assert!(store.get(&key("a")).await.unwrap().is_none());
        assert!(store.is_empty());
    }

    #[tokio::test]
    async fn replacing_a_record_gives_it_a_new_time_to_live() {
        let clock = ManualClock::default();
        let store = store_at(&clock, 10);
        store.insert(&key("a"), "1".into(), MINUTE).await.unwrap();
        clock.advance(Duration::from_secs(30));
        assert!(
            store
                .compare_and_set(&key("a"), b"1", "2".into(), MINUTE)
                .await
                .unwrap()
        );
        clock.advance(Duration::from_secs(45));
        assert_eq!(store.get(&key("a")).await.unwrap().unwrap(), "2");
        clock.advance(Duration::from_secs(15));
        assert!(store.get(&key("a")).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_expired_or_changed_record_cannot_be_replaced() {
        let clock = ManualClock::default();
        let store = store_at(&clock, 10);
        store.insert(&key("a"), "1".into(), MINUTE).await.unwrap();
        assert!(
            !store
                .compare_and_set(&key("a"), b"other", "2".into(), MINUTE)
                .await
                .unwrap()
        );
        clock.advance(Duration::from_secs(60));
        assert!(
            !store
                .compare_and_set(&key("a"), b"1", "2".into(), MINUTE)
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn a_full_shelf_refuses_and_throws_nothing_out() {
        let clock = ManualClock::default();
        let store = store_at(&clock, 2);
        for id in ["a", "b"] {
            assert!(store.insert(&key(id), "1".into(), MINUTE).await.unwrap());
        }
        let refused = store.insert(&key("c"), "1".into(), MINUTE).await;
        assert!(matches!(refused, Err(StoreError::Full(Kind::Transaction))));
        assert!(store.get(&key("a")).await.unwrap().is_some());
        assert!(
            store
                .insert(&Key::new(Kind::Client, "c"), "1".into(), None)
                .await
                .unwrap(),
            "another shelf has room"
        );
        clock.advance(Duration::from_secs(60));
        assert!(
            store.insert(&key("c"), "1".into(), MINUTE).await.unwrap(),
            "what expired makes room"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_many_inserts_and_of_many_replacements_one_succeeds() {
        let store = MemoryStore::default();
        let race = |operation: &'static str| {
            let tasks: Vec<_> = (0..64)
                .map(|number: u32| {
                    let store = store.clone();
                    tokio::spawn(async move {
                        let record = Bytes::from(number.to_string());
                        match operation {
                            "insert" => store.insert(&key("a"), record, None).await,
                            _ => store.compare_and_set(&key("b"), b"before", record, None).await,
                        }
                    })
                })
                .collect();
            async move {
                let mut winners = 0;
                for task in tasks {
                    winners += u32::from(task.await.unwrap().unwrap());
                }
                winners
            }
        };
        store.insert(&key("b"), "before".into(), None).await.unwrap();
        assert_eq!(race("insert").await, 1);
        assert_eq!(race("replace").await, 1);
    }

    #[tokio::test]
    async fn a_number_counts_up_and_its_life_is_not_lengthened() {
        let clock = ManualClock::default();
        let store = store_at(&clock, 2);
        let key = Key::new(Kind::Counter, "a");
        let minute = Duration::from_secs(60);
        assert_eq!(store.increment(&key, minute).await.unwrap(), 1);
        clock.advance(Duration::from_secs(59));
        assert_eq!(store.increment(&key, minute).await.unwrap(), 2);
        assert_eq!(store.get(&key).await.unwrap().unwrap(), "2");
        clock.advance(Duration::from_secs(1));
        assert_eq!(store.increment(&key, minute).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn the_feed_goes_on_where_a_reader_stopped_and_keeps_entries_for_their_time() {
        let clock = ManualClock::default();
        let store = store_at(&clock, 2);
        store.publish_ended("first", Duration::from_secs(60)).await.unwrap();
        let page = store.read_ended(None).await.unwrap();
        assert_eq!(page.entries, ["first"]);
        store.publish_ended("second", Duration::from_secs(120)).await.unwrap();
        let next = store.read_ended(page.position.as_ref()).await.unwrap();
        assert_eq!(next.entries, ["second"]);
        assert!(
            store
                .read_ended(next.position.as_ref())
                .await
                .unwrap()
                .entries
                .is_empty()
        );
        clock.advance(Duration::from_secs(61));
        assert_eq!(store.read_ended(None).await.unwrap().entries, ["second"]);
        assert!(
            store
                .read_ended(next.position.as_ref())
                .await
                .unwrap()
                .entries
                .is_empty()
        );
    }
}
