//! A store that forgets nothing, and on which names can be taken already.

use std::sync::{Arc, Mutex};

use mcp_oauth_core::store::{Key, Kind, StoreError};
use mcp_oauth_tower::MemoryStore;

use crate::wrapped_store::{Behaviour, Operation, Wrapped};

/// Remembers everything that was ever written to it, keys included. Clones are one store.
pub type RememberingStore = Wrapped<MemoryStore, Memory>;

/// What was written, and which names are taken.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    written: Arc<Mutex<String>>,
    taken: Arc<Mutex<Option<(Kind, u32)>>>,
}

impl RememberingStore {
    /// Everything that was written.
    #[must_use]
    pub fn written(&self) -> String {
        self.behaviour.written.lock().unwrap().clone()
    }

    /// Has the next inserts of this kind find that there is such a record already: this many of them.
    pub fn have_taken(&self, kind: Kind, times: u32) {
        *self.behaviour.taken.lock().unwrap() = Some((kind, times));
    }

    /// How many of those inserts have not come yet.
    #[must_use]
    pub fn still_taken(&self) -> u32 {
        self.behaviour.taken.lock().unwrap().map_or(0, |(_, times)| times)
    }
}

impl Behaviour for Memory {
    async fn run<T: Send>(
        &self,
        operation: Operation<'_>,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if let Operation::Write(key, record) = operation {
            let mut written = self.written.lock().unwrap();
            written.extend([&key.to_string(), " ", &*String::from_utf8_lossy(record), "\n"]);
        }
        call.await
    }

    fn finds_taken(&self, key: &Key) -> bool {
        let mut taken = self.taken.lock().unwrap();
        let Some((_, times)) = taken.as_mut().filter(|(kind, times)| *kind == key.kind() && *times > 0) else {
            return false;
        };
        *times -= 1;
        true
    }
}
