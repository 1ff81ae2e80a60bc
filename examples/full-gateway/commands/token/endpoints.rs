//! Where a gateway is asked, by its own metadata (RFC 8414), and how.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::{Host, Url};

use crate::commands::exit::End;

/// An answer of the gateway is never larger.
const MAXIMUM_ANSWER: usize = 256 * 1024;

/// The endpoints that are needed.
#[derive(Debug, Deserialize)]
pub(super) struct Endpoints {
    pub(super) issuer: String,
    pub(super) token_endpoint: Url,
    pub(super) device_authorization_endpoint: Option<Url>,
    pub(super) registration_endpoint: Option<Url>,
}

/// What asks: no redirect is followed, since none of these answers is one.
pub(super) fn http() -> anyhow::Result<Client> {
    let builder = Client::builder()
        .redirect(Policy::none())
        .timeout(Duration::from_secs(30));
    Ok(builder.build()?)
}

impl Endpoints {
    /// Reads the metadata of the gateway with this issuer.
    pub(super) async fn discover(http: &Client, issuer: &str) -> anyhow::Result<Self> {
        let asked = issuer.trim_end_matches('/');
        let mut url: Url = asked
            .parse()
            .map_err(|_| End::Usage(format!("{issuer} is no URL: write it as https://mcp.example.com")))?;
        safe(&url)?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
        let response = http.get(url.clone()).send().await?;
        if !response.status().is_success() {
            let status = response.status();
            anyhow::bail!("{url} answers {status}: is {issuer} the issuer of a gateway, and not one of its servers?");
        }
        let found: Self = json(response).await.with_context(|| format!("{url} is no metadata"))?;
        anyhow::ensure!(
            found.issuer.trim_end_matches('/') == asked,
            "{url} belongs to {}, and not to {issuer} (RFC 8414 section 3.3)",
            found.issuer
        );
        let others = [&found.device_authorization_endpoint, &found.registration_endpoint];
        for url in others.into_iter().flatten().chain([&found.token_endpoint]) {
            safe(url)?;
        }
        Ok(found)
    }
}

/// Refuses to send secrets where others can read them.
pub(super) fn safe(url: &Url) -> anyhow::Result<()> {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) {
        return Ok(());
    }
    Err(End::Usage(format!(
        "{url} is neither https nor on this machine: tokens are not sent there"
    ))
    .into())
}

/// The JSON of an answer, of a bounded size.
pub(super) async fn json<T: DeserializeOwned>(mut response: Response) -> anyhow::Result<T> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        anyhow::ensure!(body.len() <= MAXIMUM_ANSWER, "the answer is too large");
    }
    // Neither the answer nor what its parser says of it is shown: there may be tokens in it.
    serde_json::from_slice(&body).map_err(|_| anyhow::anyhow!("the answer is not the JSON that it should be"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_asked_for_where_nobody_listens_alone() {
        for good in [
            "https://mcp.example",
            "http://127.0.0.1:8080",
            "http://[::1]/",
            "http://localhost:1",
        ] {
            assert!(safe(&good.parse().unwrap()).is_ok(), "{good}");
        }
        for bad in [
            "http://mcp.example",
            "http://10.0.0.1",
            "http://localhost.evil.example",
            "ftp://127.0.0.1",
            "file:///etc",
        ] {
            assert!(safe(&bad.parse().unwrap()).is_err(), "{bad}");
        }
    }
}
