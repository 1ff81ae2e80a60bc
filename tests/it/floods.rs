//! Floods, in a small version: the store stays within its bounds, and whoever is signed in notices nothing. The whole
//! ones, with 100,000 requests and the default bounds, are in `benches/floods.rs`.

use std::time::Duration;

use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_core::store::Kind;
use mcp_oauth_store::memory::Bounds;
use mcp_oauth_tests::browser::{Browser, arrival};
use mcp_oauth_tests::flood::{Flooded, Statuses};

/// The default bounds, divided by 200, as the flood is.
fn small() -> Bounds {
    let mut bounds = Bounds::default();
    bounds.transactions = 100;
    bounds.clients = 250;
    bounds
}

const FLOOD: usize = 500;

#[tokio::test]
async fn a_flood_of_authorization_requests_stays_within_the_stores_bound_and_leaves_clients_and_grants_alone() {
    let mut server = Flooded::new(small(), Limits::default(), |builder| builder).await;
    let other_records = server.application.store.inner().len() - server.records(Kind::Transaction);
    let statuses = server.authorize(FLOOD).await;
    assert_eq!(server.records(Kind::Transaction), server.bounds.transactions);
    assert_eq!(
        statuses.keys().copied().collect::<Vec<_>>(),
        [200, 303],
        "pages, then an error for the client"
    );
    assert_eq!(statuses.values().sum::<usize>(), FLOOD);
    assert_eq!(
        server.application.store.inner().len(),
        server.bounds.transactions + other_records
    );
    server.assert_untouched().await;
}

/// A store that has room for anything, as Redis has that knows no kinds.
#[tokio::test]
async fn what_a_flood_of_authorization_requests_leaves_is_bounded_on_any_store() {
    let mut bounds = Bounds::default();
    bounds.transactions = usize::MAX;
    let mut limits = Limits::default();
    limits.authorizations.count /= 100;
    let server = Flooded::new(bounds, limits, |builder| builder).await;
    // The minute in which the client itself has signed in.
    server.wait(Duration::from_secs(60));
    let mut most = 0;
    for _ in 0..15 {
        let statuses = server.authorize(30).await;
        assert_eq!(statuses, Statuses::from([(200, 18), (429, 12)]));
        most = most.max(server.records(Kind::Transaction));
        server.wait(Duration::from_secs(60));
    }
    assert!((180..=18 * 11).contains(&most), "{most} records: ten minutes of them");
}

/// Or whoever goes on at the last moment could keep one for ever.
#[tokio::test]
async fn what_a_person_does_after_consent_does_not_lengthen_a_sign_in() {
    let server = Flooded::new(small(), Limits::default(), |builder| builder).await;
    server.wait(Duration::from_secs(600));
    let mut browser = Browser::default();
    let url = server.client.authorization_url(&[]);
    let consent = browser.open(&server.application, &url).await;
    server.wait(Duration::from_secs(599));
    for decision in ["approve", "approve", "deny"] {
        assert_eq!(
            browser.decide(&server.application, &consent, decision).await.status,
            303
        );
        server.wait(Duration::from_secs(299));
    }
    assert_eq!(server.records(Kind::Transaction), 0);
}

#[tokio::test]
async fn after_a_flood_people_can_sign_in_as_soon_as_what_it_left_has_run_out() {
    let mut server = Flooded::new(small(), Limits::default(), |builder| builder).await;
    server.authorize(FLOOD).await;
    let refused = server.somebody_signs_in().await;
    let error = arrival(&refused).parameter("error");
    assert_eq!(error.as_deref(), Some("temporarily_unavailable"));
    server.wait(Duration::from_secs(600));
    assert_eq!(server.somebody_signs_in().await.status, 200);
    assert_eq!(server.records(Kind::Transaction), 1);
    server.assert_untouched().await;
}

#[tokio::test]
async fn a_flood_of_registrations_stays_within_the_stores_bound_and_no_client_in_use_goes() {
    let mut server = Flooded::new(small(), Limits::unlimited(), |builder| builder).await;
    let statuses = server.register(FLOOD).await;
    assert_eq!(server.records(Kind::Client), server.bounds.clients);
    let fitting = server.bounds.clients - 1;
    assert_eq!(statuses, Statuses::from([(201, fitting), (503, FLOOD - fitting)]));
    server.assert_untouched().await;
    // Nobody has ever signed in with them, so a day later there is room again.
    server.wait(Duration::from_secs(24 * 3600));
    assert_eq!(server.register(1).await, Statuses::from([(201, 1)]));
}

#[tokio::test]
async fn a_flood_of_registrations_meets_the_quota_for_everybody_before_the_store_is_full() {
    // What is registered in one moment is far from filling the store.
    let mut limits = Limits::default();
    limits.registrations = Quota::per_hour(100);
    let mut server = Flooded::new(small(), limits, |builder| builder).await;
    let statuses = server.register(FLOOD).await;
    // One was there before.
    assert_eq!(statuses, Statuses::from([(201, 99), (429, FLOOD - 99)]));
    assert_eq!(server.records(Kind::Client), 100);
    server.assert_untouched().await;
}
