//! Giving tokens back (RFC 7009), and asking about them (RFC 7662). Defect R6.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_oauth_core::revocation::MAXIMUM_AGE;
use mcp_oauth_tests::application::{Answer, Application, FILES, NOTES, encode, request};
use mcp_oauth_tests::client::{Client, Tokens};

async fn send(application: &Application, client: &Client, path: &str, token: &str) -> Answer {
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
    let mut form = vec![("token", token)];
    match &client.client_secret {
        None => form.push(("client_id", &client.client_id)),
        Some(secret) => {
            let basic = STANDARD.encode(format!("{}:{secret}", client.client_id));
            headers.push(("authorization", format!("Basic {basic}")));
        }
    }
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    application
        .send(request(http::Method::POST, path, &headers, &encode(&form)))
        .await
}

#[tokio::test]
async fn whichever_token_is_given_back_the_grant_ends() {
    let application = Application::default();
    for client in [
        Client::public(&application).await,
        Client::confidential(&application).await,
    ] {
        for which in ["access", "refresh", "predecessor"] {
            let first = client.sign_in(&application, "ada").await;
            let second = Tokens::of(&client.refresh(&application, &first.refresh_token, &[]).await);
            let token = match which {
                "access" => &second.access_token,
                "refresh" => &second.refresh_token,
                _ => &first.refresh_token,
            };
            let answer = send(&application, &client, "/revoke", token).await;
            assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""), "{which}");
            assert_eq!(
                application.call(NOTES, &second.access_token).await.status,
                401,
                "{which}"
            );
            assert_eq!(
                client.refresh(&application, &second.refresh_token, &[]).await.error(),
                "invalid_grant"
            );
        }
    }
}

#[tokio::test]
async fn a_token_of_somebody_else_or_of_nobody_is_answered_alike_and_nothing_happens() {
    let application = Application::default();
    let owner = Client::public(&application).await;
    let tokens = owner.sign_in(&application, "ada").await;
    let mut made_up = tokens.refresh_token.clone();
    made_up.replace_range(40..41, if &made_up[40..41] == "A" { "B" } else { "A" });
    let stranger = Client::confidential(&application).await;
    for token in [
        &tokens.access_token,
        &tokens.refresh_token,
        &made_up,
        "x",
        "a.b.c",
        &"A".repeat(10_000),
    ] {
        assert_eq!(send(&application, &stranger, "/revoke", token).await.status, 200);
    }
    assert_eq!(send(&application, &owner, "/revoke", &made_up).await.status, 200);
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
    assert_eq!(
        owner.refresh(&application, &tokens.refresh_token, &[]).await.status,
        200
    );
}

#[tokio::test]
async fn a_client_that_does_not_prove_itself_is_told_so() {
    let application = Application::default();
    let client = Client::confidential(&application).await;
    let tokens = client.sign_in(&application, "ada").await;
    for path in ["/revoke", "/introspect"] {
        for secret in [None, Some("wrong".to_owned())] {
            let thief = Client {
                client_secret: secret,
                ..client.clone()
            };
            let answer = send(&application, &thief, path, &tokens.access_token).await;
            assert_eq!(
                (answer.status.as_u16(), answer.error().as_str()),
                (401, "invalid_client"),
                "{path}"
            );
        }
        let unknown = Client {
            client_id: "client_unknown".to_owned(),
            client_secret: None,
            ..client.clone()
        };
        assert_eq!(
            send(&application, &unknown, path, "x").await.error(),
            "invalid_client",
            "{path}"
        );
        assert_eq!(
            send(&application, &client, path, "").await.error(),
            "invalid_request",
            "{path}"
        );
    }
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
}

#[tokio::test]
async fn a_revocation_that_could_not_be_stored_is_no_success() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let tokens = client.sign_in(&application, "ada").await;
    application.store.set_down(true);
    let answer = send(&application, &client, "/revoke", &tokens.refresh_token).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    application.store.set_down(false);
    assert_eq!(
        send(&application, &client, "/revoke", &tokens.refresh_token)
            .await
            .status,
        200
    );
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 401);
}

#[tokio::test]
async fn a_client_is_told_of_its_own_good_tokens() {
    let application = Application::default();
    let client = Client::confidential(&application).await;
    let tokens = client.sign_in(&application, "ada").await;
    let answer = send(&application, &client, "/introspect", &tokens.access_token).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let said = answer.json();
    assert_eq!(said["active"], true);
    assert_eq!(said["sub"], "development:ada");
    assert_eq!(said["username"], "ada");
    assert_eq!(said["client_id"], client.client_id.as_str());
    assert_eq!(said["token_type"], "Bearer");
    assert_eq!(said["aud"], serde_json::json!([NOTES]));
    for name in ["scope", "exp", "iat", "iss", "jti"] {
        assert!(said.get(name).is_some_and(|value| !value.is_null()), "{name}");
    }
    let refresh = send(&application, &client, "/introspect", &tokens.refresh_token)
        .await
        .json();
    assert_eq!(
        (&refresh["active"], refresh.get("token_type")),
        (&serde_json::json!(true), None)
    );
}

#[tokio::test]
async fn of_everything_else_it_is_said_that_it_is_not_active_and_no_more() {
    let application = Application::default();
    let client = Client::confidential(&application).await;
    let other = Client::confidential(&application).await;
    let first = client.sign_in(&application, "ada").await;
    let second = Tokens::of(&client.refresh(&application, &first.refresh_token, &[]).await);
    let inactive = |answer: &Answer| answer.status == 200 && answer.body == r#"{"active":false}"#;
    for token in [&second.access_token, &second.refresh_token] {
        assert!(inactive(&send(&application, &other, "/introspect", token).await));
    }
    for token in ["x", "a.b.c", &first.refresh_token, &"A".repeat(10_000)] {
        assert!(inactive(&send(&application, &client, "/introspect", token).await));
    }
    send(&application, &client, "/revoke", &second.refresh_token).await;
    for token in [&second.access_token, &second.refresh_token] {
        assert!(inactive(&send(&application, &client, "/introspect", token).await));
    }
    let expired = client.sign_in(&application, "ada").await.access_token;
    application.clock.advance(std::time::Duration::from_secs(3600));
    assert!(inactive(&send(&application, &client, "/introspect", &expired).await));
}

#[tokio::test]
async fn a_public_client_proves_nothing_and_so_cannot_ask() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let tokens = client.sign_in(&application, "ada").await;
    let answer = send(&application, &client, "/introspect", &tokens.access_token).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().as_str()),
        (401, "invalid_client")
    );
}

/// What is known without looking at the token: good tokens that were here before, for as long as they are good, and nothing
/// else.
#[tokio::test]
async fn what_is_recalled_was_found_good_here_before_and_still_is() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let [tokens, other] = [
        client.sign_in(&application, "ada").await,
        client.sign_in(&application, "grace").await,
    ];
    let token = tokens.access_token.as_str();
    let recall = |token: &str, resource: &str| {
        let resource = resource.parse().unwrap();
        let recalled = application.server.recall_access_token(token.as_bytes(), &resource);
        recalled.map(|recalled| recalled.subject.clone())
    };
    assert_eq!(recall(token, NOTES), None, "it was never here");
    assert_eq!(application.call(NOTES, token).await.status, 200);
    let ada = recall(token, NOTES);
    assert!(ada.is_some());

    assert_eq!(application.call(FILES, token).await.status, 401);
    assert_eq!(recall(token, FILES), None, "it is for another resource");
    for (at, _) in token.char_indices() {
        let mut changed = token.to_owned();
        changed.replace_range(at..=at, if &token[at..=at] == "A" { "B" } else { "A" });
        assert_eq!(recall(&changed, NOTES), None, "{at}");
        assert_eq!(recall(&token[..at], NOTES), None, "{at}");
    }

    application.clock.advance(MAXIMUM_AGE);
    assert_eq!(
        recall(token, NOTES),
        None,
        "whether its grant has ended has to be asked"
    );
    assert_eq!(application.call(NOTES, token).await.status, 200);
    assert_eq!(recall(token, NOTES), ada);

    send(&application, &client, "/revoke", token).await;
    assert_eq!(recall(token, NOTES), None, "its grant has ended");

    assert_eq!(application.call(NOTES, &other.access_token).await.status, 200);
    application.clock.advance(Duration::from_secs(3600));
    assert_eq!(application.call(NOTES, &other.access_token).await.status, 401);
    assert_eq!(recall(&other.access_token, NOTES), None, "it has expired");
}
