//! Real Redis servers, each on a free port of loopback with a directory of its own, gone when it is dropped.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mcp_oauth_store::redis::RedisConfiguration;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisResult};
use tempfile::TempDir;

use crate::ports::free_port;

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

/// Asks again and again until something is so.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    arguments: Vec<String>,
    password: Option<String>,
    directory: TempDir,
}

impl Server {
    /// A server with settings of its own, as they stand on its command line.
    pub(crate) async fn start(settings: &[&str]) -> Self {
        let port = free_port();
        Self::start_with(port, TempDir::new().expect("a directory"), settings).await
    }

    async fn start_with(port: u16, directory: TempDir, settings: &[&str]) -> Self {
        let mut arguments: Vec<String> = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(settings.iter().map(|setting| (*setting).to_owned()));
        Self::start_as(port, directory, arguments).await
    }

    /// A server with a command line of its own.
    async fn start_as(port: u16, directory: TempDir, arguments: Vec<String>) -> Self {
        let child = spawn(directory.path(), &arguments);
        let password = arguments
            .iter()
            .position(|argument| argument == "--requirepass")
            .map(|position| arguments[position + 1].clone());
        let mut server = Self {
            child,
            port,
            arguments,
            password,
            directory,
        };
        server.wait_until_ready().await;
        server
    }

    async fn wait_until_ready(&mut self) {
        let log = self.directory.path().join("log");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let written = std::fs::read_to_string(&log).unwrap_or_default();
            // Sentinels do not say when they are ready.
            if written.contains("Ready to accept connections") || written.contains("Sentinel ID is") {
                return;
            }
            let ended = self.child.try_wait().expect("the server can be asked");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "the server did not start:\n{written}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it as a crash does (`SIGKILL`).
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Has it hang, or go on (`SIGSTOP`, `SIGCONT`).
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(status.is_ok_and(|status| status.success()));
    }

    /// Starts it again, on what it has left behind.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(self.directory.path().join("log"));
        self.child = spawn(self.directory.path(), &self.arguments);
        self.wait_until_ready().await;
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
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

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(directory: &Path, arguments: &[String]) -> Child {
    let program = "redis-server";
    Command::new(program)
        .args(arguments)
        .arg("--dir")
        .arg(directory)
        .args(["--logfile", "log", "--daemonize", "no"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server can be started")
}
