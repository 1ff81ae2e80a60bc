//! A store that a test can take away, for good or for a single operation, and that counts what is asked of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mcp_oauth_core::store::StoreError;

use crate::wrapped_store::{Behaviour, Operation, Wrapped};

/// When a single operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Before it took place.
    Request,
    /// After it took place: its answer is lost.
    Answer,
}

/// Another store with a switch. Clones share it.
pub type FailingStore<S> = Wrapped<S, Failures>;

/// Which operations fail.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    down: Arc<AtomicBool>,
    feed_down: Arc<AtomicBool>,
    operations: Arc<AtomicU64>,
    once: Arc<Mutex<Option<(u64, Loss)>>>,
}

impl<S> FailingStore<S> {
    /// The store behind it.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Takes the store away, or gives it back.
    pub fn set_down(&self, down: bool) {
        self.behaviour.down.store(down, Ordering::SeqCst);
    }

    /// Takes away the feed of what has ended, for those who write to it, or gives it back.
    pub fn set_feed_down(&self, down: bool) {
        self.behaviour.feed_down.store(down, Ordering::SeqCst);
    }

    /// Has a single operation fail: the next one is number 0.
    pub fn fail_once(&self, number: u64, loss: Loss) {
        *self.behaviour.once.lock().unwrap() = Some((self.operations() + number, loss));
    }

    /// How many operations it was asked for so far.
    pub fn operations(&self) -> u64 {
        self.behaviour.operations.load(Ordering::SeqCst)
    }
}

impl Behaviour for Failures {
    async fn run<T: Send>(
        &self,
        operation: Operation<'_>,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        // As with a store across a network: whoever asks has to wait, and others get their turn.
        tokio::task::yield_now().await;
        let loss = self
            .once
            .lock()
            .unwrap()
            .filter(|(turn, _)| *turn == number)
            .map(|(_, loss)| loss);
        let feed_down = operation == Operation::Publish && self.feed_down.load(Ordering::SeqCst);
        if feed_down || self.down.load(Ordering::SeqCst) || loss == Some(Loss::Request) {
            return Err(failure());
        }
        let answer = call.await;
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
