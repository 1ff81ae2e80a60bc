//! A Cluster in which a node goes away for good and its replica takes its place, while people sign in.

use std::sync::Arc;
use std::time::Duration;

use mcp_oauth_store::RedisStore;
use redis::Value;

use crate::operations::{Crowd, recovered};
use crate::servers::cluster::Cluster;
use crate::servers::{Server, available, eventually};

/// Whether the node is what it should be, `master` or `slave`, as Redis calls them.
async fn is(node: &Server, role: &str) -> bool {
    let answer: Result<Value, _> = node.ask("ROLE").await;
    matches!(answer, Ok(Value::Array(parts)) if parts.first() == Some(&Value::BulkString(role.into())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_a_cluster_that_takes_over_has_all_that_was_acknowledged() {
    if !available("a_replica_of_a_cluster_that_takes_over_has_all_that_was_acknowledged") {
        return;
    }
    let mut cluster = Cluster::with_replicas(&["--cluster-node-timeout", "1500"]).await;
    let timeout = Duration::from_secs(3);
    let configuration = cluster
        .configuration()
        .connection_timeout(timeout)
        .response_timeout(timeout);
    // A write counts only when the replica has it, which is the one that will take over.
    let store = Arc::new(RedisStore::new(&configuration.replicas(1)).unwrap());
    recovered(&store).await;
    let crowd = Crowd::of(8, &store);
    crowd.gets_on_by(300).await;

    // A busy machine may have had a replica take over already: whoever has slots now is the one.
    let mut masters = Vec::new();
    for (number, node) in cluster.nodes.iter().enumerate() {
        if is(node, "master").await {
            masters.push(number);
        }
    }
    let gone = masters[0];
    cluster.nodes[gone].kill();
    eventually("a replica has taken over", async || {
        let mut serving = 0;
        for (number, node) in cluster.nodes.iter().enumerate() {
            serving += usize::from(number != gone && is(node, "master").await);
        }
        (serving == masters.len()).then_some(())
    })
    .await;
    // The rest of the Cluster goes on; what belongs to the new master waits for a replica of it.
    crowd.gets_on_by(100).await;

    cluster.nodes[gone].restart().await;
    eventually("the old one follows", async || {
        is(&cluster.nodes[gone], "slave").await.then_some(())
    })
    .await;
    crowd.gets_on_by(300).await;
    let outcome = crowd.stop().await;
    println!("a replica of a Cluster has taken over: {outcome:?}");
    assert_eq!(outcome.lost, 0);
    assert!(outcome.errors > 0, "somebody noticed");
    recovered(&store).await;
}
