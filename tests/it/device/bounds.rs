//! How many devices may wait, and what is kept and told of them.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use mcp_oauth_core::audit::Event;
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_core::store::Kind;
use mcp_oauth_store::MemoryStore;
use mcp_oauth_store::memory::Bounds;
use mcp_oauth_tests::application::{Application, request};
use mcp_oauth_tests::browser::Browser;
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::device::{Device, device_metadata};
use mcp_oauth_tests::events::Events;
use mcp_oauth_tests::remembering_store::RememberingStore;

use super::{refused, with};

#[tokio::test]
async fn a_network_that_begins_too_many_devices_is_told_when_to_come_again() {
    let mut limits = Limits::unlimited();
    limits.device_authorizations_of_a_network = Quota::per_minute(2);
    let application = Application::new(|builder| builder.device_authorization().limits(limits));
    let client = Client::register(&application, &device_metadata()).await;
    let ask = |address: &'static str| {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let body = format!("client_id={}", client.client_id);
        application.send_from(address, request(Method::POST, "/device_authorization", &headers, &body))
    };
    for _ in 0..2 {
        assert_eq!(ask("192.0.2.1").await.status, 200);
    }
    let turned_away = ask("192.0.2.1").await;
    assert_eq!(refused(&turned_away), with(429, "temporarily_unavailable"));
    assert!(turned_away.header("retry-after").parse::<u64>().unwrap() <= 60);
    assert_eq!(ask("192.0.2.2").await.status, 200);
}

#[tokio::test]
async fn everybody_together_begins_no_more_devices_than_the_quota_whatever_room_there_is() {
    let mut limits = Limits::unlimited();
    limits.device_authorizations = Quota::per_minute(5);
    let application = Application::new(|builder| builder.device_authorization().limits(limits));
    let client = Client::register(&application, &device_metadata()).await;
    let mut most = 0;
    for minute in 0..20 {
        for number in 0..8 {
            let asked = client.post(&application, "/device_authorization", &[]).await;
            assert_eq!(asked.status.as_u16(), if number < 5 { 200 } else { 429 }, "{minute}");
        }
        for kind in [Kind::Device, Kind::UserCode] {
            most = most.max(application.store.inner().count_of(kind));
        }
        application.clock.advance(Duration::from_secs(60));
    }
    assert!((75..=5 * 16).contains(&most), "{most} records: 15 minutes of them");
}

#[tokio::test]
async fn a_full_shelf_of_devices_is_a_503_and_leaves_everybody_else_alone() {
    let mut bounds = Bounds::default();
    bounds.devices = 2;
    let application =
        Application::new(|builder| builder.device_authorization().store(MemoryStore::with_bounds(bounds)));
    let first = Device::begin(&application).await;
    let second = Device::begin(&application).await;
    let third = second.client.post(&application, "/device_authorization", &[]).await;
    assert_eq!(refused(&third), with(503, "temporarily_unavailable"));
    first.let_in(&application, "ada").await;
    assert_eq!(first.poll(&application).await.status, 200);
    Tokens::issued_to(&application, "ada").await;
}

#[tokio::test]
async fn a_code_that_another_device_shows_is_not_given_out_again() {
    let store = RememberingStore::default();
    store.have_taken(Kind::UserCode, 9);
    let application = Application::new(|builder| builder.device_authorization().store(store.clone()));
    let device = Device::begin(&application).await;
    assert_eq!(store.still_taken(), 0);
    device.let_in(&application, "ada").await;
    assert_eq!(device.poll(&application).await.status, 200);

    store.have_taken(Kind::UserCode, 10);
    let none_left = device.client.post(&application, "/device_authorization", &[]).await;
    assert_eq!(refused(&none_left), with(503, "temporarily_unavailable"));
}

#[tokio::test]
async fn nothing_at_rest_lets_anybody_in() {
    let store = RememberingStore::default();
    let application = Application::new(|builder| builder.device_authorization().store(store.clone()));
    let device = Device::begin(&application).await;
    device.poll(&application).await;
    let mut browser = Browser::default();
    let consent = browser.enter(&application, &device.user_code).await;
    let approved = browser.decide(&application, &consent, "approve").await;
    let mut secrets: BTreeSet<String> = browser.cookie_values().into_iter().collect();
    browser.sign_in(&application, &approved, "ada").await;
    let tokens = Tokens::of(&device.poll(&application).await);
    secrets.extend([
        device.device_code.split_once('.').unwrap().1.to_owned(),
        device.user_code.clone(),
        device.user_code.replace('-', ""),
        tokens.access_token,
        tokens.refresh_token.split_once('.').unwrap().1.to_owned(),
    ]);
    let written = store.written();
    assert!(written.contains("device:") && written.contains("user-code:"));
    for secret in secrets {
        assert!(!written.contains(&secret), "{secret} is in the store");
    }
}

#[tokio::test]
async fn each_step_of_a_device_is_reported_and_no_event_has_a_code() {
    let kept = Events::default();
    let application = Application::new(|builder| builder.device_authorization().audit(kept.clone()));
    let device = Device::begin(&application).await;
    device.poll(&application).await;
    Browser::default().enter(&application, "BBBB-BBBB").await;
    device.let_in(&application, "ada").await;
    device.poll(&application).await;
    application.clock.advance(Duration::from_secs(60));
    device.poll(&application).await;

    let events = kept.so_far();
    assert_eq!(
        kept.outcomes(),
        [
            ("register_client", true),
            ("authorize_device", true),
            ("issue_tokens", false),
            ("enter_user_code", false),
            ("enter_user_code", true),
            ("approve", true),
            ("sign_in", true),
            ("issue_tokens", true),
            ("end_grant", true),
            ("issue_tokens", false),
        ]
    );
    let client = |event: &Event| event.client_id.as_ref().map(ToString::to_string);
    for event in events
        .iter()
        .filter(|event| event.at != events[3].at || event.client_id.is_some())
    {
        assert_eq!(client(event), Some(device.client.client_id.clone()), "{event:?}");
    }
    let subject = Some("development:ada".to_owned());
    assert_eq!((&events[6].subject, &events[7].subject), (&subject, &subject));
    assert!(events[7].grant.is_some());
    assert_eq!((&events[8].grant, &events[8].subject), (&events[7].grant, &subject));
    let all = format!("{events:?}");
    for code in [&device.user_code, &device.device_code, "BBBB-BBBB"] {
        assert!(!all.contains(code), "{code}");
    }
}
