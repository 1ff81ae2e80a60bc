//! Files that hold secrets: nobody else reads them, and nobody ever sees half of one.

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::token::keys::KeySealing;
use tempfile::NamedTempFile;

use super::exit::End;

/// What stands in the way of a name that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It stays, and nothing is written.
    Kept,
    /// It makes room.
    Replaced,
}

/// A file that is being written beside its place, and gets its name when it is complete. If it never is, it is gone.
#[derive(Debug)]
pub(crate) struct PrivateFile {
    file: NamedTempFile,
    path: PathBuf,
    taken: Taken,
}

impl PrivateFile {
    /// Begins to write a file (mode 0600 where there are modes).
    pub(crate) fn begin(path: &Path, taken: Taken) -> anyhow::Result<Self> {
        if taken == Taken::Kept && path.symlink_metadata().is_ok() {
            anyhow::bail!(
                "{} is there already: name another file, or take it away first",
                path.display()
            );
        }
        // A name of a link stays one: the file that it leads to is replaced, and not the link.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(".mcp-oauth-");
        #[cfg(unix)]
        let builder = builder.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600));
        let file = builder.tempfile_in(folder.unwrap_or(Path::new(".")));
        let file = file.with_context(|| format!("cannot write a file beside {}", path.display()))?;
        Ok(Self { file, path, taken })
    }

    /// Gives the file its name, when all of it is on the disk.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let failed = || format!("cannot write {}", self.path.display());
        self.file.as_file().sync_all().with_context(failed)?;
        let persisted = match self.taken {
            Taken::Kept => self.file.persist_noclobber(&self.path),
            Taken::Replaced => self.file.persist(&self.path),
        };
        persisted.map(drop).with_context(failed)
    }
}

impl io::Write for PrivateFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a whole file.
pub(crate) fn write(path: &Path, text: &str, taken: Taken) -> anyhow::Result<()> {
    let mut file = PrivateFile::begin(path, taken)?;
    file.write_all(text.as_bytes())?;
    file.finish()
}

/// Reads a file with one secret in it.
pub(crate) fn secret(path: &Path) -> anyhow::Result<Secret> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(64 * 1024).read_to_string(&mut text));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    let secret = Secret::from(text.trim());
    if secret.expose().is_empty() {
        return Err(End::Usage(format!("{} is empty", path.display())).into());
    }
    Ok(secret)
}

/// Reads a file with a secret that seals signing keys.
pub(crate) fn sealing(path: &Path) -> anyhow::Result<KeySealing> {
    KeySealing::new(&secret(path)?).with_context(|| format!("the secret in {} cannot be used", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    fn mode(path: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt as _;
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    #[cfg(unix)]
    fn nobody_else_reads_it_even_if_the_one_before_was_open_to_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, "first", Taken::Kept).unwrap();
        assert_eq!(mode(&path), 0o600);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        write(&path, "second", Taken::Replaced).unwrap();
        assert_eq!(
            (mode(&path), std::fs::read_to_string(&path).unwrap().as_str()),
            (0o600, "second")
        );
    }

    #[test]
    fn what_is_there_stays_unless_it_is_to_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, "first", Taken::Kept).unwrap();
        assert!(write(&path, "second", Taken::Kept).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
    }

    #[test]
    fn a_file_that_is_not_finished_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = PrivateFile::begin(&path, Taken::Kept).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
