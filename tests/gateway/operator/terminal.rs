//! The program at a terminal, as a person sees it.

use std::path::Path;
use std::process::Stdio;

use mcp_oauth_tests::gateway::command_in;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// The number of the system call that sets a terminal.
#[cfg(target_arch = "x86_64")]
const IOCTL: &str = "16";
#[cfg(not(target_arch = "x86_64"))]
const IOCTL: &str = "29";

/// A program at a terminal, with somebody who reads and types.
pub(super) struct Terminal {
    child: tokio::process::Child,
    seen: String,
}

impl Terminal {
    pub(super) fn open(folder: &Path, arguments: &str) -> Self {
        let program = command_in(folder, &[]);
        let program = program.as_std().get_program().to_str().unwrap().to_owned();
        // In a session of its own: a test that runs behind others at a terminal would be stopped when `script` sets that one up.
        let child = Command::new("setsid")
            .args([
                "--wait",
                "script",
                "--quiet",
                "--return",
                "--command",
                &format!("{program} {arguments}"),
                "/dev/null",
            ])
            .current_dir(folder)
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            child,
            seen: String::new(),
        }
    }

    /// Waits until something is asked, and types.
    pub(super) async fn answer(&mut self, question: &str, typed: &str) {
        let mut bytes = [0; 4096];
        while !self.seen.contains(question) {
            let count = self.child.stdout.as_mut().unwrap().read(&mut bytes).await.unwrap();
            assert_ne!(count, 0, "it ended before it asked {question:?}: {}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        self.seen.clear();
        self.is_waited_for().await;
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(typed.as_bytes()).await.unwrap();
    }

    /// Waits until the program waits. What is typed between its question and the moment at which it hides what is typed is
    /// thrown away by the terminal; nobody types so fast. Where the system does not tell, nothing is waited for.
    async fn is_waited_for(&self) {
        let Some(mut process) = self.child.id() else { return };
        // `script` starts the program, and `setsid` may have started `script`.
        while let Ok(children) = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"))
            && let Some(child) = children.split_whitespace().next()
        {
            process = child.parse().unwrap();
        }
        let runs = || {
            let call = std::fs::read_to_string(format!("/proc/{process}/syscall")).unwrap_or_default();
            let setting_the_terminal = call.split_whitespace().next() == Some(IOCTL);
            call.starts_with("running") || setting_the_terminal
        };
        while runs() {
            tokio::task::yield_now().await;
        }
    }

    /// Reads to the end, and gives the code.
    pub(super) async fn end(mut self) -> (i32, String) {
        let mut rest = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut rest).await.unwrap();
        self.seen.push_str(&String::from_utf8_lossy(&rest));
        (self.child.wait().await.unwrap().code().unwrap(), self.seen)
    }
}
