//! Who may do what at Redis, and over which wire.

use std::sync::Arc;
use std::time::Duration;

use mcp_oauth_core::store::contract::every_promise;
use mcp_oauth_core::store::{Kind, Store, StoreError};
use mcp_oauth_store::RedisStore;
use mcp_oauth_store::redis::RedisConfiguration;
use redis::Value;

use crate::contract::Real;
use crate::operations::{HOUR, key, none_works};
use crate::servers::{Server, available};

/// The user that the documentation of `mcp_oauth_store::redis` proposes.
const USER: &str = "ACL SETUSER mcp-oauth on >password resetkeys ~mcp-oauth:* resetchannels -@all \
                    +get +set +unlink +incr +xadd +xrange +xrevrange +pexpire +time +eval +evalsha +ping \
                    +zadd +zrem +zrange +zrevrange +zrank +zscore +zcard +zcount +zpopmin +zremrangebyscore +pexpireat \
                    +pttl +scan +info";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_user_of_the_documentation_may_do_what_it_takes_and_no_more() {
    if !available("the_user_of_the_documentation_may_do_what_it_takes_and_no_more") {
        return;
    }
    let server = Server::start(&["--requirepass", "of-the-operator"]).await;
    server.ask::<Value>(USER).await.unwrap();
    let address = server.address();
    let configuration: RedisConfiguration = format!("redis://mcp-oauth:password@{address}").parse().unwrap();
    Box::pin(every_promise(&Real::at(configuration.clone()))).await;

    let elsewhere = RedisStore::new(&configuration.clone().prefix("other:").unwrap()).unwrap();
    for (operation, outcome) in crate::operations::each(&elsewhere).await {
        let refused = matches!(outcome, Err(StoreError::Unavailable(_)));
        // Names of keys are no secret, so a list that turns out empty does no harm.
        let harmless = ["ping", "list", "count"].contains(&operation);
        assert!(refused || harmless, "{operation}: {outcome:?}");
    }
    none_works(&RedisStore::new(&configuration.username("mcp-oauth-2")).unwrap()).await;
}

#[tokio::test]
async fn sentinels_and_clusters_need_what_the_documentation_adds() {
    if !available("sentinels_and_clusters_need_what_the_documentation_adds") {
        return;
    }
    let watched = crate::servers::sentinel::Watched::start(&[], Duration::from_secs(60)).await;
    for node in &watched.nodes {
        node.ask::<Value>(&format!("{USER} +select +wait +role")).await.unwrap();
    }
    let configuration = watched
        .configuration()
        .username("mcp-oauth")
        .password("password")
        .replicas(1);
    let patience = Duration::from_secs(20);
    let configuration = configuration.connection_timeout(patience).response_timeout(patience);
    crate::operations::all_work(&RedisStore::new(&configuration.database(1).unwrap()).unwrap()).await;

    let cluster = crate::servers::cluster::Cluster::start().await;
    for node in &cluster.nodes {
        node.ask::<Value>(&format!("{USER} +cluster|slots +asking +wait"))
            .await
            .unwrap();
    }
    let configuration = cluster.configuration().username("mcp-oauth").password("password");
    let store = RedisStore::new(&configuration.connection_timeout(patience).response_timeout(patience)).unwrap();
    for _ in 0..20 {
        crate::operations::all_work(&store).await;
    }
}

#[tokio::test]
async fn a_write_that_too_few_replicas_have_does_not_count() {
    if !available("a_write_that_too_few_replicas_have_does_not_count") {
        return;
    }
    let server = Server::start(&[]).await;
    let timeout = Duration::from_secs(2);
    let configuration = server.configuration().response_timeout(timeout).replicas(1);
    let store = RedisStore::new(&configuration).unwrap();
    let written = store.insert(&key(Kind::Grant, "a"), "1".into(), Some(HOUR)).await;
    assert!(matches!(written, Err(StoreError::Unavailable(_))), "{written:?}");
    assert!(
        store.get(&key(Kind::Grant, "a")).await.is_ok(),
        "reading waits for nobody"
    );
    let replica = Server::start(&["--replicaof", "127.0.0.1", &server.port.to_string()]).await;
    crate::operations::recovered(&store).await;
    drop(replica);
}

#[cfg(feature = "redis-tls")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_needs_an_authority_that_is_trusted_and_the_right_name() {
    if !available("tls_needs_an_authority_that_is_trusted_and_the_right_name") {
        return;
    }
    let directory = tempfile::TempDir::new().unwrap();
    let authority = crate::servers::certificates::issue(directory.path());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (certificate, key_file, port) = (
        path("server.crt"),
        path("server.key"),
        crate::ports::free_port().to_string(),
    );
    let settings = [
        "--tls-port",
        &port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key_file,
        "--tls-auth-clients",
        "no",
    ];
    let _server = Server::start(&settings).await;
    let patience = Duration::from_secs(20);
    let at = |host: &str| {
        let configuration: RedisConfiguration = format!("rediss://{host}:{port}").parse().unwrap();
        configuration.connection_timeout(patience).response_timeout(patience)
    };
    let trusting = at("localhost").certificate_authority(authority.clone());
    crate::operations::all_work(&RedisStore::new(&trusting).unwrap()).await;
    for refused in [at("localhost"), at("127.0.0.1").certificate_authority(authority)] {
        none_works(&RedisStore::new(&refused).unwrap()).await;
    }
    let error =
        RedisStore::new(&at("localhost").certificate_authority("-----BEGIN CERTIFICATE-----\nno\n")).unwrap_err();
    assert!(error.to_string().contains("cannot be used"), "{error}");
}

/// Revocation, over a lost connection and a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_say_while_redis_is_gone_and_afterwards_nothing_is_forgotten() {
    use mcp_oauth_core::revocation::MAXIMUM_AGE;
    use mcp_oauth_core::server::access::ConfirmError;
    use mcp_oauth_core::store::contract::Deployment;

    if !available("nobody_can_say_while_redis_is_gone_and_afterwards_nothing_is_forgotten") {
        return;
    }
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let deployment = Deployment::of(&Real::at(server.configuration())).await;
    let (ended, live) = (deployment.sign_in().await, deployment.sign_in().await);
    for number in 0..4 {
        assert!(deployment.accepts(number, &ended.access_token).await.unwrap());
    }
    deployment
        .revoke(0, ended.refresh_token.as_ref().unwrap())
        .await
        .unwrap();
    server.kill();
    deployment.advance(MAXIMUM_AGE);
    for number in 0..4 {
        let live = deployment.accepts(number, &live.access_token).await;
        assert!(
            matches!(live, Err(ConfirmError::Store(StoreError::Unavailable(_)))),
            "{live:?}"
        );
    }
    let refused = deployment
        .refresh(1, live.refresh_token.as_ref().unwrap())
        .await
        .unwrap_err();
    assert_eq!(refused.error().status(), 503);
    assert!(
        !deployment.accepts(0, &ended.access_token).await.unwrap(),
        "this one knows by itself"
    );

    server.restart().await;
    // A lane each is broken, and each breaks once.
    for number in 0..4 {
        let recovered = crate::servers::eventually("it is told again", async || {
            deployment.accepts(number, &ended.access_token).await.ok()
        });
        assert!(!recovered.await, "server {number} has forgotten");
        assert!(deployment.accepts(number, &live.access_token).await.unwrap());
    }
    assert!(
        deployment
            .refresh(1, live.refresh_token.as_ref().unwrap())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_record_that_is_damaged_or_newer_is_a_503_and_stays_as_it_is() {
    use mcp_oauth_core::store::Key;
    use mcp_oauth_core::store::contract::Deployment;

    if !available("a_record_that_is_damaged_or_newer_is_a_503_and_stays_as_it_is") {
        return;
    }
    let server = Server::start(&[]).await;
    let deployment = Deployment::of(&Real::at(server.configuration())).await;
    let store = Arc::new(RedisStore::new(&server.configuration().response_timeout(Duration::from_secs(20))).unwrap());
    let tokens = deployment.sign_in().await;
    let refresh_token = tokens.refresh_token.unwrap();
    let grant = refresh_token.expose().split('.').next().unwrap().to_owned();
    for key in [
        Key::new(Kind::Grant, grant),
        Key::new(Kind::Client, deployment.client_id()),
    ] {
        let good = store.get(&key).await.unwrap().unwrap();
        let mut half = good.clone();
        half.truncate(good.len() / 2);
        let newer = String::from_utf8(good.to_vec())
            .unwrap()
            .replacen("\"version\":1", "\"version\":2", 1);
        for bad in [half, newer.into(), "{}".into(), "".into(), "\0".into(), "[1]".into()] {
            assert!(
                store
                    .compare_and_set(&key, &good, bad.clone(), Some(HOUR))
                    .await
                    .unwrap()
            );
            let refused = deployment.refresh(0, &refresh_token).await.unwrap_err();
            assert_eq!(refused.error().status(), 503, "{bad:?}");
            assert!(
                store
                    .compare_and_set(&key, &bad, good.clone(), Some(HOUR))
                    .await
                    .unwrap(),
                "{bad:?} was changed"
            );
        }
        // Nothing that we wrote at all.
        let name = format!("mcp-oauth:{}:{}", key.kind().as_str(), key.id());
        let stored: Vec<u8> = server.ask(&format!("GET {name}")).await.unwrap();
        server.ask::<Value>(&format!("DEL {name}")).await.unwrap();
        server.ask::<Value>(&format!("LPUSH {name} a")).await.unwrap();
        let refused = deployment.refresh(0, &refresh_token).await.unwrap_err();
        assert_eq!(refused.error().status(), 503);
        server.ask::<Value>(&format!("DEL {name}")).await.unwrap();
        server
            .send::<Value>(redis::cmd("SET").arg(&name).arg(stored))
            .await
            .unwrap();
    }
    assert!(deployment.refresh(0, &refresh_token).await.is_ok());
}
