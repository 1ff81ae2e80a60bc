//! Remembered consent: one answer to one question, in one browser, for as long as what came of it can be used.

use std::time::Duration;

use mcp_oauth_core::secret::Secret;
use mcp_oauth_tests::application::{Answer, Application, FILES};
use mcp_oauth_tests::browser::{Browser, arrival, hidden_field};
use mcp_oauth_tests::client::{Client, Tokens, public_metadata};
use mcp_oauth_tower::PreregisteredClient;
use serde_json::json;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn application() -> Application {
    Application::new(|builder| builder.remember_consent(10 * DAY))
}

/// A client on the web, which has one place that codes for it are sent to.
async fn on_the_web(application: &Application) -> Client {
    let mut metadata = public_metadata();
    metadata["redirect_uris"] = json!(["https://client.example/callback", "https://client.example/other"]);
    Client::register(application, &metadata).await
}

fn url(client: &Client, changes: &[(&str, &str)]) -> String {
    let mut all = vec![("redirect_uri", "https://client.example/callback")];
    all.extend_from_slice(changes);
    client.authorization_url(&all)
}

fn is_the_consent_page(answer: &Answer) -> bool {
    answer.status == 200 && answer.body.contains(r#"name="decision" value="approve""#)
}

fn goes_to_sign_in(answer: &Answer) -> bool {
    answer.status == 303 && answer.header("location").contains("/development/sign-in?")
}

/// Allows it with a tick in the box, and gives the code.
async fn remember(browser: &mut Browser, application: &Application, url: &str, person: &str) -> String {
    let page = browser.open(application, url).await;
    assert!(page.body.contains(r#"name="remember""#), "{}", page.body);
    let fields = [
        ("transaction", hidden_field(&page, "transaction")),
        ("decision", "approve".to_owned()),
        ("remember", "yes".to_owned()),
    ];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let approved = browser.submit(application, "/consent", &fields).await;
    arrival(&browser.sign_in(application, &approved, person).await).code()
}

async fn redeem(application: &Application, client: &Client, code: &str) -> Tokens {
    let changes = [("redirect_uri", "https://client.example/callback")];
    Tokens::of(&client.redeem(application, code, &changes).await)
}

#[tokio::test]
async fn whoever_had_it_remembered_is_not_asked_again_and_still_signs_in() {
    let application = application();
    let client = on_the_web(&application).await;
    let mut browser = Browser::default();
    remember(&mut browser, &application, &url(&client, &[]), "ada").await;
    for _ in 0..2 {
        let answer = browser.open(&application, &url(&client, &[])).await;
        assert!(goes_to_sign_in(&answer), "{answer:?}");
        let code = arrival(&browser.sign_in(&application, &answer, "ada").await).code();
        redeem(&application, &client, &code).await;
    }
}

#[tokio::test]
async fn without_the_tick_or_without_the_operators_word_everybody_is_asked_each_time() {
    let remembering = application();
    let silent = Application::default();
    for application in [&remembering, &silent] {
        let client = on_the_web(application).await;
        let mut browser = Browser::default();
        browser.authorize(application, &url(&client, &[]), "ada").await;
        let again = browser.open(application, &url(&client, &[])).await;
        assert!(is_the_consent_page(&again));
        assert_eq!(
            again.body.contains(r#"name="remember""#),
            application.server.remembers_consent().is_some()
        );
    }
    // A tick that nobody was offered counts for nothing.
    let client = on_the_web(&silent).await;
    let mut browser = Browser::default();
    let page = browser.open(&silent, &url(&client, &[])).await;
    let transaction = hidden_field(&page, "transaction");
    let fields = [
        ("transaction", transaction.as_str()),
        ("decision", "approve"),
        ("remember", "yes"),
    ];
    let approved = browser.submit(&silent, "/consent", &fields).await;
    browser.sign_in(&silent, &approved, "ada").await;
    assert!(browser.cookie_names().is_empty(), "{:?}", browser.cookie_names());
}

/// V-33
#[tokio::test]
async fn another_question_is_asked() {
    let application = application();
    let client = on_the_web(&application).await;
    let other = on_the_web(&application).await;
    let mut browser = Browser::default();
    remember(
        &mut browser,
        &application,
        &url(&client, &[("scope", "notes:use")]),
        "ada",
    )
    .await;
    let others = [
        ("another client", url(&other, &[("scope", "notes:use")])),
        (
            "another redirect URI",
            url(
                &client,
                &[("scope", "notes:use"), ("redirect_uri", "https://client.example/other")],
            ),
        ),
        ("more scopes", url(&client, &[("scope", "notes:use offline_access")])),
        ("another resource", url(&client, &[("resource", FILES)])),
        (
            "prompt=consent",
            url(&client, &[("scope", "notes:use"), ("prompt", "consent")]),
        ),
    ];
    for (what, url) in others {
        assert!(is_the_consent_page(&browser.open(&application, &url).await), "{what}");
    }
    let same = browser
        .open(&application, &url(&client, &[("scope", "notes:use")]))
        .await;
    assert!(goes_to_sign_in(&same));
}

#[tokio::test]
async fn another_browser_and_another_person_are_asked() {
    let application = application();
    let client = on_the_web(&application).await;
    let mut browser = Browser::default();
    remember(&mut browser, &application, &url(&client, &[("state", "mine")]), "ada").await;
    let elsewhere = Browser::default().open(&application, &url(&client, &[])).await;
    assert!(is_the_consent_page(&elsewhere));

    let away = browser.open(&application, &url(&client, &[("state", "mine")])).await;
    let returned = browser.sign_in(&application, &away, "grace").await;
    assert!(returned.header("location").contains("/authorize?"), "{returned:?}");
    assert!(!returned.header("location").contains("code="), "{returned:?}");
    let page = browser.open(&application, returned.header("location")).await;
    assert!(is_the_consent_page(&page));
    // And what she allows then is a request like any other, with the client's own state.
    let approved = browser.decide(&application, &page, "approve").await;
    let arrived = arrival(&browser.sign_in(&application, &approved, "grace").await);
    assert_eq!(arrived.parameter("state").as_deref(), Some("mine"));
    redeem(&application, &client, &arrived.code()).await;
}

#[tokio::test]
async fn it_is_over_in_time_however_often_it_is_used() {
    let application = application();
    let client = on_the_web(&application).await;
    let mut browser = Browser::default();
    let code = remember(&mut browser, &application, &url(&client, &[]), "ada").await;
    redeem(&application, &client, &code).await;
    for _ in 0..9 {
        application.clock.advance(DAY);
        let away = browser.open(&application, &url(&client, &[])).await;
        assert!(goes_to_sign_in(&away), "{away:?}");
        let code = arrival(&browser.sign_in(&application, &away, "ada").await).code();
        redeem(&application, &client, &code).await;
    }
    application.clock.advance(DAY);
    assert!(is_the_consent_page(
        &browser.open(&application, &url(&client, &[])).await
    ));
}

#[tokio::test]
async fn it_ends_with_the_grant_whoever_ends_that() {
    let application = application();
    let client = on_the_web(&application).await;
    for how in [
        "the client gives its token back",
        "the person ends all",
        "the person ends it",
        "a code is used twice",
    ] {
        let mut browser = Browser::default();
        let code = remember(&mut browser, &application, &url(&client, &[]), "ada").await;
        let tokens = redeem(&application, &client, &code).await;
        assert!(
            goes_to_sign_in(&browser.open(&application, &url(&client, &[])).await),
            "{how}"
        );
        let account = application
            .server
            .account("development:ada", mcp_oauth_core::origin::Origin::unknown());
        match how {
            "the client gives its token back" => {
                let fields = [("token", tokens.refresh_token.as_str())];
                assert_eq!(client.post(&application, "/revoke", &fields).await.status, 200);
            }
            "the person ends all" => account.end_all().await.unwrap(),
            "the person ends it" => {
                for grant in account.grants().await.unwrap() {
                    account.end_grant(&grant.id).await.unwrap();
                }
            }
            _ => {
                let changes = [("redirect_uri", "https://client.example/callback")];
                let again = client.redeem(&application, &code, &changes).await;
                assert_eq!(again.error(), "invalid_grant");
            }
        }
        // The browser has the cookie still.
        let page = browser.open(&application, &url(&client, &[])).await;
        assert!(is_the_consent_page(&page), "{how}");
        application.clock.advance(Duration::from_secs(2));
    }
}

#[tokio::test]
async fn a_client_that_nobody_answers_for_is_not_remembered_where_any_program_could_be_it() {
    let application = application();
    for redirect_uri in [
        "http://127.0.0.1:7777/callback",
        "http://localhost/callback",
        "com.example.app:/callback",
        "urn:ietf:wg:oauth:2.0:oob",
    ] {
        let mut metadata = public_metadata();
        metadata["redirect_uris"] = json!([redirect_uri]);
        let client = Client::register(&application, &metadata).await;
        let mut browser = Browser::default();
        let url = client.authorization_url(&[("redirect_uri", redirect_uri)]);
        let page = browser.open(&application, &url).await;
        assert!(!page.body.contains(r#"name="remember""#), "{redirect_uri}");
        let transaction = hidden_field(&page, "transaction");
        let fields = [
            ("transaction", transaction.as_str()),
            ("decision", "approve"),
            ("remember", "yes"),
        ];
        let approved = browser.submit(&application, "/consent", &fields).await;
        browser.sign_in(&application, &approved, "ada").await;
        assert!(
            is_the_consent_page(&browser.open(&application, &url).await),
            "{redirect_uri}"
        );
    }
}

#[tokio::test]
async fn a_cookie_that_was_changed_or_is_for_something_else_is_none() {
    let application = application();
    let client = on_the_web(&application).await;
    let mut browser = Browser::default();
    let code = remember(&mut browser, &application, &url(&client, &[]), "ada").await;
    let tokens = redeem(&application, &client, &code).await;
    let name = browser.cookie_names()[0].to_owned();
    assert!(name.starts_with("mcp-oauth-consent-"), "{name}");
    let good = browser.cookie_value(&name).unwrap();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let changed = format!("{signed}.{}", "A".repeat(signature.len()));
    for value in ["", "x", &changed, &tokens.access_token] {
        let mut other = Browser::default();
        other.set_cookie(&name, value);
        let page = other.open(&application, &url(&client, &[])).await;
        assert!(is_the_consent_page(&page), "{value}");
    }
    let mut same = Browser::default();
    same.set_cookie(&name, &good);
    assert!(goes_to_sign_in(&same.open(&application, &url(&client, &[])).await));
    assert_eq!(
        application
            .call(mcp_oauth_tests::application::NOTES, &good)
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_browser_remembers_no_more_than_fits_into_a_header() {
    let application = application();
    let mut browser = Browser::default();
    for _ in 0..10 {
        let client = on_the_web(&application).await;
        remember(&mut browser, &application, &url(&client, &[]), "ada").await;
    }
    assert_eq!(browser.cookie_names().len(), 8);
    assert!(
        browser.cookie_header().len() < 6000,
        "{}",
        browser.cookie_header().len()
    );
}

#[tokio::test]
async fn the_page_says_who_is_signed_in_and_lets_somebody_else_begin() {
    let application = Application::default();
    let client = on_the_web(&application).await;
    let mut browser = Browser::default();
    let provider = [("provider", "development")];
    let away = browser.submit(&application, "/account/sign-in", &provider).await;
    browser.sign_in(&application, &away, "ada").await;
    let page = browser.open(&application, &url(&client, &[("state", "s")])).await;
    assert!(
        page.body.contains("Signed in here as <bdi>Ada Lovelace</bdi>"),
        "{}",
        page.body
    );

    // Somebody else signs in after all: they are asked, and nobody is named.
    let approved = browser.decide(&application, &page, "approve").await;
    let returned = browser.sign_in(&application, &approved, "grace").await;
    let asked = browser.open(&application, returned.header("location")).await;
    assert!(
        is_the_consent_page(&asked) && !asked.body.contains("Signed in here"),
        "{}",
        asked.body
    );

    // Or they say so at once.
    let away = browser.submit(&application, "/account/sign-in", &provider).await;
    browser.sign_in(&application, &away, "ada").await;
    let page = browser.open(&application, &url(&client, &[("state", "s")])).await;
    let fields = [
        ("csrf", hidden_field(&page, "csrf")),
        ("transaction", hidden_field(&page, "transaction")),
    ];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = browser.submit(&application, "/account/sign-out", &fields).await;
    let page = browser.open(&application, answer.header("location")).await;
    assert!(
        is_the_consent_page(&page) && !page.body.contains("Signed in here"),
        "{}",
        page.body
    );
    let approved = browser.decide(&application, &page, "approve").await;
    let arrived = arrival(&browser.sign_in(&application, &approved, "grace").await);
    assert_eq!(arrived.parameter("state").as_deref(), Some("s"));
}

#[tokio::test]
async fn a_client_that_the_operator_answers_for_is_remembered_at_exactly_one_address_of_a_machine() {
    let here = "http://127.0.0.1:7777/callback";
    let application = Application::new(|builder| {
        let editor = PreregisteredClient::public("editor").redirect_uri("http://127.0.0.1/callback");
        builder.client(editor).remember_consent(10 * DAY)
    });
    let client = Client {
        client_id: "editor".to_owned(),
        client_secret: None,
        verifier: Secret::random().expose().to_owned(),
    };
    let mut browser = Browser::default();
    let url = client.authorization_url(&[("redirect_uri", here)]);
    remember(&mut browser, &application, &url, "ada").await;
    assert!(goes_to_sign_in(&browser.open(&application, &url).await));
    let elsewhere = client.authorization_url(&[("redirect_uri", "http://127.0.0.1:8888/callback")]);
    assert!(is_the_consent_page(&browser.open(&application, &elsewhere).await));
}
