//! What a person sees, and what nobody can make it say.

use mcp_oauth_tests::application::{Answer, Application};
use mcp_oauth_tests::browser::Browser;
use mcp_oauth_tests::client::{Client, public_metadata};
use serde_json::json;

pub(crate) const HOSTILE: &str = r#""><svg onload=alert(1)><script>alert(2)</script>'&amp;{{7*7}}"#;

pub(crate) fn assert_is_a_safe_page(page: &Answer) {
    assert!(
        page.header("content-type").starts_with("text/html; charset=utf-8"),
        "{page:?}"
    );
    let policy = page.header("content-security-policy");
    for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(directive), "{directive} in {policy}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains("form-action"),
        "{policy}"
    );
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert!(
        !page.body.contains("<svg") && !page.body.contains("<script"),
        "{}",
        page.body
    );
    assert!(
        !page.body.contains("src=") && !page.body.contains("http-equiv"),
        "{}",
        page.body
    );
}

#[tokio::test]
async fn a_logo_that_a_client_names_is_not_loaded() {
    let application = Application::default();
    let mut metadata = public_metadata();
    metadata["logo_uri"] = json!("https://client.example/logo.png");
    let client = Client::register(&application, &metadata).await;
    let page = application.get(&client.authorization_url(&[])).await;
    assert!(!page.body.contains("logo.png"));
    assert_is_a_safe_page(&page);
}

/// Every page, each with as much foreign text in it as can get there.
async fn pages(application: &Application) -> Vec<(&'static str, Answer)> {
    let mut metadata = public_metadata();
    metadata["client_name"] = json!(HOSTILE);
    let client = Client::register(application, &metadata).await;
    let mut browser = Browser::default();
    let consent = browser
        .open(application, &client.authorization_url(&[("state", HOSTILE)]))
        .await;
    let approved = browser.decide(application, &consent, "approve").await;
    let choice = browser.open(application, approved.header("location")).await;
    let encoded =
        mcp_oauth_tests::application::encode(&[("code", HOSTILE), ("error", HOSTILE), ("error_description", HOSTILE)]);
    vec![
        ("consent", consent),
        ("development sign-in", choice),
        (
            "unknown client",
            browser
                .open(application, &client.authorization_url(&[("client_id", HOSTILE)]))
                .await,
        ),
        (
            "redirect URI",
            browser
                .open(application, &client.authorization_url(&[("redirect_uri", HOSTILE)]))
                .await,
        ),
        (
            "callback",
            browser.open(application, &format!("/callback?{encoded}")).await,
        ),
        (
            "success",
            browser.open(application, &format!("/success?{encoded}")).await,
        ),
        (
            "consent form",
            browser
                .submit(
                    application,
                    "/consent",
                    &[("transaction", HOSTILE), ("decision", HOSTILE)],
                )
                .await,
        ),
    ]
}

/// Defect S8.
#[tokio::test]
async fn no_page_shows_foreign_text_as_anything_but_text() {
    let application = Application::default();
    for (name, page) in pages(&application).await {
        println!("{name}");
        assert_is_a_safe_page(&page);
    }
}

/// The page for codes is open to links from anywhere.
#[tokio::test]
async fn words_that_have_the_form_of_a_code_are_not_shown_as_one() {
    let application = Application::default();
    for words in ["Call 0800 555 123", "call-0800-555-123", &"x".repeat(44), ""] {
        let code = format!("{}.{words}", "A".repeat(22));
        let query = mcp_oauth_tests::application::encode(&[("code", &code)]);
        let page = application.get(&format!("/success?{query}")).await;
        assert_eq!(page.status, 400, "{words}");
        assert!(words.is_empty() || !page.body.contains(words), "{words}");
    }
}

#[tokio::test]
async fn every_page_says_when_people_are_made_up() {
    let application = Application::default();
    for (name, page) in pages(&application).await {
        assert!(page.body.contains("For development."), "{name}");
    }
}

#[tokio::test]
async fn with_a_real_identity_provider_no_page_speaks_of_development() {
    let application =
        Application::new(|builder| builder.identity(mcp_oauth_tests::identity::ScriptedIdentity::default()));
    let client = Client::public(&application).await;
    let consent = application.get(&client.authorization_url(&[])).await;
    assert!(!consent.body.contains("development"), "{}", consent.body);
    assert_eq!(application.get("/development/sign-in").await.status, 404);
}

#[tokio::test]
async fn each_page_has_a_style_nonce_of_its_own() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let mut policies = Vec::new();
    for _ in 0..2 {
        policies.push(
            application
                .get(&client.authorization_url(&[]))
                .await
                .header("content-security-policy")
                .to_owned(),
        );
    }
    assert_ne!(policies[0], policies[1]);
}

#[tokio::test]
async fn a_program_that_asks_for_json_gets_an_error_in_json() {
    let application = Application::default();
    let headers = [("accept", "application/json")];
    let answer = application
        .send(mcp_oauth_tests::application::request(
            http::Method::GET,
            "/authorize?client_id=nobody",
            &headers,
            "",
        ))
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().as_str()),
        (400, "invalid_client")
    );
}

#[tokio::test]
async fn a_client_that_returns_to_the_persons_own_machine_is_warned_of() {
    let application = Application::default();
    let client = Client::public(&application).await;
    assert!(
        application
            .get(&client.authorization_url(&[]))
            .await
            .body
            .contains("a program on this computer")
    );
    let uri = "https://client.example/cb";
    let client = Client::register(
        &application,
        &json!({"redirect_uris": [uri], "token_endpoint_auth_method": "none"}),
    )
    .await;
    let page = application
        .get(&client.authorization_url(&[("redirect_uri", uri)]))
        .await;
    assert!(page.body.contains("client.example") && !page.body.contains("a program on this computer"));
}

/// Where a test's own thread logs to.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_an_error_page_says_stands_in_the_log_under_the_reference_that_it_shows() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let application = Application::default();
    let page = {
        let _guard = tracing::subscriber::set_default(subscriber);
        application.get("/authorize?client_id=unknown").await
    };
    let at = page.body.find("Reference: <bdi>").expect("a reference") + "Reference: <bdi>".len();
    let reference = &page.body[at..at + 9];
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains(reference))
        .unwrap_or_else(|| panic!("{reference} in {log}"));
    assert!(line.contains("invalid_client") && line.contains("400"), "{line}");
}
