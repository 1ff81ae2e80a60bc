//! A Cluster whose slots move while people sign in.

use std::sync::Arc;
use std::time::Duration;

use mcp_oauth_core::store::{Kind, Store};
use mcp_oauth_store::RedisStore;
use mcp_oauth_store::redis::RedisConfiguration;
use redis::Value;

use crate::operations::{Crowd, HOUR, key, none_works, recovered};
use crate::servers::available;
use crate::servers::cluster::{Cluster, node};

fn patient(configuration: RedisConfiguration) -> RedisConfiguration {
    configuration
        .connection_timeout(Duration::from_secs(20))
        .response_timeout(Duration::from_secs(20))
}

/// Every state that a slot has on its way is held still here: `ASK` for what has moved, `MOVED` for all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_is_followed_key_by_key() {
    if !available("a_slot_that_moves_is_followed_key_by_key") {
        return;
    }
    let mut cluster = Cluster::start().await;
    let store = RedisStore::new(&patient(cluster.configuration())).unwrap();
    // The new node has no slots yet, so the store has never heard of it.
    let new = node(&[]).await;
    Cluster::run(&["add-node", &new.address(), &cluster.nodes[0].address()]);
    cluster.nodes.push(new);
    cluster.settled().await;

    // One slot for all: identifiers are tried until they fall into it.
    let name = |id: usize| format!("mcp-oauth:grant:{id}");
    let slot: u16 = cluster.nodes[0]
        .ask(&format!("CLUSTER KEYSLOT {}", name(0)))
        .await
        .unwrap();
    let mut ids = vec![0];
    for id in 1.. {
        if ids.len() == 4 {
            break;
        }
        if redis::cluster_routing::Slot::for_key(name(id)) == redis::cluster_routing::Slot::for_key(name(0)) {
            ids.push(id);
        }
    }
    let grant = |id: usize| key(Kind::Grant, id);
    for id in &ids[..3] {
        assert!(store.insert(&grant(*id), "1".into(), Some(HOUR)).await.unwrap());
    }
    let mut owner = 0;
    for (number, node) in cluster.nodes[..3].iter().enumerate() {
        let keys: Vec<String> = node.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 10")).await.unwrap();
        if !keys.is_empty() {
            owner = number;
        }
    }
    let (from, to) = (&cluster.nodes[owner], &cluster.nodes[3]);
    let (from_id, to_id) = (Cluster::id(from).await, Cluster::id(to).await);
    to.ask::<Value>(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}"))
        .await
        .unwrap();
    from.ask::<Value>(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}"))
        .await
        .unwrap();
    for id in &ids[..2] {
        from.ask::<Value>(&format!("MIGRATE 127.0.0.1 {} {} 0 5000", to.port, name(*id)))
            .await
            .unwrap();
    }

    // Moved, moved, still there, and new.
    for id in &ids[..3] {
        assert_eq!(store.get(&grant(*id)).await.unwrap().unwrap(), "1", "{id}");
        assert!(
            store
                .compare_and_set(&grant(*id), b"1", "2".into(), Some(HOUR))
                .await
                .unwrap(),
            "{id}"
        );
        assert!(
            !store.insert(&grant(*id), "3".into(), Some(HOUR)).await.unwrap(),
            "{id}"
        );
    }
    assert!(store.insert(&grant(ids[3]), "2".into(), Some(HOUR)).await.unwrap());
    assert!(store.remove(&grant(ids[1])).await.unwrap());

    from.ask::<Value>(&format!("MIGRATE 127.0.0.1 {} {} 0 5000", to.port, name(ids[2])))
        .await
        .unwrap();
    for node in [to, from] {
        node.ask::<Value>(&format!("CLUSTER SETSLOT {slot} NODE {to_id}"))
            .await
            .unwrap();
    }
    for id in [ids[0], ids[2], ids[3]] {
        assert_eq!(store.get(&grant(id)).await.unwrap().unwrap(), "2", "{id}");
        assert!(
            store
                .compare_and_set(&grant(id), b"2", "3".into(), Some(HOUR))
                .await
                .unwrap(),
            "{id}"
        );
    }
    assert_eq!(store.get(&grant(ids[1])).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_grows_and_loses_a_node_keeps_what_was_acknowledged() {
    if !available("a_cluster_that_grows_and_loses_a_node_keeps_what_was_acknowledged") {
        return;
    }
    let settings = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut cluster = Cluster::start_with(&settings).await;
    let store = Arc::new(RedisStore::new(&patient(cluster.configuration())).unwrap());
    let crowd = Crowd::of(8, &store);
    crowd.gets_on_by(100).await;
    let from = Cluster::id(&cluster.nodes[0]).await;
    let to = Cluster::id(&cluster.nodes[1]).await;
    let address = cluster.nodes[0].address();
    let reshard = tokio::task::spawn_blocking(move || {
        let words =
            format!("reshard {address} --cluster-from {from} --cluster-to {to} --cluster-slots 600 --cluster-yes");
        Cluster::run(&words.split(' ').collect::<Vec<_>>());
    });
    reshard.await.unwrap();
    crowd.gets_on_by(100).await;

    cluster.nodes[2].kill();
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.nodes[2].restart().await;
    cluster.settled().await;
    crowd.gets_on_by(100).await;
    let outcome = crowd.stop().await;
    println!("resharded, and a node killed: {outcome:?}");
    assert_eq!(outcome.lost, 0);
    recovered(&store).await;

    for node in &mut cluster.nodes {
        node.kill();
    }
    none_works(&RedisStore::new(&cluster.configuration()).unwrap()).await;
}
