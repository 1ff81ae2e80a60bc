//! Headers that repeat what the body says, for whatever stands between client and server to go by.
//!
//! They have to say the same: else something could be let through by its headers that the body would have kept out. A
//! value that cannot stand in a header comes as `=?base64?…?=`; one that only looks like that in part stands for
//! itself. Numbers compare by value.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use serde_json::Value;

use crate::message::Message;
use crate::tools::Mark;

const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";
const PARAM: &str = "mcp-param-";

/// Headers and body differ.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("the header {0} is missing")]
    Missing(String),
    #[error("the header {0} appears twice")]
    Twice(String),
    #[error("the header {0} is not what the body says")]
    Differs(String),
    #[error("the header {0} is not in a form that can be read")]
    Unreadable(String),
    #[error("the header {0} repeats a parameter that the body does not have")]
    Unexpected(String),
}

/// `Mcp-Method` and `Mcp-Name`.
pub(super) fn check(headers: &HeaderMap, message: &Message, method: &str) -> Result<(), Mismatch> {
    // Not encoded: methods are plain.
    match one(headers, METHOD)? {
        None => return Err(Mismatch::Missing("Mcp-Method".to_owned())),
        Some(said) if said != method => return Err(Mismatch::Differs("Mcp-Method".to_owned())),
        Some(_) => {}
    }
    let member = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return Ok(()),
    };
    let Some(meant) = message.param_text(member) else {
        return Ok(());
    };
    match one(headers, NAME)? {
        None => Err(Mismatch::Missing("Mcp-Name".to_owned())),
        Some(said) if decoded(said, "Mcp-Name")? != meant => Err(Mismatch::Differs("Mcp-Name".to_owned())),
        Some(_) => Ok(()),
    }
}

/// `Mcp-Param-…`, for the parameters that the tool has marked.
pub(super) fn check_params(headers: &HeaderMap, message: &Message, marks: &[Mark]) -> Result<(), Mismatch> {
    if marks.is_empty() {
        return Ok(());
    }
    let arguments = message.params().and_then(|params| {
        let [arguments] = message.members(params, ["arguments"]);
        serde_json::from_str::<Value>(message.text(&arguments?)).ok()
    });
    for mark in marks {
        let shown = format!("Mcp-Param-{}", mark.header);
        let said = one(headers, &format!("{PARAM}{}", mark.header.to_ascii_lowercase()))?;
        let mut meant = arguments.as_ref();
        for name in &mark.path {
            meant = meant.and_then(|value| value.get(name));
        }
        let meant = meant.and_then(plain);
        match (said, meant) {
            (None, None) => {}
            (Some(_), None) => return Err(Mismatch::Unexpected(shown)),
            (None, Some(_)) => return Err(Mismatch::Missing(shown)),
            (Some(said), Some(meant)) => {
                let said = decoded(said, &shown)?;
                if said != meant && !same_number(&said, &meant) {
                    return Err(Mismatch::Differs(shown));
                }
            }
        }
    }
    Ok(())
}

/// A parameter as it stands in a header; only the simple ones do.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn same_number(said: &str, meant: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    matches!((number(said), number(meant)), (Some(said), Some(meant)) if said.total_cmp(&meant).is_eq())
}

/// The only value of a header.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Mismatch> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Mismatch::Twice(name.to_owned()));
    }
    let text = value.to_str().map_err(|_| Mismatch::Unreadable(name.to_owned()))?;
    Ok(Some(text.trim_matches([' ', '\t'])))
}

fn decoded(value: &str, name: &str) -> Result<String, Mismatch> {
    let Some(inner) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(value.to_owned());
    };
    let bytes = BASE64_STANDARD.decode(inner).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Mismatch::Unreadable(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::{Mismatch, check, check_params};
    use crate::message::Message;
    use crate::tools::Mark;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn call(arguments: &str) -> Message {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"größe","arguments":{arguments}}}}}"#
        );
        Message::parse(text.into_bytes()).unwrap()
    }

    #[test]
    fn method_and_name_have_to_be_those_of_the_body() {
        let message = call("{}");
        let name = "=?base64?Z3LDtsOfZQ==?=";
        let check = |list: &[_]| check(&headers(list), &message, "tools/call");
        assert_eq!(check(&[("mcp-method", "tools/call"), ("mcp-name", name)]), Ok(()));
        for list in [
            &[("mcp-name", name)][..],
            &[("mcp-method", "TOOLS/CALL"), ("mcp-name", name)],
            &[("mcp-method", "tools/call")],
            &[("mcp-method", "tools/call"), ("mcp-name", "other")],
            &[("mcp-method", "tools/call"), ("mcp-name", "=?base64?Z3LDtsOfZQ=?=")],
            &[
                ("mcp-method", "tools/call"),
                ("mcp-method", "tools/call"),
                ("mcp-name", name),
            ],
        ] {
            assert!(check(list).is_err(), "{list:?}");
        }
    }

    #[test]
    fn marked_parameters_have_to_be_those_of_the_body() {
        let marks = [Mark {
            path: vec!["a".into(), "b".into()],
            header: "B".into(),
        }];
        let check = |arguments: &str, list: &[_]| check_params(&headers(list), &call(arguments), &marks);
        assert_eq!(check(r#"{"a":{"b":"x y"}}"#, &[("mcp-param-b", "x y")]), Ok(()));
        assert_eq!(check(r#"{"a":{"b":42}}"#, &[("mcp-param-b", "42.0")]), Ok(()));
        assert_eq!(check(r#"{"a":{"b":true}}"#, &[("mcp-param-b", "true")]), Ok(()));
        assert_eq!(
            check(r#"{"a":{"b":"=?base64?x"}}"#, &[("mcp-param-b", "=?base64?x")]),
            Ok(())
        );
        assert_eq!(check(r#"{"a":{"b":null}}"#, &[]), Ok(()));
        assert_eq!(check(r#"{"a":1}"#, &[]), Ok(()));
        let shown = || "Mcp-Param-B".to_owned();
        assert_eq!(check(r#"{"a":{"b":"x"}}"#, &[]), Err(Mismatch::Missing(shown())));
        assert_eq!(
            check(r"{}", &[("mcp-param-b", "x")]),
            Err(Mismatch::Unexpected(shown()))
        );
        assert_eq!(
            check(r#"{"a":{"b":"x"}}"#, &[("mcp-param-b", "y")]),
            Err(Mismatch::Differs(shown()))
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_what_was_meant(text in ".{0,40}") {
            use base64::Engine as _;
            let encoded = base64::prelude::BASE64_STANDARD.encode(&text);
            prop_assert_eq!(super::decoded(&format!("=?base64?{encoded}?="), "x"), Ok(text));
        }
    }
}
