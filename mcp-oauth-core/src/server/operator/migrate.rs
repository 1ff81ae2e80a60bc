//! Taking over the clients of the predecessor.

use serde::Serialize;

use super::{Operator, OperatorError};
use crate::audit::Command;
use crate::client::Client;
use crate::predecessor::{PredecessorRecord, convert};
use crate::server::client_key;
use crate::store;

/// A client that is not taken over, or not whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Loss {
    /// Its identifier at the predecessor.
    pub client_id: String,
    /// Why, or what of it.
    pub reasons: Vec<String>,
}

/// What taking over the predecessor's clients came to, or would come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MigrationReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// How many clients were taken over.
    pub taken_over: u64,
    /// How many were here already. They stayed as they are.
    pub already_here: u64,
    /// Those that were taken over, but not all that they had registered.
    pub in_part: Vec<Loss>,
    /// Those that were left out.
    pub left_out: Vec<Loss>,
}

impl Operator {
    /// Takes over clients of the predecessor: see [`crate::predecessor`] for what of them. With `dry_run` it only says what
    /// it would do. Doing it again takes over what is new.
    ///
    /// # Errors
    ///
    /// When the store does not answer, or is full. What was taken over by then is here.
    pub async fn migrate(
        &self,
        records: impl IntoIterator<Item = PredecessorRecord>,
        dry_run: bool,
    ) -> Result<MigrationReport, OperatorError> {
        let mut report = MigrationReport {
            dry_run,
            ..MigrationReport::default()
        };
        let command = if dry_run {
            Command::RehearseMigration
        } else {
            Command::Migrate
        };
        for record in records {
            if let Err(error) = self.take_over(&record, &mut report).await {
                return self.audited(self.event(command), Err(error));
            }
        }
        self.audited(self.event(command), Ok(report))
    }

    async fn take_over(&self, record: &PredecessorRecord, report: &mut MigrationReport) -> Result<(), OperatorError> {
        let policy = &self.server.0.registration.redirect_uris;
        let loss = |reasons| Loss {
            client_id: record.id().to_owned(),
            reasons,
        };
        let converted = match convert(record, policy, self.server.now()) {
            Ok(converted) => converted,
            Err(reason) => {
                report.left_out.push(loss(vec![reason.to_string()]));
                return Ok(());
            }
        };
        let client = match self.as_one_of_here(converted.client) {
            Ok(client) => client,
            Err(reason) => {
                report.left_out.push(loss(vec![reason]));
                return Ok(());
            }
        };
        let key = client_key(&client.client_id);
        let is_new = if report.dry_run {
            self.server.store().get(&key).await?.is_none()
        } else {
            let time_to_live = client.expires_at.map(|expires_at| expires_at.since(self.server.now()));
            store::insert(self.server.store(), &key, &client, time_to_live).await?
        };
        if !is_new || self.server.0.clients.preregistered.contains_key(&client.client_id) {
            report.already_here += 1;
            return Ok(());
        }
        report.taken_over += 1;
        if !converted.left_out.is_empty() {
            report.in_part.push(loss(converted.left_out));
        }
        Ok(())
    }

    /// The client with no other ways to tokens, and no longer a life, than clients have here.
    fn as_one_of_here(&self, mut client: Client) -> Result<Client, String> {
        client.metadata = client
            .metadata
            .limited_to(self.server.grant_types())
            .map_err(|error| error.to_string())?;
        if let Some(lifetime) = self.server.0.lifetimes.client {
            let latest = self.server.now() + lifetime;
            client.expires_at = Some(client.expires_at.map_or(latest, |expires_at| expires_at.min(latest)));
        }
        Ok(client)
    }
}
