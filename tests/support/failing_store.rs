//! A store that a test can take away, and that counts what is asked of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mcp_oauth_core::store::{FeedPage, FeedPosition, Key, Store, StoreError};

/// Another store with a switch.
#[derive(Clone, Debug)]
pub struct FailingStore<S> {
    inner: S,
    down: Arc<AtomicBool>,
    operations: Arc<AtomicU64>,
}

impl<S> FailingStore<S> {
    /// A store that works.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            down: Arc::default(),
            operations: Arc::default(),
        }
    }

    /// The store behind it.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Takes the store away, or gives it back.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// How many operations it was asked for so far.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.operations.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the test has taken the store away".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl<S: Store> Store for FailingStore<S> {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.check()?;
        self.inner.get(key).await
    }

    async fn insert(&self, key: &Key, record: Bytes, time_to_live: Option<Duration>) -> Result<bool, StoreError> {
        self.check()?;
        self.inner.insert(key, record, time_to_live).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: &[u8],
        record: Bytes,
        time_to_live: Option<Duration>,
    ) -> Result<bool, StoreError> {
        self.check()?;
        self.inner.compare_and_set(key, expected, record, time_to_live).await
    }

    async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        self.check()?;
        self.inner.remove(key).await
    }

    async fn publish_ended(&self, grant: &str, time_to_live: Duration) -> Result<(), StoreError> {
        self.check()?;
        self.inner.publish_ended(grant, time_to_live).await
    }

    async fn read_ended(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
        self.check()?;
        self.inner.read_ended(position).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.check()?;
        self.inner.ping().await
    }
}
