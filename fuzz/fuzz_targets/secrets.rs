//! Codes, refresh tokens, and the other values that leave and come back: one spelling each (or any, for what people
//! type), and nothing shown.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::client::ClientId;
use mcp_oauth_core::device::{DeviceCode, UserCode};
use mcp_oauth_core::grant::{AuthorizationCode, GrantId, RefreshToken};
use mcp_oauth_core::pkce::{CodeChallenge, CodeVerifier};
use mcp_oauth_core::transaction::{SignInState, TransactionId};

fuzz_target!(|text: &str| {
    if let Ok(code) = text.parse::<AuthorizationCode>() {
        assert_eq!(code.expose().expose(), text);
        let another: AuthorizationCode = format!("{}.{}", code.grant(), "B".repeat(43)).parse().expect("a code");
        assert_eq!(
            format!("{code:?} {code}"),
            format!("{another:?} {another}"),
            "its secret is shown"
        );
    }
    if let Ok(code) = text.parse::<DeviceCode>() {
        assert_eq!(code.expose().expose(), text);
        let (device, _) = text.split_once('.').expect("two parts");
        assert_eq!(code.device().as_str(), device);
        let another: DeviceCode = format!("{device}.{}", "B".repeat(43)).parse().expect("a code");
        assert_eq!(
            format!("{code:?} {code}"),
            format!("{another:?} {another}"),
            "its secret is shown"
        );
    }
    if let Ok(code) = text.parse::<UserCode>() {
        assert_eq!(code.expose().parse::<UserCode>().expect("what was shown can be entered"), code);
        assert_eq!(format!("{code:?}"), "UserCode(…)");
    }
    if let Ok(token) = text.parse::<RefreshToken>() {
        assert_eq!(token.expose().expose(), text);
        assert!(text.starts_with(token.grant().as_str()));
        assert!(!format!("{token:?}").contains(&text[29..72]), "its secret is shown");
    }
    if let Ok(id) = text.parse::<GrantId>() {
        assert_eq!(id.as_str(), text);
    }
    if let Ok(id) = text.parse::<ClientId>() {
        assert_eq!(id.as_str(), text);
    }
    if let Ok(id) = text.parse::<TransactionId>() {
        assert_eq!(id.as_str(), text);
        assert!(!format!("{id:?}").contains(text));
    }
    if let Ok(state) = text.parse::<SignInState>() {
        assert!(text.starts_with(state.transaction().as_str()));
    }
    if let Ok(challenge) = text.parse::<CodeChallenge>() {
        assert_eq!(challenge.to_string(), text);
    }
    if let Ok(verifier) = text.parse::<CodeVerifier>() {
        assert_eq!(verifier.expose(), text);
        assert!(CodeChallenge::of(&verifier).is_met_by(&verifier));
    }
});
