//! Who may sign in, for what, and for how long that is believed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::error::ErrorCode;
use mcp_oauth_core::identity::{Identity, IdentityError, Standing};
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::parameters::Parameters;
use mcp_oauth_core::policy::{GrantPolicy, GrantRequest, Occasion, PolicyError, Verdict};
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_tests::application::{Answer, Application, FILES, ISSUER, NOTES, SCOPE, files, notes};
use mcp_oauth_tests::browser::{Arrival, Browser, arrival};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::failing_store::FailingStore;
use mcp_oauth_tests::identity::ScriptedIdentity;
use mcp_oauth_tower::{
    AllowList, AuthorizationServer, ConfigurationError, DevIdentity, GitHub, Lifetimes, MemoryStore, Resource,
};
use url::Url;

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

// === How people stand ===

#[tokio::test]
async fn the_provider_is_asked_at_a_refresh_and_no_more_often_than_configured() {
    let world = World::new();
    let application = world.scripted("*");
    let client = Client::public(&application).await;
    let mut tokens = world.sign_in(&application, &client, ada()).await;
    assert_eq!(world.provider.asked(), 0, "it has just said who this is");
    for (wait, asked) in [
        (ALMOST_CHECK, 0),
        (Duration::from_secs(1), 1),
        (CHECK / 2, 1),
        (CHECK / 2, 2),
    ] {
        world.clock.advance(wait);
        world.provider.then_standing(Ok(Standing::Confirmed));
        let repeated = tokens.refresh_token.clone();
        tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
        assert_eq!(client.refresh(&application, &repeated, &[]).await.status, 200);
        assert_eq!(world.provider.asked(), asked);
    }
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
    assert_eq!(world.provider.asked(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_refreshes_get_one_successor_although_they_find_the_provider_to_ask() {
    let world = World::new();
    let application = world.scripted("*");
    let client = Client::public(&application).await;
    let tokens = world.sign_in(&application, &client, ada()).await;
    world.clock.advance(CHECK);
    let refresh = || {
        let (application, client, token) = (application.clone(), client.clone(), tokens.refresh_token.clone());
        tokio::spawn(async move { Tokens::of(&client.refresh(&application, &token, &[]).await).refresh_token })
    };
    let mut successors = Vec::new();
    for refreshing in (0..64).map(|_| refresh()).collect::<Vec<_>>() {
        successors.push(refreshing.await.unwrap());
    }
    successors.dedup();
    assert_eq!(successors.len(), 1);
    let asked = world.provider.asked();
    assert!(
        (1..=64).contains(&asked),
        "once for each refresh at most, and not {asked} times"
    );
    assert_eq!(
        client.refresh(&application, &tokens.refresh_token, &[]).await.status,
        200
    );
    assert_eq!(world.provider.asked(), asked, "a repeat asks nobody");
}

#[tokio::test]
async fn a_new_login_is_taken_over_and_the_subject_stays() {
    let world = World::new();
    let application = world.scripted("ada, countess");
    let client = Client::public(&application).await;
    let tokens = world.sign_in(&application, &client, ada()).await;
    world.clock.advance(CHECK);
    world
        .provider
        .then_standing(Ok(Standing::Changed(ada().with_login("countess"))));
    let tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    let seen = application.call(NOTES, &tokens.access_token).await.json();
    assert_eq!(
        (seen["subject"].as_str(), seen["username"].as_str()),
        (Some("scripted:1"), Some("countess"))
    );
    let without_the_new_one = world.scripted("ada");
    ending(&application, &client, tokens)
        .comes_with_a_refresh_at(&without_the_new_one)
        .await;
}

/// Attack V-18, defect S14.
#[tokio::test]
async fn leaving_the_organisation_ends_the_next_refresh_and_the_tokens() {
    let world = World::new();
    let application = world.scripted("org=acme");
    let client = Client::public(&application).await;
    let tokens = world.sign_in(&application, &client, member()).await;
    world.clock.advance(CHECK);
    world.provider.then_standing(Ok(Standing::Changed(ada())));
    ending(&application, &client, tokens)
        .comes_with_a_refresh_at(&application)
        .await;
}

/// Attack V-18.
#[tokio::test]
async fn an_account_that_is_gone_takes_its_grants_with_it() {
    let world = World::new();
    let application = world.scripted("*");
    let client = Client::public(&application).await;
    let tokens = world.sign_in(&application, &client, ada()).await;
    world.clock.advance(CHECK);
    world.provider.then_standing(Ok(Standing::Gone));
    ending(&application, &client, tokens)
        .comes_with_a_refresh_at(&application)
        .await;
}

#[tokio::test]
async fn an_answer_about_somebody_else_is_no_answer() {
    let world = World::new();
    let application = world.scripted("*");
    let client = Client::public(&application).await;
    let tokens = world.sign_in(&application, &client, ada()).await;
    world.clock.advance(CHECK);
    let mallory = Identity::new("scripted", "666").with_login("mallory");
    world.provider.then_standing(Ok(Standing::Changed(mallory)));
    let tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    let seen = application.call(NOTES, &tokens.access_token).await.json();
    assert_eq!(
        (seen["subject"].as_str(), seen["username"].as_str()),
        (Some("scripted:1"), Some("ada"))
    );
}

#[tokio::test]
async fn an_outage_of_the_provider_ends_nobodys_session() {
    for person in [ada(), member()] {
        let world = World::new();
        let application = world.scripted("ada, org=acme");
        let client = Client::public(&application).await;
        let mut tokens = world.sign_in(&application, &client, person).await;
        // While what was learnt is young enough, nobody notices; and it is not asked more often for it.
        for _ in 0..2 {
            world.provider.then_standing(unavailable());
            for _ in 0..2 {
                world.clock.advance(CHECK / 2);
                tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
            }
        }
        assert_eq!(world.provider.asked(), 2);
        // Once it is too old, clients are told to come again, as often as they come.
        world.clock.advance(MAXIMUM_AGE);
        for _ in 0..3 {
            world.provider.then_standing(unavailable());
            let later = client.refresh(&application, &tokens.refresh_token, &[]).await;
            assert_eq!(
                (later.status.as_u16(), later.error()),
                (503, "temporarily_unavailable".to_owned())
            );
            assert_ne!(later.header("retry-after"), "");
        }
        assert_eq!(world.provider.asked(), 5);
        // And the first answer makes up for all of it.
        world.provider.then_standing(Ok(Standing::Confirmed));
        for _ in 0..2 {
            tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
        }
        assert_eq!(world.provider.asked(), 6);
    }
}

#[tokio::test]
async fn who_is_let_in_for_an_organisation_signs_in_again_when_it_cannot_be_confirmed() {
    for (allow, ends) in [
        ("org=acme", true),
        ("org=acme, ada", false),
        ("org=acme, scripted:1", false),
        ("*", false),
        ("email=ada@example.com", true),
        ("domain=example.com", true),
    ] {
        let world = World::new();
        let application = world.scripted(allow);
        let client = Client::public(&application).await;
        let person = member().with_verified_email("ada@example.com");
        let tokens = world.sign_in(&application, &client, person.clone()).await;
        world.clock.advance(ALMOST_MAXIMUM_AGE);
        let tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
        world.clock.advance(Duration::from_secs(1));
        let repeated = tokens.refresh_token.clone();
        let refreshed = client.refresh(&application, &tokens.refresh_token, &[]).await;
        assert_eq!(refreshed.status == 400, ends, "{allow}: {refreshed:?}");
        if ends {
            ending(&application, &client, tokens)
                .has_come_at_a_refresh_at(&application)
                .await;
            world.sign_in(&application, &client, person).await;
        } else {
            assert_eq!(client.refresh(&application, &repeated, &[]).await.status, 200);
        }
    }
}

/// Of two lists, the one that is less sure decides for how long both are believed.
#[tokio::test]
async fn who_needs_an_organisation_for_one_of_two_lists_signs_in_again_too() {
    for (allow, of_notes) in [("*", "org=acme"), ("org=acme", "*"), ("scripted:1", "org=acme")] {
        let world = World::new();
        let resources = [notes().allow(list(of_notes)), files()];
        let application = Application::with_resources(world.store.clone(), world.clock.clone(), resources, |builder| {
            builder.identity(world.provider.clone()).allow(list(allow))
        });
        let client = Client::public(&application).await;
        let tokens = world.sign_in(&application, &client, member()).await;
        world.clock.advance(MAXIMUM_AGE);
        ending(&application, &client, tokens)
            .has_come_at_a_refresh_at(&application)
            .await;
    }
}

/// Otherwise nobody could tell a provider that is back from one that cannot be asked.
#[tokio::test]
async fn what_is_too_old_is_asked_for_although_somebody_has_just_asked() {
    let world = World::new();
    let application = world.scripted("org=acme");
    let client = Client::public(&application).await;
    let tokens = world.sign_in(&application, &client, member()).await;
    world.clock.advance(ALMOST_MAXIMUM_AGE);
    world.provider.then_standing(unavailable());
    let tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    world.clock.advance(Duration::from_secs(1));
    world.provider.then_standing(Ok(Standing::Confirmed));
    let refreshed = client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!((refreshed.status.as_u16(), world.provider.asked()), (200, 2));
}

#[tokio::test]
async fn what_is_confirmed_or_told_anew_in_time_lasts() {
    let world = World::new();
    let application = world.scripted("org=acme");
    let client = Client::public(&application).await;
    let mut tokens = world.sign_in(&application, &client, member()).await;
    for number in 0..6 {
        world.clock.advance(ALMOST_MAXIMUM_AGE);
        let renamed = Standing::Changed(member().with_login(format!("ada-{number}")));
        world
            .provider
            .then_standing(Ok(if number % 2 == 0 { Standing::Confirmed } else { renamed }));
        tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    }
}

#[tokio::test]
async fn an_address_is_as_old_as_the_sign_in_whatever_is_confirmed_of_the_person() {
    let world = World::new();
    let application = world.scripted("domain=example.com");
    let client = Client::public(&application).await;
    let person = ada().with_verified_email("ada@example.com");
    let tokens = world.sign_in(&application, &client, person).await;
    world.clock.advance(MAXIMUM_AGE / 2);
    world.provider.then_standing(Ok(Standing::Confirmed));
    let tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    world.clock.advance(MAXIMUM_AGE / 2);
    world.provider.then_standing(Ok(Standing::Confirmed));
    ending(&application, &client, tokens)
        .has_come_at_a_refresh_at(&application)
        .await;
}

#[tokio::test]
async fn a_repeat_within_the_window_is_answered_although_time_is_over() {
    let world = World::new();
    let application = world.scripted("org=acme");
    let client = Client::public(&application).await;
    let tokens = world.sign_in(&application, &client, member()).await;
    world.clock.advance(ALMOST_MAXIMUM_AGE);
    let next = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    world.clock.advance(Duration::from_secs(30));
    let repeat = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
    assert_eq!(repeat.refresh_token, next.refresh_token);
}

#[tokio::test]
async fn both_times_are_the_operators_to_set() {
    let world = World::new();
    let mut lifetimes = Lifetimes::default();
    lifetimes.identity_check = Duration::ZERO;
    lifetimes.maximum_identity_age = Duration::MAX;
    let application = Application::with(world.store.clone(), world.clock.clone(), |builder| {
        builder
            .identity(world.provider.clone())
            .allow(list("org=acme"))
            .lifetimes(lifetimes)
    });
    let client = Client::public(&application).await;
    let mut tokens = world.sign_in(&application, &client, member()).await;
    for asked in 1..4 {
        world.clock.advance(MAXIMUM_AGE * 2);
        tokens = Tokens::of(&client.refresh(&application, &tokens.refresh_token, &[]).await);
        assert_eq!(world.provider.asked(), asked);
    }
}

/// A provider that was replaced is not asked about people whom it never knew.
#[tokio::test]
async fn only_the_provider_who_said_who_somebody_is_is_asked() {
    let world = World::new();
    let before = world.application("*", [None, None]);
    let client = Client::public(&before).await;
    let tokens = client.sign_in(&before, "ada").await;
    world.clock.advance(CHECK);
    world.provider.then_standing(Ok(Standing::Gone));
    let now = world.scripted("*");
    assert_eq!(client.refresh(&now, &tokens.refresh_token, &[]).await.status, 200);
    assert_eq!(world.provider.asked(), 0);
}

// === A policy of one's own ===

/// Answers in the order in which the test has put them in, then allows everything.
#[derive(Clone, Debug, Default)]
struct ScriptedPolicy {
    answers: Arc<Mutex<VecDeque<Result<Verdict, &'static str>>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl ScriptedPolicy {
    fn then(&self, answer: Result<Verdict, &'static str>) {
        self.answers.lock().unwrap().push_back(answer);
    }

    fn narrows_to(&self, scopes: &str) {
        self.then(Ok(Verdict::Narrow(scopes.parse().unwrap())));
    }

    fn denies(&self, reason: &str) {
        self.then(Ok(Verdict::Deny(reason.to_owned())));
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

#[async_trait]
impl GrantPolicy for ScriptedPolicy {
    async fn decide(&self, request: &GrantRequest<'_>) -> Result<Verdict, PolicyError> {
        let occasion = match request.occasion {
            Occasion::Approval => "approval",
            Occasion::Refresh => "refresh",
            _ => "something else",
        };
        let resources: Vec<_> = request.resources.iter().map(ToString::to_string).collect();
        self.seen.lock().unwrap().push(format!(
            "{occasion}: {} by {} for {} with {}",
            request.identity.subject(),
            request.client.display_name(),
            resources.join(" "),
            request.scopes,
        ));
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(Verdict::Allow));
        answer.map_err(PolicyError::new)
    }
}

fn scope_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["scope"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_policy_is_asked_about_whom_the_lists_let_in_at_approval_and_at_refresh() {
    let (world, policy) = World::with_policy();
    let application = world.application("ada", [None, None]);
    let client = Client::public(&application).await;
    let denied = authorize(&application, &client, "grace", &[NOTES]).await;
    assert_eq!(error_of(&denied).as_deref(), Some("access_denied"));
    assert!(policy.seen().is_empty());

    let tokens = client.sign_in(&application, "ada").await;
    let what = format!("development:ada by Test client for {NOTES} with {SCOPE} notes:write");
    assert_eq!(policy.seen(), [format!("approval: {what}")]);
    client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(policy.seen()[1..], [format!("refresh: {what}")]);
}

#[tokio::test]
async fn what_a_policy_denies_the_client_is_told_with_the_reason() {
    let (world, policy) = World::with_policy();
    let application = world.application("*", [None, None]);
    let client = Client::public(&application).await;
    policy.denies("the contract has ended, ask \"sales\"");
    let denied = authorize(&application, &client, "ada", &[NOTES]).await;
    assert_eq!(error_of(&denied).as_deref(), Some("access_denied"));
    let reason = "the contract has ended, ask 'sales'";
    assert_eq!(denied.parameter("error_description").as_deref(), Some(reason));

    let tokens = client.sign_in(&application, "ada").await;
    policy.denies("the contract has ended, ask \"sales\"");
    let refused = client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(refused.error(), "invalid_grant");
    assert_eq!(refused.json()["error_description"], reason);
    ending(&application, &client, tokens)
        .has_come_at_a_refresh_at(&application)
        .await;
}

#[tokio::test]
async fn scopes_that_a_policy_took_away_do_not_come_back_within_the_grant() {
    let (world, policy) = World::with_policy();
    let application = world.application("*", [None, None]);
    let client = Client::public(&application).await;
    let all = format!("{SCOPE} notes:write");

    policy.narrows_to(SCOPE);
    let code = client.code(&application, "ada").await;
    let redeemed = client.redeem(&application, &code, &[]).await;
    assert_eq!(scope_of(&redeemed), SCOPE);
    let token = Tokens::of(&redeemed).refresh_token;
    assert_eq!(
        scope_of(&client.refresh(&application, &token, &[("scope", &all)]).await),
        SCOPE
    );

    // In a grant that had all of them, at a refresh and at a repeat.
    let tokens = client.sign_in(&application, "ada").await;
    let first = client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(scope_of(&first), all);
    policy.narrows_to("notes:write and:more");
    let repeat = client.refresh(&application, &tokens.refresh_token, &[]).await;
    assert_eq!(scope_of(&repeat), "notes:write");
    assert_eq!(Tokens::of(&repeat).refresh_token, Tokens::of(&first).refresh_token);
    let next = client
        .refresh(&application, &Tokens::of(&first).refresh_token, &[("scope", &all)])
        .await;
    assert_eq!(scope_of(&next), "notes:write");

    // And approved anew.
    let code = client.code(&application, "ada").await;
    assert_eq!(scope_of(&client.redeem(&application, &code, &[]).await), all);
}

#[tokio::test]
async fn to_leave_no_scope_is_to_deny() {
    let (world, policy) = World::with_policy();
    let application = world.application("*", [None, None]);
    let client = Client::public(&application).await;
    policy.narrows_to("other:scope");
    let denied = authorize(&application, &client, "ada", &[NOTES]).await;
    assert_eq!(error_of(&denied).as_deref(), Some("access_denied"));
    let tokens = client.sign_in(&application, "ada").await;
    policy.narrows_to("other:scope");
    ending(&application, &client, tokens)
        .comes_with_a_refresh_at(&application)
        .await;
    // Where there was none, there is none to lose.
    policy.narrows_to("other:scope");
    let code = authorize(&application, &client, "ada", &[FILES]).await.code();
    assert_eq!(client.redeem(&application, &code, &[]).await.status, 200);
}

#[tokio::test]
async fn a_policy_that_fails_lets_nobody_in_and_ends_nothing() {
    let (world, policy) = World::with_policy();
    let application = world.scripted("*");
    let client = Client::public(&application).await;
    policy.then(Err("the database is gone: password hunter2"));
    let page = world.come_back(&application, &client, ada()).await;
    assert_eq!(page.status, 503, "{page:?}");
    assert_ne!(page.header("retry-after"), "");
    assert!(!page.body.contains("hunter2"));

    let tokens = world.sign_in(&application, &client, ada()).await;
    for _ in 0..2 {
        policy.then(Err("the database is gone: password hunter2"));
        let later = client.refresh(&application, &tokens.refresh_token, &[]).await;
        assert_eq!(
            (later.status.as_u16(), later.error()),
            (503, "temporarily_unavailable".to_owned())
        );
        assert_ne!(later.header("retry-after"), "");
        assert!(!later.body.contains("hunter2"));
    }
    assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 200);
    assert_eq!(
        client.refresh(&application, &tokens.refresh_token, &[]).await.status,
        200
    );
}

/// It may count on what no list names.
#[tokio::test]
async fn with_a_policy_memberships_grow_too_old_for_everybody_who_has_some() {
    for (person, ends) in [(ada(), false), (member(), true)] {
        let (world, _) = World::with_policy();
        let application = world.scripted("*");
        let client = Client::public(&application).await;
        let tokens = world.sign_in(&application, &client, person).await;
        world.clock.advance(MAXIMUM_AGE);
        let refreshed = client.refresh(&application, &tokens.refresh_token, &[]).await;
        assert_eq!(refreshed.status == 400, ends, "{refreshed:?}");
    }
}
