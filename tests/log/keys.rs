//! Signing keys in the store, opened with the right secret and with a wrong one; and keys that are handed in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::token::keys::{KeyRotation, KeySealing, SigningKey};
use mcp_oauth_store::MemoryStore;
use mcp_oauth_tests::application::Application;
use mcp_oauth_tests::client::Client;
use mcp_oauth_tests::failing_store::FailingStore;

use crate::capture::Log;
use crate::journey;
use crate::secrets::Secrets;

pub(crate) async fn in_the_store_and_handed_in(secrets: &mut Secrets) {
    let clock = ManualClock::default();
    let store = FailingStore::new(MemoryStore::default().with_clock(clock.clone()));
    let node = |secret: String| {
        let sealing = KeySealing::new(&Secret::from(secret)).unwrap();
        Application::with(store.clone(), clock.clone(), |builder| {
            let builder = builder.audit(Log::of_this_process().clone());
            builder.stored_keys(sealing, KeyRotation::default())
        })
    };
    let application = node(secrets.made_up("sealing secret"));
    let client = Client::public(&application).await;
    let code = journey::code(secrets, &application, &client, "ada").await;
    secrets.tokens(&client.redeem(&application, &code, &[]).await);
    application.server.rotate_keys().await.unwrap();

    // What refuses says why; whoever runs a server logs that.
    let stranger = node(secrets.made_up("sealing secret"));
    let error = stranger.server.prepare_keys().await.unwrap_err();
    tracing::error!(%error, ?error, "another secret");
    store.set_down(true);
    let error = stranger.server.prepare_keys().await.unwrap_err();
    tracing::error!(%error, ?error, "no store");

    let body = secrets.made_up("private key");
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let error = SigningKey::from_pem(&Secret::from(pem.as_str())).unwrap_err();
    tracing::error!(%error, ?error, "no key");
    let encoded = STANDARD.encode(&pem);
    secrets.add("private key", &encoded);
    let error = SigningKey::from_base64_pem(&Secret::from(encoded)).unwrap_err();
    tracing::error!(%error, ?error, "no key");
}
