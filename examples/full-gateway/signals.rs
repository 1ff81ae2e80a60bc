//! What the system tells the process.

#[cfg(unix)]
use anyhow::Context as _;

/// What it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// To read the configuration anew (SIGHUP).
    Reload,
    /// To stop (SIGTERM, SIGINT).
    Stop,
}

/// Listens from the moment it is made, so whoever tells the process before anybody waits is heard.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Signals {
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Begins to listen.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let cannot = "cannot listen for being told to stop";
        Ok(Self {
            hangup: signal(SignalKind::hangup()).context(cannot)?,
            interrupt: signal(SignalKind::interrupt()).context(cannot)?,
            terminate: signal(SignalKind::terminate()).context(cannot)?,
        })
    }

    /// What it is told next.
    pub(crate) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.hangup.recv() => Told::Reload,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.terminate.recv() => Told::Stop,
        }
    }
}

/// Listens for Ctrl-C.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Begins to listen.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self)
    }

    /// What it is told next.
    pub(crate) async fn next(&mut self) -> Told {
        drop(tokio::signal::ctrl_c().await);
        Told::Stop
    }
}

impl Signals {
    /// Waits until it is told to stop.
    pub(crate) async fn stop(&mut self) {
        while self.next().await != Told::Stop {}
    }
}
