//! The gateway with TLS of its own.

#![cfg(unix)]

use std::path::{Path, PathBuf};

use mcp_oauth_tests::gateway::{Gateway, free_port};
use reqwest::{Certificate, Client, redirect};
use serde_json::Value;

/// A certificate for these names, and its key, in files.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        files.write();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes others in their place.
    fn write(&self) {
        let names = ["127.0.0.1", "files.example.com"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names.to_vec()).unwrap();
        std::fs::write(self.path("certificate.pem"), made.cert.pem()).unwrap();
        std::fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    }

    fn toml(&self, rest: &str) -> String {
        let (certificate, key) = (quoted(&self.path("certificate.pem")), quoted(&self.path("key.pem")));
        format!("[tls]\ncertificate_file = {certificate}\nkey_file = {key}\n{rest}")
    }

    /// A client that takes the certificate that is in the file now, and no other.
    fn client(&self, port: u16) -> Client {
        let pem = std::fs::read(self.path("certificate.pem")).unwrap();
        Client::builder()
            .tls_certs_only([Certificate::from_pem(&pem).unwrap()])
            .redirect(redirect::Policy::none())
            .resolve("files.example.com", ([127, 0, 0, 1], port).into())
            .no_proxy()
            .build()
            .unwrap()
    }
}

async fn start(toml: &str) -> (Gateway, u16) {
    let port = free_port();
    (Gateway::start_with(&format!("127.0.0.1:{port}"), &[], toml).await, port)
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

#[tokio::test]
async fn it_serves_https_at_each_host_and_sends_plain_http_there() {
    let files = Files::new();
    let plain = free_port();
    let rest = format!(
        "redirect_listen = \"127.0.0.1:{plain}\"\n[servers.files]\nhost = \"files.example.com\"\nembedded = \"echo\""
    );
    let (gateway, port) = start(&files.toml(&rest)).await;
    let client = files.client(port);
    let metadata = client.get(format!(
        "https://127.0.0.1:{port}/.well-known/oauth-authorization-server"
    ));
    let metadata: Value = metadata.send().await.unwrap().json().await.unwrap();
    assert_eq!(metadata["issuer"], format!("https://127.0.0.1:{port}"));
    let refused = client
        .post(format!("https://files.example.com:{port}/mcp"))
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 401);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(
        challenge.contains(&format!("https://files.example.com:{port}/")),
        "{challenge}"
    );
    let sent = client
        .post(format!("http://127.0.0.1:{plain}/mcp?x=1"))
        .header("host", "files.example.com");
    let sent = sent.send().await.unwrap();
    assert_eq!(sent.status(), 308);
    assert_eq!(
        sent.headers()["location"],
        format!("https://files.example.com:{port}/mcp?x=1")
    );
    assert_eq!(gateway.stop().await, Some(0));
}

#[tokio::test]
async fn a_certificate_that_was_renewed_is_shown_after_a_reload_and_a_broken_one_is_not() {
    let files = Files::new();
    let toml = files.toml("");
    let (gateway, port) = start(&toml).await;
    let url = format!("https://127.0.0.1:{port}/health");
    let old = files.client(port);
    assert_eq!(old.get(&url).send().await.unwrap().status(), 200);

    files.write();
    let new = files.client(port);
    assert!(
        new.get(&url).send().await.is_err(),
        "before the reload it is the old one"
    );
    gateway.reload(&toml).await;
    assert_eq!(files.client(port).get(&url).send().await.unwrap().status(), 200);

    std::fs::write(files.path("key.pem"), "no key").unwrap();
    let told = gateway.reload(&toml).await;
    assert!(told.contains("key.pem") && told.contains("goes on"), "{told}");
    assert_eq!(files.client(port).get(&url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn files_that_do_not_fit_together_are_refused_at_the_start() {
    let (files, others) = (Files::new(), Files::new());
    let toml = format!(
        "[tls]\ncertificate_file = {}\nkey_file = {}",
        quoted(&files.path("certificate.pem")),
        quoted(&others.path("key.pem"))
    );
    let refused = Gateway::refuse(&[], &toml).await;
    assert!(
        refused.message.contains("does not belong to the certificate"),
        "{}",
        refused.message
    );
    let half = Gateway::refuse(&[], "[tls]\nkey_file = \"key.pem\"").await;
    assert!(half.message.contains("tls.certificate_file"), "{}", half.message);
}
