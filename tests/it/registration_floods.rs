//! Many registrations at once: what they can fill, and whom they keep out. `benches/floods.rs` does the same with 100,000.

use std::time::Duration;

use http::Method;
use mcp_oauth_core::client::registration::policy::{RegistrationPolicy, Repeats};
use mcp_oauth_core::limits::Limits;
use mcp_oauth_core::server::builder::Lifetimes;
use mcp_oauth_core::store::Kind;
use mcp_oauth_store::memory::{Bounds, MemoryStore};
use mcp_oauth_tests::application::{Application, request};
use mcp_oauth_tests::client::{Client, public_metadata};
use mcp_oauth_tests::failing_store::FailingStore;

/// A tenth of everything: quotas that a test can use up, in the proportions of the defaults.
fn tenth() -> Limits {
    let mut limits = Limits::default();
    for quota in [
        &mut limits.registrations_of_a_network,
        &mut limits.registrations,
        &mut limits.lasting_registrations,
    ] {
        quota.count /= 10;
    }
    limits
}

fn application(bound: usize, limits: &Limits) -> Application {
    let clock = mcp_oauth_core::clock::ManualClock::default();
    let mut bounds = Bounds::default();
    bounds.clients = bound;
    let store = MemoryStore::with_bounds(bounds).with_clock(clock.clone());
    Application::with(FailingStore::new(store), clock, |builder| builder.limits(*limits))
}

fn clients(application: &Application) -> usize {
    application.store.inner().count_of(Kind::Client)
}

/// One registration from the network with this number.
async fn register_from(application: &Application, network: usize) -> u16 {
    let headers = [("content-type", "application/json")];
    let request = request(Method::POST, "/register", &headers, &public_metadata().to_string());
    let address = format!("2001:db8:{:x}:{:x}::1", network >> 16, network & 0xffff);
    application.send_from(&address, request).await.status.as_u16()
}

#[tokio::test]
async fn repeats_of_one_registration_are_one_record_where_the_operator_wants_that() {
    let mut policy = RegistrationPolicy::default();
    policy.repeats = Repeats::OneRecord;
    let application = Application::new(|builder| builder.registration(policy));
    for _ in 0..2_000 {
        assert_eq!(register_from(&application, 1).await, 201, "no quota is used up either");
    }
    assert_eq!(clients(&application), 1);
}

#[tokio::test]
async fn what_a_flood_can_fill_is_bounded_and_clients_in_use_notice_nothing() {
    let application = application(5_000, &tenth());
    let in_use = Client::public(&application).await;
    let tokens = in_use.sign_in(&application, "ada").await;
    let mut most = 0;
    // Two hours, and each minute more networks than the quota has room for.
    for minute in 0..120 {
        for network in 0..70 {
            let status = register_from(&application, minute * 100 + network).await;
            assert!(matches!(status, 201 | 429), "{status}");
        }
        most = most.max(clients(&application));
        application.clock.advance(Duration::from_secs(60));
    }
    assert!(most <= 3_360, "{most} records");
    assert!(
        most >= 1_800,
        "the quotas are no narrower than they say: {most} records"
    );
    let refreshed = in_use.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(refreshed.status, 200);
    // Half an hour after it all is as before, but for those that may wait a day.
    application.clock.advance(Duration::from_secs(30 * 60));
    assert!(clients(&application) <= 60 * 25 + 1);
    let newcomer = Client::public(&application).await;
    newcomer.sign_in(&application, "ada").await;
}

#[tokio::test]
async fn a_full_store_has_room_again_after_half_an_hour_and_not_after_a_day() {
    let application = application(20, &Limits::default().with_lasting(0));
    let in_use = Client::public(&application).await;
    let tokens = in_use.sign_in(&application, "ada").await;
    for network in 0..19 {
        assert_eq!(register_from(&application, network).await, 201);
    }
    assert_eq!(
        register_from(&application, 20).await,
        503,
        "nothing is dropped to make room"
    );
    let refreshed = in_use.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(refreshed.status, 200, "who is there stays");
    application.clock.advance(Duration::from_secs(30 * 60));
    assert_eq!(clients(&application), 1);
    assert_eq!(register_from(&application, 20).await, 201);
}

#[tokio::test]
async fn a_client_that_comes_in_a_flood_has_time_to_sign_in_and_then_lives_like_any_other() {
    let application = application(100, &Limits::default().with_lasting(0));
    let client = Client::public(&application).await;
    application.clock.advance(Duration::from_secs(20 * 60));
    client.sign_in(&application, "ada").await;
    application.clock.advance(Duration::from_secs(80 * 24 * 3600));
    assert_eq!(application.get(&client.authorization_url(&[])).await.status, 200);
    let sign_in = Lifetimes::default().transaction + Lifetimes::default().grant.authorization_code;
    assert!(Lifetimes::default().unused_client_in_a_flood > sign_in);
}

#[tokio::test]
async fn a_network_that_registers_without_end_leaves_everybody_else_their_quota() {
    let application = application(5_000, &tenth());
    for _ in 0..500 {
        register_from(&application, 1).await;
    }
    assert_eq!(clients(&application), 6);
    assert_eq!(register_from(&application, 2).await, 201);
}

trait WithLasting {
    fn with_lasting(self, count: u64) -> Self;
}

impl WithLasting for Limits {
    fn with_lasting(mut self, count: u64) -> Self {
        self.lasting_registrations.count = count;
        self
    }
}
