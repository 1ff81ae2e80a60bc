//! What happens when the identity provider says no, says nothing, or says nonsense. Defect R13.

use std::time::Duration;

use mcp_oauth_core::identity::{Identity, IdentityError};
use mcp_oauth_tests::application::{Answer, Application};
use mcp_oauth_tests::browser::{Browser, arrival, hidden_field};
use mcp_oauth_tests::client::Client;
use mcp_oauth_tests::identity::ScriptedIdentity;
use mcp_oauth_tower::AllowList;
use url::Url;

struct SignIn {
    application: Application,
    client: Client,
    browser: Browser,
    state: String,
}

/// A sign-in that has arrived at the provider.
async fn at_provider(provider: &ScriptedIdentity, allow: &str) -> SignIn {
    let application = Application::new(|builder| {
        builder
            .identity(provider.clone())
            .allow(AllowList::parse(allow).unwrap())
    });
    let client = Client::public(&application).await;
    let mut browser = Browser::default();
    let consent = browser.open(&application, &client.authorization_url(&[])).await;
    let approved = browser.decide(&application, &consent, "approve").await;
    let state = state_of(&approved);
    SignIn {
        application,
        client,
        browser,
        state,
    }
}

fn state_of(answer: &Answer) -> String {
    let location: Url = answer.header("location").parse().unwrap();
    assert_eq!(location.host_str(), Some("provider.example"));
    location
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned()
}

impl SignIn {
    async fn returns(&mut self, parameters: &str) -> Answer {
        let path = format!("/callback?state={}&{parameters}", self.state);
        self.browser.open(&self.application, &path).await
    }
}

fn ada() -> Identity {
    Identity::new("scripted", "1").with_login("ada")
}

#[tokio::test]
async fn a_person_who_declines_at_the_provider_comes_back_to_the_client() {
    let mut sign_in = at_provider(&ScriptedIdentity::default(), "*").await;
    let arrived = arrival(&sign_in.returns("error=access_denied&error_description=no").await);
    assert_eq!(arrived.parameter("error").as_deref(), Some("access_denied"));
    assert_eq!(arrived.parameter("state").as_deref(), Some("state of the client"));
    assert!(arrived.parameter("iss").is_some());
}

/// Defect S9.
#[tokio::test]
async fn a_person_who_is_not_on_the_list_is_denied_and_an_empty_list_lets_nobody_in() {
    for (list, expected) in [
        ("grace", Some("access_denied")),
        ("", Some("access_denied")),
        ("grace, ADA", None),
        ("*", None),
    ] {
        let provider = ScriptedIdentity::default();
        let mut sign_in = at_provider(&provider, list).await;
        provider.then(Ok(ada()));
        let arrived = arrival(&sign_in.returns("code=x").await);
        assert_eq!(arrived.parameter("error").as_deref(), expected, "{list:?}");
        assert_eq!(arrived.parameter("code").is_some(), expected.is_none(), "{list:?}");
    }
}

#[tokio::test]
async fn a_provider_that_fails_for_a_moment_can_be_tried_again() {
    let provider = ScriptedIdentity::default();
    let mut sign_in = at_provider(&provider, "*").await;
    provider.then(Err(IdentityError::Unavailable {
        retry_after: Some(Duration::from_secs(30)),
        source: None,
    }));
    let page = sign_in.returns("code=x").await;
    assert_eq!(page.status, 503);
    assert_eq!(page.header("retry-after"), "30");
    assert!(page.body.contains("Try again"));

    let transaction = hidden_field(&page, "transaction");
    let fields = [("transaction", transaction.as_str()), ("decision", "approve")];
    let again = sign_in.browser.submit(&sign_in.application, "/consent", &fields).await;
    sign_in.state = state_of(&again);
    provider.then(Ok(ada()));
    let code = arrival(&sign_in.returns("code=y").await).code();
    assert_eq!(
        sign_in.client.redeem(&sign_in.application, &code, &[]).await.status,
        200
    );
}

#[tokio::test]
async fn a_person_may_give_up_on_a_provider_that_fails() {
    let provider = ScriptedIdentity::default();
    let mut sign_in = at_provider(&provider, "*").await;
    provider.then(Err(IdentityError::Unusable("the answer was not JSON".to_owned())));
    let page = sign_in.returns("code=x").await;
    assert_eq!(page.status, 502);
    let transaction = hidden_field(&page, "transaction");
    let fields = [("transaction", transaction.as_str()), ("decision", "deny")];
    let denied = arrival(&sign_in.browser.submit(&sign_in.application, "/consent", &fields).await);
    assert_eq!(denied.parameter("error").as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn any_error_of_the_provider_ends_on_a_page_and_none_of_its_words_reach_the_client() {
    for error in ["server_error", "temporarily_unavailable", "invalid_scope", "%3Csvg%3E"] {
        let mut sign_in = at_provider(&ScriptedIdentity::default(), "*").await;
        let page = sign_in
            .returns(&format!(
                "error={error}&error_description=%3Csvg%20onload%3Dx%3E&error_uri=https://evil.example"
            ))
            .await;
        assert!([502, 503].contains(&page.status.as_u16()), "{error}: {page:?}");
        assert!(!page.body.contains("<svg") && !page.body.contains("evil.example"));
    }
}
