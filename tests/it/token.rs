//! The token endpoint: codes and refresh tokens, who may use them, and what happens when they are used twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mcp_oauth_tests::application::{Answer, Application, FILES, NOTES, request};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tower::AllowList;
use tokio::sync::Barrier;

/// A public client that has a code of Ada's.
async fn with_a_code() -> (Application, Client, String) {
    let application = Application::default();
    let client = Client::public(&application).await;
    let code = client.code(&application, "ada").await;
    (application, client, code)
}

/// A public client that has tokens of Ada's.
async fn signed_in() -> (Application, Client, Tokens) {
    let application = Application::default();
    let client = Client::public(&application).await;
    let tokens = client.sign_in(&application, "ada").await;
    (application, client, tokens)
}

#[tokio::test]
async fn a_code_becomes_tokens_that_open_the_resource() {
    let (application, client, code) = with_a_code().await;
    let answer = client.redeem(&application, &code, &[]).await;
    assert_eq!(answer.json()["token_type"], "Bearer");
    assert_eq!(answer.json()["expires_in"], 3600);
    assert_eq!(answer.json()["scope"], "notes:use");
    let called = application.call(NOTES, &Tokens::of(&answer).access_token).await;
    assert_eq!(called.json()["subject"], "development:ada");
    assert_eq!(called.json()["client_id"], client.client_id.as_str());
}

/// Defect R12.
#[tokio::test]
async fn nobody_may_keep_an_answer_of_the_token_endpoint() {
    let (application, client, code) = with_a_code().await;
    for answer in [
        client.redeem(&application, &code, &[]).await,
        client.redeem(&application, "x", &[]).await,
    ] {
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

/// Defect S1.
#[tokio::test]
async fn a_confidential_client_has_to_show_its_secret() {
    let application = Application::default();
    let client = Client::confidential(&application).await;
    let code = client.code(&application, "ada").await;
    let secret = client.client_secret.clone();
    for wrong in [None, Some("wrong".to_owned()), Some(String::new())] {
        let thief = Client {
            client_secret: wrong,
            ..client.clone()
        };
        let refused = thief.redeem(&application, &code, &[]).await;
        assert_eq!(
            (refused.status.as_u16(), refused.error().as_str()),
            (401, "invalid_client"),
            "{:?}",
            thief.client_secret
        );
    }
    // None of that used the code up.
    let redeemed = Client {
        client_secret: secret,
        ..client
    }
    .redeem(&application, &code, &[])
    .await;
    assert_eq!(redeemed.status, 200);
}

#[tokio::test]
async fn a_secret_may_come_in_the_form_too() {
    let application = Application::default();
    let client = Client::confidential(&application).await;
    let code = client.code(&application, "ada").await;
    let in_form = Client {
        client_secret: None,
        ..client.clone()
    };
    let secret = client.client_secret.unwrap();
    assert_eq!(
        in_form
            .redeem(&application, &code, &[("client_secret", &secret)])
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_refused_header_is_answered_with_the_scheme_and_a_refused_form_is_not() {
    let application = Application::default();
    let client = Client {
        client_id: "client_unknown".to_owned(),
        client_secret: Some("x".to_owned()),
        verifier: "v".repeat(43),
    };
    let by_header = client.redeem(&application, "x", &[]).await;
    assert!(
        by_header.header("www-authenticate").starts_with("Basic"),
        "{by_header:?}"
    );
    let by_form = Client {
        client_secret: None,
        ..client
    }
    .redeem(&application, "x", &[])
    .await;
    assert_eq!(
        (by_form.status.as_u16(), by_form.error().as_str()),
        (401, "invalid_client")
    );
    assert_eq!(by_form.header("www-authenticate"), "");
}

/// Defect S2.
#[tokio::test]
async fn a_code_is_good_for_its_own_client_alone_and_stays_good_for_it() {
    let application = Application::default();
    let owner = Client::public(&application).await;
    let code = owner.code(&application, "ada").await;
    for other in [
        Client::public(&application).await,
        Client::confidential(&application).await,
    ] {
        let thief = Client {
            verifier: owner.verifier.clone(),
            ..other
        };
        assert_eq!(thief.redeem(&application, &code, &[]).await.error(), "invalid_grant");
    }
    assert_eq!(owner.redeem(&application, &code, &[]).await.status, 200);
}

/// Defect S5.
#[tokio::test]
async fn a_code_needs_the_verifier_of_its_challenge() {
    let (application, client, code) = with_a_code().await;
    let redeem = |verifier: String| {
        let (application, client, code) = (&application, &client, &code);
        async move {
            client
                .redeem(application, code, &[("code_verifier", &verifier)])
                .await
                .error()
        }
    };
    assert_eq!(redeem(String::new()).await, "invalid_request");
    assert_eq!(redeem("too-short".to_owned()).await, "invalid_request");
    assert_eq!(redeem("w".repeat(43)).await, "invalid_grant");
    assert_eq!(client.redeem(&application, &code, &[]).await.status, 200);
}

#[tokio::test]
async fn a_redirect_uri_is_compared_when_it_is_sent_and_not_demanded() {
    let (application, client, code) = with_a_code().await;
    let wrong = client
        .redeem(&application, &code, &[("redirect_uri", "http://127.0.0.1:1/callback")])
        .await;
    assert_eq!(wrong.error(), "invalid_grant");
    assert_eq!(
        client.redeem(&application, &code, &[("redirect_uri", "")]).await.status,
        200
    );
}

/// Defect S11.
#[tokio::test]
async fn a_code_is_good_for_a_minute() {
    let (application, client, code) = with_a_code().await;
    application.clock.advance(Duration::from_secs(59));
    assert_eq!(client.redeem(&application, &code, &[]).await.status, 200);
    let code = client.code(&application, "ada").await;
    application.clock.advance(Duration::from_secs(60));
    assert_eq!(client.redeem(&application, &code, &[]).await.error(), "invalid_grant");
}

/// Defect S4.
#[tokio::test]
async fn a_code_that_is_used_again_ends_everything_that_came_of_it() {
    let (application, client, code) = with_a_code().await;
    let tokens = Tokens::of(&client.redeem(&application, &code, &[]).await);
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
    assert_eq!(client.redeem(&application, &code, &[]).await.error(), "invalid_grant");
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 401);
    assert_eq!(
        client.refresh(&application, &tokens.refresh_token, &[]).await.error(),
        "invalid_grant"
    );
}

#[tokio::test]
async fn a_replay_by_somebody_who_lacks_the_verifier_changes_nothing() {
    let (application, client, code) = with_a_code().await;
    let tokens = Tokens::of(&client.redeem(&application, &code, &[]).await);
    let wrong_verifier = "w".repeat(43);
    client
        .redeem(&application, &code, &[("code_verifier", &wrong_verifier)])
        .await;
    let other = Client {
        verifier: client.verifier.clone(),
        ..Client::public(&application).await
    };
    other.redeem(&application, &code, &[]).await;
    let made_up = format!("{}.{}", code.split('.').next().unwrap(), "x".repeat(43));
    client.redeem(&application, &made_up, &[]).await;
    application.clock.advance(Duration::from_secs(5));
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
}

/// How many requests meet.
const AT_ONCE: usize = 64;

/// Defect S4.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_64_parallel_redemptions_of_one_code_one_succeeds() {
    let (application, client, code) = with_a_code().await;
    let answers = at_once(&application, &client, move |application, client| {
        let code = code.clone();
        async move { client.redeem(&application, &code, &[]).await }
    })
    .await;
    let (paid, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((paid.len(), refused.len()), (1, AT_ONCE - 1));
    for answer in refused {
        assert_eq!(
            (answer.status.as_u16(), answer.error().as_str()),
            (400, "invalid_grant")
        );
    }
    // Each of the others was a valid replay, so nothing is left of the grant.
    let tokens = Tokens::of(&paid[0]);
    let refresh = client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(refresh.error(), "invalid_grant");
}

/// Has this client do the same thing 64 times at the same moment, on several threads.
async fn at_once<F: Future<Output = Answer> + Send + 'static>(
    application: &Application,
    client: &Client,
    act: impl Fn(Application, Client) -> F,
) -> Vec<Answer> {
    let start = Arc::new(Barrier::new(AT_ONCE));
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (start, action) = (start.clone(), act(application.clone(), client.clone()));
            tokio::spawn(async move {
                start.wait().await;
                action.await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

/// Defect S3.
#[tokio::test]
async fn a_refresh_rotates_the_token_and_keeps_who_the_person_is() {
    let (application, client, first) = signed_in().await;
    let second = Tokens::of(&client.refresh(&application, &first.refresh_token, &[]).await);
    assert_ne!(first.refresh_token, second.refresh_token);
    assert_ne!(first.access_token, second.access_token);
    let called = application.call(NOTES, &second.access_token).await.json();
    assert_eq!(
        (called["username"].as_str(), called["name"].as_str()),
        (Some("ada"), Some("Ada Lovelace"))
    );
}

/// Defect S3.
#[tokio::test]
async fn a_refresh_token_is_good_for_its_own_client_alone() {
    let application = Application::default();
    let owner = Client::public(&application).await;
    let tokens = owner.sign_in(&application, "ada").await;
    let other = Client::public(&application).await;
    assert_eq!(
        other.refresh(&application, &tokens.refresh_token, &[]).await.error(),
        "invalid_grant"
    );
    assert_eq!(
        owner.refresh(&application, &tokens.refresh_token, &[]).await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_64_parallel_refreshes_of_one_token_each_gets_the_same_successor() {
    let (application, client, tokens) = signed_in().await;
    let first = tokens.refresh_token;
    let token = first.clone();
    let answers = at_once(&application, &client, move |application, client| {
        let token = token.clone();
        async move { client.refresh(&application, &token, &[]).await }
    })
    .await;
    assert_eq!(answers.len(), AT_ONCE);
    let tokens: Vec<Tokens> = answers.iter().map(Tokens::of).collect();
    let successors: BTreeSet<&str> = tokens.iter().map(|tokens| tokens.refresh_token.as_str()).collect();
    assert_eq!(successors.len(), 1, "one and the same successor");
    for tokens in &tokens {
        assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
    }
    let successor = client.refresh(&application, &tokens[0].refresh_token, &[]).await;
    assert_eq!(successor.status, 200, "which is good");
    // The token before the newest one, after the window.
    application.clock.advance(Duration::from_secs(61));
    let late = client.refresh(&application, &tokens[0].refresh_token, &[]).await;
    assert_eq!(late.error(), "invalid_grant");
    let newest = Tokens::of(&successor);
    let ended = client.refresh(&application, &newest.refresh_token, &[]).await;
    assert_eq!(ended.error(), "invalid_grant", "the grant has ended");
    assert_eq!(application.call(NOTES, &newest.access_token).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn the_token_that_64_have_refreshed_ends_the_grant_when_it_comes_after_the_window() {
    let (application, client, tokens) = signed_in().await;
    let first = tokens.refresh_token;
    let token = first.clone();
    let answers = at_once(&application, &client, move |application, client| {
        let token = token.clone();
        async move { client.refresh(&application, &token, &[]).await }
    })
    .await;
    application.clock.advance(Duration::from_secs(61));
    let late = client.refresh(&application, &first, &[]).await;
    assert_eq!(late.error(), "invalid_grant");
    for tokens in answers.iter().map(Tokens::of) {
        assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 401);
    }
    let successor = Tokens::of(&answers[0]).refresh_token;
    let ended = client.refresh(&application, &successor, &[]).await;
    assert_eq!(ended.error(), "invalid_grant");
}

/// Defect S3.
#[tokio::test]
async fn a_refresh_token_that_is_used_after_the_window_ends_the_grant() {
    let (application, client, first) = signed_in().await;
    let second = Tokens::of(&client.refresh(&application, &first.refresh_token, &[]).await);
    application.clock.advance(Duration::from_secs(61));
    assert_eq!(
        client.refresh(&application, &first.refresh_token, &[]).await.error(),
        "invalid_grant"
    );
    assert_eq!(
        client.refresh(&application, &second.refresh_token, &[]).await.error(),
        "invalid_grant"
    );
    assert_eq!(application.call(NOTES, &second.access_token).await.status, 401);
}

#[tokio::test]
async fn nothing_that_a_straggler_sends_within_the_window_ends_the_grant() {
    let (application, client, first) = signed_in().await;
    let mut newest = first.clone();
    for _ in 0..20 {
        newest = Tokens::of(&client.refresh(&application, &newest.refresh_token, &[]).await);
    }
    application.clock.advance(Duration::from_secs(59));
    assert_eq!(
        client.refresh(&application, &first.refresh_token, &[]).await.error(),
        "invalid_grant"
    );
    assert_eq!(
        client.refresh(&application, &newest.refresh_token, &[]).await.status,
        200
    );
}

#[tokio::test]
async fn a_token_that_the_grant_never_issued_ends_nothing() {
    let (application, client, first) = signed_in().await;
    let second = Tokens::of(&client.refresh(&application, &first.refresh_token, &[]).await);
    application.clock.advance(Duration::from_secs(61));
    for token in [&first.refresh_token, &second.refresh_token] {
        for position in [30, 60, token.len() - 1] {
            let mut made_up = token.clone().into_bytes();
            made_up[position] = if made_up[position] == b'A' { b'B' } else { b'A' };
            let made_up = String::from_utf8(made_up).unwrap();
            assert_eq!(
                client.refresh(&application, &made_up, &[]).await.error(),
                "invalid_grant"
            );
        }
    }
    assert_eq!(
        client.refresh(&application, &second.refresh_token, &[]).await.status,
        200
    );
}

/// Defect S3: the list is asked again at every refresh, so leaving it ends the sign-in.
#[tokio::test]
async fn a_person_who_is_no_longer_allowed_cannot_refresh() {
    let (application, client, tokens) = signed_in().await;
    let stricter = Application::with(application.store.clone(), application.clock.clone(), |builder| {
        builder.allow(AllowList::parse("grace").unwrap())
    });
    assert_eq!(
        client.refresh(&stricter, &tokens.refresh_token, &[]).await.error(),
        "invalid_grant"
    );
    assert_eq!(
        client.refresh(&application, &tokens.refresh_token, &[]).await.error(),
        "invalid_grant"
    );
}

#[tokio::test]
async fn a_person_who_is_no_longer_allowed_gets_nothing_for_a_code_or_a_repeat_either() {
    let (application, client, code) = with_a_code().await;
    let tokens = client.sign_in(&application, "ada").await;
    assert_eq!(
        client.refresh(&application, &tokens.refresh_token, &[]).await.status,
        200
    );
    let stricter = Application::with(application.store.clone(), application.clock.clone(), |builder| {
        builder.allow(AllowList::parse("grace").unwrap())
    });
    assert_eq!(client.redeem(&stricter, &code, &[]).await.error(), "invalid_grant");
    assert_eq!(
        client.refresh(&stricter, &tokens.refresh_token, &[]).await.error(),
        "invalid_grant"
    );
}

#[tokio::test]
async fn a_request_that_is_wrong_in_any_way_uses_nothing_up() {
    let (application, client, code) = with_a_code().await;
    for wrong in [
        "scope=a&scope=b",
        "resource=nowhere",
        "client_secret=a&client_secret=b",
        "code_verifier=a&code_verifier=b",
    ] {
        let form = format!(
            "grant_type=authorization_code&code={code}&client_id={}&code_verifier={}&{wrong}",
            client.client_id, client.verifier
        );
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = application
            .send(request(http::Method::POST, "/token", &headers, &form))
            .await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
    assert_eq!(client.redeem(&application, &code, &[]).await.status, 200);
}

#[tokio::test]
async fn a_window_of_nothing_answers_no_repeat() {
    let application = Application::new(|builder| {
        let mut lifetimes = mcp_oauth_core::server::builder::Lifetimes::default();
        lifetimes.grant.refresh_window = Duration::ZERO;
        builder.lifetimes(lifetimes)
    });
    let client = Client::public(&application).await;
    let tokens = client.sign_in(&application, "ada").await;
    assert_eq!(
        client.refresh(&application, &tokens.refresh_token, &[]).await.status,
        200
    );
    assert_eq!(
        client.refresh(&application, &tokens.refresh_token, &[]).await.error(),
        "invalid_grant"
    );
}

#[tokio::test]
async fn a_token_of_a_resource_without_scopes_names_none() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let url = client.authorization_url(&[("resource", FILES)]);
    let code = mcp_oauth_tests::browser::Browser::default()
        .authorize(&application, &url, "ada")
        .await
        .code();
    let answer = client.redeem(&application, &code, &[]).await.json();
    assert!(answer.get("scope").is_none(), "{answer}");
}

#[tokio::test]
async fn what_a_grant_is_for_is_told_to_its_owner_alone() {
    let (application, client, tokens) = signed_in().await;
    let grant = tokens.refresh_token.split('.').next().unwrap();
    let made_up = format!("{grant}.{}", "A".repeat(71));
    for resource in [NOTES, FILES] {
        let answer = client.refresh(&application, &made_up, &[("resource", resource)]).await;
        assert_eq!(answer.error(), "invalid_grant", "{resource}");
    }
}

#[tokio::test]
async fn a_refresh_token_that_is_not_used_for_30_days_is_gone() {
    let (application, client, tokens) = signed_in().await;
    application.clock.advance(Duration::from_secs(29 * 24 * 3600));
    let tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    application.clock.advance(Duration::from_secs(30 * 24 * 3600));
    assert_eq!(
        client.refresh(&application, &tokens.refresh_token, &[]).await.error(),
        "invalid_grant"
    );
}

#[tokio::test]
async fn a_token_request_may_narrow_resources_and_scopes_and_never_widen_them() {
    let (application, client, tokens) = signed_in().await;
    let widened = client
        .refresh(&application, &tokens.refresh_token, &[("resource", FILES)])
        .await;
    assert_eq!(widened.error(), "invalid_target");
    let more_scopes = client
        .refresh(
            &application,
            &tokens.refresh_token,
            &[("scope", "notes:use admin offline_access")],
        )
        .await;
    assert_eq!(more_scopes.json()["scope"], "notes:use");

    let both = format!("{}&resource={FILES}", client.authorization_url(&[]));
    let code = mcp_oauth_tests::browser::Browser::default()
        .authorize(&application, &both, "ada")
        .await
        .code();
    let for_files = Tokens::of(&client.redeem(&application, &code, &[("resource", FILES)]).await);
    assert_eq!(application.call(FILES, &for_files.access_token).await.status, 200);
    assert_eq!(application.call(NOTES, &for_files.access_token).await.status, 401);
}

#[tokio::test]
async fn a_client_that_registered_no_refresh_tokens_gets_none() {
    let application = Application::default();
    let mut metadata = mcp_oauth_tests::client::public_metadata();
    metadata["grant_types"] = serde_json::json!(["authorization_code"]);
    let client = Client::register(&application, &metadata).await;
    let code = client.code(&application, "ada").await;
    let answer = client.redeem(&application, &code, &[]).await.json();
    assert!(answer["access_token"].is_string() && answer.get("refresh_token").is_none());
    let refresh = client.refresh(&application, "x", &[]).await;
    assert_eq!(refresh.error(), "unauthorized_client");
}

#[tokio::test]
async fn other_grant_types_are_unsupported() {
    let application = Application::default();
    let client = Client::public(&application).await;
    for grant_type in ["password", "client_credentials", "implicit", "x"] {
        let answer = client.token(&application, &[("grant_type", grant_type)]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().as_str()),
            (400, "unsupported_grant_type")
        );
    }
}

#[tokio::test]
async fn every_step_takes_at_most_two_round_trips_to_the_store() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let count = |before: u64| application.store.operations() - before;
    let mut browser = mcp_oauth_tests::browser::Browser::default();

    let before = application.store.operations();
    let consent = browser.open(&application, &client.authorization_url(&[])).await;
    assert_eq!(
        count(before),
        3,
        "authorize: at the same time the client and the count of everybody; then the transaction"
    );

    let before = application.store.operations();
    let approved = browser.decide(&application, &consent, "approve").await;
    assert_eq!(count(before), 2, "consent: the transaction, read and replaced");

    let before = application.store.operations();
    let returned = browser.sign_in(&application, &approved, "ada").await;
    assert_eq!(
        count(before),
        5,
        "callback: the transaction; then, at the same time, its end, the grant, and the hints of its person and client"
    );

    let code = mcp_oauth_tests::browser::arrival(&returned).code();
    let before = application.store.operations();
    let tokens = Tokens::of(&client.redeem(&application, &code, &[]).await);
    assert_eq!(
        count(before),
        6,
        "token: at the same time the client, its mark and the grant; then the grant replaced, the client renewed, and the \
         mark of the person read"
    );

    application.call(NOTES, &tokens.access_token).await;
    let before = application.store.operations();
    application.call(NOTES, &tokens.access_token).await;
    assert_eq!(count(before), 0, "a verified request");
}

#[tokio::test]
async fn a_code_in_the_query_is_not_read() {
    let (application, client, code) = with_a_code().await;
    let path = format!(
        "/token?grant_type=authorization_code&code={code}&client_id={}&code_verifier={}",
        client.client_id, client.verifier
    );
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let answer = application.send(request(http::Method::POST, &path, &headers, "")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().as_str()),
        (400, "invalid_request")
    );
}
