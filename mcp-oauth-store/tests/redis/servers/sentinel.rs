//! A primary, a replica, and three Sentinels that watch them.

use std::time::Duration;

use mcp_oauth_store::redis::RedisConfiguration;
use redis::Value;
use tempfile::TempDir;

use super::{Server, eventually};
use crate::ports::free_port;

pub(crate) const SERVICE: &str = "mymaster";

/// Redis behind Sentinel.
pub(crate) struct Watched {
    /// At first the primary and its replica.
    pub(crate) nodes: [Server; 2],
    pub(crate) sentinels: Vec<Server>,
}

impl Watched {
    /// `patience` is how long the primary may be silent before it counts as gone. Where nothing is to fail over it is long,
    /// since a busy machine keeps servers waiting too.
    pub(crate) async fn start(settings: &[&str], patience: Duration) -> Self {
        let primary = Server::start(settings).await;
        let port = primary.port.to_string();
        let replica = Server::start(&[settings, &["--replicaof", "127.0.0.1", &port]].concat()).await;
        eventually("the replica follows", async || {
            let info: String = replica.ask("INFO replication").await.ok()?;
            info.contains("master_link_status:up").then_some(())
        })
        .await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(sentinel(&port, patience).await);
        }
        let watched = Self {
            nodes: [primary, replica],
            sentinels,
        };
        for sentinel in &watched.sentinels {
            eventually("the Sentinels know each other and the replica", async || {
                let known: Vec<String> = sentinel.ask("SENTINEL MASTER mymaster").await.ok()?;
                let is = |name: &str, value: &str| known.chunks(2).any(|pair| pair[0] == name && pair[1] == value);
                (is("num-slaves", "1") && is("num-other-sentinels", "2") && is("flags", "master")).then_some(())
            })
            .await;
        }
        watched
    }

    pub(crate) fn configuration(&self) -> RedisConfiguration {
        let addresses: Vec<_> = self.sentinels.iter().map(Server::address).collect();
        RedisConfiguration::sentinel(addresses.iter().map(String::as_str), SERVICE).unwrap()
    }

    /// Waits until the Sentinels have made the second node the primary.
    pub(crate) async fn failed_over(&self) {
        eventually("the replica is the primary", async || {
            let role: Value = self.nodes[1].ask("ROLE").await.ok()?;
            let Value::Array(role) = role else { return None };
            (role.first() == Some(&Value::BulkString(b"master".to_vec()))).then_some(())
        })
        .await;
    }
}

async fn sentinel(primary: &str, patience: Duration) -> Server {
    let patience = patience.as_millis();
    let (port, directory) = (free_port(), TempDir::new().expect("a directory"));
    let settings = format!(
        "port {port}\nbind 127.0.0.1\nsentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n\
         sentinel down-after-milliseconds {SERVICE} {patience}\nsentinel failover-timeout {SERVICE} 5000\n"
    );
    let file = directory.path().join("sentinel.conf");
    std::fs::write(&file, settings).expect("the directory can be written to");
    let arguments = vec![file.display().to_string(), "--sentinel".to_owned()];
    Server::start_as(port, directory, arguments).await
}
