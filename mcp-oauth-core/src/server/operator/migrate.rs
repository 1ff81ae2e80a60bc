//! Taking over the clients of the predecessor.

use serde::Serialize;

use super::{Operator, OperatorError};
use crate::audit::{Command, Event};
use crate::client::Client;
use crate::predecessor::{PredecessorRecord, convert};
use crate::server::client_key;
use crate::store;

/// A client that is not taken over, or not whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MigrationProblem {
    /// Its identifier at the predecessor.
    pub client_id: String,
    /// Why, or what of it.
    pub reasons: Vec<String>,
}

/// At most this many of either kind are named in a report; all of them are counted.
const MAXIMUM_NAMED: usize = 1000;

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
    /// How many were taken over, but not all that they had registered.
    pub in_part_count: u64,
    /// Which those are, the first thousand.
    pub in_part: Vec<MigrationProblem>,
    /// How many were left out.
    pub left_out_count: u64,
    /// Which those are, the first thousand.
    pub left_out: Vec<MigrationProblem>,
}

/// What has become of one client, or would have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MigrationOutcome {
    /// It was taken over with all that it had registered.
    TakenOver,
    /// It was taken over without some of what it had registered.
    InPart(MigrationProblem),
    /// It was here already, and stayed as it is.
    AlreadyHere,
    /// It was left out.
    LeftOut(MigrationProblem),
}

/// Clients of the predecessor that are being taken over. Hand in [each](Self::take_over), then [`finish`](Self::finish): no
/// more than one of them is held.
#[derive(Debug)]
pub struct Migration {
    operator: Operator,
    report: MigrationReport,
}

impl Operator {
    /// Begins to take over clients of the predecessor: see [`crate::predecessor`] for what of them. With `dry_run` it only
    /// says what it would do. Doing it again takes over what is new.
    #[must_use]
    pub fn migration(&self, dry_run: bool) -> Migration {
        Migration {
            operator: self.clone(),
            report: MigrationReport {
                dry_run,
                ..MigrationReport::default()
            },
        }
    }

    /// Takes over clients of the predecessor that are held already, as a [`Migration`] does one by one.
    ///
    /// # Errors
    ///
    /// When the store does not answer, or is full. What was taken over by then is here.
    pub async fn migrate(
        &self,
        records: impl IntoIterator<Item = PredecessorRecord>,
        dry_run: bool,
    ) -> Result<MigrationReport, OperatorError> {
        let mut migration = self.migration(dry_run);
        for record in records {
            migration.take_over(&record).await?;
        }
        Ok(migration.finish())
    }
}

impl Migration {
    /// Takes over a client, unless it is here, and says what has become of it.
    ///
    /// # Errors
    ///
    /// When the store does not answer, or is full. What was taken over by then is here.
    pub async fn take_over(&mut self, record: &PredecessorRecord) -> Result<MigrationOutcome, OperatorError> {
        let outcome = self.operator.take_over(record, self.report.dry_run).await;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return self.operator.audited(self.event(), Err(error)),
        };
        let report = &mut self.report;
        match &outcome {
            MigrationOutcome::TakenOver => report.taken_over += 1,
            MigrationOutcome::AlreadyHere => report.already_here += 1,
            MigrationOutcome::InPart(problem) => {
                report.taken_over += 1;
                report.in_part_count += 1;
                name(&mut report.in_part, problem);
            }
            MigrationOutcome::LeftOut(problem) => {
                report.left_out_count += 1;
                name(&mut report.left_out, problem);
            }
        }
        Ok(outcome)
    }

    /// What it has come to so far.
    #[must_use]
    pub fn report(&self) -> &MigrationReport {
        &self.report
    }

    /// Ends it, and says what it came to.
    #[must_use]
    pub fn finish(self) -> MigrationReport {
        let event = self.event().ended(None);
        self.operator.server.audit(event);
        self.report
    }

    fn event(&self) -> Event {
        let command = if self.report.dry_run {
            Command::RehearseMigration
        } else {
            Command::Migrate
        };
        self.operator.event(command)
    }
}

fn name(problems: &mut Vec<MigrationProblem>, problem: &MigrationProblem) {
    if problems.len() < MAXIMUM_NAMED {
        problems.push(problem.clone());
    }
}

impl Operator {
    async fn take_over(&self, record: &PredecessorRecord, dry_run: bool) -> Result<MigrationOutcome, OperatorError> {
        let policy = &self.server.0.registration.redirect_uris;
        let problem = |reasons| MigrationProblem {
            client_id: record.id().to_owned(),
            reasons,
        };
        let converted = match convert(record, policy, self.server.now()) {
            Ok(converted) => converted,
            Err(reason) => return Ok(MigrationOutcome::LeftOut(problem(vec![reason.to_string()]))),
        };
        let client = match self.as_one_of_here(converted.client) {
            Ok(client) => client,
            Err(reason) => return Ok(MigrationOutcome::LeftOut(problem(vec![reason]))),
        };
        let key = client_key(&client.client_id);
        let is_new = if dry_run {
            self.server.store().get(&key).await?.is_none()
        } else {
            let time_to_live = client.expires_at.map(|expires_at| expires_at.since(self.server.now()));
            store::insert(self.server.store(), &key, &client, time_to_live).await?
        };
        if !is_new || self.server.0.clients.preregistered.contains_key(&client.client_id) {
            return Ok(MigrationOutcome::AlreadyHere);
        }
        if converted.left_out.is_empty() {
            return Ok(MigrationOutcome::TakenOver);
        }
        Ok(MigrationOutcome::InPart(problem(converted.left_out)))
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
