//! Making a backup while the server goes on.

use std::collections::VecDeque;
use std::io::Write;

use futures_util::{StreamExt as _, stream};

use super::{AT_ONCE, MAXIMUM_PAGE, Operator, OperatorError, Unreadable};
use crate::audit::Command;
use crate::backup::{self, BackupWriter, Header};
use crate::server::keys::{KeyRingError, Keys};
use crate::store::{self, FeedPosition, Kept, Key, Kind, ListPosition, StoreError};
use crate::token::keys::KeySealing;
use crate::token::keys::record::SealedRing;

/// What a backup left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct ExportReport {
    /// How many records are in it.
    pub records: u64,
    /// Records that cannot be read. A backup has none of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
}

/// Where a backup is.
enum Stage {
    Kind(Kind, Option<ListPosition>),
    Keys,
    Ended(Option<FeedPosition>),
    Trailer,
    Over,
}

/// A backup that is being made. Ask for [`next`](Self::next) until there is no more.
pub struct Export {
    operator: Operator,
    keys: Option<KeySealing>,
    writer: BackupWriter,
    ahead: VecDeque<Stage>,
    report: ExportReport,
}

impl std::fmt::Debug for Export {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Export")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl Operator {
    /// Begins a backup: see [`crate::backup`] for what it promises. With `keys`, the signing keys are in it, sealed with this;
    /// without, they are not, and a server that is restored from it begins with new ones, so that all access tokens end.
    ///
    /// # Errors
    ///
    /// When keys are asked for and this server has none in its store.
    pub fn export(&self, keys: Option<&KeySealing>) -> Result<Export, OperatorError> {
        if keys.is_some() && matches!(self.server.0.keys, Keys::Given(_)) {
            return Err(KeyRingError::NotStored.into());
        }
        let header = Header::new(self.server.issuer().as_str(), self.server.now(), keys.is_some());
        let mut ahead: VecDeque<_> = backup::KINDS.into_iter().map(|kind| Stage::Kind(kind, None)).collect();
        ahead.extend(keys.map(|_| Stage::Keys));
        ahead.extend([Stage::Ended(None), Stage::Trailer, Stage::Over]);
        Ok(Export {
            operator: self.clone(),
            keys: keys.cloned(),
            writer: BackupWriter::begin(header).map_err(backup::BackupError::from)?,
            ahead,
            report: ExportReport::default(),
        })
    }

    /// Makes a backup into a file.
    ///
    /// # Errors
    ///
    /// When the store does not answer, or the file cannot be written. What is in the file then is no backup.
    pub async fn export_to(
        &self,
        mut file: impl Write,
        keys: Option<&KeySealing>,
    ) -> Result<ExportReport, OperatorError> {
        let mut export = self.export(keys)?;
        while let Some(lines) = export.next().await? {
            file.write_all(lines.as_bytes()).map_err(backup::BackupError::from)?;
        }
        file.flush().map_err(backup::BackupError::from)?;
        Ok(export.report)
    }
}

impl Export {
    /// Some more lines; `None` when that was all.
    ///
    /// # Errors
    ///
    /// When the store does not answer; asking again goes on where it stopped.
    pub async fn next(&mut self) -> Result<Option<String>, OperatorError> {
        let outcome = self.step().await;
        let command = if self.keys.is_some() {
            Command::ExportWithKeys
        } else {
            Command::Export
        };
        match outcome {
            Ok(true) => Ok(Some(self.writer.take())),
            Ok(false) => {
                self.report.records = self.writer.records();
                self.operator.audited(self.operator.event(command), Ok(None))
            }
            Err(error) => self.operator.audited(self.operator.event(command), Err(error)),
        }
    }

    /// What was left out so far.
    #[must_use]
    pub fn report(&self) -> &ExportReport {
        &self.report
    }

    /// Takes a step, and says whether there is another one. A step that fails has written nothing.
    async fn step(&mut self) -> Result<bool, OperatorError> {
        let next = match self.ahead.front() {
            None | Some(Stage::Over) => return Ok(false),
            Some(Stage::Kind(kind, position)) => {
                let (kind, position) = (*kind, position.clone());
                let next = self.records(kind, position.as_ref()).await?;
                next.map(|position| Stage::Kind(kind, Some(position)))
            }
            Some(Stage::Keys) => {
                self.signing_keys().await?;
                None
            }
            Some(Stage::Ended(position)) => {
                let position = position.clone();
                let page = self.operator.server.store().read_ended(position.as_ref()).await?;
                for entry in &page.entries {
                    // What this software cannot read it would not heed either.
                    if let Ok(entry) = std::str::from_utf8(entry)
                        && crate::revocation::Ended::read(entry.as_bytes()).is_some()
                    {
                        self.writer.ended(entry).map_err(backup::BackupError::from)?;
                    }
                }
                page.more.then(|| Stage::Ended(page.position.or(position)))
            }
            Some(Stage::Trailer) => {
                self.writer.end().map_err(backup::BackupError::from)?;
                None
            }
        };
        self.ahead.pop_front();
        if let Some(next) = next {
            self.ahead.push_front(next);
        }
        Ok(true)
    }

    async fn records(
        &mut self,
        kind: Kind,
        position: Option<&ListPosition>,
    ) -> Result<Option<ListPosition>, OperatorError> {
        let server = &self.operator.server;
        let page = server.store().list(kind, position, MAXIMUM_PAGE).await?;
        let read = |key: Key| async move {
            let kept = server.store().inspect(&key).await;
            (key, kept)
        };
        let read: Vec<(Key, Result<Option<Kept>, StoreError>)> =
            stream::iter(page.keys).map(read).buffered(AT_ONCE).collect().await;
        let mut readable = Vec::new();
        let mut unreadable = Vec::new();
        for (key, kept) in read {
            match kept {
                Ok(None) => {}
                Ok(Some(kept)) => match backup::check(&key, &kept.record) {
                    Ok(()) => readable.push((key, kept)),
                    Err(error) => unreadable.push(Unreadable::from_error(error)?),
                },
                Err(error) => unreadable.push(Unreadable::from_error(error)?),
            }
        }
        let now = server.now();
        for (key, kept) in readable {
            let expires_at = kept.time_to_live.map(|left| now + left);
            self.writer
                .record(&key, &kept.record, expires_at)
                .map_err(backup::BackupError::from)?;
        }
        self.report.unreadable.extend(unreadable);
        Ok(page.next)
    }

    /// The signing keys, under the secret of the backup alone.
    async fn signing_keys(&mut self) -> Result<(), OperatorError> {
        let (Keys::Stored(stored), Some(sealing)) = (&self.operator.server.0.keys, &self.keys) else {
            return Ok(());
        };
        let issuer = self.operator.server.issuer().as_str();
        let key = Key::new(Kind::Keys, issuer);
        let Some(found) = store::load::<SealedRing>(self.operator.server.store(), &key).await? else {
            return Ok(());
        };
        let ring = found.record.open(&stored.sealing, issuer).map_err(KeyRingError::from)?;
        let sealed = SealedRing::seal(&ring, sealing, issuer).map_err(KeyRingError::from)?;
        let record = store::encode(&key, &sealed)?;
        self.writer
            .record(&key, &record, None)
            .map_err(backup::BackupError::from)?;
        Ok(())
    }
}
