//! The pipe to a server's stdin.
//!
//! A message is mostly small and the pipe mostly empty, so it is written on the spot by whoever sends it, without
//! handing it to another task. Who sends while somebody else is writing leaves the message to them and goes on: nobody waits
//! for the system with the lock in their hands, and what comes at the same time is written at once. Only what the pipe does
//! not take is put aside, and a task writes it when the server reads on. A line is never torn: what was begun is finished,
//! whoever has gone meanwhile.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::process::ChildStdin;
use tokio::sync::Notify;

/// How much may be put aside before senders have to wait.
const ASIDE: usize = 256 * 1024;
/// So many times somebody writes for others before that is left to the task: they have work of their own.
const FOR_OTHERS: usize = 16;

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
    /// Somebody writes at this moment, and what is put aside as long as that lasts they write too.
    writing: bool,
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
                writing: false,
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
        let mut bytes = line.into_bytes();
        let writer = {
            let mut state = self.lock();
            let Some(writer) = &state.writer else { return };
            let writer = Arc::clone(writer);
            if state.writing || !state.aside.is_empty() {
                // Whoever writes goes on to this, or the task does.
                state.aside.extend_from_slice(&bytes);
                return;
            }
            state.writing = true;
            writer
        };
        for round in 0.. {
            let written = writer.try_write(&bytes);
            let mut state = self.lock();
            let all = written == bytes.len();
            if all && state.aside.is_empty() {
                state.writing = false;
                drop(state);
                if round > 0 {
                    self.room.notify_waiters();
                }
                return;
            }
            if !all || round == FOR_OTHERS {
                state.writing = false;
                if state.writer.is_none() {
                    return;
                }
                state.aside.splice(..0, bytes.drain(written..));
                break;
            }
            bytes = std::mem::take(&mut state.aside);
        }
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
                    // Who writes says so when they leave something behind.
                    if state.writing || state.aside.is_empty() {
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

#[cfg(all(test, unix))]
mod tests {
    use std::process::Stdio;
    use std::sync::Arc;

    use tokio::io::{AsyncBufReadExt as _, BufReader};
    use tokio::process::Command;

    use super::Pipe;

    /// How many send at the same time, and how many lines each.
    const SENDERS: usize = 8;
    const LINES: usize = 2_000;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_many_who_send_at_once_each_line_arrives_whole_and_in_its_senders_order() {
        let mut reader = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (pipe, flush) = Pipe::new(reader.stdin.take().unwrap()).unwrap();
        tokio::spawn(flush);
        for sender in 0..SENDERS {
            let pipe = Arc::clone(&pipe);
            tokio::spawn(async move {
                for number in 0..LINES {
                    pipe.room().await.unwrap();
                    // Of many lengths, so that the pipe is full in the middle of a line.
                    pipe.put(format!("{sender} {number} {}", "x".repeat(number % 1_500)));
                }
            });
        }
        let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
        let mut next = [0; SENDERS];
        for _ in 0..SENDERS * LINES {
            let line = lines.next_line().await.unwrap().unwrap();
            let parts: Vec<_> = line.split(' ').collect();
            let sender: usize = parts[0].parse().unwrap();
            assert_eq!(parts[1].parse(), Ok(next[sender]));
            assert_eq!(parts[2].len(), next[sender] % 1_500);
            next[sender] += 1;
        }
        pipe.close();
        assert!(pipe.room().await.is_err());
    }
}
