//! The stdio side: a server process, and the three pipes to it.
//!
//! [`Process`] is the process with its whole group, from start to the last member's end. [`Pipe`] is the way in;
//! what comes out is read by [`Lines`](crate::lines::Lines). [`Tail`] drains stderr, because a server whose stderr nobody
//! reads stands still as soon as the pipe is full. Nothing here knows of sessions or of HTTP.

mod group;
mod pipe;
mod process;
mod stderr;

pub(crate) use self::pipe::Pipe;
pub(crate) use self::process::{Process, Started};
pub(crate) use self::stderr::Tail;
