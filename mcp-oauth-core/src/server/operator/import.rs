//! Reading a backup back.

use std::io::BufRead;

use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use super::{AT_ONCE, Operator, OperatorError};
use crate::audit::Command;
use crate::backup::{self, BackupError, BackupReader, Entry, Summary};
use crate::clock::UnixTime;
use crate::grant::Grant;
use crate::revocation::{Ended, Holder, MARGIN};
use crate::server::hints::{grants_of_client, grants_of_user};
use crate::server::keys::{KeyRingError, Keys};
use crate::server::not_before::{NotBefore, not_before_key};
use crate::server::{MAXIMUM_ROUNDS, client_key, contended};
use crate::store::{self, Key, Kind, Loaded, StoreError};
use crate::token::keys::KeySealing;
use crate::token::keys::record::SealedRing;

/// So many records are held until they are written, several at the same time.
const BATCH: usize = 256;

/// What becomes of records that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExistingRecords {
    /// Where there are clients or grants, nothing is imported: the store has to be empty.
    Refuse,
    /// They stay as they are. To read a backup twice is then to read it once.
    Keep,
    /// The backup's take their place. Whoever has newer refresh tokens loses them.
    Replace,
}

/// How a backup is read back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    /// What becomes of records that are there already.
    pub existing: ExistingRecords,
    /// What the signing keys are sealed with, to restore them too. Without it they are left out.
    pub keys: Option<KeySealing>,
}

impl ImportOptions {
    /// Without the signing keys.
    #[must_use]
    pub fn new(existing: ExistingRecords) -> Self {
        Self { existing, keys: None }
    }

    /// With the signing keys.
    #[must_use]
    pub fn with_keys(mut self, sealing: KeySealing) -> Self {
        self.keys = Some(sealing);
        self
    }
}

/// What reading a backup back came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// Records that were not there and are now.
    pub imported: u64,
    /// Records that were there and have made room.
    pub replaced: u64,
    /// Records that were there and stayed.
    pub kept: u64,
    /// Records whose time is over, which were left out.
    pub expired: u64,
    /// Things that have ended, which stay so.
    pub ended: u64,
    /// Whether the signing keys were restored.
    pub keys: bool,
    /// What the backup says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
}

enum Put {
    Imported,
    Replaced,
    Kept,
    Expired,
}

/// A backup that is being read back. Hand in each of its lines, then [`finish`](Self::finish).
pub struct Import {
    operator: Operator,
    options: ImportOptions,
    reader: BackupReader,
    pending: Vec<(Key, bytes::Bytes, Option<UnixTime>)>,
    report: ImportReport,
}

impl std::fmt::Debug for Import {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Import")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl Operator {
    /// Begins to read a backup back. Records are written as they come, so it is [inspected](backup::inspect) first by
    /// whoever does not want half of a damaged one; reading the rest, or all of it again, then completes it.
    ///
    /// No other server should use the store until it is over: one that has made signing keys of its own by then keeps them.
    ///
    /// # Errors
    ///
    /// When the store is to be empty and is not; when keys are to be restored and this server has none in its store.
    pub async fn import(&self, options: ImportOptions) -> Result<Import, OperatorError> {
        if options.keys.is_some() && matches!(self.server.0.keys, Keys::Given(_)) {
            return Err(KeyRingError::NotStored.into());
        }
        if options.existing == ExistingRecords::Refuse {
            for kind in [Kind::Grant, Kind::Client, Kind::Document] {
                if !self.keys(kind, None, 1).await?.0.is_empty() {
                    return Err(OperatorError::NotEmpty);
                }
            }
        }
        Ok(Import {
            operator: self.clone(),
            options,
            reader: BackupReader::new(),
            pending: Vec::new(),
            report: ImportReport::default(),
        })
    }

    /// Reads a backup back from a file.
    ///
    /// # Errors
    ///
    /// When anything is wrong with it, or the store does not answer. What was read by then is there.
    pub async fn import_from(
        &self,
        mut file: impl BufRead,
        options: ImportOptions,
    ) -> Result<ImportReport, OperatorError> {
        let mut import = self.import(options).await?;
        let mut line = Vec::new();
        while backup::next_line(&mut file, &mut line).map_err(BackupError::from)? {
            import.line(&line).await?;
        }
        import.finish().await
    }
}

impl Import {
    /// Takes the next line, with or without the line feed at its end.
    ///
    /// # Errors
    ///
    /// When it is damaged; when the store does not answer.
    pub async fn line(&mut self, line: &[u8]) -> Result<(), OperatorError> {
        match self.reader.read(line)? {
            Entry::Header => {
                let issuer = self
                    .reader
                    .header()
                    .map(|header| header.issuer.as_str())
                    .unwrap_or_default();
                if issuer != self.operator.server.issuer().as_str() {
                    return Err(BackupError::OtherIssuer(issuer.to_owned()).into());
                }
            }
            Entry::Record { key, record, .. } if key.kind() == Kind::Keys => self.restore_keys(&key, &record).await?,
            Entry::Record {
                key,
                record,
                expires_at,
            } => {
                self.pending.push((key, record, expires_at));
                if self.pending.len() >= BATCH {
                    self.write_pending().await?;
                }
            }
            Entry::Ended(ended, text) => {
                self.write_pending().await?;
                self.end_again(ended, &text).await?;
            }
            Entry::Trailer => self.write_pending().await?,
        }
        Ok(())
    }

    /// Writes what is left, and says what came of it all.
    ///
    /// # Errors
    ///
    /// When the backup has no end; when the store does not answer.
    pub async fn finish(mut self) -> Result<ImportReport, OperatorError> {
        let outcome = async {
            self.write_pending().await?;
            let now = self.operator.server.now();
            self.report.summary = Some(std::mem::take(&mut self.reader).finish(now)?);
            Ok(())
        };
        let outcome: Result<(), OperatorError> = outcome.await;
        let event = self.operator.event(Command::Import);
        self.operator.audited(event, outcome)?;
        Ok(self.report)
    }

    /// Writes what was read, several records at the same time. What fails is tried again with the next of these.
    async fn write_pending(&mut self) -> Result<(), OperatorError> {
        let (operator, existing) = (&self.operator, self.options.existing);
        let write = |(key, record, expires_at): &(Key, bytes::Bytes, Option<UnixTime>)| {
            let (key, record, expires_at) = (key.clone(), record.clone(), *expires_at);
            async move { operator.put(&key, record, expires_at, existing).await }
        };
        let written: Vec<_> = stream::iter(self.pending.iter().map(write))
            .buffered(AT_ONCE)
            .collect()
            .await;
        let written: Vec<Put> = written.into_iter().collect::<Result<_, _>>()?;
        self.pending.clear();
        for put in written {
            match put {
                Put::Imported => self.report.imported += 1,
                Put::Replaced => self.report.replaced += 1,
                Put::Kept => self.report.kept += 1,
                Put::Expired => self.report.expired += 1,
            }
        }
        Ok(())
    }

    /// Takes the signing keys over, under this server's own secret.
    async fn restore_keys(&mut self, key: &Key, record: &[u8]) -> Result<(), OperatorError> {
        let (Keys::Stored(stored), Some(sealing)) = (&self.operator.server.0.keys, &self.options.keys) else {
            return Ok(());
        };
        let issuer = self.operator.server.issuer().as_str();
        let sealed: SealedRing = store::decode(key, record)?;
        let ring = sealed.open(sealing, issuer).map_err(KeyRingError::from)?;
        let own = SealedRing::seal(&ring, &stored.sealing, issuer).map_err(KeyRingError::from)?;
        let key = Key::new(Kind::Keys, issuer);
        let record = store::encode(&key, &own)?;
        match self.operator.put(&key, record, None, self.options.existing).await? {
            Put::Imported | Put::Replaced => self.report.keys = true,
            Put::Kept | Put::Expired => {}
        }
        Ok(())
    }

    /// Has something stay ended: its record, as far as it was restored, and its access tokens.
    async fn end_again(&mut self, ended: Ended, text: &str) -> Result<(), OperatorError> {
        let server = &self.operator.server;
        match ended {
            Ended::Grant(id) => {
                for _ in 0..MAXIMUM_ROUNDS {
                    match server.load_grant(&id).await? {
                        Some(grant) if !grant.record.has_ended() => {
                            if server.replace_grant(&grant, &grant.record.ended()).await? {
                                break;
                            }
                        }
                        _ => break,
                    }
                }
            }
            // Its identifier was drawn, so it is the one that has ended, and never comes back.
            Ended::Client(id) => {
                server.store().remove(&client_key(&id)).await?;
            }
            Ended::Before(holder, at) => self.operator.mark_again(&holder, at).await?,
        }
        let time_to_live = server.0.lifetimes.access_token + MARGIN;
        server.store().publish_ended(text, time_to_live).await?;
        self.report.ended += 1;
        Ok(())
    }
}

impl Operator {
    /// Writes a record of a backup.
    async fn put(
        &self,
        key: &Key,
        record: bytes::Bytes,
        expires_at: Option<UnixTime>,
        existing: ExistingRecords,
    ) -> Result<Put, OperatorError> {
        let store = self.server.store();
        let now = self.server.now();
        if expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Ok(Put::Expired);
        }
        let time_to_live = expires_at.map(|expires_at| expires_at.since(now));
        let mut put = Put::Imported;
        for _ in 0..MAXIMUM_ROUNDS {
            if store.insert(key, record.clone(), time_to_live).await? {
                break;
            }
            let Some(present) = store.get(key).await? else { continue };
            // What was used once is used, and of two marks the later one counts: neither is ever taken back.
            if existing != ExistingRecords::Replace || matches!(key.kind(), Kind::Once | Kind::Assertion) {
                put = Put::Kept;
                break;
            }
            if key.kind() == Kind::NotBefore {
                let mark: NotBefore = store::decode(key, &record)?;
                if let Some(holder) = Holder::read(key.id()) {
                    self.mark_again(&holder, mark.at).await?;
                }
                return Ok(Put::Replaced);
            }
            if store
                .compare_and_set(key, &present, record.clone(), time_to_live)
                .await?
            {
                put = Put::Replaced;
                break;
            }
        }
        if key.kind() == Kind::Grant
            && let Some(left) = time_to_live
        {
            let grant: Grant = store::decode(key, &record)?;
            for set in [
                grants_of_user(&grant.identity.subject()),
                grants_of_client(&grant.client_id),
            ] {
                match store.add_member(&set, key.id(), left).await {
                    Ok(()) | Err(StoreError::Full(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(put)
    }

    /// Sees to it that there is a mark of this moment, or a later one.
    async fn mark_again(&self, holder: &Holder, at: UnixTime) -> Result<(), OperatorError> {
        let (store, key) = (self.server.store(), not_before_key(holder));
        let (mark, time_to_live) = (NotBefore { at }, Some(self.server.longest_grant()));
        for _ in 0..MAXIMUM_ROUNDS {
            let known: Option<Loaded<NotBefore>> = store::load(store, &key).await?;
            let written = match known {
                None => store::insert(store, &key, &mark, time_to_live).await?,
                Some(known) if known.record.at >= at => true,
                Some(known) => store::replace(store, &key, &known, &mark, time_to_live).await?,
            };
            if written {
                return Ok(());
            }
        }
        Err(contended().into())
    }
}
