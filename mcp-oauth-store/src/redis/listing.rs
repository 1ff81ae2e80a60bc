//! All keys of a kind, by `SCAN`, over one node or over all primaries of a Cluster.
//!
//! A position names the moment in the life of the deployment that it belongs to: which primaries there were and with which
//! slots, and which run of a server its cursor is from. A cursor means nothing to another server, nor to the same one after
//! a restart, and a key that moves to a primary that was read already would be missed. So when any of that has changed, the
//! list begins at its beginning, as the contract has it. What remains: while slots are being moved, a key that moves from a
//! primary which was not read yet to one that was is missed if the list ends before the move does.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use mcp_oauth_core::store::{Key, KeyPage, Kind, ListPosition};
use redis::{Cmd, Value};

use super::failure::Failure;
use super::keys::Keys;

/// At least and at most this many keys are looked at in one step.
const STEP: std::ops::RangeInclusive<usize> = 10..=1000;

/// At most this many steps make a page.
pub(super) const STEPS: usize = 16;

/// A primary of a Cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Primary {
    id: String,
    pub(super) host: String,
    pub(super) port: u16,
    slots: Vec<(i64, i64)>,
}

/// The servers that have a share of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shards {
    One,
    Several(Vec<Primary>),
}

impl Shards {
    /// Reads the answer to `CLUSTER SLOTS`.
    pub(super) fn read(answer: Value) -> Result<Self, Failure> {
        let mut primaries: Vec<Primary> = Vec::new();
        for range in array(answer)? {
            let mut parts = array(range)?.into_iter();
            let (from, to) = (integer(parts.next())?, integer(parts.next())?);
            let mut node = array(parts.next().ok_or(Failure::UnexpectedAnswer)?)?.into_iter();
            let (host, port, id) = (text(node.next())?, integer(node.next())?, text(node.next())?);
            let port = u16::try_from(port).map_err(|_| Failure::UnexpectedAnswer)?;
            match primaries.iter_mut().find(|known| known.id == id) {
                Some(known) => known.slots.push((from, to)),
                None => primaries.push(Primary {
                    id,
                    host,
                    port,
                    slots: vec![(from, to)],
                }),
            }
        }
        if primaries.is_empty() {
            return Err(Failure::UnexpectedAnswer);
        }
        for primary in &mut primaries {
            primary.slots.sort_unstable();
        }
        primaries.sort_unstable();
        Ok(Self::Several(primaries))
    }

    fn len(&self) -> usize {
        match self {
            Self::One => 1,
            Self::Several(primaries) => primaries.len(),
        }
    }

    pub(super) fn get(&self, number: usize) -> Option<&Primary> {
        match self {
            Self::One => None,
            Self::Several(primaries) => primaries.get(number),
        }
    }

    /// Tells this distribution of the keys from others.
    fn name(&self) -> u64 {
        match self {
            Self::One => 0,
            Self::Several(primaries) => {
                let mut hasher = DefaultHasher::new();
                primaries.hash(&mut hasher);
                hasher.finish()
            }
        }
    }
}

/// Where a list is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    shards: u64,
    pub(super) shard: usize,
    /// The run of the server that the cursor is from; `None` before the first step there.
    run: Option<String>,
    cursor: u64,
}

impl Place {
    /// Where a list of these shards begins.
    pub(super) fn beginning(shards: &Shards) -> Self {
        Self {
            shards: shards.name(),
            shard: 0,
            run: None,
            cursor: 0,
        }
    }

    /// Where a list goes on: at its position, if that is one of these shards as they are now.
    pub(super) fn of(position: Option<&ListPosition>, shards: &Shards) -> Self {
        position
            .and_then(Self::read)
            .filter(|place| place.shards == shards.name() && place.shard < shards.len())
            .unwrap_or_else(|| Self::beginning(shards))
    }

    fn read(position: &ListPosition) -> Option<Self> {
        let mut parts = position.0.split('.');
        let shards = u64::from_str_radix(parts.next()?, 16).ok()?;
        let shard = parts.next()?.parse().ok()?;
        let run = parts.next().map(str::to_owned).filter(|run| !run.is_empty());
        let cursor = parts.next()?.parse().ok()?;
        // A cursor without the run that it is from could be anybody's.
        let fits = parts.next().is_none() && (run.is_some() || cursor == 0);
        fits.then_some(Self {
            shards,
            shard,
            run,
            cursor,
        })
    }

    fn written(&self) -> ListPosition {
        let run = self.run.as_deref().unwrap_or_default();
        ListPosition(format!("{:x}.{}.{run}.{}", self.shards, self.shard, self.cursor))
    }

    /// What to ask the server: which run it is, and for the next keys that fit a pattern.
    pub(super) fn request(&self, pattern: &str, limit: usize) -> [Cmd; 2] {
        let mut info = redis::cmd("INFO");
        info.arg("server");
        let mut scan = redis::cmd("SCAN");
        let step = limit.clamp(*STEP.start(), *STEP.end());
        scan.arg(self.cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(step);
        [info, scan]
    }

    /// Takes a step: what was found, and the place after it, `None` behind the last one. `Err` with nothing found if the
    /// server is not the one that the cursor is from.
    pub(super) fn step(&self, answer: Value, shards: &Shards) -> Result<Step, Failure> {
        let [info, scanned] = <[Value; 2]>::try_from(array(answer)?).map_err(|_| Failure::UnexpectedAnswer)?;
        let info = text(Some(info))?;
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        let run = run.ok_or(Failure::UnexpectedAnswer)?.trim().to_owned();
        if self.run.as_ref().is_some_and(|expected| *expected != run) {
            return Ok(Step::Lost);
        }
        let [cursor, names] = <[Value; 2]>::try_from(array(scanned)?).map_err(|_| Failure::UnexpectedAnswer)?;
        let cursor = text(Some(cursor))?.parse().map_err(|_| Failure::UnexpectedAnswer)?;
        let names = array(names)?.into_iter().map(|name| text(Some(name)).ok()).collect();
        let next = match cursor {
            0 if self.shard + 1 < shards.len() => Some(Self {
                shard: self.shard + 1,
                run: None,
                cursor: 0,
                ..self.clone()
            }),
            0 => None,
            cursor => Some(Self {
                run: Some(run),
                cursor,
                ..self.clone()
            }),
        };
        Ok(Step::Taken(names, next))
    }
}

/// What came of a step.
#[derive(Debug)]
pub(super) enum Step {
    /// Names of keys (`None` for one that cannot be ours), and where to go on.
    Taken(Vec<Option<String>>, Option<Place>),
    /// The cursor is of no use any more.
    Lost,
}

/// Puts a page together.
pub(super) fn page(mut keys: Vec<Key>, next: Option<&Place>) -> KeyPage {
    keys.sort_unstable();
    keys.dedup();
    KeyPage::new(keys, next.map(Place::written))
}

/// The keys of a kind among names.
pub(super) fn of_kind(names: Vec<Option<String>>, keys: &Keys, kind: Kind) -> impl Iterator<Item = Key> {
    let read = names.into_iter().flatten().filter_map(|name| keys.read(&name));
    read.filter(move |key| key.kind() == kind)
}

pub(super) fn array(answer: Value) -> Result<Vec<Value>, Failure> {
    match answer {
        Value::Array(values) => Ok(values),
        _ => Err(Failure::UnexpectedAnswer),
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "it takes an answer apart, as the others do"
)]
pub(super) fn integer(answer: Option<Value>) -> Result<i64, Failure> {
    match answer {
        Some(Value::Int(number)) => Ok(number),
        _ => Err(Failure::UnexpectedAnswer),
    }
}

pub(super) fn text(answer: Option<Value>) -> Result<String, Failure> {
    match answer {
        Some(Value::BulkString(bytes)) => String::from_utf8(bytes).map_err(|_| Failure::UnexpectedAnswer),
        Some(Value::SimpleString(text) | Value::VerbatimString { text, .. }) => Ok(text),
        _ => Err(Failure::UnexpectedAnswer),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn slots(ranges: &[(i64, i64, &str)]) -> Shards {
        let range = |(from, to, id): &(i64, i64, &str)| {
            let node = Value::Array(vec![bulk("127.0.0.1"), Value::Int(7000), bulk(id)]);
            Value::Array(vec![Value::Int(*from), Value::Int(*to), node])
        };
        Shards::read(Value::Array(ranges.iter().map(range).collect())).unwrap()
    }

    fn answer(run: &str, cursor: &str, names: &[&str]) -> Value {
        let names = Value::Array(names.iter().map(|name| bulk(name)).collect());
        let info = bulk(&format!("# Server\r\nredis_version:7.0\r\nrun_id:{run}\r\n"));
        Value::Array(vec![info, Value::Array(vec![bulk(cursor), names])])
    }

    fn taken(step: Step) -> (usize, Option<Place>) {
        match step {
            Step::Taken(names, next) => (names.len(), next),
            Step::Lost => panic!("the step leads somewhere"),
        }
    }

    #[test]
    fn a_list_goes_from_primary_to_primary_and_ends_behind_the_last() {
        let shards = slots(&[(0, 99, "b"), (100, 199, "a"), (200, 16383, "b")]);
        let first = Place::of(None, &shards);
        let (_, next) = taken(first.step(answer("r1", "17", &["x"]), &shards).unwrap());
        let second = Place::of(Some(&next.unwrap().written()), &shards);
        assert_eq!(
            (second.shard, second.cursor, second.run.as_deref()),
            (0, 17, Some("r1"))
        );
        let (_, next) = taken(second.step(answer("r1", "0", &[]), &shards).unwrap());
        let third = Place::of(Some(&next.unwrap().written()), &shards);
        assert_eq!((third.shard, third.cursor, third.run.as_deref()), (1, 0, None));
        let (_, next) = taken(third.step(answer("r2", "0", &["y", "z"]), &shards).unwrap());
        assert_eq!(next, None);
    }

    #[test]
    fn a_cursor_of_another_run_is_lost() {
        let place = Place {
            run: Some("r1".to_owned()),
            cursor: 5,
            ..Place::beginning(&Shards::One)
        };
        assert!(matches!(
            place.step(answer("r2", "9", &["x"]), &Shards::One),
            Ok(Step::Lost)
        ));
    }

    #[test]
    fn a_position_of_another_distribution_of_the_slots_leads_to_the_beginning() {
        let before = slots(&[(0, 99, "a"), (100, 16383, "b")]);
        let place = Place {
            shard: 1,
            run: Some("r".to_owned()),
            cursor: 5,
            ..Place::beginning(&before)
        };
        assert_eq!(Place::of(Some(&place.written()), &before), place);
        for after in [
            slots(&[(0, 98, "a"), (99, 16383, "b")]),
            slots(&[(0, 99, "a"), (100, 16383, "c")]),
            Shards::One,
        ] {
            assert_eq!(Place::of(Some(&place.written()), &after), Place::beginning(&after));
        }
    }

    #[test]
    fn answers_of_another_form_are_errors() {
        for answer in [
            Value::Nil,
            Value::Array(Vec::new()),
            Value::Array(vec![bulk("run_id:1"), Value::Nil]),
            Value::Array(vec![
                bulk("nothing"),
                Value::Array(vec![bulk("0"), Value::Array(Vec::new())]),
            ]),
            Value::Array(vec![
                bulk("run_id:1"),
                Value::Array(vec![bulk("x"), Value::Array(Vec::new())]),
            ]),
        ] {
            let place = Place::beginning(&Shards::One);
            assert_eq!(
                place.step(answer.clone(), &Shards::One).unwrap_err(),
                Failure::UnexpectedAnswer
            );
            assert_eq!(Shards::read(answer).unwrap_err(), Failure::UnexpectedAnswer);
        }
    }

    proptest! {
        #[test]
        fn any_position_leads_somewhere(text in ".{0,40}", number in any::<u64>()) {
            for text in [text.clone(), format!("0.0.{text}.{number}"), format!("0.{number}.r.0")] {
                let place = Place::of(Some(&ListPosition(text)), &Shards::One);
                prop_assert!(place.shard == 0 && (place.run.is_some() || place.cursor == 0));
                prop_assert_eq!(Place::of(Some(&place.written()), &Shards::One), place);
            }
        }
    }
}
