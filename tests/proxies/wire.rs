//! HTTP/1.1 byte by byte, since no client sends what an attacker sends.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// No answer takes so long unless something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// The values of a header, joined as a list is.
    pub(crate) fn header(&self, name: &str) -> String {
        let values = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let values: Vec<_> = values.map(|(_, value)| value.as_str()).collect();
        values.join(", ")
    }

    /// How often a header is there.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .count()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// A connection on which an answer is being read.
pub(crate) struct Stream {
    reader: BufReader<TcpStream>,
    pub(crate) head: Reply,
}

/// Sends the lines of a request as they are, and reads the head of the answer.
pub(crate) async fn open(address: SocketAddr, line: &str, headers: &[(&str, &str)], body: &str) -> Stream {
    let mut request = format!("{line}\r\n");
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    if !line.starts_with("GET") {
        request.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
    }
    request.push_str("\r\n");
    request.push_str(body);
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut stream = Stream {
        reader: BufReader::new(connection),
        head: Reply::default(),
    };
    let status = stream.line().await;
    stream.head.status = status
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_default();
    loop {
        let line = stream.line().await;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        stream
            .head
            .headers
            .push((name.trim().to_owned(), value.trim().to_owned()));
    }
    stream
}

/// Sends the lines of a request as they are.
pub(crate) async fn send(address: SocketAddr, line: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut stream = open(address, line, headers, body).await;
    let bodiless = matches!(stream.head.status, 204 | 304) || line.starts_with("HEAD");
    if stream.head.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
        while let Some(chunk) = stream.chunk().await {
            stream.head.body.push_str(&chunk);
        }
    } else if let (false, Ok(length)) = (bodiless, stream.head.header("content-length").parse()) {
        let mut body = vec![0; length];
        tokio::time::timeout(PATIENCE, stream.reader.read_exact(&mut body))
            .await
            .unwrap()
            .unwrap();
        stream.head.body = String::from_utf8(body).unwrap();
    } else if !bodiless {
        let mut body = String::new();
        let read = stream.reader.read_to_string(&mut body);
        tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        stream.head.body = body;
    }
    stream.head
}

impl Stream {
    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line);
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("an answer comes")
            .unwrap();
        line.trim_end().to_owned()
    }

    async fn chunk(&mut self) -> Option<String> {
        let length = usize::from_str_radix(self.line().await.split(';').next()?, 16).ok()?;
        let mut chunk = vec![0; length];
        let read = self.reader.read_exact(&mut chunk);
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("a chunk comes")
            .unwrap();
        self.line().await;
        (length > 0).then(|| String::from_utf8(chunk).unwrap())
    }

    /// Reads on until this text has come.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            match self.chunk().await {
                Some(chunk) => seen.push_str(&chunk),
                None => panic!("the stream ended after {seen:?} without {text:?}: {:?}", self.head),
            }
        }
        seen
    }
}
