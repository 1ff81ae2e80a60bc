//! What the server says on stderr: always read, shown in the log at `debug`, its end kept.
//!
//! The last lines explain a server that did not start. They go to the log, and to a client only where the operator has
//! said so, since a server may print its settings there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncRead;

use crate::lines::{Line, Lines};

/// More of a line is not of use in a log.
const LONGEST_LINE: usize = 4 * 1024;
/// Every server has its own, and mostly says little.
const BUFFER: usize = 1024;
/// So many lines explain a failed start.
const KEPT: usize = 20;

/// The last lines of a server's stderr.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    /// Reads a pipe to its end.
    pub(crate) async fn drain(self, stderr: impl AsyncRead + Unpin, label: Box<str>) {
        let mut lines = Lines::with_buffer(stderr, LONGEST_LINE, BUFFER);
        while let Ok(Some(line)) = lines.next().await {
            let text = match &line {
                Line::Whole(text) => String::from_utf8_lossy(text).into_owned(),
                Line::Long(long) => {
                    format!("{}… ({} bytes)", String::from_utf8_lossy(&long.head), long.length)
                }
            };
            tracing::debug!(target: "mcp_stdio_bridge::stderr", of = &*label, "{text}");
            self.keep(text);
        }
    }

    /// The lines kept, the oldest first.
    pub(crate) fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    fn keep(&self, text: String) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(text);
    }
}
