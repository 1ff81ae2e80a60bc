//! What a server says of how long its answers may be kept: never longer than the bounds.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::clock::UnixTime;
use mcp_oauth_core::fetch::{Freshness, FreshnessBounds};

const NAMES: [&str; 4] = ["cache-control", "expires", "date", "age"];

fuzz_target!(|input: (u64, Vec<(u8, &[u8])>)| {
    let (now, lines) = input;
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_static(NAMES[usize::from(name) % NAMES.len()]);
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let bounds = FreshnessBounds::default();
    let freshness = Freshness::of(&headers, UnixTime::from_seconds(now));
    let kept = freshness.within(&bounds);
    assert!((bounds.minimum..=bounds.maximum).contains(&kept));
    let forbids = headers
        .get_all("cache-control")
        .iter()
        .any(|value| value.as_bytes() == b"no-store");
    assert!(!forbids || kept == bounds.minimum, "kept although it must not be");
});
