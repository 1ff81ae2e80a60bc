//! Lines from a pipe, none of which is held beyond a bound.
//!
//! The messages of a server are read with this, what it says on stderr, and, on the way back, the messages of a client.

mod scan;

use std::io;

use memchr::memchr;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader};

use self::scan::Scan;

/// What a pipe is read with.
const BUFFER: usize = 8 * 1024;

/// A line, without its end.
#[derive(Debug)]
pub(crate) enum Line {
    Whole(Vec<u8>),
    Long(Long),
}

/// What is known of a line that exceeded the bound and was thrown away.
#[derive(Debug)]
pub(crate) struct Long {
    /// Its beginning, up to the bound.
    pub(crate) head: Vec<u8>,
    /// How long it was.
    pub(crate) length: usize,
    scan: Scan,
}

impl Long {
    /// The raw `id` of the message that it was.
    pub(crate) fn id(&self) -> Option<&str> {
        self.scan.id()
    }

    /// Whether the message had a `method`.
    pub(crate) fn has_method(&self) -> bool {
        self.scan.has_method()
    }
}

/// Reads lines of a pipe.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    bound: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(reader: R, bound: usize) -> Self {
        Self::with_buffer(reader, bound, BUFFER)
    }

    /// The same for a pipe of which not much is expected.
    pub(crate) fn with_buffer(reader: R, bound: usize, buffer: usize) -> Self {
        Self {
            reader: BufReader::with_capacity(buffer, reader),
            bound,
        }
    }

    /// The next line; `None` at the end of the pipe. A last line that has no end counts.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: what was read of a line is lost.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        let mut line = Vec::new();
        loop {
            let (ended, taken, room) = {
                let piece = self.reader.fill_buf().await?;
                if piece.is_empty() {
                    return Ok((!line.is_empty()).then_some(Line::Whole(line)));
                }
                let (piece, ended) = upto_line_end(piece);
                let room = line.len() + piece.len() <= self.bound;
                if room {
                    line.extend_from_slice(piece);
                }
                (ended, piece.len() + usize::from(ended), room)
            };
            if !room {
                return skip(&mut self.reader, line).await.map(|long| Some(Line::Long(long)));
            }
            self.reader.consume(taken);
            if ended {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(Line::Whole(line)));
            }
        }
    }
}

/// Throws the rest of a line away, learning from it what it was.
async fn skip(reader: &mut (impl AsyncBufRead + Unpin), head: Vec<u8>) -> io::Result<Long> {
    let mut scan = Scan::default();
    scan.feed(&head);
    let mut length = head.len();
    loop {
        let piece = reader.fill_buf().await?;
        if piece.is_empty() {
            break;
        }
        let (piece, ended) = upto_line_end(piece);
        scan.feed(piece);
        length += piece.len();
        let taken = piece.len() + usize::from(ended);
        reader.consume(taken);
        if ended {
            break;
        }
    }
    Ok(Long { head, length, scan })
}

fn upto_line_end(piece: &[u8]) -> (&[u8], bool) {
    match memchr(b'\n', piece) {
        Some(end) => (&piece[..end], true),
        None => (piece, false),
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Lines};

    #[tokio::test]
    async fn a_line_beyond_the_bound_is_skipped_and_the_next_one_read() {
        let text = b"one\r\n{\"id\":5,\"x\":\"aaaaaaaaaaaaaaaaaaaa\"}\n\nlast";
        let mut lines = Lines::new(&text[..], 8);
        assert!(matches!(lines.next().await, Ok(Some(Line::Whole(line))) if line == b"one"));
        let Ok(Some(Line::Long(long))) = lines.next().await else {
            panic!("a long line")
        };
        assert_eq!((long.id(), long.has_method(), long.length), (Some("5"), false, 35));
        assert!(matches!(lines.next().await, Ok(Some(Line::Whole(line))) if line.is_empty()));
        assert!(matches!(lines.next().await, Ok(Some(Line::Whole(line))) if line == b"last"));
        assert!(matches!(lines.next().await, Ok(None)));
    }
}
