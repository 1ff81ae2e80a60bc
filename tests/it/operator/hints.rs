//! The lists of a person's and a client's grants are hints: how long they last, and who tidies them up.

use std::time::Duration;

use mcp_oauth_core::clock::Clock as _;
use mcp_oauth_core::grant::GrantId;
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::server::operator::Whose;
use mcp_oauth_core::store::{Key, Kind, Store as _};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::failing_store::Loss;

use super::{DAY, Nodes, SECOND, id, ids, only_grant};

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
