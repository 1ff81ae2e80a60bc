//! A Redis of one's own, and what it says of itself.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Pipeline};
use tempfile::TempDir;

use crate::processors::Processors;

/// Gone when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    connection: MultiplexedConnection,
    _directory: TempDir,
}

/// What Redis has done so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    /// How often each command was called.
    pub(crate) calls: BTreeMap<String, u64>,
    pub(crate) cpu: Duration,
}

impl Server {
    pub(crate) async fn start(processors: &Processors) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = TempDir::new().unwrap();
        // Nothing is written to disk: what that costs is Redis' own business.
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .arg("--dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        processors.give(child.id());
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        let connection = loop {
            if let Ok(connection) = client.get_multiplexed_async_connection().await {
                break connection;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        Self {
            child,
            port,
            connection,
            _directory: directory,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        // Longer than the library would wait by itself: some of what is asked for here takes long.
        let mut connection = self.connection.clone();
        connection.set_response_timeout(Duration::from_secs(600));
        command.query_async(&mut connection).await.unwrap()
    }

    pub(crate) async fn run(&self, pipeline: &Pipeline) {
        let mut connection = self.connection.clone();
        connection.set_response_timeout(Duration::from_secs(600));
        pipeline.exec_async(&mut connection).await.unwrap();
    }

    /// One section of what it says of itself, as names and values.
    async fn info(&self, section: &str) -> BTreeMap<String, String> {
        let text: String = self.ask(redis::cmd("INFO").arg(section)).await;
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    pub(crate) async fn used_memory(&self) -> u64 {
        self.info("memory").await["used_memory"].parse().unwrap()
    }

    /// What it has done, apart from telling.
    pub(crate) async fn work(&self) -> Work {
        let cpu = self.info("cpu").await;
        let seconds = |name: &str| Duration::from_secs_f64(cpu[name].parse().unwrap());
        let commands = self.info("commandstats").await;
        let calls = commands.iter().filter_map(|(name, figures)| {
            let name = name.strip_prefix("cmdstat_")?;
            let calls = figures.strip_prefix("calls=")?.split(',').next()?.parse().ok()?;
            (name != "info").then(|| (name.to_owned(), calls))
        });
        Work {
            calls: calls.collect(),
            cpu: seconds("used_cpu_user") + seconds("used_cpu_sys"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Work {
    /// What has been done since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |name: &str| earlier.calls.get(name).copied().unwrap_or_default();
        let calls = self
            .calls
            .iter()
            .map(|(name, calls)| (name.clone(), calls - before(name)));
        Self {
            calls: calls.filter(|(_, calls)| *calls > 0).collect(),
            cpu: self.cpu.saturating_sub(earlier.cpu),
        }
    }
}
