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
mod object;
mod params;
pub(crate) mod reply;
mod request_meta;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use memchr::memchr2;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

pub(crate) use self::id::{Id, Key};
pub(crate) use self::object::{entries, is_empty, members, text_of};
use self::object::{find, place, string};
use self::params::Params;
pub(crate) use self::request_meta::{RequestMeta, meta};

/// Why a text is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the body is not valid JSON")]
    NotJson,
    #[error("a batch is not taken here: send each JSON-RPC message in a request of its own")]
    Batch,
    #[error("a batch has at least one message and at most {0}")]
    BatchSize(usize),
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
    /// The `result` or the `error`.
    outcome: Option<Range<usize>>,
    /// What was found in the `params`, once somebody has looked.
    found: OnceLock<Box<Params>>,
}

/// What a client sent in one request.
#[derive(Debug)]
pub(crate) enum Body {
    One(Message),
    /// As MCP 2025-03-26 has it, and no version after it.
    Batch(Vec<Message>),
}

/// The parts of a request's `params` that decide where its answers go.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    /// `_meta.progressToken`, if it is one.
    pub(crate) token: Option<Member>,
    /// Whether the request begins a task.
    pub(crate) task: bool,
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
                        id: Id::read(id.get()).ok_or(Malformed::Id)?,
                        method,
                    },
                    None => Kind::Notification { method },
                }
            }
            (None, Some(id)) if result.is_some() != error.is_some() => Kind::Response {
                id: match id.get() {
                    "null" => None,
                    _ => Some(Id::read(id.get()).ok_or(Malformed::Id)?),
                },
                failed: error.is_some(),
            },
            (None, _) => return Err(Malformed::Shape),
        };
        let place = |value: Option<&RawValue>| value.map(|value| place(source, value));
        let (id, params, outcome) = (place(id), place(params), place(result.or(error)));
        Ok(Self {
            text,
            kind,
            id,
            params,
            outcome,
            found: OnceLock::new(),
        })
    }

    /// Reads one message, or an array of at most `most`.
    pub(crate) fn parse_body(text: Vec<u8>, most: usize) -> Result<Body, Malformed> {
        if text.trim_ascii_start().first() != Some(&b'[') {
            return Self::parse(text).map(Body::One);
        }
        let raw: Vec<&RawValue> = serde_json::from_slice(&text).map_err(|_| Malformed::NotJson)?;
        if raw.is_empty() || raw.len() > most {
            return Err(Malformed::BatchSize(most));
        }
        let messages = raw.iter().map(|raw| Self::parse(raw.get().as_bytes().to_vec()));
        messages.collect::<Result<_, _>>().map(Body::Batch)
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The method of a request or a notification.
    pub(crate) fn method(&self) -> Option<&str> {
        match &self.kind {
            Kind::Request { method, .. } | Kind::Notification { method } => Some(method),
            Kind::Response { .. } => None,
        }
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
        self.found().map_or(Ok(()), Params::check)
    }

    /// What routing a request needs of its `params`.
    pub(crate) fn routing(&self) -> Routing {
        let (token, task) = self.found().map(Params::routing).unwrap_or_default();
        Routing {
            token: token.map(|at| self.member_at(at)).filter(|token| token.id.is_some()),
            task,
        }
    }

    /// A member of `params`, such as `requestId` of `notifications/cancelled`.
    pub(crate) fn param(&self, name: &'static str) -> Option<Member> {
        self.param_at(name).map(|at| self.member_at(at))
    }

    /// The raw `params`, if they are an object.
    pub(crate) fn params(&self) -> Option<&str> {
        self.params_object()
    }

    /// The raw `result` or `error` of a response.
    pub(crate) fn outcome(&self) -> Option<&str> {
        Some(&self.text[self.outcome.clone()?])
    }

    /// The named members of an object inside this message.
    pub(crate) fn members<const N: usize>(&self, object: &str, names: [&'static str; N]) -> [Option<Member>; N] {
        if !object.starts_with('{') {
            return [const { None }; N];
        }
        let found = members(object, names).unwrap_or([None; N]);
        found.map(|value| value.map(|value| self.member(value)))
    }

    /// The text of a value.
    pub(crate) fn text(&self, member: &Member) -> &str {
        &self.text[member.at.clone()]
    }

    /// The place behind the opening brace of an object inside this message, for members to be put in.
    pub(crate) fn start_of(&self, object: &str) -> Member {
        let start = object.as_ptr().addr() - self.text.as_ptr().addr() + 1;
        Member {
            at: start..start,
            id: None,
        }
    }

    /// The place behind the opening brace of the message itself.
    pub(crate) fn start(&self) -> Member {
        let start = self.text.find('{').map_or(0, |brace| brace + 1);
        Member {
            at: start..start,
            id: None,
        }
    }

    /// Where a value is that was found inside this message.
    pub(crate) fn place_of(&self, value: &RawValue) -> Member {
        self.member(value)
    }

    /// Where the `params` are, whatever they are.
    pub(crate) fn params_member(&self) -> Option<Member> {
        self.params.clone().map(|at| Member { at, id: None })
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
        if !edits.is_sorted_by_key(|(member, _)| member.at.start) {
            let mut sorted = edits.to_vec();
            sorted.sort_by_key(|(member, _)| member.at.start);
            return self.line(&sorted);
        }
        let grown: usize = edits.iter().map(|(_, value)| value.len()).sum();
        // One byte more than the message: the pipe's line end is put behind it without moving it.
        let mut line = String::with_capacity(self.text.len() + grown + 1);
        let mut done = 0;
        for (member, value) in edits {
            line.push_str(&self.text[done..member.at.start]);
            line.push_str(value);
            done = member.at.end;
        }
        line.push_str(&self.text[done..]);
        if memchr2(b'\n', b'\r', line.as_bytes()).is_some() {
            line = line.replace(['\n', '\r'], " ");
        }
        line
    }

    fn member(&self, value: &RawValue) -> Member {
        self.member_at(place(&self.text, value))
    }

    fn member_at(&self, at: Range<usize>) -> Member {
        Member {
            id: Id::read(&self.text[at.clone()]),
            at,
        }
    }

    /// Where a member of `params` is.
    fn param_at(&self, name: &'static str) -> Option<Range<usize>> {
        if let Some(index) = Params::index(name) {
            return self.found()?.once(index);
        }
        let [value] = members(self.params_object()?, [name]).ok()?;
        value.map(|value| place(&self.text, value))
    }

    fn found(&self) -> Option<&Params> {
        let params = self.params_object()?;
        Some(self.found.get_or_init(|| Box::new(Params::read(&self.text, params))))
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

#[cfg(test)]
mod tests;
