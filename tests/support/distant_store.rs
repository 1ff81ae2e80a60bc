//! A store that is far away: every operation takes a second of the runtime's time, so that how long a step took says how
//! often it had to wait, whatever it did at the same time.
//!
//! For tests whose time is paused (`#[tokio::test(start_paused = true)]`): there a second is over as soon as nobody can do
//! anything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mcp_oauth_core::store::StoreError;
use tokio::time::{Instant, sleep};

use crate::wrapped_store::{Behaviour, Operation, Wrapped};

const ROUND_TRIP: Duration = Duration::from_secs(1);

/// Another store, a round trip away. Clones are the same store.
pub type DistantStore<S> = Wrapped<S, Distance>;

/// Every operation takes a round trip, and is counted.
#[derive(Clone, Debug, Default)]
pub struct Distance {
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
    /// Does something, and says what it cost.
    pub async fn cost_of<T>(&self, step: impl Future<Output = T>) -> (T, Cost) {
        let operations = &self.behaviour.operations;
        let (began, before) = (Instant::now(), operations.load(Ordering::SeqCst));
        let done = step.await;
        let cost = Cost {
            round_trips: began.elapsed().as_secs(),
            operations: operations.load(Ordering::SeqCst) - before,
        };
        (done, cost)
    }
}

impl Behaviour for Distance {
    async fn run<T: Send>(
        &self,
        _: Operation<'_>,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.operations.fetch_add(1, Ordering::SeqCst);
        sleep(ROUND_TRIP).await;
        call.await
    }
}
