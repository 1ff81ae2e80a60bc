//! Where secrets go, and where they do not.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use mcp_oauth_core::randomness::Randomness;
use mcp_oauth_tests::application::Application;
use mcp_oauth_tests::browser::{Browser, arrival};
use mcp_oauth_tests::client::{Client, Tokens, public_metadata};
use mcp_oauth_tests::remembering_store::RememberingStore;

#[tokio::test]
async fn nothing_at_rest_can_be_replayed() {
    let store = RememberingStore::default();
    let application = Application::new(|builder| builder.store(store.clone()));
    let client = Client::confidential(&application).await;
    let mut browser = Browser::default();
    let code = browser
        .authorize(&application, &client.authorization_url(&[]), "ada")
        .await
        .code();
    let first = Tokens::of(&client.redeem(&application, &code, &[]).await);
    let second = Tokens::of(&client.refresh(&application, &first.refresh_token, &[]).await);
    assert_eq!(
        client.refresh(&application, &second.refresh_token, &[]).await.status,
        200
    );

    let written = store.written();
    let mut secrets: BTreeSet<String> = browser.cookie_values().into_iter().collect();
    for token in [&code, &first.refresh_token, &second.refresh_token] {
        // Behind the dot is the secret; a refresh token's begins after its generation.
        let secret = token.split('.').nth(1).unwrap();
        secrets.insert(secret[secret.len().saturating_sub(65)..].chars().take(43).collect());
        secrets.insert(secret.to_owned());
    }
    secrets.extend([
        first.access_token,
        second.access_token,
        client.client_secret.unwrap(),
        client.verifier,
    ]);
    for secret in secrets {
        assert!(secret.len() >= 40, "{secret}");
        assert!(!written.contains(&secret), "{secret} is in the store");
    }
}

/// Counts up in place of drawing.
#[derive(Debug, Default)]
struct Counted(AtomicU64);

impl Randomness for Counted {
    fn fill(&self, bytes: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        bytes
            .iter_mut()
            .zip(number.iter().cycle())
            .for_each(|(byte, part)| *byte = *part);
    }
}

#[tokio::test]
async fn everything_that_is_given_out_is_drawn_from_the_randomness_that_was_handed_in() {
    let given_out = || async {
        let application = Application::new(|builder| builder.randomness(Counted::default()));
        let registered = application.post_json("/register", &public_metadata()).await.json();
        let mut client = Client::confidential(&application).await;
        client.verifier = "v".repeat(43);
        let mut browser = Browser::default();
        let consent = browser.open(&application, &client.authorization_url(&[])).await;
        let cookies = browser.cookie_values();
        let approved = browser.decide(&application, &consent, "approve").await;
        let code = arrival(&browser.sign_in(&application, &approved, "ada").await).code();
        let first = Tokens::of(&client.redeem(&application, &code, &[]).await);
        let second = Tokens::of(&client.refresh(&application, &first.refresh_token, &[]).await);
        // Of an access token, the signature has randomness of its own.
        let claims = second.access_token.split('.').nth(1).unwrap().to_owned();
        (
            registered,
            client,
            cookies,
            code,
            first.refresh_token,
            second.refresh_token,
            claims,
        )
    };
    assert_eq!(format!("{:?}", given_out().await), format!("{:?}", given_out().await));
}
