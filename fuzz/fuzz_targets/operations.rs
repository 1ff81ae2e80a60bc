//! What a message asks for: an ordinary reader of JSON finds the same in every body that is not refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::scope::operation::{Operation, operations};
use serde_json::Value;

fn agrees(message: &Value, operation: &Operation) {
    let Value::Object(members) = message else {
        panic!("{message} is no message");
    };
    match operation {
        Operation::Call { method, name } => {
            assert_eq!(members.get("method").and_then(Value::as_str), Some(method.as_str()));
            if let Some(name) = name {
                let member = if method.starts_with("resources/") { "uri" } else { "name" };
                assert_eq!(message["params"][member].as_str(), Some(name.as_str()));
            }
        }
        _ => assert!(!members.contains_key("method")),
    }
    // Nor does one that does not count case.
    let spellings = |name: &str| members.keys().filter(|known| known.to_lowercase() == name).count();
    assert!(spellings("method") <= 1 && spellings("params") <= 1);
}

fuzz_target!(|body: &[u8]| {
    let Ok(operations) = operations(body) else {
        return;
    };
    // An ordinary reader may be stricter about what does not matter here.
    let Ok(read) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    match &read {
        Value::Array(messages) => {
            assert_eq!(messages.len(), operations.len());
            messages.iter().zip(&operations).for_each(|(message, operation)| agrees(message, operation));
        }
        message => {
            assert_eq!(operations.len(), 1);
            agrees(message, &operations[0]);
        }
    }
});
