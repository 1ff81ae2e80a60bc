//! The record of the keys: whoever can read it learns nothing, and whoever can write it changes nothing.

use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::keys::KeyRingError;
use mcp_oauth_core::token::keys::{KeySealing, UnreadableKeyRing};
use mcp_oauth_tests::application::NOTES;
use serde_json::{Value, json};

use super::{Installation, sign_in, status, unavailable};

#[tokio::test]
async fn a_damaged_record_is_never_overwritten_and_nothing_goes_on_without_it() {
    for damage in [
        "",
        "{}",
        "null",
        "\u{0}",
        r#"{"version":1,"record":{"keys":[]}}"#,
        r#"{"version":9,"record":{}}"#,
    ] {
        let installation = Installation::new();
        let (client, tokens) = sign_in(&installation.node()).await;
        installation.overwrite(damage.as_bytes()).await;
        let node = installation.node();
        let refused = node.server.prepare_keys().await.unwrap_err();
        assert!(
            matches!(refused, KeyRingError::Unreadable(UnreadableKeyRing::Damaged(_))),
            "{refused:?}"
        );
        assert!(
            refused.to_string().contains("restore the record from a backup"),
            "{refused}"
        );
        for refused in [
            node.server.rotate_keys().await.unwrap_err(),
            node.server.withdraw_key("x").await.unwrap_err(),
        ] {
            assert!(matches!(refused, KeyRingError::Unreadable(_)), "{refused:?}");
        }
        installation.wait(2);
        unavailable(&node.call(NOTES, &tokens.access_token).await);
        unavailable(&node.get("/jwks").await);
        unavailable(&client.refresh(&node, &tokens.refresh_token, &[]).await);
        assert_eq!(installation.record().await, damage.as_bytes());
    }
}

#[tokio::test]
async fn a_record_that_was_tampered_with_is_refused_whole() {
    let installation = Installation::new();
    let node = installation.node();
    node.server.rotate_keys().await.unwrap();
    let genuine: Value = serde_json::from_slice(&installation.record().await).unwrap();
    for (pointer, value) in [
        ("/record/keys/0/signs_from", json!(0)),
        ("/record/keys/1/signs_from", json!(u64::MAX)),
        ("/record/keys/0/token_lifetime", json!(u64::MAX)),
        ("/record/keys/0/kid", json!("other")),
        ("/record/keys/0/sealed", genuine["record"]["keys"][1]["sealed"].clone()),
    ] {
        let mut changed = genuine.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        installation.overwrite(changed.to_string().as_bytes()).await;
        let refused = installation.node().server.prepare_keys().await;
        assert!(
            matches!(refused, Err(KeyRingError::Unreadable(UnreadableKeyRing::Damaged(_)))),
            "{pointer}"
        );
    }
}

#[tokio::test]
async fn with_another_secret_the_keys_stay_closed_and_as_they_are() {
    let installation = Installation::new();
    installation.node().server.prepare_keys().await.unwrap();
    let before = installation.record().await;
    let stranger = installation.node_sealing_with(&KeySealing::new(&Secret::random()).unwrap(), |builder| builder);
    let refused = stranger.server.prepare_keys().await.unwrap_err();
    assert!(
        matches!(refused, KeyRingError::Unreadable(UnreadableKeyRing::UnknownSecret)),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("also_open_with"), "{refused}");
    unavailable(&stranger.get("/jwks").await);
    assert_eq!(installation.record().await, before);
}

#[tokio::test]
async fn the_sealing_secret_is_exchanged_without_a_moment_in_which_a_node_cannot_read() {
    let installation = Installation::new();
    let coming = Secret::random();
    let sealing = |secret: &Secret| KeySealing::new(secret).unwrap();
    let only_old = installation.node();
    let (_, tokens) = sign_in(&only_old).await;
    let old_first = sealing(&installation.secret).also_open_with(&coming).unwrap();
    let new_first = sealing(&coming).also_open_with(&installation.secret).unwrap();
    let prepared = installation.node_sealing_with(&old_first, |builder| builder);
    let changed = installation.node_sealing_with(&new_first, |builder| builder);
    assert!(!prepared.server.reseal_keys().await.unwrap());
    assert!(changed.server.reseal_keys().await.unwrap());
    assert!(!changed.server.reseal_keys().await.unwrap(), "once is enough");
    let only_new = installation.node_sealing_with(&sealing(&coming), |builder| builder);
    installation.wait(10);
    for node in [&prepared, &changed, &only_new] {
        assert_eq!(status(node, &tokens.access_token).await, 200);
    }
    unavailable(&only_old.call(NOTES, &tokens.access_token).await);
}

#[tokio::test]
async fn a_rotation_seals_with_the_newest_secret() {
    let installation = Installation::new();
    installation.node().server.prepare_keys().await.unwrap();
    let new = Secret::random();
    let both = KeySealing::new(&new)
        .unwrap()
        .also_open_with(&installation.secret)
        .unwrap();
    installation
        .node_sealing_with(&both, |builder| builder)
        .server
        .rotate_keys()
        .await
        .unwrap();
    let only_new = installation.node_sealing_with(&KeySealing::new(&new).unwrap(), |builder| builder);
    only_new.server.prepare_keys().await.unwrap();
}
