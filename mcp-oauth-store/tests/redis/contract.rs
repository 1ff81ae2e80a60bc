//! The contract, kept on one node, behind Sentinel, and in a Cluster.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mcp_oauth_core::store::Store;
use mcp_oauth_core::store::contract::{Database, every_promise};
use mcp_oauth_store::RedisStore;
use mcp_oauth_store::redis::RedisConfiguration;

use crate::servers::cluster::Cluster;
use crate::servers::sentinel::Watched;
use crate::servers::{Server, available};

/// A Redis whose time passes as everybody's does.
pub(crate) struct Real {
    configuration: RedisConfiguration,
    started: Instant,
}

impl Real {
    /// The machine may be slow: what is tested here is not that it is fast.
    pub(crate) fn at(configuration: RedisConfiguration) -> Self {
        Self {
            configuration: configuration
                .connection_timeout(Duration::from_secs(20))
                .response_timeout(Duration::from_secs(20)),
            started: Instant::now(),
        }
    }
}

#[async_trait]
impl Database for Real {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(RedisStore::new(&self.configuration).unwrap())
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    async fn pass(&self, time: Duration) {
        // Redis counts whole milliseconds, and a time is over when its last one is.
        tokio::time::sleep(time + Duration::from_millis(2)).await;
    }

    fn moment(&self) -> Duration {
        Duration::from_millis(100)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_keeps_every_promise() {
    if available("one_node_keeps_every_promise") {
        let server = Server::start(&[]).await;
        Box::pin(every_promise(&Real::at(server.configuration()))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_behind_sentinel_keeps_every_promise() {
    if available("a_primary_behind_sentinel_keeps_every_promise") {
        let watched = Watched::start(&[], Duration::from_secs(60)).await;
        Box::pin(every_promise(&Real::at(watched.configuration()))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_every_promise() {
    if available("a_cluster_keeps_every_promise") {
        let cluster = Cluster::start().await;
        let configuration = cluster.configuration().lanes(NonZeroUsize::MIN);
        Box::pin(every_promise(&Real::at(configuration))).await;
    }
}
