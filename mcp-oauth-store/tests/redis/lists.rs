//! Lists in Redis: what a restart, a failover and others in the same database mean for them.

use std::collections::BTreeSet;
use std::time::Duration;

use mcp_oauth_core::store::{Key, Kind, ListPosition, Store};
use mcp_oauth_store::RedisStore;
use redis::Value;

use crate::servers::cluster::Cluster;
use crate::servers::{Server, available};

const HOUR: Duration = Duration::from_secs(3600);

fn store(server: &Server) -> RedisStore {
    let patience = Duration::from_secs(20);
    let configuration = server
        .configuration()
        .connection_timeout(patience)
        .response_timeout(patience);
    RedisStore::new(&configuration).unwrap()
}

async fn put(store: &RedisStore, count: usize) -> BTreeSet<String> {
    let ids: BTreeSet<_> = (0..count).map(|number| format!("client {number}")).collect();
    for id in &ids {
        store
            .insert(&Key::new(Kind::Client, id), "1".into(), Some(HOUR))
            .await
            .unwrap();
    }
    ids
}

async fn rest(store: &RedisStore, mut position: Option<ListPosition>) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let page = store.list(Kind::Client, position.as_ref(), 10).await.unwrap();
        ids.extend(page.keys.into_iter().map(|key| key.id().to_owned()));
        position = page.next;
        if position.is_none() {
            return ids;
        }
    }
}

#[tokio::test]
async fn a_list_that_was_begun_before_a_restart_begins_again() {
    if !available("a_list_that_was_begun_before_a_restart_begins_again") {
        return;
    }
    let mut server = Server::start(&["--appendonly", "yes"]).await;
    let store = store(&server);
    let ids = put(&store, 300).await;
    let first = store.list(Kind::Client, None, 10).await.unwrap();
    let position = first.next.expect("there is more");
    assert!(
        rest(&store, Some(position.clone())).await.len() < ids.len(),
        "it goes on where it was"
    );
    server.restart().await;
    let _ = store.ping().await;
    let after: BTreeSet<_> = rest(&store, Some(position)).await.into_iter().collect();
    assert_eq!(after, ids, "the cursor means nothing to the new run");
}

#[tokio::test]
async fn others_in_the_same_database_are_on_no_list() {
    if !available("others_in_the_same_database_are_on_no_list") {
        return;
    }
    let server = Server::start(&[]).await;
    let store = store(&server);
    let ids = put(&store, 3).await;
    let elsewhere = RedisStore::new(&server.configuration().prefix("mcp-oauth:client:").unwrap()).unwrap();
    put(&elsewhere, 5).await;
    for foreign in [
        "client:x",
        "mcp-oauth:client",
        "mcp-oauth:client:%7b",
        "mcp-oauth:other:x",
        "mcp-oauthXclient:y",
    ] {
        server.ask::<Value>(&format!("SET {foreign} 1")).await.unwrap();
    }
    server
        .ask::<Value>("HSET mcp-oauth:grant:hash field value")
        .await
        .unwrap();
    let found: BTreeSet<_> = rest(&store, None).await.into_iter().collect();
    // The other's keys are such as ours could be, and say so.
    let ours: BTreeSet<_> = found.iter().filter(|id| !id.starts_with("client:")).cloned().collect();
    assert_eq!(ours, ids);
    assert_eq!(
        store.count().await.unwrap().of(Kind::Grant),
        1,
        "its name is one of ours, whatever is in it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_a_cluster_begins_again_when_slots_have_moved() {
    if !available("a_list_of_a_cluster_begins_again_when_slots_have_moved") {
        return;
    }
    let cluster = Cluster::start().await;
    let patience = Duration::from_secs(20);
    let configuration = cluster
        .configuration()
        .connection_timeout(patience)
        .response_timeout(patience);
    let store = RedisStore::new(&configuration).unwrap();
    let ids = put(&store, 300).await;
    let all: BTreeSet<_> = rest(&store, None).await.into_iter().collect();
    assert_eq!(all, ids, "all primaries are read");
    assert_eq!(store.count().await.unwrap().of(Kind::Client), 300);
    let mut position = store.list(Kind::Client, None, 10).await.unwrap().next;
    for _ in 0..20 {
        position = store.list(Kind::Client, position.as_ref(), 10).await.unwrap().next;
    }
    let (from, to) = (
        Cluster::id(&cluster.nodes[0]).await,
        Cluster::id(&cluster.nodes[1]).await,
    );
    Cluster::run(&[
        "reshard",
        &cluster.nodes[0].address(),
        "--cluster-from",
        &from,
        "--cluster-to",
        &to,
        "--cluster-slots",
        "1000",
        "--cluster-yes",
    ]);
    cluster.settled().await;
    let after: BTreeSet<_> = rest(&store, position).await.into_iter().collect();
    assert_eq!(after, ids);
}
