//! The person who signs in: shown an address to visit, or a code to type in.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use async_trait::async_trait;
use url::Url;

/// What a person is asked to do on some other device (RFC 8628 §3.2).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DevicePrompt {
    /// Where to go.
    pub verification_uri: Url,
    /// The same with the code in it. The page will still show the code: it has to be the one below.
    pub verification_uri_complete: Option<Url>,
    /// What to type in there.
    pub user_code: String,
}

/// Reaches the person who signs in.
#[async_trait]
pub trait Person: fmt::Debug + Send + Sync {
    /// Shows an address to visit. It is https, or http on this machine.
    async fn visit(&self, url: &Url);

    /// Shows a code to type in.
    async fn enter(&self, prompt: &DevicePrompt);
}

/// How a browser is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Browser {
    /// As the system does it.
    #[default]
    System,
    /// By this program, which gets the address as its only argument. No shell is in between.
    Program(PathBuf),
    /// Not at all: the address is printed.
    None,
}

/// A person at this machine: addresses are written to stderr and opened in a browser.
#[derive(Debug, Clone, Default)]
pub struct Terminal {
    browser: Browser,
}

impl Terminal {
    /// Opens addresses like this.
    #[must_use]
    pub fn new(browser: Browser) -> Self {
        Self { browser }
    }
}

#[async_trait]
impl Person for Terminal {
    async fn visit(&self, url: &Url) {
        eprintln!("To sign in, visit:\n{url}");
        if let Err(error) = open(&self.browser, url).await {
            tracing::warn!(%error, "no browser could be opened; visit the address by hand");
        }
    }

    async fn enter(&self, prompt: &DevicePrompt) {
        let DevicePrompt {
            verification_uri,
            user_code,
            ..
        } = prompt;
        let code: String = user_code.chars().filter(|one| !one.is_control()).take(64).collect();
        eprintln!("To sign in, visit {verification_uri} and enter the code {code}");
        if let Some(complete) = &prompt.verification_uri_complete {
            eprintln!("or visit {complete} and compare the code.");
        }
    }
}

/// Opens an address. Only what a browser shows as a page of the web gets that far.
async fn open(browser: &Browser, url: &Url) -> io::Result<()> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(io::Error::other("this is not an address of the web"));
    }
    match browser {
        Browser::None => Ok(()),
        Browser::Program(program) => {
            let mut child = tokio::process::Command::new(program)
                .arg(url.as_str())
                .stdin(Stdio::null())
                // stdout is the protocol's.
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            tokio::spawn(async move { child.wait().await });
            Ok(())
        }
        Browser::System => {
            let url = url.to_string();
            let opened = tokio::task::spawn_blocking(move || webbrowser::open(&url));
            opened.await.map_err(io::Error::other)?
        }
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::{Browser, open};

    #[tokio::test]
    async fn only_addresses_of_the_web_are_opened() {
        for address in ["file:///etc/passwd", "javascript:alert(1)", "vscode://x", "ms-msdt:/id"] {
            let url = Url::parse(address).unwrap();
            assert!(open(&Browser::Program("true".into()), &url).await.is_err(), "{address}");
            assert!(open(&Browser::System, &url).await.is_err(), "{address}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_browser_gets_the_address_as_one_argument_and_no_shell_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("browser");
        let seen = directory.path().join("seen");
        // Written under another name first: whoever finds the file finds all of it.
        let script = format!(
            "#!/bin/sh\nprintf '%s|%s' \"$#\" \"$1\" > {0}.part && mv {0}.part {0}\n",
            seen.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let url = Url::parse("https://as.example/authorize?a=$(touch%20x)&b=`id`;c|d").unwrap();
        open(&Browser::Program(program), &url).await.unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !seen.exists() && std::time::Instant::now() < deadline {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(std::fs::read_to_string(&seen).unwrap(), format!("1|{url}"));
    }
}
