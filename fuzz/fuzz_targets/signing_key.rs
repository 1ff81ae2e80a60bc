//! Private keys from outside: what is no key is no key however it is wrapped, and what is one is the same one again.

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::token::keys::SigningKey;

const GOOD: &str = include_str!("../../mcp-oauth-core/tests/keys/ed25519.pkcs8.pem");

fuzz_target!(|input: (u16, u16, &str)| {
    let (at, length, text) = input;
    // A part of a good one is replaced.
    let begin = usize::from(at) % (GOOD.len() + 1);
    let end = (begin + usize::from(length)).min(GOOD.len());
    let changed = format!("{}{text}{}", &GOOD[..begin], &GOOD[end..]);
    for pem in [text, &changed] {
        let plain = SigningKey::from_pem(&Secret::from(pem)).map(|key| key.public().clone());
        let wrapped = SigningKey::from_base64_pem(&Secret::from(STANDARD.encode(pem)));
        assert_eq!(plain, wrapped.map(|key| key.public().clone()));
    }
    let _ = SigningKey::from_base64_pem(&Secret::from(text));
});
