//! Keys that an operator brings along.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mcp_oauth_core::clock::ManualClock;
use mcp_oauth_core::server::keys::KeyRingError;
use mcp_oauth_core::token::keys::{Algorithm, KeySet, SigningKey};
use mcp_oauth_store::MemoryStore;
use mcp_oauth_tests::application::{Application, FILES, ISSUER, NOTES};
use mcp_oauth_tests::client::Tokens;
use mcp_oauth_tests::failing_store::FailingStore;
use mcp_oauth_tower::{AllowList, AuthorizationServer, DevIdentity, Resource};
use serde_json::{Value, json};

use super::{Installation, kid_of, published, sign_in, status};

#[tokio::test]
async fn one_moves_from_keys_of_ones_own_to_keys_in_the_store_without_losing_tokens() {
    let installation = Installation::new();
    let own = KeySet::generate(Algorithm::Es256).unwrap();
    let before = Application::with(installation.store.clone(), installation.clock.clone(), |builder| {
        builder.keys(own.clone())
    });
    let (client, tokens) = sign_in(&before).await;
    let after = installation.node_with(|builder| builder.keys(own));
    assert_eq!(status(&after, &tokens.access_token).await, 200);
    let next = Tokens::of(&client.refresh(&after, &tokens.refresh_token, &[]).await);
    assert_ne!(kid_of(&next.access_token), kid_of(&tokens.access_token));
    assert_eq!(published(&after).await.len(), 2);
    let metadata = after.get("/.well-known/openid-configuration").await.json();
    assert_eq!(
        metadata["id_token_signing_alg_values_supported"],
        json!(["EdDSA", "ES256"])
    );
    let withdrawn = after.server.withdraw_key(&kid_of(&tokens.access_token)).await;
    assert!(matches!(withdrawn, Err(KeyRingError::UnknownKey(_))));
}

#[tokio::test]
async fn an_imported_key_signs_and_others_are_published_beside_it() {
    let pem = include_str!("../../../mcp-oauth-core/tests/keys/rsa2048.pkcs8.pem");
    let base64 = STANDARD.encode(pem);
    let imported = SigningKey::from_base64_pem(&base64.as_str().into()).unwrap();
    let before = KeySet::generate(Algorithm::EdDsa).unwrap();
    let store = FailingStore::new(MemoryStore::default());
    let old = Application::with(store.clone(), ManualClock::default(), |builder| {
        builder.keys(before.clone())
    });
    let keys = KeySet::new(imported.clone()).publish(before.signing().public().clone());
    let new = Application::with(store, old.clock.clone(), |builder| {
        builder.keys(keys.publish(imported.public().clone()))
    });
    let (client, tokens) = sign_in(&old).await;
    assert_eq!(status(&new, &tokens.access_token).await, 200);
    let next = Tokens::of(&client.refresh(&new, &tokens.refresh_token, &[]).await);
    assert_eq!(kid_of(&next.access_token), imported.kid());
    assert_eq!(published(&new).await, [imported.kid(), before.signing().kid()]);
    assert_eq!(status(&old, &next.access_token).await, 401, "it does not know the key");
    assert!(matches!(new.server.rotate_keys().await, Err(KeyRingError::NotStored)));
}

/// A token of the predecessor has neither `kid` nor `typ`; only that keeps it out, so it would be good with them.
#[tokio::test]
async fn a_token_of_the_predecessor_is_refused_even_with_its_own_key() {
    use aws_lc_rs::{rand::SystemRandom, signature};

    let pem = include_str!("../../../mcp-oauth-core/tests/keys/rsa2048.pkcs8.pem");
    let imported = SigningKey::from_pem(&pem.into()).unwrap();
    let application = Application::new(|builder| builder.keys(KeySet::new(imported.clone())));
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let pkcs8 = STANDARD.decode(body).unwrap();
    let key = signature::RsaKeyPair::from_pkcs8(&pkcs8).unwrap();
    let now = 1_790_000_000_u64;
    let claims = json!({"iss": ISSUER, "aud": NOTES, "sub": "583231", "client_id": "client", "scope": "notes:use",
        "iat": now, "exp": now + 60, "jti": "AAAAAAAAAAAAAAAAAAAAAA.x"});
    let sign = |header: Value| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(
            &signature::RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )
        .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    let of_the_predecessor = sign(json!({"alg": "RS256", "typ": "JWT"}));
    assert_eq!(status(&application, &of_the_predecessor).await, 401);
    let with_kid = sign(json!({"alg": "RS256", "typ": "JWT", "kid": imported.kid()}));
    assert_eq!(status(&application, &with_kid).await, 401);
    let of_this_server = sign(json!({"alg": "RS256", "typ": "at+jwt", "kid": imported.kid()}));
    assert_eq!(status(&application, &of_this_server).await, 200);
}

#[tokio::test]
async fn the_same_key_under_two_issuers_makes_no_token_of_one_good_at_the_other() {
    let keys = KeySet::generate(Algorithm::EdDsa).unwrap();
    let one = Application::new(|builder| builder.keys(keys.clone()));
    let other = Application::new(|_| {
        AuthorizationServer::builder("http://127.0.0.1:9090")
            .resource(Resource::new(NOTES).unwrap())
            .resource(Resource::new(FILES).unwrap())
            .identity(DevIdentity::default())
            .allow(AllowList::everybody())
            .store(one.store.clone())
            .clock(one.clock.clone())
            .keys(keys)
    });
    assert_eq!(published(&one).await, published(&other).await);
    let (_, tokens) = sign_in(&one).await;
    assert_eq!(status(&one, &tokens.access_token).await, 200);
    assert_eq!(status(&other, &tokens.access_token).await, 401);
}
