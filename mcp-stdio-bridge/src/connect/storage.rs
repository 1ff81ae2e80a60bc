//! Where credentials are kept between runs.
//!
//! What an authorization server has given is kept under its issuer, and a token under issuer and resource: nothing of one
//! is ever found when another is asked for (MCP, Authorization Server Binding). Beside these there is a note for each
//! resource of who gave its token last.
//!
//! [`FileStorage`] keeps each record in a file of its own, which only its owner can read, written whole or not at all.
//! `KeyringStorage` (feature `keyring`) gives them to the system's keyring. Locks between
//! processes are files in either case.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::digest;
use fs4::FileExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::file::FileStorage;
pub use self::memory::MemoryStorage;

mod file;
#[cfg(feature = "keyring")]
pub(crate) mod keyring;
mod memory;

/// How often it is looked whether another process is done.
const LOOK: Duration = Duration::from_millis(50);

/// The storage could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The keyring did not do what it was asked.
    #[error("the system's keyring: {0}")]
    Keyring(String),
    /// There is no directory for what a program keeps.
    #[error("there is no home directory to keep credentials in: name a directory")]
    NoHome,
    /// What is there is not what was written there.
    #[error("what is kept as {0} cannot be read: delete it")]
    Damaged(String),
}

/// What a record is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Key {
    /// Who gave the token of a resource last.
    Issuer {
        /// The server's address.
        resource: String,
    },
    /// What an authorization server has registered.
    Client {
        /// The authorization server.
        issuer: String,
    },
    /// The tokens for a resource from an authorization server.
    Tokens {
        /// The authorization server.
        issuer: String,
        /// The server's address.
        resource: String,
    },
}

impl Key {
    /// A name for it that is safe in any file system, and the same each time.
    #[must_use]
    pub fn name(&self) -> String {
        use std::fmt::Write as _;
        let (kind, parts): (_, &[&str]) = match self {
            Self::Issuer { resource } => ("issuer", &[resource]),
            Self::Client { issuer } => ("client", &[issuer]),
            Self::Tokens { issuer, resource } => ("tokens", &[issuer, resource]),
        };
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            // The length keeps two parts from being taken for two others.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut name = format!("{kind}-");
        for byte in &context.finish().as_ref()[..20] {
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}

/// Keeps records. All of it blocks, and none of it for long.
pub trait Storage: fmt::Debug + Send + Sync {
    /// The record, if there is one.
    fn load(&self, key: &Key) -> Result<Option<Vec<u8>>, StorageError>;

    /// Keeps a record in place of what was there. When this is done, it is kept.
    fn save(&self, key: &Key, record: &[u8]) -> Result<(), StorageError>;

    /// Forgets a record. One that is not there is no error.
    fn remove(&self, key: &Key) -> Result<(), StorageError>;

    /// The file by which processes wait for each other; `None` where no other process has part in this storage.
    fn lock_file(&self, key: &Key) -> Result<Option<PathBuf>, StorageError>;
}

/// Held while one process does what others must not do at the same time; given back when dropped, or by the system when
/// the process ends.
#[derive(Debug)]
pub(crate) struct Lock(Option<std::fs::File>);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            let _ = FileExt::unlock(file);
        }
    }
}

/// Waits until no other process holds the lock of a key.
pub(crate) async fn lock(storage: &dyn Storage, key: &Key) -> Result<Lock, StorageError> {
    let Some(path) = storage.lock_file(key)? else {
        return Ok(Lock(None));
    };
    let failed = |error| StorageError::File {
        path: path.clone(),
        error,
    };
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).map_err(failed)?;
    loop {
        match FileExt::try_lock(&file) {
            Ok(()) => return Ok(Lock(Some(file))),
            Err(fs4::TryLockError::WouldBlock) => tokio::time::sleep(LOOK).await,
            Err(fs4::TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// A record with what it is of written into it, so that one that was put under another's name is not taken for it.
#[derive(Serialize, Deserialize)]
struct Bound<T> {
    issuer: String,
    resource: String,
    record: T,
}

fn parts(key: &Key) -> (&str, &str) {
    match key {
        Key::Issuer { resource } => ("", resource),
        Key::Client { issuer } => (issuer, ""),
        Key::Tokens { issuer, resource } => (issuer, resource),
    }
}

/// The record of a key as what it is.
pub(crate) fn read<T: DeserializeOwned>(storage: &dyn Storage, key: &Key) -> Result<Option<T>, StorageError> {
    let Some(text) = storage.load(key)? else {
        return Ok(None);
    };
    let damaged = || StorageError::Damaged(key.name());
    let bound: Bound<T> = serde_json::from_slice(&text).map_err(|_| damaged())?;
    if (bound.issuer.as_str(), bound.resource.as_str()) != parts(key) {
        return Err(damaged());
    }
    Ok(Some(bound.record))
}

/// Keeps a record.
pub(crate) fn write<T: Serialize>(storage: &dyn Storage, key: &Key, record: &T) -> Result<(), StorageError> {
    let (issuer, resource) = parts(key);
    let bound = Bound {
        issuer: issuer.to_owned(),
        resource: resource.to_owned(),
        record,
    };
    let text = serde_json::to_vec(&bound).map_err(|_| StorageError::Damaged(key.name()))?;
    storage.save(key, &zeroize::Zeroizing::new(text))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::{FileStorage, Key, MemoryStorage, Storage, StorageError, lock, read, write};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
    }

    fn key(issuer: &str, resource: &str) -> Key {
        Key::Tokens {
            issuer: issuer.to_owned(),
            resource: resource.to_owned(),
        }
    }

    #[test]
    fn a_record_is_found_by_issuer_and_resource_together() {
        let storage = MemoryStorage::default();
        let note = Note { text: "a".to_owned() };
        write(&storage, &key("https://as", "https://rs"), &note).unwrap();
        assert_eq!(read(&storage, &key("https://as", "https://rs")).unwrap(), Some(note));
        for other in [
            key("https://as", "https://rs2"),
            key("https://a", "shttps://rs"),
            key("https://rs", "https://as"),
        ] {
            assert_eq!(read::<Note>(&storage, &other).unwrap(), None);
        }
    }

    #[test]
    fn a_record_under_another_ones_name_is_not_taken_for_it() {
        let storage = MemoryStorage::default();
        let (mine, other) = (key("https://as", "https://rs"), key("https://evil", "https://rs"));
        write(&storage, &mine, &Note { text: "a".to_owned() }).unwrap();
        storage.save(&other, &storage.load(&mine).unwrap().unwrap()).unwrap();
        assert!(matches!(read::<Note>(&storage, &other), Err(StorageError::Damaged(_))));
    }

    #[tokio::test]
    async fn a_lock_is_held_by_one_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let storage = FileStorage::new(parent.path()).unwrap();
        let held = lock(&storage, &key("a", "b")).await.unwrap();
        let _other = lock(&storage, &key("a", "c")).await.unwrap();
        let path = storage.lock_file(&key("a", "b")).unwrap().unwrap();
        let file = std::fs::File::open(path).unwrap();
        assert!(fs4::FileExt::try_lock(&file).is_err());
        drop(held);
        assert!(fs4::FileExt::try_lock(&file).is_ok());
    }
}
