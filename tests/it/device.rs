//! A device without a browser gets its tokens (RFC 8628).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::policy::{GrantPolicy, GrantRequest, PolicyError, Verdict};
use mcp_oauth_core::server::builder::{ConfigurationError, Lifetimes};
use mcp_oauth_core::server::device::authorization::DeviceAuthorization;
use mcp_oauth_core::server::token::TokenError;
use mcp_oauth_core::store::Kind;
use mcp_oauth_core::token::keys::{KeyRotation, KeySealing};
use mcp_oauth_store::MemoryStore;
use mcp_oauth_tests::application::{Answer, Application, ISSUER, NOTES, SCOPE, files, notes, request};
use mcp_oauth_tests::client::{Client, Tokens, public_metadata};
use mcp_oauth_tests::device::{DEVICE_GRANT, Device, application, device_metadata};
use mcp_oauth_tower::{AllowList, AuthorizationServer};
use serde_json::json;

mod asking;
mod bounds;
mod polling;

fn refused(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.header("cache-control"), "no-store");
    (answer.status.as_u16(), answer.error())
}

fn with(status: u16, error: &str) -> (u16, String) {
    (status, error.to_owned())
}

/// Begins on a device at this server, without HTTP.
async fn begin_at(server: &AuthorizationServer) -> Result<DeviceAuthorization, TokenError> {
    let origin = Origin::unknown();
    let admitted = server.admit_registration(None, &origin).await.unwrap();
    let registered = server
        .register(device_metadata().to_string().as_bytes(), admitted, &origin)
        .await
        .unwrap();
    let form = [("client_id".to_owned(), registered.client_id.to_string())]
        .into_iter()
        .collect();
    server.authorize_device(&form, None, &origin).await
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
        let error = AuthorizationServer::builder(ISSUER)
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
            AuthorizationServer::builder(ISSUER)
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
    let server = AuthorizationServer::builder(format!("{ISSUER}/tenant"))
        .resource(mcp_oauth_tower::Resource::new(NOTES).unwrap())
        .identity(mcp_oauth_tower::DevIdentity::default())
        .allow(AllowList::everybody())
        .store(MemoryStore::default())
        .device_authorization()
        .build()
        .unwrap();
    let device = begin_at(&server).await.unwrap();
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
