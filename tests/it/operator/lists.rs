//! What there is, as the lists have it.

use std::collections::BTreeSet;

use mcp_oauth_core::client::preregistered::PreregisteredClient;
use mcp_oauth_core::client::registration::GrantType;
use mcp_oauth_core::grant::GrantId;
use mcp_oauth_core::origin::Origin;
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::operator::{ClientSource, GrantState, OperatorError, UserView, Whose};
use mcp_oauth_core::store::{Key, Kind, Store as _, StoreError};
use mcp_oauth_tests::application::NOTES;
use mcp_oauth_tests::client::{Client, Tokens, public_metadata};
use mcp_oauth_tests::device::Device;

use super::{DAY, Nodes, id, ids, only_grant};

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
