//! How a record is written: the mark of the write, then the record as it is.
//!
//! Every write has a random mark of 16 characters, which begins with `@`. Whoever does not get the answer to a write
//! (a cut connection, a node of the Cluster that went away) can send the very same write again: if the mark is there,
//! the first attempt took place, and that is the answer. Without it, the second attempt would find the record
//! changed by the first, and the loser would be told that somebody else was faster: for an authorization code that
//! means "used before", which ends the grant.
//!
//! Numbers have no mark, since Redis counts them itself.

use bytes::Bytes;
use mcp_oauth_core::secret::Secret;

const LENGTH: usize = 16;

/// Tells one write from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark([u8; LENGTH]);

impl Mark {
    /// A mark that nobody has used before: 90 random bits.
    pub(super) fn random() -> Self {
        let mut mark = [b'@'; LENGTH];
        let random = Secret::random();
        for (to, from) in mark[1..].iter_mut().zip(random.expose().bytes()) {
            *to = from;
        }
        Self(mark)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The record as this write writes it.
    pub(super) fn before(&self, record: &[u8]) -> Vec<u8> {
        [&self.0, record].concat()
    }

    /// Whether this write wrote `stored`.
    pub(super) fn wrote(&self, stored: &[u8]) -> bool {
        stored.starts_with(&self.0)
    }
}

/// The record in what is stored; `None` if nothing here has written it.
pub(super) fn read(stored: &Bytes) -> Option<Bytes> {
    if stored.first() == Some(&b'@') && stored.len() >= LENGTH {
        return Some(stored.slice(LENGTH..));
    }
    let number = !stored.is_empty() && stored.iter().all(u8::is_ascii_digit);
    number.then(|| stored.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_knows_its_write() {
        let (mark, other) = (Mark::random(), Mark::random());
        for record in ["", "{}", "@", "7"] {
            let stored = Bytes::from(mark.before(record.as_bytes()));
            assert_eq!(read(&stored).as_deref(), Some(record.as_bytes()));
            assert!(mark.wrote(&stored) && !other.wrote(&stored));
        }
    }

    #[test]
    fn a_number_is_read_as_it_is_and_anything_else_is_not_a_record() {
        assert_eq!(read(&Bytes::from("42")).as_deref(), Some(&b"42"[..]));
        for foreign in ["", "{}", "@short", "-1"] {
            assert_eq!(read(&Bytes::from(foreign)), None, "{foreign}");
        }
    }
}
