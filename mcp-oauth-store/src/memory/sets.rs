//! The sets of one kind: who is a member of what, and for how long.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use mcp_oauth_core::clock::UnixTime;
use mcp_oauth_core::store::{ListPosition, MAXIMUM_MEMBERS, Member, MemberPage};

#[derive(Default)]
struct MemberSet {
    members: BTreeMap<Arc<str>, UnixTime>,
    /// Which goes when, soonest first.
    expiry: BTreeSet<(UnixTime, Arc<str>)>,
}

impl MemberSet {
    fn drop_expired(&mut self, now: UnixTime) {
        while self.expiry.first().is_some_and(|(until, _)| *until <= now) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some((_, member)) = self.expiry.pop_first() {
            self.members.remove(&member);
        }
    }

    fn add(&mut self, member: &str, until: UnixTime) {
        let known = self
            .members
            .get_key_value(member)
            .map(|(member, until)| (Arc::clone(member), *until));
        let (member, until) = match known {
            Some((_, before)) if before >= until => return,
            Some((member, before)) => {
                self.expiry.remove(&(before, Arc::clone(&member)));
                (member, until)
            }
            None => (Arc::from(member), until),
        };
        self.expiry.insert((until, Arc::clone(&member)));
        self.members.insert(member, until);
        while self.members.len() > MAXIMUM_MEMBERS {
            self.drop_first();
        }
    }

    fn remove(&mut self, member: &str) -> bool {
        let Some((member, until)) = self.members.remove_entry(member) else {
            return false;
        };
        self.expiry.remove(&(until, member));
        true
    }

    fn page(&self, position: Option<&ListPosition>, limit: usize, now: UnixTime) -> MemberPage {
        let from = position.and_then(read).map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.expiry.range((from, Bound::Unbounded)).peekable();
        let mut last = None;
        let members = rest
            .by_ref()
            .take(limit.max(1))
            .inspect(|entry| last = Some(*entry))
            .map(|(until, member)| Member::new(&**member, until.since(now)))
            .collect();
        let next = last.filter(|_| rest.peek().is_some());
        let next = next.map(|(until, member)| ListPosition(format!("{} {member}", until.as_seconds())));
        MemberPage::new(members, self.members.len(), next)
    }
}

/// `<when it goes, in seconds> <the member>`.
fn read(position: &ListPosition) -> Option<(UnixTime, Arc<str>)> {
    let (until, member) = position.0.split_once(' ')?;
    Some((UnixTime::from_seconds(until.parse().ok()?), Arc::from(member)))
}

/// The part of an order that comes after `id`.
pub(super) fn behind(id: Option<&str>) -> Bound<&str> {
    id.map_or(Bound::Unbounded, Bound::Excluded)
}

#[derive(Default)]
pub(super) struct SetShelf {
    sets: BTreeMap<String, MemberSet>,
    /// When each set loses its last member, soonest first.
    expiry: BTreeSet<(UnixTime, String)>,
}

impl SetShelf {
    pub(super) fn drop_expired(&mut self, now: UnixTime) {
        while self.expiry.first().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, id)) = self.expiry.pop_first() {
                self.sets.remove(&id);
            }
        }
    }

    /// Changes a set, and keeps in step when it ends.
    fn change<T>(&mut self, id: &str, now: UnixTime, change: impl FnOnce(&mut MemberSet) -> T) -> T {
        let mut set = self.sets.remove(id).unwrap_or_default();
        if let Some((until, _)) = set.expiry.last() {
            self.expiry.remove(&(*until, id.to_owned()));
        }
        set.drop_expired(now);
        let outcome = change(&mut set);
        if let Some((until, _)) = set.expiry.last() {
            self.expiry.insert((*until, id.to_owned()));
            self.sets.insert(id.to_owned(), set);
        }
        outcome
    }

    /// Adds a member, unless that takes another set and there are as many as may be.
    pub(super) fn add(&mut self, id: &str, member: &str, now: UnixTime, until: UnixTime, bound: usize) -> bool {
        let fits = self.sets.contains_key(id) || self.sets.len() < bound;
        if fits && until > now {
            self.change(id, now, |set| set.add(member, until));
        }
        fits
    }

    pub(super) fn remove(&mut self, id: &str, member: &str, now: UnixTime) -> bool {
        self.sets.contains_key(id) && self.change(id, now, |set| set.remove(member))
    }

    pub(super) fn page(
        &mut self,
        id: &str,
        position: Option<&ListPosition>,
        limit: usize,
        now: UnixTime,
    ) -> MemberPage {
        let Some(set) = self.sets.get_mut(id) else {
            return MemberPage::default();
        };
        // The set itself is there until its last member goes, so when it ends stays as it was.
        set.drop_expired(now);
        set.page(position, limit, now)
    }

    pub(super) fn ids_after(&self, id: Option<&str>) -> impl Iterator<Item = &String> {
        let range = self.sets.range::<str, _>((behind(id), Bound::Unbounded));
        range.map(|(id, _)| id)
    }

    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }
}
