//! A store that is far away, to see how often a step waits for it.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use mcp_oauth_core::store::{
    Counts, FeedPage, FeedPosition, Kept, Key, KeyPage, Kind, ListPosition, MemberPage, Store, StoreError,
};
use mcp_oauth_store::RedisStore;

/// So long that nothing else that a step does counts beside it.
const ROUND_TRIP: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Distant(pub(crate) RedisStore);

impl Distant {
    async fn there_and_back(&self) -> &RedisStore {
        tokio::time::sleep(ROUND_TRIP).await;
        &self.0
    }
}

/// How many round trips went by since then.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small number that was never below nothing"
)]
pub(crate) fn round_trips(since: Instant) -> u32 {
    (since.elapsed().as_secs_f64() / ROUND_TRIP.as_secs_f64()) as u32
}

#[async_trait]
impl Store for Distant {
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
