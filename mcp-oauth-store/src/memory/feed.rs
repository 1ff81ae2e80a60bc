//! The grants that have ended, in their order, each for as long as a reader may have to hear of it.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};

use bytes::Bytes;
use mcp_oauth_core::clock::UnixTime;
use mcp_oauth_core::store::FeedPosition;

pub(super) struct Feed {
    /// Tells this feed's positions from those of every other.
    name: u64,
    /// Each entry with the time until which it has to stay readable.
    pub(super) entries: VecDeque<(UnixTime, Bytes)>,
    /// How many entries have ever been dropped from the front.
    pub(super) dropped: u64,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            // The standard library's hashers begin at random.
            name: RandomState::new().hash_one(()),
            entries: VecDeque::new(),
            dropped: 0,
        }
    }
}

impl Feed {
    /// The position behind this many entries.
    pub(super) fn position(&self, count: u64) -> FeedPosition {
        FeedPosition(format!("{:016x}-{count}", self.name))
    }

    /// How many entries come before a position. A position of another feed is the beginning: what would come before it
    /// there, nobody here has seen.
    pub(super) fn before(&self, position: &FeedPosition) -> u64 {
        let end = self.dropped + self.entries.len() as u64;
        let counted = position.0.rsplit_once('-').and_then(|(_, count)| count.parse().ok());
        counted
            .filter(|count| *count <= end && self.position(*count) == *position)
            .unwrap_or(0)
    }

    pub(super) fn drop_expired(&mut self, now: UnixTime) {
        while self
            .entries
            .front()
            .is_some_and(|(readable_until, _)| *readable_until < now)
        {
            self.entries.pop_front();
            self.dropped += 1;
        }
    }
}
