//! Real Redis servers, each on a free port of loopback with a directory of its own, gone when it is dropped.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use mcp_oauth_store::redis::RedisConfiguration;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisResult};
use tempfile::TempDir;

use crate::redis_process::RedisProcess;
pub(crate) use crate::redis_process::eventually;

pub(crate) mod certificates;
pub(crate) mod cluster;
pub(crate) mod proxy;
pub(crate) mod refusing;
pub(crate) mod sentinel;

/// Whether there are servers to be had. If not, says visibly that a test does nothing here, and what to install so that
/// it does; with `MCP_TEST_REQUIRE_TOOLS` set, as the project's own check has it, missing is failing.
pub(crate) fn available(test: &str) -> bool {
    let runs = |program: &str| {
        let mut command = Command::new(program);
        let command = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if runs("redis-server") && runs("redis-cli") {
        return true;
    }
    let message = format!(
        "SKIPPED {test}. To have it run: install redis-server and redis-cli (Debian: redis-server, redis-tools)\n"
    );
    assert!(std::env::var_os("MCP_TEST_REQUIRE_TOOLS").is_none(), "{message}");
    // Not `eprintln!`, which the test harness keeps to itself when a test passes.
    let _ = std::io::stderr().write_all(message.as_bytes());
    false
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    process: RedisProcess,
    pub(crate) port: u16,
    password: Option<String>,
}

impl Server {
    /// A server with settings of its own, as they stand on its command line.
    pub(crate) async fn start(settings: &[&str]) -> Self {
        Self::of(RedisProcess::start(settings).await)
    }

    /// A server with a command line of its own.
    async fn start_as(port: u16, directory: TempDir, arguments: Vec<String>) -> Self {
        Self::of(RedisProcess::start_as(port, directory, arguments).await)
    }

    fn of(process: RedisProcess) -> Self {
        let mut arguments = process
            .arguments()
            .iter()
            .skip_while(|argument| *argument != "--requirepass");
        Self {
            port: process.port(),
            password: arguments.nth(1).cloned(),
            process,
        }
    }

    /// Ends it as a crash does (`SIGKILL`).
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, on what it has left behind.
    pub(crate) async fn restart(&mut self) {
        self.process.restart().await;
    }

    /// Has it hang, or go on (`SIGSTOP`, `SIGCONT`).
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status();
        assert!(status.is_ok_and(|status| status.success()));
    }

    pub(crate) fn address(&self) -> String {
        self.process.address()
    }

    /// How a store gets here.
    pub(crate) fn configuration(&self) -> RedisConfiguration {
        let configuration = RedisConfiguration::node(&self.address()).unwrap();
        match &self.password {
            Some(password) => configuration.password(password.as_str()),
            None => configuration,
        }
    }

    /// Has the server do something, as an operator does, over a connection of its own.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &str) -> RedisResult<T> {
        let mut words = command.split(' ');
        let mut built = redis::cmd(words.next().expect("a command"));
        for word in words {
            built.arg(word);
        }
        self.send(&built).await
    }

    pub(crate) async fn send<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let password = self
            .password
            .as_ref()
            .map(|password| format!(":{password}@"))
            .unwrap_or_default();
        let client = redis::Client::open(format!("redis://{password}{}", self.address()))?;
        let patient = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(10)))
            .set_response_timeout(Some(Duration::from_secs(10)));
        let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await?;
        command.query_async(&mut connection).await
    }
}
