//! A real `redis-server` on a free port of loopback with a directory of its own, gone when it is dropped.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::ports::free_port;

/// Asks again and again until something is so.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
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
#[derive(Debug)]
pub struct RedisProcess {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    directory: TempDir,
}

impl RedisProcess {
    /// A server with settings of its own, as they stand on its command line.
    pub async fn start(settings: &[&str]) -> Self {
        let port = free_port();
        let mut arguments: Vec<String> = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(settings.iter().map(|setting| (*setting).to_owned()));
        Self::start_as(port, TempDir::new().expect("a directory"), arguments).await
    }

    /// A server with a command line of its own, which has to name the port.
    pub async fn start_as(port: u16, directory: TempDir, arguments: Vec<String>) -> Self {
        let mut server = Self {
            child: spawn(&directory, &arguments),
            port,
            arguments,
            directory,
        };
        server.wait_until_ready().await;
        server
    }

    async fn wait_until_ready(&mut self) {
        let log = self.directory.path().join("log");
        eventually("Redis is ready", async || {
            let written = std::fs::read_to_string(&log).unwrap_or_default();
            let ended = self.child.try_wait().expect("the server can be asked");
            assert!(ended.is_none(), "the server did not start:\n{written}");
            // Sentinels do not say when they are ready.
            let ready = written.contains("Ready to accept connections") || written.contains("Sentinel ID is");
            ready.then_some(())
        })
        .await;
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The settings that it was started with.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it as a crash does (`SIGKILL`).
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, on what it has left behind.
    pub async fn restart(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(self.directory.path().join("log"));
        self.child = spawn(&self.directory, &self.arguments);
        self.wait_until_ready().await;
    }
}

impl Drop for RedisProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(directory: &TempDir, arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(arguments)
        .arg("--dir")
        .arg(directory.path())
        .args(["--logfile", "log", "--daemonize", "no"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server can be started")
}
