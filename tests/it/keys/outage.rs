//! What reaches the store, and what is answered when it does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use mcp_oauth_core::clock::{Clock, ManualClock, UnixTime};
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::NotReady;
use mcp_oauth_core::server::keys::KeyRingError;
use mcp_oauth_tests::application::{NOTES, encode, request};
use mcp_oauth_tests::client::Client;
use mcp_oauth_tests::failing_store::Loss;
use serde_json::json;

use super::{Installation, published, sign_in, status, unavailable, with_made_up_key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_tokens_with_made_up_keys_hardly_reaches_the_store() {
    let installation = Installation::new();
    let node = installation.node();
    let (client, tokens) = sign_in(&node).await;
    assert_eq!(status(&node, &tokens.access_token).await, 200);
    let before = installation.store.operations();
    let made_up: Vec<_> = (0..500).map(|_| with_made_up_key(&tokens.access_token)).collect();
    let calls = made_up.iter().map(|token| {
        let (node, token) = (node.clone(), token.clone());
        tokio::spawn(async move { status(&node, &token).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), 401);
    }
    assert_eq!(installation.store.operations() - before, 1, "one look for all of them");
    // The other endpoints that read access tokens are bounded by the same.
    let confidential = Client::confidential(&node).await;
    let secret = confidential.client_secret.as_deref().unwrap();
    let basic = format!(
        "Basic {}",
        STANDARD.encode(format!("{}:{secret}", confidential.client_id))
    );
    let form_type = ("content-type", "application/x-www-form-urlencoded");
    let before = installation.store.operations();
    for token in &made_up[..20] {
        let form = encode(&[("token", token), ("client_id", &client.client_id)]);
        let revoked = node.send(request(Method::POST, "/revoke", &[form_type], &form)).await;
        assert_eq!(revoked.status, 200);
        let headers = [form_type, ("authorization", &basic)];
        let form = encode(&[("token", token)]);
        let introspected = node.send(request(Method::POST, "/introspect", &headers, &form)).await;
        assert_eq!(introspected.body, r#"{"active":false}"#);
    }
    let looked_up = installation.store.operations() - before;
    assert_eq!(looked_up, 40, "a client for each, and the keys for none");
    installation.wait(2);
    let before = installation.store.operations();
    for token in &made_up[..20] {
        assert_eq!(status(&node, token).await, 401);
    }
    assert_eq!(
        installation.store.operations() - before,
        1,
        "and two seconds later another one"
    );
}

#[tokio::test]
async fn tokens_that_could_not_be_ours_have_nobody_ask_the_store() {
    let installation = Installation::new();
    let node = installation.node();
    let (_, tokens) = sign_in(&node).await;
    let (_, rest) = tokens.access_token.split_once('.').unwrap();
    let before = installation.store.operations();
    for header in [
        json!({"typ": "at+jwt", "alg": "EdDSA"}),
        json!({"typ": "at+jwt", "alg": "EdDSA", "kid": "blessed-key-1"}),
        json!({"typ": "JWT", "alg": "EdDSA", "kid": Secret::random().expose()}),
        json!({"alg": "none", "typ": "at+jwt", "kid": Secret::random().expose()}),
    ] {
        let token = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
        assert_eq!(status(&node, &token).await, 401, "{header}");
    }
    assert_eq!(installation.store.operations(), before);
}

#[tokio::test]
async fn without_the_store_what_was_just_read_still_counts_and_then_nobody_can_say() {
    let installation = Installation::new();
    let node = installation.node();
    let (client, tokens) = sign_in(&node).await;
    assert_eq!(status(&node, &tokens.access_token).await, 200);
    assert_eq!(node.get("/jwks").await.status, 200);
    installation.store.set_down(true);
    assert_eq!(status(&node, &tokens.access_token).await, 200);
    assert_eq!(node.get("/jwks").await.status, 200);
    let made_up = with_made_up_key(&tokens.access_token);
    for _ in 0..3 {
        unavailable(&node.call(NOTES, &made_up).await);
    }
    installation.wait(10);
    for _ in 0..3 {
        unavailable(&node.call(NOTES, &tokens.access_token).await);
        unavailable(&node.get("/jwks").await);
        unavailable(&client.refresh(&node, &tokens.refresh_token, &[]).await);
    }
    assert_eq!(status(&node, "wrong.to.ken").await, 401);

    installation.store.set_down(false);
    assert_eq!(status(&node, &tokens.access_token).await, 200);
    assert_eq!(client.refresh(&node, &tokens.refresh_token, &[]).await.status, 200);
    installation.wait(2);
    assert_eq!(status(&node, &made_up).await, 401);
}

#[tokio::test]
async fn those_who_wait_for_a_store_that_does_not_answer_do_not_ask_it_again_each() {
    let installation = Installation::new();
    let node = installation.hesitant_node();
    let (_, tokens) = sign_in(&node).await;
    assert_eq!(status(&node, &tokens.access_token).await, 200);
    installation.wait(10);
    installation.store.set_down(true);
    let before = installation.store.operations();
    let calls = (0..16).map(|_| {
        let (node, token) = (node.clone(), tokens.access_token.clone());
        tokio::spawn(async move { node.call(NOTES, &token).await })
    });
    for call in calls.collect::<Vec<_>>() {
        unavailable(&call.await.unwrap());
    }
    assert_eq!(installation.store.operations() - before, 1);
}

#[tokio::test]
async fn a_node_that_starts_without_the_store_fails_early_if_asked_and_recovers_by_itself() {
    let installation = Installation::new();
    let (_, tokens) = sign_in(&installation.node()).await;
    installation.store.set_down(true);
    let node = installation.node();
    assert!(matches!(node.server.prepare_keys().await, Err(KeyRingError::Store(_))));
    unavailable(&node.call(NOTES, &tokens.access_token).await);
    assert_eq!(status(&node, "wrong.to.ken").await, 401);
    installation.store.set_down(false);
    installation.wait(2);
    assert_eq!(status(&node, &tokens.access_token).await, 200);
}

#[tokio::test]
async fn whichever_operation_is_lost_while_keys_are_begun_exchanged_or_withdrawn_the_next_attempt_goes_on() {
    for loss in [Loss::Request, Loss::Answer] {
        for number in 0..4 {
            let installation = Installation::new();
            let node = installation.node();
            installation.store.fail_once(number, loss);
            if node.server.prepare_keys().await.is_err() {
                node.server.prepare_keys().await.unwrap();
            }
            installation.nothing_more_is_lost();
            let [first] = published(&node).await.try_into().unwrap();

            installation.store.fail_once(number, loss);
            let next = match node.server.rotate_keys().await {
                Ok(next) => next,
                Err(_) => node.server.rotate_keys().await.unwrap(),
            };
            installation.nothing_more_is_lost();
            assert_eq!(
                published(&installation.node()).await,
                [first.as_str(), &next.kid],
                "{number}, {loss:?}"
            );

            installation.store.fail_once(number, loss);
            if node.server.withdraw_key(&first).await.is_err() {
                let again = node.server.withdraw_key(&first).await;
                assert!(matches!(again, Ok(()) | Err(KeyRingError::UnknownKey(_))), "{again:?}");
            }
            installation.nothing_more_is_lost();
            assert_eq!(published(&installation.node()).await, [next.kid], "{number}, {loss:?}");
        }
    }
}

/// A clock that can be set back.
#[derive(Clone, Debug)]
struct WildClock(Arc<AtomicU64>);

impl Clock for WildClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_seconds(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_knowledge_of_keys_young() {
    let installation = Installation::new();
    let clock = WildClock(Arc::new(1_790_000_000.into()));
    let node = installation.node_with(|builder| builder.clock(clock.clone()));
    assert_eq!(node.get("/jwks").await.status, 200);
    installation.store.set_down(true);
    clock.0.fetch_add(9, Ordering::SeqCst);
    assert_eq!(node.get("/jwks").await.status, 200);
    clock.0.fetch_sub(10, Ordering::SeqCst);
    unavailable(&node.get("/jwks").await);
    installation.store.set_down(false);
    assert_eq!(node.get("/jwks").await.status, 200);
}

#[tokio::test]
async fn a_clock_that_is_set_back_to_where_it_was_makes_no_knowledge_of_keys_young() {
    let installation = Installation::new();
    let clock = ManualClock::default();
    let node = installation.node_with(|builder| builder.clock(clock.clone()));
    let began = clock.now();
    assert_eq!(node.get("/jwks").await.status, 200);
    installation.store.set_down(true);
    clock.advance(Duration::from_secs(10));
    clock.set(began);
    unavailable(&node.get("/jwks").await);
}

#[tokio::test]
async fn a_node_is_not_ready_while_it_cannot_read_its_keys() {
    let installation = Installation::new();
    let node = installation.node();
    node.server.ready().await.unwrap();
    installation.overwrite(b"damaged").await;
    installation.wait(60 * 60);
    let error = node.server.ready().await.unwrap_err();
    assert!(matches!(error, NotReady::Keys(_)), "{error:?}");
}
