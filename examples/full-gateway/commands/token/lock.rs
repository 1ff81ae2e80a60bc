//! One process at a time: a refresh token is used up by its use, so that of two that use the same one the second may lose all
//! that came of the first.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fs4::{FileExt, TryLockError};

use crate::commands::output;

/// Held while one process exchanges what a file has kept; given back when dropped, or by the system when the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Waits until no other process exchanges what this file has kept. The lock is a file beside it, since the file itself is
/// replaced by the next one; it stays there, empty.
pub(super) async fn lock(kept: &Path) -> anyhow::Result<Lock> {
    // Under whatever name it is reached, it is one file with one lock.
    let real = kept.canonicalize();
    let mut path = real
        .with_context(|| format!("cannot read {}", kept.display()))?
        .into_os_string();
    path.push(".lock");
    let path = PathBuf::from(path);
    let failed = || format!("cannot lock {}", path.display());
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).with_context(failed)?;
    match FileExt::try_lock(&file) {
        Ok(()) => return Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => {
            output::note("Another process is getting a token with this file: waiting for it.");
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
    }
    let waiting = tokio::task::spawn_blocking(move || FileExt::lock(&file).map(|()| file));
    let file = waiting.await?.with_context(failed)?;
    Ok(Lock { _file: file })
}
