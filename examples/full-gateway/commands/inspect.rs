//! `inspect`: what is in a backup.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use mcp_oauth_core::backup::{self, Summary};
use mcp_oauth_core::clock::{Clock as _, SystemClock};

use super::output::{Output, moment};
use super::progress;

/// Which one.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Reads all of a backup, and says what is in it.
pub(super) fn read(file: &Path) -> anyhow::Result<Summary> {
    let open = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let bar = progress::bytes("reading", open.metadata().map_or(0, |metadata| metadata.len()));
    let summary = backup::inspect(BufReader::new(bar.wrap_read(open)), SystemClock.now());
    bar.finish_and_clear();
    summary.with_context(|| format!("{} cannot be restored", file.display()))
}

/// What is in it, for people.
pub(super) fn rows(summary: &Summary) -> Vec<(&str, String)> {
    let mut rows = vec![
        ("issuer", summary.issuer.clone()),
        ("made", moment(summary.created_at)),
        ("format", summary.version.to_string()),
        (
            "signing keys",
            if summary.has_keys { "sealed" } else { "not in it" }.to_owned(),
        ),
    ];
    let counts = summary.records.iter();
    rows.extend(counts.map(|(kind, count)| (kind.as_str(), count.to_string())));
    rows.push(("ended", summary.ended.to_string()));
    rows.push(("over by now", summary.expired.to_string()));
    rows
}

pub(super) fn run(inspect: &Inspect) -> anyhow::Result<()> {
    let summary = read(&inspect.file)?;
    inspect.output.one(&summary, rows(&summary))
}
