//! A store that a test can take away, for good or for a single operation, and that counts what is asked of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mcp_oauth_core::store::{
    Counts, FeedPage, FeedPosition, Kept, Key, KeyPage, Kind, ListPosition, MemberPage, Store, StoreError,
};

/// When a single operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Before it took place.
    Request,
    /// After it took place: its answer is lost.
    Answer,
}

/// Another store with a switch.
#[derive(Clone, Debug)]
pub struct FailingStore<S> {
    inner: S,
    down: Arc<AtomicBool>,
    feed_down: Arc<AtomicBool>,
    operations: Arc<AtomicU64>,
    once: Arc<Mutex<Option<(u64, Loss)>>>,
}

impl<S> FailingStore<S> {
    /// A store that works.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            down: Arc::default(),
            feed_down: Arc::default(),
            operations: Arc::default(),
            once: Arc::default(),
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

    /// Takes away the feed of what has ended, for those who write to it, or gives it back.
    pub fn set_feed_down(&self, down: bool) {
        self.feed_down.store(down, Ordering::SeqCst);
    }

    /// Has a single operation fail: the next one is number 0.
    pub fn fail_once(&self, number: u64, loss: Loss) {
        *self.once.lock().unwrap() = Some((self.operations() + number, loss));
    }

    /// How many operations it was asked for so far.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::SeqCst)
    }

    /// Runs an operation, unless it is its turn to fail.
    async fn run<T>(&self, operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        // As with a store across a network: whoever asks has to wait, and others get their turn.
        tokio::task::yield_now().await;
        let loss = self
            .once
            .lock()
            .unwrap()
            .filter(|(turn, _)| *turn == number)
            .map(|(_, loss)| loss);
        if self.down.load(Ordering::SeqCst) || loss == Some(Loss::Request) {
            return Err(failure());
        }
        let answer = operation.await;
        if loss == Some(Loss::Answer) {
            Err(failure())
        } else {
            answer
        }
    }
}

fn failure() -> StoreError {
    StoreError::Unavailable("the test has taken the store away".into())
}

#[async_trait]
impl<S: Store> Store for FailingStore<S> {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.run(self.inner.get(key)).await
    }

    async fn insert(&self, key: &Key, record: Bytes, time_to_live: Option<Duration>) -> Result<bool, StoreError> {
        self.run(self.inner.insert(key, record, time_to_live)).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: &[u8],
        record: Bytes,
        time_to_live: Option<Duration>,
    ) -> Result<bool, StoreError> {
        self.run(self.inner.compare_and_set(key, expected, record, time_to_live))
            .await
    }

    async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        self.run(self.inner.remove(key)).await
    }

    async fn increment(&self, key: &Key, time_to_live: Duration) -> Result<u64, StoreError> {
        self.run(self.inner.increment(key, time_to_live)).await
    }

    async fn publish_ended(&self, grant: &str, time_to_live: Duration) -> Result<(), StoreError> {
        self.run(async {
            if self.feed_down.load(Ordering::SeqCst) {
                return Err(failure());
            }
            self.inner.publish_ended(grant, time_to_live).await
        })
        .await
    }

    async fn read_ended(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
        self.run(self.inner.read_ended(position)).await
    }

    async fn inspect(&self, key: &Key) -> Result<Option<Kept>, StoreError> {
        self.run(self.inner.inspect(key)).await
    }

    async fn add_member(&self, set: &Key, member: &str, time_to_live: Duration) -> Result<(), StoreError> {
        self.run(self.inner.add_member(set, member, time_to_live)).await
    }

    async fn remove_member(&self, set: &Key, member: &str) -> Result<bool, StoreError> {
        self.run(self.inner.remove_member(set, member)).await
    }

    async fn members(
        &self,
        set: &Key,
        position: Option<&ListPosition>,
        limit: usize,
    ) -> Result<MemberPage, StoreError> {
        self.run(self.inner.members(set, position, limit)).await
    }

    async fn list(&self, kind: Kind, position: Option<&ListPosition>, limit: usize) -> Result<KeyPage, StoreError> {
        self.run(self.inner.list(kind, position, limit)).await
    }

    async fn count(&self) -> Result<Counts, StoreError> {
        self.run(self.inner.count()).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.run(self.inner.ping()).await
    }
}
