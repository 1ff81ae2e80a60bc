//! The members of `params` that something is decided by, and those of its `_meta`.
//!
//! On its way a request is asked for several of them, by one after the other. They are found in one pass, when the first is
//! asked for, and only their places are kept.

use std::ops::Range;

use serde_json::value::RawValue;

use super::{Malformed, find, meta, place};

const NAMES: [&str; 7] = ["_meta", "name", "uri", "requestId", "progressToken", "task", "taskId"];
const META: usize = 0;
const TASK: usize = 5;
/// These may appear once only, whatever the method.
const DECIDING: Range<usize> = 0..5;

const NAMES_IN_META: [&str; 5] = [
    "progressToken",
    meta::PROTOCOL_VERSION,
    meta::CLIENT_CAPABILITIES,
    meta::CLIENT_INFO,
    meta::LOG_LEVEL,
];
const PROGRESS_TOKEN: usize = 0;
/// What the protocol reserves.
const RESERVED: Range<usize> = 1..5;

/// Where the members are.
#[derive(Debug, Clone)]
pub(super) struct Params {
    own: Result<Places<{ NAMES.len() }>, Malformed>,
    /// Those of `_meta`, if that is an object.
    meta: Result<Option<Places<{ NAMES_IN_META.len() }>>, Malformed>,
}

#[derive(Debug, Clone)]
struct Places<const N: usize> {
    at: [Option<Range<usize>>; N],
    twice: [bool; N],
}

impl<const N: usize> Places<N> {
    fn read(text: &str, object: &str, names: [&'static str; N]) -> Result<Self, Malformed> {
        let (found, twice) = find(object, names)?;
        Ok(Self {
            at: found.map(|value: Option<&RawValue>| value.map(|value| place(text, value))),
            twice,
        })
    }

    /// The place of a member that is there once.
    fn once(&self, index: usize) -> Option<&Range<usize>> {
        self.at[index].as_ref().filter(|_| !self.twice[index])
    }

    /// Refuses what is there twice.
    fn check(&self, names: [&'static str; N], indices: impl IntoIterator<Item = usize>) -> Result<(), Malformed> {
        let mut twice = indices.into_iter().filter(|index| self.twice[*index]);
        twice
            .next()
            .map_or(Ok(()), |index| Err(Malformed::Duplicate(names[index])))
    }
}

impl Params {
    /// Finds them in the `params` of a message, which are an object.
    pub(super) fn read(text: &str, params: &str) -> Self {
        let own = Places::read(text, params, NAMES);
        let about = own.as_ref().ok().and_then(|own| own.at[META].clone());
        let about = about.map(|at| &text[at]).filter(|about| about.starts_with('{'));
        Self {
            own,
            meta: about.map(|about| Places::read(text, about, NAMES_IN_META)).transpose(),
        }
    }

    /// Refuses a member by which somebody may decide if it appears twice.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        self.own()?.check(NAMES, DECIDING)?;
        match self.meta()? {
            Some(meta) => meta.check(NAMES_IN_META, [PROGRESS_TOKEN]),
            None => Ok(()),
        }
    }

    /// Which of the members this is, if they are looked for here.
    pub(super) fn index(name: &str) -> Option<usize> {
        NAMES.iter().position(|known| *known == name)
    }

    /// Where the member of this [index](Self::index) is, if it is there once.
    pub(super) fn once(&self, index: usize) -> Option<Range<usize>> {
        self.own.as_ref().ok()?.once(index).cloned()
    }

    /// Where `_meta.progressToken` is, and whether there is a `task`.
    pub(super) fn routing(&self) -> (Option<Range<usize>>, bool) {
        let Ok(own) = &self.own else { return (None, false) };
        if own.twice[META] || own.twice[TASK] {
            return (None, false);
        }
        let meta = self.meta.as_ref().ok().and_then(Option::as_ref);
        let token = meta.and_then(|meta| meta.once(PROGRESS_TOKEN).cloned());
        (token, own.at[TASK].is_some())
    }

    /// Where the reserved members of `_meta` are: version, capabilities, client and level.
    pub(super) fn reserved(&self) -> Result<[Option<Range<usize>>; 4], Malformed> {
        self.own()?.check(NAMES, [META])?;
        let Some(meta) = self.meta()? else {
            return Ok([const { None }; 4]);
        };
        meta.check(NAMES_IN_META, RESERVED)?;
        let [_, reserved @ ..] = &meta.at;
        Ok(reserved.clone())
    }

    fn own(&self) -> Result<&Places<{ NAMES.len() }>, Malformed> {
        self.own.as_ref().map_err(Clone::clone)
    }

    fn meta(&self) -> Result<Option<&Places<{ NAMES_IN_META.len() }>>, Malformed> {
        self.meta.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }
}
