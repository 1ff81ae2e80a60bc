//! Clients that the operator has configured.

use http::Method;
use mcp_oauth_core::client::preregistered::PreregisteredClient;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_core::store::Kind;
use mcp_oauth_tests::application::{Answer, Application, FILES, NOTES, request};
use mcp_oauth_tests::client::{Client, REDIRECT_URI, Tokens};
use mcp_oauth_tests::signing::{Signer, post, post_with_basic};
use mcp_oauth_tower::{AllowList, AuthorizationServer, ConfigurationError, DevIdentity, MemoryStore, Resource};
use serde_json::json;

const SECRET: &str = "a secret that somebody made up, 0123456789";

fn known(client_id: &str, client_secret: Option<&str>) -> Client {
    Client {
        client_id: client_id.to_owned(),
        client_secret: client_secret.map(str::to_owned),
        verifier: Secret::random().expose().to_owned(),
    }
}

#[tokio::test]
async fn a_configured_client_signs_in_and_has_no_record() {
    let application = Application::new(|builder| {
        builder
            .client(
                PreregisteredClient::public("editor")
                    .name("The editor")
                    .redirect_uri(REDIRECT_URI),
            )
            .client(PreregisteredClient::with_secret("web", Secret::from(SECRET)).redirect_uri(REDIRECT_URI))
    });
    for client in [known("editor", None), known("web", Some(SECRET))] {
        let page = application.get(&client.authorization_url(&[])).await;
        assert_eq!(page.status, 200);
        let tokens = client.sign_in(&application, "ada").await;
        let called = application.call(NOTES, &tokens.access_token).await.json();
        assert_eq!(called["client_id"], client.client_id.as_str());
        let refreshed = client.refresh(&application, &tokens.refresh_token, &[]).await;
        assert_eq!(refreshed.status, 200);
    }
    assert_eq!(application.store.inner().count_of(Kind::Client), 0);
    let page = application.get(&known("editor", None).authorization_url(&[])).await;
    assert!(page.body.contains("The editor"));
    let wrong = known("web", Some("another secret, 0123456789 0123456789"));
    let code = wrong.code(&application, "ada").await;
    assert_eq!(wrong.redeem(&application, &code, &[]).await.status, 401);
}

#[tokio::test]
async fn a_configured_client_never_expires() {
    let application =
        Application::new(|builder| builder.client(PreregisteredClient::public("editor").redirect_uri(REDIRECT_URI)));
    application
        .clock
        .advance(std::time::Duration::from_secs(10 * 365 * 24 * 60 * 60));
    known("editor", None).sign_in(&application, "ada").await;
}

#[tokio::test]
async fn a_redirect_uri_of_a_scheme_of_its_own_is_taken_word_for_word() {
    let uri = "cursor://anysphere.cursor-mcp/oauth/callback";
    let application =
        Application::new(|builder| builder.client(PreregisteredClient::public("editor").redirect_uri(uri)));
    let ask = |uri: &str| known("editor", None).authorization_url(&[("redirect_uri", uri)]);
    assert_eq!(application.get(&ask(uri)).await.status, 200);
    assert_eq!(application.get(&ask(&format!("{uri}/x"))).await.status, 400);
    assert_eq!(application.get(&ask("cursor://other/oauth/callback")).await.status, 400);
}

#[tokio::test]
async fn nobody_manages_a_configured_client_over_the_network() {
    let application = Application::new(|builder| {
        builder.client(PreregisteredClient::with_secret("web", Secret::from(SECRET)).redirect_uri(REDIRECT_URI))
    });
    for token in [SECRET, "nobody", ""] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let bearer = format!("Bearer {token}");
            let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
            let answer = application
                .send(request(method.clone(), "/register/web", &headers, "{}"))
                .await;
            assert_eq!(answer.status, 401, "{method}");
        }
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_be_is_refused_by_name() {
    let build = |clients: Vec<PreregisteredClient>| {
        let builder = AuthorizationServer::builder("http://127.0.0.1:8080")
            .resource(Resource::new(NOTES).unwrap())
            .identity(DevIdentity::default())
            .allow(AllowList::everybody())
            .store(MemoryStore::default());
        clients
            .into_iter()
            .fold(builder, AuthorizationServerBuilder::client)
            .build()
            .unwrap_err()
    };
    let twice = build(vec![
        PreregisteredClient::public("editor").redirect_uri(REDIRECT_URI),
        PreregisteredClient::public("editor").redirect_uri(REDIRECT_URI),
    ]);
    assert!(matches!(&twice, ConfigurationError::Client { client_id, .. } if client_id == "editor"));
    assert!(twice.to_string().contains("twice"), "{twice}");
    let weak = build(vec![PreregisteredClient::with_secret("web", Secret::from("hunter2"))]);
    assert!(weak.to_string().contains("32 characters"), "{weak}");
    assert!(!format!("{weak} {weak:?}").contains("hunter2"));
    let registered = build(vec![
        PreregisteredClient::public("client_AbC").redirect_uri(REDIRECT_URI),
    ]);
    assert!(registered.to_string().contains("client_"), "{registered}");
}

// === Resource servers that ask about tokens ===

/// A client that serves the first resource.
fn notes_server() -> PreregisteredClient {
    PreregisteredClient::with_secret("notes-server", Secret::from(SECRET)).introspects(NOTES)
}

async fn look(application: &Application, token: &str) -> Answer {
    let answer = post_with_basic(application, "/introspect", "notes-server", SECRET, &[("token", token)]).await;
    assert_eq!(answer.status, 200);
    answer
}

#[tokio::test]
async fn a_resource_server_asks_about_tokens_that_are_for_it_and_learns_of_no_others() {
    let application = Application::new(|builder| builder.client(notes_server()));
    let client = Client::public(&application).await;
    let tokens = client.sign_in(&application, "ada").await;
    let seen = look(&application, &tokens.access_token).await.json();
    assert_eq!((&seen["active"], &seen["aud"]), (&json!(true), &json!([NOTES])));
    assert_eq!(seen["client_id"], client.client_id.as_str());
    let inactive = json!({"active": false});
    assert_eq!(
        look(&application, &tokens.refresh_token).await.json(),
        inactive,
        "a refresh token is nobody's business but its client's"
    );
    let url = client.authorization_url(&[("resource", FILES)]);
    let code = mcp_oauth_tests::browser::Browser::default()
        .authorize(&application, &url, "ada")
        .await
        .code();
    let files = Tokens::of(&client.redeem(&application, &code, &[]).await);
    assert_eq!(look(&application, &files.access_token).await.json(), inactive);
    assert_eq!(look(&application, "x").await.json(), inactive);
}

#[tokio::test]
async fn a_resource_server_learns_at_once_what_has_ended() {
    let application = Application::new(|builder| builder.client(notes_server()));
    let registered = application
        .post_json("/register", &mcp_oauth_tests::client::public_metadata())
        .await
        .json();
    let client = known(registered["client_id"].as_str().unwrap(), None);
    let (first, second) = (
        client.sign_in(&application, "ada").await,
        client.sign_in(&application, "ada").await,
    );
    let form = [
        ("token", first.access_token.as_str()),
        ("client_id", client.client_id.as_str()),
    ];
    assert_eq!(application.post_form("/revoke", &form).await.status, 200);
    let inactive = json!({"active": false});
    assert_eq!(look(&application, &first.access_token).await.json(), inactive);
    assert_eq!(look(&application, &second.access_token).await.json()["active"], true);
    let bearer = format!("Bearer {}", registered["registration_access_token"].as_str().unwrap());
    let path = format!("/register/{}", client.client_id);
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(
        application
            .send(request(Method::DELETE, &path, &headers, ""))
            .await
            .status,
        204
    );
    assert_eq!(
        look(&application, &second.access_token).await.json(),
        inactive,
        "its client is gone"
    );
    let third = Client::public(&application).await.sign_in(&application, "ada").await;
    application.clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(
        look(&application, &third.access_token).await.json(),
        inactive,
        "it has expired"
    );
}

#[tokio::test]
async fn only_a_configured_resource_server_that_proves_itself_is_told() {
    let application = Application::new(|builder| {
        builder
            .client(notes_server())
            .client(PreregisteredClient::with_secret("other", Secret::from(SECRET)).introspects(FILES))
            .client(PreregisteredClient::public("public").introspects(NOTES))
    });
    let token = Client::public(&application)
        .await
        .sign_in(&application, "ada")
        .await
        .access_token;
    let fields = [("token", token.as_str())];
    let other = post_with_basic(&application, "/introspect", "other", SECRET, &fields).await;
    assert_eq!(other.json(), json!({"active": false}));
    let registered = Client::confidential(&application).await;
    let secret = registered.client_secret.clone().unwrap();
    let registered = post_with_basic(&application, "/introspect", &registered.client_id, &secret, &fields).await;
    assert_eq!(registered.json(), json!({"active": false}));
    let public = [fields.as_slice(), &[("client_id", "public")]].concat();
    assert_eq!(application.post_form("/introspect", &public).await.status, 401);
    let wrong = post_with_basic(&application, "/introspect", "notes-server", "wrong", &fields).await;
    assert_eq!(wrong.status, 401);
}

#[tokio::test]
async fn a_configured_client_may_have_keys() {
    let signer = Signer::new("a");
    let client = PreregisteredClient::with_keys("notes-server", signer.jwks()).introspects(NOTES);
    let application = Application::new(|builder| builder.client(client));
    let token = Client::public(&application)
        .await
        .sign_in(&application, "ada")
        .await
        .access_token;
    let assertion = signer.assertion(&application, "notes-server", &json!({}));
    let seen = post(&application, "/introspect", &assertion, &[("token", &token)]).await;
    assert_eq!(seen.json()["active"], true);
}
