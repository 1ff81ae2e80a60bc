//! The server's requests that wait for the client's answers.
//!
//! Their ids pass through unchanged: one process has made them, so they are its to keep apart. They are remembered
//! so that only what was asked for is let through, and so that a cancellation follows its request.

use std::collections::HashMap;

use crate::message::{Id, Key};

/// How many can wait at once.
const BOUND: usize = 64;

/// Where a request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// Nowhere yet.
    Waiting,
    /// On the stream of the call with this number.
    Call(u64),
    /// On the stream that a GET opened.
    Events,
}

#[derive(Debug, Default)]
pub(super) struct Asked(HashMap<Key, (Id, To)>);

impl Asked {
    /// Notes a request; `false` where there is no room for another.
    pub(super) fn insert(&mut self, id: &Id) -> bool {
        if self.0.len() >= BOUND && !self.0.contains_key(id.key()) {
            return false;
        }
        self.0.insert(id.key().clone(), (id.clone(), To::Waiting));
        true
    }

    /// Notes where it went.
    pub(super) fn sent(&mut self, id: &Key, to: To) {
        if let Some(asked) = self.0.get_mut(id) {
            asked.1 = to;
        }
    }

    /// The client has answered: the id as the server wrote it.
    pub(super) fn answered(&mut self, id: &Key) -> Option<Id> {
        self.0.remove(id).map(|(id, _)| id)
    }

    /// The server does not want to know any more: where the request is now.
    pub(super) fn cancelled(&mut self, id: &Key) -> Option<To> {
        self.0.remove(id).map(|(_, to)| to)
    }
}
