//! A proxy, the gateway and two servers, as the files of the example put them together.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mcp_oauth_tests::gateway::{Gateway, free_port};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::backends::Backends;

/// Everything, running until it is dropped.
pub(crate) struct Site {
    /// Where clients reach it.
    pub(crate) proxy: SocketAddr,
    pub(crate) gateway: Gateway,
    pub(crate) backends: Backends,
    processes: Vec<Child>,
    directory: TempDir,
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

impl Site {
    /// The gateway and the servers; the proxy listens later.
    pub(crate) async fn start() -> Self {
        let backends = Backends::start().await;
        let proxy = loopback(free_port());
        let settings = read("gateway.toml").replace(":8000", &format!(":{}", proxy.port()));
        Self {
            proxy,
            gateway: Gateway::start(&settings).await,
            backends,
            processes: Vec::new(),
            directory: TempDir::new().unwrap(),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The URL below which clients see everything.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.proxy)
    }

    /// A file of the example with the ports of this site.
    pub(crate) fn file(&self, name: &str) -> String {
        let gateway = self.gateway.url.rsplit_once(':').unwrap().1.to_owned();
        let mut text = read(name);
        for (example, ours) in [
            (8000, self.proxy.port().to_string()),
            (8080, gateway),
            (3000, self.backends.notes.port().to_string()),
            (3001, self.backends.echo.port().to_string()),
        ] {
            text = text.replace(&format!(":{example}"), &format!(":{ours}"));
            // In JSON the number stands alone.
            text = text.replace(
                &format!("\"port_value\": {example} "),
                &format!("\"port_value\": {ours} "),
            );
        }
        text
    }

    /// The same, written to the site's own directory.
    pub(crate) fn write(&self, name: &str) -> PathBuf {
        let path = self.directory().join(name);
        std::fs::write(&path, self.file(name)).unwrap();
        path
    }

    /// Runs the proxy's program, and waits until it listens.
    pub(crate) async fn run(&mut self, command: &mut Command) {
        let log = std::fs::File::create(self.directory().join("proxy.log")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.processes.push(child);
        for _ in 0..600 {
            if TcpStream::connect(self.proxy).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let log = std::fs::read_to_string(self.directory().join("proxy.log"));
        panic!("the proxy does not listen: {log:?}");
    }
}

fn read(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/full-gateway/proxies");
    std::fs::read_to_string(folder.join(name)).unwrap()
}
