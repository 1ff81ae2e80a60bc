//! The token vault: what providers have issued for people, kept sealed, exchanged once, and handed on as a policy says.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::any;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use mcp_oauth_core::clock::{Clock as _, ManualClock};
use mcp_oauth_core::grant::GrantId;
use mcp_oauth_core::identity::tokens::{TokensRefreshed, UpstreamTokens};
use mcp_oauth_core::identity::{Identity, IdentityError, Standing};
use mcp_oauth_core::resource::ResourceUri;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::builder::{AuthorizationServerBuilder, Lifetimes};
use mcp_oauth_core::server::vault::VaultError;
use mcp_oauth_core::store::{Key, Kind, Store};
use mcp_oauth_tests::application::{Answer, Application, FILES, ISSUER, NOTES, TRUSTED_PROXY, files, notes};
use mcp_oauth_tests::browser::{Browser, arrival};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::failing_store::{FailingStore, Loss};
use mcp_oauth_tests::identity::ScriptedIdentity;
use mcp_oauth_tower::forward_auth::UPSTREAM_TOKEN_HEADER;
use mcp_oauth_tower::upstream::{UpstreamToken, UpstreamTokenLayer};
use mcp_oauth_tower::{
    AllowList, AuthorizationServer, ConfigurationError, ForwardAuth, KeySealing, MemoryStore, OAuthLayer, Routes,
};
use tower::ServiceExt as _;
use url::Url;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What all nodes share.
#[derive(Clone)]
struct World {
    store: FailingStore<MemoryStore>,
    clock: ManualClock,
    provider: ScriptedIdentity,
    secret: Secret,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::default();
        Self {
            store: FailingStore::new(MemoryStore::default().with_clock(clock.clone())),
            clock,
            provider: ScriptedIdentity::default(),
            secret: Secret::random(),
        }
    }

    /// A node with a vault, of which the first resource gets tokens and the second does not.
    fn node(&self) -> Application {
        let sealing = KeySealing::new(&self.secret).unwrap();
        self.configured(|builder| builder.vault(sealing).allow(AllowList::parse("*").unwrap()))
    }

    fn configured(
        &self,
        configure: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Application {
        let resources = [notes().hand_on_tokens_of("scripted"), files()];
        let provider = self.provider.clone();
        Application::with_resources(self.store.clone(), self.clock.clone(), resources, |builder| {
            configure(builder.identity(provider))
        })
    }

    fn tokens(&self, number: u32, lifetime: Duration) -> UpstreamTokens {
        UpstreamTokens::new(format!("upstream-access-{number}"))
            .expiring_at(self.clock.now() + lifetime)
            .with_refresh_token(format!("upstream-refresh-{number}"))
            .with_scope("repo")
    }

    fn exchanges_for(&self, tokens: UpstreamTokens) {
        self.provider
            .then_refreshed(Ok(TokensRefreshed::Tokens(Box::new(tokens), None)));
    }

    async fn sign_in(&self, application: &Application, client: &Client, person: Identity) -> Tokens {
        let mut browser = Browser::default();
        let consent = browser.open(application, &client.authorization_url(&[])).await;
        let approved = browser.decide(application, &consent, "approve").await;
        let location: Url = approved.header("location").parse().unwrap();
        let (_, state) = location.query_pairs().find(|(name, _)| name == "state").unwrap();
        self.provider.then(Ok(person));
        let returned = browser
            .open(application, &format!("/callback?state={state}&code=x"))
            .await;
        Tokens::of(&client.redeem(application, &arrival(&returned).code(), &[]).await)
    }

    async fn grant(&self, application: &Application, tokens: &Tokens) -> GrantId {
        let seen = application.call(NOTES, &tokens.access_token).await.json();
        seen["grant"].as_str().unwrap().parse().unwrap()
    }

    async fn record(&self, kind: Kind, id: &str) -> String {
        let record = self.store.get(&Key::new(kind, id)).await.unwrap().unwrap();
        String::from_utf8(record.to_vec()).unwrap()
    }
}

/// A grant of Ada's with tokens of the provider's, which are good for an hour.
struct Held {
    world: World,
    node: Application,
    client: Client,
    tokens: Tokens,
    grant: GrantId,
}

impl Held {
    async fn new() -> Self {
        let world = World::new();
        let node = world.node();
        let client = Client::public(&node).await;
        world.provider.issues(world.tokens(1, HOUR));
        let tokens = world.sign_in(&node, &client, ada()).await;
        let grant = world.grant(&node, &tokens).await;
        Self {
            world,
            node,
            client,
            tokens,
            grant,
        }
    }
}

fn ada() -> Identity {
    Identity::new("scripted", "1").with_login("ada")
}

fn uri(text: &str) -> ResourceUri {
    text.parse().unwrap()
}

async fn handed_out(application: &Application, grant: &GrantId) -> Result<String, VaultError> {
    let token = application.server.upstream_token(grant, &uri(NOTES)).await?;
    Ok(token.access_token.expose().to_owned())
}

#[tokio::test]
async fn tokens_are_kept_sealed_and_handed_to_the_resource_that_its_policy_names() {
    let Held { world, node, grant, .. } = Held::new().await;
    let token = node.server.upstream_token(&grant, &uri(NOTES)).await.unwrap();
    assert_eq!(token.access_token.expose(), "upstream-access-1");
    assert_eq!(
        (token.provider.as_str(), token.scope.as_deref()),
        ("scripted", Some("repo"))
    );
    assert!(!format!("{token:?}").contains("upstream-access"));

    for stored in [
        world.record(Kind::Grant, grant.as_str()).await,
        world.record(Kind::Keys, &format!("vault:{ISSUER}")).await,
    ] {
        assert!(
            !stored.contains("upstream-access") && !stored.contains("upstream-refresh"),
            "{stored}"
        );
    }
    let elsewhere = node.server.upstream_token(&grant, &uri(FILES)).await;
    assert!(matches!(elsewhere, Err(VaultError::NotAllowed)), "{elsewhere:?}");
}

#[tokio::test]
async fn without_a_vault_nothing_is_kept() {
    let world = World::new();
    let node = Application::with(world.store.clone(), world.clock.clone(), |builder| {
        builder.identity(world.provider.clone())
    });
    let client = Client::public(&node).await;
    world.provider.issues(world.tokens(1, HOUR));
    let tokens = world.sign_in(&node, &client, ada()).await;
    let grant = world.grant(&node, &tokens).await;
    assert!(!world.record(Kind::Grant, grant.as_str()).await.contains("upstream"));
    assert!(matches!(handed_out(&node, &grant).await, Err(VaultError::Off)));
    // And no resource can be promised what nobody keeps.
    let refused = AuthorizationServer::builder(ISSUER)
        .resource(notes().hand_on_tokens_of("scripted"))
        .identity(world.provider)
        .allow(AllowList::everybody())
        .store(MemoryStore::default())
        .build();
    assert!(matches!(refused, Err(ConfigurationError::NoVault(_))), "{refused:?}");
}

#[tokio::test]
async fn a_grant_that_ends_takes_its_tokens_along() {
    let Held {
        world,
        node,
        client,
        tokens,
        grant,
    } = Held::new().await;
    let fields = [("token", tokens.refresh_token.as_str())];
    assert_eq!(client.post(&node, "/revoke", &fields).await.status, 200);
    assert!(matches!(handed_out(&node, &grant).await, Err(VaultError::Ended)));
    assert!(!world.record(Kind::Grant, grant.as_str()).await.contains("\"upstream\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_need_a_new_token_on_several_nodes_one_exchanges_it() {
    let world = World::new();
    let nodes = Arc::new([world.node(), world.node(), world.node()]);
    let client = Client::public(&nodes[0]).await;
    world.provider.issues(world.tokens(1, HOUR));
    let tokens = world.sign_in(&nodes[0], &client, ada()).await;
    let grant = world.grant(&nodes[0], &tokens).await;
    // Nearly over: whoever loses goes on with the old one.
    world.clock.advance(Duration::from_secs(60 * 60 - 30));
    world.exchanges_for(world.tokens(2, HOUR));
    let tasks: Vec<_> = (0..30)
        .map(|number| {
            let (nodes, grant) = (Arc::clone(&nodes), grant.clone());
            tokio::spawn(async move { handed_out(&nodes[number % 3], &grant).await.unwrap() })
        })
        .collect();
    for task in tasks {
        let token = task.await.unwrap();
        assert!(
            ["upstream-access-1", "upstream-access-2"].contains(&token.as_str()),
            "{token}"
        );
    }
    assert_eq!(world.provider.presented(), ["upstream-refresh-1"]);
    assert_eq!(handed_out(&nodes[2], &grant).await.unwrap(), "upstream-access-2");
}

#[tokio::test]
async fn within_one_process_everybody_waits_for_a_token_whose_time_is_over() {
    let Held { world, node, grant, .. } = Held::new().await;
    world.clock.advance(HOUR);
    world.exchanges_for(world.tokens(2, HOUR));
    let all = (0..8).map(|_| handed_out(&node, &grant));
    for token in futures_util::future::join_all(all).await {
        assert_eq!(token.unwrap(), "upstream-access-2");
    }
    assert_eq!(world.provider.presented().len(), 1);
}

#[tokio::test]
async fn a_provider_that_is_away_costs_nobody_anything_and_one_that_refuses_ends_the_grant() {
    let Held {
        world,
        node,
        client,
        tokens,
        grant,
    } = Held::new().await;
    world.clock.advance(HOUR);
    world.provider.then_refreshed(Err(IdentityError::Unavailable {
        retry_after: Some(Duration::from_secs(7)),
        source: None,
    }));
    let away = handed_out(&node, &grant).await.unwrap_err();
    assert_eq!(away.retry_after(), Some(Duration::from_secs(7)));
    world.exchanges_for(world.tokens(2, HOUR));
    assert_eq!(handed_out(&node, &grant).await.unwrap(), "upstream-access-2");

    world.clock.advance(HOUR);
    world.provider.then_refreshed(Ok(TokensRefreshed::Refused));
    assert!(matches!(handed_out(&node, &grant).await, Err(VaultError::Revoked)));
    assert_eq!(node.call(NOTES, &tokens.access_token).await.status, 401);
    let refused = client.refresh(&node, &tokens.refresh_token, &[]).await;
    assert_eq!(refused.error(), "invalid_grant");
}

#[tokio::test]
async fn without_the_store_there_is_no_token_and_no_end_of_anything() {
    let Held { world, node, grant, .. } = Held::new().await;
    world.store.set_down(true);
    assert!(matches!(handed_out(&node, &grant).await, Err(VaultError::Store(_))));
    world.store.set_down(false);
    assert_eq!(handed_out(&node, &grant).await.unwrap(), "upstream-access-1");
}

/// The provider has made the old tokens useless by the time the new ones are to be stored.
#[tokio::test]
async fn a_store_that_fails_once_at_any_moment_loses_no_tokens() {
    for loss in [Loss::Request, Loss::Answer] {
        let mut done = false;
        for number in 0..20 {
            let Held { world, node, grant, .. } = Held::new().await;
            world.clock.advance(HOUR);
            world.exchanges_for(world.tokens(2, HOUR));
            world.store.fail_once(number, loss);
            let before = world.store.operations();
            match handed_out(&node, &grant).await {
                Ok(token) => assert_eq!(token, "upstream-access-2"),
                Err(error) => assert!(error.retry_after().is_some(), "{number} {loss:?}: {error}"),
            }
            done = world.store.operations() - before <= number;
            if done {
                break;
            }
            // A lease that nobody gives back is over after half a minute.
            world.clock.advance(Duration::from_secs(31));
            let token = handed_out(&node, &grant).await;
            assert_eq!(token.unwrap(), "upstream-access-2", "{number} {loss:?}");
            assert_eq!(world.provider.presented(), ["upstream-refresh-1"], "{number} {loss:?}");
        }
        assert!(done, "every operation has failed once");
    }
}

/// Done-when 5: somebody who leaves is out at the next refresh.
#[tokio::test]
async fn at_a_refresh_the_provider_is_asked_with_the_persons_own_tokens() {
    let member = || ada().with_memberships(["group=staff".parse().unwrap()]);
    for (standing, allowed) in [
        (Standing::Confirmed, true),
        (Standing::Changed(ada()), false),
        (Standing::Revoked, false),
        (Standing::Gone, false),
    ] {
        let world = World::new();
        let sealing = KeySealing::new(&world.secret).unwrap();
        let node = world.configured(|builder| builder.vault(sealing).allow(AllowList::parse("group=staff").unwrap()));
        let client = Client::public(&node).await;
        world.provider.issues(world.tokens(1, 3 * HOUR));
        let tokens = world.sign_in(&node, &client, member()).await;
        world.clock.advance(HOUR);
        world.provider.then_standing(Ok(standing.clone()));
        let answer = client.refresh(&node, &tokens.refresh_token, &[]).await;
        assert_eq!(answer.status == 200, allowed, "{standing:?}: {answer:?}");
        assert_eq!(world.provider.asked_with(), ["upstream-access-1"]);
        if !allowed {
            assert_eq!(answer.error(), "invalid_grant");
            assert_eq!(
                node.call(NOTES, &tokens.access_token).await.status,
                401,
                "its access tokens end too"
            );
        }
    }
}

#[tokio::test]
async fn a_refresh_exchanges_tokens_first_whose_time_is_over_and_asks_once() {
    let world = World::new();
    let node = world.node();
    let client = Client::public(&node).await;
    world.provider.issues(world.tokens(1, HOUR));
    let tokens = world.sign_in(&node, &client, ada()).await;
    world.clock.advance(2 * HOUR);
    world.exchanges_for(world.tokens(2, HOUR));
    world.provider.then_standing(Ok(Standing::Confirmed));
    let next = Tokens::of(&client.refresh(&node, &tokens.refresh_token, &[]).await);
    assert_eq!(world.provider.asked_with(), ["upstream-access-2"]);
    assert_eq!(world.provider.presented(), ["upstream-refresh-1"]);
    assert_eq!(
        handed_out(&node, &world.grant(&node, &next).await).await.unwrap(),
        "upstream-access-2"
    );

    // The provider says who it is when it exchanges: then it need not be asked again.
    world.clock.advance(2 * HOUR);
    world.provider.then_refreshed(Ok(TokensRefreshed::Tokens(
        Box::new(world.tokens(3, HOUR)),
        Some(ada().with_login("countess")),
    )));
    let next = Tokens::of(&client.refresh(&node, &next.refresh_token, &[]).await);
    assert_eq!(world.provider.asked_with().len(), 1);
    assert_eq!(
        node.call(NOTES, &next.access_token).await.json()["username"],
        "countess"
    );

    world.clock.advance(2 * HOUR);
    world.provider.then_refreshed(Ok(TokensRefreshed::Refused));
    let refused = client.refresh(&node, &next.refresh_token, &[]).await;
    assert_eq!(refused.error(), "invalid_grant");
}

#[tokio::test]
async fn tokens_that_live_for_seconds_are_exchanged_once_for_each_refresh() {
    let world = World::new();
    let node = world.node();
    let client = Client::public(&node).await;
    world.provider.issues(world.tokens(1, Duration::from_secs(30)));
    let mut tokens = world.sign_in(&node, &client, ada()).await;
    for number in 2..5 {
        world.clock.advance(HOUR);
        world.exchanges_for(world.tokens(number, Duration::from_secs(30)));
        tokens = Tokens::of(&client.refresh(&node, &tokens.refresh_token, &[]).await);
    }
    assert_eq!(world.provider.presented().len(), 3);
}

#[tokio::test]
async fn a_provider_that_is_away_ends_no_session_until_what_it_said_is_too_old() {
    let world = World::new();
    let sealing = KeySealing::new(&world.secret).unwrap();
    let node = world.configured(|builder| builder.vault(sealing).allow(AllowList::parse("group=staff").unwrap()));
    let client = Client::public(&node).await;
    world.provider.issues(world.tokens(1, HOUR));
    let member = ada().with_memberships(["group=staff".parse().unwrap()]);
    let tokens = world.sign_in(&node, &client, member).await;
    let away = || {
        Err(IdentityError::Unavailable {
            retry_after: None,
            source: None,
        })
    };
    world.clock.advance(2 * HOUR);
    world.provider.then_refreshed(away());
    world
        .provider
        .then_standing(Err(IdentityError::Unusable("away".to_owned())));
    let next = Tokens::of(&client.refresh(&node, &tokens.refresh_token, &[]).await);
    world.clock.advance(DAY);
    world.provider.then_refreshed(away());
    world
        .provider
        .then_standing(Err(IdentityError::Unusable("away".to_owned())));
    let later = client.refresh(&node, &next.refresh_token, &[]).await;
    assert_eq!(
        (later.status.as_u16(), later.error().as_str()),
        (503, "temporarily_unavailable")
    );
}

/// Without tokens, what was once said of an address is believed for a day; with them it is asked for again.
#[tokio::test]
async fn an_address_is_believed_for_as_long_as_the_persons_own_tokens_confirm_it() {
    let world = World::new();
    let sealing = KeySealing::new(&world.secret).unwrap();
    let node = world.configured(|builder| {
        builder
            .vault(sealing)
            .allow(AllowList::parse("domain=acme.example").unwrap())
    });
    let client = Client::public(&node).await;
    world.provider.issues(UpstreamTokens::new("upstream-access"));
    let person = ada().with_verified_email("ada@acme.example");
    let mut tokens = world.sign_in(&node, &client, person).await;
    for _ in 0..5 {
        world.clock.advance(DAY / 2);
        world.provider.then_standing(Ok(Standing::Confirmed));
        tokens = Tokens::of(&client.refresh(&node, &tokens.refresh_token, &[]).await);
    }
    world.clock.advance(DAY / 2);
    world.provider.then_standing(Ok(Standing::Changed(ada())));
    assert_eq!(
        client.refresh(&node, &tokens.refresh_token, &[]).await.error(),
        "invalid_grant"
    );
}

#[tokio::test]
async fn the_key_is_exchanged_after_ninety_days_and_what_it_sealed_still_opens() {
    let world = World::new();
    let mut lifetimes = Lifetimes::default();
    lifetimes.maximum_identity_age = Duration::MAX;
    let sealing = KeySealing::new(&world.secret).unwrap();
    let node = world.configured(|builder| builder.vault(sealing).lifetimes(lifetimes));
    let client = Client::public(&node).await;
    world.provider.issues(UpstreamTokens::new("upstream-access"));
    let mut tokens = world.sign_in(&node, &client, ada()).await;
    let grant = world.grant(&node, &tokens).await;
    let key_of = |record: String| {
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        record["record"]["upstream"]["key"].as_str().unwrap().to_owned()
    };
    let first = key_of(world.record(Kind::Grant, grant.as_str()).await);
    for _ in 0..4 {
        world.clock.advance(25 * DAY);
        tokens = Tokens::of(&client.refresh(&node, &tokens.refresh_token, &[]).await);
    }
    // Somebody signs in, and so a new key is made; whoever comes next is sealed with it, too.
    world.sign_in(&node, &client, Identity::new("scripted", "2")).await;
    assert_eq!(handed_out(&node, &grant).await.unwrap(), "upstream-access");
    tokens = Tokens::of(&client.refresh(&node, &tokens.refresh_token, &[]).await);
    let second = key_of(world.record(Kind::Grant, grant.as_str()).await);
    assert_ne!(first, second);
    let other_node = world.node();
    assert_eq!(handed_out(&other_node, &grant).await.unwrap(), "upstream-access");
    let ring = world.record(Kind::Keys, &format!("vault:{ISSUER}")).await;
    assert!(ring.contains(&first) && ring.contains(&second));

    // Once nothing can be sealed with it any more, it is gone at the next exchange.
    for _ in 0..4 {
        world.clock.advance(25 * DAY);
        tokens = Tokens::of(&client.refresh(&node, &tokens.refresh_token, &[]).await);
    }
    world.sign_in(&node, &client, Identity::new("scripted", "3")).await;
    let ring = world.record(Kind::Keys, &format!("vault:{ISSUER}")).await;
    assert!(!ring.contains(&first) && ring.contains(&second));
}

#[tokio::test]
async fn the_operators_secret_is_exchanged_as_that_of_the_signing_keys() {
    let Held { world, grant, .. } = Held::new().await;

    let coming = Secret::random();
    let with = |sealing: KeySealing| world.configured(|builder| builder.vault(sealing));
    let stranger = with(KeySealing::new(&coming).unwrap());
    assert!(matches!(
        stranger.server.prepare_vault().await,
        Err(VaultError::UnknownSecret)
    ));
    assert!(matches!(
        handed_out(&stranger, &grant).await,
        Err(VaultError::UnknownSecret)
    ));

    let both = with(KeySealing::new(&coming).unwrap().also_open_with(&world.secret).unwrap());
    both.server.prepare_vault().await.unwrap();
    let alone = with(KeySealing::new(&coming).unwrap());
    assert_eq!(handed_out(&alone, &grant).await.unwrap(), "upstream-access-1");
}

#[tokio::test]
async fn nodes_that_start_at_once_share_one_key() {
    let world = World::new();
    let nodes: Vec<_> = (0..8).map(|_| world.node()).collect();
    let prepared = nodes.iter().map(|node| node.server.prepare_vault());
    for result in futures_util::future::join_all(prepared).await {
        result.unwrap();
    }
    let ring = world.record(Kind::Keys, &format!("vault:{ISSUER}")).await;
    assert_eq!(ring.matches("made_at").count(), 1, "{ring}");
}

// === In front of a server ===

/// What the server behind is given.
async fn show(token: Option<axum::Extension<UpstreamToken>>, headers: HeaderMap) -> String {
    let header = headers
        .get("x-upstream")
        .map_or("none", |value| value.to_str().unwrap());
    let extension = token.map_or("none".to_owned(), |token| token.secret().expose().to_owned());
    format!("{extension} {header}")
}

async fn call(application: &Application, layer: UpstreamTokenLayer, resource: &str, token: &str) -> Answer {
    let router: Router = Router::new()
        .route("/", any(show))
        .layer(layer)
        .layer(OAuthLayer::new(&application.server, resource).unwrap());
    let request = Request::post("/")
        .header("authorization", format!("Bearer {token}"))
        .header("x-upstream", "forged")
        .body(Body::empty())
        .unwrap();
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

#[tokio::test]
async fn a_server_is_given_the_token_by_its_policy_alone_and_in_a_header_only_when_told() {
    let world = World::new();
    let node = world.node();
    let client = Client::public(&node).await;
    world.provider.issues(world.tokens(1, HOUR));
    let tokens = world.sign_in(&node, &client, ada()).await;
    let layer = || UpstreamTokenLayer::new(&node.server);
    let plain = call(&node, layer(), NOTES, &tokens.access_token).await;
    assert_eq!(
        plain.body, "upstream-access-1 forged",
        "the header is none of its business"
    );
    let header = layer().in_header("x-upstream".parse().unwrap());
    let told = call(&node, header.clone(), NOTES, &tokens.access_token).await;
    assert_eq!(told.body, "upstream-access-1 upstream-access-1");

    world.provider.issues(world.tokens(1, HOUR));
    let url = client.authorization_url(&[("resource", FILES)]);
    let mut browser = Browser::default();
    let consent = browser.open(&node, &url).await;
    let approved = browser.decide(&node, &consent, "approve").await;
    let location: Url = approved.header("location").parse().unwrap();
    let (_, state) = location.query_pairs().find(|(name, _)| name == "state").unwrap();
    world.provider.then(Ok(ada()));
    let returned = browser.open(&node, &format!("/callback?state={state}&code=x")).await;
    let of_files = Tokens::of(
        &client
            .redeem(&node, &arrival(&returned).code(), &[("resource", FILES)])
            .await,
    );
    let without = call(&node, header.clone(), FILES, &of_files.access_token).await;
    assert_eq!(without.body, "none none", "and what was forged is taken away");

    world.clock.advance(Duration::from_secs(60 * 60 - 1));
    world.provider.then_refreshed(Err(IdentityError::Unavailable {
        retry_after: Some(Duration::from_secs(9)),
        source: None,
    }));
    let waits = call(&node, header.clone(), NOTES, &tokens.access_token).await;
    assert_eq!((waits.status.as_u16(), waits.header("retry-after")), (503, "9"));
    world.provider.then_refreshed(Ok(TokensRefreshed::Refused));
    let revoked = call(&node, header, NOTES, &tokens.access_token).await;
    assert_eq!(revoked.status, 401);
    assert!(revoked.header("www-authenticate").contains("invalid_token"));
}

#[tokio::test]
async fn a_proxy_that_asks_is_given_the_token_by_the_policy_alone_and_only_when_told() {
    let world = World::new();
    let node = world.node();
    let client = Client::public(&node).await;
    world.provider.issues(world.tokens(1, HOUR));
    let tokens = world.sign_in(&node, &client, ada()).await;
    let ask = async |configure: fn(ForwardAuth) -> ForwardAuth| {
        let forward_auth = configure(ForwardAuth::of(&node.server));
        let routes = Routes::new(&node.server).behind(TRUSTED_PROXY.parse().unwrap());
        let notes: Url = NOTES.parse().unwrap();
        let mut request = Request::get("/verify")
            .header("authorization", format!("Bearer {}", tokens.access_token))
            .header("x-forwarded-method", "POST")
            .header("x-forwarded-host", notes.host_str().unwrap())
            .header("x-forwarded-uri", notes.path())
            .body(Body::empty())
            .unwrap();
        let peer = std::net::SocketAddr::new(TRUSTED_PROXY.parse().unwrap(), 4711);
        request.extensions_mut().insert(ConnectInfo(peer));
        let asked = routes.forward_auth(forward_auth).into_router();
        asked.oneshot(request).await.unwrap()
    };
    let quiet = ask(|forward_auth| forward_auth).await;
    assert_eq!(quiet.status(), 200);
    assert!(!quiet.headers().contains_key(UPSTREAM_TOKEN_HEADER));
    let told = ask(ForwardAuth::upstream_tokens).await;
    assert_eq!(told.headers()[UPSTREAM_TOKEN_HEADER], "upstream-access-1");
    assert!(told.headers()[UPSTREAM_TOKEN_HEADER].is_sensitive());

    world.clock.advance(Duration::from_secs(60 * 60 - 1));
    world.provider.then_refreshed(Err(IdentityError::Unavailable {
        retry_after: Some(Duration::from_secs(9)),
        source: None,
    }));
    assert_eq!(ask(ForwardAuth::upstream_tokens).await.status(), 503);
    world.provider.then_refreshed(Ok(TokensRefreshed::Refused));
    let revoked = ask(ForwardAuth::upstream_tokens).await;
    assert_eq!(revoked.status(), 401);
    let challenge = revoked.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("invalid_token"), "{challenge}");
}
