//! The stdio side: a server process, and the three pipes to it.
//!
//! [`Process`] is the process with its whole group, from start to the last member's end. [`Lines`] reads a pipe
//! line by line without ever holding more than its bound. [`Tail`] drains stderr, because a server whose stderr
//! nobody reads stands still as soon as the pipe is full. Nothing here knows of sessions or of HTTP.

mod group;
mod lines;
mod process;
mod scan;
mod stderr;

pub(crate) use self::lines::{Line, Lines, Long};
pub(crate) use self::process::{Pipes, Process};
pub(crate) use self::stderr::Tail;
