//! One question to a URL of this machine, for the health check of a container in which there is nothing but this program.

use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// What to ask.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Such as http://127.0.0.1:8080/ready
    url: Url,
}

/// Succeeds if the answer is 200.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let url = options.url;
    let host = url.host_str().filter(|_| url.scheme() == "http");
    let host = host.context("write a URL such as http://127.0.0.1:8080/ready")?;
    let address = (host.trim_matches(['[', ']']), url.port_or_known_default().unwrap_or(80));
    let asked = async {
        let mut connection = TcpStream::connect(address).await?;
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let request = format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await?;
        let mut status = [0; 12];
        connection.read_exact(&mut status).await?;
        Ok::<_, std::io::Error>(status)
    };
    let status = timeout(PATIENCE, asked)
        .await
        .with_context(|| format!("{url} does not answer within {} seconds", PATIENCE.as_secs()))?
        .with_context(|| format!("{url} does not answer"))?;
    let status = String::from_utf8_lossy(&status[9..]);
    anyhow::ensure!(status == "200", "{url} answers {status}");
    Ok(())
}
