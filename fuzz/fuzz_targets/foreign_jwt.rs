//! JWTs and keys of other people's: whatever they send is read or refused, and only what was signed verifies.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::client::assertion::{ClientAssertion, JWT_BEARER};
use mcp_oauth_core::client::keys::ClientKeys;
use mcp_oauth_core::jwt::SignatureAlgorithm;
use mcp_oauth_core::jwt::keys::JwkSet;
use mcp_oauth_core::jwt::verify::{ExpectedType, UnverifiedJwt};
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_tests::signing::Signer;
use serde_json::{Value, json};

static GOOD: LazyLock<(JwkSet, String)> = LazyLock::new(|| {
    let signer = Signer::new("a");
    let token = signer.sign(&json!({"alg": "EdDSA", "kid": "a"}), &json!({"sub": "a"}));
    (JwkSet::read(&signer.jwks()).expect("a set"), token)
});

fn verifies(text: &str, keys: &JwkSet) -> bool {
    UnverifiedJwt::parse(text).is_ok_and(|jwt| {
        let _ = jwt.claimed::<Value>();
        let expected = ExpectedType::CLIENT_AUTHENTICATION;
        jwt.verify::<Value>(keys, &SignatureAlgorithm::SUPPORTED, expected)
            .is_ok()
    })
}

fuzz_target!(|input: (u16, u16, &str)| {
    let (keys, token) = &*GOOD;
    let (at, length, text) = input;
    assert!(verifies(token, keys));
    assert!(!verifies(text, keys));
    // A part of the good one is replaced.
    let begin = usize::from(at) % (token.len() + 1);
    let end = (begin + usize::from(length)).min(token.len());
    let changed = format!("{}{text}{}", &token[..begin], &token[end..]);
    assert_eq!(verifies(&changed, keys), changed == *token, "{changed}");

    if let Ok(set) = JwkSet::parse(text.as_bytes()) {
        assert!(!verifies(token, &set) || text.contains("Ed25519"));
    }
    if let Ok(document) = serde_json::from_str::<Value>(text) {
        let _ = ClientKeys::read(document.get("jwks"), document.get("jwks_uri"));
    }
    let form: Parameters = [("client_assertion_type", JWT_BEARER), ("client_assertion", text)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .collect();
    let _ = ClientAssertion::read(&form);
});
