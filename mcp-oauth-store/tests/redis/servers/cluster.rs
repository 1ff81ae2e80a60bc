//! A Cluster of three nodes, with or without replicas.

use std::process::{Command, Stdio};

use mcp_oauth_store::redis::RedisConfiguration;

use super::{Server, eventually};

/// Three nodes with a third of the slots each.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

pub(crate) async fn node(settings: &[&str]) -> Server {
    let cluster = [
        "--cluster-enabled",
        "yes",
        "--cluster-config-file",
        "nodes.conf",
        "--cluster-node-timeout",
        "2000",
    ];
    Server::start(&[&cluster, settings].concat()).await
}

impl Cluster {
    /// One in which no node ever counts as gone, however long a busy machine keeps it waiting.
    pub(crate) async fn start() -> Self {
        Self::start_with(&["--cluster-node-timeout", "60000"]).await
    }

    pub(crate) async fn start_with(settings: &[&str]) -> Self {
        Self::of(3, settings, &[]).await
    }

    /// One in which each of the three has a replica: six nodes.
    pub(crate) async fn with_replicas(settings: &[&str]) -> Self {
        let cluster = Self::of(6, settings, &["--cluster-replicas", "1"]).await;
        eventually("every replica follows", async || {
            let mut following = 0;
            for node in &cluster.nodes {
                let info: String = node.ask("INFO replication").await.ok()?;
                following += usize::from(info.contains("master_link_status:up"));
            }
            (following == 3).then_some(())
        })
        .await;
        cluster
    }

    async fn of(count: usize, settings: &[&str], arguments: &[&str]) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(node(settings).await);
        }
        let cluster = Self { nodes };
        let addresses: Vec<_> = cluster.nodes.iter().map(Server::address).collect();
        let addresses = addresses.iter().map(String::as_str);
        Self::run(
            &["create"]
                .into_iter()
                .chain(addresses)
                .chain(arguments.iter().copied())
                .chain(["--cluster-yes"])
                .collect::<Vec<_>>(),
        );
        cluster.settled().await;
        cluster
    }

    /// Waits until every node knows of every slot.
    pub(crate) async fn settled(&self) {
        for node in &self.nodes {
            eventually("the cluster is whole", async || {
                let info: String = node.ask("CLUSTER INFO").await.ok()?;
                let whole = info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384");
                whole.then_some(())
            })
            .await;
        }
    }

    /// Has `redis-cli --cluster` do something.
    pub(crate) fn run(arguments: &[&str]) {
        let output = Command::new("redis-cli")
            .arg("--cluster")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli can be started");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {text}");
    }

    pub(crate) fn configuration(&self) -> RedisConfiguration {
        let addresses: Vec<_> = self.nodes.iter().map(Server::address).collect();
        RedisConfiguration::cluster(addresses.iter().map(String::as_str)).unwrap()
    }

    pub(crate) async fn id(node: &Server) -> String {
        node.ask("CLUSTER MYID").await.unwrap()
    }
}
