//! Signing in with GitHub, from the consent page to the client, against a stand-in for GitHub.

use mcp_oauth_tests::application::{Answer, Application, NOTES};
use mcp_oauth_tests::browser::{Browser, arrival, hidden_field};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tower::{AllowList, GitHub};
use serde_json::json;
use url::Url;
use wiremock::matchers::{body_string_contains, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

struct SignIn {
    github: MockServer,
    application: Application,
    client: Client,
    browser: Browser,
    at_github: Url,
}

impl SignIn {
    /// Somebody has consented and stands at GitHub's door.
    async fn begin(allow: &str) -> Self {
        let github = MockServer::start().await;
        let provider = GitHub::new("app-id", "app-secret")
            .base_urls(&github.uri(), &github.uri())
            .unwrap();
        let provider = provider.provider_id("github");
        let allow = AllowList::parse(allow).unwrap();
        let application = Application::new(|builder| builder.identity(provider).allow(allow));
        let client = Client::public(&application).await;
        let mut browser = Browser::default();
        let consent = browser.open(&application, &client.authorization_url(&[])).await;
        let approved = browser.decide(&application, &consent, "approve").await;
        let at_github = approved.header("location").parse().unwrap();
        Self {
            github,
            application,
            client,
            browser,
            at_github,
        }
    }

    fn parameter(&self, name: &str) -> String {
        self.at_github
            .query_pairs()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
            .into_owned()
    }

    async fn github_answers_the_code_with(&self, answer: ResponseTemplate) {
        Mock::given(method("POST"))
            .and(path("/login/oauth/access_token"))
            .respond_with(answer)
            .mount(&self.github)
            .await;
    }

    async fn github_knows(&self, user: serde_json::Value) {
        let token = json!({"access_token": "gho_upstream", "token_type": "bearer", "scope": "read:user,user:email"});
        self.github_answers_the_code_with(ResponseTemplate::new(200).set_body_json(token))
            .await;
        Mock::given(method("GET"))
            .and(path("/user"))
            .and(header("authorization", "Bearer gho_upstream"))
            .respond_with(ResponseTemplate::new(200).set_body_json(user))
            .mount(&self.github)
            .await;
    }

    async fn return_from_github(&mut self, parameters: &str) -> Answer {
        let path = format!("/callback?state={}&{parameters}", self.parameter("state"));
        self.browser.open(&self.application, &path).await
    }
}

#[tokio::test]
async fn a_person_from_github_reaches_the_resource_under_their_number() {
    let mut sign_in = SignIn::begin("Ada").await;
    assert_eq!(sign_in.at_github.path(), "/login/oauth/authorize");
    assert_eq!(sign_in.parameter("client_id"), "app-id");
    assert_eq!(sign_in.parameter("redirect_uri"), "http://127.0.0.1:8080/callback");
    assert_eq!(sign_in.parameter("code_challenge_method"), "S256");

    sign_in
        .github_knows(json!({"id": 583_231, "login": "ada", "name": "Ada Lovelace"}))
        .await;
    let code = arrival(&sign_in.return_from_github("code=from-github").await).code();
    let tokens = Tokens::of(&sign_in.client.redeem(&sign_in.application, &code, &[]).await);
    let seen = sign_in.application.call(NOTES, &tokens.access_token).await.json();
    assert_eq!(seen["subject"], "github:583231");
    assert_eq!(
        (seen["username"].as_str(), seen["name"].as_str()),
        (Some("ada"), Some("Ada Lovelace"))
    );
}

#[tokio::test]
async fn nothing_of_githubs_reaches_the_client() {
    let mut sign_in = SignIn::begin("*").await;
    sign_in.github_knows(json!({"id": 1, "login": "ada"})).await;
    let arrived = arrival(
        &sign_in
            .return_from_github("code=from-github&iss=https://github.com/login/oauth")
            .await,
    );
    assert_eq!(
        arrived.parameter("iss").as_deref(),
        Some(mcp_oauth_tests::application::ISSUER)
    );
    let url = arrived.url.as_str();
    assert!(
        !url.contains("from-github") && !url.contains("gho_") && !url.contains("github.com"),
        "{url}"
    );
}

/// Defect S9.
#[tokio::test]
async fn a_person_from_github_who_is_not_on_the_list_is_denied() {
    for (list, allowed) in [
        ("", false),
        ("bob, carol", false),
        ("alice,  ADA", true),
        ("github:1", true),
    ] {
        let mut sign_in = SignIn::begin(list).await;
        sign_in.github_knows(json!({"id": 1, "login": "ada"})).await;
        let arrived = arrival(&sign_in.return_from_github("code=x").await);
        assert_eq!(arrived.parameter("code").is_some(), allowed, "{list:?}");
        assert_eq!(arrived.parameter("error").is_none(), allowed, "{list:?}");
    }
}

/// Defect R13.
#[tokio::test]
async fn declining_at_github_is_told_to_the_client() {
    let mut sign_in = SignIn::begin("*").await;
    let parameters = "error=access_denied&error_description=The+user+has+denied+your+application+access.&error_uri=x";
    let arrived = arrival(&sign_in.return_from_github(parameters).await);
    assert_eq!(arrived.parameter("error").as_deref(), Some("access_denied"));
    assert_eq!(arrived.parameter("state").as_deref(), Some("state of the client"));
}

#[tokio::test]
async fn each_failure_of_github_ends_on_a_page_from_which_one_can_try_again() {
    let rate_limited = ResponseTemplate::new(403)
        .insert_header("x-ratelimit-remaining", "0")
        .insert_header("retry-after", "42");
    let bad_code = json!({"error": "bad_verification_code", "error_description": "The code passed is incorrect"});
    for (what, answer, status) in [
        ("5xx", ResponseTemplate::new(503), 503),
        ("rate limit", rate_limited, 503),
        (
            "bad code with status 200",
            ResponseTemplate::new(200).set_body_json(bad_code),
            502,
        ),
        (
            "HTML",
            ResponseTemplate::new(200).set_body_string("<html>unicorn</html>"),
            502,
        ),
        ("empty", ResponseTemplate::new(200), 502),
        (
            "redirect",
            ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:9/"),
            502,
        ),
    ] {
        let mut sign_in = SignIn::begin("*").await;
        sign_in.github_answers_the_code_with(answer).await;
        let page = sign_in.return_from_github("code=first").await;
        assert_eq!(page.status, status, "{what}: {page:?}");
        assert!(
            page.body.contains("Try again") && !page.body.contains("unicorn"),
            "{what}"
        );

        sign_in.github.reset().await;
        sign_in.github_knows(json!({"id": 1, "login": "ada"})).await;
        let transaction = hidden_field(&page, "transaction");
        let fields = [("transaction", transaction.as_str()), ("decision", "approve")];
        let again = sign_in.browser.submit(&sign_in.application, "/consent", &fields).await;
        sign_in.at_github = again.header("location").parse().unwrap();
        assert!(
            !arrival(&sign_in.return_from_github("code=second").await)
                .code()
                .is_empty(),
            "{what}"
        );
    }
}

#[tokio::test]
async fn githubs_rate_limit_says_how_long_to_wait() {
    let mut sign_in = SignIn::begin("*").await;
    let limited = ResponseTemplate::new(429).insert_header("retry-after", "42");
    sign_in.github_answers_the_code_with(limited).await;
    assert_eq!(sign_in.return_from_github("code=x").await.header("retry-after"), "42");
}

#[tokio::test]
async fn each_sign_in_proves_itself_to_github_with_a_verifier_of_its_own() {
    let mut challenges = Vec::new();
    for _ in 0..2 {
        let mut sign_in = SignIn::begin("*").await;
        let token = json!({"access_token": "gho_upstream", "token_type": "bearer"});
        Mock::given(method("POST"))
            .and(path("/login/oauth/access_token"))
            .and(body_string_contains("code_verifier="))
            .respond_with(ResponseTemplate::new(200).set_body_json(token))
            .expect(1)
            .mount(&sign_in.github)
            .await;
        sign_in.return_from_github("code=x").await;
        challenges.push(sign_in.parameter("code_challenge"));
    }
    assert_ne!(challenges[0], challenges[1]);
}
