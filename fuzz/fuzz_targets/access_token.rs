//! Access tokens: of all that somebody can make of a good one, only the good one is good.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::clock::Clock as _;
use mcp_oauth_core::resource::ResourceUri;
use mcp_oauth_core::token::verify::TokenVerifier;
use mcp_oauth_tests::application::{Application, ISSUER, NOTES};
use mcp_oauth_tests::client::Client;

static GOOD: LazyLock<(Application, TokenVerifier, ResourceUri, String)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let application = Application::default();
    let (token, keys) = runtime.block_on(async {
        let client = Client::public(&application).await;
        let token = client.sign_in(&application, "ada").await.access_token;
        (token, application.server.jwks().await.expect("the keys"))
    });
    let verifier = TokenVerifier::new(&ISSUER.parse().expect("an issuer"), keys.keys());
    (application, verifier, NOTES.parse().expect("a resource"), token)
});

fuzz_target!(|input: (u16, u16, &str)| {
    let (application, verifier, resource, token) = &*GOOD;
    let (at, length, text) = input;
    let now = application.clock.now();
    assert!(verifier.verify(token, resource, now).is_ok());
    assert!(verifier.verify(text, resource, now).is_err());
    // A part of the good one is replaced.
    let begin = usize::from(at) % (token.len() + 1);
    let end = (begin + usize::from(length)).min(token.len());
    let changed = format!("{}{text}{}", &token[..begin], &token[end..]);
    assert_eq!(
        verifier.verify(&changed, resource, now).is_ok(),
        changed == *token,
        "{changed}"
    );
});
