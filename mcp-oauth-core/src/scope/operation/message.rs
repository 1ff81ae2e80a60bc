//! Reading a body as every other reader has to.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Kind, Operation};

/// At most this many messages in a batch.
pub const MAXIMUM_BATCH: usize = 100;

/// A body that another reader could take for something else. The server is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// It is not one JSON value in UTF-8.
    #[error("the body is not JSON, or is more than one JSON value")]
    NotJson,
    /// A member is there twice.
    #[error("a member of the message or of its params is there twice")]
    Twice,
    /// A member is spelt almost like one that decides.
    #[error("a member is spelt almost like one that counts: use lower case")]
    Spelling,
    /// It is no JSON-RPC message, or lacks what its method needs.
    #[error("the body is no JSON-RPC message, or its method lacks the name or uri that it needs")]
    NotAMessage,
    /// It is an empty batch, or one of too many messages.
    #[error("a batch has 1 to 100 messages")]
    Batch,
}

/// What the messages of a body ask for: one, or those of a batch.
///
/// # Errors
///
/// See [`InvalidMessage`].
pub fn operations(body: &[u8]) -> Result<Vec<Operation>, InvalidMessage> {
    let mut fault = None;
    // What is skipped is not looked at by the parser, which would let anything pass as text there.
    let body = std::str::from_utf8(body).map_err(|_| InvalidMessage::NotJson)?;
    let mut deserializer = serde_json::Deserializer::from_str(body);
    let read = Body { fault: &mut fault }
        .deserialize(&mut deserializer)
        .and_then(|operations| deserializer.end().map(|()| operations));
    read.map_err(|_| fault.unwrap_or(InvalidMessage::NotJson))
}

/// Where a reader notes why it stopped.
type Fault<'a> = &'a mut Option<InvalidMessage>;

fn stop<E: serde::de::Error>(fault: Fault<'_>, why: InvalidMessage) -> E {
    *fault = Some(why);
    E::custom(why)
}

struct Body<'a> {
    fault: Fault<'a>,
}

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = Vec<Operation>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = Vec<Operation>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a message or a batch")
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
        Message { fault: self.fault }
            .visit_map(access)
            .map(|operation| vec![operation])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut operations = Vec::new();
        while let Some(operation) = access.next_element_seed(Message { fault: self.fault })? {
            if operations.len() == MAXIMUM_BATCH {
                return Err(stop(self.fault, InvalidMessage::Batch));
            }
            operations.push(operation);
        }
        if operations.is_empty() {
            return Err(stop(self.fault, InvalidMessage::Batch));
        }
        Ok(operations)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Err(stop(self.fault, InvalidMessage::NotAMessage))
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Self::Value, E> {
        self.visit_unit()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Self::Value, E> {
        self.visit_unit()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Self::Value, E> {
        self.visit_unit()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Self::Value, E> {
        self.visit_unit()
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
        self.visit_unit()
    }
}

/// The members of a message by which it is understood.
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// The members of `params` by which it is understood what it is about.
const PARAMS: [&str; 2] = ["name", "uri"];

struct Message<'a> {
    fault: Fault<'a>,
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = Operation;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Operation, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = Operation;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON-RPC message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Operation, A::Error> {
        let mut seen = Seen::of(&MEMBERS);
        let (mut method, mut params, mut answer) = (Value::Absent, Params::default(), false);
        while let Some(member) = access.next_key::<String>()? {
            match member.as_str() {
                "method" => method = access.next_value()?,
                "params" => params = access.next_value_seed(ReadParams { fault: self.fault })?,
                "result" | "error" => {
                    answer = true;
                    access.next_value::<IgnoredAny>()?;
                }
                _ => {
                    access.next_value::<IgnoredAny>()?;
                }
            }
            seen.note(member).map_err(|why| stop::<A::Error>(self.fault, why))?;
        }
        let not_a_message = |fault| Err(stop(fault, InvalidMessage::NotAMessage));
        let method = match (method, answer) {
            (Value::Text(method), false) => method,
            (Value::Absent, true) => return Ok(Operation::Session),
            _ => return not_a_message(self.fault),
        };
        let name = match Kind::of(&method) {
            None => None,
            Some(Kind::Tool | Kind::Prompt) => Some(params.name),
            Some(Kind::Resource) => Some(params.uri),
        };
        let name = match name {
            None => None,
            Some(Value::Text(name)) => Some(name),
            Some(_) => return not_a_message(self.fault),
        };
        Ok(Operation::Call { method, name })
    }
}

#[derive(Default)]
struct Params {
    name: Value,
    uri: Value,
}

struct ReadParams<'a> {
    fault: Fault<'a>,
}

impl<'de> DeserializeSeed<'de> for ReadParams<'_> {
    type Value = Params;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Params, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadParams<'_> {
    type Value = Params;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("params")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Params, A::Error> {
        let mut seen = Seen::of(&PARAMS);
        let mut params = Params::default();
        while let Some(member) = access.next_key::<String>()? {
            match member.as_str() {
                "name" => params.name = access.next_value()?,
                "uri" => params.uri = access.next_value()?,
                _ => {
                    access.next_value::<IgnoredAny>()?;
                }
            }
            seen.note(member).map_err(|why| stop::<A::Error>(self.fault, why))?;
        }
        Ok(params)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Params, A::Error> {
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Params::default())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Params, E> {
        Ok(Params::default())
    }
}

/// A value that should be text.
#[derive(Default)]
enum Value {
    #[default]
    Absent,
    Text(String),
    Other,
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Any {
            Text(String),
            Other(IgnoredAny),
        }
        Ok(match Any::deserialize(deserializer)? {
            Any::Text(text) => Self::Text(text),
            Any::Other(_) => Self::Other,
        })
    }
}

/// The members of an object that were there so far.
struct Seen {
    deciding: &'static [&'static str],
    members: HashSet<String>,
}

impl Seen {
    fn of(deciding: &'static [&'static str]) -> Self {
        Self {
            deciding,
            members: HashSet::new(),
        }
    }

    fn note(&mut self, member: String) -> Result<(), InvalidMessage> {
        let folded = folded(&member);
        let deciding = self.deciding.contains(&folded.as_str());
        if deciding && member != folded {
            return Err(InvalidMessage::Spelling);
        }
        self.members.insert(member).then_some(()).ok_or(InvalidMessage::Twice)
    }
}

/// The letters of a name as readers see it that do not count case: ASCII, and the two letters beyond it that fold into it
/// (Unicode `CaseFolding.txt`: the long s, and the sign for kelvin).
fn folded(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            '\u{17F}' => 's',
            '\u{212A}' => 'k',
            letter => letter.to_ascii_lowercase(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(body: &str) -> Result<Vec<Operation>, InvalidMessage> {
        operations(body.as_bytes())
    }

    #[test]
    fn a_message_is_its_method_and_what_that_is_about() {
        for (message, operation) in [
            (
                json!({"method": "initialize", "params": {"name": "x"}}),
                Operation::call("initialize", None),
            ),
            (json!({"method": "ping"}), Operation::call("ping", None)),
            (
                json!({"method": "tools/list", "params": null}),
                Operation::call("tools/list", None),
            ),
            (
                json!({"method": "x", "params": [1, {"name": 1}]}),
                Operation::call("x", None),
            ),
            (
                json!({"params": {"name": "a"}, "method": "tools/call"}),
                Operation::call("tools/call", Some("a")),
            ),
            (
                json!({"method": "prompts/get", "params": {"name": "p", "uri": 1}}),
                Operation::call("prompts/get", Some("p")),
            ),
            (
                json!({"method": "resources/read", "params": {"uri": "file:///a"}}),
                Operation::call("resources/read", Some("file:///a")),
            ),
            (json!({"id": 1, "result": {"method": "tools/call"}}), Operation::Session),
            (json!({"id": 1, "error": {}}), Operation::Session),
        ] {
            assert_eq!(read(&message.to_string()), Ok(vec![operation]), "{message}");
        }
        let escaped = r#"{"\u006dethod":"tools\/call","params":{"n\u0061me":"\u0064elete"}}"#;
        assert_eq!(read(escaped), Ok(vec![Operation::call("tools/call", Some("delete"))]));
    }

    /// V-86.
    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for (body, why) in [
            (r#"{"method":"a","method":"b"}"#, InvalidMessage::Twice),
            (r#"{"method":"a","\u006dethod":"b"}"#, InvalidMessage::Twice),
            (
                r#"{"method":"tools/call","params":{"name":"a","name":"b"}}"#,
                InvalidMessage::Twice,
            ),
            (
                r#"{"method":"tools/call","params":{"name":"a"},"params":{"name":"b"}}"#,
                InvalidMessage::Twice,
            ),
            (
                r#"{"method":"tools/call","params":{"name":"a","x":1,"x":2}}"#,
                InvalidMessage::Twice,
            ),
            (r#"{"method":"a","Method":"b"}"#, InvalidMessage::Spelling),
            (r#"{"METHOD":"b"}"#, InvalidMessage::Spelling),
            (
                r#"{"method":"tools/call","params":{"name":"a","Name":"b"}}"#,
                InvalidMessage::Spelling,
            ),
            (
                r#"{"method":"tools/call","paramſ":{"name":"b"}}"#,
                InvalidMessage::Spelling,
            ),
            (r#"{"method":"a","Result":1}"#, InvalidMessage::Spelling),
            (r#"{"method":"a"} {"method":"b"}"#, InvalidMessage::NotJson),
            (r#"{"method":"a"}x"#, InvalidMessage::NotJson),
            ("\u{feff}{\"method\":\"a\"}", InvalidMessage::NotJson),
            (r#"{"method":"a","x":NaN}"#, InvalidMessage::NotJson),
            (r#"{"\ud800":1,"method":"a"}"#, InvalidMessage::NotJson),
            (r#"{"method":"\ud800"}"#, InvalidMessage::NotJson),
            ("", InvalidMessage::NotJson),
            ("{", InvalidMessage::NotJson),
        ] {
            assert_eq!(read(body), Err(why), "{body}");
        }
        for body in [&b"{\"method\":\"a\xff\"}"[..], b"{\"method\":\"a\",\"x\":\"\xff\"}"] {
            assert_eq!(operations(body), Err(InvalidMessage::NotJson));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for body in [
            "1",
            "null",
            "true",
            "1.5",
            "-1",
            "\"a\"",
            "{}",
            r#"{"method":1}"#,
            r#"{"method":null}"#,
            r#"{"method":"a","result":1}"#,
            r#"{"method":"tools/call"}"#,
            r#"{"method":"tools/call","params":{}}"#,
            r#"{"method":"tools/call","params":["a"]}"#,
            r#"{"method":"tools/call","params":{"name":["a"]}}"#,
            r#"{"method":"resources/read","params":{"name":"a"}}"#,
        ] {
            assert_eq!(read(body), Err(InvalidMessage::NotAMessage), "{body}");
        }
    }

    /// V-87.
    #[test]
    fn each_message_of_a_batch_counts() {
        let batch =
            r#"[{"method":"tools/list"},{"method":"tools/call","params":{"name":"delete"}},{"id":1,"result":{}}]"#;
        let all = [
            Operation::call("tools/list", None),
            Operation::call("tools/call", Some("delete")),
            Operation::Session,
        ];
        assert_eq!(read(batch).unwrap(), all);
        assert_eq!(read("[]"), Err(InvalidMessage::Batch));
        let many = |messages: usize| json!(vec![json!({"method": "a"}); messages]).to_string();
        assert_eq!(read(&many(MAXIMUM_BATCH)).unwrap().len(), MAXIMUM_BATCH);
        assert_eq!(read(&many(MAXIMUM_BATCH + 1)), Err(InvalidMessage::Batch));
        for nested in ["[1]", "[[]]", r#"[[{"method":"a"}]]"#] {
            assert!(read(nested).is_err(), "{nested}");
        }
    }

    fn json_value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(serde_json::Value::from),
            prop::sample::select(vec!["method", "tools/call", "name", "a", "NAME", "params"])
                .prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let member = prop::sample::select(vec![
                "method", "Method", "params", "name", "uri", "result", "error", "id", "x",
            ]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::vec((member, inner), 0..5).prop_map(|members| {
                    members
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect::<serde_json::Map<_, _>>()
                        .into()
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn reading_never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = operations(&body);
        }

        /// What an ordinary reader finds in a body that is read here is what is found here.
        #[test]
        fn an_ordinary_reader_finds_the_same(body in json_value()) {
            if let Ok(operations) = read(&body.to_string()) {
                let messages = body.as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
                prop_assert_eq!(messages.len(), operations.len());
                for (message, operation) in messages.iter().zip(operations) {
                    match operation {
                        Operation::Session => prop_assert!(message.get("method").is_none()),
                        Operation::Call { method, name } => {
                            prop_assert_eq!(message["method"].as_str(), Some(method.as_str()));
                            if let Some(name) = name {
                                let member = if method.starts_with("resources/") { "uri" } else { "name" };
                                prop_assert_eq!(message["params"][member].as_str(), Some(name.as_str()));
                            }
                        }
                    }
                }
            }
        }
    }
}
