//! Everything that clients and people do, right and wrong.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use mcp_oauth_tests::application::{Answer, Application, FILES, ISSUER, NOTES, encode, request};
use mcp_oauth_tests::browser::{Browser, arrival, hidden_field};
use mcp_oauth_tests::client::{Client, Tokens, public_metadata};
use mcp_oauth_tests::failing_store::Loss;
use serde_json::{Value, json};

use crate::capture::Log;
use crate::secrets::Secrets;

/// An application whose audit events go into the log as they are.
fn application() -> Application {
    Application::new(|builder| builder.audit(Log::of_this_process().clone()))
}

/// Signs in as this person with everything noted down, up to the code.
pub(crate) async fn code(secrets: &mut Secrets, application: &Application, client: &Client, person: &str) -> String {
    let mut browser = Browser::default();
    let consent = open(secrets, application, client, &mut browser).await;
    let approved = browser.decide(application, &consent, "approve").await;
    secrets.cookies(&browser);
    let choice = browser.open(application, approved.header("location")).await;
    secrets.add("upstream state", hidden_field(&choice, "state"));
    let returned = browser.sign_in(application, &approved, person).await;
    secrets.cookies(&browser);
    let code = arrival(&returned).code();
    secrets.behind_the_dot("code", &code);
    code
}

/// Opens the consent page of a request with a state of its own.
pub(crate) async fn open(
    secrets: &mut Secrets,
    application: &Application,
    client: &Client,
    browser: &mut Browser,
) -> Answer {
    secrets.client(client);
    let state = secrets.made_up("client state");
    let url = client.authorization_url(&[("state", &state)]);
    let consent = browser.open(application, &url).await;
    assert_eq!(consent.status, 200, "{consent:?}");
    secrets.add("transaction", hidden_field(&consent, "transaction"));
    secrets.cookies(browser);
    consent
}

async fn sign_in(secrets: &mut Secrets, application: &Application, client: &Client) -> Tokens {
    let code = code(secrets, application, client, "ada").await;
    secrets.tokens(&client.redeem(application, &code, &[]).await)
}

/// Sends a token to an endpoint for tokens, with the client's authentication.
async fn send(application: &Application, client: &Client, path: &str, token: &str) -> Answer {
    let mut form = vec![("token", token)];
    let basic = client.client_secret.as_ref().map(|secret| {
        let encoded = STANDARD.encode(format!("{}:{secret}", client.client_id));
        format!("Basic {encoded}")
    });
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
    match &basic {
        None => form.push(("client_id", &client.client_id)),
        Some(basic) => headers.push(("authorization", basic)),
    }
    application
        .send(request(Method::POST, path, &headers, &encode(&form)))
        .await
}

/// Registers, reads, replaces and deletes, with the right token and with wrong ones.
pub(crate) async fn registration_and_management(secrets: &mut Secrets) {
    let application = application();
    let mut confidential = public_metadata();
    confidential["token_endpoint_auth_method"] = json!("client_secret_post");
    for metadata in [public_metadata(), confidential] {
        let registered = application.post_json("/register", &metadata).await.json();
        let text = |name: &str| registered[name].as_str().unwrap_or_default().to_owned();
        secrets.add("client secret", text("client_secret"));
        secrets.add("registration access token", text("registration_access_token"));
        let path = text("registration_client_uri").strip_prefix(ISSUER).unwrap().to_owned();
        let made_up = secrets.made_up("registration access token");
        let mut replacement = metadata.clone();
        replacement["client_id"] = registered["client_id"].clone();
        replacement["client_name"] = json!("Another name");
        let mut with_secret = replacement.clone();
        with_secret["client_secret"] = json!(secrets.made_up("client secret"));
        let right = text("registration_access_token");
        for (method, token, body, status) in [
            (Method::GET, &made_up, &Value::Null, 401),
            (Method::PUT, &made_up, &replacement, 401),
            (Method::DELETE, &made_up, &Value::Null, 401),
            (Method::GET, &right, &Value::Null, 200),
            (Method::PUT, &right, &with_secret, 400),
            (Method::PUT, &right, &replacement, 200),
            (Method::DELETE, &right, &Value::Null, 204),
            (Method::GET, &right, &Value::Null, 401),
        ] {
            let bearer = format!("Bearer {token}");
            let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
            let body = if body.is_null() {
                String::new()
            } else {
                body.to_string()
            };
            let answer = application.send(request(method.clone(), &path, &headers, &body)).await;
            assert_eq!(answer.status, status, "{method} {answer:?}");
            if answer.status == 200 {
                let renewed = &answer.json()["registration_access_token"];
                secrets.add("registration access token", renewed.as_str().unwrap_or_default());
            }
        }
    }
}

/// The whole life of grants: code, tokens, refresh, the window's repeat, and each way to the end.
pub(crate) async fn from_sign_in_to_the_end_of_the_grant(secrets: &mut Secrets) {
    let application = application();
    for client in [
        Client::public(&application).await,
        Client::confidential(&application).await,
    ] {
        let first = sign_in(secrets, &application, &client).await;
        assert_eq!(application.call(NOTES, &first.access_token).await.status, 200);
        let refresh = client.refresh(&application, &first.refresh_token, &[]).await;
        let second = secrets.tokens(&refresh);
        let repeat = secrets.tokens(&client.refresh(&application, &first.refresh_token, &[]).await);
        assert_eq!(second.refresh_token, repeat.refresh_token);
        for token in [&second.access_token, &second.refresh_token] {
            send(&application, &client, "/introspect", token).await;
        }
        // A replay after the window.
        application.clock.advance(Duration::from_secs(61));
        let replay = client.refresh(&application, &first.refresh_token, &[]).await;
        assert_eq!(replay.error(), "invalid_grant");
        assert_eq!(application.call(NOTES, &second.access_token).await.status, 401);

        // A replay of the code.
        let code = code(secrets, &application, &client, "ada").await;
        secrets.tokens(&client.redeem(&application, &code, &[]).await);
        assert_eq!(client.redeem(&application, &code, &[]).await.error(), "invalid_grant");

        let tokens = sign_in(secrets, &application, &client).await;
        for _ in 0..2 {
            let answer = send(&application, &client, "/revoke", &tokens.refresh_token).await;
            assert_eq!(answer.status, 200);
        }
        let tokens = sign_in(secrets, &application, &client).await;
        assert_eq!(
            send(&application, &client, "/revoke", &tokens.access_token)
                .await
                .status,
            200
        );
        assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 401);
    }
}

/// Authorization requests that lead nowhere.
pub(crate) async fn what_is_refused_at_the_authorization_endpoint(secrets: &mut Secrets) {
    let application = application();
    let client = Client::public(&application).await;
    let state = secrets.made_up("client state");
    for changes in [
        [("client_id", "client_unknown"), ("state", &state)],
        [("redirect_uri", "https://evil.example/callback"), ("state", &state)],
        [("code_challenge", "short"), ("state", &state)],
        [("resource", "https://elsewhere.example"), ("state", &state)],
        [("response_type", "token"), ("state", &state)],
    ] {
        application.get(&client.authorization_url(&changes)).await;
    }

    // Consent in another browser, denied, and a callback that nobody asked for.
    let mut browser = Browser::default();
    let consent = open(secrets, &application, &client, &mut browser).await;
    let stolen = Browser::default().decide(&application, &consent, "approve").await;
    assert_ne!(stolen.status, 303);
    let denied = browser.decide(&application, &consent, "deny").await;
    assert_eq!(arrival(&denied).parameter("error").as_deref(), Some("access_denied"));
    let mut browser = Browser::default();
    let consent = open(secrets, &application, &client, &mut browser).await;
    let approved = browser.decide(&application, &consent, "approve").await;
    secrets.cookies(&browser);
    let choice = browser.open(&application, approved.header("location")).await;
    let upstream = hidden_field(&choice, "state");
    secrets.add("upstream state", &upstream);
    let made_up = secrets.made_up("upstream code");
    for query in [
        format!("state={upstream}&code={made_up}"),
        format!("state={made_up}&code={made_up}"),
        format!("code={made_up}"),
        format!("state={upstream}&error=server_error&error_description={made_up}"),
    ] {
        Browser::default()
            .open(&application, &format!("/callback?{query}"))
            .await;
    }
    let refused = format!("/callback?state={upstream}&error=interaction%0Arequired_%3Cb%3E");
    assert_eq!(browser.open(&application, &refused).await.status, 502);
}

/// Codes and refresh tokens that are used wrongly, most of them good ones in the wrong place.
pub(crate) async fn what_is_refused_at_the_token_endpoint(secrets: &mut Secrets) {
    let application = application();
    let confidential = Client::confidential(&application).await;
    let other = Client::confidential(&application).await;
    secrets.client(&other);
    let tokens = sign_in(secrets, &application, &confidential).await;
    let code = code(secrets, &application, &confidential, "grace").await;
    let verifier = secrets.made_up("code verifier");
    let made_up_code = format!("{}.{verifier}", code.split('.').next().unwrap());
    for (answer, error) in [
        (
            other
                .redeem(&application, &code, &[("code_verifier", &confidential.verifier)])
                .await,
            "invalid_grant",
        ),
        (
            confidential
                .redeem(&application, &code, &[("code_verifier", &verifier)])
                .await,
            "invalid_grant",
        ),
        (
            confidential.redeem(&application, &made_up_code, &[]).await,
            "invalid_grant",
        ),
        (
            confidential.redeem(&application, &code, &[("resource", "x")]).await,
            "invalid_target",
        ),
        (
            confidential
                .redeem(&application, &code, &[("redirect_uri", "https://evil.example")])
                .await,
            "invalid_grant",
        ),
        (
            confidential
                .redeem(&application, &code, &[("client_id", &other.client_id)])
                .await,
            "invalid_request",
        ),
        (
            confidential
                .token(&application, &[("grant_type", "password"), ("password", &verifier)])
                .await,
            "unsupported_grant_type",
        ),
        (
            other.refresh(&application, &tokens.refresh_token, &[]).await,
            "invalid_grant",
        ),
        (
            confidential
                .refresh(&application, &tokens.refresh_token, &[("resource", FILES)])
                .await,
            "invalid_target",
        ),
        (
            confidential
                .refresh(&application, &format!("{}x", tokens.refresh_token), &[])
                .await,
            "invalid_grant",
        ),
    ] {
        assert_eq!(answer.error(), error, "{answer:?}");
    }
    application.clock.advance(Duration::from_secs(61));
    assert_eq!(
        confidential.redeem(&application, &code, &[]).await.error(),
        "invalid_grant"
    );
}

/// Clients that do not prove themselves, and access tokens where they do not belong.
pub(crate) async fn what_is_refused_elsewhere(secrets: &mut Secrets) {
    let application = application();
    let client = Client::public(&application).await;
    let confidential = Client::confidential(&application).await;
    let other = Client::confidential(&application).await;
    secrets.client(&other);
    let tokens = sign_in(secrets, &application, &confidential).await;
    let thief = Client {
        client_secret: Some(secrets.made_up("client secret")),
        ..confidential.clone()
    };
    for path in ["/revoke", "/introspect"] {
        let answer = send(&application, &thief, path, &tokens.refresh_token).await;
        assert_eq!(answer.status, 401);
        send(&application, &client, path, &tokens.refresh_token).await;
        send(&application, &other, path, &tokens.access_token).await;
    }
    let refused = thief.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(refused.error(), "invalid_client");

    let made_up = secrets.made_up("access token");
    let forged = format!("{}.{made_up}", tokens.access_token.rsplit_once('.').unwrap().0);
    for (resource, token) in [
        (FILES, &tokens.access_token),
        (NOTES, &forged),
        (NOTES, &made_up),
        (NOTES, &tokens.refresh_token),
    ] {
        assert_eq!(application.call(resource, token).await.status, 401);
    }
    let in_query = format!("/notes/mcp?access_token={}", tokens.access_token);
    application.get(&in_query).await;
    application.clock.advance(Duration::from_secs(3601));
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 401);
}

/// Each step without a store, and with one whose answer is lost.
pub(crate) async fn without_a_store(secrets: &mut Secrets) {
    let application = application();
    let client = Client::confidential(&application).await;
    let code = code(secrets, &application, &client, "ada").await;
    let tokens = sign_in(secrets, &application, &client).await;
    let mut browser = Browser::default();
    let consent = open(secrets, &application, &client, &mut browser).await;
    let mut later = Browser::default();
    let for_later = open(secrets, &application, &client, &mut later).await;
    let approved = later.decide(&application, &for_later, "approve").await;
    secrets.cookies(&later);
    let state = secrets.made_up("client state");

    application.store.set_down(true);
    application.clock.advance(Duration::from_secs(2));
    for answer in [
        application.post_json("/register", &public_metadata()).await,
        application.get(&client.authorization_url(&[("state", &state)])).await,
        browser.decide(&application, &consent, "approve").await,
        later.sign_in(&application, &approved, "ada").await,
        client.redeem(&application, &code, &[]).await,
        client.refresh(&application, &tokens.refresh_token, &[]).await,
        send(&application, &client, "/revoke", &tokens.refresh_token).await,
        send(&application, &client, "/introspect", &tokens.access_token).await,
        application.call(NOTES, &tokens.access_token).await,
    ] {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    application.store.set_down(false);

    application.store.fail_once(2, Loss::Answer);
    assert_eq!(client.redeem(&application, &code, &[]).await.status, 503);
    application.store.fail_once(2, Loss::Answer);
    let lost = client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(lost.status, 503);
    secrets.tokens(&client.refresh(&application, &tokens.refresh_token, &[]).await);
}
