//! What stands between a store and its server, and can lose a request or an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use mcp_oauth_store::redis::RedisConfiguration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What is lost next, and the connection with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The next bytes from the store never reach the server.
    Request = 1,
    /// The next bytes from the store reach the server, and the answer never reaches the store.
    Answer = 2,
}

const NOTHING: u8 = 0;
/// The request has passed, and the answer is about to be lost.
const ANSWER_TO_THIS: u8 = 3;

/// Passes on what comes, until it is told to lose something. Gone when it is dropped.
pub(crate) struct Proxy {
    address: String,
    next: Arc<AtomicU8>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let next = Arc::new(AtomicU8::new(NOTHING));
        let loss = next.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(&server).await {
                    tokio::spawn(pass_on(client, server, loss.clone()));
                }
            }
        });
        Self { address, next, task }
    }

    pub(crate) fn configuration(&self) -> RedisConfiguration {
        RedisConfiguration::node(&self.address).unwrap()
    }

    pub(crate) fn lose_next(&self, loss: Loss) {
        self.next.store(loss as u8, Ordering::SeqCst);
    }

    /// Whether something was lost since it was told to.
    pub(crate) fn has_lost(&self) -> bool {
        self.next.load(Ordering::SeqCst) == NOTHING
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(mut client: TcpStream, mut server: TcpStream, next: Arc<AtomicU8>) {
    let (mut from_client, mut from_server) = (vec![0; 256 * 1024], vec![0; 256 * 1024]);
    let took = |from: u8, to: u8| {
        next.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    };
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(length @ 1..) = read else { return };
                if took(Loss::Request as u8, NOTHING) {
                    return;
                }
                took(Loss::Answer as u8, ANSWER_TO_THIS);
                if server.write_all(&from_client[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(length @ 1..) = read else { return };
                if took(ANSWER_TO_THIS, NOTHING) {
                    return;
                }
                if client.write_all(&from_server[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
