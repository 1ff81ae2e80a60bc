//! Something that speaks like Redis and answers every command with one and the same error.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Gone when it is dropped.
pub(crate) struct Refusing {
    pub(crate) address: String,
    task: JoinHandle<()>,
}

impl Refusing {
    pub(crate) async fn with(error: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = format!("-{error}\r\n");
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut read = vec![0; 64 * 1024];
                    while let Ok(length @ 1..) = stream.read(&mut read).await {
                        // Every command is an array, and nothing that these tests send has a line that begins so.
                        let text = String::from_utf8_lossy(&read[..length]).into_owned();
                        let commands = text.split("\r\n").filter(|line| line.starts_with('*')).count();
                        if stream.write_all(answer.repeat(commands).as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        self.task.abort();
    }
}
