//! What the system tells the process.

#[cfg(unix)]
use anyhow::Context as _;

/// Waits until the process is told to stop. It listens from now on, so whoever tells it before anybody waits is heard.
#[cfg(unix)]
pub(crate) fn stop() -> anyhow::Result<impl Future<Output = ()> + Send + use<>> {
    use tokio::signal::unix::{SignalKind, signal};
    let cannot = "cannot listen for being told to stop";
    let mut interrupt = signal(SignalKind::interrupt()).context(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).context(cannot)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Waits until the process is told to stop.
#[cfg(not(unix))]
pub(crate) fn stop() -> anyhow::Result<impl Future<Output = ()> + Send + use<>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
