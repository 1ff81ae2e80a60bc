//! Which clients may begin on a device, and for what.

use mcp_oauth_store::MemoryStore;
use mcp_oauth_tests::application::{FILES, ISSUER, NOTES};
use mcp_oauth_tests::client::{Client, REDIRECT_URI, Tokens, public_metadata};
use mcp_oauth_tests::device::{DEVICE_GRANT, Device, application, device_metadata};
use mcp_oauth_tower::AllowList;
use serde_json::json;

use super::{begin_at, refused, with};

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
    let error = begin_at(&server).await.unwrap_err();
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
