//! The account page: what a person has let in, and how they end it.

use std::time::Duration;

use http::Method;
use mcp_oauth_core::server::session::SESSION_LIFETIME;
use mcp_oauth_tests::application::{Answer, Application, FILES, ISSUER, NOTES, encode, request};
use mcp_oauth_tests::browser::{Browser, hidden_field};
use mcp_oauth_tests::client::{Client, Tokens, public_metadata};
use mcp_oauth_tower::{AuthorizationServer, DevIdentity, MemoryStore, Pages, Resource, Routes};
use serde_json::json;
use tower::ServiceExt as _;

use crate::pages::{HOSTILE, assert_is_a_safe_page};

/// Signs in for oneself, and gives the answer of the callback.
async fn come_back(browser: &mut Browser, application: &Application, person: &str) -> Answer {
    let provider = [("provider", "development")];
    let away = browser.submit(application, "/account/sign-in", &provider).await;
    assert_eq!(away.status, 303, "{away:?}");
    browser.sign_in(application, &away, person).await
}

async fn sign_in(browser: &mut Browser, application: &Application, person: &str) -> Answer {
    let returned = come_back(browser, application, person).await;
    assert_eq!(returned.status, 303, "{returned:?}");
    assert_eq!(returned.header("location"), format!("{ISSUER}/account"));
    browser.open(application, "/account").await
}

/// A client that this person has let in, and its tokens.
async fn let_in(application: &Application, name: &str, person: &str) -> (Client, Tokens) {
    let mut metadata = public_metadata();
    metadata["client_name"] = json!(name);
    let client = Client::register(application, &metadata).await;
    let tokens = client.sign_in(application, person).await;
    (client, tokens)
}

fn grant_of(page: &Answer) -> String {
    let begin = r#"name="grant" value=""#;
    let at = page.body.find(begin).unwrap_or_else(|| panic!("no grant in {page:?}")) + begin.len();
    page.body[at..].split('"').next().unwrap().to_owned()
}

async fn press(browser: &mut Browser, application: &Application, page: &Answer, path: &str, grant: &str) -> Answer {
    let csrf = hidden_field(page, "csrf");
    browser
        .submit(application, path, &[("csrf", &csrf), ("grant", grant)])
        .await
}

#[tokio::test]
async fn a_person_sees_what_they_have_let_in_and_nothing_of_anybody_else() {
    let application = Application::default();
    let_in(&application, "Editor of Ada", "ada").await;
    let_in(&application, "Reader of Grace", "grace").await;
    let mut browser = Browser::default();
    let page = sign_in(&mut browser, &application, "ada").await;
    assert_is_a_safe_page(&page);
    for part in [
        "Signed in as <bdi>Ada Lovelace</bdi>",
        "Editor of Ada",
        "Nobody has checked who is behind it",
        "Notes",
        "use your notes",
        "Since",
        "Last used",
        "<time datetime=",
    ] {
        assert!(page.body.contains(part), "{part} in {}", page.body);
    }
    assert!(!page.body.contains("Grace"), "{}", page.body);
}

#[tokio::test]
async fn whoever_is_not_signed_in_sees_where_to_sign_in_and_nothing_else() {
    let application = Application::default();
    let_in(&application, "Editor of Ada", "ada").await;
    let page = application.get("/account").await;
    assert_is_a_safe_page(&page);
    assert!(page.body.contains("Sign in with <bdi>the development sign-in</bdi>"));
    assert!(!page.body.contains("Editor of Ada"));
}

#[tokio::test]
async fn ending_one_ends_its_tokens_and_no_others() {
    let application = Application::default();
    let (_, kept) = let_in(&application, "Kept", "ada").await;
    application.clock.advance(Duration::from_secs(5));
    let (client, ended) = let_in(&application, "Ended", "ada").await;
    let mut browser = Browser::default();
    let page = sign_in(&mut browser, &application, "ada").await;
    // What was used last comes first.
    let answer = press(&mut browser, &application, &page, "/account/end", &grant_of(&page)).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let page = browser.open(&application, answer.header("location")).await;
    assert!(page.body.contains("Its access has ended."), "{}", page.body);
    assert!(
        page.body.contains("Kept") && !page.body.contains(">Ended<"),
        "{}",
        page.body
    );
    assert_eq!(application.call(NOTES, &ended.access_token).await.status, 401);
    assert_eq!(application.call(NOTES, &kept.access_token).await.status, 200);
    let refreshed = client.refresh(&application, &ended.refresh_token, &[]).await;
    assert_eq!(refreshed.error(), "invalid_grant");
}

#[tokio::test]
async fn ending_all_ends_everything_of_this_person_and_nothing_of_another() {
    let application = Application::default();
    let (_, one) = let_in(&application, "One", "ada").await;
    let (_, other) = let_in(&application, "Other", "ada").await;
    let (_, of_grace) = let_in(&application, "Of Grace", "grace").await;
    let mut browser = Browser::default();
    let page = sign_in(&mut browser, &application, "ada").await;
    let answer = press(&mut browser, &application, &page, "/account/end-all", "").await;
    let page = browser.open(&application, answer.header("location")).await;
    assert!(page.body.contains("All access has ended.") && page.body.contains("Nothing has access"));
    for tokens in [one, other] {
        assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 401);
    }
    assert_eq!(application.call(NOTES, &of_grace.access_token).await.status, 200);
}

#[tokio::test]
async fn the_grant_of_somebody_else_cannot_be_ended() {
    let application = Application::default();
    let (_, of_grace) = let_in(&application, "Of Grace", "grace").await;
    let mut browser_of_grace = Browser::default();
    let grant = grant_of(&sign_in(&mut browser_of_grace, &application, "grace").await);
    let (_, _) = let_in(&application, "Of Ada", "ada").await;
    let mut browser = Browser::default();
    let page = sign_in(&mut browser, &application, "ada").await;
    let answer = press(&mut browser, &application, &page, "/account/end", &grant).await;
    assert_eq!(
        answer.header("location"),
        format!("{ISSUER}/account?done=nothing-ended")
    );
    assert_eq!(application.call(NOTES, &of_grace.access_token).await.status, 200);
}

#[tokio::test]
async fn a_form_needs_the_proof_of_its_own_session() {
    let application = Application::default();
    let (_, tokens) = let_in(&application, "Editor", "ada").await;
    let mut browser = Browser::default();
    let page = sign_in(&mut browser, &application, "ada").await;
    let grant = grant_of(&page);
    let mut elsewhere = Browser::default();
    let other = sign_in(&mut elsewhere, &application, "ada").await;
    for csrf in [String::new(), "x".repeat(43), hidden_field(&other, "csrf")] {
        for path in ["/account/end", "/account/end-all", "/account/sign-out"] {
            let fields = [("csrf", csrf.as_str()), ("grant", &grant)];
            let answer = browser.submit(&application, path, &fields).await;
            assert_eq!(answer.status, 403, "{path}");
            assert_is_a_safe_page(&answer);
        }
    }
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
    assert!(browser.open(&application, "/account").await.body.contains("Editor"));
}

#[tokio::test]
async fn a_form_that_another_site_sends_changes_nothing() {
    let application = Application::default();
    let (_, tokens) = let_in(&application, "Editor", "ada").await;
    let mut browser = Browser::default();
    let page = sign_in(&mut browser, &application, "ada").await;
    let fields = encode(&[("csrf", &hidden_field(&page, "csrf"))]);
    let cookie = browser.cookie_header();
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for path in ["/account/end-all", "/account/sign-out", "/account/sign-in"] {
            let headers = [
                ("content-type", "application/x-www-form-urlencoded"),
                ("cookie", &cookie),
                (name, value),
            ];
            let answer = application.send(request(Method::POST, path, &headers, &fields)).await;
            assert_eq!(answer.status, 403, "{name}: {value} at {path}");
        }
    }
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
}

#[tokio::test]
async fn a_session_is_over_after_a_quarter_of_an_hour_and_after_signing_out() {
    let application = Application::default();
    let (_, tokens) = let_in(&application, "Editor", "ada").await;
    let mut browser = Browser::default();
    let page = sign_in(&mut browser, &application, "ada").await;
    application.clock.advance(SESSION_LIFETIME);
    let answer = press(&mut browser, &application, &page, "/account/end-all", "").await;
    assert_eq!(answer.header("location"), format!("{ISSUER}/account?done=expired"));
    let later = browser.open(&application, answer.header("location")).await;
    assert!(later.body.contains("Nothing was changed") && !later.body.contains("Editor"));
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);

    let page = sign_in(&mut browser, &application, "ada").await;
    let answer = press(&mut browser, &application, &page, "/account/sign-out", "").await;
    let page = browser.open(&application, answer.header("location")).await;
    assert!(page.body.contains("You are signed out here.") && !page.body.contains("Editor"));
    assert!(browser.cookie_names().is_empty(), "{:?}", browser.cookie_names());
}

#[tokio::test]
async fn another_browser_cannot_finish_a_sign_in() {
    let application = Application::default();
    let mut browser = Browser::default();
    let away = browser
        .submit(&application, "/account/sign-in", &[("provider", "development")])
        .await;
    let mut other = Browser::default();
    let returned = other.sign_in(&application, &away, "ada").await;
    assert_eq!(returned.status, 400, "{returned:?}");
    assert!(other.cookie_names().is_empty());

    // Nor can the ticket of one sign-in finish another.
    let second = other
        .submit(&application, "/account/sign-in", &[("provider", "development")])
        .await;
    assert_eq!(second.status, 303);
    let own = other.cookie_values().remove(0);
    let first = browser.cookie_names()[0].to_owned();
    other.set_cookie(&first, &own);
    let swapped = other.sign_in(&application, &away, "ada").await;
    assert_eq!(swapped.status, 400, "{swapped:?}");
}

#[tokio::test]
async fn a_sign_in_that_took_too_long_is_over() {
    let application = Application::default();
    let mut browser = Browser::default();
    let away = browser
        .submit(&application, "/account/sign-in", &[("provider", "development")])
        .await;
    application.clock.advance(application.server.transaction_lifetime());
    let returned = browser.sign_in(&application, &away, "ada").await;
    assert_eq!(returned.status, 400, "{returned:?}");
}

#[tokio::test]
async fn what_was_there_before_the_sign_in_is_worth_nothing_after_it() {
    let application = Application::default();
    let mut browser = Browser::default();
    let away = browser
        .submit(&application, "/account/sign-in", &[("provider", "development")])
        .await;
    let before = browser.cookie_values();
    browser.sign_in(&application, &away, "ada").await;
    assert_eq!(browser.cookie_names(), ["mcp-oauth-session"]);
    for value in before {
        let mut fixed = Browser::default();
        fixed.set_cookie("mcp-oauth-session", &value);
        let page = fixed.open(&application, "/account").await;
        assert!(page.body.contains("Sign in to see"), "{}", page.body);
    }
}

#[tokio::test]
async fn no_token_is_a_session_and_no_session_is_a_token() {
    let application = Application::default();
    let (_, tokens) = let_in(&application, "Editor", "ada").await;
    let mut browser = Browser::default();
    browser.set_cookie("mcp-oauth-session", &tokens.access_token);
    let page = browser.open(&application, "/account").await;
    assert!(page.body.contains("Sign in to see"), "{}", page.body);
    sign_in(&mut browser, &application, "ada").await;
    let session = browser.cookie_value("mcp-oauth-session").unwrap();
    assert_eq!(application.call(NOTES, &session).await.status, 401);
}

#[tokio::test]
async fn a_changed_session_is_none() {
    let application = Application::default();
    let mut browser = Browser::default();
    sign_in(&mut browser, &application, "ada").await;
    let session = browser.cookie_value("mcp-oauth-session").unwrap();
    let (signed, signature) = session.rsplit_once('.').unwrap();
    let other = Application::default();
    assert!(other.get("/account").await.body.contains("Sign in to see"));
    let mut at_other = browser.clone();
    for page in [at_other.open(&other, "/account").await, {
        at_other.set_cookie(
            "mcp-oauth-session",
            &format!("{signed}.{}", "A".repeat(signature.len())),
        );
        at_other.open(&application, "/account").await
    }] {
        assert!(page.body.contains("Sign in to see"), "{}", page.body);
    }
}

#[tokio::test]
async fn without_the_store_nobody_is_told_that_nothing_has_access_or_that_it_has_ended() {
    let application = Application::default();
    let (_, tokens) = let_in(&application, "Editor", "ada").await;
    let mut browser = Browser::default();
    let page = sign_in(&mut browser, &application, "ada").await;
    application.store.set_down(true);
    let answers = [
        browser.open(&application, "/account").await,
        press(&mut browser, &application, &page, "/account/end", &grant_of(&page)).await,
        press(&mut browser, &application, &page, "/account/end-all", "").await,
    ];
    for answer in answers {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.header("retry-after"), "1");
        assert!(!answer.body.contains("Nothing has access") && !answer.body.contains("has ended"));
    }
    application.store.set_down(false);
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
}

#[tokio::test]
async fn declining_at_the_provider_ends_on_a_page_that_leads_back() {
    let application = Application::default();
    let mut browser = Browser::default();
    let away = browser
        .submit(&application, "/account/sign-in", &[("provider", "development")])
        .await;
    let choice = browser.open(&application, away.header("location")).await;
    let callback = encode(&[("state", &hidden_field(&choice, "state")), ("error", "access_denied")]);
    let page = browser.open(&application, &format!("/callback?{callback}")).await;
    assert_eq!(page.status, 403);
    assert!(page.body.contains("declined") && page.body.contains(r#"href="/account""#));
    assert!(browser.cookie_names().is_empty());
}

#[tokio::test]
async fn what_a_client_calls_itself_is_shown_as_text() {
    let application = Application::default();
    let_in(&application, HOSTILE, "ada").await;
    let page = sign_in(&mut Browser::default(), &application, "ada").await;
    assert_is_a_safe_page(&page);
    assert!(page.body.contains("&#60;svg onload") || page.body.contains("&lt;svg onload"));
}

#[tokio::test]
async fn somebody_with_nothing_is_told_so() {
    let application = Application::default();
    let page = sign_in(&mut Browser::default(), &application, "grace").await;
    assert!(page.body.contains("Nothing has access") && !page.body.contains("End all access"));
}

#[tokio::test]
async fn a_provider_that_there_is_not_ends_on_a_page() {
    let application = Application::default();
    for provider in ["", "github", HOSTILE] {
        let answer = application
            .post_form("/account/sign-in", &[("provider", provider)])
            .await;
        assert_eq!(answer.status, 400, "{provider}");
        assert_is_a_safe_page(&answer);
    }
}

#[tokio::test]
async fn the_account_page_can_be_left_out() {
    let server = AuthorizationServer::builder(ISSUER)
        .resource(Resource::new(FILES).unwrap())
        .identity(DevIdentity::default())
        .allow(mcp_oauth_tower::AllowList::everybody())
        .store(MemoryStore::default())
        .build()
        .unwrap();
    let without = Routes::new(&server)
        .pages(Pages::default().without_account())
        .into_router();
    let with = Routes::new(&server).into_router();
    for (router, status) in [(without, 404), (with, 200)] {
        let answer = router.oneshot(request(Method::GET, "/account", &[], "")).await.unwrap();
        assert_eq!(answer.status(), status);
    }
}

#[tokio::test]
async fn on_https_the_cookies_are_of_this_host_alone() {
    let server = AuthorizationServer::builder("https://auth.example")
        .resource(Resource::new("https://auth.example/mcp").unwrap())
        .identity(mcp_oauth_tests::identity::ScriptedIdentity::default())
        .allow(mcp_oauth_tower::AllowList::everybody())
        .store(MemoryStore::default())
        .build()
        .unwrap();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let away = Routes::new(&server)
        .into_router()
        .oneshot(request(Method::POST, "/account/sign-in", &form, "provider=scripted"))
        .await
        .unwrap();
    let cookie = away.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-mcp-oauth-session-ticket-"), "{cookie}");
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Max-Age=600"] {
        assert!(cookie.contains(attribute), "{attribute} in {cookie}");
    }
}

#[tokio::test]
async fn sign_ins_are_counted_like_authorization_requests() {
    use mcp_oauth_core::limits::{Limits, Quota};

    let mut limits = Limits::default();
    limits.authorizations = Quota::per_minute(2);
    let application = Application::new(|builder| builder.limits(limits));
    let provider = [("provider", "development")];
    for status in [303, 303, 429] {
        let answer = application.post_form("/account/sign-in", &provider).await;
        assert_eq!(answer.status, status, "{answer:?}");
        if status == 429 {
            assert_ne!(answer.header("retry-after"), "");
            assert_is_a_safe_page(&answer);
        }
    }
}
