//! A store in front of another, which does one thing differently: it fails, it is slow, it remembers.
//!
//! What that is a [`Behaviour`] says, in one place for all operations; all else is handed on as it is.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mcp_oauth_core::store::{
    Counts, FeedPage, FeedPosition, Kept, Key, KeyPage, Kind, ListPosition, MemberPage, Store, StoreError,
};

/// What an operation is, as far as anybody does it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// It reads records, members or keys, or counts them.
    Read,
    /// It writes this under this key.
    Write(&'a Key, &'a [u8]),
    /// It says in the feed that something has ended.
    Publish,
    /// It removes something, adds to a number, reads the feed, or asks whether the store is there.
    Other,
}

/// What is different about a store.
pub trait Behaviour: fmt::Debug + Send + Sync + 'static {
    /// Has an operation take place, or not, and says what comes of it.
    fn run<T: Send>(
        &self,
        operation: Operation<'_>,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send;

    /// Whether an insert finds that there is a record already, whatever there is.
    fn finds_taken(&self, _key: &Key) -> bool {
        false
    }
}

/// A store with another in front of it that behaves differently.
#[derive(Clone, Debug, Default)]
pub struct Wrapped<S, B> {
    pub(crate) inner: S,
    pub(crate) behaviour: B,
}

impl<S, B: Default> Wrapped<S, B> {
    /// Puts a behaviour in front of a store.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            behaviour: B::default(),
        }
    }
}

#[async_trait]
impl<S: Store, B: Behaviour> Store for Wrapped<S, B> {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.behaviour.run(Operation::Read, self.inner.get(key)).await
    }

    async fn insert(&self, key: &Key, record: Bytes, time_to_live: Option<Duration>) -> Result<bool, StoreError> {
        let written = record.clone();
        let insert =
            async { Ok(!self.behaviour.finds_taken(key) && self.inner.insert(key, record, time_to_live).await?) };
        self.behaviour.run(Operation::Write(key, &written), insert).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: &[u8],
        record: Bytes,
        time_to_live: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let written = record.clone();
        let set = self.inner.compare_and_set(key, expected, record, time_to_live);
        self.behaviour.run(Operation::Write(key, &written), set).await
    }

    async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        self.behaviour.run(Operation::Other, self.inner.remove(key)).await
    }

    async fn increment(&self, key: &Key, time_to_live: Duration) -> Result<u64, StoreError> {
        let increment = self.inner.increment(key, time_to_live);
        self.behaviour.run(Operation::Other, increment).await
    }

    async fn publish_ended(&self, entry: &str, time_to_live: Duration) -> Result<(), StoreError> {
        let publish = self.inner.publish_ended(entry, time_to_live);
        self.behaviour.run(Operation::Publish, publish).await
    }

    async fn read_ended(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
        self.behaviour
            .run(Operation::Other, self.inner.read_ended(position))
            .await
    }

    async fn inspect(&self, key: &Key) -> Result<Option<Kept>, StoreError> {
        self.behaviour.run(Operation::Read, self.inner.inspect(key)).await
    }

    async fn add_member(&self, set: &Key, member: &str, time_to_live: Duration) -> Result<(), StoreError> {
        let add = self.inner.add_member(set, member, time_to_live);
        self.behaviour.run(Operation::Write(set, member.as_bytes()), add).await
    }

    async fn remove_member(&self, set: &Key, member: &str) -> Result<bool, StoreError> {
        let remove = self.inner.remove_member(set, member);
        self.behaviour.run(Operation::Other, remove).await
    }

    async fn members(
        &self,
        set: &Key,
        position: Option<&ListPosition>,
        limit: usize,
    ) -> Result<MemberPage, StoreError> {
        let members = self.inner.members(set, position, limit);
        self.behaviour.run(Operation::Read, members).await
    }

    async fn list(&self, kind: Kind, position: Option<&ListPosition>, limit: usize) -> Result<KeyPage, StoreError> {
        let list = self.inner.list(kind, position, limit);
        self.behaviour.run(Operation::Read, list).await
    }

    async fn count(&self) -> Result<Counts, StoreError> {
        self.behaviour.run(Operation::Read, Store::count(&self.inner)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.behaviour.run(Operation::Other, self.inner.ping()).await
    }
}
