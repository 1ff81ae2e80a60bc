//! `import`: what another gateway has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use mcp_oauth_core::predecessor::{self, PredecessorRecord};
use mcp_oauth_core::server::operator::Loss;
use mcp_oauth_store::redis::Predecessor;
use mcp_oauth_tower::RedisConfiguration;

use super::exit::End;
use super::operating::Operating;
use super::{output, progress};

/// Whose.
#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// The clients of the Python gateway (mcp-oauth-gateway): it is read, and never written
    Predecessor(From),
}

/// Where they are.
#[derive(Debug, Args)]
#[group(id = "source", required = true, multiple = false, args = ["redis", "dump"])]
pub(crate) struct From {
    /// Its Redis, such as redis://redis:6379/0
    #[arg(long, value_name = "URL", env = "PREDECESSOR_REDIS_URL", hide_env_values = true)]
    redis: Option<String>,
    /// The password of that Redis, which is better not on the command line
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "PREDECESSOR_REDIS_PASSWORD",
        hide_env_values = true,
        requires = "redis"
    )]
    redis_password: Option<String>,
    /// A file that its `just oauth-backup` has written
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
    /// Change nothing, and say what would be taken over
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    operating: Operating,
}

pub(super) async fn run(command: Import) -> anyhow::Result<()> {
    let Import::Predecessor(from) = command;
    let operator = from.operating.operator()?;
    let spinner = progress::spinner("reading the predecessor's clients");
    let records = from.records().await?;
    spinner.finish_and_clear();
    if records.is_empty() {
        return Err(End::NotFound("there are no clients of the predecessor".to_owned()).into());
    }
    let spinner = progress::spinner("taking them over");
    let report = operator.migrate(records, from.dry_run).await?;
    spinner.finish_and_clear();
    let taken = if report.dry_run {
        "would be taken over"
    } else {
        "taken over"
    };
    let rows = vec![
        (taken, report.taken_over.to_string()),
        ("of these in part", report.in_part.len().to_string()),
        ("here already", report.already_here.to_string()),
        ("left out", report.left_out.len().to_string()),
    ];
    from.operating.output.one(&report, rows)?;
    tell("in part", &report.in_part);
    tell("left out", &report.left_out);
    Ok(())
}

fn tell(what: &str, losses: &[Loss]) {
    for loss in losses {
        output::note(&format!("{what}: {}: {}", loss.client_id, loss.reasons.join("; ")));
    }
}

impl From {
    async fn records(&self) -> anyhow::Result<Vec<PredecessorRecord>> {
        if let Some(dump) = &self.dump {
            return read_dump(dump);
        }
        let url = self.redis.as_deref().unwrap_or_default();
        let mut redis: RedisConfiguration = url.parse().context("the predecessor's Redis cannot be used")?;
        if let Some(password) = &self.redis_password {
            redis = redis.password(password.as_str());
        }
        let predecessor = Predecessor::new(&redis).context("the predecessor's Redis cannot be used")?;
        let records = predecessor.clients().await;
        records.context("the predecessor's Redis cannot be read")
    }
}

/// What the file says clients had left is counted from when it was written.
fn read_dump(file: &Path) -> anyhow::Result<Vec<PredecessorRecord>> {
    let failed = || format!("cannot read {}", file.display());
    let written = file
        .metadata()
        .and_then(|metadata| metadata.modified())
        .with_context(failed)?;
    let age = written.elapsed().unwrap_or(Duration::ZERO);
    let dump = std::fs::read(file).with_context(failed)?;
    Ok(predecessor::read_dump(&dump, age)?)
}
