//! Backups that the predecessor's own commands have made.
//!
//! They are one JSON document of whatever size, so it is read as it comes, and of what is in it no more than one record is held.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::time::Duration;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{KEY_PREFIX, PredecessorRecord};

/// What is no dump of the predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no backup of the predecessor: it has to be the JSON that its oauth-backup writes")]
#[non_exhaustive]
pub struct InvalidDump;

/// Why a dump cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// It is none.
    #[error(transparent)]
    Invalid(#[from] InvalidDump),
    /// It could not be read to its end.
    #[error("the backup of the predecessor cannot be read")]
    Read(#[from] io::Error),
}

/// Reads the clients in a backup that the predecessor's own commands have made: JSON in which, in whatever category, a member
/// named `oauth:client:…` is an object with `value` (the record) and `ttl` (in seconds, negative if it stays). `age` is how
/// long ago the backup was made, which is taken off what the records had left then.
///
/// All of them are held: [`visit_dump`] is for dumps that may be large.
///
/// # Errors
///
/// When it is not JSON.
pub fn read_dump(dump: &[u8], age: Duration) -> Result<Vec<PredecessorRecord>, InvalidDump> {
    let mut records = Vec::new();
    let visited = visit_dump(dump, age, |record| {
        records.push(record);
        ControlFlow::Continue(())
    });
    // Reading what is in memory fails for no other reason.
    visited.map_err(|_| InvalidDump)?;
    Ok(records)
}

/// Reads the clients in a backup one after another, as [`read_dump`] does, and hands each on as it comes, until `visit` breaks
/// off. No more than one is held, so that a dump may have any size.
///
/// Whether the dump is whole shows at its end: whoever wants to know before anything is done reads it twice.
///
/// ```
/// use std::ops::ControlFlow;
/// use std::time::Duration;
///
/// use mcp_oauth_core::predecessor::visit_dump;
///
/// let dump = r#"{"registrations": {"oauth:client:client_1": {"value": "{}", "ttl": 3600}}}"#;
/// let mut count = 0;
/// visit_dump(dump.as_bytes(), Duration::ZERO, |record| {
///     assert_eq!(record.id(), "client_1");
///     count += 1;
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(count, 1);
/// # Ok::<(), mcp_oauth_core::predecessor::DumpError>(())
/// ```
///
/// # Errors
///
/// When it is not JSON, or cannot be read to its end. What came before has been handed on by then.
pub fn visit_dump(
    dump: impl Read,
    age: Duration,
    visit: impl FnMut(PredecessorRecord) -> ControlFlow<()>,
) -> Result<(), DumpError> {
    let mut walk = Walk {
        age,
        visit,
        is_over: false,
    };
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(dump));
    let walked = Part {
        walk: &mut walk,
        is_listed: false,
    }
    .deserialize(&mut deserializer)
    .and_then(|()| deserializer.end());
    match walked {
        Err(_) if walk.is_over => Ok(()),
        Err(error) if error.is_io() => Err(io::Error::from(error).into()),
        Err(_) => Err(InvalidDump.into()),
        Ok(()) => Ok(()),
    }
}

/// A way through a dump.
struct Walk<V> {
    age: Duration,
    visit: V,
    is_over: bool,
}

impl<V: FnMut(PredecessorRecord) -> ControlFlow<()>> Walk<V> {
    /// Hands a record on, if its time is not over, and says whether to go on.
    fn meet(&mut self, id: &str, value: &Value) -> ControlFlow<()> {
        let Some(record) = dumped(id, value, self.age) else {
            return ControlFlow::Continue(());
        };
        let went = (self.visit)(record);
        self.is_over = went.is_break();
        went
    }

    /// Looks for records in something that is held, at any depth, which serde_json bounds.
    fn search(&mut self, value: &Value) -> ControlFlow<()> {
        match value {
            Value::Object(members) => members.iter().try_for_each(|(name, value)| match id_in(name) {
                Some(id) => self.meet(id, value),
                None => self.search(value),
            }),
            Value::Array(values) => values.iter().try_for_each(|value| self.search_listed(value)),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Something out of a list: a record that says itself which client it is of, or whatever.
    fn search_listed(&mut self, value: &Value) -> ControlFlow<()> {
        let named = value.get("key").and_then(Value::as_str);
        match named.and_then(id_in) {
            Some(id) => self.meet(id, value),
            None => self.search(value),
        }
    }
}

fn id_in(name: &str) -> Option<&str> {
    name.strip_prefix(KEY_PREFIX)
}

/// The next part of a dump, of which nothing is known.
struct Part<'a, V> {
    walk: &'a mut Walk<V>,
    /// Whether it is out of a list.
    is_listed: bool,
}

impl<'de, V: FnMut(PredecessorRecord) -> ControlFlow<()>> DeserializeSeed<'de> for Part<'_, V> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Ends the walk, as serde has it.
fn go_on<E: serde::de::Error>(went: ControlFlow<()>) -> Result<(), E> {
    match went {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(E::custom("nobody wants more")),
    }
}

impl<'de, V: FnMut(PredecessorRecord) -> ControlFlow<()>> Visitor<'de> for Part<'_, V> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        loop {
            let part = Part {
                walk: self.walk,
                is_listed: true,
            };
            if values.next_element_seed(part)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        // What is out of a list may say last which client it is of.
        let mut held = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if let Some(id) = id_in(&name).filter(|_| !self.is_listed) {
                go_on(self.walk.meet(id, &members.next_value()?))?;
            } else if self.is_listed {
                held.insert(name, members.next_value()?);
            } else {
                members.next_value_seed(Part {
                    walk: self.walk,
                    is_listed: false,
                })?;
            }
        }
        go_on(self.walk.search_listed(&Value::Object(held)))
    }
}

/// One record of a dump; `None` if its time is over.
fn dumped(id: &str, value: &Value, age: Duration) -> Option<PredecessorRecord> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let record = value.get("value").or_else(|| value.get("parsed")).unwrap_or(value);
    let seconds = value
        .get("ttl")
        .and_then(Value::as_i64)
        .and_then(|seconds| u64::try_from(seconds).ok());
    let left = seconds.map(|seconds| Duration::from_secs(seconds).checked_sub(age).unwrap_or_default());
    if left == Some(Duration::ZERO) {
        return None;
    }
    Some(PredecessorRecord::new(id, text(record), left))
}
