//! A store that lets others go first: whoever reads has to wait until everybody else has had a turn. So steps that
//! read and then write meet for certain, on one thread too.

use mcp_oauth_core::store::StoreError;

use crate::wrapped_store::{Behaviour, Operation, Wrapped};

/// How many turns everybody else has.
const TURNS: usize = 50;

/// Another store, whose answers to reading come late.
pub type HesitantStore<S> = Wrapped<S, Hesitation>;

/// Whoever reads waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hesitation;

impl Behaviour for Hesitation {
    async fn run<T: Send>(
        &self,
        operation: Operation<'_>,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let answer = call.await;
        if operation == Operation::Read {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
        }
        answer
    }
}
