//! Tidying up: what is stale goes, what is missing comes back, what cannot be read is reported.

use serde::Serialize;

use super::{MAXIMUM_PAGE, Operator, OperatorError, Unreadable};
use crate::audit::Command;
use crate::client::Client;
use crate::grant::Grant;
use crate::server::hints::{grants_of_client, grants_of_user};
use crate::store::{self, Key, Kind, Loaded, StoreError};

/// At most this many records that cannot be read are named; all of them are counted.
const MAXIMUM_NAMED: usize = 1000;

/// What tidying up came to, or would come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PurgeReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Hints that were held against their grants.
    pub hints_examined: u64,
    /// Of these, how many pointed at nothing, or at another's grant, and were removed.
    pub hints_removed: u64,
    /// Grants that were put on their lists again, where they were missing.
    pub grants_examined: u64,
    /// Clients that were looked at.
    pub clients_examined: u64,
    /// Of these, how many should have been forgotten before, and were removed. A store that forgets by itself has none.
    pub clients_removed: u64,
    /// How many records cannot be read. They are left as they are.
    pub unreadable_count: u64,
    /// Which those are, the first thousand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
}

impl PurgeReport {
    fn report(&mut self, error: StoreError) -> Result<(), StoreError> {
        let unreadable = Unreadable::from_error(error)?;
        self.unreadable_count += 1;
        if self.unreadable.len() < MAXIMUM_NAMED {
            self.unreadable.push(unreadable);
        }
        Ok(())
    }
}

/// What it has come to so far, and who is told.
struct Watched<'a> {
    report: PurgeReport,
    watch: &'a mut (dyn FnMut(&PurgeReport) + Send),
}

impl Watched<'_> {
    fn tell(&mut self) {
        (self.watch)(&self.report);
    }
}

impl Operator {
    /// Removes what is stale: hints that point at nothing, and clients whose time is over in a store that does not forget by
    /// itself. Puts grants back on their lists. Reports records that cannot be read, and leaves them. With `dry_run` it only
    /// says what it would do.
    ///
    /// It may run while the server does: nothing that anybody uses is touched.
    ///
    /// # Errors
    ///
    /// When the store does not answer. What was done by then is done.
    pub async fn purge(&self, dry_run: bool) -> Result<PurgeReport, OperatorError> {
        self.purge_watched(dry_run, |_| {}).await
    }

    /// Does what [`purge`](Self::purge) does, and tells `watch` again and again how far it is, by what the report says so
    /// far: a store of millions of grants takes a while.
    ///
    /// # Errors
    ///
    /// As `purge`.
    pub async fn purge_watched(
        &self,
        dry_run: bool,
        mut watch: impl FnMut(&PurgeReport) + Send,
    ) -> Result<PurgeReport, OperatorError> {
        let command = if dry_run {
            Command::RehearsePurge
        } else {
            Command::Purge
        };
        let outcome = self.tidied(dry_run, &mut watch).await;
        self.audited(self.event(command), outcome)
    }

    async fn tidied(
        &self,
        dry_run: bool,
        watch: &mut (dyn FnMut(&PurgeReport) + Send),
    ) -> Result<PurgeReport, OperatorError> {
        let mut purge = Watched {
            report: PurgeReport {
                dry_run,
                ..PurgeReport::default()
            },
            watch,
        };
        for kind in [Kind::UserGrants, Kind::ClientGrants] {
            self.each_key(kind, &mut purge, async |key, purge| self.tidy_set(&key, purge).await)
                .await?;
        }
        self.each_key(Kind::Grant, &mut purge, async |key, purge| {
            self.list_grant(&key, &mut purge.report).await
        })
        .await?;
        for kind in [Kind::Client, Kind::Document] {
            self.each_key(kind, &mut purge, async |key, purge| {
                self.tidy_client(&key, &mut purge.report).await
            })
            .await?;
        }
        self.each_key(Kind::NotBefore, &mut purge, async |key, purge| {
            match store::load::<crate::server::not_before::NotBefore>(self.server.store(), &key).await {
                Ok(_) => Ok(()),
                Err(error) => purge.report.report(error),
            }
        })
        .await?;
        Ok(purge.report)
    }

    /// Does something with every key of a kind.
    async fn each_key(
        &self,
        kind: Kind,
        purge: &mut Watched<'_>,
        work: impl AsyncFn(Key, &mut Watched<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut position = None;
        loop {
            let page = self.server.store().list(kind, position.as_ref(), MAXIMUM_PAGE).await?;
            for key in page.keys {
                work(key, purge).await?;
                purge.tell();
            }
            position = page.next;
            if position.is_none() {
                return Ok(());
            }
        }
    }

    async fn tidy_set(&self, set: &Key, purge: &mut Watched<'_>) -> Result<(), StoreError> {
        let belongs = |grant: &Grant| match set.kind() {
            Kind::UserGrants => grant.identity.subject() == set.id(),
            _ => grant.client_id.as_str() == set.id(),
        };
        let mut position = None;
        loop {
            let page = self
                .server
                .store()
                .members(set, position.as_ref(), MAXIMUM_PAGE)
                .await?;
            for (member, found) in self.pointed_at(page.members).await {
                purge.report.hints_examined += 1;
                let stale = match found {
                    Ok(Some(grant)) => !belongs(&grant.record),
                    Ok(None) => !self.server.may_be_ahead(member.time_to_live),
                    // It is reported where grants are.
                    Err(StoreError::Unreadable { .. }) => false,
                    Err(error) => return Err(error),
                };
                if stale {
                    purge.report.hints_removed += 1;
                    if !purge.report.dry_run {
                        self.server.store().remove_member(set, &member.name).await?;
                    }
                }
            }
            // A client that everybody uses has all of its grants in one set.
            purge.tell();
            position = page.next;
            if position.is_none() {
                return Ok(());
            }
        }
    }

    /// Puts a grant on its lists, if it is not there, for as long as it has itself.
    async fn list_grant(&self, key: &Key, report: &mut PurgeReport) -> Result<(), StoreError> {
        let grant: Grant = match store::inspect(self.server.store(), key).await {
            Ok(Some((grant, Some(left)))) => {
                report.grants_examined += 1;
                if report.dry_run {
                    return Ok(());
                }
                let grant: Loaded<Grant> = grant;
                for set in [
                    grants_of_user(&grant.record.identity.subject()),
                    grants_of_client(&grant.record.client_id),
                ] {
                    match self.server.store().add_member(&set, key.id(), left).await {
                        Ok(()) | Err(StoreError::Full(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                return Ok(());
            }
            Ok(Some((grant, None))) => grant.record,
            Ok(None) => return Ok(()),
            Err(error) => return report.report(error),
        };
        // Nothing here writes a grant that stays for ever, so its lists are none that have an end.
        tracing::warn!(grant = grant.id.as_str(), "a grant has no time to live");
        report.grants_examined += 1;
        Ok(())
    }

    async fn tidy_client(&self, key: &Key, report: &mut PurgeReport) -> Result<(), StoreError> {
        let client: Loaded<Client> = match store::load(self.server.store(), key).await {
            Ok(Some(client)) => client,
            Ok(None) => return Ok(()),
            Err(error) => return report.report(error),
        };
        report.clients_examined += 1;
        let now = self.server.now();
        if client.record.expires_at.is_none_or(|expires_at| expires_at > now) {
            return Ok(());
        }
        if report.dry_run || store::remove_unchanged(self.server.store(), key, &client).await? {
            report.clients_removed += 1;
        }
        Ok(())
    }
}
