//! A server process, from its start to the end of the last of its group.
//!
//! The end is asked for in three steps: its stdin is closed, which tells a well-behaved server to stop; after two
//! seconds the group gets SIGTERM; after three more, SIGKILL. The process is always waited for. Whatever drops a
//! [`Process`] without ending it (a runtime that goes down, a panic) kills the group on the spot.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::group::{self, Group};
use super::stderr::Tail;

/// From the closing of stdin to SIGTERM.
const AFTER_EOF: Duration = Duration::from_secs(2);
/// From SIGTERM to SIGKILL.
const AFTER_TERM: Duration = Duration::from_secs(3);
/// After SIGKILL only the kernel can be late.
const AFTER_KILL: Duration = Duration::from_millis(500);
/// How soon the group is looked at again, the first time and later; there is no event for its end.
const LOOK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(80));

/// A process that was just started. Its stderr is being read already.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: AbortOnDropHandle<()>,
    pub(crate) tail: Tail,
}

/// A running server with everything it started.
#[derive(Debug)]
pub(crate) struct Process {
    child: Box<dyn ChildWrapper>,
    group: Group,
    ended: bool,
}

impl Process {
    /// Starts the command in a group of its own. What it says on stderr is logged as that of `label`.
    pub(crate) fn start(mut command: tokio::process::Command, label: &str) -> io::Result<Started> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut command = CommandWrap::from(command);
        command.wrap(KillOnDrop);
        group::join(&mut command);
        let child = command.spawn()?;
        let group = Group::of(child.id());
        let mut process = Self {
            child,
            group,
            ended: false,
        };
        let child = &mut process.child;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin().take(), child.stdout().take(), child.stderr().take())
        else {
            return Err(io::Error::other("the process was started without its pipes"));
        };
        let tail = Tail::default();
        let stderr = AbortOnDropHandle::new(tokio::spawn(tail.clone().drain(stderr, label.into())));
        Ok(Started {
            process,
            stdin,
            stdout,
            stderr,
            tail,
        })
    }

    /// Whether it runs, as far as is known without waiting.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.inner_mut().try_wait(), Ok(None))
    }

    /// The process id, for logs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the process ends by itself. Members of its group may be left.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn exited(&mut self) -> io::Result<ExitStatus> {
        // The wrapper's own `wait` waits for the whole group where that is possible, which can be for ever.
        self.child.inner_mut().wait().await
    }

    /// Ends the process and its group. Its stdin has to be closed already.
    pub(crate) async fn end(mut self) {
        if timeout(AFTER_EOF, self.exited()).await.is_err() || self.group.is_alive() {
            self.group.terminate();
            let killed_at = Instant::now() + AFTER_TERM;
            let _ = timeout_at(killed_at, self.gone()).await;
        }
        // The error is that nobody is left. On Windows this is what ends the job.
        let _ = self.child.start_kill();
        if timeout(AFTER_KILL, self.gone()).await.is_err() {
            tracing::warn!("a process of the server's group has not ended after SIGKILL");
        }
        self.ended = true;
    }

    /// The process has been waited for, and nobody of its group is left.
    async fn gone(&mut self) {
        let _ = self.exited().await;
        let (mut pause, longest) = LOOK;
        while cfg!(unix) && self.group.is_alive() {
            // As process 1 of a container the bridge inherits the orphans, and has to take their status.
            let _ = self.child.try_wait();
            sleep(pause).await;
            pause = longest.min(pause * 2);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.start_kill();
        }
    }
}
