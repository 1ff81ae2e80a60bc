//! The server's requests that wait for a client's answers.
//!
//! Their ids pass through unchanged: one process has made them, so they are its to keep apart. They are remembered
//! so that only what was asked for is let through, from the client it was asked of, and so that a cancellation follows
//! its request.

use std::collections::HashMap;

use crate::message::{Id, Key};

/// How many can wait at once.
const BOUND: usize = 64;

/// Where a request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// On the stream of the call with this number.
    Call(u64),
    /// To whoever takes what belongs to no call.
    Home,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) id: Id,
    pub(crate) to: To,
    /// The number of the session that is to answer.
    pub(crate) session: u64,
}

#[derive(Debug, Default)]
pub(super) struct Asked(HashMap<Key, Asking>);

impl Asked {
    /// Notes a request; `false` where there is no room for another. One makes room whose call is not running any more:
    /// its answer may still come, and mostly does not.
    pub(super) fn insert(&mut self, id: &Id, running: impl Fn(u64) -> bool) -> bool {
        if self.0.len() >= BOUND {
            self.0
                .retain(|_, asked| !matches!(asked.to, To::Call(number) if !running(number)));
        }
        if self.0.len() >= BOUND && !self.0.contains_key(id.key()) {
            return false;
        }
        let asking = Asking {
            id: id.clone(),
            to: To::Home,
            session: 0,
        };
        self.0.insert(id.key().clone(), asking);
        true
    }

    /// Notes where it went.
    pub(super) fn sent(&mut self, id: &Key, to: To, session: u64) {
        if let Some(asked) = self.0.get_mut(id) {
            asked.to = to;
            asked.session = session;
        }
    }

    /// A client has answered, or nobody will: the id as the server wrote it. Only the session that was asked may.
    pub(super) fn answered(&mut self, id: &Key, session: u64) -> Option<Id> {
        if self.0.get(id)?.session != session {
            return None;
        }
        self.0.remove(id).map(|asked| asked.id)
    }

    /// A call is over in which the server may have asked. An answer that still comes is nobody's.
    pub(super) fn forget_call(&mut self, number: u64) {
        if !self.0.is_empty() {
            self.0.retain(|_, asked| asked.to != To::Call(number));
        }
    }

    /// The server does not want to know any more, or gets an error instead.
    pub(super) fn remove(&mut self, id: &Key) -> Option<Asking> {
        self.0.remove(id)
    }
}
