//! The stdio side: a server process, and the three pipes to it.
//!
//! [`Process`] is the process with its whole group, from start to the last member's end. [`Pipe`] is the way in;
//! [`Lines`] reads a pipe line by line without ever holding more than its bound. [`Tail`] drains stderr, because a
//! server whose stderr nobody reads stands still as soon as the pipe is full. Nothing here knows of sessions or of HTTP.

mod group;
mod lines;
mod pipe;
mod process;
mod scan;
mod stderr;

pub(crate) use self::lines::{Line, Lines, Long};
pub(crate) use self::pipe::Pipe;
pub(crate) use self::process::{Process, Started};
pub(crate) use self::stderr::Tail;
