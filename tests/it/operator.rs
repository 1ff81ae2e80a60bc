//! What those who run a server see, and what they end. Behaviour 45: listing, purging, deleting a client with all it owns.

use std::collections::BTreeSet;
use std::time::Duration;

use mcp_oauth_core::audit::{Action, Command};
use mcp_oauth_core::client::ClientId;
use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::grant::{EndReason, GrantId};
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_core::server::operator::{Cursor, GrantView, Operator, Whose};
use mcp_oauth_core::token::keys::{Algorithm, KeySet};
use mcp_oauth_store::MemoryStore;
use mcp_oauth_tests::application::{Application, NOTES};
use mcp_oauth_tests::client::{Client, Tokens, public_metadata};
use mcp_oauth_tests::events::Events;
use mcp_oauth_tests::failing_store::FailingStore;

mod ending;
mod hints;
mod lists;

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
