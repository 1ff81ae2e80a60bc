//! `restore`: a backup, read back.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use mcp_oauth_core::backup::{BackupError, MAXIMUM_LINE};
use mcp_oauth_core::server::operator::{ExistingRecords, ImportOptions, ImportReport, Operator, OperatorError};
use serde_json::json;

use super::confirmation::Confirmation;
use super::operating::Operating;
use super::{inspect, private_file, progress};

/// From where, and onto what.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    file: PathBuf,
    /// Records that are there already stay as they are
    #[arg(long, conflicts_with = "replace")]
    keep: bool,
    /// Records that are there already make room for those of the backup
    #[arg(long)]
    replace: bool,
    /// Restore the signing keys too, which are sealed with the secret in this file
    #[arg(long, value_name = "SECRET_FILE")]
    with_keys: Option<PathBuf>,
    /// Change nothing, and say what is in the backup and whether it could be restored
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    operating: Operating,
}

const STAYS: &str = "there are clients or grants in the store: say --keep to leave those as they are, or --replace to have \
                     the backup's take their place; nothing was changed";

impl Restore {
    fn options(&self) -> anyhow::Result<ImportOptions> {
        let options = ImportOptions::new(match (self.keep, self.replace) {
            (true, _) => ExistingRecords::Keep,
            (false, true) => ExistingRecords::Replace,
            (false, false) => ExistingRecords::Refuse,
        });
        Ok(match &self.with_keys {
            None => options,
            Some(file) => options.with_keys(private_file::sealing(file)?),
        })
    }

    /// Whether records may be written, without writing any.
    async fn rehearse(&self, operator: &Operator) -> anyhow::Result<()> {
        match operator.import(self.options()?).await {
            Err(OperatorError::NotEmpty) => anyhow::bail!(STAYS),
            begun => Ok(begun.map(drop)?),
        }
    }

    async fn read_back(&self, operator: &Operator) -> anyhow::Result<ImportReport> {
        let open = File::open(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        let bar = progress::bytes("restoring", open.metadata().map_or(0, |metadata| metadata.len()));
        let mut file = BufReader::new(bar.wrap_read(open));
        let mut import = operator.import(self.options()?).await?;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut file).take(MAXIMUM_LINE as u64 + 2).read_until(b'\n', &mut line);
            if read.map_err(BackupError::from)? == 0 {
                bar.finish_and_clear();
                return Ok(import.finish().await?);
            }
            import.line(&line).await?;
        }
    }
}

pub(super) async fn run(restore: Restore) -> anyhow::Result<()> {
    let output = restore.operating.output;
    let server = restore.operating.server()?;
    let operator = server.operator();
    // All of it is read before any of it is written, so that nothing is restored from a file that is damaged further down.
    let summary = inspect::read(&restore.file)?;
    if summary.issuer != server.issuer().as_str() {
        return Err(BackupError::OtherIssuer(summary.issuer).into());
    }
    anyhow::ensure!(
        restore.with_keys.is_none() || summary.has_keys,
        "there are no signing keys in {}: leave --with-keys out",
        restore.file.display()
    );
    restore.rehearse(&operator).await?;
    if restore.dry_run {
        let value = json!({"dry_run": true, "summary": summary});
        return output.one(&value, inspect::rows(&summary));
    }
    restore.confirmation.ask(&format!(
        "Restore {} into the store of {}? No gateway should use it meanwhile.{}",
        restore.file.display(),
        summary.issuer,
        if restore.replace {
            " Whoever has newer refresh tokens loses them, and that cannot be undone."
        } else {
            ""
        }
    ))?;
    let report = restore.read_back(&operator).await?;
    let rows = vec![
        ("restored", report.imported.to_string()),
        ("replaced", report.replaced.to_string()),
        ("kept", report.kept.to_string()),
        ("over by now, left out", report.expired.to_string()),
        ("ended again", report.ended.to_string()),
        (
            "signing keys",
            if report.keys { "restored" } else { "not restored" }.to_owned(),
        ),
    ];
    output.one(&report, rows)
}
