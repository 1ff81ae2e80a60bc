//! A store that lets others go first: whoever reads has to wait until everybody else has had a turn. So steps that
//! read and then write meet for certain, on one thread too.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mcp_oauth_core::store::{
    Counts, FeedPage, FeedPosition, Kept, Key, KeyPage, Kind, ListPosition, MemberPage, Store, StoreError,
};

/// How many turns everybody else has.
const TURNS: usize = 50;

async fn let_others_go_first() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

/// Another store, whose answers to reading come late.
#[derive(Clone, Debug)]
pub struct HesitantStore<S>(pub S);

#[async_trait]
impl<S: Store> Store for HesitantStore<S> {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let record = self.0.get(key).await;
        let_others_go_first().await;
        record
    }

    async fn insert(&self, key: &Key, record: Bytes, time_to_live: Option<Duration>) -> Result<bool, StoreError> {
        self.0.insert(key, record, time_to_live).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: &[u8],
        record: Bytes,
        time_to_live: Option<Duration>,
    ) -> Result<bool, StoreError> {
        self.0.compare_and_set(key, expected, record, time_to_live).await
    }

    async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        self.0.remove(key).await
    }

    async fn increment(&self, key: &Key, time_to_live: Duration) -> Result<u64, StoreError> {
        self.0.increment(key, time_to_live).await
    }

    async fn publish_ended(&self, entry: &str, time_to_live: Duration) -> Result<(), StoreError> {
        self.0.publish_ended(entry, time_to_live).await
    }

    async fn read_ended(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
        self.0.read_ended(position).await
    }

    async fn inspect(&self, key: &Key) -> Result<Option<Kept>, StoreError> {
        let found = self.0.inspect(key).await;
        let_others_go_first().await;
        found
    }

    async fn add_member(&self, set: &Key, member: &str, time_to_live: Duration) -> Result<(), StoreError> {
        self.0.add_member(set, member, time_to_live).await
    }

    async fn remove_member(&self, set: &Key, member: &str) -> Result<bool, StoreError> {
        self.0.remove_member(set, member).await
    }

    async fn members(
        &self,
        set: &Key,
        position: Option<&ListPosition>,
        limit: usize,
    ) -> Result<MemberPage, StoreError> {
        let found = self.0.members(set, position, limit).await;
        let_others_go_first().await;
        found
    }

    async fn list(&self, kind: Kind, position: Option<&ListPosition>, limit: usize) -> Result<KeyPage, StoreError> {
        let found = self.0.list(kind, position, limit).await;
        let_others_go_first().await;
        found
    }

    async fn count(&self) -> Result<Counts, StoreError> {
        let found = self.0.count().await;
        let_others_go_first().await;
        found
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.0.ping().await
    }
}
