//! Everything that a device and the person before it do, right and wrong.

use std::time::Duration;

use mcp_oauth_tests::application::Application;
use mcp_oauth_tests::browser::{Browser, hidden_field};
use mcp_oauth_tests::device::{Device, application};

use crate::secrets::Secrets;

async fn begin(secrets: &mut Secrets, application: &Application) -> Device {
    let device = Device::begin(application).await;
    secrets.behind_the_dot("device code", &device.device_code);
    secrets.add("user code", &device.user_code);
    secrets.add("user code", device.user_code.replace('-', ""));
    device
}

/// Lets one in, turns one away, guesses, comes too late, and does all of it without a store.
pub(crate) async fn devices(secrets: &mut Secrets) {
    let application = application();
    let device = begin(secrets, &application).await;
    for _ in 0..2 {
        device.poll(&application).await;
    }
    let mut browser = Browser::default();
    let link = format!("/device?user_code={}", device.user_code);
    browser.open(&application, &link).await;
    let consent = browser.enter(&application, &device.user_code).await;
    secrets.add("transaction", hidden_field(&consent, "transaction"));
    Browser::default().decide(&application, &consent, "approve").await;
    let approved = browser.decide(&application, &consent, "approve").await;
    secrets.cookies(&browser);
    application.store.set_down(true);
    browser.sign_in(&application, &approved, "ada").await;
    browser.enter(&application, &device.user_code).await;
    device.poll(&application).await;
    application.store.set_down(false);
    assert_eq!(browser.sign_in(&application, &approved, "ada").await.status, 200);
    let tokens = secrets.tokens(&device.poll(&application).await);
    secrets.tokens(&device.client.refresh(&application, &tokens.refresh_token, &[]).await);
    browser.enter(&application, &device.user_code).await;
    secrets.add("wrong user code", "BBBB-BBBB");
    browser.enter(&application, "BBBB-BBBB").await;
    application.clock.advance(Duration::from_secs(61));
    assert_eq!(device.poll(&application).await.error(), "invalid_grant");

    let device = begin(secrets, &application).await;
    let consent = browser.enter(&application, &device.user_code).await;
    secrets.cookies(&browser);
    browser.decide(&application, &consent, "deny").await;
    assert_eq!(device.poll(&application).await.error(), "access_denied");
    let device = begin(secrets, &application).await;
    application.clock.advance(Duration::from_secs(601));
    assert_eq!(device.poll(&application).await.error(), "expired_token");
    browser.enter(&application, &device.user_code).await;
}

/// With what is somebody else's, with what is mistyped, and with what is made up.
pub(crate) async fn what_is_refused(secrets: &mut Secrets) {
    let application = application();
    let (device, other) = (begin(secrets, &application).await, begin(secrets, &application).await);
    let stolen = device
        .poll_with(&application, &[("client_id", &other.client.client_id)])
        .await;
    assert_eq!(stolen.error(), "invalid_grant");
    let id = device.device_code.split('.').next().unwrap();
    let made_up = format!("{id}.{}", secrets.made_up("device code"));
    let guessed = device.poll_with(&application, &[("device_code", &made_up)]).await;
    assert_eq!(guessed.error(), "invalid_grant");

    let mut browser = Browser::default();
    secrets.add("mistyped user code", "BCDF-GHJK");
    for typed in ["BCDF-GHJK", "bcdfghjk", &secrets.made_up("user code")] {
        browser.enter(&application, typed).await;
    }
    application
        .get(&format!("/device?user_code={}", device.user_code))
        .await;
    let consent = browser.enter(&application, &device.user_code).await;
    secrets.cookies(&browser);
    browser.decide(&application, &consent, "deny").await;
    assert_eq!(device.wait_and_poll(&application).await.error(), "access_denied");

    application.store.set_down(true);
    assert_eq!(other.poll(&application).await.status, 503);
    assert_eq!(browser.enter(&application, &other.user_code).await.status, 503);
    application.store.set_down(false);
}
