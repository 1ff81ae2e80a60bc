//! `import`: what another gateway has.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use mcp_oauth_core::predecessor::{self, PredecessorRecord};
use mcp_oauth_core::server::operator::{Migration, MigrationOutcome, OperatorError};
use mcp_oauth_store::redis::Predecessor;
use mcp_oauth_tower::RedisConfiguration;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::exit::End;
use super::operating::Operating;
use super::{output, progress};

/// Whose.
#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// The clients of the Python gateway (mcp-oauth-gateway): it is read, and never written
    Predecessor(Source),
}

/// Where they are.
#[derive(Debug, Args)]
#[group(id = "source", required = true, multiple = false, args = ["redis", "dump"])]
pub(crate) struct Source {
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
    let Import::Predecessor(source) = command;
    let operator = source.operating.operator()?;
    let mut migration = operator.migration(source.dry_run);
    let read = match &source.dump {
        Some(dump) => take_from_dump(dump, &mut migration).await,
        None => source.take_from_redis(&mut migration).await,
    };
    // What the store refuses has its event already. Whatever else broke it off, there is one for what came before.
    if read.as_ref().is_err_and(anyhow::Error::is::<OperatorError>) {
        return read.map(drop);
    }
    if matches!(read, Ok(0)) {
        return Err(End::NotFound("there are no clients of the predecessor".to_owned()).into());
    }
    let report = migration.finish();
    read?;
    let taken = if report.dry_run {
        "would be taken over"
    } else {
        "taken over"
    };
    let rows = vec![
        (taken, report.taken_over.to_string()),
        ("of these in part", report.in_part_count.to_string()),
        ("here already", report.already_here.to_string()),
        ("left out", report.left_out_count.to_string()),
    ];
    source.operating.output.one(&report, rows)
}

/// Takes over one client, and names what is lost of it.
async fn take_over(client: &PredecessorRecord, migration: &mut Migration, bar: &ProgressBar) -> anyhow::Result<()> {
    let (what, problem) = match migration.take_over(client).await? {
        MigrationOutcome::InPart(problem) => ("in part", problem),
        MigrationOutcome::LeftOut(problem) => ("left out", problem),
        _ => return Ok(()),
    };
    let reasons = problem.reasons.join("; ");
    bar.suspend(|| output::note(&format!("{what}: {}: {reasons}", problem.client_id)));
    Ok(())
}

impl Source {
    /// Takes over what is in a Redis, and says how many clients there were.
    async fn take_from_redis(&self, migration: &mut Migration) -> anyhow::Result<u64> {
        let url = self.redis.as_deref().unwrap_or_default();
        let mut redis: RedisConfiguration = url.parse().context("the predecessor's Redis cannot be used")?;
        if let Some(password) = &self.redis_password {
            redis = redis.password(password.as_str());
        }
        let predecessor = Predecessor::new(&redis).context("the predecessor's Redis cannot be used")?;
        let mut scan = predecessor.scan();
        let bar = progress::count("taking over the predecessor's clients");
        while let Some(clients) = scan.next().await.context("the predecessor's Redis cannot be read")? {
            for client in &clients {
                take_over(client, migration, &bar).await?;
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(bar.position())
    }
}

/// Takes over what is in a file, and says how many clients there were. The file is read twice, and held neither time: at
/// first to see whether it is whole, so that nothing is taken over out of half of one.
async fn take_from_dump(path: &Path, migration: &mut Migration) -> anyhow::Result<u64> {
    let mut count = 0;
    visit(path, |_| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    let bar = progress::bar("taking over", count);
    let (sender, mut clients) = mpsc::channel(16);
    let file = path.to_owned();
    let reading = spawn_blocking(move || {
        visit(&file, |client| match sender.blocking_send(client) {
            Ok(()) => ControlFlow::Continue(()),
            // Whoever takes them over has failed, and says so.
            Err(_) => ControlFlow::Break(()),
        })
    });
    while let Some(client) = clients.recv().await {
        take_over(&client, migration, &bar).await?;
        bar.inc(1);
    }
    reading.await??;
    bar.finish_and_clear();
    Ok(count)
}

/// Reads the clients in a file. What it says they had left is counted from when it was written.
fn visit(path: &Path, each: impl FnMut(PredecessorRecord) -> ControlFlow<()>) -> anyhow::Result<()> {
    let failed = || format!("cannot read {}", path.display());
    let dump = File::open(path).with_context(failed)?;
    let written = dump.metadata().and_then(|metadata| metadata.modified());
    let age = written.with_context(failed)?.elapsed().unwrap_or(Duration::ZERO);
    Ok(predecessor::visit_dump(dump, age, each)?)
}
