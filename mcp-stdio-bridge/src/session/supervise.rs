//! The task that owns a session's process: moves the pipes, watches for the end, and brings it about.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::{End, Session};
use crate::back::{Line, Lines, Pipes, Process, Tail};
use crate::message::Message;

/// For what a dead process has left in a pipe to be read. A grandchild may hold the pipe open for longer.
const DRAIN: Duration = Duration::from_millis(100);

/// Runs a session until its process is gone.
pub(super) async fn supervise(
    session: Arc<Session>,
    mut process: Process,
    pipes: Pipes,
    inbox: mpsc::Receiver<String>,
    stop: CancellationToken,
) {
    let tail = Tail::default();
    let span = tracing::Span::current();
    let mut stderr = AbortOnDropHandle::new(tokio::spawn(tail.clone().drain(pipes.stderr).instrument(span)));
    let mut writer = AbortOnDropHandle::new(tokio::spawn(write(pipes.stdin, inbox)));
    let mut reader = AbortOnDropHandle::new(tokio::spawn(read(Arc::clone(&session), pipes.stdout)));
    tracing::info!(pid = process.id(), "the server was started");

    let end = tokio::select! {
        status = process.exited() => Some(exit(status)),
        () = session.closing.cancelled() => None,
        () = stop.cancelled() => Some(End::Shutdown),
        () = session.watch() => Some(End::Idle),
        _ = &mut reader => Some(pipe_closed(&mut process).await),
        _ = &mut writer => Some(pipe_closed(&mut process).await),
    };
    if matches!(end, Some(End::Exited(_))) && !reader.is_finished() {
        // Answers that the server wrote before it ended are answers.
        let _ = timeout(DRAIN, &mut reader).await;
    }
    if let Some(end) = end {
        session.close(end);
    }
    reader.abort();
    writer.abort();
    if !writer.is_finished() {
        // Not before the task is gone is the pipe closed.
        let _ = (&mut writer).await;
    }
    process.end().await;
    if !stderr.is_finished() {
        let _ = timeout(DRAIN, &mut stderr).await;
    }

    let (end, initialized) = {
        let state = session.lock();
        (state.end.clone(), state.initialized)
    };
    match end {
        Some(end @ (End::Exited(_) | End::PipeClosed | End::HandshakeTimeout(_))) if !initialized => {
            tracing::warn!(reason = %end, stderr = tail.text(), "the server did not get through its start");
        }
        Some(end @ (End::Exited(_) | End::PipeClosed)) => {
            tracing::warn!(reason = %end, "the session is over");
        }
        Some(end) => tracing::info!(reason = %end, "the session is over"),
        None => {}
    }
    session.ended.cancel();
}

impl Session {
    /// Waits until the session has been idle for too long. Meanwhile requests of the server that found no stream
    /// are refused when their time is over.
    async fn watch(&self) {
        loop {
            let wake = match self.look() {
                Look::Idle => return,
                Look::Until(wake) => wake,
            };
            let sleep = async {
                match wake {
                    Some(wake) => sleep_until(wake).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn look(&self) -> Look {
        let now = Instant::now();
        let mut state = self.lock();
        let idle = self
            .limits
            .idle_timeout
            .filter(|_| state.open == 0)
            .map(|limit| state.last_used + limit);
        if idle.is_some_and(|idle| idle <= now) {
            // Under the same lock: no request can come in between.
            state.close(End::Idle);
            return Look::Idle;
        }
        let mut refused = Vec::new();
        while let Some(key) = state.waiting.expired(now) {
            refused.extend(state.asked.answered(&key));
        }
        let next = state.waiting.expires();
        drop(state);
        for id in refused {
            self.refuse(id.raw(), "the client has no stream open");
        }
        Look::Until(idle.into_iter().chain(next).min())
    }
}

enum Look {
    Idle,
    /// Nothing to do before then.
    Until(Option<Instant>),
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

/// Moves messages to the server until the session ends or the server does not read any more.
async fn write(mut stdin: ChildStdin, mut inbox: mpsc::Receiver<String>) {
    while let Some(mut line) = inbox.recv().await {
        line.push('\n');
        if stdin.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Moves messages from the server until it closes its stdout.
async fn read(session: Arc<Session>, stdout: ChildStdout) {
    let mut lines = Lines::new(stdout, session.limits.max_line);
    let mut noisy = false;
    while let Ok(Some(line)) = lines.next().await {
        let text = match line {
            Line::Whole(text) => text,
            Line::Long(long) => {
                session.receive_long(&long).await;
                continue;
            }
        };
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match Message::parse(text) {
            Ok(message) => session.receive(message).await,
            Err(reason) if noisy => {
                tracing::debug!(session = session.label(), %reason, "a line on stdout was ignored");
            }
            Err(reason) => {
                noisy = true;
                tracing::warn!(
                    session = session.label(),
                    %reason,
                    "the server writes something else than messages to its stdout; such lines are ignored"
                );
            }
        }
    }
}
