//! What a tool, a prompt or a resource may want of the client that is waiting for it.

use serde_json::{Value, json};

/// The client of one request.
pub(crate) trait Client {
    /// Whether the client has said that it can answer this.
    fn declares(&self, kind: Kind) -> bool;

    /// Asks the client, all of it at once. The answers are in the questions' order.
    fn ask(&self, questions: &[Question], keep: Keep) -> Result<Vec<Value>, Failure>;

    /// Tells how far the request is, if the client wants to know.
    fn progress(&self, done: u32, total: u32);

    /// Logs at level `info`, if the client wants to see that.
    fn log(&self, data: &str);

    /// Tells whoever listens that something is not as it was.
    fn changed(&self, change: &Change);
}

/// A question to the client.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// What the answer goes by, where the era has names for that.
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    pub(crate) params: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Elicitation,
    Roots,
    Sampling,
}

impl Kind {
    /// The capability that a client declares who can answer.
    pub(crate) fn capability(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation",
            Self::Roots => "roots",
            Self::Sampling => "sampling",
        }
    }

    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation/create",
            Self::Roots => "roots/list",
            Self::Sampling => "sampling/createMessage",
        }
    }

    /// Whether this has the form of an answer.
    pub(crate) fn accepts(self, answer: &Value) -> bool {
        match self {
            Self::Elicitation => answer["action"].is_string(),
            Self::Roots => answer["roots"].is_array(),
            Self::Sampling => answer["role"].is_string() && !answer["content"].is_null(),
        }
    }
}

/// Whether answers of earlier rounds come back with the request, sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Nothing,
    Answers,
}

/// What is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Prompts,
    Resource(String),
    Tools,
}

/// Why a request has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A JSON-RPC error.
    Error { code: i64, message: String, data: Value },
    /// The client has to answer first: the result that says so.
    InputRequired(Value),
    /// The client did not do what a tool asked of it.
    Refused(String),
    /// The client does not wait any more.
    Cancelled,
}

impl Failure {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::error(-32602, message, Value::Null)
    }

    pub(crate) fn error(code: i64, message: impl Into<String>, data: Value) -> Self {
        Self::Error {
            code,
            message: message.into(),
            data,
        }
    }

    pub(crate) fn unknown_method(method: &str) -> Self {
        Self::error(-32601, format!("Method not found: {method}"), Value::Null)
    }
}

/// A question with a form of these properties, all of them required.
pub(crate) fn form(key: &'static str, message: &str, properties: &Value) -> Question {
    let required: Vec<&String> = properties.as_object().into_iter().flat_map(|map| map.keys()).collect();
    Question {
        key,
        kind: Kind::Elicitation,
        params: json!({
            "message": message,
            "requestedSchema": { "type": "object", "properties": properties, "required": required },
        }),
    }
}

/// A question to a model.
pub(crate) fn prompt(key: &'static str, text: &str, max_tokens: u32) -> Question {
    Question {
        key,
        kind: Kind::Sampling,
        params: json!({
            "messages": [{ "role": "user", "content": { "type": "text", "text": text } }],
            "maxTokens": max_tokens,
        }),
    }
}

pub(crate) fn roots(key: &'static str) -> Question {
    Question {
        key,
        kind: Kind::Roots,
        params: json!({}),
    }
}
