//! One key after the other, and nobody who meets one before it is known.

use std::time::Duration;

use mcp_oauth_core::audit::{Action, Outcome};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::builder::{ConfigurationError, Lifetimes};
use mcp_oauth_core::server::keys::KeyRingError;
use mcp_oauth_core::token::keys::{Algorithm, KeyRotation, KeySealing, KeyState, SigningKey};
use mcp_oauth_store::MemoryStore;
use mcp_oauth_tests::application::{Application, ISSUER, NOTES};
use mcp_oauth_tests::client::{Client, Tokens};
use mcp_oauth_tests::events::Events;
use mcp_oauth_tests::failing_store::Loss;
use mcp_oauth_tower::{AllowList, AuthorizationServer, DevIdentity, Resource};
use serde_json::json;

use super::{DAY, HOUR, Installation, kid_of, published, sign_in, status};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_find_the_next_key_due_one_creates_it() {
    for _ in 0..10 {
        let installation = Installation::new();
        let nodes = [installation.hesitant_node(), installation.hesitant_node()];
        nodes[0].server.prepare_keys().await.unwrap();
        let before = published(&nodes[0]).await;
        installation.wait(90 * DAY - HOUR);
        let tasks = (0..16).map(|number| {
            let node = nodes[number % 2].clone();
            tokio::spawn(async move {
                let (_, tokens) = sign_in(&node).await;
                tokens.access_token
            })
        });
        let mut tokens = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            tokens.push(task.await.unwrap());
        }
        let after = published(&nodes[0]).await;
        assert_eq!(after.len(), 2);
        assert_eq!(after[0], before[0]);
        assert_eq!(published(&nodes[1]).await, after);
        installation.wait(HOUR);
        for node in &nodes {
            tokens.push(sign_in(node).await.1.access_token);
        }
        assert_eq!(kid_of(&tokens[16]), after[1]);
        assert_eq!(kid_of(&tokens[17]), after[1]);
        for node in &nodes {
            assert_eq!(status(node, &tokens[16]).await, 200);
            assert_eq!(status(node, &tokens[17]).await, 200);
        }
    }
}

#[tokio::test]
async fn a_new_key_signs_only_after_it_was_announced_and_old_tokens_verify_until_they_expire() {
    let installation = Installation::new();
    let (one, other) = (installation.node(), installation.node());
    let (client, tokens) = sign_in(&one).await;
    let first = kid_of(&tokens.access_token);
    let announced = one.server.rotate_keys().await.unwrap();
    let KeyState::Announced { signs_from } = announced.state else {
        panic!("{announced:?}");
    };
    let start = one.server.key_ring().await.unwrap()[0].created_at;
    assert_eq!(signs_from.since(start).as_secs(), HOUR);
    installation.wait(10);
    assert_eq!(
        published(&other).await,
        [first.as_str(), &announced.kid],
        "known before it signs"
    );

    installation.wait(HOUR - 11);
    let last = Tokens::of(&client.refresh(&one, &tokens.refresh_token, &[]).await);
    assert_eq!(kid_of(&last.access_token), first);
    installation.wait(1);
    let next = Tokens::of(&client.refresh(&other, &last.refresh_token, &[]).await);
    assert_eq!(kid_of(&next.access_token), announced.kid);
    for node in [&one, &other] {
        assert_eq!(status(node, &last.access_token).await, 200);
        assert_eq!(status(node, &next.access_token).await, 200);
    }

    installation.wait(HOUR - 2);
    assert_eq!(status(&other, &last.access_token).await, 200, "to its last second");
    installation.wait(1);
    assert_eq!(status(&other, &last.access_token).await, 401);
    assert_eq!(published(&one).await.len(), 2, "and five minutes more");
    installation.wait(300);
    assert_eq!(published(&one).await.len(), 2);
    installation.wait(1);
    assert_eq!(
        published(&one).await,
        [announced.kid],
        "even if it was read a second ago"
    );
}

#[tokio::test]
async fn a_key_whose_time_is_over_is_not_published_even_where_that_cannot_be_stored() {
    let installation = Installation::new();
    let node = installation.node();
    let next = node.server.rotate_keys().await.unwrap().kid;
    installation.wait(2 * HOUR + 299);
    assert_eq!(published(&node).await.len(), 2);
    installation.wait(1);
    // The record is read, and then written.
    installation.store.fail_once(1, Loss::Request);
    assert_eq!(published(&node).await, [next]);
}

#[tokio::test]
async fn there_is_room_for_sixteen_keys() {
    let mut lifetimes = Lifetimes::default();
    lifetimes.access_token = Duration::from_secs(10 * DAY);
    let installation = Installation::new();
    let node = installation.node_with(|builder| builder.lifetimes(lifetimes));
    for _ in 0..15 {
        node.server.rotate_keys().await.unwrap();
        installation.wait(HOUR);
    }
    assert!(matches!(node.server.rotate_keys().await, Err(KeyRingError::NoRoom)));
    let oldest = published(&node).await.remove(0);
    node.server.withdraw_key(&oldest).await.unwrap();
    node.server.rotate_keys().await.unwrap();
}

#[tokio::test]
async fn a_command_that_is_given_twice_or_at_both_nodes_makes_one_key() {
    let installation = Installation::new();
    let (one, other) = (installation.node(), installation.node());
    let first = one.server.rotate_keys().await.unwrap();
    assert_eq!(other.server.rotate_keys().await.unwrap(), first);
    let (first, second) = tokio::join!(one.server.rotate_keys(), other.server.rotate_keys());
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(one.server.key_ring().await.unwrap().len(), 2);
}

#[tokio::test]
async fn another_algorithm_comes_with_the_next_key_and_both_verify() {
    let installation = Installation::new();
    let (client, tokens) = sign_in(&installation.node()).await;
    let node = installation.node_with(|builder| builder);
    let changed = Application::with(installation.store.clone(), installation.clock.clone(), |builder| {
        builder
            .signing_algorithm(Algorithm::Es256)
            .stored_keys(KeySealing::new(&installation.secret).unwrap(), KeyRotation::default())
    });
    assert_eq!(changed.server.rotate_keys().await.unwrap().algorithm, Algorithm::Es256);
    installation.wait(HOUR - 1);
    let last = Tokens::of(&client.refresh(&changed, &tokens.refresh_token, &[]).await);
    installation.wait(1);
    let next = Tokens::of(&client.refresh(&node, &last.refresh_token, &[]).await);
    for node in [&node, &changed] {
        assert_eq!(status(node, &last.access_token).await, 200);
        assert_eq!(status(node, &next.access_token).await, 200);
    }
    let keys = node.get("/jwks").await.json()["keys"].clone();
    assert_eq!((&keys[0]["alg"], &keys[1]["alg"]), (&json!("EdDSA"), &json!("ES256")));
    let metadata = node.get("/.well-known/openid-configuration").await.json();
    assert_eq!(
        metadata["id_token_signing_alg_values_supported"],
        json!(["EdDSA", "ES256"])
    );
}

#[tokio::test]
async fn when_the_next_key_cannot_be_stored_the_present_one_goes_on() {
    let installation = Installation::new();
    let node = installation.node();
    let kid = kid_of(&sign_in(&node).await.1.access_token);
    installation.wait(100 * DAY);
    let client = Client::public(&node).await;
    let code = client.code(&node, "ada").await;
    // The client, the grant, the keys and the client's mark are read; then the keys are written.
    installation.store.fail_once(4, Loss::Request);
    let tokens = Tokens::of(&client.redeem(&node, &code, &[]).await);
    assert_eq!(kid_of(&tokens.access_token), kid);
    installation.wait(10);
    assert_eq!(
        published(&node).await.len(),
        2,
        "and whoever comes later stores the next one"
    );
}

#[tokio::test]
async fn a_schedule_that_outruns_caches_is_refused_when_the_server_is_built() {
    let mut rotation = KeyRotation::default();
    rotation.announce_before = Duration::from_secs(300);
    let refused = AuthorizationServer::builder(ISSUER)
        .resource(Resource::new(NOTES).unwrap())
        .identity(DevIdentity::default())
        .allow(AllowList::everybody())
        .store(MemoryStore::default())
        .stored_keys(KeySealing::new(&Secret::random()).unwrap(), rotation)
        .build();
    assert!(matches!(refused, Err(ConfigurationError::KeyRotation(_))));
}

#[tokio::test]
async fn whoever_keeps_events_learns_which_key_was_made_or_withdrawn() {
    let kept = Events::default();
    let installation = Installation::new();
    let node = installation.node_with(|builder| builder.audit(kept.clone()));
    let [first] = published(&node).await.try_into().unwrap();
    installation.wait(90 * DAY);
    let [_, scheduled] = published(&node).await.try_into().unwrap();
    node.server.withdraw_key(&scheduled).await.unwrap();
    let announced = node.server.rotate_keys().await.unwrap().kid;
    node.server.withdraw_key(&announced).await.unwrap();
    node.server.withdraw_key(&first).await.unwrap();
    let [last] = published(&node).await.try_into().unwrap();
    node.server.withdraw_key("other").await.unwrap_err();
    let events = kept.so_far();
    let seen: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.action,
                event.key.as_deref().unwrap(),
                event.outcome == Outcome::Success,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (Action::RotateKeys, &*first, true),
            (Action::RotateKeys, &scheduled, true),
            (Action::WithdrawKey, &scheduled, true),
            (Action::RotateKeys, &announced, true),
            (Action::WithdrawKey, &announced, true),
            (Action::WithdrawKey, &first, true),
            (Action::RotateKeys, &last, true),
            (Action::WithdrawKey, "other", false),
        ]
    );
}

#[tokio::test]
async fn a_key_from_elsewhere_becomes_the_next_one_and_signs_when_it_has_been_announced() {
    let installation = Installation::new();
    let (one, other) = (installation.node(), installation.node());
    let (client, tokens) = sign_in(&one).await;
    let pem = include_str!("../../../mcp-oauth-core/tests/keys/rsa2048.pkcs1.pem");
    let key = SigningKey::from_pem(&pem.into()).unwrap();
    let announced = one.server.import_key(&key).await.unwrap();
    assert_eq!(
        (announced.kid.as_str(), announced.algorithm),
        (key.kid(), Algorithm::Rs256)
    );
    assert!(matches!(announced.state, KeyState::Announced { .. }), "{announced:?}");
    assert_eq!(other.server.import_key(&key).await.unwrap(), announced, "twice is once");
    assert_eq!(
        published(&other).await,
        [kid_of(&tokens.access_token), announced.kid.clone()]
    );
    installation.wait(HOUR - 1);
    let last = Tokens::of(&client.refresh(&one, &tokens.refresh_token, &[]).await);
    assert_eq!(kid_of(&last.access_token), kid_of(&tokens.access_token));
    installation.wait(1);
    let next = Tokens::of(&client.refresh(&other, &last.refresh_token, &[]).await);
    assert_eq!(kid_of(&next.access_token), announced.kid);
    for node in [&one, &other] {
        assert_eq!(status(node, &last.access_token).await, 200);
        assert_eq!(status(node, &next.access_token).await, 200);
    }
}

#[tokio::test]
async fn a_key_from_elsewhere_does_not_push_aside_one_that_is_announced() {
    let installation = Installation::new();
    let node = installation.node();
    let announced = node.server.rotate_keys().await.unwrap();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let refused = node.server.import_key(&key).await;
    assert!(matches!(refused, Err(KeyRingError::AnotherAnnounced)), "{refused:?}");
    node.server.withdraw_key(&announced.kid).await.unwrap();
    assert_eq!(node.server.import_key(&key).await.unwrap().kid, key.kid());
}
