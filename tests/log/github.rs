//! Signing in with GitHub, well and badly, against a stand-in that repeats every secret in its failures.

use mcp_oauth_tests::application::{Application, NOTES};
use mcp_oauth_tests::browser::{Browser, arrival};
use mcp_oauth_tests::client::Client;
use mcp_oauth_tower::{AllowList, GitHub};
use serde_json::json;
use url::Url;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::capture::Log;
use crate::journey;
use crate::secrets::Secrets;

/// What one sign-in has of GitHub's.
struct Upstream {
    github: MockServer,
    application: Application,
    client: Client,
    browser: Browser,
    state: String,
    code: String,
    token: String,
}

impl Upstream {
    /// Somebody has consented and stands at GitHub's door.
    async fn begin(secrets: &mut Secrets, allow: &str) -> Self {
        let github = MockServer::start().await;
        let provider = GitHub::new("app-id", secrets.made_up("app secret"))
            .base_urls(&github.uri(), &github.uri())
            .unwrap()
            .provider_id("github");
        let allow = AllowList::parse(allow).unwrap();
        let application = Application::new(|builder| {
            let builder = builder.audit(Log::of_this_process().clone());
            builder.identity(provider).allow(allow)
        });
        let client = Client::confidential(&application).await;
        let mut browser = Browser::default();
        let consent = journey::open(secrets, &application, &client, &mut browser).await;
        let approved = browser.decide(&application, &consent, "approve").await;
        secrets.cookies(&browser);
        let at_github: Url = approved.header("location").parse().unwrap();
        let parameter = |name: &str| {
            let found = at_github.query_pairs().find(|(known, _)| known == name);
            found.unwrap().1.into_owned()
        };
        let state = parameter("state");
        secrets.add("upstream state", &state);
        Self {
            github,
            application,
            client,
            browser,
            state,
            code: secrets.made_up("upstream code"),
            token: format!("gho_{}", secrets.made_up("upstream token")),
        }
    }

    async fn answers(&self, at: &str, answer: ResponseTemplate) {
        Mock::given(path(at)).respond_with(answer).mount(&self.github).await;
    }

    async fn gives_token(&self) {
        let token = json!({"access_token": self.token, "token_type": "bearer", "scope": "read:user"});
        Mock::given(method("POST"))
            .and(path("/login/oauth/access_token"))
            .respond_with(ResponseTemplate::new(200).set_body_json(token))
            .mount(&self.github)
            .await;
    }

    async fn comes_back(&mut self) -> mcp_oauth_tests::application::Answer {
        let callback = format!("/callback?state={}&code={}", self.state, self.code);
        self.browser.open(&self.application, &callback).await
    }
}

/// As it should go, and somebody who is not on the list.
pub(crate) async fn signing_in(secrets: &mut Secrets) {
    let user = ResponseTemplate::new(200).set_body_json(json!({"id": 1, "login": "ada", "name": "Ada"}));
    let mut upstream = Upstream::begin(secrets, "ada").await;
    upstream.gives_token().await;
    upstream.answers("/user", user.clone()).await;
    let code = arrival(&upstream.comes_back().await).code();
    secrets.behind_the_dot("code", &code);
    let redeemed = upstream.client.redeem(&upstream.application, &code, &[]).await;
    let tokens = secrets.tokens(&redeemed);
    assert_eq!(upstream.application.call(NOTES, &tokens.access_token).await.status, 200);

    let mut upstream = Upstream::begin(secrets, "somebody-else").await;
    upstream.gives_token().await;
    upstream.answers("/user", user).await;
    let arrived = arrival(&upstream.comes_back().await);
    assert_eq!(arrived.parameter("error").as_deref(), Some("access_denied"));
}

/// A GitHub that fails, and that says every secret it was told while it does.
pub(crate) async fn failures(secrets: &mut Secrets) {
    for status in [200, 302, 400, 401, 403, 429, 500, 503] {
        let mut upstream = Upstream::begin(secrets, "*").await;
        let echo = format!("{} {} {}", upstream.code, upstream.token, upstream.state);
        let answer = ResponseTemplate::new(status)
            .insert_header("location", format!("http://127.0.0.1:9/{}", upstream.code))
            .set_body_json(json!({"error": "bad_verification_code", "error_description": echo, "message": echo}));
        upstream.answers("/login/oauth/access_token", answer).await;
        assert!(upstream.comes_back().await.status.as_u16() >= 500, "{status}");

        let mut upstream = Upstream::begin(secrets, "*").await;
        upstream.gives_token().await;
        let echo = format!("{{\"message\": \"{}\", \"id\": [", upstream.token);
        upstream
            .answers("/user", ResponseTemplate::new(status).set_body_string(echo))
            .await;
        assert!(upstream.comes_back().await.status.as_u16() >= 500, "{status}");
    }
    // Nobody is at home.
    let mut upstream = Upstream::begin(secrets, "*").await;
    upstream.github = MockServer::start().await;
    assert!(upstream.comes_back().await.status.as_u16() >= 500);
}
