//! The task that owns a process: moves the pipes, watches for the end, and brings it about.

use std::sync::Arc;
use std::time::Duration;

use tokio::process::ChildStdout;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::{Child, End};
use crate::back::Process;
use crate::lines::{Line, Lines};
use crate::message::Message;

/// For what a dead process has left in a pipe to be read. A grandchild may hold the pipe open for longer.
const DRAIN: Duration = Duration::from_millis(50);

/// A process, and what is read from it.
pub(super) struct Parts {
    pub(super) process: Process,
    pub(super) stdout: ChildStdout,
    /// Reads the pipe to its end.
    pub(super) stderr: AbortOnDropHandle<()>,
    pub(super) stop: CancellationToken,
}

/// Runs until the process is gone.
pub(super) async fn supervise(child: Arc<Child>, parts: Parts, flush: impl Future<Output = ()> + Send + 'static) {
    let Parts {
        mut process,
        stdout,
        mut stderr,
        stop,
    } = parts;
    let mut writer = AbortOnDropHandle::new(tokio::spawn(flush));
    let reading = read(Arc::clone(&child), stdout).instrument(tracing::Span::current());
    let mut reader = AbortOnDropHandle::new(tokio::spawn(reading));
    tracing::info!(pid = process.id(), "the server was started");

    let end = tokio::select! {
        status = process.exited() => Some(exit(status)),
        () = child.closing.cancelled() => None,
        () = stop.cancelled() => Some(End::Shutdown),
        _ = &mut reader => Some(pipe_closed(&mut process).await),
        _ = &mut writer => Some(pipe_closed(&mut process).await),
    };
    if matches!(end, Some(End::Exited(_))) && !reader.is_finished() {
        // Answers that the server wrote before it ended are answers.
        let _ = timeout(DRAIN, &mut reader).await;
    }
    if let Some(end) = end {
        if end.is_crash() {
            // What it said last explains it, and is asked for when the calls have failed.
            let _ = timeout(DRAIN, &mut stderr).await;
        }
        child.close(&end);
    }
    reader.abort();
    child.pipe.close();
    writer.abort();
    if !writer.is_finished() {
        // Not before the task is gone is the pipe closed.
        let _ = (&mut writer).await;
    }
    process.end().await;
    if !stderr.is_finished() {
        let _ = timeout(DRAIN, &mut stderr).await;
    }
    match child.end() {
        Some(end) if end.is_crash() => {
            tracing::warn!(reason = %end, stderr = child.stderr(), "the server is gone");
        }
        Some(end) => tracing::info!(reason = %end, "the server was ended"),
        None => {}
    }
    child.ended.cancel();
}

fn exit(status: std::io::Result<std::process::ExitStatus>) -> End {
    status.map_or(End::PipeClosed, End::Exited)
}

/// A pipe is closed: mostly because the process has ended, and then its status tells more.
async fn pipe_closed(process: &mut Process) -> End {
    match timeout(DRAIN, process.exited()).await {
        Ok(status) => exit(status),
        Err(_) => End::PipeClosed,
    }
}

/// Moves messages from the server until it closes its stdout.
async fn read(child: Arc<Child>, stdout: ChildStdout) {
    let mut lines = Lines::new(stdout, child.limits.max_line);
    let mut noisy = false;
    while let Ok(Some(line)) = lines.next().await {
        let text = match line {
            Line::Whole(text) => text,
            Line::Long(long) => {
                child.meter.received(long.length + 1);
                child.receive_long(&long);
                continue;
            }
        };
        child.meter.received(text.len() + 1);
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match Message::parse(text) {
            Ok(message) => child.receive(message).await,
            Err(reason) if noisy => {
                tracing::debug!(of = child.label(), %reason, "a line on stdout was ignored");
            }
            Err(reason) => {
                noisy = true;
                tracing::warn!(
                    of = child.label(),
                    %reason,
                    "the server writes something else than messages to its stdout; such lines are ignored"
                );
            }
        }
    }
}
