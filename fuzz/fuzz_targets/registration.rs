//! Registrations: what is accepted can be registered again, and is then the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::client::redirect_uri_policy::RedirectUriPolicy;
use mcp_oauth_core::client::registration::{MAXIMUM_ENTRIES, MAXIMUM_METADATA, RegistrationRequest};

fuzz_target!(|body: &[u8]| {
    let Ok(metadata) = RegistrationRequest::parse(body).and_then(|request| request.accept(&RedirectUriPolicy::default())) else {
        return;
    };
    assert!((1..=MAXIMUM_ENTRIES).contains(&metadata.redirect_uris.len()));
    for uri in &metadata.redirect_uris {
        assert_eq!(RedirectUriPolicy::default().take(uri.as_str()).as_ref(), Ok(uri));
    }
    let echo = serde_json::to_vec(&metadata).expect("metadata can be written");
    assert!(echo.len() <= MAXIMUM_METADATA, "{} bytes", echo.len());
    let again = RegistrationRequest::parse(&echo).and_then(|request| request.accept(&RedirectUriPolicy::default()));
    assert_eq!(again.as_ref(), Ok(&metadata));
});
