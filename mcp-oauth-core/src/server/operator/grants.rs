//! What people have granted, and ending it.

use std::collections::HashMap;

use futures_util::{StreamExt as _, stream};

use super::{AT_ONCE, Cursor, GrantView, MAXIMUM_PAGE, Operator, OperatorError, Page, Unreadable, UserView};
use crate::audit::Command;
use crate::client::ClientId;
use crate::clock::UnixTime;
use crate::grant::{EndReason, Grant, GrantId};
use crate::revocation::Holder;
use crate::server::grant_key;
use crate::server::hints::{grants_of_client, grants_of_user};
use crate::server::not_before::NotBefore;
use crate::store::{self, Key, Kind, Loaded, Member, StoreError};

/// How many grants are shown with each person of a list.
const GRANTS_WITH_USER: usize = 100;

/// Whose grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Whose<'a> {
    /// Everybody's.
    Everybody,
    /// Those of this person: the `sub` of tokens.
    User(&'a str),
    /// Those of this client. Of a client with more than [`MAXIMUM_MEMBERS`](store::MAXIMUM_MEMBERS) the list has that many;
    /// read everybody's to see them all.
    Client(&'a ClientId),
}

/// What was ended at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct EndedGrants {
    /// Whatever was granted up to this moment is over, and what is granted while this second lasts, too: who wants to be let in
    /// again waits for the next one.
    pub up_to: UnixTime,
}

/// Whether grants are over by marks, each of which is read once.
struct Marks<'a> {
    operator: &'a Operator,
    known: HashMap<Holder, Option<NotBefore>>,
}

impl Marks<'_> {
    async fn end(&mut self, grant: &Grant) -> Result<bool, StoreError> {
        for holder in [
            Holder::User(grant.identity.subject()),
            Holder::Client(grant.client_id.clone()),
        ] {
            let mark = if let Some(mark) = self.known.get(&holder) {
                *mark
            } else {
                let mark = self.operator.server.not_before(&holder).await?;
                self.known.insert(holder, mark);
                mark
            };
            if mark.is_some_and(|mark| mark.ends(grant)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Operator {
    /// A page of grants. `limit` is about how many.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub async fn grants(
        &self,
        whose: Whose<'_>,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<GrantView>, OperatorError> {
        let mut event = self.event(Command::ListGrants);
        match whose {
            Whose::Everybody => {}
            Whose::User(subject) => event.subject = Some(subject.to_owned()),
            Whose::Client(client_id) => event.client_id = Some(client_id.clone()),
        }
        let outcome = self.page_of_grants(whose, cursor, limit.clamp(1, MAXIMUM_PAGE)).await;
        self.audited(event, outcome)
    }

    pub(super) async fn page_of_grants(
        &self,
        whose: Whose<'_>,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<GrantView>, OperatorError> {
        match whose {
            Whose::Everybody => {
                let from = cursor.filter(|cursor| cursor.kind == Kind::Grant);
                let from = from.and_then(|cursor| cursor.position.clone());
                let (keys, next) = self.keys(Kind::Grant, from, limit).await?;
                let mut page = self.views(self.read_grants(keys).await).await?;
                page.next = next.map(|position| Cursor {
                    kind: Kind::Grant,
                    position: Some(position),
                });
                Ok(page)
            }
            Whose::User(subject) => {
                let fits = |grant: &Grant| grant.identity.subject() == subject;
                self.hinted(&grants_of_user(subject), fits, cursor, limit).await
            }
            Whose::Client(client_id) => {
                let fits = |grant: &Grant| grant.client_id == *client_id;
                self.hinted(&grants_of_client(client_id), fits, cursor, limit).await
            }
        }
    }

    /// The grants that the members of a set point at, as far as they are what the set says.
    async fn hinted(
        &self,
        set: &Key,
        fits: impl Fn(&Grant) -> bool + Send + Sync,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<GrantView>, OperatorError> {
        let from = cursor.filter(|cursor| cursor.kind == set.kind());
        let from = from.and_then(|cursor| cursor.position.as_ref());
        let members = self.server.store().members(set, from, limit).await?;
        let mut found = Vec::new();
        for (member, read) in self.pointed_at(members.members).await {
            match read {
                Ok(Some(grant)) if fits(&grant.record) => found.push(Ok(Some(grant))),
                Ok(None) if self.server.may_be_ahead(member.time_to_live) => {}
                Ok(_) => {
                    self.server.store().remove_member(set, &member.name).await?;
                }
                Err(error) => found.push(Err(error)),
            }
        }
        let mut page = self.views(found).await?;
        page.next = members.next.map(|position| Cursor {
            kind: set.kind(),
            position: Some(position),
        });
        Ok(page)
    }

    /// What members of a set point at, several read at the same time.
    pub(super) async fn pointed_at(
        &self,
        members: Vec<Member>,
    ) -> Vec<(Member, Result<Option<Loaded<Grant>>, StoreError>)> {
        let read = |member: Member| async move {
            let found = match member.name.parse::<GrantId>() {
                Ok(id) => self.server.load_grant(&id).await,
                Err(_) => Ok(None),
            };
            (member, found)
        };
        stream::iter(members).map(read).buffered(AT_ONCE).collect().await
    }

    /// Reads grants, several at the same time.
    pub(super) async fn read_grants(&self, keys: Vec<Key>) -> Vec<Result<Option<Loaded<Grant>>, StoreError>> {
        let read = |key: Key| async move { store::load(self.server.store(), &key).await };
        stream::iter(keys).map(read).buffered(AT_ONCE).collect().await
    }

    /// Makes grants seen, with the names of their clients.
    async fn views(
        &self,
        found: Vec<Result<Option<Loaded<Grant>>, StoreError>>,
    ) -> Result<Page<GrantView>, OperatorError> {
        let mut page = Page::default();
        let (mut marks, mut names) = (self.marks(), HashMap::new());
        for read in found {
            match read {
                Ok(Some(grant)) => page.items.push(self.view(grant.record, &mut marks, &mut names).await?),
                Ok(None) => {}
                Err(error) => page.unreadable.push(Unreadable::from_error(error)?),
            }
        }
        Ok(page)
    }

    fn marks(&self) -> Marks<'_> {
        Marks {
            operator: self,
            known: HashMap::new(),
        }
    }

    async fn view(
        &self,
        grant: Grant,
        marks: &mut Marks<'_>,
        names: &mut HashMap<ClientId, Option<String>>,
    ) -> Result<GrantView, OperatorError> {
        if !names.contains_key(&grant.client_id) {
            let name = match self.server.known_client(&grant.client_id).await {
                Ok(client) => client.and_then(|client| client.record.metadata.client_name),
                Err(StoreError::Unreadable { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            names.insert(grant.client_id.clone(), name);
        }
        let name = names.get(&grant.client_id).cloned().flatten();
        let is_over = marks.end(&grant).await?;
        Ok(GrantView::of(grant, is_over, name))
    }

    /// One grant; `None` if there is none with this identifier.
    ///
    /// # Errors
    ///
    /// When the store does not answer, or the record cannot be read.
    pub async fn grant(&self, id: &GrantId) -> Result<Option<GrantView>, OperatorError> {
        let outcome = self.one_grant(id).await;
        self.audited(self.event(Command::ShowGrant).with_grant(id), outcome)
    }

    pub(super) async fn one_grant(&self, id: &GrantId) -> Result<Option<GrantView>, OperatorError> {
        match self.server.load_grant(id).await? {
            Some(grant) => Ok(Some(
                self.view(grant.record, &mut self.marks(), &mut HashMap::new()).await?,
            )),
            None => Ok(None),
        }
    }

    /// Ends a grant with everything that came of it, everywhere within a second. Says whether there was one that had not
    /// ended before.
    ///
    /// # Errors
    ///
    /// When the store does not answer; then the grant may or may not have ended, and this can be called again.
    pub async fn end_grant(&self, id: &GrantId) -> Result<bool, OperatorError> {
        let outcome = self.ending(id, EndReason::ByOperator, |_| true).await;
        self.audited(self.event(Command::EndGrant).with_grant(id), outcome)
    }

    /// Ends a grant, if it is the right one.
    pub(super) async fn ending(
        &self,
        id: &GrantId,
        reason: EndReason,
        right: impl Fn(&Grant) -> bool,
    ) -> Result<bool, OperatorError> {
        let loaded = match self.server.load_grant(id).await {
            Ok(loaded) => loaded,
            // Nobody can get anything from a record that cannot be read, but for the access tokens that there are.
            Err(error @ StoreError::Unreadable { .. }) => {
                if reason != EndReason::ByOperator {
                    return Err(error.into());
                }
                let ended = crate::revocation::Ended::Grant(id.clone());
                self.server.announce(ended).await?;
                return Ok(self.server.store().remove(&grant_key(id)).await?);
            }
            Err(error) => return Err(error.into()),
        };
        let Some(grant) = loaded.filter(|grant| right(&grant.record)) else {
            return Ok(false);
        };
        let ended_before = grant.record.has_ended();
        let reason = if ended_before { EndReason::AlreadyEnded } else { reason };
        self.server.end_grant(grant, reason, &self.origin).await?;
        Ok(!ended_before)
    }

    /// Ends all that a person has granted up to now, by one write however much it is, everywhere within a second.
    ///
    /// # Errors
    ///
    /// When the store does not answer; then it may or may not have been done, and this can be called again.
    pub async fn end_grants_of_user(&self, subject: &str) -> Result<EndedGrants, OperatorError> {
        let ended = self.server.end_all(Holder::User(subject.to_owned())).await;
        let event = self.event(Command::EndGrantsOfUser).with_subject(subject.to_owned());
        self.audited(
            event,
            ended.map(|up_to| EndedGrants { up_to }).map_err(OperatorError::from),
        )
    }

    /// Ends all that a client has been granted up to now, likewise. The client stays, and can ask again.
    ///
    /// # Errors
    ///
    /// When the store does not answer; then it may or may not have been done, and this can be called again.
    pub async fn end_grants_of_client(&self, client_id: &ClientId) -> Result<EndedGrants, OperatorError> {
        let ended = self.server.end_all(Holder::Client(client_id.clone())).await;
        let event = self.event(Command::EndGrantsOfClient).with_client(client_id);
        self.audited(
            event,
            ended.map(|up_to| EndedGrants { up_to }).map_err(OperatorError::from),
        )
    }

    /// A page of the people who have granted something, with what that is. `limit` is about how many.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub async fn users(&self, cursor: Option<&Cursor>, limit: usize) -> Result<Page<UserView>, OperatorError> {
        let outcome = self.page_of_users(cursor, limit.clamp(1, MAXIMUM_PAGE)).await;
        self.audited(self.event(Command::ListUsers), outcome)
    }

    async fn page_of_users(&self, cursor: Option<&Cursor>, limit: usize) -> Result<Page<UserView>, OperatorError> {
        let from = cursor.filter(|cursor| cursor.kind == Kind::UserGrants);
        let from = from.and_then(|cursor| cursor.position.clone());
        let (keys, next) = self.keys(Kind::UserGrants, from, limit).await?;
        let mut page = Page {
            next: next.map(|position| Cursor {
                kind: Kind::UserGrants,
                position: Some(position),
            }),
            ..Page::default()
        };
        for key in keys {
            let whose = Whose::User(key.id());
            let mut grants = self.page_of_grants(whose, None, GRANTS_WITH_USER).await?;
            page.unreadable.append(&mut grants.unreadable);
            let latest = grants.items.iter().max_by_key(|grant| grant.approved_at);
            if let Some(latest) = latest {
                page.items.push(UserView {
                    subject: key.id().to_owned(),
                    login: latest.login.clone(),
                    name: latest.name.clone(),
                    has_more: grants.next.is_some(),
                    grants: grants.items,
                });
            }
        }
        Ok(page)
    }
}
