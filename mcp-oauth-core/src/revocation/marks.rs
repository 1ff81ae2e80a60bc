//! Marks: whatever somebody had been granted by some moment is over, known by one entry however much that was.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Moment;
use crate::client::ClientId;
use crate::clock::UnixTime;

/// Whose grants are over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// Those that this person has given: the `sub` of tokens.
    User(String),
    /// Those that this client was given.
    Client(ClientId),
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(subject) => write!(formatter, "user:{subject}"),
            Self::Client(client) => write!(formatter, "client:{client}"),
        }
    }
}

impl Holder {
    /// Reads what [`Display`](fmt::Display) writes.
    pub(crate) fn read(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("user", subject) => Some(Self::User(subject.to_owned())),
            ("client", client) => client.parse().ok().map(Self::Client),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    at: UnixTime,
    /// Until when it has to be remembered.
    until: Moment,
}

#[derive(Debug, Default)]
struct Known {
    users: HashMap<String, Mark>,
    clients: HashMap<ClientId, Mark>,
}

/// The marks that a process knows of.
#[derive(Debug, Default)]
pub(super) struct Marks {
    known: Mutex<Known>,
    /// Whether there are any: most of the time there are none, and every request asks.
    any: AtomicBool,
}

impl Marks {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing is left half done under this lock: every change is a single insertion.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn remember(&self, holder: Holder, at: UnixTime, until: Moment) {
        let mark = Mark { at, until };
        let later = |known: &mut Mark| {
            known.at = known.at.max(at);
            known.until = known.until.later_of(until);
        };
        let mut known = self.known();
        match holder {
            Holder::User(subject) => known.users.entry(subject).and_modify(later).or_insert(mark),
            Holder::Client(client) => known.clients.entry(client).and_modify(later).or_insert(mark),
        };
        self.any.store(true, Ordering::Release);
    }

    /// Whether what was issued at this moment, to this person and client, is over.
    pub(super) fn concern(&self, subject: &str, client: &ClientId, issued_at: UnixTime) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let known = self.known();
        let over = |mark: Option<&Mark>| mark.is_some_and(|mark| issued_at <= mark.at);
        over(known.users.get(subject)) || over(known.clients.get(client))
    }

    /// Forgets what is over by itself.
    pub(super) fn sweep(&self, present: Moment) {
        let mut known = self.known();
        known.users.retain(|_, mark| !mark.until.is_over(present));
        known.clients.retain(|_, mark| !mark.until.is_over(present));
        self.any
            .store(!(known.users.is_empty() && known.clients.is_empty()), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(1_790_000_000 + seconds)
    }

    fn moment(seconds: u64) -> Moment {
        Moment {
            now: at(seconds),
            elapsed: std::time::Duration::from_secs(seconds),
        }
    }

    fn client(id: &str) -> ClientId {
        id.parse().unwrap()
    }

    #[test]
    fn a_mark_ends_what_was_issued_up_to_its_moment_for_its_holder_alone() {
        let marks = Marks::default();
        marks.remember(Holder::User("github:7".to_owned()), at(10), moment(100));
        marks.remember(Holder::Client(client("a")), at(20), moment(100));
        let over = |subject: &str, id: &str, seconds| marks.concern(subject, &client(id), at(seconds));
        assert!(over("github:7", "b", 10));
        assert!(!over("github:7", "b", 11));
        assert!(!over("github:8", "b", 10));
        assert!(over("github:8", "a", 20));
        assert!(!over("github:8", "a", 21));
    }

    #[test]
    fn of_two_marks_the_later_one_counts_in_whatever_order_they_come() {
        for order in [[10, 30], [30, 10]] {
            let marks = Marks::default();
            for seconds in order {
                marks.remember(Holder::User("u".to_owned()), at(seconds), moment(100 + seconds));
            }
            assert!(marks.concern("u", &client("a"), at(30)));
            marks.sweep(moment(130));
            assert!(
                marks.concern("u", &client("a"), at(30)),
                "remembered for as long as the later one"
            );
            marks.sweep(moment(131));
            assert!(!marks.concern("u", &client("a"), at(30)));
        }
    }

    proptest! {
        #[test]
        fn a_holder_is_read_as_it_was_written(subject in ".{0,40}", id in "[!-~]{1,40}") {
            for holder in [Holder::User(subject), Holder::Client(client(&id))] {
                prop_assert_eq!(Holder::read(&holder.to_string()), Some(holder));
            }
        }
    }
}
