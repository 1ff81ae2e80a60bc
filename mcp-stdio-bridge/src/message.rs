//! One JSON-RPC message: its envelope read, everything else left as the bytes it came in.
//!
//! A bridge that decodes and encodes messages loses what its types do not know. So a [`Message`] keeps its text
//! and only notes *where* the members are that routing needs: `id`, `method`, `params`. To put another id on the
//! pipe, that range of the text is replaced and the rest is copied; a result of a megabyte is scanned once and
//! never built.
//!
//! Two rules keep both ends looking at the same message. A member that decides anything may appear once only: of
//! two, the bridge might read the first and the server the last. And what goes onto the pipe or into an event is
//! one line: in valid JSON a line break can only stand between tokens (inside a string it has to be escaped), so
//! each is replaced by a space.

mod id;
pub(crate) mod reply;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

pub(crate) use self::id::{Id, Key};

/// Why a text is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the body is not valid JSON")]
    NotJson,
    #[error("batches are not supported: send each JSON-RPC message in a request of its own")]
    Batch,
    #[error("a JSON-RPC message is an object")]
    NotAnObject,
    #[error("the member `{0}` appears twice")]
    Duplicate(&'static str),
    #[error("the member `jsonrpc` has to be \"2.0\"")]
    Version,
    #[error("the member `id` has to be a string or a number")]
    Id,
    #[error("the member `method` has to be a string")]
    Method,
    #[error("a message has either `method`, or `id` with one of `result` and `error`")]
    Shape,
}

impl Malformed {
    /// The JSON-RPC code that goes with it.
    pub(crate) fn code(&self) -> i32 {
        match self {
            Self::NotJson => reply::PARSE_ERROR,
            _ => reply::INVALID_REQUEST,
        }
    }
}

/// What kind of message it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Request {
        id: Id,
        method: String,
    },
    Notification {
        method: String,
    },
    /// An answer, good or bad. `id` is `None` where the answerer could not tell which request it was.
    Response {
        id: Option<Id>,
        failed: bool,
    },
}

/// A message: its text, and where its parts are.
#[derive(Clone)]
pub(crate) struct Message {
    text: String,
    kind: Kind,
    id: Option<Range<usize>>,
    params: Option<Range<usize>>,
}

/// A value inside the text that can be read and replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    at: Range<usize>,
    /// The value as an id, if it is a string or a number.
    pub(crate) id: Option<Id>,
}

impl Message {
    /// Reads the envelope.
    pub(crate) fn parse(text: Vec<u8>) -> Result<Self, Malformed> {
        let text = String::from_utf8(text).map_err(|_| Malformed::NotJson)?;
        let source = text.as_str();
        match source.trim_ascii_start().as_bytes().first() {
            Some(b'{') => {}
            Some(b'[') if valid(source) => return Err(Malformed::Batch),
            _ if valid(source) => return Err(Malformed::NotAnObject),
            _ => return Err(Malformed::NotJson),
        }
        let [version, id, method, params, result, error] =
            members(source, ["jsonrpc", "id", "method", "params", "result", "error"])?;

        if version.and_then(string).as_deref() != Some("2.0") {
            return Err(Malformed::Version);
        }
        let kind = match (method, id) {
            (Some(_), _) if result.is_some() || error.is_some() => return Err(Malformed::Shape),
            (Some(method), id) => {
                let method = string(method).ok_or(Malformed::Method)?.into_owned();
                match id {
                    Some(id) => Kind::Request {
                        id: Id::read(id).ok_or(Malformed::Id)?,
                        method,
                    },
                    None => Kind::Notification { method },
                }
            }
            (None, Some(id)) if result.is_some() != error.is_some() => Kind::Response {
                id: match id.get() {
                    "null" => None,
                    _ => Some(Id::read(id).ok_or(Malformed::Id)?),
                },
                failed: error.is_some(),
            },
            (None, _) => return Err(Malformed::Shape),
        };
        let place = |value: Option<&RawValue>| value.map(|value| place(source, value));
        let (id, params) = (place(id), place(params));
        Ok(Self { text, kind, id, params })
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The id of a request or a response.
    pub(crate) fn id(&self) -> Option<&Id> {
        match &self.kind {
            Kind::Request { id, .. } => Some(id),
            Kind::Response { id, .. } => id.as_ref(),
            Kind::Notification { .. } => None,
        }
    }

    /// Refuses a request in whose `params` a member that somebody may decide by appears twice.
    pub(crate) fn check_params(&self) -> Result<(), Malformed> {
        let Some(params) = self.params_object() else {
            return Ok(());
        };
        let [meta, ..] = members(params, ["_meta", "name", "uri", "requestId", "progressToken"])?;
        if let Some(meta) = meta.filter(|meta| meta.get().starts_with('{')) {
            members(meta.get(), ["progressToken"])?;
        }
        Ok(())
    }

    /// `params._meta.progressToken`, the token by which a request asks for progress.
    pub(crate) fn asks_progress_by(&self) -> Option<Member> {
        let [meta] = members(self.params_object()?, ["_meta"]).ok()?;
        let meta = meta.filter(|meta| meta.get().starts_with('{'))?;
        let [token] = members(meta.get(), ["progressToken"]).ok()?;
        token.map(|token| self.member(token))
    }

    /// A member of `params`, such as `requestId` of `notifications/cancelled`.
    pub(crate) fn param(&self, name: &'static str) -> Option<Member> {
        let [value] = members(self.params_object()?, [name]).ok()?;
        value.map(|value| self.member(value))
    }

    /// Whether `params` has a member of this name.
    pub(crate) fn has_param(&self, name: &'static str) -> bool {
        self.param(name).is_some()
    }

    /// Where the id is, to be replaced.
    pub(crate) fn id_member(&self) -> Option<Member> {
        self.id.clone().map(|at| Member {
            at,
            id: self.id().cloned(),
        })
    }

    /// The text as one line without its end, with some values replaced.
    pub(crate) fn line(&self, edits: &[(&Member, &str)]) -> String {
        let mut edits: Vec<_> = edits
            .iter()
            .map(|(member, value)| (member.at.clone(), *value))
            .collect();
        edits.sort_by_key(|(at, _)| at.start);
        let grown: usize = edits.iter().map(|(_, value)| value.len()).sum();
        // One byte more than the message: the pipe's line end is put behind it without moving it.
        let mut line = String::with_capacity(self.text.len() + grown + 1);
        let mut done = 0;
        for (at, value) in edits {
            line.push_str(&self.text[done..at.start]);
            line.push_str(value);
            done = at.end;
        }
        line.push_str(&self.text[done..]);
        if line.contains(['\n', '\r']) {
            line = line.replace(['\n', '\r'], " ");
        }
        line
    }

    fn member(&self, value: &RawValue) -> Member {
        Member {
            at: place(&self.text, value),
            id: Id::read(value),
        }
    }

    fn params_object(&self) -> Option<&str> {
        let params = &self.text[self.params.clone()?];
        params.starts_with('{').then_some(params)
    }
}

impl fmt::Debug for Message {
    /// What kind of message it is. What it says is between the client and the server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind)
            .field("bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

fn valid(source: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(source).is_ok()
}

/// A JSON string's text.
fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|text| text.0)
}

/// The place of a value that was borrowed from `source`.
fn place(source: &str, value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr().addr() - source.as_ptr().addr();
    start..start + value.get().len()
}

/// The named members of an object, each of which may appear once only.
fn members<'a, const N: usize>(
    object: &'a str,
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], Malformed> {
    let mut deserializer = serde_json::Deserializer::from_str(object);
    let (found, twice) = deserializer
        .deserialize_map(Members(names))
        .map_err(|_| Malformed::NotJson)?;
    deserializer.end().map_err(|_| Malformed::NotJson)?;
    match twice {
        Some(name) => Err(Malformed::Duplicate(name)),
        None => Ok(found),
    }
}

/// Collects the named members; the others are skipped unread.
struct Members<const N: usize>([&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for Members<N> {
    type Value = ([Option<&'de RawValue>; N], Option<&'static str>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        let mut twice = None;
        while let Some(Text(key)) = map.next_key()? {
            let Some(index) = self.0.iter().position(|name| *name == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if found[index].replace(map.next_value::<&RawValue>()?).is_some() {
                twice = Some(self.0[index]);
            }
        }
        Ok((found, twice))
    }
}

/// A string, borrowed unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Read)
    }
}

#[cfg(test)]
mod tests;
