//! How much there is.

use serde::Serialize;

use super::{Operator, OperatorError};
use crate::audit::Command;
use crate::clock::UnixTime;
use crate::store::Kind;

/// How many records of one kind there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KindCount {
    /// The kind, by its short name.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
}

/// How much there is. While others write, the numbers are about right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Statistics {
    /// When it was counted.
    pub at: UnixTime,
    /// Clients of the configuration.
    pub configured_clients: u64,
    /// Clients that have registered themselves.
    pub registered_clients: u64,
    /// Clients with a metadata document.
    pub document_clients: u64,
    /// Grants, those that have just ended included.
    pub grants: u64,
    /// People with grants. Somebody whose grants have all ended counts until the last hint to them is gone.
    pub users: u64,
    /// Authorization requests on their way.
    pub transactions: u64,
    /// Devices that wait to be let in.
    pub devices: u64,
    /// Every kind of record, for those who know them.
    pub records: Vec<KindCount>,
}

impl Operator {
    /// Counts what there is.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub async fn statistics(&self) -> Result<Statistics, OperatorError> {
        let counted = self.server.store().count().await.map_err(OperatorError::from);
        let counts = self.audited(self.event(Command::Count), counted)?;
        let record = |(kind, count): (Kind, u64)| KindCount {
            kind: kind.as_str(),
            count,
        };
        Ok(Statistics {
            at: self.server.now(),
            configured_clients: self.server.0.clients.preregistered.len() as u64,
            registered_clients: counts.of(Kind::Client),
            document_clients: counts.of(Kind::Document),
            grants: counts.of(Kind::Grant),
            users: counts.of(Kind::UserGrants),
            transactions: counts.of(Kind::Transaction),
            devices: counts.of(Kind::Device),
            records: counts.iter().map(record).collect(),
        })
    }
}
