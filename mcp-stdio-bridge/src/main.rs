//! `mcp-stdio-bridge -- COMMAND ARG…`: a stdio MCP server at `http://127.0.0.1:3000/mcp`.
//!
//! The program listens, logs to stderr, and takes signals; all the rest is the library's. On SIGTERM or SIGINT it
//! stops listening, ends all sessions at once, and is gone within six seconds.

mod cli;

use std::time::Duration;

use anyhow::Context;
use axum::serve::ListenerExt as _;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;

use self::cli::Options;

/// For connections to close after the last session has ended.
const LAST_WORDS: Duration = Duration::from_millis(300);

fn main() -> anyhow::Result<()> {
    // Does not return where the program was started to help one that runs already.
    mcp_stdio_bridge::helper::run();
    let options = Options::parse();
    let filter = EnvFilter::try_new(&options.log_level)
        .with_context(|| format!("`{}` is not a log level", options.log_level))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let address = options.address()?;
    let bridge = options.builder().build()?;
    // Taken before anything is served, so that no signal is missed.
    let mut signal = Signal::new()?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    eprintln!(
        "mcp-stdio-bridge serves http://{}{}",
        listener.local_addr()?,
        options.path()
    );

    let (stop, stopped) = oneshot::channel::<()>();
    // Answers are small and complete; waiting for more to send only makes them late.
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    let server = axum::serve(listener, bridge.router()).with_graceful_shutdown(async {
        // Dropping the sender counts as well.
        let _ = stopped.await;
    });
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        ended = &mut server => return Ok(ended??),
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
struct Signal {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signal {
    fn new() -> std::io::Result<Self> {
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
