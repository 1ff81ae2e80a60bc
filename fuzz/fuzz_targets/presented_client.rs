//! Who a client says it is: a header, a form, or both. What is sent properly is read as it was meant.

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::client::ClientId;
use mcp_oauth_core::client::authentication::PresentedClient;
use mcp_oauth_core::parameters::Parameters;

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fuzz_target!(|input: (Option<&str>, &[u8], &str, &str)| {
    let (header, form, id, secret) = input;
    if let Ok(form) = Parameters::parse(form)
        && let Ok(presented) = PresentedClient::read(header, &form)
    {
        assert_eq!(presented.used_header(), header.is_some());
        let _ = format!("{presented:?}");
        if let (Ok(Some(in_form)), Some(read)) = (form.get("client_id"), presented.client_id()) {
            assert_eq!(read.as_str(), in_form, "one request, two clients");
        }
    }

    // As RFC 6749 §2.3.1 has it: both are encoded as in a form, then joined, then base64.
    let meant = by_header(id, secret);
    let known = id.parse::<ClientId>().ok();
    assert_eq!(meant.client_id(), known.as_ref());
    if !secret.is_empty() {
        assert_eq!(
            format!("{meant:?}"),
            format!("{:?}", by_header(id, "another")),
            "a secret is shown"
        );
    }
});

fn by_header(id: &str, secret: &str) -> PresentedClient {
    let basic = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
    PresentedClient::read(Some(&format!("Basic {basic}")), &Parameters::default()).expect("a well-formed header")
}
