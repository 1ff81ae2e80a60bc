//! The pipe to a server's stdin.
//!
//! A message is mostly small and the pipe mostly empty, so it is written on the spot by whoever sends it, without
//! handing it to another task. Only what the pipe does not take at once is put aside, and a task writes it when the
//! server reads on. A line is never torn: what was begun is finished, whoever has gone meanwhile.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::process::ChildStdin;
use tokio::sync::Notify;

/// How much may be put aside before senders have to wait.
const ASIDE: usize = 256 * 1024;

/// The writing end. The task that writes what was put aside has to be ended by whoever closes the pipe: a server that
/// does not read holds it up.
#[derive(Debug)]
pub(crate) struct Pipe {
    state: Mutex<State>,
    /// There is something to flush, or the pipe is closed.
    flush: Notify,
    /// There is room again, or the pipe is closed.
    room: Notify,
}

#[derive(Debug)]
struct State {
    writer: Option<Arc<system::Writer>>,
    aside: Vec<u8>,
    /// How much of it has been written.
    done: usize,
}

/// The pipe is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed;

impl Pipe {
    /// The pipe, and the task that writes what was put aside; it ends when the pipe is closed or breaks.
    pub(crate) fn new(stdin: ChildStdin) -> io::Result<(Arc<Self>, impl Future<Output = ()> + Send + 'static)> {
        let writer = Arc::new(system::Writer::new(stdin)?);
        let pipe = Arc::new(Self {
            state: Mutex::new(State {
                writer: Some(Arc::clone(&writer)),
                aside: Vec::new(),
                done: 0,
            }),
            flush: Notify::new(),
            room: Notify::new(),
        });
        let flushed = Arc::clone(&pipe);
        Ok((pipe, async move { flushed.run(writer).await }))
    }

    /// Waits until a line can be put in.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn room(&self) -> Result<(), Closed> {
        loop {
            let waiting = self.room.notified();
            {
                let state = self.lock();
                if state.writer.is_none() {
                    return Err(Closed);
                }
                if state.left() < ASIDE {
                    return Ok(());
                }
            }
            waiting.await;
        }
    }

    /// Puts a line in, without its end. It is taken whole, even if there is more of it than there is room.
    pub(crate) fn put(&self, mut line: String) {
        line.push('\n');
        let bytes = line.as_bytes();
        let mut state = self.lock();
        let Some(writer) = &state.writer else { return };
        let mut written = 0;
        if state.aside.is_empty() {
            written = writer.try_write(bytes);
            if written == bytes.len() {
                return;
            }
        }
        state.aside.extend_from_slice(&bytes[written..]);
        drop(state);
        self.flush.notify_one();
    }

    /// The same for a message that may as well be lost: nothing is put aside beyond the bound.
    pub(crate) fn try_put(&self, line: String) -> Result<(), Closed> {
        {
            let state = self.lock();
            if state.writer.is_none() || state.left() >= ASIDE {
                return Err(Closed);
            }
        }
        self.put(line);
        Ok(())
    }

    /// Closes the pipe: the server reads the end of its stdin.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.writer = None;
        state.clear();
        drop(state);
        self.flush.notify_one();
        self.room.notify_waiters();
    }

    async fn run(&self, writer: Arc<system::Writer>) {
        loop {
            self.flush.notified().await;
            loop {
                {
                    let state = self.lock();
                    if state.writer.is_none() {
                        return;
                    }
                    if state.aside.is_empty() {
                        break;
                    }
                }
                if self.write(&writer).await.is_err() {
                    self.close();
                    return;
                }
                self.room.notify_waiters();
            }
            self.room.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn left(&self) -> usize {
        self.aside.len() - self.done
    }

    fn clear(&mut self) {
        self.aside = Vec::new();
        self.done = 0;
    }
}

#[cfg(unix)]
mod system {
    use std::io;

    use tokio::net::unix::pipe::Sender;
    use tokio::process::ChildStdin;

    use super::Pipe;

    #[derive(Debug)]
    pub(super) struct Writer(Sender);

    impl Writer {
        pub(super) fn new(stdin: ChildStdin) -> io::Result<Self> {
            Sender::from_owned_fd(stdin.into_owned_fd()?).map(Self)
        }

        /// Writes what the pipe takes now. An error is found again by the task that writes the rest.
        pub(super) fn try_write(&self, bytes: &[u8]) -> usize {
            self.0.try_write(bytes).unwrap_or(0)
        }
    }

    impl Pipe {
        /// Writes some of what was put aside, when the pipe takes it.
        pub(super) async fn write(&self, writer: &Writer) -> io::Result<()> {
            writer.0.writable().await?;
            let mut state = self.lock();
            match writer.0.try_write(&state.aside[state.done..]) {
                Ok(written) => {
                    state.done += written;
                    if state.left() == 0 {
                        state.clear();
                    }
                    Ok(())
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                Err(error) => Err(error),
            }
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    use tokio::io::AsyncWriteExt;
    use tokio::process::ChildStdin;
    use tokio::sync::Mutex;

    use super::Pipe;

    #[derive(Debug)]
    pub(super) struct Writer(Mutex<ChildStdin>);

    impl Writer {
        pub(super) fn new(stdin: ChildStdin) -> io::Result<Self> {
            Ok(Self(Mutex::new(stdin)))
        }

        /// There is no way to write without waiting.
        pub(super) fn try_write(&self, _bytes: &[u8]) -> usize {
            0
        }
    }

    impl Pipe {
        pub(super) async fn write(&self, writer: &Writer) -> io::Result<()> {
            let aside = {
                let mut state = self.lock();
                let aside = std::mem::take(&mut state.aside);
                state.clear();
                aside
            };
            writer.0.lock().await.write_all(&aside).await
        }
    }
}
