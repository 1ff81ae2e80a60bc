//! Scopes: a set is what it is, however it was written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::scope::ScopeSet;

fuzz_target!(|input: (&str, &str)| {
    let (Ok(one), Ok(other)) = (input.0.parse::<ScopeSet>(), input.1.parse::<ScopeSet>()) else {
        return;
    };
    let written = one.to_string();
    assert_eq!(written.parse::<ScopeSet>().as_ref(), Ok(&one));
    let words: Vec<&str> = input.0.split(' ').filter(|word| !word.is_empty()).collect();
    assert!(words.iter().all(|word| one.contains(word)));
    assert!(
        one.iter().all(|scope| words.contains(&scope.as_str())),
        "a scope that nobody wrote"
    );
    let common = one.intersection(&other);
    assert!(
        one.contains_all(&common) && other.contains_all(&common),
        "narrowed, never widened"
    );
    assert_eq!(one.intersection(&one), one);
    assert_eq!(one.contains_all(&other), common.iter().count() == other.iter().count());
});
