//! Redirect URIs: codes go where the client has registered, and nowhere else.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::client::redirect_uri::OUT_OF_BAND;
use mcp_oauth_core::client::redirect_uri_policy::RedirectUriPolicy;
use url::{Host, Url};

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fuzz_target!(|input: (&str, &str, &str)| {
    let (text, requested, value) = input;
    let Ok(uri) = RedirectUriPolicy::default().take(text) else {
        return;
    };
    assert_eq!(uri.as_str(), text);
    assert!(uri.matches(text));
    let url = Url::parse(text).expect("a URI that parses");
    assert!(url.fragment().is_none() && url.username().is_empty() && url.password().is_none());
    assert!(!matches!(
        url.scheme(),
        "javascript" | "data" | "file" | "vbscript" | "blob"
    ));
    assert!(url.scheme() != "http" || is_loopback(&url), "a code over plain http");

    if uri.matches(requested) && requested != text {
        let asked = Url::parse(requested).expect("what is matched parses");
        assert!(
            url.scheme() == "http" && is_loopback(&url),
            "only a loopback port may differ"
        );
        let but_for_the_port = |url: &Url| {
            let host = url.host_str().map(str::to_owned);
            (
                url.scheme().to_owned(),
                host,
                url.path().to_owned(),
                url.query().map(str::to_owned),
                url.fragment().is_some(),
            )
        };
        assert_eq!(but_for_the_port(&url), but_for_the_port(&asked));
        assert!(asked.username().is_empty() && asked.password().is_none());
    }

    if text != OUT_OF_BAND {
        let sent =
            Url::parse(&uri.with_parameters(&[("code", value), ("state", text)])).expect("an answer that parses");
        let after: Vec<(String, String)> = sent.query_pairs().into_owned().collect();
        let before: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        assert_eq!(
            (sent.scheme(), sent.host_str(), sent.path()),
            (url.scheme(), url.host_str(), url.path())
        );
        assert_eq!(after[..before.len()], before[..], "a query that was registered stays");
        let ours = [
            ("code".to_owned(), value.to_owned()),
            ("state".to_owned(), text.to_owned()),
        ];
        assert_eq!(after[before.len()..], ours);
    }
    assert!(!uri.destination().contains(char::is_control));
});
