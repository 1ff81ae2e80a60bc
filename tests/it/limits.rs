//! How often something may be done, and from where it is counted.

use std::time::Duration;

use http::Method;
use mcp_oauth_core::audit::{Action, Outcome};
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_tests::application::{Answer, Application, TRUSTED_PROXY, request};
use mcp_oauth_tests::client::{Client, public_metadata};
use mcp_oauth_tests::events::Events;

fn with(limits: impl FnOnce(&mut Limits)) -> Application {
    let mut all = Limits::unlimited();
    limits(&mut all);
    Application::new(|builder| builder.limits(all))
}

async fn register(application: &Application, address: &str, forwarded_for: &str) -> Answer {
    let headers = [("content-type", "application/json"), ("x-forwarded-for", forwarded_for)];
    let request = request(Method::POST, "/register", &headers, &public_metadata().to_string());
    application.send_from(address, request).await
}

#[tokio::test]
async fn a_network_that_registers_too_much_is_told_when_to_come_again_and_others_notice_nothing() {
    let application = with(|limits| limits.registrations_of_a_network = Quota::per_hour(2));
    for _ in 0..2 {
        assert_eq!(register(&application, "2001:db8::1", "").await.status, 201);
    }
    let refused = register(&application, "2001:db8::2", "").await;
    assert_eq!(
        (refused.status.as_u16(), &*refused.error()),
        (429, "temporarily_unavailable")
    );
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=3600).contains(&wait));
    assert_eq!(register(&application, "2001:db8:0:1::1", "").await.status, 201);
    application.clock.advance(Duration::from_secs(wait));
    assert_eq!(register(&application, "2001:db8::1", "").await.status, 201);
}

#[tokio::test]
async fn what_a_stranger_says_of_where_it_comes_from_is_not_believed() {
    let application = with(|limits| limits.registrations_of_a_network = Quota::per_hour(1));
    assert_eq!(register(&application, "192.0.2.1", "198.51.100.1").await.status, 201);
    assert_eq!(register(&application, "192.0.2.1", "198.51.100.2").await.status, 429);
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_where_a_request_comes_from_counts() {
    let application = with(|limits| limits.registrations_of_a_network = Quota::per_hour(1));
    assert_eq!(register(&application, TRUSTED_PROXY, "198.51.100.1").await.status, 201);
    assert_eq!(register(&application, TRUSTED_PROXY, "198.51.100.2").await.status, 201);
    let spoofed = register(&application, TRUSTED_PROXY, "198.51.100.3, 198.51.100.1").await;
    assert_eq!(spoofed.status, 429);
}

#[tokio::test]
async fn everybody_together_has_a_quota_too() {
    let application = with(|limits| limits.registrations = Quota::per_hour(1));
    assert_eq!(register(&application, "192.0.2.1", "").await.status, 201);
    assert_eq!(register(&application, "192.0.2.2", "").await.status, 429);
}

#[tokio::test]
async fn a_person_whose_network_begins_too_many_sign_ins_sees_a_page() {
    let application = with(|limits| limits.authorizations_of_a_network = Quota::per_minute(1));
    let client = Client::public(&application).await;
    let open = || {
        request(
            Method::GET,
            &client.authorization_url(&[]),
            &[("accept", "text/html")],
            "",
        )
    };
    assert_eq!(application.send_from("192.0.2.1", open()).await.status, 200);
    let refused = application.send_from("192.0.2.1", open()).await;
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() <= 60);
    assert!(refused.body.contains("try again later"));
}

#[tokio::test]
async fn each_step_is_reported_with_who_what_for_whom_and_from_where() {
    let kept = Events::default();
    let application = Application::new(|builder| builder.audit(kept.clone()));
    assert_eq!(register(&application, "192.0.2.1", "").await.status, 201);
    let client = Client::public(&application).await;
    let code = client.code(&application, "ada").await;
    let tokens = client.redeem(&application, &code, &[]).await.json();
    assert_eq!(client.redeem(&application, &code, &[]).await.status, 400);
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(client.refresh(&application, refresh_token, &[]).await.status, 400);

    let events = kept.so_far();
    let names: Vec<_> = events
        .iter()
        .map(|event| (event.action.as_str(), matches!(event.outcome, Outcome::Success)))
        .collect();
    assert_eq!(
        names,
        [
            ("register_client", true),
            ("register_client", true),
            ("authorize", true),
            ("approve", true),
            ("sign_in", true),
            ("issue_tokens", true),
            ("end_grant", true),
            ("issue_tokens", false),
            ("issue_tokens", false),
        ]
    );
    assert_eq!(events[0].origin.to_string(), "192.0.2.1");
    let ended = events
        .iter()
        .find(|event| matches!(event.action, Action::EndGrant(_)))
        .unwrap();
    assert_eq!(ended.subject.as_deref(), Some("development:ada"));
    assert_eq!(
        ended.client_id.as_ref().map(mcp_oauth_core::client::ClientId::as_str),
        Some(client.client_id.as_str())
    );
    assert!(ended.grant.is_some() && ended.grant == events[4].grant);
}
