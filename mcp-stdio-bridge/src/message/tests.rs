use proptest::prelude::*;
use serde_json::value::RawValue;

use super::{Kind, Malformed, Message};

fn parse(text: &str) -> Result<Message, Malformed> {
    Message::parse(text.as_bytes().to_vec())
}

#[test]
fn each_kind_of_message_is_told_from_the_others() {
    let kind = |text| parse(text).map(|message| message.kind().clone());
    assert!(matches!(
        kind(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#),
        Ok(Kind::Request { method, .. }) if method == "ping"
    ));
    assert!(matches!(
        kind(r#"{"jsonrpc":"2.0","method":"tools\/list"}"#),
        Ok(Kind::Notification { method }) if method == "tools/list"
    ));
    assert!(matches!(
        kind(r#"{"jsonrpc":"2.0","id":"a","result":null}"#),
        Ok(Kind::Response {
            id: Some(_),
            failed: false
        })
    ));
    assert!(matches!(
        kind(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#),
        Ok(Kind::Response { id: None, failed: true })
    ));
}

#[test]
fn what_is_no_message_is_refused_with_its_reason() {
    for (text, reason) in [
        ("", Malformed::NotJson),
        ("{", Malformed::NotJson),
        (r#"{"jsonrpc":"2.0","method":"a"} x"#, Malformed::NotJson),
        ("[]", Malformed::Batch),
        ("[1,", Malformed::NotJson),
        ("7", Malformed::NotAnObject),
        ("{}", Malformed::Version),
        (r#"{"jsonrpc":2,"method":"a"}"#, Malformed::Version),
        (r#"{"jsonrpc":"2.0"}"#, Malformed::Shape),
        (r#"{"jsonrpc":"2.0","id":1}"#, Malformed::Shape),
        (r#"{"jsonrpc":"2.0","id":1,"result":1,"error":2}"#, Malformed::Shape),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","result":1}"#, Malformed::Shape),
        (r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#, Malformed::Id),
        (r#"{"jsonrpc":"2.0","id":{},"method":"a"}"#, Malformed::Id),
        (r#"{"jsonrpc":"2.0","id":1,"method":1}"#, Malformed::Method),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"a","id":2}"#,
            Malformed::Duplicate("id"),
        ),
        // The same name under another spelling.
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"a","m\u0065thod":"b"}"#,
            Malformed::Duplicate("method"),
        ),
    ] {
        assert_eq!(parse(text).err(), Some(reason), "{text}");
    }
}

#[test]
fn a_parameter_that_decides_something_may_not_appear_twice() {
    for params in [
        r#"{"name":"a","name":"b"}"#,
        r#"{"uri":"a","uri":"b"}"#,
        r#"{"_meta":{},"_meta":{}}"#,
        r#"{"_meta":{"progressToken":1,"progressToken":2}}"#,
    ] {
        let message = parse(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{params}}}"#));
        let checked = message.and_then(|message| message.check_params());
        assert!(matches!(checked, Err(Malformed::Duplicate(_))), "{params}");
    }
}

#[test]
fn ids_compare_by_value_and_keep_their_spelling() {
    let id = |raw: &str| {
        let message = parse(&format!(r#"{{"jsonrpc":"2.0","id":{raw},"method":"a"}}"#));
        message.ok().and_then(|message| message.id().cloned()).expect("an id")
    };
    assert_eq!(id("1").key(), id("1.0").key());
    assert_eq!(id(r#""a""#).key(), id(r#""\u0061""#).key());
    assert_ne!(id("1").key(), id(r#""1""#).key());
    assert_ne!(id("9007199254740993").key(), id("9007199254740992").key());
    assert_eq!(id("1.0").raw(), "1.0");
    assert_eq!(id("18446744073709551616").raw(), "18446744073709551616");
}

#[test]
fn only_the_edited_values_change() {
    let text = "{\"params\": {\"x\":[1, 2],\n \"_meta\":{\"progressToken\":\"t\"}},\r\n\"id\" : 7,\"method\":\"a\",\"jsonrpc\":\"2.0\",\"more\":1.0}";
    let message = parse(text).expect("a message");
    let token = message.routing().token.expect("a token");
    let id = message.id_member().expect("an id");
    let line = message.line(&[(&id, "12"), (&token, "12")]);
    let expected = "{\"params\": {\"x\":[1, 2],  \"_meta\":{\"progressToken\":12}},  \"id\" : 12,\"method\":\"a\",\"jsonrpc\":\"2.0\",\"more\":1.0}";
    assert_eq!(line, expected);
}

/// Any JSON value, as text with insignificant white space in it.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1.0".to_owned()),
        Just("-0".to_owned()),
        Just("123456789012345678901234567890".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(", "))),
            prop::collection::vec((any::<String>(), inner), 0..4).prop_map(|members| {
                let members: Vec<_> = members
                    .into_iter()
                    .map(|(name, value)| format!("{}:  {value}", serde_json::Value::from(name)))
                    .collect();
                format!("{{{}}}", members.join(" ,"))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = Message::parse(bytes);
    }

    #[test]
    fn nothing_that_looks_like_a_message_makes_the_reader_panic(
        text in r#"\{("(jsonrpc|id|method|params|result)":("2\.0"|[0-9]{1,3}|null|\{"_meta":\{"progressToken":1\}\}|\[\]),?){0,6}\}?"#
    ) {
        if let Ok(message) = Message::parse(text.into_bytes()) {
            let _ = message.check_params();
            let _ = message.routing();
            let _ = message.line(&[]);
        }
    }

    #[cfg(feature = "test-util")]
    #[test]
    fn what_the_fuzzer_holds_holds_for_what_looks_like_a_message(
        text in r#"\{("(jsonrpc|id|method|params|result|error)": ?("2\.0"|[0-9]{1,3}|"\\u0061"|null|\{"_meta":\{"progressToken":[0-9]\}\}|\[\]),?\n?){0,6}\}?"#
    ) {
        crate::fuzzing::envelope(text.as_bytes());
    }

    #[test]
    fn params_keep_their_bytes_under_another_id(params in value(), id in any::<i64>(), own in any::<u64>()) {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#);
        let message = Message::parse(text.into_bytes()).unwrap();
        let at = message.id_member().unwrap();
        let line = message.line(&[(&at, &own.to_string())]);
        prop_assert_eq!(line, format!(r#"{{"jsonrpc":"2.0","id":{own},"method":"tools/call","params":{params}}}"#));
    }

    #[test]
    fn a_result_keeps_its_bytes_under_another_id(result in value(), id in any::<String>(), own in any::<u64>()) {
        let id = serde_json::Value::from(id).to_string();
        let text = format!(r#"{{"result":{result},"jsonrpc":"2.0","id":{own}}}"#);
        let message = Message::parse(text.into_bytes()).unwrap();
        prop_assert_eq!(message.id().and_then(super::Id::own), Some(own));
        let at = message.id_member().unwrap();
        let line = message.line(&[(&at, &id)]);
        prop_assert_eq!(line, format!(r#"{{"result":{result},"jsonrpc":"2.0","id":{id}}}"#));
    }

    #[test]
    fn a_line_is_one_line_and_the_same_json(value in value()) {
        let text = format!("{{\n\"jsonrpc\":\r\n\"2.0\",\"method\":\"a\",\n\"params\":\n{value}\n}}\n");
        let line = Message::parse(text.clone().into_bytes()).unwrap().line(&[]);
        prop_assert!(!line.contains(['\n', '\r']));
        let before: serde_json::Value = serde_json::from_str(&text).unwrap();
        let after: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(before, after);
        let _: &RawValue = serde_json::from_str(&line).unwrap();
    }
}
