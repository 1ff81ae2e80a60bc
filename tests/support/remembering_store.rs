//! A store that forgets nothing, and on which names can be taken already.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mcp_oauth_core::store::{
    Counts, FeedPage, FeedPosition, Kept, Key, KeyPage, Kind, ListPosition, MemberPage, Store, StoreError,
};
use mcp_oauth_tower::MemoryStore;

/// Remembers everything that was ever written to it, keys included. Clones are one store.
#[derive(Clone, Debug, Default)]
pub struct RememberingStore {
    inner: MemoryStore,
    written: Arc<Mutex<String>>,
    taken: Arc<Mutex<Option<(Kind, u32)>>>,
}

impl RememberingStore {
    /// Everything that was written.
    #[must_use]
    pub fn written(&self) -> String {
        self.written.lock().unwrap().clone()
    }

    /// Has the next inserts of this kind find that there is such a record already: this many of them.
    pub fn have_taken(&self, kind: Kind, times: u32) {
        *self.taken.lock().unwrap() = Some((kind, times));
    }

    /// How many of those inserts have not come yet.
    #[must_use]
    pub fn still_taken(&self) -> u32 {
        self.taken.lock().unwrap().map_or(0, |(_, times)| times)
    }

    fn remember(&self, key: &Key, record: &[u8]) {
        let mut written = self.written.lock().unwrap();
        written.extend([&key.to_string(), " ", &*String::from_utf8_lossy(record), "\n"]);
    }
}

#[async_trait]
impl Store for RememberingStore {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key).await
    }

    async fn insert(&self, key: &Key, record: Bytes, time_to_live: Option<Duration>) -> Result<bool, StoreError> {
        self.remember(key, &record);
        if let Some((kind, times)) = self.taken.lock().unwrap().as_mut()
            && *kind == key.kind()
            && *times > 0
        {
            *times -= 1;
            return Ok(false);
        }
        self.inner.insert(key, record, time_to_live).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: &[u8],
        record: Bytes,
        time_to_live: Option<Duration>,
    ) -> Result<bool, StoreError> {
        self.remember(key, &record);
        self.inner.compare_and_set(key, expected, record, time_to_live).await
    }

    async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        self.inner.remove(key).await
    }

    async fn increment(&self, key: &Key, time_to_live: Duration) -> Result<u64, StoreError> {
        self.inner.increment(key, time_to_live).await
    }

    async fn publish_ended(&self, entry: &str, time_to_live: Duration) -> Result<(), StoreError> {
        self.inner.publish_ended(entry, time_to_live).await
    }

    async fn read_ended(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
        self.inner.read_ended(position).await
    }

    async fn inspect(&self, key: &Key) -> Result<Option<Kept>, StoreError> {
        self.inner.inspect(key).await
    }

    async fn add_member(&self, set: &Key, member: &str, time_to_live: Duration) -> Result<(), StoreError> {
        self.remember(set, member.as_bytes());
        self.inner.add_member(set, member, time_to_live).await
    }

    async fn remove_member(&self, set: &Key, member: &str) -> Result<bool, StoreError> {
        self.inner.remove_member(set, member).await
    }

    async fn members(
        &self,
        set: &Key,
        position: Option<&ListPosition>,
        limit: usize,
    ) -> Result<MemberPage, StoreError> {
        self.inner.members(set, position, limit).await
    }

    async fn list(&self, kind: Kind, position: Option<&ListPosition>, limit: usize) -> Result<KeyPage, StoreError> {
        self.inner.list(kind, position, limit).await
    }

    async fn count(&self) -> Result<Counts, StoreError> {
        Store::count(&self.inner).await
    }
}
