//! How often a step waits for the store, which is what it costs where the store is far away: a read and a write, twice at
//! most, for everything that a client does. What is asked for at the same time is waited for once.

use std::sync::Arc;

use http::Method;
use mcp_oauth_core::limits::Limits;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_core::store::Store;
use mcp_oauth_store::MemoryStore;
use mcp_oauth_tests::application::{Answer, Application, ISSUER, NOTES, request};
use mcp_oauth_tests::browser::{Browser, arrival};
use mcp_oauth_tests::client::{Client, Tokens, public_metadata};
use mcp_oauth_tests::device::{DEVICE_GRANT, Device, device_metadata};
use mcp_oauth_tests::distant_store::{Cost, DistantStore};
use serde_json::{Value, json};

fn application(
    configure: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
) -> (Application, DistantStore<MemoryStore>) {
    let store = DistantStore::new(MemoryStore::default());
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let application = Application::new(|builder| configure(builder.shared_store(shared).device_authorization()));
    (application, store)
}

/// What a step cost, whose answer was as expected.
async fn costs(
    store: &DistantStore<MemoryStore>,
    step: impl Future<Output = Answer>,
    status: u16,
    expected: (u64, u64),
) -> Answer {
    let (answer, cost) = store.cost_of(step).await;
    assert_eq!(answer.status, status, "{answer:?}");
    let (round_trips, operations) = expected;
    let expected = Cost {
        round_trips,
        operations,
    };
    assert_eq!(cost, expected, "{answer:?}");
    answer
}

fn confidential_metadata() -> Value {
    let mut metadata = public_metadata();
    metadata["token_endpoint_auth_method"] = "client_secret_basic".into();
    metadata
}

#[tokio::test(start_paused = true)]
async fn whatever_a_client_does_waits_for_the_store_twice_at_most() {
    let (application, store) = application(|builder| builder.limits(Limits::unlimited()));
    let application = &application;
    let metadata = confidential_metadata();
    let register = application.post_json("/register", &metadata);
    let registered = costs(&store, register, 201, (1, 1)).await.json();
    let client = Client {
        client_id: registered["client_id"].as_str().unwrap().to_owned(),
        client_secret: Some(registered["client_secret"].as_str().unwrap().to_owned()),
        verifier: "v".repeat(43),
    };
    let mut browser = Browser::default();
    let url = client.authorization_url(&[]);
    let consent = costs(&store, browser.open(application, &url), 200, (2, 2)).await;
    let approved = costs(&store, browser.decide(application, &consent, "approve"), 303, (2, 2)).await;
    // The transaction; then, at the same time, its end, the grant, and its places on the lists of person and client.
    let returned = costs(&store, browser.sign_in(application, &approved, "ada"), 303, (2, 5)).await;
    let code = arrival(&returned).code();
    // The client, its mark and the grant; then the grant, the mark of the person, and once a day the client.
    let redeemed = costs(&store, client.redeem(application, &code, &[]), 200, (2, 6)).await;
    let first = Tokens::of(&redeemed).refresh_token;
    let refreshed = costs(&store, client.refresh(application, &first, &[]), 200, (2, 5)).await;
    costs(&store, client.refresh(application, &first, &[]), 200, (2, 4)).await;
    let tokens = Tokens::of(&refreshed);

    // What has ended is read once a second.
    costs(&store, application.call(NOTES, &tokens.access_token), 200, (1, 1)).await;
    costs(&store, application.call(NOTES, &tokens.access_token), 200, (0, 0)).await;
    for token in [&tokens.access_token, &tokens.refresh_token] {
        let form = [("token", token.as_str())];
        let introspect = client.post(application, "/introspect", &form);
        // The client and the grant; then both marks.
        costs(&store, introspect, 200, (2, 4)).await;
    }
    // The client and the grant; then the grant's end, and the word of it for all processes.
    let form = [("token", tokens.refresh_token.as_str())];
    let revoke = client.post(application, "/revoke", &form);
    costs(&store, revoke, 200, (2, 4)).await;
    // A token of what has ended: the word goes out again, in case it did not the first time.
    costs(
        &store,
        client.refresh(application, &tokens.refresh_token, &[]),
        400,
        (2, 4),
    )
    .await;

    // A code that is used a second time ends its grant.
    let code = client.code(application, "ada").await;
    client.redeem(application, &code, &[]).await;
    costs(&store, client.redeem(application, &code, &[]), 400, (2, 5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_device_waits_for_the_store_twice_at_most() {
    let (application, store) = application(|builder| builder.limits(Limits::unlimited()));
    let application = &application;
    let client = Client::register(application, &device_metadata()).await;
    let begin = client.post(application, "/device_authorization", &[]);
    let shown = costs(&store, begin, 200, (2, 3)).await.json();
    let text = |name: &str| shown[name].as_str().unwrap().to_owned();
    let device = Device {
        client,
        device_code: text("device_code"),
        user_code: text("user_code"),
    };
    costs(&store, device.poll(application), 400, (2, 4)).await;

    // The code; then the device, what was decided about it, and the transaction.
    let mut browser = Browser::default();
    let form = [("user_code", device.user_code.as_str())];
    let entered = costs(&store, browser.submit(application, "/device", &form), 303, (2, 4)).await;
    let consent = costs(
        &store,
        browser.open(application, entered.header("location")),
        200,
        (2, 2),
    )
    .await;
    let approved = costs(&store, browser.decide(application, &consent, "approve"), 303, (2, 4)).await;
    // The transaction; then its end and the decision.
    costs(&store, browser.sign_in(application, &approved, "ada"), 200, (2, 3)).await;

    application.clock.advance(std::time::Duration::from_secs(5));
    // The client, the device and the decision; then the device, the grant and its places on two lists, two marks, and the
    // client, which is in use from now on.
    costs(&store, device.poll(application), 200, (2, 10)).await;

    let device = Device::of(application, device.client).await;
    let consent = browser.enter(application, &device.user_code).await;
    costs(&store, browser.decide(application, &consent, "deny"), 200, (2, 3)).await;
}

#[tokio::test(start_paused = true)]
async fn to_count_a_step_costs_nothing_but_where_counting_comes_first() {
    let (application, store) = application(|builder| builder);
    let application = &application;
    let json = [("content-type", "application/json")];
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let mut metadata = public_metadata();
    metadata["grant_types"] = json!(["authorization_code", DEVICE_GRANT]);
    // Nothing is known of where the first comes from; the second has a network, and the third a site too.
    for (address, counted) in [(None, 1), (Some("192.0.2.1"), 2), (Some("2001:db8::1"), 3)] {
        let send = async |request| match address {
            Some(address) => application.send_from(address, request).await,
            None => application.send(request).await,
        };
        // All that counts at the same time, and whether it is kept for long; then the client.
        let register = send(request(Method::POST, "/register", &json, &metadata.to_string()));
        let registered = costs(&store, register, 201, (2, counted + 2)).await.json();
        let client = Client {
            client_id: registered["client_id"].as_str().unwrap().to_owned(),
            client_secret: None,
            verifier: "v".repeat(43),
        };
        // The same beside the client; then what begins.
        let authorize = send(request(Method::GET, &client.authorization_url(&[]), &[], ""));
        costs(&store, authorize, 200, (2, counted + 2)).await;
        let body = format!("client_id={}", client.client_id);
        let begin = send(request(Method::POST, "/device_authorization", &form, &body));
        costs(&store, begin, 200, (2, counted + 3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_manages_its_registration_waits_twice_at_most() {
    let (application, store) = application(|builder| builder.limits(Limits::unlimited()));
    let application = &application;
    let mut metadata = confidential_metadata();
    let registered = application.post_json("/register", &metadata).await.json();
    metadata["client_id"] = registered["client_id"].clone();
    let uri = registered["registration_client_uri"].as_str().unwrap();
    let path = uri.strip_prefix(ISSUER).unwrap();
    let bearer = format!("Bearer {}", registered["registration_access_token"].as_str().unwrap());
    let headers = [("authorization", &*bearer), ("content-type", "application/json")];
    for (method, body, status, cost) in [
        (Method::GET, json!({}), 200, (1, 1)),
        // Looked up before its body is read, and replaced after that.
        (Method::PUT, metadata, 200, (2, 2)),
        // Its tokens end at the same time as it does.
        (Method::DELETE, json!({}), 204, (2, 3)),
    ] {
        let body = body.to_string();
        costs(
            &store,
            application.send(request(method, path, &headers, &body)),
            status,
            cost,
        )
        .await;
    }
}
