//! Records in the keyring of the system: Keychain, Credential Manager, or the secret service of a Linux desktop.

use std::path::PathBuf;

use keyring::Entry;

use super::{FileStorage, Key, Storage, StorageError};

const SERVICE: &str = "mcp-stdio-bridge";

/// Records in the system's keyring. What processes wait for each other by are still files, and hold nothing.
#[derive(Debug, Clone)]
pub struct KeyringStorage {
    locks: FileStorage,
}

impl KeyringStorage {
    /// Uses the keyring of whoever runs this, and checks that there is one.
    pub fn new(locks: FileStorage) -> Result<Self, StorageError> {
        let probe = Key::Issuer {
            resource: String::new(),
        };
        let storage = Self { locks };
        storage.load(&probe)?;
        Ok(storage)
    }
}

/// On Linux a call asks over D-Bus and waits, which no thread that does other things may do.
fn apart<T: Send>(call: impl FnOnce() -> Result<T, keyring::Error> + Send) -> Result<T, StorageError> {
    let called = std::thread::scope(|scope| scope.spawn(call).join());
    match called {
        Ok(result) => result.map_err(|error| StorageError::Keyring(error.to_string())),
        Err(_) => Err(StorageError::Keyring("it broke".to_owned())),
    }
}

impl Storage for KeyringStorage {
    fn load(&self, key: &Key) -> Result<Option<Vec<u8>>, StorageError> {
        let name = key.name();
        apart(|| match Entry::new(SERVICE, &name)?.get_secret() {
            Ok(record) => Ok(Some(record)),
            Err(keyring::Error::NoEntry) => Ok(None),
            Err(error) => Err(error),
        })
    }

    fn save(&self, key: &Key, record: &[u8]) -> Result<(), StorageError> {
        let name = key.name();
        apart(|| Entry::new(SERVICE, &name)?.set_secret(record))
    }

    fn remove(&self, key: &Key) -> Result<(), StorageError> {
        let name = key.name();
        apart(|| match Entry::new(SERVICE, &name)?.delete_credential() {
            Err(keyring::Error::NoEntry) => Ok(()),
            result => result,
        })
    }

    fn lock_file(&self, key: &Key) -> Result<Option<PathBuf>, StorageError> {
        self.locks.lock_file(key)
    }
}
