//! The last that is let through and the first that is not, and what is told of each.

use mcp_oauth_core::audit::Outcome;
use mcp_oauth_core::client::ClientId;
use mcp_oauth_core::error::{ErrorCode, OAuthError};
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::server::authorize::{AuthorizeError, MAXIMUM_RESOURCES, MAXIMUM_STATE};
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_core::server::register::ClientInformation;
use mcp_oauth_core::transaction::Decision;
use mcp_oauth_tests::application::{Application, ISSUER, encode, request};
use mcp_oauth_tests::client::{Client, REDIRECT_URI, public_metadata};
use mcp_oauth_tests::events::Events;
use mcp_oauth_tests::identity::ScriptedIdentity;
use mcp_oauth_tower::{AllowList, AuthorizationServer, Fetcher, MemoryStore, Resource};
use serde_json::{Value, json};

/// A server on the web, with one resource more than a request may name.
fn on_the_web(configure: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder) -> AuthorizationServer {
    let builder = AuthorizationServer::builder("https://auth.example")
        .identity(ScriptedIdentity::default())
        .allow(AllowList::everybody())
        .store(MemoryStore::default());
    let builder = (0..=MAXIMUM_RESOURCES).fold(builder, |builder, number| {
        builder.resource(Resource::new(&resource(number)).unwrap())
    });
    configure(builder).build().unwrap()
}

fn resource(number: usize) -> String {
    format!("https://auth.example/{number}/mcp")
}

async fn register(server: &AuthorizationServer, metadata: &Value) -> Result<ClientInformation, ErrorCode> {
    let origin = Origin::unknown();
    let admitted = server.admit_registration(None, &origin).await.unwrap();
    let registered = server
        .register(metadata.to_string().as_bytes(), admitted, &origin)
        .await;
    registered.map_err(|error| OAuthError::from(&error).code())
}

/// An authorization request for this many resources.
fn request_for(client: &ClientInformation, resources: usize, state: &str) -> Parameters {
    let challenge = "c".repeat(43);
    let mut parameters = vec![
        ("client_id", client.client_id.as_str().to_owned()),
        ("redirect_uri", REDIRECT_URI.to_owned()),
        ("response_type", "code".to_owned()),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256".to_owned()),
        ("state", state.to_owned()),
    ];
    parameters.extend((0..resources).map(|number| ("resource", resource(number))));
    parameters
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[tokio::test]
async fn a_request_may_name_eight_resources_and_not_nine() {
    let server = on_the_web(|builder| builder);
    let client = register(&server, &public_metadata()).await.unwrap();
    let origin = Origin::unknown();
    let most = request_for(&client, MAXIMUM_RESOURCES, "x");
    let prompt = server.authorize(&most, &origin).await.unwrap();
    assert_eq!(prompt.resources.len(), MAXIMUM_RESOURCES);
    let one_more = request_for(&client, MAXIMUM_RESOURCES + 1, "x");
    let refused = server.authorize(&one_more, &origin).await.unwrap_err();
    assert_eq!(refused.error().code(), ErrorCode::InvalidTarget);
}

#[tokio::test]
async fn a_state_of_2048_bytes_comes_back_and_a_longer_one_is_refused() {
    let server = on_the_web(|builder| builder);
    let client = register(&server, &public_metadata()).await.unwrap();
    let origin = Origin::unknown();
    let longest = request_for(&client, 1, &"s".repeat(MAXIMUM_STATE));
    assert!(server.authorize(&longest, &origin).await.is_ok());
    let longer = request_for(&client, 1, &"s".repeat(MAXIMUM_STATE + 1));
    let refused = server.authorize(&longer, &origin).await.unwrap_err();
    assert_eq!(refused.error().code(), ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn a_redirect_shows_where_it_goes_and_not_what_it_carries() {
    let server = on_the_web(|builder| builder);
    let client = register(&server, &public_metadata()).await.unwrap();
    let wrong = request_for(&client, MAXIMUM_RESOURCES + 1, "the-clients-own");
    let refused = server.authorize(&wrong, &Origin::unknown()).await.unwrap_err();
    let AuthorizeError::Redirect { redirect, .. } = &refused else {
        panic!("{refused:?}");
    };
    assert!(redirect.location().contains("the-clients-own"));
    let shown = format!("{redirect:?}");
    assert!(
        shown.contains(REDIRECT_URI) && !shown.contains("the-clients-own"),
        "{shown}"
    );
}

#[tokio::test]
async fn where_a_person_signs_in_is_shown_without_what_is_sent_along() {
    let server = on_the_web(|builder| builder);
    let client = register(&server, &public_metadata()).await.unwrap();
    let origin = Origin::unknown();
    let prompt = server.authorize(&request_for(&client, 1, "x"), &origin).await.unwrap();
    let decided = server
        .consent(&prompt.transaction, Decision::Approve, Some(&prompt.browser), &origin)
        .await
        .unwrap();
    let shown = format!("{decided:?}");
    assert!(shown.contains("https://provider.example/authorize"), "{shown}");
    assert!(!shown.contains("state="), "{shown}");
}

#[tokio::test]
async fn nobody_answers_for_a_client_that_has_registered_itself() {
    let server = on_the_web(|builder| builder);
    let client = register(&server, &public_metadata()).await.unwrap();
    let prompt = server
        .authorize(&request_for(&client, 1, "x"), &Origin::unknown())
        .await
        .unwrap();
    assert!(!prompt.client_identity.is_verified());
}

#[tokio::test]
async fn keys_are_at_an_https_address_where_the_server_is_on_the_web() {
    let keys_at = |uri: &str| json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri});
    let server = on_the_web(|builder| builder.remote_keys(Fetcher::default()));
    assert!(register(&server, &keys_at("https://client.example/jwks")).await.is_ok());
    let refused = register(&server, &keys_at("http://127.0.0.1/jwks")).await;
    assert_eq!(refused.unwrap_err(), ErrorCode::InvalidClientMetadata);
}

#[tokio::test]
async fn what_a_registration_tells_a_program_is_what_it_tells_the_client() {
    let server = on_the_web(|builder| builder);
    let mut metadata = public_metadata();
    assert!(register(&server, &metadata).await.unwrap().client_secret().is_none());
    metadata["token_endpoint_auth_method"] = "client_secret_basic".into();
    let registered = register(&server, &metadata).await.unwrap();
    let told = serde_json::to_value(&registered).unwrap();
    assert_eq!(told["client_secret"], registered.client_secret().unwrap().expose());
}

#[tokio::test]
async fn a_server_is_ready_while_its_store_answers() {
    let application = Application::default();
    assert!(application.server.ready().await.is_ok());
    application.store.set_down(true);
    assert!(application.server.ready().await.is_err());
    assert!(format!("{:?}", application.server).contains(ISSUER));
}

#[tokio::test]
async fn whoever_shows_nothing_has_guessed_nothing() {
    let mut limits = Limits::unlimited();
    limits.failed_authentications_of_a_network = Quota::per_minute(1);
    let application = Application::new(|builder| builder.limits(limits));
    let body = encode(&[("client_id", "client_unknown"), ("token", "x")]);
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    for _ in 0..3 {
        let request = request(http::Method::POST, "/introspect", &headers, &body);
        assert_eq!(application.send_from("192.0.2.1", request).await.status, 401);
    }
}

/// An outage says nothing of what was shown.
#[tokio::test]
async fn what_could_not_be_looked_at_is_no_wrong_guess() {
    let mut limits = Limits::unlimited();
    limits.assertions_of_a_network = Quota::per_minute(1);
    limits.failed_authentications_of_a_network = Quota::per_minute(1);
    let application = Application::new(|builder| builder.limits(limits));
    let signer = mcp_oauth_tests::signing::Signer::new("a");
    let metadata = json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": signer.jwks()});
    let client = Client::register(&application, &metadata).await;
    let ask = async |assertion: &str| {
        let assertion_type = mcp_oauth_core::client::assertion::JWT_BEARER;
        let fields = [
            ("client_assertion_type", assertion_type),
            ("client_assertion", assertion),
            ("token", "x"),
        ];
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let request = request(http::Method::POST, "/introspect", &headers, &encode(&fields));
        application.send_from("192.0.2.1", request).await.status.as_u16()
    };
    for status in [200, 429, 429, 429] {
        let assertion = signer.assertion(&application, &client.client_id, &json!({}));
        assert_eq!(
            ask(&assertion).await,
            status,
            "no room for another assertion in this minute"
        );
    }
    assert_eq!(ask("a.b.c").await, 401, "and the first wrong one is the first");
}

#[tokio::test]
async fn whatever_is_done_with_a_registration_is_reported_with_its_outcome() {
    let kept = Events::default();
    let application = Application::new(|builder| builder.audit(kept.clone()));
    let registered = application.post_json("/register", &public_metadata()).await.json();
    let path = registered["registration_client_uri"].as_str().unwrap();
    let path = path.strip_prefix(ISSUER).unwrap();
    let right = registered["registration_access_token"].as_str().unwrap();
    for (method, token, body) in [
        ("GET", "wrong", ""),
        ("GET", right, ""),
        ("PUT", "wrong", "{}"),
        ("PUT", right, "{}"),
        ("DELETE", right, ""),
    ] {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        application
            .send(request(method.parse().unwrap(), path, &headers, body))
            .await;
    }
    let events: Vec<_> = kept.so_far().into_iter().skip(1).collect();
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let code = match &event.outcome {
                Outcome::Refused(error) => Some(error.code()),
                _ => None,
            };
            (event.action.as_str(), code)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("read_client", Some(ErrorCode::InvalidToken)),
            ("read_client", None),
            ("replace_client", Some(ErrorCode::InvalidToken)),
            ("replace_client", Some(ErrorCode::InvalidClientMetadata)),
            ("delete_client", None),
        ]
    );
    let client_id = registered["client_id"].as_str();
    assert!(
        events
            .iter()
            .all(|event| event.client_id.as_ref().map(ClientId::as_str) == client_id)
    );
}
