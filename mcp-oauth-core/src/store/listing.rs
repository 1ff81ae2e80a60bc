//! What a store says of many records at once: pages of keys, pages of members, how many there are.
//!
//! Lists are for people who look at them, for backups and for tidying up. No step of the protocol waits for one.
//!
//! ```
//! use mcp_oauth_core::store::{KeyPage, ListPosition};
//!
//! let last = KeyPage::new(Vec::new(), None);
//! assert!(last.next.is_none(), "this was the end");
//! let more = KeyPage::new(Vec::new(), Some(ListPosition("17".to_owned())));
//! assert!(more.next.is_some(), "an empty page need not be the last one");
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::{Key, Kind};

/// At most this many members in one set.
pub const MAXIMUM_MEMBERS: usize = 5_000;

/// A position in a list; what it means is the store's own business.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListPosition(pub String);

/// A record with the time that it still has to live.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// The record.
    pub record: Bytes,
    /// How long it stays; `None` means for ever.
    pub time_to_live: Option<Duration>,
}

impl Kept {
    /// Puts the two together.
    #[must_use]
    pub fn new(record: Bytes, time_to_live: Option<Duration>) -> Self {
        Self { record, time_to_live }
    }
}

/// Some keys of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyPage {
    /// The keys. There may be none, although there are more to come.
    pub keys: Vec<Key>,
    /// Where to go on; `None` at the end.
    pub next: Option<ListPosition>,
}

impl KeyPage {
    /// Puts the two together.
    #[must_use]
    pub fn new(keys: Vec<Key>, next: Option<ListPosition>) -> Self {
        Self { keys, next }
    }
}

/// A member of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// What was added.
    pub name: String,
    /// How long it stays.
    pub time_to_live: Duration,
}

impl Member {
    /// Puts the two together.
    #[must_use]
    pub fn new(name: impl Into<String>, time_to_live: Duration) -> Self {
        Self {
            name: name.into(),
            time_to_live,
        }
    }
}

/// Some members of a set, those that go first in front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberPage {
    /// The members.
    pub members: Vec<Member>,
    /// How many the set has.
    pub total: usize,
    /// Where to go on; `None` at the end.
    pub next: Option<ListPosition>,
}

impl MemberPage {
    /// Puts the three together.
    #[must_use]
    pub fn new(members: Vec<Member>, total: usize, next: Option<ListPosition>) -> Self {
        Self { members, total, next }
    }
}

/// How many records, and sets, there are of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Kind, u64>);

impl Counts {
    /// How many there are of this kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> u64 {
        self.0.get(&kind).copied().unwrap_or(0)
    }

    /// Counts some more of a kind.
    pub fn add(&mut self, kind: Kind, count: u64) {
        *self.0.entry(kind).or_default() += count;
    }

    /// Every kind of which there is something, with how many.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, u64)> {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }
}
