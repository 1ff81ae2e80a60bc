//! What those who run a server see, and what they end. Behaviour 45: listing, purging, deleting a client with all it owns.

use std::collections::BTreeSet;
use std::time::Duration;

use mcp_oauth_core::audit::{Action, Command};
use mcp_oauth_core::client::ClientId;
use mcp_oauth_core::client::preregistered::PreregisteredClient;
use mcp_oauth_core::client::registration::GrantType;
use mcp_oauth_core::client::registration_policy::{Admission, RegistrationPolicy, Repeats};
use mcp_oauth_core::clock::{Clock as _, ManualClock};
use mcp_oauth_core::grant::{EndReason, GrantId};
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_core::server::operator::{
    ClientSource, Cursor, GrantState, GrantView, Operator, OperatorError, UserView, Whose,
};
use mcp_oauth_core::store::{Key, Kind, Store as _, StoreError};
use mcp_oauth_core::token::keys::{Algorithm, KeySet};
use mcp_oauth_store::MemoryStore;
use mcp_oauth_tests::application::{Application, NOTES};
use mcp_oauth_tests::client::{Client, REDIRECT_URI, Tokens, public_metadata};
use mcp_oauth_tests::device::Device;
use mcp_oauth_tests::events::Events;
use mcp_oauth_tests::failing_store::{FailingStore, Loss};
use mcp_oauth_tests::hesitant_store::HesitantStore;
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Two nodes of one installation.
struct Nodes {
    one: Application,
    other: Application,
    clock: ManualClock,
    store: FailingStore<MemoryStore>,
}

impl Nodes {
    fn new(configure: impl Fn(AuthorizationServerBuilder) -> AuthorizationServerBuilder) -> Self {
        let clock = ManualClock::default();
        let store = FailingStore::new(MemoryStore::default().with_clock(clock.clone()));
        let keys = KeySet::generate(Algorithm::EdDsa).unwrap();
        let node = || {
            Application::with(store.clone(), clock.clone(), |builder| {
                configure(builder.keys(keys.clone()).device_authorization())
            })
        };
        Self {
            one: node(),
            other: node(),
            clock,
            store,
        }
    }

    fn operator(&self) -> Operator {
        self.one.server.operator()
    }

    /// What a node knows is as old as it may be.
    fn wait_a_second(&self) {
        self.clock.advance(SECOND);
    }

    async fn accepts(&self, tokens: &Tokens) -> [u16; 2] {
        let mut statuses = [0; 2];
        for (node, status) in [&self.one, &self.other].into_iter().zip(&mut statuses) {
            *status = node.call(NOTES, &tokens.access_token).await.status.as_u16();
        }
        statuses
    }
}

async fn ids(operator: &Operator, whose: Whose<'_>, limit: usize) -> BTreeSet<String> {
    let (mut ids, mut cursor) = (BTreeSet::new(), None::<Cursor>);
    loop {
        let page = operator.grants(whose, cursor.as_ref(), limit).await.unwrap();
        assert!(page.unreadable.is_empty());
        ids.extend(page.items.iter().map(|grant| grant.id.to_string()));
        // A cursor survives being written down.
        cursor = page.next.map(|next| next.to_string().parse().unwrap());
        if cursor.is_none() {
            return ids;
        }
    }
}

async fn only_grant(operator: &Operator, subject: &str) -> GrantView {
    let mut page = operator.grants(Whose::User(subject), None, 10).await.unwrap();
    assert_eq!(page.items.len(), 1, "{page:?}");
    page.items.remove(0)
}

fn id(client: &Client) -> ClientId {
    client.client_id.parse().unwrap()
}

async fn refresh_fails(application: &Application, client: &Client, tokens: &Tokens) {
    let refused = client.refresh(application, &tokens.refresh_token, &[]).await;
    assert_eq!(
        (refused.status.as_u16(), refused.error().as_str()),
        (400, "invalid_grant")
    );
}

// === What there is ===

#[tokio::test]
async fn every_client_is_listed_page_by_page_with_where_it_comes_from() {
    let nodes = Nodes::new(|builder| {
        let job = PreregisteredClient::with_secret("nightly-job", "a secret of the configuration, long enough".into());
        builder.client(job.grant_type(GrantType::ClientCredentials).resource(NOTES))
    });
    let mut expected = BTreeSet::from(["nightly-job".to_owned()]);
    for number in 0..7 {
        let mut metadata = public_metadata();
        metadata["client_name"] = format!("Client {number}").into();
        expected.insert(Client::register(&nodes.one, &metadata).await.client_id);
    }
    for limit in [1, 3, 100] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = nodes.operator().clients(cursor.as_ref(), limit).await.unwrap();
            seen.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), expected.len(), "by {limit}: each once");
        let found: BTreeSet<_> = seen.iter().map(|client| client.client_id.to_string()).collect();
        assert_eq!(found, expected);
        for client in seen {
            let configured = client.client_id.as_str() == "nightly-job";
            assert_eq!(client.source == ClientSource::Configuration, configured);
            assert_eq!(client.issued_at.is_none(), configured);
        }
    }
}

#[tokio::test]
async fn what_people_granted_is_listed_for_all_by_person_and_by_client() {
    let nodes = Nodes::new(|builder| builder);
    let (first, second) = (Client::public(&nodes.one).await, Client::confidential(&nodes.one).await);
    for (client, person) in [(&first, "ada"), (&first, "ada"), (&first, "grace"), (&second, "ada")] {
        client.sign_in(&nodes.one, person).await;
    }
    let operator = nodes.operator();
    let ada = ids(&operator, Whose::User("development:ada"), 1).await;
    let of_first = ids(&operator, Whose::Client(&id(&first)), 2).await;
    assert_eq!((ada.len(), of_first.len()), (3, 3));
    assert_eq!(ada.intersection(&of_first).count(), 2);
    let all = ids(&operator, Whose::Everybody, 3).await;
    assert_eq!(all.len(), 4);
    assert!(ada.is_subset(&all) && of_first.is_subset(&all));
    assert!(ids(&operator, Whose::User("development:nobody"), 10).await.is_empty());

    let users = operator.users(None, 10).await.unwrap().items;
    let shown: BTreeSet<_> = users
        .iter()
        .map(|user: &UserView| (user.subject.as_str(), user.grants.len()))
        .collect();
    assert_eq!(
        shown,
        BTreeSet::from([("development:ada", 3), ("development:grace", 1)])
    );

    let statistics = operator.statistics().await.unwrap();
    assert_eq!(
        (statistics.registered_clients, statistics.grants, statistics.users),
        (2, 4, 2)
    );
}

#[tokio::test]
async fn devices_and_machines_are_on_the_lists_too() {
    let nodes = Nodes::new(|builder| {
        let job = PreregisteredClient::with_secret("nightly-job", "a secret of the configuration, long enough".into());
        builder.client(job.grant_type(GrantType::ClientCredentials).resource(NOTES))
    });
    let device = Device::begin(&nodes.one).await;
    device.let_in(&nodes.one, "ada").await;
    let _ = Tokens::of(&device.poll(&nodes.one).await);
    assert_eq!(
        only_grant(&nodes.operator(), "development:ada").await.client_id,
        id(&device.client)
    );
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", "nightly-job"),
        ("client_secret", "a secret of the configuration, long enough"),
    ];
    assert_eq!(nodes.one.post_form("/token", &fields).await.status, 200);
    let grant = only_grant(&nodes.operator(), "client:nightly-job").await;
    assert_eq!(grant.state, GrantState::AccessTokenOnly);
}

#[tokio::test]
async fn a_grant_is_shown_with_what_can_come_of_it_and_nothing_secret() {
    let nodes = Nodes::new(|builder| builder);
    let client = Client::confidential(&nodes.one).await;
    let code = client.code(&nodes.one, "ada").await;
    let grant = only_grant(&nodes.operator(), "development:ada").await;
    assert_eq!(grant.state, GrantState::AwaitsRedemption);
    let tokens = Tokens::of(&client.redeem(&nodes.one, &code, &[]).await);
    let grant = nodes.operator().grant(&grant.id).await.unwrap().unwrap();
    assert_eq!(
        (grant.state, grant.client_id.as_str()),
        (GrantState::Live, client.client_id.as_str())
    );

    let views = [
        serde_json::to_string(&grant).unwrap(),
        serde_json::to_string(&nodes.operator().users(None, 10).await.unwrap()).unwrap(),
        serde_json::to_string(&nodes.operator().clients(None, 10).await.unwrap()).unwrap(),
        format!("{grant:?}"),
    ];
    let secret = client.client_secret.clone().unwrap();
    let digest = |text: &str| {
        serde_json::to_string(&Secret::from(text).digest())
            .unwrap()
            .replace('"', "")
    };
    for view in views {
        let parts = tokens.refresh_token.split_once('.').unwrap().1;
        for hidden in [
            &secret,
            &digest(&secret),
            &parts[6..49],
            &digest(&parts[6..49]),
            &tokens.access_token,
        ] {
            assert!(!view.contains(hidden), "{hidden} in {view}");
        }
        for word in ["digest", "sealed", "tag_key", "secret\":"] {
            assert!(!view.contains(word), "{word} in {view}");
        }
    }
    nodes.operator().end_grant(&grant.id).await.unwrap();
    let grant = nodes.operator().grant(&grant.id).await.unwrap().unwrap();
    assert_eq!(grant.state, GrantState::Ended);
    assert!(nodes.operator().grant(&GrantId::random()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_named_and_hides_no_other() {
    let nodes = Nodes::new(|builder| builder);
    let client = Client::public(&nodes.one).await;
    client.sign_in(&nodes.one, "ada").await;
    let damaged = [
        Key::new(Kind::Client, "client_damaged"),
        Key::new(Kind::Grant, GrantId::random().as_str()),
        Key::new(Kind::NotBefore, "user:development:grace"),
    ];
    for key in &damaged {
        let record = br#"{"version":99,"record":{}}"#.as_slice().into();
        nodes.store.insert(key, record, Some(DAY)).await.unwrap();
    }
    let operator = nodes.operator();
    let clients = operator.clients(None, 100).await.unwrap();
    assert_eq!(
        (clients.items.len(), clients.unreadable[0].id.as_str()),
        (1, "client_damaged")
    );
    let grants = operator.grants(Whose::Everybody, None, 100).await.unwrap();
    assert_eq!((grants.items.len(), grants.unreadable.len()), (1, 1));
    assert!(grants.unreadable[0].reason.contains("version is 99"));
    let report = operator.purge(false).await.unwrap();
    assert_eq!((report.unreadable_count, report.unreadable.len()), (3, 3));
    for key in &damaged {
        assert!(nodes.store.get(key).await.unwrap().is_some(), "{key} is left as it is");
    }
    assert!(
        operator
            .delete_client(&"client_damaged".parse().unwrap())
            .await
            .unwrap(),
        "and can be removed"
    );
}

#[tokio::test]
async fn without_the_store_there_is_no_answer_that_looks_like_one() {
    let nodes = Nodes::new(|builder| builder);
    let client = Client::public(&nodes.one).await;
    nodes.store.set_down(true);
    let (operator, client_id) = (nodes.operator(), id(&client));
    let outcomes = [
        operator.clients(None, 10).await.map(drop),
        operator.client(&client_id).await.map(drop),
        operator.delete_client(&client_id).await.map(drop),
        operator.grants(Whose::Everybody, None, 10).await.map(drop),
        operator
            .grants(Whose::User("development:ada"), None, 10)
            .await
            .map(drop),
        operator.users(None, 10).await.map(drop),
        operator.end_grants_of_user("development:ada").await.map(drop),
        operator.statistics().await.map(drop),
        operator.purge(true).await.map(drop),
        operator.export_to(Vec::new(), None).await.map(drop),
        nodes
            .one
            .server
            .account("development:ada", Origin::unknown())
            .grants()
            .await
            .map(drop),
    ];
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Err(OperatorError::Store(StoreError::Unavailable(_))) => {}
            Err(OperatorError::Refused(error)) => assert_eq!(error.status(), 503),
            other => panic!("{number}: {other:?}"),
        }
    }
}

// === Ending it ===

#[tokio::test]
async fn a_grant_that_is_ended_is_over_at_every_node_within_a_second_and_no_other_is() {
    let nodes = Nodes::new(|builder| builder);
    let client = Client::public(&nodes.one).await;
    let ended = client.sign_in(&nodes.one, "ada").await;
    let grant = only_grant(&nodes.operator(), "development:ada").await.id;
    let stays = client.sign_in(&nodes.one, "ada").await;
    assert_eq!(nodes.accepts(&ended).await, [200, 200]);
    assert!(nodes.operator().end_grant(&grant).await.unwrap());
    assert!(
        !nodes.operator().end_grant(&grant).await.unwrap(),
        "it had ended before"
    );
    nodes.wait_a_second();
    assert_eq!(nodes.accepts(&ended).await, [401, 401]);
    assert_eq!(nodes.accepts(&stays).await, [200, 200]);
    refresh_fails(&nodes.other, &client, &ended).await;
    let _ = Tokens::of(&client.refresh(&nodes.other, &stays.refresh_token, &[]).await);
}

#[tokio::test]
async fn all_of_a_person_is_ended_by_one_write_at_every_node_within_a_second() {
    let nodes = Nodes::new(|builder| builder);
    let client = Client::public(&nodes.one).await;
    let mut of_ada = Vec::new();
    for _ in 0..3 {
        of_ada.push(client.sign_in(&nodes.one, "ada").await);
    }
    let of_grace = client.sign_in(&nodes.one, "grace").await;
    for tokens in of_ada.iter().chain([&of_grace]) {
        assert_eq!(nodes.accepts(tokens).await, [200, 200]);
    }
    let before = nodes.store.operations();
    nodes.operator().end_grants_of_user("development:ada").await.unwrap();
    assert_eq!(
        nodes.store.operations() - before,
        3,
        "is there a mark? the mark; the entry of the feed"
    );
    nodes.wait_a_second();
    for tokens in &of_ada {
        assert_eq!(nodes.accepts(tokens).await, [401, 401]);
        refresh_fails(&nodes.other, &client, tokens).await;
    }
    assert_eq!(nodes.accepts(&of_grace).await, [200, 200]);
    let _ = Tokens::of(&client.refresh(&nodes.other, &of_grace.refresh_token, &[]).await);
    let shown = nodes
        .operator()
        .grants(Whose::User("development:ada"), None, 10)
        .await
        .unwrap();
    assert!(shown.items.iter().all(|grant| grant.state == GrantState::Ended));

    let again = client.sign_in(&nodes.one, "ada").await;
    assert_eq!(nodes.accepts(&again).await, [200, 200], "and may come again");
    let _ = Tokens::of(&client.refresh(&nodes.other, &again.refresh_token, &[]).await);
}

#[tokio::test]
async fn a_mark_holds_for_as_long_as_anything_it_ends_could_live() {
    let nodes = Nodes::new(|builder| builder);
    let client = Client::public(&nodes.one).await;
    let tokens = client.sign_in(&nodes.one, "ada").await;
    nodes.operator().end_grants_of_user("development:ada").await.unwrap();
    // The grant would have lived for 30 days from its last use.
    nodes.clock.advance(DAY * 29 + DAY / 2);
    let grant = nodes
        .store
        .get(&Key::new(Kind::Grant, tokens.refresh_token.split('.').next().unwrap()))
        .await;
    assert!(grant.unwrap().is_some(), "nobody has touched it");
    let mark = nodes
        .store
        .inspect(&Key::new(Kind::NotBefore, "user:development:ada"))
        .await
        .unwrap()
        .unwrap();
    assert!(mark.time_to_live.is_some());
}

#[tokio::test]
async fn all_of_a_client_is_ended_and_the_client_stays() {
    let nodes = Nodes::new(|builder| builder);
    let (client, other) = (Client::confidential(&nodes.one).await, Client::public(&nodes.one).await);
    let (ended, stays) = (
        client.sign_in(&nodes.one, "ada").await,
        other.sign_in(&nodes.one, "ada").await,
    );
    assert_eq!(nodes.accepts(&ended).await, [200, 200]);
    nodes.operator().end_grants_of_client(&id(&client)).await.unwrap();
    nodes.wait_a_second();
    assert_eq!(nodes.accepts(&ended).await, [401, 401]);
    assert_eq!(nodes.accepts(&stays).await, [200, 200]);
    refresh_fails(&nodes.other, &client, &ended).await;
    let shown = nodes.operator().client(&id(&client)).await.unwrap().unwrap();
    assert_eq!(shown.ended_up_to, Some(nodes.clock.now() - SECOND));
    let again = client.sign_in(&nodes.one, "ada").await;
    let _ = Tokens::of(&client.refresh(&nodes.other, &again.refresh_token, &[]).await);
}

#[tokio::test]
async fn a_code_or_an_approval_that_was_not_used_yet_ends_too() {
    let nodes = Nodes::new(|builder| builder);
    let client = Client::public(&nodes.one).await;
    let code = client.code(&nodes.one, "ada").await;
    let device = Device::begin(&nodes.one).await;
    device.let_in(&nodes.one, "ada").await;
    nodes.operator().end_grants_of_user("development:ada").await.unwrap();
    nodes.clock.advance(SECOND * 5);
    let refused = client.redeem(&nodes.other, &code, &[]).await;
    assert_eq!(
        (refused.status.as_u16(), refused.error().as_str()),
        (400, "invalid_grant")
    );
    let refused = device.poll(&nodes.other).await;
    assert_eq!(
        (refused.status.as_u16(), refused.error().as_str()),
        (400, "access_denied")
    );
    let grants = nodes.operator().grants(Whose::Everybody, None, 10).await.unwrap().items;
    assert!(
        grants.iter().all(|grant| grant.state == GrantState::Ended),
        "{grants:?}"
    );
}

#[tokio::test]
async fn nobody_is_told_that_a_token_is_active_after_its_person_or_client_was_ended() {
    let nodes = Nodes::new(|builder| builder);
    for of_person in [true, false] {
        let client = Client::confidential(&nodes.one).await;
        let tokens = client.sign_in(&nodes.one, "ada").await;
        for token in [&tokens.access_token, &tokens.refresh_token] {
            let answer = client.post(&nodes.one, "/introspect", &[("token", token)]).await;
            assert_eq!(answer.json()["active"], true);
        }
        if of_person {
            nodes.operator().end_grants_of_user("development:ada").await.unwrap();
        } else {
            nodes.operator().end_grants_of_client(&id(&client)).await.unwrap();
        }
        for token in [&tokens.access_token, &tokens.refresh_token] {
            let answer = client.post(&nodes.other, "/introspect", &[("token", token)]).await;
            assert_eq!(answer.json()["active"], false);
        }
        nodes.wait_a_second();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_that_meet_the_end_of_all_get_nothing_that_outlives_it() {
    let clock = ManualClock::default();
    let store = FailingStore::new(MemoryStore::default().with_clock(clock.clone()));
    let hesitant = store.clone();
    let application = Application::with(store, clock.clone(), move |builder| {
        builder.store(HesitantStore(hesitant))
    });
    let client = Client::public(&application).await;
    for _ in 0..5 {
        let first = client.sign_in(&application, "ada").await;
        let refreshes: Vec<_> = (0..16)
            .map(|_| {
                let (application, client, token) = (application.clone(), client.clone(), first.refresh_token.clone());
                tokio::spawn(async move { client.refresh(&application, &token, &[]).await })
            })
            .collect();
        application
            .server
            .operator()
            .end_grants_of_user("development:ada")
            .await
            .unwrap();
        let mut got = vec![first];
        for refresh in refreshes {
            let answer = refresh.await.unwrap();
            if answer.status == 200 {
                got.push(Tokens::of(&answer));
            }
        }
        clock.advance(SECOND);
        for tokens in got {
            assert_eq!(application.call(NOTES, &tokens.access_token).await.status, 401);
            refresh_fails(&application, &client, &tokens).await;
        }
        clock.advance(SECOND);
    }
}

#[tokio::test]
async fn deleting_a_client_takes_all_it_was_granted_along() {
    let nodes = Nodes::new(|builder| {
        let job = PreregisteredClient::with_secret("nightly-job", "a secret of the configuration, long enough".into());
        builder.client(job.grant_type(GrantType::ClientCredentials).resource(NOTES))
    });
    let (client, other) = (Client::confidential(&nodes.one).await, Client::public(&nodes.one).await);
    let (ended, stays) = (
        client.sign_in(&nodes.one, "ada").await,
        other.sign_in(&nodes.one, "ada").await,
    );
    assert!(nodes.operator().delete_client(&id(&client)).await.unwrap());
    assert!(
        !nodes.operator().delete_client(&id(&client)).await.unwrap(),
        "there is none"
    );
    nodes.wait_a_second();
    assert_eq!(nodes.accepts(&ended).await, [401, 401]);
    assert_eq!(nodes.accepts(&stays).await, [200, 200]);
    let refused = client.refresh(&nodes.other, &ended.refresh_token, &[]).await;
    assert_eq!(
        (refused.status.as_u16(), refused.error().as_str()),
        (401, "invalid_client")
    );
    assert!(nodes.operator().client(&id(&client)).await.unwrap().is_none());
    let configured = nodes.operator().delete_client(&"nightly-job".parse().unwrap()).await;
    assert!(matches!(configured, Err(OperatorError::Configured(_))));
}

#[tokio::test]
async fn a_client_that_the_operator_makes_signs_people_in_and_is_never_forgotten() {
    let nodes = Nodes::new(|builder| {
        let mut policy = RegistrationPolicy::default();
        policy.admission = Admission::Nobody;
        builder.registration(policy)
    });
    let metadata = json!({"client_name": "By hand", "redirect_uris": [REDIRECT_URI]}).to_string();
    let made = nodes.operator().create_client(metadata.as_bytes()).await.unwrap();
    let client = Client {
        client_id: made.client_id.to_string(),
        client_secret: made.client_secret().map(|secret| secret.expose().to_owned()),
        verifier: Secret::random().expose().to_owned(),
    };
    assert!(
        client.client_secret.is_some(),
        "RFC 7591 says client_secret_basic, if nothing is said"
    );
    assert!(made.registration_access_token.is_none() && made.registration_client_uri.is_none());
    nodes.clock.advance(DAY * 10_000);
    let tokens = client.sign_in(&nodes.other, "ada").await;
    assert_eq!(nodes.accepts(&tokens).await, [200, 200]);
    let view = nodes.operator().client(&made.client_id).await.unwrap().unwrap();
    assert_eq!((view.expires_at, view.manages_itself), (None, false));
    assert_eq!(view.name.as_deref(), Some("By hand"));
}

#[tokio::test]
async fn a_client_that_could_not_register_is_not_made_by_the_operator_either() {
    let nodes = Nodes::new(|builder| builder);
    for (metadata, code) in [
        (json!([]), "invalid_client_metadata"),
        (json!({"redirect_uris": []}), "invalid_client_metadata"),
        (
            json!({"redirect_uris": ["http://app.example/"]}),
            "invalid_redirect_uri",
        ),
        (
            json!({"redirect_uris": ["javascript:alert(1)"]}),
            "invalid_redirect_uri",
        ),
    ] {
        match nodes.operator().create_client(metadata.to_string().as_bytes()).await {
            Err(OperatorError::Refused(error)) => assert_eq!(error.code().as_str(), code, "{metadata}"),
            other => panic!("{metadata}: {other:?}"),
        }
    }
    assert!(nodes.operator().clients(None, 10).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_client_that_comes_back_under_its_name_has_nothing_of_what_it_had() {
    let nodes = Nodes::new(|builder| {
        let mut policy = RegistrationPolicy::default();
        policy.repeats = Repeats::OneRecord;
        builder.registration(policy)
    });
    let client = Client::public(&nodes.one).await;
    let before = client.sign_in(&nodes.one, "ada").await;
    assert_eq!(nodes.accepts(&before).await, [200, 200]);
    assert!(nodes.operator().delete_client(&id(&client)).await.unwrap());
    nodes.wait_a_second();
    let again = Client::public(&nodes.one).await;
    assert_eq!(
        again.client_id, client.client_id,
        "whoever registers the same is the same client"
    );
    let client = Client {
        client_id: again.client_id,
        ..client
    };
    refresh_fails(&nodes.other, &client, &before).await;
    assert_eq!(nodes.accepts(&before).await, [401, 401]);
    let after = client.sign_in(&nodes.one, "ada").await;
    assert_eq!(nodes.accepts(&after).await, [200, 200]);
}

// === A person's own page ===

#[tokio::test]
async fn a_person_sees_and_ends_what_is_theirs_and_nothing_else() {
    let nodes = Nodes::new(|builder| builder);
    let client = Client::public(&nodes.one).await;
    let first = client.sign_in(&nodes.one, "ada").await;
    nodes.clock.advance(SECOND);
    let second = client.sign_in(&nodes.one, "ada").await;
    let of_grace = client.sign_in(&nodes.one, "grace").await;
    let account = nodes.one.server.account("development:ada", Origin::unknown());
    let grants = account.grants().await.unwrap();
    assert_eq!(grants.len(), 2);
    assert!(
        grants[0].last_used_at > grants[1].last_used_at,
        "what was used last is in front"
    );
    assert_eq!(grants[0].client_name.as_deref(), Some("Test client"));

    let theirs = only_grant(&nodes.operator(), "development:grace").await.id;
    assert!(!account.end_grant(&theirs).await.unwrap());
    assert!(
        !account.end_grant(&GrantId::random()).await.unwrap(),
        "as good as made up"
    );
    assert!(account.end_grant(&grants[1].id).await.unwrap());
    assert_eq!(account.grants().await.unwrap().len(), 1);
    nodes.wait_a_second();
    assert_eq!(nodes.accepts(&first).await, [401, 401]);
    assert_eq!(nodes.accepts(&second).await, [200, 200]);
    account.end_all().await.unwrap();
    nodes.wait_a_second();
    assert_eq!(nodes.accepts(&second).await, [401, 401]);
    assert_eq!(nodes.accepts(&of_grace).await, [200, 200]);
    assert!(account.grants().await.unwrap().is_empty());
}

// === Hints ===

#[tokio::test]
async fn a_grant_stays_on_the_lists_for_as_long_as_it_is_used_and_not_much_longer() {
    let nodes = Nodes::new(|builder| builder);
    let client = Client::public(&nodes.one).await;
    let mut tokens = client.sign_in(&nodes.one, "ada").await;
    for _ in 0..10 {
        nodes.clock.advance(DAY * 29);
        tokens = Tokens::of(&client.refresh(&nodes.one, &tokens.refresh_token, &[]).await);
        assert_eq!(
            ids(&nodes.operator(), Whose::User("development:ada"), 10).await.len(),
            1
        );
        assert_eq!(ids(&nodes.operator(), Whose::Client(&id(&client)), 10).await.len(), 1);
    }
    nodes.clock.advance(DAY * 33);
    for kind in [Kind::UserGrants, Kind::ClientGrants] {
        assert!(nodes.store.list(kind, None, 10).await.unwrap().keys.is_empty());
    }
}

#[tokio::test]
async fn a_hint_that_points_at_nothing_is_taken_away_by_whoever_reads_it() {
    let nodes = Nodes::new(|builder| builder);
    let set = Key::new(Kind::UserGrants, "development:ada");
    for hint in ["not even an identifier", GrantId::random().as_str()] {
        nodes.store.add_member(&set, hint, DAY).await.unwrap();
    }
    assert!(
        ids(&nodes.operator(), Whose::User("development:ada"), 10)
            .await
            .is_empty()
    );
    assert_eq!(nodes.store.members(&set, None, 10).await.unwrap().total, 0);
}

#[tokio::test]
async fn a_hint_to_a_grant_of_somebody_else_shows_nothing() {
    let nodes = Nodes::new(|builder| builder);
    let client = Client::public(&nodes.one).await;
    client.sign_in(&nodes.one, "grace").await;
    let grant = only_grant(&nodes.operator(), "development:grace").await.id;
    nodes
        .store
        .add_member(&Key::new(Kind::UserGrants, "development:ada"), grant.as_str(), DAY)
        .await
        .unwrap();
    let account = nodes.one.server.account("development:ada", Origin::unknown());
    assert!(account.grants().await.unwrap().is_empty());
    assert_eq!(only_grant(&nodes.operator(), "development:grace").await.id, grant);
}

#[tokio::test]
async fn a_hint_that_is_there_before_its_grant_is_left_alone() {
    let nodes = Nodes::new(|builder| builder);
    let set = Key::new(Kind::UserGrants, "development:ada");
    // As old as one that was written this very moment.
    nodes
        .store
        .add_member(&set, GrantId::random().as_str(), DAY * 32)
        .await
        .unwrap();
    assert!(
        ids(&nodes.operator(), Whose::User("development:ada"), 10)
            .await
            .is_empty()
    );
    assert_eq!(nodes.operator().purge(false).await.unwrap().hints_removed, 0);
    assert_eq!(nodes.store.members(&set, None, 10).await.unwrap().total, 1);
    nodes.clock.advance(Duration::from_secs(61));
    assert_eq!(nodes.operator().purge(false).await.unwrap().hints_removed, 1);
}

#[tokio::test]
async fn whoever_signs_in_is_not_turned_away_for_want_of_a_hint() {
    let nodes = Nodes::new(|builder| builder);
    let client = Client::public(&nodes.one).await;
    let mut browser = mcp_oauth_tests::browser::Browser::default();
    let consent = browser.open(&nodes.one, &client.authorization_url(&[])).await;
    let approved = browser.decide(&nodes.one, &consent, "approve").await;
    // The transaction is read; then the grant, the end of the transaction and the hints are written.
    nodes.store.fail_once(3, Loss::Request);
    let returned = browser.sign_in(&nodes.one, &approved, "ada").await;
    let code = mcp_oauth_tests::browser::arrival(&returned).code();
    let _ = Tokens::of(&client.redeem(&nodes.one, &code, &[]).await);
    let operator = nodes.operator();
    assert!(ids(&operator, Whose::User("development:ada"), 10).await.is_empty());
    assert_eq!(ids(&operator, Whose::Client(&id(&client)), 10).await.len(), 1);
    operator.purge(false).await.unwrap();
    assert_eq!(
        ids(&operator, Whose::User("development:ada"), 10).await.len(),
        1,
        "tidying up brings it back"
    );
}

// === Tidying up ===

#[tokio::test]
async fn what_is_stale_is_counted_first_and_then_removed() {
    let nodes = Nodes::new(|builder| builder);
    let client = Client::public(&nodes.one).await;
    client.sign_in(&nodes.one, "ada").await;
    let set = Key::new(Kind::ClientGrants, client.client_id.as_str());
    nodes
        .store
        .add_member(&set, GrantId::random().as_str(), DAY)
        .await
        .unwrap();
    // A store that does not forget: the record of a client stays when its time is over.
    let (key, stale) = (
        Key::new(Kind::Client, client.client_id.as_str()),
        Key::new(Kind::Client, "client_stale"),
    );
    let record = String::from_utf8(nodes.store.get(&key).await.unwrap().unwrap().to_vec()).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
    record["record"]["client_id"] = "client_stale".into();
    record["record"]["expires_at"] = (nodes.clock.now() - SECOND).as_seconds().into();
    nodes
        .store
        .insert(&stale, record.to_string().into(), None)
        .await
        .unwrap();

    let operator = nodes.operator();
    for dry_run in [true, false] {
        let report = operator.purge(dry_run).await.unwrap();
        let figures = (
            report.hints_examined,
            report.hints_removed,
            report.clients_examined,
            report.clients_removed,
        );
        assert_eq!((report.dry_run, figures), (dry_run, (3, 1, 2, 1)));
        assert_eq!(nodes.store.get(&stale).await.unwrap().is_some(), dry_run);
    }
    let report = operator.purge(false).await.unwrap();
    assert_eq!((report.hints_removed, report.clients_removed), (0, 0));
    assert_eq!(ids(&operator, Whose::User("development:ada"), 10).await.len(), 1);
}

// === What is left behind of it ===

#[tokio::test]
async fn every_command_leaves_an_event() {
    let events = Events::default();
    let sink = events.clone();
    let nodes = Nodes::new(move |builder| builder.audit(sink.clone()));
    let client = Client::public(&nodes.one).await;
    client.sign_in(&nodes.one, "ada").await;
    let origin = Origin::address("192.0.2.7".parse().unwrap());
    let operator = nodes.operator().coming_from(origin);
    let grant = only_grant(&nodes.operator(), "development:ada").await.id;
    let before = events.so_far().len();
    operator.clients(None, 10).await.unwrap();
    operator.client(&id(&client)).await.unwrap();
    operator
        .create_client(public_metadata().to_string().as_bytes())
        .await
        .unwrap();
    operator.grants(Whose::Everybody, None, 10).await.unwrap();
    operator.grant(&grant).await.unwrap();
    operator.users(None, 10).await.unwrap();
    operator.statistics().await.unwrap();
    operator.purge(true).await.unwrap();
    operator.purge(false).await.unwrap();
    operator.export_to(Vec::new(), None).await.unwrap();
    operator.end_grant(&grant).await.unwrap();
    operator.end_grants_of_user("development:ada").await.unwrap();
    operator.end_grants_of_client(&id(&client)).await.unwrap();
    operator.delete_client(&id(&client)).await.unwrap();
    let events = &events.so_far()[before..];
    assert!(events.iter().all(|event| event.origin == origin));
    let actions: Vec<_> = events.iter().map(|event| event.action).collect();
    let expected = [
        Command::ListClients,
        Command::ShowClient,
        Command::CreateClient,
        Command::ListGrants,
        Command::ShowGrant,
        Command::ListUsers,
        Command::Count,
        Command::RehearsePurge,
        Command::Purge,
        Command::Export,
        Command::EndGrant,
        Command::EndGrantsOfUser,
        Command::EndGrantsOfClient,
        Command::DeleteClient,
    ];
    let mut expected: Vec<_> = expected.map(Action::Operate).to_vec();
    expected.insert(10, Action::EndGrant(EndReason::ByOperator));
    assert_eq!(actions, expected);
    assert_eq!(events[10].subject.as_deref(), Some("development:ada"));
    assert_eq!(events[12].subject.as_deref(), Some("development:ada"));
}
