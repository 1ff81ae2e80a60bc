//! Behind Sentinel, when the primary goes away while people sign in.

use std::sync::Arc;
use std::time::Duration;

use mcp_oauth_core::store::{Store, StoreError};
use mcp_oauth_store::RedisStore;
use mcp_oauth_store::redis::RedisConfiguration;

use crate::operations::{Crowd, each, recovered};
use crate::servers::available;
use crate::servers::sentinel::Watched;

/// Servers that are watched, and how an impatient store gets there.
async fn watched() -> (Watched, RedisConfiguration) {
    let watched = Watched::start(&[], Duration::from_secs(3)).await;
    let timeout = Duration::from_secs(2);
    let configuration = watched.configuration();
    (
        watched,
        configuration.connection_timeout(timeout).response_timeout(timeout),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_loses_nothing_that_a_replica_had_to_have() {
    if !available("a_failover_loses_nothing_that_a_replica_had_to_have") {
        return;
    }
    let (mut watched, configuration) = watched().await;
    let store = Arc::new(RedisStore::new(&configuration.clone().replicas(1)).unwrap());
    recovered(&store).await;
    let crowd = Crowd::of(8, &store);
    crowd.gets_on_by(300).await;
    watched.nodes[0].kill();
    watched.failed_over().await;
    // The new primary has no replica, so nothing counts until the old one has become that.
    none_works_but_reading(&store).await;
    watched.nodes[0].restart().await;
    crowd.gets_on_by(300).await;
    let outcome = crowd.stop().await;
    println!("with replicas(1): {outcome:?}");
    assert_eq!(outcome.lost, 0);
    assert!(outcome.errors > 0, "somebody noticed");
    recovered(&store).await;
}

async fn none_works_but_reading(store: &RedisStore) {
    for (operation, outcome) in each(store).await {
        let reads = ["ping", "get", "read_ended"].contains(&operation);
        assert!(reads || outcome.is_err(), "{operation}: {outcome:?}");
    }
}

/// Without asking for replicas, Redis acknowledges before they have the write. What that costs is measured here and
/// bounded by nothing but the replication's delay; that the store goes on with the new primary is what is promised.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_follows_the_primary_and_every_error_says_that_nothing_is_known() {
    if !available("the_store_follows_the_primary_and_every_error_says_that_nothing_is_known") {
        return;
    }
    let (mut watched, configuration) = watched().await;
    let store = Arc::new(RedisStore::new(&configuration).unwrap());
    recovered(&store).await;
    let crowd = Crowd::of(8, &store);
    crowd.gets_on_by(300).await;
    watched.nodes[0].kill();
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    crowd.gets_on_by(300).await;
    watched.failed_over().await;
    // The old primary comes back as a replica of the new one: nobody writes to it.
    watched.nodes[0].restart().await;
    crowd.gets_on_by(300).await;
    let outcome = crowd.stop().await;
    println!("without replicas: {outcome:?}");
    assert!(outcome.lost <= outcome.acknowledged / 10, "{outcome:?}");
    recovered(&store).await;
}
