//! Messages of one era as the other has them: what the modern era asks for is put in, what only it knows is left out.

use crate::message::{self, Message, meta, reply};
use crate::stream::Frame;
use crate::translate::{Changes, is_input_required};
use crate::versions::ALL;

/// An answer of the other era under the client's id.
pub(super) fn answered(message: &Message, code: Option<i64>, id: &str, method: &str, initialized: &str) -> Frame {
    let mut changes = Changes::default();
    if let Some(at) = message.id_member() {
        changes.replace(at, id);
    }
    let outcome = message.outcome().unwrap_or_default();
    let mut error = code;
    if code == Some(reply::RESOURCE_NOT_FOUND.into()) {
        let [at] = message.members(outcome, ["code"]);
        if let Some(at) = at {
            changes.replace(at, reply::INVALID_PARAMS.to_string());
            error = Some(reply::INVALID_PARAMS.into());
        }
    } else if code.is_none() && outcome.starts_with('{') && !is_input_required(message) {
        let [kind, ttl, scope, about] = message.members(outcome, ["resultType", "ttlMs", "cacheScope", "_meta"]);
        let mut members = Vec::new();
        if kind.is_none() {
            members.push(r#""resultType":"complete""#.to_owned());
        }
        if is_cacheable(method) {
            // What a server of the other era does not say may change at any time.
            members.extend(ttl.is_none().then(|| r#""ttlMs":0"#.to_owned()));
            members.extend(scope.is_none().then(|| r#""cacheScope":"private""#.to_owned()));
        }
        let server = format!(r#""{}":{}"#, meta::SERVER_INFO, server_info(initialized));
        match about.as_ref().map(|about| message.text(about)) {
            Some(about) if about.starts_with('{') => {
                let [named] = message.members(about, [meta::SERVER_INFO]);
                if named.is_none() {
                    changes.insert(message, about, server);
                }
            }
            Some(_) => {}
            None => members.push(format!(r#""_meta":{{{server}}}"#)),
        }
        changes.insert(message, outcome, members.join(","));
    }
    Frame::Answer {
        line: changes.line(message),
        error,
    }
}

fn is_cacheable(method: &str) -> bool {
    matches!(
        method,
        "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" | "resources/read"
    )
}

pub(super) fn is_tool_error(message: &Message) -> bool {
    let Some(result) = message.outcome() else { return false };
    let [failed] = message.members(result, ["isError"]);
    failed.is_some_and(|failed| message.text(&failed) == "true")
}

/// The raw `serverInfo` of an `initialize` result.
pub(super) fn server_info(initialized: &str) -> &str {
    let info = message::members(initialized, ["serverInfo"])
        .ok()
        .and_then(|[info]| info);
    info.map_or(r#"{"name":"unknown","version":"0"}"#, serde_json::value::RawValue::get)
}

/// The tool, prompt or resource that a request is about.
pub(super) fn name_of(request: &Message) -> String {
    let name = request.param_text("name").or_else(|| request.param_text("uri"));
    name.unwrap_or_default()
}

/// A request without what only the modern era knows.
pub(super) fn strip(request: &Message) -> String {
    let mut changes = Changes::default();
    if let Some(params) = request.params() {
        let [about, responses] = request.members(params, ["_meta", "inputResponses"]);
        if let Some(about) = about {
            let kept: Vec<_> = message::entries(request.text(&about))
                .into_iter()
                .filter(|(name, _)| !name.starts_with(meta::PREFIX))
                .map(|(name, value)| format!("{}:{}", serde_json::Value::from(name), value.get()))
                .collect();
            changes.replace(about, format!("{{{}}}", kept.join(",")));
        }
        if let Some(responses) = responses {
            // Answers to questions that this server has not asked yet.
            changes.replace(responses, "null");
        }
    }
    changes.line(request)
}

/// The answer to `server/discover` from that to `initialize`.
pub(super) fn discovered(id: &str, initialized: &str) -> Frame {
    let found = message::members(initialized, ["capabilities", "instructions"]).unwrap_or([None; 2]);
    let [capabilities, instructions] = found.map(|found| found.map(serde_json::value::RawValue::get));
    let instructions = instructions
        .map(|text| format!(r#""instructions":{text},"#))
        .unwrap_or_default();
    let result = format!(
        r#"{{"resultType":"complete","supportedVersions":{},"capabilities":{},{instructions}"ttlMs":0,"cacheScope":"private","_meta":{{"{}":{}}}}}"#,
        serde_json::json!(ALL),
        capabilities.unwrap_or("{}"),
        meta::SERVER_INFO,
        server_info(initialized),
    );
    Frame::Answer {
        line: reply::result(id, &result),
        error: None,
    }
}

/// A notification that belongs to a subscription.
pub(in crate::translate) fn tagged(message: &Message, subscription: &str) -> String {
    let tag = format!(r#""{}":{subscription}"#, meta::SUBSCRIPTION_ID);
    let mut changes = Changes::default();
    if let Some(params) = message.params() {
        let [about] = message.members(params, ["_meta"]);
        match about.as_ref().map(|about| message.text(about)) {
            Some(about) if about.starts_with('{') => changes.insert(message, about, tag),
            Some(_) => {}
            None => changes.insert(message, params, format!(r#""_meta":{{{tag}}}"#)),
        }
    } else if let Some(params) = message.params_member() {
        changes.replace(params, format!(r#"{{"_meta":{{{tag}}}}}"#));
    } else {
        changes.replace(message.start(), format!(r#""params":{{"_meta":{{{tag}}}}},"#));
    }
    changes.line(message)
}

/// The end of a subscription.
pub(in crate::translate) fn listened(id: &str) -> Frame {
    let result = format!(
        r#"{{"resultType":"complete","_meta":{{"{}":{id}}}}}"#,
        meta::SUBSCRIPTION_ID
    );
    Frame::Answer {
        line: reply::result(id, &result),
        error: None,
    }
}
