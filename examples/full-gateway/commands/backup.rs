//! `backup`: all records in a file, while the gateway goes on.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use mcp_oauth_core::clock::{Clock as _, SystemClock};
use serde_json::json;

use super::operating::Operating;
use super::output::{self, moment};
use super::private_file::{self, PrivateFile, Taken};
use super::progress;

/// Where to, and what.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write, which must not be there yet [mcp-oauth-backup-TIME.jsonl in the working directory]
    file: Option<PathBuf>,
    /// Put the signing keys in too, sealed with the secret in this file (32 random bytes, as `openssl rand -base64 32` makes
    /// them); without it access tokens end with a restore
    #[arg(long, value_name = "SECRET_FILE")]
    with_keys: Option<PathBuf>,
    #[command(flatten)]
    operating: Operating,
}

/// A name that sorts by time, and is none that a shell or a file system has to quote.
fn name_by_time() -> PathBuf {
    let digits: String = moment(SystemClock.now())
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    format!("mcp-oauth-backup-{digits}.jsonl").into()
}

pub(super) async fn run(backup: Backup) -> anyhow::Result<()> {
    let sealing = backup.with_keys.as_deref().map(private_file::sealing).transpose()?;
    let operator = backup.operating.operator()?;
    let path = backup.file.unwrap_or_else(name_by_time);
    let mut file = PrivateFile::begin(&path, Taken::Kept)?;
    let counted: u64 = operator.statistics().await?.records.iter().map(|kind| kind.count).sum();
    let bar = progress::bar("backing up", counted);
    let mut export = operator
        .export(sealing.as_ref())
        .context("the signing keys cannot be in the backup")?;
    while let Some(lines) = export.next().await? {
        file.write_all(lines.as_bytes())
            .context("the backup cannot be written")?;
        bar.inc(lines.lines().count() as u64);
    }
    file.finish()?;
    bar.finish_and_clear();
    let report = export.report();
    let has_keys = sealing.is_some();
    let value = json!({
        "file": path, "records": report.records, "has_keys": has_keys, "unreadable": report.unreadable,
    });
    let rows = vec![
        ("file", path.display().to_string()),
        ("records", report.records.to_string()),
        ("signing keys", if has_keys { "sealed" } else { "not in it" }.to_owned()),
    ];
    backup.operating.output.one(&value, rows)?;
    report.unreadable.iter().for_each(output::unreadable);
    Ok(())
}
