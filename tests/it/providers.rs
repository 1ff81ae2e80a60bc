//! Several identity providers at once: people choose, and none of them can speak for another's people.

use mcp_oauth_core::identity::{Identity, IdentityProvider};
use mcp_oauth_core::server::builder::ConfigurationError;
use mcp_oauth_tests::application::{Answer, Application, ISSUER, NOTES, notes};
use mcp_oauth_tests::browser::{Browser, arrival, hidden_field};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::identity::ScriptedIdentity;
use mcp_oauth_tower::{AllowList, AuthorizationServer, DevIdentity, MemoryStore};
use url::Url;

/// Somebody who has approved and chooses between two scripted providers.
struct Choosing {
    application: Application,
    client: Client,
    browser: Browser,
    one: ScriptedIdentity,
    other: ScriptedIdentity,
    page: Answer,
}

impl Choosing {
    async fn begin(allow: &str) -> Self {
        let (one, other) = (ScriptedIdentity::called("one"), ScriptedIdentity::called("other"));
        let application = Application::new(|builder| {
            builder
                .identity(one.clone())
                .also_sign_in_with(other.clone())
                .allow(AllowList::parse(allow).unwrap())
        });
        let client = Client::public(&application).await;
        let mut browser = Browser::default();
        let consent = browser.open(&application, &client.authorization_url(&[])).await;
        let approved = browser.decide(&application, &consent, "approve").await;
        let page = browser.open(&application, approved.header("location")).await;
        Self {
            application,
            client,
            browser,
            one,
            other,
            page,
        }
    }

    /// Presses a button, and says where it leads.
    async fn choose(&mut self, provider: &str) -> Url {
        let answer = self.press(provider).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        answer.header("location").parse().unwrap()
    }

    async fn press(&mut self, provider: &str) -> Answer {
        let transaction = hidden_field(&self.page, "transaction");
        let fields = [("transaction", transaction.as_str()), ("provider", provider)];
        self.browser.submit(&self.application, "/sign-in", &fields).await
    }

    async fn returns(&mut self, callback: &str, state: &str) -> Answer {
        let path = format!("{callback}?state={state}&code=x");
        self.browser.open(&self.application, &path).await
    }

    async fn subject(&self, answer: &Answer) -> String {
        let code = arrival(answer).code();
        let tokens = Tokens::of(&self.client.redeem(&self.application, &code, &[]).await);
        let seen = self.application.call(NOTES, &tokens.access_token).await.json();
        seen["subject"].as_str().unwrap().to_owned()
    }
}

fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs()
        .find(|(known, _)| known == name)
        .unwrap()
        .1
        .into_owned()
}

#[tokio::test]
async fn a_person_chooses_where_to_sign_in_and_comes_back_from_there() {
    for (provider, callback) in [("one", "/callback"), ("other", "/callback/other")] {
        let mut choosing = Choosing::begin("*").await;
        for name in ["The provider one", "The provider other"] {
            assert!(choosing.page.body.contains(name), "{:?}", choosing.page);
        }
        let there = choosing.choose(provider).await;
        assert_eq!(parameter(&there, "redirect_uri"), format!("{ISSUER}{callback}"));
        let who = Identity::new(provider, "1");
        let at = if provider == "one" {
            &choosing.one
        } else {
            &choosing.other
        };
        at.then(Ok(who));
        let returned = choosing.returns(callback, &parameter(&there, "state")).await;
        assert_eq!(choosing.subject(&returned).await, format!("{provider}:1"));
    }
}

#[tokio::test]
async fn the_consent_page_names_every_place_and_a_single_one_is_not_asked_for() {
    let choosing = Choosing::begin("*").await;
    let mut browser = Browser::default();
    let consent = browser
        .open(&choosing.application, &choosing.client.authorization_url(&[]))
        .await;
    assert!(
        consent.body.contains("The provider one or The provider other"),
        "{consent:?}"
    );

    let alone = Application::default();
    assert_eq!(alone.get("/sign-in").await.status, 404);
    assert_eq!(alone.get("/callback/development").await.status, 404);
}

/// V-35, V-39.
#[tokio::test]
async fn what_was_begun_at_one_provider_cannot_be_finished_at_another() {
    let mut choosing = Choosing::begin("*").await;
    let at_one = choosing.choose("one").await;
    let at_other = choosing.choose("other").await;
    assert_ne!(parameter(&at_one, "state"), parameter(&at_other, "state"));
    for (callback, state) in [
        ("/callback/other", &at_one),
        ("/callback", &at_other),
        ("/callback/one", &at_other),
    ] {
        let refused = choosing.returns(callback, &parameter(state, "state")).await;
        assert_eq!(refused.status, 400, "{callback}: {refused:?}");
        assert!(refused.header("location").is_empty());
    }
    for unknown in ["/callback/third", "/callback/", "/callback/..%2fcallback"] {
        let refused = choosing.returns(unknown, &parameter(&at_one, "state")).await;
        assert!(refused.status.is_client_error(), "{unknown}: {refused:?}");
    }
    // Whoever changed their mind and then went back finishes what they went back to.
    choosing.one.then(Ok(Identity::new("one", "1")));
    let returned = choosing.returns("/callback", &parameter(&at_one, "state")).await;
    assert_eq!(choosing.subject(&returned).await, "one:1");
}

#[tokio::test]
async fn the_choice_is_for_the_browser_that_approved_and_for_providers_that_are_there() {
    let mut choosing = Choosing::begin("*").await;
    assert_eq!(choosing.press("third").await.status, 400);
    let transaction = hidden_field(&choosing.page, "transaction");
    let mut stranger = Browser::default();
    let fields = [("transaction", transaction.as_str()), ("provider", "one")];
    let refused = stranger.submit(&choosing.application, "/sign-in", &fields).await;
    assert_eq!(refused.status, 400);
    let path = format!("/sign-in?transaction={transaction}");
    assert_eq!(stranger.open(&choosing.application, &path).await.status, 400);
    assert_eq!(
        choosing.browser.open(&choosing.application, &path).await.status,
        200,
        "loading it again is fine"
    );

    // Not before consent.
    let mut browser = Browser::default();
    let consent = browser
        .open(&choosing.application, &choosing.client.authorization_url(&[]))
        .await;
    let transaction = hidden_field(&consent, "transaction");
    let fields = [("transaction", transaction.as_str()), ("provider", "one")];
    assert_eq!(
        browser.submit(&choosing.application, "/sign-in", &fields).await.status,
        400
    );
}

/// V-42: the same login, address or group at another provider is somebody else's.
#[tokio::test]
async fn a_provider_cannot_call_its_people_what_lets_those_of_another_in() {
    let ada = |provider: &str| {
        Identity::new(provider, "1")
            .with_login("ada")
            .with_verified_email("ada@acme.example")
            .with_memberships(["group=staff".parse().unwrap()])
    };
    for list in [
        "one/ada",
        "one/email=ada@acme.example",
        "one/domain=acme.example",
        "one/group=staff",
        "one/*",
        "one:1",
    ] {
        for (provider, callback, allowed) in [("one", "/callback", true), ("other", "/callback/other", false)] {
            let mut choosing = Choosing::begin(list).await;
            let there = choosing.choose(provider).await;
            choosing.one.then(Ok(ada("one")));
            choosing.other.then(Ok(ada("other")));
            let arrived = arrival(&choosing.returns(callback, &parameter(&there, "state")).await);
            assert_eq!(arrived.parameter("code").is_some(), allowed, "{list} {provider}");
        }
    }
}

fn build(first: impl IdentityProvider, other: impl IdentityProvider, allow: &str) -> Result<(), ConfigurationError> {
    AuthorizationServer::builder(ISSUER)
        .resource(notes())
        .identity(first)
        .also_sign_in_with(other)
        .allow(AllowList::parse(allow).unwrap())
        .store(MemoryStore::default())
        .build()
        .map(drop)
}

#[test]
fn names_that_could_be_mixed_up_and_lists_that_mean_different_people_are_refused() {
    let called = ScriptedIdentity::called;
    assert!(build(called("one"), called("other"), "*, one:1, other/ada").is_ok());
    for (first, other, allow, expected) in [
        ("one", "one", "*", "two identity providers are called one"),
        ("a", "a:b", "*", "could give the same subject"),
        ("one", "client", "*", "must not be called client"),
        ("one", "other", "ada", "write one/ada"),
        ("one", "other", "group=staff", "write one/group=staff"),
        ("one", "other", "third/ada", "third is none of"),
    ] {
        let refused = build(called(first), called(other), allow).unwrap_err().to_string();
        assert!(refused.contains(expected), "{first} {other} {allow}: {refused}");
    }
}

#[tokio::test]
async fn made_up_people_can_be_one_choice_of_several() {
    let application = Application::new(|builder| {
        builder
            .identity(ScriptedIdentity::called("one"))
            .also_sign_in_with(DevIdentity::default())
    });
    let client = Client::public(&application).await;
    let mut browser = Browser::default();
    let consent = browser.open(&application, &client.authorization_url(&[])).await;
    let approved = browser.decide(&application, &consent, "approve").await;
    let page = browser.open(&application, approved.header("location")).await;
    let transaction = hidden_field(&page, "transaction");
    let fields = [("transaction", transaction.as_str()), ("provider", "development")];
    let chosen = browser.submit(&application, "/sign-in", &fields).await;
    let returned = browser.sign_in(&application, &chosen, "ada").await;
    assert!(!arrival(&returned).code().is_empty());
}
