//! The records of one kind, and when each of them expires.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mcp_oauth_core::clock::UnixTime;

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) record: Bytes,
    /// `None` means for ever.
    pub(super) expires_at: Option<UnixTime>,
}

#[derive(Default)]
pub(super) struct Shelf {
    pub(super) records: BTreeMap<String, Entry>,
    /// What expires, soonest first.
    expiry: BTreeSet<(UnixTime, String)>,
}

impl Shelf {
    pub(super) fn drop_expired(&mut self, now: UnixTime) {
        while self.expiry.first().is_some_and(|(expires_at, _)| *expires_at <= now) {
            if let Some((_, id)) = self.expiry.pop_first() {
                self.records.remove(&id);
            }
        }
    }

    pub(super) fn put(&mut self, id: &str, record: Bytes, expires_at: Option<UnixTime>) {
        if let Some(expires_at) = expires_at {
            self.expiry.insert((expires_at, id.to_owned()));
        }
        let before = self.records.insert(id.to_owned(), Entry { record, expires_at });
        if let Some(before) = before.and_then(|entry| entry.expires_at)
            && Some(before) != expires_at
        {
            self.expiry.remove(&(before, id.to_owned()));
        }
    }

    pub(super) fn remove(&mut self, id: &str) -> bool {
        let Some(entry) = self.records.remove(id) else {
            return false;
        };
        if let Some(expires_at) = entry.expires_at {
            self.expiry.remove(&(expires_at, id.to_owned()));
        }
        true
    }
}
