//! How often something may be done, and from where it is counted.

use std::time::Duration;

use http::Method;
use mcp_oauth_core::audit::Action;
use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_core::store::Kind;
use mcp_oauth_store::memory::{Bounds, MemoryStore};
use mcp_oauth_tests::application::{Answer, Application, TRUSTED_PROXY, encode, request};
use mcp_oauth_tests::client::{Client, public_metadata};
use mcp_oauth_tests::events::Events;
use mcp_oauth_tests::failing_store::FailingStore;

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

/// Whoever has one customer's part of IPv6 has 65,536 networks.
#[tokio::test]
async fn a_site_of_ipv6_may_do_ten_times_as_much_as_one_of_its_networks() {
    let application = with(|limits| limits.registrations_of_a_network = Quota::per_hour(2));
    let mut registered = 0;
    for number in 0..15 {
        for _ in 0..3 {
            let answer = register(&application, &format!("2001:db8:1:{number:x}::1"), "").await;
            registered += usize::from(answer.status == 201);
        }
    }
    assert_eq!(
        registered, 20,
        "what is refused to a network is not counted for its site"
    );
    assert_eq!(register(&application, "2001:db8:2::1", "").await.status, 201);
}

#[tokio::test]
async fn what_is_refused_leaves_no_counter_behind() {
    let application = with(|limits| {
        limits.registrations_of_a_network = Quota::per_minute(5);
        limits.registrations = Quota::per_minute(10);
    });
    for number in 0..100 {
        register(&application, &format!("2001:db8:{number:x}::1"), "").await;
    }
    let store = application.store.inner();
    assert_eq!(
        store.count_of(Kind::Counter),
        20,
        "one for each network that was let in, and one for its site"
    );
    assert_eq!(store.count_of(Kind::Total), 1);
}

#[tokio::test]
async fn where_there_is_no_room_to_count_networks_everybody_together_is_counted_all_the_same() {
    let clock = ManualClock::default();
    let mut bounds = Bounds::default();
    bounds.counters = 1;
    let store = MemoryStore::with_bounds(bounds).with_clock(clock.clone());
    let mut limits = Limits::unlimited();
    limits.registrations_of_a_network = Quota::per_minute(5);
    limits.registrations = Quota::per_minute(10);
    let application = Application::with(FailingStore::new(store), clock, |builder| builder.limits(limits));
    for number in 0..12 {
        let answer = register(&application, &format!("192.0.2.{number}"), "").await;
        assert_eq!(answer.status.as_u16(), if number < 10 { 201 } else { 429 }, "{number}");
    }
    application.clock.advance(Duration::from_secs(60));
    assert_eq!(register(&application, "192.0.2.1", "").await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_requests_at_the_same_time_no_more_get_through_than_the_quota_says() {
    let application = with(|limits| limits.registrations = Quota::per_hour(20));
    let requests: Vec<_> = (0..64)
        .map(|number| {
            let application = application.clone();
            tokio::spawn(async move { register(&application, &format!("192.0.2.{number}"), "").await.status })
        })
        .collect();
    let mut registered = 0;
    for request in requests {
        registered += usize::from(request.await.unwrap() == 201);
    }
    assert_eq!(registered, 20);
}

/// What is everybody's is counted beside what is the network's, and all the same it is there for the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_refused_requests_of_one_network_at_the_same_time_one_at_most_counts_for_everybody() {
    let application = with(|limits| {
        limits.registrations_of_a_network = Quota::per_hour(10);
        limits.registrations = Quota::per_hour(12);
    });
    let requests: Vec<_> = (0..64)
        .map(|_| {
            let application = application.clone();
            tokio::spawn(async move { register(&application, "192.0.2.1", "").await.status })
        })
        .collect();
    let mut registered = 0;
    for request in requests {
        registered += usize::from(request.await.unwrap() == 201);
    }
    assert_eq!(registered, 10);
    assert_eq!(register(&application, "192.0.2.2", "").await.status, 201);
}

#[tokio::test]
async fn what_another_process_has_counted_costs_everybody_one_count_and_no_more() {
    let mut limits = Limits::unlimited();
    limits.registrations_of_a_network = Quota::per_hour(3);
    limits.registrations = Quota::per_hour(5);
    let one = Application::new(|builder| builder.limits(limits));
    let other = Application::with(one.store.clone(), one.clock.clone(), |builder| builder.limits(limits));
    for _ in 0..3 {
        assert_eq!(register(&one, "192.0.2.1", "").await.status, 201);
    }
    for _ in 0..10 {
        assert_eq!(register(&other, "192.0.2.1", "").await.status, 429);
    }
    assert_eq!(register(&other, "192.0.2.2", "").await.status, 201);
    assert_eq!(
        register(&one, "192.0.2.3", "").await.status,
        429,
        "that was everybody's"
    );
}

// === Wrong secrets ===

/// The answer to a client that shows this secret from there.
async fn introspect(application: &Application, address: &str, client_id: &str, secret: &str) -> u16 {
    let body = encode(&[("client_id", client_id), ("client_secret", secret), ("token", "x")]);
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let request = request(Method::POST, "/introspect", &headers, &body);
    application.send_from(address, request).await.status.as_u16()
}

/// Behind one address there is a whole company, or all users of a hosted client.
#[tokio::test]
async fn a_client_with_the_right_secret_is_let_in_whatever_its_neighbours_show_for_others() {
    let application = with(|limits| limits.failed_authentications_of_a_network = Quota::per_minute(3));
    let (client, other) = (
        Client::confidential(&application).await,
        Client::confidential(&application).await,
    );
    let right = client.client_secret.clone().unwrap();
    for _ in 0..3 {
        assert_eq!(
            introspect(&application, "192.0.2.1", &other.client_id, "wrong").await,
            401
        );
    }
    assert_eq!(
        introspect(&application, "192.0.2.1", &client.client_id, "wrong").await,
        429
    );
    assert_eq!(
        introspect(&application, "192.0.2.1", &client.client_id, &right).await,
        200
    );
    let others = other.client_secret.unwrap();
    assert_eq!(
        introspect(&application, "192.0.2.1", &other.client_id, &others).await,
        429,
        "what it was guessed at for from here has to wait"
    );
    assert_eq!(
        introspect(&application, "192.0.2.2", &other.client_id, &others).await,
        200
    );
}

#[tokio::test]
async fn a_network_cannot_guess_on_at_a_client_once_its_quota_is_used_up() {
    let application = with(|limits| limits.failed_authentications_of_a_network = Quota::per_minute(3));
    let client = Client::confidential(&application).await;
    // First the quota goes elsewhere, then it is this client's turn.
    for _ in 0..5 {
        introspect(&application, "192.0.2.1", "client_unknown", "wrong").await;
    }
    for _ in 0..3 {
        assert_eq!(
            introspect(&application, "192.0.2.1", &client.client_id, "wrong").await,
            429
        );
    }
    let right = client.client_secret.unwrap();
    assert_eq!(
        introspect(&application, "192.0.2.1", &client.client_id, &right).await,
        429
    );
    application.clock.advance(Duration::from_secs(60));
    assert_eq!(
        introspect(&application, "192.0.2.1", &client.client_id, &right).await,
        200
    );
}

/// Neither by the first answer nor by when it changes.
#[tokio::test]
async fn nobody_learns_from_quotas_which_clients_there_are() {
    let application = with(|limits| {
        limits.failed_authentications_of_a_network = Quota::per_minute(4);
        limits.failed_authentications_of_a_client = Quota::per_minute(6);
    });
    let client = Client::confidential(&application).await;
    let unknown = "client_0000000000000000000000";
    let mut answers = Vec::new();
    for (client_id, networks) in [(client.client_id.as_str(), 0), (unknown, 100)] {
        let mut told = Vec::new();
        for attempt in 0..24 {
            let address = format!("192.0.2.{}", networks + attempt / 6);
            told.push(introspect(&application, &address, client_id, "wrong").await);
        }
        answers.push(told);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].iter().filter(|status| **status == 401).count(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_wrong_secrets_at_the_same_time_no_more_are_answered_than_the_quota_says() {
    let application = with(|limits| limits.failed_authentications_of_a_network = Quota::per_minute(20));
    let client = Client::confidential(&application).await;
    let attempts: Vec<_> = (0..64)
        .map(|_| {
            let (application, client_id) = (application.clone(), client.client_id.clone());
            tokio::spawn(async move { introspect(&application, "192.0.2.1", &client_id, "wrong").await })
        })
        .collect();
    let mut answered = 0;
    for attempt in attempts {
        answered += usize::from(attempt.await.unwrap() == 401);
    }
    assert_eq!(answered, 20);
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
    assert_eq!(
        kept.outcomes(),
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
