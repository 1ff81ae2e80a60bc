//! The example gateway as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::{example, ports};

/// For another process to do what it was told.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that runs until it is dropped.
#[derive(Debug)]
pub struct Gateway {
    /// Its issuer.
    pub url: String,
    /// What it printed before it was ready.
    pub announcement: String,
    child: Child,
    directory: TempDir,
    log: Arc<Mutex<String>>,
    /// Ends with the log.
    reading: JoinHandle<()>,
}

/// A gateway that did not start.
#[derive(Debug)]
pub struct Refused {
    /// What it wrote to stderr.
    pub message: String,
    /// The code it exited with.
    pub code: Option<i32>,
}

/// Builds the gateway, once, as `cargo test` builds everything else, and says where it is.
#[must_use]
pub fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| example::program("full-gateway")).clone()
}

/// A port that nobody listens on, and that no other test on this machine is given while this process lives.
#[must_use]
pub fn free_port() -> u16 {
    ports::free_port()
}

/// The gateway's program in an empty directory, with nothing of this process's configuration.
fn command(directory: &TempDir, settings: &[(&str, &str)], toml: &str) -> Command {
    std::fs::write(directory.path().join("gateway.toml"), toml).expect("the directory can be written to");
    command_in(directory.path(), settings)
}

/// The gateway's program in a directory, with nothing of this process's configuration.
#[must_use]
pub fn command_in(directory: &Path, settings: &[(&str, &str)]) -> Command {
    command_of(&program(), directory, settings)
}

fn command_of(program: &Path, directory: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        let ours = ["GATEWAY_", "GITHUB_", "PREDECESSOR_", "REDIS_", "RUST_BACKTRACE"];
        if ours.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
        .envs(settings.iter().copied())
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a command of the gateway's program to its end.
pub async fn run(arguments: &[&str], toml: &str) -> Output {
    let directory = TempDir::new().expect("a directory");
    let mut command = command(&directory, &[], toml);
    command
        .args(arguments)
        .output()
        .await
        .expect("the program can be started")
}

impl Gateway {
    /// Starts a gateway with a TOML file on a free port, and waits until it serves.
    pub async fn start(toml: &str) -> Self {
        Self::start_with(&format!("127.0.0.1:{}", free_port()), &[], toml).await
    }

    /// Starts a gateway that listens here, with variables and a TOML file, and waits until it serves.
    pub async fn start_with(address: &str, settings: &[(&str, &str)], toml: &str) -> Self {
        let directory = TempDir::new().expect("a directory");
        std::fs::write(directory.path().join("gateway.toml"), toml).expect("the directory can be written to");
        let settings = [&[("GATEWAY_LISTEN", address)], settings].concat();
        Self::start_in(directory, address, &settings).await
    }

    /// Starts a gateway in a directory that has been set up to have it listen here, with variables beside that, and waits
    /// until it serves.
    pub async fn start_in(directory: TempDir, address: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_program(&program(), directory, address, settings).await
    }

    /// The same with a program that was built in another way.
    pub async fn start_program(program: &Path, directory: TempDir, address: &str, settings: &[(&str, &str)]) -> Self {
        let mut child = command_of(program, directory.path(), settings)
            .spawn()
            .expect("the gateway can be started");
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        // Read to the end, or the gateway would have to wait for us.
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = stderr.next_line().await {
                let mut log = kept.lock().expect("nobody panics with it");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut announcement = String::new();
        loop {
            match stdout.next_line().await.expect("stdout is text") {
                Some(line) if line.starts_with("Stop with") => break,
                Some(line) => {
                    announcement.push_str(&line);
                    announcement.push('\n');
                }
                None => {
                    reading.await.expect("the log is read");
                    panic!(
                        "the gateway did not start: {}",
                        log.lock().expect("nobody panics with it")
                    );
                }
            }
        }
        Self {
            url: format!("http://{address}"),
            announcement,
            child,
            directory,
            log,
            reading,
        }
    }

    /// The directory that it runs in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it has written to stderr.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().expect("nobody panics with it").clone()
    }

    /// Sends it a signal, by its name without `SIG`.
    pub async fn signal(&self, name: &str) {
        let process = self.process().to_string();
        let sent = Command::new("kill").args(["-s", name, &process]).status().await;
        assert!(sent.expect("kill runs").success());
    }

    /// Changes its file, has it read anew, and waits until the log says what has become of that.
    pub async fn reload(&self, toml: &str) -> String {
        let before = self.log().len();
        std::fs::write(self.directory().join("gateway.toml"), toml).expect("the directory can be written to");
        self.signal("HUP").await;
        let until = Instant::now() + PATIENCE;
        loop {
            let told = self.log()[before..].to_owned();
            if told.contains("was read anew") || told.contains("cannot be used: the gateway goes on") {
                return told;
            }
            assert!(Instant::now() < until, "nothing is told of the reload: {told}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it has ended, and says with which code.
    pub async fn ended(mut self) -> Option<i32> {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends in time").expect("the gateway ends").code()
    }

    /// Runs one of its commands to the end, and says what it wrote to stdout, to stderr, and with which code it ended.
    pub async fn run(arguments: &[&str], settings: &[(&str, &str)], toml: &str) -> (String, Refused) {
        let directory = TempDir::new().expect("a directory");
        let output = command(&directory, settings, toml).args(arguments).output().await;
        let output = output.expect("the gateway can be started");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes text");
        let refused = Refused {
            message: text(output.stderr),
            code: output.status.code(),
        };
        (text(output.stdout), refused)
    }

    /// Starts a gateway that is expected to refuse.
    pub async fn refuse(settings: &[(&str, &str)], toml: &str) -> Refused {
        let directory = TempDir::new().expect("a directory");
        let mut child = command(&directory, settings, toml)
            .spawn()
            .expect("the gateway can be started");
        let mut message = String::new();
        let mut stderr = child.stderr.take().expect("stderr is piped");
        stderr.read_to_string(&mut message).await.expect("stderr is text");
        let status = child.wait().await.expect("the gateway ends");
        Refused {
            message,
            code: status.code(),
        }
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id().expect("the gateway runs")
    }

    /// Ends the gateway as a crash does (`SIGKILL`).
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the gateway runs");
    }

    /// Asks the gateway to stop, waits for it, and says what it has logged.
    pub async fn stop_and_read(self) -> String {
        let process = self.process().to_string();
        let Self {
            log,
            reading,
            mut child,
            ..
        } = self;
        let asked = Command::new("kill").arg(process).status().await.expect("kill runs");
        assert!(asked.success());
        assert_eq!(child.wait().await.expect("the gateway ends").code(), Some(0));
        reading.await.expect("the log is read");
        log.lock().expect("nobody panics with it").clone()
    }

    /// Asks the gateway to stop, as `kill` does, and waits for it.
    pub async fn stop(mut self) -> Option<i32> {
        let process = self.process().to_string();
        let asked = Command::new("kill").arg(process).status().await.expect("kill runs");
        assert!(asked.success());
        self.child.wait().await.expect("the gateway ends").code()
    }
}
