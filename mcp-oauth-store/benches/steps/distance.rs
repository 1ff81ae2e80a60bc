//! A store that is far away, to see how often a step waits for it.

use std::time::{Duration, Instant};

use mcp_oauth_core::store::StoreError;
use mcp_oauth_store::RedisStore;

use crate::wrapped_store::{Behaviour, Operation, Wrapped};

/// So long that nothing else that a step does counts beside it.
const ROUND_TRIP: Duration = Duration::from_millis(200);

pub(crate) type Distant = Wrapped<RedisStore, Distance>;

#[derive(Debug, Default)]
pub(crate) struct Distance;

impl Behaviour for Distance {
    async fn run<T: Send>(
        &self,
        _: Operation<'_>,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        tokio::time::sleep(ROUND_TRIP).await;
        call.await
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
