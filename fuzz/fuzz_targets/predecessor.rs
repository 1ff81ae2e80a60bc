//! Records and dumps of the predecessor: whatever becomes of them, no secret that is in them is repeated.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::client::redirect_uri_policy::RedirectUriPolicy;
use mcp_oauth_core::clock::UnixTime;
use mcp_oauth_core::predecessor::{PredecessorRecord, convert, read_dump};

const SECRET: &str = "Vb7mQ2xZ9kLpR4tYwE1uI8oA5sDfGhJ3cKnM6vBxXzQ";

fn check(record: &PredecessorRecord) {
    let now = UnixTime::from_seconds(1_790_000_000);
    match convert(record, &RedirectUriPolicy::default(), now) {
        Ok(converted) => {
            assert!(!converted.client.redirect_uris().is_empty());
            assert!(converted.client.credential.is_confidential());
            let _ = format!("{converted:?}");
        }
        Err(error) => {
            let _ = error.to_string();
        }
    }
}

fuzz_target!(|input: (&str, &str, &str)| {
    let (id, name, value) = input;
    check(&PredecessorRecord::new(id, value, None));
    for record in read_dump(value.as_bytes(), Duration::from_secs(60)).unwrap_or_default() {
        check(&record);
    }
    // A good one, of which one member is another. Whatever that is, it is not the secret.
    let mut members = serde_json::json!({
        "client_id": id, "client_secret": SECRET, "redirect_uris": "[\"https://a.example/cb\"]",
    });
    if name != "client_secret" && !value.contains(SECRET) {
        members[name] = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    }
    let record = PredecessorRecord::new(id, members.to_string(), None);
    let now = UnixTime::from_seconds(1_790_000_000);
    let said = match convert(&record, &RedirectUriPolicy::default(), now) {
        Ok(converted) => format!("{converted:?}"),
        Err(error) => error.to_string(),
    };
    assert!(!said.contains(SECRET) || id.contains(SECRET));
});
