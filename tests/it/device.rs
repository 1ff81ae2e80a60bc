//! A device without a browser gets its tokens (RFC 8628).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use mcp_oauth_core::audit::{Event, Outcome};
use mcp_oauth_core::grant::policy::{GrantPolicy, GrantRequest, PolicyError, Verdict};
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_core::server::builder::{ConfigurationError, Lifetimes};
use mcp_oauth_core::store::Kind;
use mcp_oauth_core::token::keys::{KeyRotation, KeySealing};
use mcp_oauth_store::MemoryStore;
use mcp_oauth_store::memory::Bounds;
use mcp_oauth_tests::application::{Answer, Application, FILES, ISSUER, NOTES, SCOPE, files, notes, request};
use mcp_oauth_tests::browser::Browser;
use mcp_oauth_tests::client::{Client, REDIRECT_URI, Tokens, public_metadata};
use mcp_oauth_tests::device::{DEVICE_GRANT, Device, application, device_metadata};
use mcp_oauth_tests::events::Events;
use mcp_oauth_tests::remembering_store::RememberingStore;
use mcp_oauth_tower::AllowList;
use serde_json::json;

fn refused(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.header("cache-control"), "no-store");
    (answer.status.as_u16(), answer.error())
}

fn with(status: u16, error: &str) -> (u16, String) {
    (status, error.to_owned())
}

#[tokio::test]
async fn a_device_is_let_in_by_a_person_and_reaches_the_resource() {
    let application = application();
    let device = Device::begin(&application).await;
    assert_eq!(
        refused(&device.poll(&application).await),
        with(400, "authorization_pending")
    );
    let page = device.let_in(&application, "ada").await;
    assert_eq!(page.status, 200);
    let answer = device.wait_and_poll(&application).await;
    let tokens = Tokens::of(&answer);
    assert_eq!(answer.json()["scope"], SCOPE);
    assert_eq!(answer.json()["token_type"], "Bearer");
    assert_eq!(answer.header("cache-control"), "no-store");
    let called = application.call(NOTES, &tokens.access_token).await.json();
    assert_eq!(
        (&called["username"], &called["client_id"]),
        (&json!("ada"), &json!(device.client.client_id))
    );
}

#[tokio::test]
async fn the_answer_has_everything_that_the_specification_asks_for() {
    let application = application();
    let client = Client::register(&application, &device_metadata()).await;
    let answer = client.post(&application, "/device_authorization", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.header("content-type").starts_with("application/json"));
    let body = answer.json();
    let user_code = body["user_code"].as_str().unwrap();
    let letters = user_code.bytes().filter(|byte| b"BCDFGHJKLMNPQRSTVWXZ".contains(byte));
    assert_eq!((user_code.len(), letters.count(), &user_code[4..5]), (9, 8, "-"));
    let (id, secret) = body["device_code"].as_str().unwrap().split_once('.').unwrap();
    assert_eq!(
        (id.len(), secret.len()),
        (22, 43),
        "128 bits that name it, 256 that are secret"
    );
    assert_eq!(body["verification_uri"], format!("{ISSUER}/device"));
    assert_eq!(
        body["verification_uri_complete"],
        format!("{ISSUER}/device?user_code={user_code}")
    );
    assert_eq!((&body["expires_in"], &body["interval"]), (&json!(600), &json!(5)));
    assert_eq!(body.as_object().unwrap().len(), 6);
}

#[tokio::test]
async fn the_lifetime_of_the_codes_is_the_operators_to_set_within_reason() {
    let lifetimes = |seconds| {
        let mut lifetimes = Lifetimes::default();
        lifetimes.device_code = Duration::from_secs(seconds);
        lifetimes
    };
    let application = Application::new(|builder| builder.device_authorization().lifetimes(lifetimes(120)));
    let device = Device::begin(&application).await;
    application.clock.advance(Duration::from_secs(120));
    assert_eq!(refused(&device.poll(&application).await), with(400, "expired_token"));
    for seconds in [0, 59, 3601] {
        let error = mcp_oauth_tower::AuthorizationServer::builder(ISSUER)
            .resource(mcp_oauth_tower::Resource::new(NOTES).unwrap())
            .identity(mcp_oauth_tower::DevIdentity::default())
            .allow(AllowList::everybody())
            .store(MemoryStore::default())
            .lifetimes(lifetimes(seconds))
            .build()
            .unwrap_err();
        assert!(matches!(error, ConfigurationError::DeviceCodeLifetime), "{seconds}");
    }
}

// === Who may ask ===

#[tokio::test]
async fn a_client_that_has_not_registered_the_grant_type_is_told_so() {
    let application = application();
    let mut metadata = public_metadata();
    metadata["grant_types"] = json!(["authorization_code", "refresh_token"]);
    let client = Client::register(&application, &metadata).await;
    let asked = client.post(&application, "/device_authorization", &[]).await;
    assert_eq!(refused(&asked), with(400, "unauthorized_client"));
    let fields = [("grant_type", DEVICE_GRANT), ("device_code", "x")];
    assert_eq!(
        refused(&client.token(&application, &fields).await),
        with(400, "unauthorized_client")
    );
}

#[tokio::test]
async fn a_client_that_names_no_grant_types_may_use_both_ways() {
    let application = application();
    let client = Client::public(&application).await;
    let device = Device::of(&application, client.clone()).await;
    device.let_in(&application, "ada").await;
    assert_eq!(device.poll(&application).await.status, 200);
    client.sign_in(&application, "ada").await;
}

#[tokio::test]
async fn a_client_of_devices_alone_needs_no_redirect_uri_and_gets_no_code() {
    let application = application();
    let mut metadata = device_metadata();
    let answer = application.post_json("/register", &metadata).await;
    assert_eq!(answer.status, 201);
    let registered = answer.json();
    assert_eq!(registered["response_types"], json!(["code"]));
    assert_eq!(registered["grant_types"], json!(["refresh_token", DEVICE_GRANT]));
    assert!(registered.get("redirect_uris").is_none());

    metadata["redirect_uris"] = json!([REDIRECT_URI]);
    let client = Client::register(&application, &metadata).await;
    let sent_back = application.get(&client.authorization_url(&[])).await;
    assert_eq!(sent_back.status, 303);
    assert!(sent_back.header("location").contains("error=unauthorized_client"));

    metadata = device_metadata();
    metadata["grant_types"] = json!(["authorization_code", DEVICE_GRANT]);
    let refused = application.post_json("/register", &metadata).await;
    assert_eq!(
        (refused.status.as_u16(), &*refused.error()),
        (400, "invalid_client_metadata")
    );
}

#[tokio::test]
async fn a_client_with_a_secret_has_to_show_it() {
    let application = application();
    let mut metadata = device_metadata();
    metadata["token_endpoint_auth_method"] = json!("client_secret_basic");
    let client = Client::register(&application, &metadata).await;
    let device = Device::of(&application, client.clone()).await;
    for secret in [None, Some("wrong".to_owned())] {
        let impostor = Client {
            client_secret: secret,
            ..client.clone()
        };
        let asked = impostor.post(&application, "/device_authorization", &[]).await;
        assert_eq!(refused(&asked), with(401, "invalid_client"));
        let device = Device {
            client: impostor,
            ..device.clone()
        };
        assert_eq!(refused(&device.poll(&application).await), with(401, "invalid_client"));
    }
    device.let_in(&application, "ada").await;
    let tokens = Tokens::of(&device.poll(&application).await);
    let asked = client
        .post(&application, "/introspect", &[("token", &tokens.access_token)])
        .await
        .json();
    assert_eq!(
        (&asked["active"], &asked["sub"]),
        (&json!(true), &json!("development:ada"))
    );
    assert_eq!(
        client
            .post(&application, "/revoke", &[("token", &tokens.refresh_token)])
            .await
            .status,
        200
    );
    let asked = client
        .post(&application, "/introspect", &[("token", &tokens.access_token)])
        .await;
    assert_eq!(asked.json(), json!({"active": false}));
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 401);
}

#[tokio::test]
async fn a_client_that_is_unknown_or_missing_is_told_so() {
    let application = application();
    let unknown = application
        .post_form("/device_authorization", &[("client_id", "client_nobody")])
        .await;
    assert_eq!(refused(&unknown), with(401, "invalid_client"));
    let missing = application.post_form("/device_authorization", &[]).await;
    assert_eq!(refused(&missing), with(400, "invalid_request"));
    let twice = [("client_id", "a"), ("client_id", "a")];
    assert_eq!(
        refused(&application.post_form("/device_authorization", &twice).await),
        with(400, "invalid_request")
    );
    let json = application.post_json("/device_authorization", &json!({})).await;
    assert_eq!(refused(&json), with(400, "invalid_request"));
}

#[tokio::test]
async fn scopes_and_resources_count_as_they_do_for_a_code() {
    let application = application();
    let client = Client::register(&application, &device_metadata()).await;
    for (field, value, error) in [
        ("resource", "https://elsewhere.example/mcp", "invalid_target"),
        ("scope", "root", "invalid_scope"),
    ] {
        let answer = client
            .post(&application, "/device_authorization", &[(field, value)])
            .await;
        assert_eq!(refused(&answer), with(400, error));
    }
    let fields = [("resource", FILES), ("scope", "offline_access")];
    let begun = client.post(&application, "/device_authorization", &fields).await.json();
    let device = Device {
        client,
        device_code: begun["device_code"].as_str().unwrap().to_owned(),
        user_code: begun["user_code"].as_str().unwrap().to_owned(),
    };
    device.let_in(&application, "ada").await;
    let elsewhere = device.poll_with(&application, &[("resource", NOTES)]).await;
    assert_eq!(refused(&elsewhere), with(400, "invalid_target"));
    let tokens = Tokens::of(&device.poll_with(&application, &[("resource", FILES)]).await);
    assert_eq!(application.call(FILES, &tokens.access_token).await.status, 200);
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 401);
}

#[tokio::test]
async fn a_server_with_several_resources_and_no_default_asks_for_one() {
    let server = mcp_oauth_tower::AuthorizationServer::builder(ISSUER)
        .resource(mcp_oauth_tower::Resource::new(NOTES).unwrap())
        .resource(mcp_oauth_tower::Resource::new(FILES).unwrap())
        .identity(mcp_oauth_tower::DevIdentity::default())
        .allow(AllowList::everybody())
        .store(MemoryStore::default())
        .device_authorization()
        .build()
        .unwrap();
    let origin = mcp_oauth_core::origin::Origin::unknown();
    let admitted = server.admit_registration(None, &origin).await.unwrap();
    let registered = server
        .register(device_metadata().to_string().as_bytes(), admitted, &origin)
        .await
        .unwrap();
    let form = [("client_id".to_owned(), registered.client_id.to_string())]
        .into_iter()
        .collect();
    let error = server.authorize_device(&form, None, &origin).await.unwrap_err();
    assert_eq!(error.error().code().as_str(), "invalid_target");
}

#[tokio::test]
async fn a_client_gets_a_refresh_token_if_it_has_registered_for_one() {
    let application = application();
    let mut metadata = device_metadata();
    metadata["grant_types"] = json!([DEVICE_GRANT]);
    let device = Device::of(&application, Client::register(&application, &metadata).await).await;
    device.let_in(&application, "ada").await;
    let answer = device.poll(&application).await.json();
    assert!(answer["access_token"].is_string() && answer.get("refresh_token").is_none());
}

// === Polling ===

#[tokio::test]
async fn a_device_that_asks_too_often_is_told_to_slow_down_each_time_more() {
    let application = application();
    let device = Device::begin(&application).await;
    let mut answers = Vec::new();
    // The interval is 5 seconds, then 10, then 15.
    for wait in [0, 5, 2, 10, 5, 15, 14] {
        application.clock.advance(Duration::from_secs(wait));
        answers.push(device.poll(&application).await.error());
    }
    let (pending, slow) = ("authorization_pending", "slow_down");
    assert_eq!(answers, [pending, pending, slow, pending, slow, pending, pending]);
    let other = Device::of(&application, device.client.clone()).await;
    other.poll(&application).await;
    let other = other.wait_and_poll(&application).await;
    assert_eq!(refused(&other), with(400, pending), "each device has its own interval");
}

#[tokio::test]
async fn a_device_that_was_let_in_gets_its_tokens_however_fast_it_asks() {
    let application = application();
    let device = Device::begin(&application).await;
    device.poll(&application).await;
    assert_eq!(refused(&device.poll(&application).await), with(400, "slow_down"));
    device.let_in(&application, "ada").await;
    assert_eq!(device.poll(&application).await.status, 200);
}

#[tokio::test]
async fn a_device_that_was_turned_away_is_told_so() {
    let application = application();
    let device = Device::begin(&application).await;
    let mut browser = Browser::default();
    let consent = browser.enter(&application, &device.user_code).await;
    browser.decide(&application, &consent, "deny").await;
    for _ in 0..2 {
        assert_eq!(refused(&device.poll(&application).await), with(400, "access_denied"));
    }
}

#[tokio::test]
async fn codes_expire() {
    let application = application();
    let device = Device::begin(&application).await;
    application.clock.advance(Duration::from_secs(599));
    assert_eq!(
        refused(&device.poll(&application).await),
        with(400, "authorization_pending")
    );
    application.clock.advance(Duration::from_secs(1));
    for wait in [0, 299] {
        application.clock.advance(Duration::from_secs(wait));
        assert_eq!(refused(&device.poll(&application).await), with(400, "expired_token"));
    }
    application.clock.advance(Duration::from_secs(1));
    assert_eq!(
        refused(&device.poll(&application).await),
        with(400, "invalid_grant"),
        "nothing is left of it"
    );
    assert_eq!(application.store.inner().count_of(Kind::Device), 0);
    assert_eq!(application.store.inner().count_of(Kind::UserCode), 0);
}

#[tokio::test]
async fn tokens_that_nobody_fetches_expire() {
    let application = application();
    let device = Device::begin(&application).await;
    device.let_in(&application, "ada").await;
    application.clock.advance(Duration::from_secs(600));
    assert_eq!(refused(&device.poll(&application).await), with(400, "expired_token"));
}

#[tokio::test]
async fn a_device_code_is_good_for_its_own_client_alone_and_stays_good_for_it() {
    let application = application();
    let device = Device::begin(&application).await;
    let thief = Device {
        client: Client::register(&application, &device_metadata()).await,
        ..device.clone()
    };
    assert_eq!(refused(&thief.poll(&application).await), with(400, "invalid_grant"));
    assert_eq!(
        refused(&device.poll(&application).await),
        with(400, "authorization_pending"),
        "and its interval has not begun"
    );
    device.let_in(&application, "ada").await;
    assert_eq!(refused(&thief.poll(&application).await), with(400, "invalid_grant"));
    let tokens = Tokens::of(&device.poll(&application).await);
    application.clock.advance(Duration::from_secs(120));
    assert_eq!(refused(&thief.poll(&application).await), with(400, "invalid_grant"));
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
}

#[tokio::test]
async fn device_codes_that_cannot_be_any_are_an_invalid_grant_and_none_is_an_invalid_request() {
    let application = application();
    let device = Device::begin(&application).await;
    let (id, _) = device.device_code.split_once('.').unwrap();
    for made_up in [
        "x",
        ".",
        "a.b",
        "\u{e4}.\u{e4}",
        &"A".repeat(1000),
        &format!("{id}.x"),
        &device.user_code,
    ] {
        let answer = device.poll_with(&application, &[("device_code", made_up)]).await;
        assert_eq!(refused(&answer), with(400, "invalid_grant"), "{made_up}");
    }
    let none = device.poll_with(&application, &[("device_code", "")]).await;
    assert_eq!(refused(&none), with(400, "invalid_request"));
}

#[tokio::test]
async fn a_device_code_is_good_once() {
    let application = application();
    let device = Device::begin(&application).await;
    device.let_in(&application, "ada").await;
    let tokens = Tokens::of(&device.poll(&application).await);
    assert_eq!(refused(&device.poll(&application).await), with(400, "invalid_grant"));
    // Polls overlap, and answers get lost: so soon, nobody suspects a theft.
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
    let refreshed = device.client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(refreshed.status, 200);
}

#[tokio::test]
async fn a_device_code_that_is_used_again_much_later_ends_everything_that_came_of_it() {
    let application = application();
    let device = Device::begin(&application).await;
    device.let_in(&application, "ada").await;
    let tokens = Tokens::of(&device.poll(&application).await);
    application.clock.advance(Duration::from_secs(60));
    for _ in 0..2 {
        assert_eq!(refused(&device.poll(&application).await), with(400, "invalid_grant"));
        assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 401);
        let refreshed = device.client.refresh(&application, &tokens.refresh_token, &[]).await;
        assert_eq!(refused(&refreshed), with(400, "invalid_grant"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_parallel_polls_of_a_device_that_was_let_in_one_gets_tokens() {
    let application = application();
    let device = Device::begin(&application).await;
    device.let_in(&application, "ada").await;
    let polls: Vec<_> = (0..64)
        .map(|_| {
            let (application, device) = (application.clone(), device.clone());
            tokio::spawn(async move { device.poll(&application).await })
        })
        .collect();
    let mut answers = Vec::new();
    for poll in polls {
        answers.push(poll.await.unwrap());
    }
    let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(good.len(), 1);
    assert!(bad.iter().all(|answer| answer.error() == "invalid_grant"), "{bad:?}");
    assert_eq!(
        application.store.inner().count_of(Kind::Grant),
        1,
        "the others left nothing behind"
    );
    let tokens = Tokens::of(good[0]);
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_parallel_polls_of_a_device_that_waits_one_is_in_time() {
    let application = application();
    let device = Device::begin(&application).await;
    let polls: Vec<_> = (0..64)
        .map(|_| {
            let (application, device) = (application.clone(), device.clone());
            tokio::spawn(async move { device.poll(&application).await.error() })
        })
        .collect();
    let mut pending = 0;
    for poll in polls {
        match poll.await.unwrap().as_str() {
            "authorization_pending" => pending += 1,
            "slow_down" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(pending, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_polls_all_the_time_can_be_let_in_all_the_same() {
    let application = application();
    let device = Device::begin(&application).await;
    let polls: Vec<_> = (0..8)
        .map(|_| {
            let (application, device) = (application.clone(), device.clone());
            tokio::spawn(async move {
                for _ in 0..200 {
                    let answer = device.poll(&application).await;
                    if !["authorization_pending", "slow_down"].contains(&answer.json()["error"].as_str().unwrap_or(""))
                    {
                        return Some(answer);
                    }
                    tokio::task::yield_now().await;
                }
                None
            })
        })
        .collect();
    assert_eq!(device.let_in(&application, "ada").await.status, 200);
    let mut tokens = 0;
    for poll in polls {
        if let Some(answer) = poll.await.unwrap() {
            tokens += usize::from(answer.status == 200);
        }
    }
    tokens += usize::from(device.poll(&application).await.status == 200);
    assert_eq!(tokens, 1);
}

#[tokio::test]
async fn each_step_takes_the_round_trips_that_it_says() {
    let application = Application::new(|builder| builder.device_authorization().limits(Limits::unlimited()));
    let count = || application.store.operations();
    let device = Device::begin(&application).await;
    let before = count();
    device.client.post(&application, "/device_authorization", &[]).await;
    assert_eq!(
        count() - before,
        3,
        "the client; then the device and its code at the same time"
    );
    let before = count();
    device.poll(&application).await;
    assert_eq!(
        count() - before,
        3,
        "the client and the device at the same time; then the device"
    );
}

// === What comes of it ===

#[tokio::test]
async fn refresh_tokens_of_a_device_rotate_and_end_with_the_allow_list() {
    let application = application();
    let device = Device::begin(&application).await;
    device.let_in(&application, "ada").await;
    let first = Tokens::of(&device.poll(&application).await);
    let second = Tokens::of(&device.client.refresh(&application, &first.refresh_token, &[]).await);
    assert_ne!(first.refresh_token, second.refresh_token);

    let stricter = Application::with(application.store.clone(), application.clock.clone(), |builder| {
        builder.device_authorization().allow(AllowList::parse("grace").unwrap())
    });
    let refreshed = device.client.refresh(&stricter, &second.refresh_token, &[]).await;
    assert_eq!(refused(&refreshed), with(400, "invalid_grant"));
    let refreshed = device.client.refresh(&application, &second.refresh_token, &[]).await;
    assert_eq!(refused(&refreshed), with(400, "invalid_grant"), "it has ended for good");
}

#[tokio::test]
async fn a_person_who_is_taken_off_the_list_after_the_approval_gets_no_tokens() {
    let application = application();
    let device = Device::begin(&application).await;
    device.let_in(&application, "ada").await;
    let stricter = Application::with(application.store.clone(), application.clock.clone(), |builder| {
        builder.device_authorization().allow(AllowList::parse("grace").unwrap())
    });
    assert_eq!(refused(&device.poll(&stricter).await), with(400, "access_denied"));
    assert_eq!(
        refused(&device.poll(&application).await),
        with(400, "access_denied"),
        "it stays like that"
    );
    assert_eq!(application.store.inner().count_of(Kind::Grant), 0);
}

/// Lets everybody in, and nobody stay signed in.
#[derive(Debug)]
struct NoOfflineAccess;

#[async_trait]
impl GrantPolicy for NoOfflineAccess {
    async fn decide(&self, _: &GrantRequest<'_>) -> Result<Verdict, PolicyError> {
        Ok(Verdict::Narrow(SCOPE.parse().expect("a scope")))
    }
}

#[tokio::test]
async fn the_policy_decides_about_devices_as_about_any_client() {
    let application = Application::new(|builder| builder.device_authorization().policy(NoOfflineAccess));
    let client = Client::register(&application, &device_metadata()).await;
    let fields = [("scope", "notes:use offline_access")];
    let begun = client.post(&application, "/device_authorization", &fields).await.json();
    let device = Device {
        client,
        device_code: begun["device_code"].as_str().unwrap().to_owned(),
        user_code: begun["user_code"].as_str().unwrap().to_owned(),
    };
    device.let_in(&application, "ada").await;
    assert_eq!(device.poll(&application).await.json()["scope"], SCOPE);
}

#[tokio::test]
async fn the_list_of_a_resource_counts_at_the_approval_and_when_the_tokens_are_fetched() {
    let only_for = |store: &Application, list: &str| {
        Application::with(store.store.clone(), store.clock.clone(), |_| {
            mcp_oauth_tower::AuthorizationServer::builder(ISSUER)
                .resource(notes().allow(AllowList::parse(list).unwrap()))
                .resource(files())
                .default_resource(NOTES)
                .identity(mcp_oauth_tower::DevIdentity::default())
                .allow(AllowList::everybody())
                .shared_store(Arc::new(store.store.clone()))
                .clock(store.clock.clone())
                .device_authorization()
        })
    };
    let everybody = application();
    let (for_ada, for_grace) = (only_for(&everybody, "ada"), only_for(&everybody, "grace"));
    let device = Device::begin(&for_grace).await;
    assert_eq!(device.let_in(&for_grace, "ada").await.status, 403);
    assert_eq!(refused(&device.poll(&for_grace).await), with(400, "access_denied"));
    let device = Device::begin(&for_ada).await;
    assert_eq!(device.let_in(&for_ada, "ada").await.status, 200);
    assert_eq!(refused(&device.poll(&for_grace).await), with(400, "access_denied"));
}

/// Nobody has asked this node for anything that reads the keys before.
#[tokio::test]
async fn a_device_gets_tokens_from_a_node_that_has_not_read_the_shared_keys_yet() {
    let sealing = KeySealing::new(&mcp_oauth_core::secret::Secret::random()).unwrap();
    let first = application();
    let node = |application: &Application| {
        let sealing = sealing.clone();
        Application::with(application.store.clone(), application.clock.clone(), |builder| {
            builder
                .device_authorization()
                .stored_keys(sealing, KeyRotation::default())
        })
    };
    let (fetches, verifies) = (node(&first), node(&first));
    let device = Device::begin(&fetches).await;
    device.let_in(&fetches, "ada").await;
    let tokens = Tokens::of(&device.poll(&fetches).await);
    assert_eq!(verifies.call(NOTES, &tokens.access_token).await.status, 200);
    // Long after the keys were last read.
    fetches.clock.advance(Duration::from_secs(24 * 60 * 60));
    let device = Device::of(&fetches, device.client).await;
    device.let_in(&fetches, "ada").await;
    let tokens = Tokens::of(&device.poll(&fetches).await);
    assert_eq!(verifies.call(NOTES, &tokens.access_token).await.status, 200);
}

#[tokio::test]
async fn using_the_grant_keeps_the_client() {
    let application = application();
    let device = Device::begin(&application).await;
    device.let_in(&application, "ada").await;
    let tokens = Tokens::of(&device.poll(&application).await);
    // A client that nobody signs in with is forgotten after a day.
    application.clock.advance(Duration::from_secs(2 * 24 * 60 * 60));
    let refreshed = device.client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(refreshed.status, 200);
}

// === Switched on and off ===

#[tokio::test]
async fn what_is_switched_on_is_advertised_and_done() {
    let application = application();
    let metadata = application.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(
        metadata["device_authorization_endpoint"],
        format!("{ISSUER}/device_authorization")
    );
    assert_eq!(
        metadata["grant_types_supported"],
        json!(["authorization_code", "refresh_token", DEVICE_GRANT])
    );
    let get = application.get("/device_authorization").await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn the_pages_of_an_issuer_with_a_path_are_below_it() {
    let server = mcp_oauth_tower::AuthorizationServer::builder(format!("{ISSUER}/tenant"))
        .resource(mcp_oauth_tower::Resource::new(NOTES).unwrap())
        .identity(mcp_oauth_tower::DevIdentity::default())
        .allow(AllowList::everybody())
        .store(MemoryStore::default())
        .device_authorization()
        .build()
        .unwrap();
    let origin = mcp_oauth_core::origin::Origin::unknown();
    let admitted = server.admit_registration(None, &origin).await.unwrap();
    let registered = server
        .register(device_metadata().to_string().as_bytes(), admitted, &origin)
        .await
        .unwrap();
    let form = [("client_id".to_owned(), registered.client_id.to_string())]
        .into_iter()
        .collect();
    let device = server.authorize_device(&form, None, &origin).await.unwrap();
    assert_eq!(device.verification_uri, format!("{ISSUER}/tenant/device"));
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let body = format!("user_code={}", device.user_code.expose());
    let entered = tower::ServiceExt::oneshot(
        mcp_oauth_tower::router(&server),
        request(Method::POST, "/tenant/device", &headers, &body),
    )
    .await
    .unwrap();
    let location = entered.headers()["location"].to_str().unwrap();
    assert!(
        location.starts_with(&format!("{ISSUER}/tenant/device/consent?")),
        "{location}"
    );
}

#[tokio::test]
async fn what_is_switched_off_is_neither_advertised_nor_done() {
    let application = Application::default();
    let metadata = application.get("/.well-known/oauth-authorization-server").await.json();
    assert!(metadata.get("device_authorization_endpoint").is_none());
    assert_eq!(
        metadata["grant_types_supported"],
        json!(["authorization_code", "refresh_token"])
    );
    assert_eq!(application.get("/device").await.status, 404);
    let form = [("client_id", "x")];
    assert_eq!(application.post_form("/device_authorization", &form).await.status, 404);

    let refused_registration = application.post_json("/register", &device_metadata()).await;
    assert_eq!(refused_registration.error(), "invalid_client_metadata");
    let mut metadata = public_metadata();
    metadata["grant_types"] = json!(["authorization_code", DEVICE_GRANT]);
    let registered = application.post_json("/register", &metadata).await.json();
    assert_eq!(registered["grant_types"], json!(["authorization_code"]));

    let client = Client::public(&application).await;
    let fields = [("grant_type", DEVICE_GRANT), ("device_code", "x")];
    assert_eq!(
        refused(&client.token(&application, &fields).await),
        with(400, "unsupported_grant_type")
    );
}

#[tokio::test]
async fn a_script_on_any_page_may_ask_for_a_device_and_not_enter_a_code() {
    let application = application();
    let preflight = |path: &'static str| {
        let headers = [
            ("origin", "https://client.example"),
            ("access-control-request-method", "POST"),
        ];
        application.send(request(Method::OPTIONS, path, &headers, ""))
    };
    let allowed = preflight("/device_authorization").await;
    assert_eq!(
        (allowed.status.as_u16(), allowed.header("access-control-allow-origin")),
        (200, "*")
    );
    let page = preflight("/device").await;
    assert_eq!(page.header("access-control-allow-origin"), "");
}

// === Bounds ===

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
    Client::public(&application).await.sign_in(&application, "ada").await;
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
    let names: Vec<_> = events
        .iter()
        .map(|event| (event.action.as_str(), matches!(event.outcome, Outcome::Success)))
        .collect();
    assert_eq!(
        names,
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
