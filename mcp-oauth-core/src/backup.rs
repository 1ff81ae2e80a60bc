//! What a backup looks like: a version, records, and an end that shows that nothing is missing.
//!
//! A backup is lines of JSON (JSON Lines, UTF-8, each ended by a line feed), so that it can be written while the store is
//! read, and read without being held in memory:
//!
//! | line | |
//! |---|---|
//! | `{"header":{…}}` | first: the version of the format, the issuer, when it was begun |
//! | `{"record":{"kind":…,"id":…,"expires_at":…,"value":…}}` | a record as it is stored, and when it is over (in seconds since 1970; left out if never) |
//! | `{"ended":"grant:…"}` | something that has ended, so that it stays so |
//! | `{"trailer":{…}}` | last: how many lines there are of each kind, and the SHA-256 of all before it |
//!
//! Of every secret it has the digest alone, as the store does; signing keys are in it only if the operator has asked for
//! them, and then they are sealed (AES-256-GCM) under a secret that was given for that. Whoever has a backup still
//! learns who uses what, and the digest shows accidents and not malice: keep it as you keep the database.
//!
//! In it are grants, clients, their documents, what was used once and must not be used again, marks that end many grants at once,
//! and what has ended. Not in it are authorization requests and devices on their way, which begin anew, and counters of quotas;
//! nor the lists of who has which grants, which are made again from the grants.
//!
//! # While others write
//!
//! A backup is not the store of one moment. It promises, of everything that was acknowledged before it was begun and neither
//! ended nor expired by its end, that it is there in a state in which it was while the backup was made. So after a restore
//!
//! * every client can do what it could, with its identifier and its secret;
//! * of every grant, the refresh token is good that was the newest one at some moment while the backup was made. If it was used
//!   after that, the client has a newer one, of which the backup knows nothing: that one is refused, nothing ends, and the
//!   person signs in again;
//! * what had ended before the backup was begun has ended, and what ended while it was made is not half ended: grants are
//!   read before their clients, and what has ended is read last.
//!
//! What was written after the backup was begun may be in it. What was ended after its end is good again, so end it again
//! after a restore.
//!
//! ```
//! use mcp_oauth_core::backup::{BackupError, BackupReader};
//!
//! let mut reader = BackupReader::new();
//! assert!(matches!(reader.line(b"not a backup\n"), Err(BackupError::NoBackup)));
//! ```

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::client::Client;
use crate::clock::UnixTime;
use crate::grant::Grant;
use crate::revocation::Ended;
use crate::server::NotBefore;
use crate::store::{Key, Kind, StoreError, decode};
use crate::token::keys::record::SealedRing;

/// The version of the format that is written here, and the newest one that is read.
pub const VERSION: u32 = 1;

/// At most this many bytes in a line.
pub const MAXIMUM_LINE: usize = 1024 * 1024;

const FORMAT: &str = "mcp-oauth-backup";

/// The kinds of records that are in a backup, in the order in which they are read. See [While others
/// write](self#while-others-write) for the order.
pub(crate) const KINDS: [Kind; 6] = [
    Kind::Grant,
    Kind::Client,
    Kind::Document,
    Kind::Once,
    Kind::Assertion,
    Kind::NotBefore,
];

/// Why a backup cannot be read. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It does not begin as one.
    #[error("this is no backup of an MCP authorization server: its first line is no header")]
    NoBackup,
    /// A newer version of this software wrote it.
    #[error("the backup has version {0} of the format, and this software reads {VERSION}: use a newer one")]
    NewerVersion(u32),
    /// It is another server's.
    #[error("the backup belongs to another issuer ({0}): what clients and tokens name is that one")]
    OtherIssuer(String),
    /// A line cannot be read.
    #[error("line {line} of the backup is damaged: {reason}")]
    Damaged {
        /// Which line, the first one being 1.
        line: u64,
        /// What is wrong, without any of what it says.
        reason: String,
    },
    /// The end is missing.
    #[error("the backup is cut off after line {0}: its trailer is missing")]
    CutOff(u64),
    /// It is not what was written.
    #[error("the backup is not as it was written: its digest or its counts do not fit what is in it")]
    Changed,
    /// The file cannot be read or written.
    #[error("the backup cannot be read or written")]
    File(#[from] io::Error),
}

/// How a backup begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub(crate) struct Header {
    format: String,
    /// The version of the format.
    pub version: u32,
    /// Whose it is.
    pub issuer: String,
    /// When it was begun.
    pub created_at: UnixTime,
    /// Whether the signing keys are in it.
    pub has_keys: bool,
}

impl Header {
    pub(crate) fn new(issuer: &str, created_at: UnixTime, has_keys: bool) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            issuer: issuer.to_owned(),
            created_at,
            has_keys,
        }
    }
}

/// A record, as it stands in a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordLine {
    kind: String,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<UnixTime>,
    value: Box<RawValue>,
}

/// How a backup ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Trailer {
    records: BTreeMap<String, u64>,
    ended: u64,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Header(Header),
    Record(RecordLine),
    Ended(String),
    Trailer(Trailer),
}

/// What counts what is in a backup, and its digest.
struct Tally {
    digest: Context,
    records: BTreeMap<String, u64>,
    ended: u64,
}

impl Tally {
    fn new() -> Self {
        Self {
            digest: Context::new(&SHA256),
            records: BTreeMap::new(),
            ended: 0,
        }
    }

    fn include(&mut self, line: &[u8]) {
        self.digest.update(line);
        self.digest.update(b"\n");
    }

    fn trailer(&self) -> Trailer {
        Trailer {
            records: self.records.clone(),
            ended: self.ended,
            sha256: URL_SAFE_NO_PAD.encode(self.digest.clone().finish()),
        }
    }
}

/// Writes the lines of a backup.
pub(crate) struct BackupWriter {
    tally: Tally,
    text: String,
}

impl BackupWriter {
    pub(crate) fn begin(header: Header) -> io::Result<Self> {
        let mut writer = Self {
            tally: Tally::new(),
            text: String::new(),
        };
        writer.write(&Line::Header(header))?;
        Ok(writer)
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let line = serde_json::to_string(line)?;
        self.tally.include(line.as_bytes());
        self.text.push_str(&line);
        self.text.push('\n');
        Ok(())
    }

    /// Writes a record that has been [checked](check).
    pub(crate) fn record(&mut self, key: &Key, record: &[u8], expires_at: Option<UnixTime>) -> io::Result<()> {
        let kind = key.kind().as_str().to_owned();
        *self.tally.records.entry(kind.clone()).or_default() += 1;
        self.write(&Line::Record(RecordLine {
            kind,
            id: key.id().to_owned(),
            expires_at,
            value: serde_json::from_slice(record)?,
        }))
    }

    pub(crate) fn ended(&mut self, entry: &str) -> io::Result<()> {
        self.tally.ended += 1;
        self.write(&Line::Ended(entry.to_owned()))
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        let trailer = self.tally.trailer();
        self.write(&Line::Trailer(trailer))
    }

    /// What was written since this was last asked.
    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    pub(crate) fn records(&self) -> u64 {
        self.tally.records.values().sum()
    }
}

/// Says whether what is stored under a key is what it should be, so that nothing gets into a backup, or out of one, that the
/// server could not read.
pub(crate) fn check(key: &Key, record: &[u8]) -> Result<(), StoreError> {
    let fits = match key.kind() {
        Kind::Grant => decode::<Grant>(key, record)?.id.as_str() == key.id(),
        kind @ (Kind::Client | Kind::Document) => {
            let client: Client = decode(key, record)?;
            client.client_id.as_str() == key.id() && client.client_id.is_url() == (kind == Kind::Document)
        }
        Kind::NotBefore => {
            decode::<NotBefore>(key, record)?;
            crate::revocation::Holder::read(key.id()).is_some()
        }
        Kind::Keys => decode::<SealedRing>(key, record).map(|_| true)?,
        Kind::Once | Kind::Assertion => decode::<()>(key, record).map(|()| true)?,
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(StoreError::Unreadable {
        key: key.clone(),
        reason: "it is another record than its name says".to_owned(),
    })
}

/// What a line of a backup is.
#[derive(Debug)]
pub(crate) enum Entry {
    Header,
    Record {
        key: Key,
        record: Bytes,
        expires_at: Option<UnixTime>,
    },
    Ended(Ended, String),
    Trailer,
}

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The version of the format.
    pub version: u32,
    /// Whose it is.
    pub issuer: String,
    /// When it was begun.
    pub created_at: UnixTime,
    /// Whether the signing keys are in it.
    pub has_keys: bool,
    /// How many records of each kind.
    pub records: BTreeMap<String, u64>,
    /// How many things that have ended.
    pub ended: u64,
    /// How many records are over by now, and would not be restored.
    pub expired: u64,
}

/// Reads a backup line by line, and notices whatever is wrong with it.
pub struct BackupReader {
    line: u64,
    tally: Tally,
    header: Option<Header>,
    ended: bool,
    /// When the records end that end.
    expiries: BTreeMap<UnixTime, u64>,
}

impl std::fmt::Debug for BackupReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BackupReader")
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl Default for BackupReader {
    fn default() -> Self {
        Self::new()
    }
}

impl BackupReader {
    /// A reader before the first line.
    #[must_use]
    pub fn new() -> Self {
        Self {
            line: 0,
            tally: Tally::new(),
            header: None,
            ended: false,
            expiries: BTreeMap::new(),
        }
    }

    /// Reads the next line, with or without the line feed at its end.
    ///
    /// # Errors
    ///
    /// When it is not what a backup has there.
    pub fn line(&mut self, line: &[u8]) -> Result<(), BackupError> {
        self.read(line).map(drop)
    }

    fn damaged(&self, reason: impl Into<String>) -> BackupError {
        BackupError::Damaged {
            line: self.line,
            reason: reason.into(),
        }
    }

    pub(crate) fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    pub(crate) fn read(&mut self, line: &[u8]) -> Result<Entry, BackupError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        self.line += 1;
        if self.header.is_none() {
            return self.read_header(line);
        }
        if self.ended {
            return Err(self.damaged("there must be nothing behind the trailer"));
        }
        if line.len() > MAXIMUM_LINE {
            return Err(self.damaged("it is too long"));
        }
        // serde_json could quote what is there, so nothing of its words is repeated but the place.
        let read: Line = serde_json::from_slice(line)
            .map_err(|error| self.damaged(format!("it cannot be read at byte {}", error.column())))?;
        let entry = match read {
            Line::Header(_) => return Err(self.damaged("a header stands in the first line alone")),
            Line::Trailer(trailer) => {
                self.ended = true;
                return if trailer == self.tally.trailer() {
                    Ok(Entry::Trailer)
                } else {
                    Err(BackupError::Changed)
                };
            }
            Line::Ended(text) => {
                let ended = Ended::read(text.as_bytes());
                let ended = ended.ok_or_else(|| self.damaged("it does not say what has ended"))?;
                self.tally.ended += 1;
                Entry::Ended(ended, text)
            }
            Line::Record(record) => self.read_record(record)?,
        };
        self.tally.include(line);
        Ok(entry)
    }

    fn read_header(&mut self, line: &[u8]) -> Result<Entry, BackupError> {
        #[derive(Deserialize)]
        struct Beginning {
            header: Named,
        }
        #[derive(Deserialize)]
        struct Named {
            format: String,
            version: u32,
        }
        // What else a newer version has in its header nobody here can know.
        let beginning: Option<Beginning> = serde_json::from_slice(line).ok().filter(|_| line.len() <= MAXIMUM_LINE);
        let Named { format, version } = beginning.ok_or(BackupError::NoBackup)?.header;
        if format != FORMAT {
            return Err(BackupError::NoBackup);
        }
        if version > VERSION {
            return Err(BackupError::NewerVersion(version));
        }
        let Ok(Line::Header(header)) = serde_json::from_slice(line) else {
            return Err(self.damaged("the header is not complete"));
        };
        self.header = Some(header);
        self.tally.include(line);
        Ok(Entry::Header)
    }

    fn read_record(&mut self, read: RecordLine) -> Result<Entry, BackupError> {
        let kind = Kind::from_name(&read.kind).filter(|kind| KINDS.contains(kind) || *kind == Kind::Keys);
        let kind = kind.ok_or_else(|| self.damaged("it is of no kind that is in backups"))?;
        let key = Key::new(kind, read.id);
        let record = Bytes::from(read.value.get().to_owned());
        match check(&key, &record) {
            Ok(()) => {}
            Err(StoreError::Unreadable { reason, .. }) => return Err(self.damaged(reason)),
            Err(_) => return Err(self.damaged("it cannot be read")),
        }
        *self.tally.records.entry(read.kind).or_default() += 1;
        if let Some(expires_at) = read.expires_at {
            *self.expiries.entry(expires_at).or_default() += 1;
        }
        Ok(Entry::Record {
            key,
            record,
            expires_at: read.expires_at,
        })
    }

    /// Says what was read, once everything was. `now` tells what is over.
    ///
    /// # Errors
    ///
    /// When the end is missing.
    pub fn finish(self, now: UnixTime) -> Result<Summary, BackupError> {
        let Some(header) = self.header else {
            return Err(BackupError::NoBackup);
        };
        if !self.ended {
            return Err(BackupError::CutOff(self.line));
        }
        Ok(Summary {
            version: header.version,
            issuer: header.issuer,
            created_at: header.created_at,
            has_keys: header.has_keys,
            expired: self.expiries.range(..=now).map(|(_, count)| count).sum(),
            records: self.tally.records,
            ended: self.tally.ended,
        })
    }
}

/// Hands on each line of a file, which may be long, but not without end.
pub(crate) fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut bounded = io::Read::take(file, MAXIMUM_LINE as u64 + 2);
    Ok(bounded.read_until(b'\n', line)? > 0)
}

/// Reads a whole backup without a store, and says what is in it. Whoever restores one does this first, so that nothing is
/// restored from a file that is damaged further down.
///
/// # Errors
///
/// When anything is wrong with it.
pub fn inspect(mut file: impl BufRead, now: UnixTime) -> Result<Summary, BackupError> {
    let (mut reader, mut line) = (BackupReader::new(), Vec::new());
    while next_line(&mut file, &mut line)? {
        reader.line(&line)?;
    }
    reader.finish(now)
}

#[cfg(test)]
mod tests;
