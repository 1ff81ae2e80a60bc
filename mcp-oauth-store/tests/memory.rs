//! The contract, kept by the memory store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mcp_oauth_core::clock::{Clock as _, ManualClock};
use mcp_oauth_core::store::Store;
use mcp_oauth_core::store::contract::Database;
use mcp_oauth_core::store::observed::ObservedStore;
use mcp_oauth_core::store_contract;
use mcp_oauth_store::MemoryStore;

struct Memory {
    store: MemoryStore,
    clock: ManualClock,
}

impl Default for Memory {
    fn default() -> Self {
        let clock = ManualClock::default();
        Self {
            store: MemoryStore::default().with_clock(clock.clone()),
            clock,
        }
    }
}

#[async_trait]
impl Database for Memory {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().since(ManualClock::default().now())
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

store_contract!(Memory::default());

/// The same, watched.
#[derive(Default)]
struct Observed(Memory);

#[async_trait]
impl Database for Observed {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(ObservedStore::shared(self.0.open().await))
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    async fn pass(&self, time: Duration) {
        self.0.pass(time).await;
    }
}

mod observed {
    use super::*;

    store_contract!(Observed::default());
}
