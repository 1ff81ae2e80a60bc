//! What is written to the feed: something that has ended.

use std::fmt;

use super::marks::Holder;
use crate::client::ClientId;
use crate::clock::UnixTime;
use crate::grant::GrantId;

/// Something that has ended, with everything that came of it. Written as an entry of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Grant(GrantId),
    Client(ClientId),
    /// Whatever was issued to this holder up to this moment.
    Before(Holder, UnixTime),
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(grant) => write!(formatter, "grant:{grant}"),
            Self::Client(client) => write!(formatter, "client:{client}"),
            Self::Before(holder, at) => write!(formatter, "before:{}:{holder}", at.as_seconds()),
        }
    }
}

impl Ended {
    pub(crate) fn read(entry: &[u8]) -> Option<Self> {
        match std::str::from_utf8(entry).ok()?.split_once(':')? {
            ("grant", grant) => grant.parse().ok().map(Self::Grant),
            ("client", client) => client.parse().ok().map(Self::Client),
            ("before", mark) => {
                let (at, holder) = mark.split_once(':')?;
                let at = UnixTime::from_seconds(at.parse().ok()?);
                Some(Self::Before(Holder::read(holder)?, at))
            }
            _ => None,
        }
    }
}
