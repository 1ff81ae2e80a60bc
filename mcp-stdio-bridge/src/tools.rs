//! Which parameters of which tools have to be repeated in headers.
//!
//! From 2026-07-28 on a tool can mark parameters with `x-mcp-header`; clients repeat them in `Mcp-Param-…`, and what
//! stands there has to be what stands in the body. To check that, the bridge has to know the tools: it asks the server
//! for them, with what the request says of its client, and remembers the marks for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::caller::CallerKey;

/// How long the marks are remembered, and how long it is before an unknown tool is asked for again.
const REMEMBERED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(5));
/// How many pages of tools are read.
pub(crate) const PAGES: usize = 20;

/// A parameter that is repeated in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The names from the arguments to the parameter.
    pub(crate) path: Vec<String>,
    /// What the header is called behind `Mcp-Param-`.
    pub(crate) header: String,
}

/// The marks of one tool.
pub(crate) type Marks = Arc<[Mark]>;

/// The marks of the tools, by whom they are for.
#[derive(Debug, Default)]
pub(crate) struct Tools(Mutex<HashMap<CallerKey, Remembered>>);

#[derive(Debug)]
struct Remembered {
    since: Instant,
    marks: HashMap<String, Marks>,
}

impl Tools {
    /// The marks of a tool; `None` if they have to be asked for.
    pub(crate) fn marks(&self, caller: &CallerKey, tool: &str) -> Option<Marks> {
        let tools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = tools.get(caller)?;
        let age = remembered.since.elapsed();
        match remembered.marks.get(tool) {
            Some(marks) if age < REMEMBERED.0 => Some(Arc::clone(marks)),
            // A tool that nobody knows has no marks, until it may have come.
            None if age < REMEMBERED.1 => Some(Arc::from([])),
            _ => None,
        }
    }

    /// Remembers what was asked for.
    pub(crate) fn remember(&self, caller: CallerKey, marks: HashMap<String, Marks>) {
        let mut tools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tools.retain(|_, remembered| remembered.since.elapsed() < REMEMBERED.0);
        let since = Instant::now();
        tools.insert(caller, Remembered { since, marks });
    }
}

/// Reads the marks of a page of tools; the cursor of the next page comes back.
pub(crate) fn read(result: &str, marks: &mut HashMap<String, Marks>) -> Option<String> {
    let result: Value = serde_json::from_str(result).ok()?;
    for tool in result["tools"].as_array().into_iter().flatten() {
        let Some(name) = tool["name"].as_str() else { continue };
        let mut found = Vec::new();
        collect(&tool["inputSchema"]["properties"], &mut Vec::new(), &mut found);
        marks.insert(name.to_owned(), found.into());
    }
    result["nextCursor"].as_str().map(str::to_owned)
}

fn collect(properties: &Value, path: &mut Vec<String>, found: &mut Vec<Mark>) {
    for (name, schema) in properties.as_object().into_iter().flatten() {
        path.push(name.clone());
        if let Some(header) = schema["x-mcp-header"].as_str().filter(|header| !header.is_empty()) {
            found.push(Mark {
                path: path.clone(),
                header: header.to_owned(),
            });
        }
        collect(&schema["properties"], path, found);
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::read;

    #[test]
    fn marks_are_found_where_properties_lead() {
        let mut marks = HashMap::new();
        let page = r#"{"tools":[{"name":"a","inputSchema":{"properties":{"region":{"type":"string","x-mcp-header":"Region"},
            "deep":{"properties":{"n":{"x-mcp-header":"N"}}},"items":{"items":{"x-mcp-header":"No"}}}}},
            {"name":"b","inputSchema":{}}],"nextCursor":"next"}"#;
        assert_eq!(read(page, &mut marks).as_deref(), Some("next"));
        let mut a: Vec<_> = marks["a"]
            .iter()
            .map(|mark| (mark.path.join("."), mark.header.clone()))
            .collect();
        a.sort();
        assert_eq!(a, [("deep.n".into(), "N".into()), ("region".into(), "Region".into())]);
        assert!(marks["b"].is_empty());
    }
}
