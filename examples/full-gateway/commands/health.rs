//! `health`: whether the gateway that runs here is well, from inside.
//!
//! Everything is asked at the same time, and nothing longer than it may take, so that this is fit for a container's health
//! check. No server's program is started by it: a server is asked without a token, which the gateway refuses by itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use futures_util::future::join_all;
use http::header::{HOST, WWW_AUTHENTICATE};
use mcp_oauth_core::store::Store as _;
use mcp_oauth_tower::RedisStore;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde::Serialize;
use url::Url;

use super::exit::End;
use super::output::{Output, json};
use crate::configuration::Configuration;
use crate::servers;

mod certificate;

/// How long, and what.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// After so many seconds without an answer something counts as failed
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
    /// Ask at the public addresses too, as clients do, and look at their certificates
    #[arg(long)]
    public: bool,
    /// A certificate that is good for less than so many days counts as failed
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    certificate_days: u32,
    #[command(flatten)]
    output: Output,
}

/// What came of looking at one thing.
#[derive(Debug, Serialize)]
struct Check {
    /// What was looked at.
    #[serde(rename = "check")]
    what: String,
    ok: bool,
    /// What there is to say of it.
    detail: String,
}

impl Check {
    fn new(what: impl Into<String>, outcome: anyhow::Result<String>) -> Self {
        let (ok, detail) = match outcome {
            Ok(detail) => (true, detail),
            Err(error) => (false, format!("{error:#}")),
        };
        let what = what.into();
        Self { what, ok, detail }
    }
}

pub(super) async fn run(health: Health) -> anyhow::Result<()> {
    let configuration = Configuration::load()?;
    let timeout = Duration::from_secs(health.timeout);
    let builder = || Client::builder().redirect(Policy::none()).timeout(timeout);
    let client = builder().tls_info(true).build()?;
    // It is itself that it asks, at its own port; how its certificate looks to others is a check of its own.
    let to_itself = builder().tls_danger_accept_invalid_certs(true).build()?;
    let inside = Inside::new(&configuration, to_itself)?;
    let mut checks: Vec<Pending<'_>> = vec![
        Box::pin(async { Check::new("gateway", inside.says("/health").await) }),
        Box::pin(async { Check::new("readiness", inside.says("/ready").await) }),
        Box::pin(async { Check::new("store", store(&configuration, timeout).await) }),
    ];
    for server in servers::of(&configuration)? {
        let inside = &inside;
        checks.push(Box::pin(async move {
            let protected = inside.is_protected(server.host.as_deref(), &server.path).await;
            Check::new(format!("server {}", server.key), protected)
        }));
    }
    let days = health.certificate_days;
    for (name, file) in configuration.certificates() {
        checks.push(Box::pin(async move {
            Check::new(format!("certificate {name}"), certificate::of_file(file, days))
        }));
    }
    if health.public {
        let issuer = configuration.issuer();
        let backends = configuration.backends.values().map(|backend| backend.url.clone());
        for url in backends.chain([issuer]) {
            let client = client.clone();
            checks.push(Box::pin(async move {
                Check::new(format!("public {url}"), certificate::at(&client, &url, days).await)
            }));
        }
    }
    let checks = join_all(checks).await;
    let healthy = checks.iter().all(|check| check.ok);
    let printed = if health.output.json {
        json(&serde_json::json!({"healthy": healthy, "checks": checks}))
    } else {
        let row = |check: &Check| {
            let state = if check.ok { "ok" } else { "failed" };
            vec![state.to_owned(), check.what.clone(), check.detail.clone()]
        };
        health.output.several(&checks, &["STATE", "CHECK", "DETAIL"], row)
    };
    if healthy {
        return printed;
    }
    let failed: Vec<_> = checks
        .iter()
        .filter(|check| !check.ok)
        .map(|check| check.what.as_str())
        .collect();
    Err(End::NotReady(format!("not in order: {}", failed.join(", "))).into())
}

type Pending<'a> = std::pin::Pin<Box<dyn Future<Output = Check> + Send + 'a>>;

/// Whether the store answers this process too.
async fn store(configuration: &Configuration, timeout: Duration) -> anyhow::Result<String> {
    let Some(redis) = configuration.redis()? else {
        return Ok("in the memory of the gateway".to_owned());
    };
    let store = RedisStore::new(&redis)?;
    let answer = tokio::time::timeout(timeout, store.ping()).await;
    answer.with_context(|| format!("Redis does not answer within {} seconds", timeout.as_secs()))??;
    Ok("Redis answers".to_owned())
}

/// The gateway, asked at the port that it listens on, under its own name.
struct Inside {
    client: Client,
    scheme: &'static str,
    address: SocketAddr,
    host: String,
    /// What stands in front of all paths.
    prefix: String,
}

impl Inside {
    fn new(configuration: &Configuration, client: Client) -> anyhow::Result<Self> {
        let mut address = configuration.listen;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let issuer: Url = configuration.issuer().parse().context("the public URL is none")?;
        let name = issuer.host_str().unwrap_or_default();
        let host = issuer
            .port()
            .map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let prefix = issuer.path().trim_end_matches('/').to_owned();
        Ok(Self {
            client,
            scheme: if configuration.serves_tls() { "https" } else { "http" },
            address,
            host,
            prefix,
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    async fn says(&self, path: &str) -> anyhow::Result<String> {
        let response = self.client.get(self.url(path)).header(HOST, &self.host).send().await;
        let response = response.map_err(reqwest::Error::without_url)?;
        let status = response.status();
        anyhow::ensure!(status.is_success(), "{path} answers {status}");
        Ok(format!("{path} answers {status}"))
    }

    /// Whether a server is there and refuses whoever has no token, as the gateway does by itself.
    async fn is_protected(&self, host: Option<&str>, path: &str) -> anyhow::Result<String> {
        let (host, path) = match host {
            Some(host) => (host, path.to_owned()),
            None => (self.host.as_str(), format!("{}{path}", self.prefix)),
        };
        let request = self.client.post(self.url(&path)).header(HOST, host);
        let response = request
            .header("content-type", "application/json")
            .body("{}")
            .send()
            .await
            .map_err(reqwest::Error::without_url)?;
        let status = response.status();
        anyhow::ensure!(
            status == StatusCode::UNAUTHORIZED,
            "{path} answers {status} where a token is missing, and not 401"
        );
        anyhow::ensure!(
            response.headers().contains_key(WWW_AUTHENTICATE),
            "{path} answers 401 and does not say where to get a token"
        );
        Ok(format!("{path} asks for a token"))
    }
}
