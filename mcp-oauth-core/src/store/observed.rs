//! A store that is watched: each call is a span, and is measured.
//!
//! The span is called `store`, has the target `mcp_oauth::trace` and the level DEBUG, and says which operation it is and on
//! which [`Kind`] of record, by the names that OpenTelemetry has for that (`db.operation.name`, `db.collection.name`); keys and
//! records stay out. With the feature `metrics` the time that the call took goes to
//! `metrics::STORE_CALL_DURATION`. A call that somebody gives up is not measured.
//!
//! ```
//! use mcp_oauth_core::store::Store;
//! use mcp_oauth_core::store::observed::ObservedStore;
//!
//! fn watched(store: impl Store) -> impl Store {
//!     ObservedStore::new(store)
//! }
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Counts, FeedPage, FeedPosition, Kept, Key, KeyPage, Kind, ListPosition, MemberPage, Store, StoreError};
use crate::telemetry;

/// A store whose calls can be seen in traces and metrics. It does nothing else.
#[derive(Clone, Debug)]
pub struct ObservedStore(Arc<dyn Store>);

impl ObservedStore {
    /// Watches this store.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self(Arc::new(store))
    }

    /// Watches a store that others hold too.
    #[must_use]
    pub fn shared(store: Arc<dyn Store>) -> Self {
        Self(store)
    }
}

async fn call<T>(
    operation: &'static str,
    kind: Option<Kind>,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let name = |error: &StoreError| match error {
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Full(_) => "full",
        StoreError::Unreadable { .. } => "unreadable",
    };
    telemetry::store_call(operation, kind.map_or("", Kind::as_str), call, name).await
}

#[async_trait]
impl Store for ObservedStore {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        call("get", Some(key.kind()), self.0.get(key)).await
    }

    async fn insert(&self, key: &Key, record: Bytes, time_to_live: Option<Duration>) -> Result<bool, StoreError> {
        call("insert", Some(key.kind()), self.0.insert(key, record, time_to_live)).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: &[u8],
        record: Bytes,
        time_to_live: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let set = self.0.compare_and_set(key, expected, record, time_to_live);
        call("compare_and_set", Some(key.kind()), set).await
    }

    async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        call("remove", Some(key.kind()), self.0.remove(key)).await
    }

    async fn increment(&self, key: &Key, time_to_live: Duration) -> Result<u64, StoreError> {
        call("increment", Some(key.kind()), self.0.increment(key, time_to_live)).await
    }

    async fn publish_ended(&self, entry: &str, time_to_live: Duration) -> Result<(), StoreError> {
        call("publish_ended", None, self.0.publish_ended(entry, time_to_live)).await
    }

    async fn read_ended(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
        call("read_ended", None, self.0.read_ended(position)).await
    }

    async fn inspect(&self, key: &Key) -> Result<Option<Kept>, StoreError> {
        call("inspect", Some(key.kind()), self.0.inspect(key)).await
    }

    async fn add_member(&self, set: &Key, member: &str, time_to_live: Duration) -> Result<(), StoreError> {
        call(
            "add_member",
            Some(set.kind()),
            self.0.add_member(set, member, time_to_live),
        )
        .await
    }

    async fn remove_member(&self, set: &Key, member: &str) -> Result<bool, StoreError> {
        call("remove_member", Some(set.kind()), self.0.remove_member(set, member)).await
    }

    async fn members(
        &self,
        set: &Key,
        position: Option<&ListPosition>,
        limit: usize,
    ) -> Result<MemberPage, StoreError> {
        call("members", Some(set.kind()), self.0.members(set, position, limit)).await
    }

    async fn list(&self, kind: Kind, position: Option<&ListPosition>, limit: usize) -> Result<KeyPage, StoreError> {
        call("list", Some(kind), self.0.list(kind, position, limit)).await
    }

    async fn count(&self) -> Result<Counts, StoreError> {
        call("count", None, self.0.count()).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        call("ping", None, self.0.ping()).await
    }
}
