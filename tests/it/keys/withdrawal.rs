//! A key has leaked: what it has signed is worth nothing any more.

use mcp_oauth_core::server::keys::KeyRingError;
use mcp_oauth_tests::client::Tokens;

use super::{Installation, kid_of, published, sign_in, status};

#[tokio::test]
async fn a_withdrawn_key_is_refused_here_at_once_and_everywhere_after_ten_seconds() {
    let installation = Installation::new();
    let (one, other) = (installation.node(), installation.node());
    let (client, tokens) = sign_in(&one).await;
    let leaked = kid_of(&tokens.access_token);
    assert_eq!(status(&other, &tokens.access_token).await, 200);
    one.server.withdraw_key(&leaked).await.unwrap();
    assert_eq!(status(&one, &tokens.access_token).await, 401);
    assert!(!published(&one).await.contains(&leaked));
    installation.wait(10);
    assert_eq!(status(&other, &tokens.access_token).await, 401);
    assert!(!published(&other).await.contains(&leaked));

    let next = Tokens::of(&client.refresh(&one, &tokens.refresh_token, &[]).await);
    assert_ne!(kid_of(&next.access_token), leaked);
    assert_eq!(status(&one, &next.access_token).await, 200);
    assert_eq!(status(&other, &next.access_token).await, 200);
    let again = one.server.withdraw_key(&leaked).await;
    assert!(matches!(again, Err(KeyRingError::UnknownKey(named)) if named == leaked));
}

#[tokio::test]
async fn what_the_key_in_place_of_a_withdrawn_one_signs_is_good_at_once_at_nodes_that_do_not_know_it_yet() {
    let installation = Installation::new();
    let (one, other) = (installation.node(), installation.node());
    let (client, tokens) = sign_in(&one).await;
    assert_eq!(status(&other, &tokens.access_token).await, 200);
    one.server.withdraw_key(&kid_of(&tokens.access_token)).await.unwrap();
    let next = Tokens::of(&client.refresh(&one, &tokens.refresh_token, &[]).await);
    assert_eq!(status(&other, &next.access_token).await, 200);
}

#[tokio::test]
async fn and_so_is_every_one_of_a_burst_of_them() {
    let installation = Installation::new();
    let (one, other) = (installation.node(), installation.hesitant_node());
    let (client, tokens) = sign_in(&one).await;
    assert_eq!(status(&other, &tokens.access_token).await, 200);
    one.server.withdraw_key(&kid_of(&tokens.access_token)).await.unwrap();
    let next = Tokens::of(&client.refresh(&one, &tokens.refresh_token, &[]).await);
    let before = installation.store.operations();
    let calls = (0..16).map(|_| {
        let (other, token) = (other.clone(), next.access_token.clone());
        tokio::spawn(async move { status(&other, &token).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(installation.store.operations() - before, 1, "one look for all of them");
}

#[tokio::test]
async fn an_announced_key_takes_the_place_of_one_that_is_withdrawn() {
    let installation = Installation::new();
    let (one, other) = (installation.node(), installation.node());
    let (client, tokens) = sign_in(&one).await;
    let announced = one.server.rotate_keys().await.unwrap().kid;
    other.server.withdraw_key(&kid_of(&tokens.access_token)).await.unwrap();
    let next = Tokens::of(&client.refresh(&other, &tokens.refresh_token, &[]).await);
    assert_eq!(kid_of(&next.access_token), announced);
    assert_eq!(published(&other).await, [announced]);
}
