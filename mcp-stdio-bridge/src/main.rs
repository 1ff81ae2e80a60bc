//! `mcp-stdio-bridge -- COMMAND ARG…`: a stdio MCP server at `http://127.0.0.1:3000/mcp`.
//!
//! The program listens, logs to stderr, and takes signals; all the rest is the library's. On SIGTERM or SIGINT it
//! stops listening, gives requests in flight a moment to finish, ends everything, and is gone within nine seconds; on a
//! second signal it does not wait. On SIGHUP it reads its file of servers again.
//!
//! `mcp-stdio-bridge connect URL` is the other way round: a remote server behind stdio.

mod cli;
mod connections;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::Request;
use axum::response::Response;
use clap::Parser;
use mcp_stdio_bridge::{Bridge, Command, Servers};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing_subscriber::fmt::writer::MakeWriterExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::cli::Options;

/// For connections to close after the last session has ended.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How often the file of servers is looked at.
const LOOK: Duration = Duration::from_secs(2);

fn main() -> anyhow::Result<ExitCode> {
    // Does not return where the program was started to help one that runs already.
    mcp_stdio_bridge::helper::run();
    let options = Options::parse();
    #[cfg(feature = "connect")]
    if let Some(cli::Other::Connect(options)) = options.other {
        return cli::connect::run(*options);
    }
    serve(options).map(|()| ExitCode::SUCCESS)
}

fn serve(options: Options) -> anyhow::Result<()> {
    let registry = tracing_subscriber::registry().with(options.log_level.clone());
    let log = tracing_subscriber::fmt::layer();
    match &options.log_file {
        Some(path) => {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            let file = file.with_context(|| format!("cannot log to {}", path.display()))?;
            let log = log
                .with_ansi(false)
                .with_writer(std::io::stderr.and(std::sync::Mutex::new(file)));
            registry.with(log).init();
        }
        None => registry.with(log.with_writer(std::io::stderr)).init(),
    }
    let mut runtime = match options.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if options.threads > 1 {
        runtime.worker_threads(options.threads);
    }
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(run(options))
}

/// What is served: the server of the command line, or those of a file.
enum Served {
    One(Bridge),
    Many(Servers),
}

impl Served {
    fn new(options: Arc<Options>) -> anyhow::Result<Self> {
        let Some(file) = options.config.clone() else {
            let bridge = options.bridge()?;
            bridge.warm_up();
            return Ok(Self::One(bridge));
        };
        // What is wrong with the options is wrong with each server of the file; it is said once, here.
        options.configure(Command::new("server"))?.build()?;
        let servers = Servers::open(file, move |_, command| {
            let plain = command.clone();
            options.configure(command).unwrap_or_else(|_| Bridge::builder(plain))
        })?;
        Ok(Self::Many(servers))
    }

    async fn answer(&self, request: Request) -> Response {
        match self {
            Self::One(bridge) => bridge.answer(request).await,
            Self::Many(servers) => servers.answer(request).await,
        }
    }

    async fn shutdown(&self) {
        match self {
            Self::One(bridge) => bridge.shutdown().await,
            Self::Many(servers) => servers.shutdown().await,
        }
    }

    fn stop(&self) {
        match self {
            Self::One(bridge) => bridge.stop(),
            Self::Many(servers) => servers.stop(),
        }
    }

    /// Follows the file of servers, if there is one. Does not end.
    async fn follow(&self) {
        let Self::Many(servers) = self else {
            return std::future::pending().await;
        };
        tokio::join!(servers.watch(LOOK), reload_on_hangup(servers));
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    let address = options.address()?;
    let options = Arc::new(options);
    let bridge = Served::new(Arc::clone(&options))?;
    // Taken before anything is served, so that no signal is missed.
    let mut signal = Signal::new()?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let local = listener.local_addr()?;
    match &bridge {
        Served::One(_) => eprintln!("mcp-stdio-bridge serves http://{local}{}", options.path()),
        Served::Many(servers) => {
            for name in servers.names() {
                eprintln!("mcp-stdio-bridge serves http://{local}/{name}{}", options.path());
            }
        }
    }

    let (stop, stopped) = oneshot::channel::<()>();
    let bridge = Arc::new(bridge);
    let answering = Arc::clone(&bridge);
    let server = connections::serve(listener, stopped, move |request| {
        let bridge = Arc::clone(&answering);
        async move { bridge.answer(request).await }
    });
    let server = tokio::spawn(server);
    tokio::select! {
        () = bridge.follow() => {}
        () = signal.received() => tracing::info!("shutting down"),
    }
    drop(stop);
    tokio::select! {
        () = bridge.shutdown() => {}
        () = signal.received() => {
            bridge.stop();
            bridge.shutdown().await;
        }
    }
    // A client that keeps its connection open does not keep the program.
    let _ = timeout(LAST_WORDS, server).await;
    Ok(())
}

#[cfg(unix)]
async fn reload_on_hangup(servers: &Servers) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return;
    };
    while hangup.recv().await.is_some() {
        match servers.reload() {
            Ok(()) => tracing::info!("the file of servers was read again"),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "everything stays as it was");
            }
        }
    }
}

#[cfg(not(unix))]
async fn reload_on_hangup(_servers: &Servers) {}

#[cfg(unix)]
struct Signal {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signal {
    pub(crate) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signal;

#[cfg(not(unix))]
impl Signal {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn received(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
