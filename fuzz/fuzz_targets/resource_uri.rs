//! Resource indicators: which resource somebody means, and no other.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::resource::ResourceUri;

fuzz_target!(|input: (&str, &str)| {
    let (text, asked) = input;
    let Ok(resource) = text.parse::<ResourceUri>() else {
        return;
    };
    assert_eq!(resource.as_str(), text);
    assert!(resource.is(text));
    let url = resource.url();
    assert!(url.fragment().is_none() && url.query().is_none(), "{text}");
    assert!(url.username().is_empty() && url.password().is_none(), "{text}");
    if let Ok(other) = asked.parse::<ResourceUri>() {
        assert_eq!(resource.is(asked), other.is(text), "being the same works both ways");
    }
    if resource.is(asked) {
        let asked = url::Url::parse(asked).expect("what is meant parses");
        assert_eq!((asked.origin(), asked.path()), (url.origin(), url.path()));
        assert!(asked.query().is_none() && asked.fragment().is_none());
    }
});
