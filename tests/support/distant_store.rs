//! A store that is far away: every operation takes a second of the runtime's time, so that how long a step took says how
//! often it had to wait, whatever it did at the same time.
//!
//! For tests whose time is paused (`#[tokio::test(start_paused = true)]`): there a second is over as soon as nobody can do
//! anything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mcp_oauth_core::store::{
    Counts, FeedPage, FeedPosition, Kept, Key, KeyPage, Kind, ListPosition, MemberPage, Store, StoreError,
};
use tokio::time::{Instant, sleep};

const ROUND_TRIP: Duration = Duration::from_secs(1);

/// Another store, a round trip away. Clones are the same store.
#[derive(Clone, Debug)]
pub struct DistantStore<S> {
    inner: S,
    operations: Arc<AtomicU64>,
}

/// What a step cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// How often it had to wait for the store.
    pub round_trips: u64,
    /// How many operations it asked for; those of one round trip were on their way at the same time.
    pub operations: u64,
}

impl<S> DistantStore<S> {
    /// Puts a store far away.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            operations: Arc::default(),
        }
    }

    /// Does something, and says what it cost.
    pub async fn cost_of<T>(&self, step: impl Future<Output = T>) -> (T, Cost) {
        let (began, before) = (Instant::now(), self.operations.load(Ordering::SeqCst));
        let done = step.await;
        let cost = Cost {
            round_trips: began.elapsed().as_secs(),
            operations: self.operations.load(Ordering::SeqCst) - before,
        };
        (done, cost)
    }

    async fn there_and_back(&self) -> &S {
        self.operations.fetch_add(1, Ordering::SeqCst);
        sleep(ROUND_TRIP).await;
        &self.inner
    }
}

#[async_trait]
impl<S: Store> Store for DistantStore<S> {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.there_and_back().await.get(key).await
    }

    async fn insert(&self, key: &Key, record: Bytes, time_to_live: Option<Duration>) -> Result<bool, StoreError> {
        self.there_and_back().await.insert(key, record, time_to_live).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: &[u8],
        record: Bytes,
        time_to_live: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let store = self.there_and_back().await;
        store.compare_and_set(key, expected, record, time_to_live).await
    }

    async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        self.there_and_back().await.remove(key).await
    }

    async fn increment(&self, key: &Key, time_to_live: Duration) -> Result<u64, StoreError> {
        self.there_and_back().await.increment(key, time_to_live).await
    }

    async fn publish_ended(&self, entry: &str, time_to_live: Duration) -> Result<(), StoreError> {
        self.there_and_back().await.publish_ended(entry, time_to_live).await
    }

    async fn read_ended(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
        self.there_and_back().await.read_ended(position).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.there_and_back().await.ping().await
    }

    async fn inspect(&self, key: &Key) -> Result<Option<Kept>, StoreError> {
        self.there_and_back().await.inspect(key).await
    }

    async fn add_member(&self, set: &Key, member: &str, time_to_live: Duration) -> Result<(), StoreError> {
        self.there_and_back().await.add_member(set, member, time_to_live).await
    }

    async fn remove_member(&self, set: &Key, member: &str) -> Result<bool, StoreError> {
        self.there_and_back().await.remove_member(set, member).await
    }

    async fn members(
        &self,
        set: &Key,
        position: Option<&ListPosition>,
        limit: usize,
    ) -> Result<MemberPage, StoreError> {
        self.there_and_back().await.members(set, position, limit).await
    }

    async fn list(&self, kind: Kind, position: Option<&ListPosition>, limit: usize) -> Result<KeyPage, StoreError> {
        self.there_and_back().await.list(kind, position, limit).await
    }

    async fn count(&self) -> Result<Counts, StoreError> {
        Store::count(self.there_and_back().await).await
    }
}
