//! Who may sign in, for what, and for how long that is believed.

use std::time::Duration;

use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::error::ErrorCode;
use mcp_oauth_core::identity::{Identity, IdentityError, Standing};
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_tests::application::{Answer, Application, FILES, ISSUER, NOTES, files, notes};
use mcp_oauth_tests::browser::{Arrival, Browser, arrival};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::failing_store::FailingStore;
use mcp_oauth_tests::identity::ScriptedIdentity;
use mcp_oauth_tower::{AllowList, AuthorizationServer, ConfigurationError, DevIdentity, GitHub, MemoryStore, Resource};
use url::Url;

use custom::ScriptedPolicy;

mod custom;
mod standing;

const CHECK: Duration = Duration::from_secs(15 * 60);
const ALMOST_CHECK: Duration = Duration::from_secs(15 * 60 - 1);
const MAXIMUM_AGE: Duration = Duration::from_secs(24 * 60 * 60);
const ALMOST_MAXIMUM_AGE: Duration = Duration::from_secs(24 * 60 * 60 - 1);

fn list(text: &str) -> AllowList {
    text.parse().unwrap()
}

/// What the applications of one test share; what one of them is told, all of them know.
#[derive(Clone)]
struct World {
    store: FailingStore<MemoryStore>,
    clock: ManualClock,
    provider: ScriptedIdentity,
    policy: Option<ScriptedPolicy>,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::default();
        Self {
            store: FailingStore::new(MemoryStore::default().with_clock(clock.clone())),
            clock,
            provider: ScriptedIdentity::default(),
            policy: None,
        }
    }

    fn with_policy() -> (Self, ScriptedPolicy) {
        let policy = ScriptedPolicy::default();
        let mut world = Self::new();
        world.policy = Some(policy.clone());
        (world, policy)
    }

    /// An application with these lists: the server's, and those of its resources if they have any.
    fn application(&self, allow: &str, [of_notes, of_files]: [Option<&str>; 2]) -> Application {
        let own = |resource: Resource, text: Option<&str>| match text {
            Some(text) => resource.allow(list(text)),
            None => resource,
        };
        let notes = notes().scope("notes:write", "change your notes").unwrap();
        let resources = [own(notes, of_notes), own(files(), of_files)];
        let configure = |builder: AuthorizationServerBuilder| {
            let builder = builder.allow(list(allow));
            match &self.policy {
                Some(policy) => builder.policy(policy.clone()),
                None => builder,
            }
        };
        Application::with_resources(self.store.clone(), self.clock.clone(), resources, configure)
    }

    /// An application that asks the scripted provider.
    fn scripted(&self, allow: &str) -> Application {
        let configure = |builder: AuthorizationServerBuilder| {
            let builder = builder.identity(self.provider.clone()).allow(list(allow));
            match &self.policy {
                Some(policy) => builder.policy(policy.clone()),
                None => builder,
            }
        };
        Application::with(self.store.clone(), self.clock.clone(), configure)
    }

    /// The way to tokens, as the person whom the scripted provider is told to identify.
    async fn sign_in(&self, application: &Application, client: &Client, person: Identity) -> Tokens {
        let code = arrival(&self.come_back(application, client, person).await).code();
        Tokens::of(&client.redeem(application, &code, &[]).await)
    }

    async fn come_back(&self, application: &Application, client: &Client, person: Identity) -> Answer {
        let mut browser = Browser::default();
        let consent = browser.open(application, &client.authorization_url(&[])).await;
        let approved = browser.decide(application, &consent, "approve").await;
        let location: Url = approved.header("location").parse().unwrap();
        let (_, state) = location.query_pairs().find(|(name, _)| name == "state").unwrap();
        self.provider.then(Ok(person));
        browser
            .open(application, &format!("/callback?state={state}&code=x"))
            .await
    }
}

fn ada() -> Identity {
    Identity::new("scripted", "1").with_login("ada")
}

fn member() -> Identity {
    ada().with_memberships(["org=acme".parse().unwrap()])
}

fn unavailable() -> Result<Standing, IdentityError> {
    Err(IdentityError::Unavailable {
        retry_after: None,
        source: None,
    })
}

/// Goes the whole way as a made-up person, for these resources.
async fn authorize(application: &Application, client: &Client, person: &str, resources: &[&str]) -> Arrival {
    let asked: Vec<_> = resources.iter().map(|uri| format!("&resource={uri}")).collect();
    let url = client.authorization_url(&[("resource", "")]) + &asked.concat();
    Browser::default().authorize(application, &url, person).await
}

fn error_of(arrived: &Arrival) -> Option<String> {
    assert!(arrived.parameter("error").is_none() || arrived.parameter("code").is_none());
    arrived.parameter("error")
}

/// Two applications share a store and not their keys, so what came of the tokens is asked where they were issued.
struct Ending<'a> {
    issued_by: &'a Application,
    client: &'a Client,
    tokens: Tokens,
}

fn ending<'a>(issued_by: &'a Application, client: &'a Client, tokens: Tokens) -> Ending<'a> {
    Ending {
        issued_by,
        client,
        tokens,
    }
}

impl Ending<'_> {
    /// The access token is good until somebody refreshes there.
    async fn comes_with_a_refresh_at(&self, application: &Application) {
        assert_eq!(self.issued_by.call(NOTES, &self.tokens.access_token).await.status, 200);
        self.has_come_at_a_refresh_at(application).await;
    }

    async fn has_come_at_a_refresh_at(&self, application: &Application) {
        let refused = self.client.refresh(application, &self.tokens.refresh_token, &[]).await;
        assert_eq!(refused.error(), "invalid_grant");
        // That is how long other processes take to learn of it.
        self.issued_by.clock.advance(Duration::from_secs(1));
        assert_eq!(self.issued_by.call(NOTES, &self.tokens.access_token).await.status, 401);
        let again = self
            .client
            .refresh(self.issued_by, &self.tokens.refresh_token, &[])
            .await;
        assert_eq!(again.error(), "invalid_grant", "what has ended stays so");
    }
}

// === The lists ===

/// Defect S9.
#[tokio::test]
async fn an_empty_list_lets_nobody_in_whether_it_is_the_servers_or_a_resources() {
    let world = World::new();
    for (allow, of_notes, expected) in [
        ("", None, Some("access_denied")),
        ("", Some("*"), Some("access_denied")),
        ("*", Some(""), Some("access_denied")),
        ("*", Some(" , "), Some("access_denied")),
        ("*", None, None),
        ("*", Some("*"), None),
    ] {
        let application = world.application(allow, [of_notes, None]);
        let client = Client::public(&application).await;
        let arrived = authorize(&application, &client, "ada", &[NOTES]).await;
        assert_eq!(error_of(&arrived).as_deref(), expected, "{allow:?} and {of_notes:?}");
    }
}

#[tokio::test]
async fn a_person_has_to_be_on_the_servers_list_and_on_that_of_the_resource() {
    let world = World::new();
    for (allow, of_notes, expected) in [
        ("ada", Some("ada"), None),
        ("ada, grace", Some("ada"), None),
        ("grace", Some("ada"), Some("access_denied")),
        ("ada", Some("grace"), Some("access_denied")),
        ("ada", None, None),
        ("grace", None, Some("access_denied")),
    ] {
        let application = world.application(allow, [of_notes, Some("grace")]);
        let client = Client::public(&application).await;
        let arrived = authorize(&application, &client, "ada", &[NOTES]).await;
        assert_eq!(error_of(&arrived).as_deref(), expected, "{allow:?} and {of_notes:?}");
    }
}

/// Attack V-56.
#[tokio::test]
async fn who_may_use_one_resource_cannot_use_another() {
    let application = World::new().application("*", [None, Some("grace")]);
    let client = Client::public(&application).await;
    let denied = authorize(&application, &client, "ada", &[FILES]).await;
    assert_eq!(error_of(&denied).as_deref(), Some("access_denied"));
    assert!(denied.parameter("error_description").unwrap().contains(FILES));
    let tokens = client.sign_in(&application, "ada").await;
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
    assert_eq!(application.call(FILES, &tokens.access_token).await.status, 401);
    let wider = client
        .refresh(&application, &tokens.refresh_token, &[("resource", FILES)])
        .await;
    assert_eq!(wider.error(), "invalid_target");
}

#[tokio::test]
async fn a_request_for_several_resources_gets_all_of_them_or_none() {
    let application = World::new().application("*", [None, Some("grace")]);
    let client = Client::public(&application).await;
    for resources in [[NOTES, FILES], [FILES, NOTES]] {
        let denied = authorize(&application, &client, "ada", &resources).await;
        assert_eq!(error_of(&denied).as_deref(), Some("access_denied"));
        let code = authorize(&application, &client, "grace", &resources).await.code();
        let tokens = Tokens::of(&client.redeem(&application, &code, &[]).await);
        for resource in resources {
            assert_eq!(application.call(resource, &tokens.access_token).await.status, 200);
        }
    }
}

#[tokio::test]
async fn a_code_is_worth_nothing_to_whom_a_list_has_left_meanwhile() {
    let world = World::new();
    let application = world.application("*", [Some("ada"), None]);
    let client = Client::public(&application).await;
    for stricter in [
        world.application("grace", [Some("ada"), None]),
        world.application("*", [Some("grace"), None]),
        world.application("*", [Some(""), None]),
    ] {
        let code = client.code(&application, "ada").await;
        assert_eq!(client.redeem(&stricter, &code, &[]).await.error(), "invalid_grant");
        assert_eq!(client.redeem(&application, &code, &[]).await.error(), "invalid_grant");
    }
}

/// Attack V-18, defect S14.
#[tokio::test]
async fn leaving_the_list_of_a_resource_ends_the_next_refresh_and_the_tokens() {
    let world = World::new();
    let application = world.application("*", [Some("ada"), None]);
    let client = Client::public(&application).await;
    for stricter in [
        world.application("*", [Some("grace"), None]),
        world.application("grace", [Some("ada"), None]),
    ] {
        let tokens = client.sign_in(&application, "ada").await;
        let ending = ending(&application, &client, tokens);
        ending.comes_with_a_refresh_at(&stricter).await;
    }
}

#[tokio::test]
async fn a_repeat_of_a_refresh_gets_nothing_once_a_list_has_been_left() {
    let world = World::new();
    let application = world.application("*", [Some("ada"), None]);
    let client = Client::public(&application).await;
    let tokens = client.sign_in(&application, "ada").await;
    let next = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    let stricter = world.application("*", [Some("grace"), None]);
    ending(&application, &client, tokens)
        .comes_with_a_refresh_at(&stricter)
        .await;
    ending(&application, &client, next)
        .has_come_at_a_refresh_at(&stricter)
        .await;
}

#[tokio::test]
async fn a_grant_for_two_resources_ends_when_one_of_them_may_not_be_used_any_more() {
    let world = World::new();
    let application = world.application("*", [None, None]);
    let client = Client::public(&application).await;
    let code = authorize(&application, &client, "ada", &[NOTES, FILES]).await.code();
    let tokens = Tokens::of(&client.redeem(&application, &code, &[]).await);
    let stricter = world.application("*", [None, Some("grace")]);
    let narrower = client
        .refresh(&stricter, &tokens.refresh_token, &[("resource", NOTES)])
        .await;
    assert_eq!(narrower.error(), "invalid_grant");
    ending(&application, &client, tokens)
        .has_come_at_a_refresh_at(&stricter)
        .await;
}

/// Nobody can say any more who may use it, so nobody may.
#[tokio::test]
async fn a_resource_that_is_not_served_any_more_is_nobodys_to_use() {
    let world = World::new();
    let application = world.application("*", [None, None]);
    let client = Client::public(&application).await;
    let tokens = client.sign_in(&application, "ada").await;
    let without_notes = AuthorizationServer::builder(ISSUER)
        .resource(files())
        .identity(DevIdentity::default())
        .allow(AllowList::everybody())
        .store(world.store.clone())
        .clock(world.clock.clone())
        .build()
        .unwrap();
    let form: Parameters = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &tokens.refresh_token),
        ("client_id", &client.client_id),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into_iter()
    .collect();
    let refused = without_notes.token(&form, None, &Origin::unknown()).await.unwrap_err();
    assert_eq!(refused.error().code(), ErrorCode::InvalidGrant);
    ending(&application, &client, tokens)
        .has_come_at_a_refresh_at(&application)
        .await;
}

#[tokio::test]
async fn made_up_people_can_belong_to_something_which_no_page_shows() {
    let world = World::new();
    let ops = || "team=acme/ops".parse().unwrap();
    let people = DevIdentity::default().with_memberships("ada", [ops()]);
    let application = Application::with(world.store.clone(), world.clock.clone(), |builder| {
        builder.identity(people).allow(list("team=Acme/Ops"))
    });
    let client = Client::public(&application).await;
    let mut browser = Browser::default();
    let consent = browser.open(&application, &client.authorization_url(&[])).await;
    let approved = browser.decide(&application, &consent, "approve").await;
    let choice = browser.open(&application, approved.header("location")).await;
    assert!(
        choice.body.contains("Ada") && !choice.body.contains("acme"),
        "{choice:?}"
    );
    let denied = authorize(&application, &client, "grace", &[NOTES]).await;
    assert_eq!(error_of(&denied).as_deref(), Some("access_denied"));
    let tokens = client.sign_in(&application, "ada").await;

    world.clock.advance(CHECK);
    let outside = Application::with(world.store.clone(), world.clock.clone(), |builder| {
        builder.allow(list("team=acme/ops"))
    });
    ending(&application, &client, tokens)
        .comes_with_a_refresh_at(&outside)
        .await;
}

#[test]
fn a_list_that_names_what_nobody_tells_is_refused_when_the_server_is_built() {
    let build = |github: GitHub, allow: &str, of_notes: &str| {
        AuthorizationServer::builder(ISSUER)
            .resource(notes().allow(list(of_notes)))
            .identity(github)
            .allow(list(allow))
            .store(MemoryStore::default())
            .build()
    };
    let github = || GitHub::new("id", "secret");
    for (allow, of_notes) in [("org=acme", "*"), ("*", "org=acme"), ("*", "ada group=admins")] {
        let error = build(github(), allow, of_notes).unwrap_err();
        assert!(matches!(error, ConfigurationError::UntoldMembership { .. }), "{error}");
        assert!(error.to_string().contains("read_memberships"), "{error}");
    }
    let told = github().read_memberships(["org=acme".parse().unwrap()]);
    assert!(build(told.clone(), "org=ACME", "org=acme ada").is_ok());
    assert!(build(told, "org=acme", "team=acme/ops").is_err());
}

/// Attack V-30.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_interleaved_sign_ins_of_two_people_each_get_their_own_subject() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let sign_in = |number: usize| {
        let (application, client) = (application.clone(), client.clone());
        async move {
            let person = ["ada", "grace"][number % 2];
            let tokens = client.sign_in(&application, person).await;
            let seen = application.call(NOTES, &tokens.access_token).await.json();
            (
                format!("development:{person}"),
                seen["subject"].as_str().map(str::to_owned),
            )
        }
    };
    let tasks: Vec<_> = (0..1000).map(|number| tokio::spawn(sign_in(number))).collect();
    for task in tasks {
        let (expected, seen) = task.await.unwrap();
        assert_eq!(seen, Some(expected));
    }
}
