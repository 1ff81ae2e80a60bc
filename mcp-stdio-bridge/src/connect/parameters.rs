//! Headers that repeat what a request of MCP 2026-07-28 says: its method, its name, and the parameters that a tool marks.
//!
//! A tool whose marks make no headers is not for use (Tools, `x-mcp-header`): it is taken out of the list before the
//! client behind stdio sees it, and the rest of the list stays as it is.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::message::Message;

const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const PARAM: &str = "mcp-param-";
/// How many tools are remembered.
const TOOLS: usize = 10_000;

/// A parameter that is repeated: the names that lead to it, and the header.
type Mark = (Vec<String>, HeaderName);

/// The marks of the tools that a list has named.
#[derive(Debug, Default)]
pub(crate) struct Parameters(Mutex<HashMap<String, Vec<Mark>>>);

impl Parameters {
    /// Reads the result of `tools/list`. Gives the list without the tools that are not for use, if there are any.
    pub(crate) fn learn(&self, result: &str) -> Option<String> {
        let mut list: Value = serde_json::from_str(result).ok()?;
        let tools = list.get_mut("tools")?.as_array_mut()?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = tools.len();
        tools.retain(|tool| {
            let Some(name) = tool["name"].as_str() else { return true };
            let marks = marks(&tool["inputSchema"]);
            if marks.is_none() {
                tracing::warn!(
                    tool = super::address::bounded(name),
                    "left out: its marks make no headers"
                );
                known.remove(name);
            }
            if let Some(marks) = &marks
                && (known.len() < TOOLS || known.contains_key(name))
            {
                known.insert(name.to_owned(), marks.clone());
            }
            marks.is_some()
        });
        (tools.len() < before).then(|| list.to_string())
    }

    /// The headers of a request or a notification.
    pub(crate) fn headers(&self, message: &Message) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(method) = message.method() else { return headers };
        if let Ok(value) = HeaderValue::from_str(method) {
            headers.insert(METHOD, value);
        }
        let member = match method {
            "tools/call" | "prompts/get" => "name",
            "resources/read" => "uri",
            "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
            _ => return headers,
        };
        let Some(name) = message.param_text(member) else {
            return headers;
        };
        headers.insert(NAME, encoded(&name));
        if method == "tools/call" {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let marks = known.get(&name).map(Vec::as_slice).unwrap_or_default();
            let params: Value = match (marks, message.params()) {
                ([_, ..], Some(params)) => serde_json::from_str(params).unwrap_or_default(),
                _ => return headers,
            };
            for (path, header) in marks {
                let value = path.iter().fold(&params["arguments"], |value, name| &value[name]);
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Bool(_) | Value::Number(_) => value.to_string(),
                    // What is not there, or null, is not repeated.
                    _ => continue,
                };
                headers.insert(header.clone(), encoded(&text));
            }
        }
        headers
    }
}

/// The marks of a tool; `None` where one of them makes no header.
fn marks(schema: &Value) -> Option<Vec<Mark>> {
    let mut found = Vec::new();
    collect(schema, true, &mut Vec::new(), &mut found).then_some(found)
}

/// Marks count where `properties` lead. Anywhere else in a schema nothing says which value is meant.
fn collect(schema: &Value, reachable: bool, path: &mut Vec<String>, found: &mut Vec<Mark>) -> bool {
    match schema {
        Value::Object(members) => members.iter().all(|(name, inner)| match (name.as_str(), inner) {
            ("properties", Value::Object(properties)) => properties.iter().all(|(name, property)| {
                path.push(name.clone());
                let good = mark(property, reachable, path, found) && collect(property, reachable, path, found);
                path.pop();
                good
            }),
            ("x-mcp-header", _) => reachable && !path.is_empty(),
            // Values, not schemas.
            ("const" | "default" | "enum" | "examples", _) => true,
            (_, inner) => collect(inner, false, path, found),
        }),
        Value::Array(inner) => inner.iter().all(|inner| collect(inner, false, path, found)),
        _ => true,
    }
}

fn mark(property: &Value, reachable: bool, path: &[String], found: &mut Vec<Mark>) -> bool {
    let Some(header) = property.get("x-mcp-header") else {
        return true;
    };
    let primitive = matches!(property["type"].as_str(), Some("string" | "integer" | "boolean"));
    let name = header
        .as_str()
        .filter(|name| !name.is_empty())
        .and_then(|name| HeaderName::from_bytes(format!("{PARAM}{name}").as_bytes()).ok());
    // Header names know no case: two that differ in it alone are one.
    match name.filter(|name| !found.iter().any(|(_, other)| other == name)) {
        Some(name) if primitive && reachable => {
            found.push((path.to_vec(), name));
            true
        }
        _ => false,
    }
}

/// A value as a header has it: as it is, or in base64 where a header could not hold it so.
fn encoded(text: &str) -> HeaderValue {
    let plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.trim() == text;
    let looks_encoded = text.starts_with("=?base64?") && text.ends_with("?=");
    let plain = (plain && !looks_encoded)
        .then(|| HeaderValue::from_str(text).ok())
        .flatten();
    plain.unwrap_or_else(|| {
        let encoded = format!("=?base64?{}?=", BASE64_STANDARD.encode(text));
        HeaderValue::from_str(&encoded).unwrap_or_else(|_| HeaderValue::from_static(""))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Parameters, encoded, marks};
    use crate::message::Message;

    fn call(arguments: &Value) -> Message {
        let call =
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "t", "arguments": arguments}});
        Message::parse(call.to_string().into_bytes()).unwrap()
    }

    #[test]
    fn marked_parameters_are_repeated_and_no_others() {
        let known = Parameters::default();
        let list = json!({"tools": [{"name": "t", "inputSchema": {"properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "on": {"type": "boolean", "x-mcp-header": "On"},
            "deep": {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
            "query": {"type": "string"},
        }}}]});
        assert_eq!(known.learn(&list.to_string()), None);
        let headers = known.headers(&call(
            &json!({"region": " ü", "on": false, "deep": {"n": 42}, "query": "x"}),
        ));
        assert_eq!(headers["mcp-method"], "tools/call");
        assert_eq!(headers["mcp-name"], "t");
        assert_eq!(headers["mcp-param-region"], "=?base64?IMO8?=");
        assert_eq!(headers["mcp-param-on"], "false");
        assert_eq!(headers["mcp-param-n"], "42");
        assert_eq!(headers.len(), 5);
        assert_eq!(known.headers(&call(&json!({"region": null}))).len(), 2);
    }

    #[test]
    fn a_tool_whose_marks_make_no_headers_is_taken_out_and_the_others_stay() {
        let property = |property: Value| json!({"properties": {"a": property}});
        for bad in [
            property(json!({"type": "string", "x-mcp-header": ""})),
            property(json!({"type": "string", "x-mcp-header": "a b"})),
            property(json!({"type": "string", "x-mcp-header": "a:b"})),
            property(json!({"type": "string", "x-mcp-header": "ä"})),
            property(json!({"type": "string", "x-mcp-header": 1})),
            property(json!({"type": "object", "x-mcp-header": "A"})),
            property(json!({"type": "number", "x-mcp-header": "A"})),
            property(json!({"type": "array", "items": {"type": "string", "x-mcp-header": "A"}})),
            json!({"properties": {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}}}),
        ] {
            assert_eq!(marks(&bad), None, "{bad}");
            let known = Parameters::default();
            let list = json!({"tools": [{"name": "bad", "inputSchema": bad}, {"name": "good", "inputSchema": {}}], "nextCursor": "x"});
            let kept: Value = serde_json::from_str(&known.learn(&list.to_string()).unwrap()).unwrap();
            assert_eq!(
                kept,
                json!({"tools": [{"name": "good", "inputSchema": {}}], "nextCursor": "x"})
            );
        }
    }

    #[test]
    fn what_a_header_cannot_hold_is_encoded() {
        for (text, wanted) in [
            ("us west 1", "us west 1"),
            ("", ""),
            (" a", "=?base64?IGE=?="),
            ("a\nb", "=?base64?YQpi?="),
            ("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="),
        ] {
            assert_eq!(encoded(text), wanted, "{text:?}");
        }
    }
}
