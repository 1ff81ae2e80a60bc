//! Records in memory.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Key, Storage, StorageError};

/// Records that end with the process.
#[derive(Debug, Default)]
pub struct MemoryStorage(Mutex<HashMap<String, Vec<u8>>>);

impl MemoryStorage {
    fn records(&self) -> MutexGuard<'_, HashMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryStorage {
    fn load(&self, key: &Key) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.records().get(&key.name()).cloned())
    }

    fn save(&self, key: &Key, record: &[u8]) -> Result<(), StorageError> {
        self.records().insert(key.name(), record.to_vec());
        Ok(())
    }

    fn remove(&self, key: &Key) -> Result<(), StorageError> {
        self.records().remove(&key.name());
        Ok(())
    }

    fn lock_file(&self, _: &Key) -> Result<Option<PathBuf>, StorageError> {
        Ok(None)
    }
}
