//! Records as files.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{Key, Storage, StorageError};

/// Records in files that only their owner can read.
#[derive(Debug, Clone)]
pub struct FileStorage {
    directory: PathBuf,
}

impl FileStorage {
    /// Keeps the records in this directory, which is made, for its owner alone, if it is not there.
    pub fn new(directory: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let directory = directory.into();
        let failed = |error| StorageError::File {
            path: directory.clone(),
            error,
        };
        make_private(&directory).map_err(failed)?;
        Ok(Self { directory })
    }

    /// Keeps the records where the system keeps what programs remember: `~/.local/share/mcp-stdio-bridge` and the like.
    pub fn of_user() -> Result<Self, StorageError> {
        Self::new(user_directory()?)
    }

    fn file(&self, key: &Key, ending: &str) -> PathBuf {
        self.directory.join(format!("{}.{ending}", key.name()))
    }
}

fn user_directory() -> Result<PathBuf, StorageError> {
    use etcetera::BaseStrategy as _;
    let base = etcetera::choose_base_strategy().map_err(|_| StorageError::NoHome)?;
    Ok(base.data_dir().join("mcp-stdio-bridge"))
}

#[cfg(unix)]
fn make_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    if directory.is_dir() {
        let permissions = std::fs::metadata(directory)?.permissions();
        if permissions.mode() & 0o077 != 0 {
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
        }
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(not(unix))]
fn make_private(directory: &Path) -> io::Result<()> {
    // What lies in a user's own directories is the user's own there.
    std::fs::create_dir_all(directory)
}

impl Storage for FileStorage {
    fn load(&self, key: &Key) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.file(key, "json");
        match std::fs::read(&path) {
            Ok(record) => Ok(Some(record)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::File { path, error }),
        }
    }

    fn save(&self, key: &Key, record: &[u8]) -> Result<(), StorageError> {
        let path = self.file(key, "json");
        let write = || {
            // Mode 0600, under a name of its own, and then in the old one's place.
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(record)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)
        };
        match write() {
            Ok(_) => Ok(()),
            Err(error) => Err(StorageError::File { path, error }),
        }
    }

    fn remove(&self, key: &Key) -> Result<(), StorageError> {
        let path = self.file(key, "json");
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::File { path, error }),
            _ => Ok(()),
        }
    }

    fn lock_file(&self, key: &Key) -> Result<Option<PathBuf>, StorageError> {
        Ok(Some(self.file(key, "lock")))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::{FileStorage, Key, Storage};

    #[test]
    fn files_and_their_directory_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let key = || Key::Client { issuer: "a".to_owned() };
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("new");
        let storage = FileStorage::new(&directory).unwrap();
        storage.save(&key(), b"one").unwrap();
        storage.save(&key(), b"two").unwrap();
        assert_eq!(storage.load(&key()).unwrap().as_deref(), Some(b"two".as_slice()));
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        let files: Vec<_> = std::fs::read_dir(&directory)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(mode(&files[0]), 0o600);
        storage.remove(&key()).unwrap();
        storage.remove(&key()).unwrap();
        assert_eq!(storage.load(&key()).unwrap(), None);
    }
}
