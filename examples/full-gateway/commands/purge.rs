//! `purge`: what is stale goes, what is missing comes back.

use clap::Args;

use super::operating::Operating;
use super::output;
use super::progress;

/// How.
#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// Change nothing, and say what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    operating: Operating,
}

pub(super) async fn run(purge: Purge) -> anyhow::Result<()> {
    let operator = purge.operating.operator()?;
    let statistics = operator.statistics().await?;
    // Each grant is looked at, and stands on two lists.
    let expected = 3 * statistics.grants + statistics.registered_clients + statistics.document_clients;
    let bar = progress::bar("looking through the store", expected);
    let report = operator
        .purge_watched(purge.dry_run, |report| {
            bar.set_position(report.hints_examined + report.grants_examined + report.clients_examined);
        })
        .await?;
    bar.finish_and_clear();
    let removed = if report.dry_run { "would be removed" } else { "removed" };
    let rows = vec![
        (
            "clients",
            format!("{} of {} {removed}", report.clients_removed, report.clients_examined),
        ),
        (
            "hints",
            format!("{} of {} {removed}", report.hints_removed, report.hints_examined),
        ),
        ("grants looked at", report.grants_examined.to_string()),
        ("records that cannot be read", report.unreadable_count.to_string()),
    ];
    purge.operating.output.one(&report, rows)?;
    report.unreadable.iter().for_each(output::unreadable);
    Ok(())
}
