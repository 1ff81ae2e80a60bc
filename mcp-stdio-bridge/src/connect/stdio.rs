//! The client's side: a message a line, from stdin and to stdout.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::lines::{Line, Lines};
use crate::message::reply;

/// Writes each line as it comes, until nobody is left to send one.
pub(super) async fn write(output: impl AsyncWrite + Unpin, mut lines: mpsc::Receiver<String>) -> io::Result<()> {
    let mut output = output;
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        output.write_all(line.as_bytes()).await?;
        output.flush().await?;
    }
    Ok(())
}

/// Reads lines of bounded length until the input ends. One that is longer is skipped, and answered with an error,
/// under its own id where it is a request.
pub(super) async fn read(
    input: impl AsyncRead + Unpin,
    lines: mpsc::Sender<Vec<u8>>,
    out: mpsc::Sender<String>,
    most: usize,
) -> io::Result<()> {
    let mut input = Lines::new(input, most);
    while let Some(line) = input.next().await? {
        match line {
            Line::Long(long) => {
                let text = format!("a message has at most {most} bytes");
                let id = long.id().filter(|_| long.has_method());
                let _ = out.send(reply::error(id, reply::INVALID_REQUEST, &text)).await;
            }
            Line::Whole(line) if line.trim_ascii().is_empty() => {}
            Line::Whole(line) => {
                if lines.send(line).await.is_err() {
                    break;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::read;

    #[tokio::test]
    async fn a_line_that_is_too_long_is_answered_and_skipped() {
        let (lines, mut taken) = tokio::sync::mpsc::channel(8);
        let (out, mut said) = tokio::sync::mpsc::channel(8);
        read(&b"12345678\nabcdefghij1234567890\n\n9\nend"[..], lines, out, 8)
            .await
            .unwrap();
        let mut read = Vec::new();
        while let Some(line) = taken.recv().await {
            read.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(read, ["12345678", "9", "end"]);
        assert!(said.recv().await.unwrap().contains("at most 8 bytes"));
        assert!(said.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_request_that_is_too_long_is_answered_under_its_own_id() {
        let (lines, _taken) = tokio::sync::mpsc::channel(8);
        let (out, mut said) = tokio::sync::mpsc::channel(8);
        let request = br#"{"jsonrpc":"2.0","method":"tools/call","params":{"id":1},"id":7}"#;
        read(&request[..], lines, out, 8).await.unwrap();
        let answer: serde_json::Value = serde_json::from_str(&said.recv().await.unwrap()).unwrap();
        assert_eq!(answer["id"], 7);
    }
}
