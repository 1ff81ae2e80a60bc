//! Records of a store: what cannot be read is refused, what can be read is written the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::client::Client;
use mcp_oauth_core::grant::Grant;

fn check<T: serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug>(record: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(record) else {
        return;
    };
    let written = serde_json::to_value(&value).expect("a record can be written");
    let again: T = serde_json::from_value(written.clone()).expect("what was written can be read");
    assert_eq!(serde_json::to_value(&again).expect("a record can be written"), written);
    let _ = format!("{value:?}");
}

fuzz_target!(|record: &[u8]| {
    check::<Client>(record);
    check::<Grant>(record);
});
