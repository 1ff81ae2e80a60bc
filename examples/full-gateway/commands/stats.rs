//! `stats`: how much there is.

use super::operating::Operating;
use super::output::moment;

pub(super) async fn run(operating: Operating) -> anyhow::Result<()> {
    let statistics = operating.operator()?.statistics().await?;
    let mut rows = vec![
        ("counted at", moment(statistics.at)),
        (
            "clients of the configuration",
            statistics.configured_clients.to_string(),
        ),
        (
            "clients that have registered",
            statistics.registered_clients.to_string(),
        ),
        ("clients with a document", statistics.document_clients.to_string()),
        ("grants", statistics.grants.to_string()),
        ("people with grants", statistics.users.to_string()),
        ("sign-ins on their way", statistics.transactions.to_string()),
        ("devices that wait", statistics.devices.to_string()),
    ];
    let records: u64 = statistics.records.iter().map(|kind| kind.count).sum();
    rows.push(("records of every kind", records.to_string()));
    operating.output.one(&statistics, rows)
}
