//! What an operator ends, and makes, and what is over by it.

use mcp_oauth_core::client::preregistered::PreregisteredClient;
use mcp_oauth_core::client::registration::GrantType;
use mcp_oauth_core::client::registration_policy::{Admission, RegistrationPolicy, Repeats};
use mcp_oauth_core::clock::{Clock as _, ManualClock};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::operator::{GrantState, OperatorError, Whose};
use mcp_oauth_core::store::{Key, Kind, Store as _};
use mcp_oauth_store::MemoryStore;
use mcp_oauth_tests::application::{Application, NOTES};
use mcp_oauth_tests::client::{Client, REDIRECT_URI, Tokens};
use mcp_oauth_tests::device::Device;
use mcp_oauth_tests::failing_store::FailingStore;
use mcp_oauth_tests::hesitant_store::HesitantStore;
use serde_json::json;

use super::{DAY, Nodes, SECOND, id, only_grant, refresh_fails};

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
        builder.store(HesitantStore::new(hesitant))
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
