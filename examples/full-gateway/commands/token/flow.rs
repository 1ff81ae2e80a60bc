//! The ways to a token.

use std::time::Duration;

use anyhow::Context as _;
use mcp_oauth_core::clock::{Clock as _, SystemClock};
use mcp_oauth_core::secret::Secret;
use reqwest::Client;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use url::Url;

use super::endpoints::{Endpoints, json, safe};
use super::kept::Kept;
use crate::commands::output;

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) resource: Option<&'a str>,
    pub(super) scope: Option<&'a str>,
}

impl<'a> Asked<'a> {
    fn fields(self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let resource = self.resource.map(|resource| ("resource", resource));
        resource.into_iter().chain(self.scope.map(|scope| ("scope", scope)))
    }
}

/// A token response (RFC 6749 §5.1), or an error (§5.2).
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Tokens(Tokens),
    Refused(Refused),
}

#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
    scope: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Refused {
    error: String,
    error_description: Option<String>,
}

impl Refused {
    fn error(self) -> anyhow::Error {
        match self.error_description {
            Some(description) => anyhow::anyhow!("the gateway refuses: {}: {description}", self.error),
            None => anyhow::anyhow!("the gateway refuses: {}", self.error),
        }
    }
}

#[derive(Deserialize)]
struct DeviceAuthorization {
    device_code: String,
    user_code: String,
    verification_uri: Url,
    verification_uri_complete: Option<Url>,
    expires_in: u64,
    interval: Option<u64>,
}

#[derive(Deserialize)]
struct Registered {
    client_id: String,
}

/// Registers a public client for devices.
pub(super) async fn register(http: &Client, endpoints: &Endpoints) -> anyhow::Result<String> {
    let endpoint = endpoints.registration_endpoint.clone();
    let endpoint = endpoint.context("clients cannot register here: ask for a client, and say --client-id")?;
    let metadata = json!({
        "client_name": "full-gateway token",
        "grant_types": [DEVICE_CODE, "refresh_token"],
        "token_endpoint_auth_method": "none",
    });
    let response = http.post(endpoint).json(&metadata).send().await?;
    if response.status().is_success() {
        return Ok(json::<Registered>(response).await?.client_id);
    }
    Err(json::<Refused>(response).await?.error())
}

async fn post(
    http: &Client,
    endpoint: &Url,
    client_id: &str,
    secret: Option<&Secret>,
    fields: &[(&str, &str)],
) -> anyhow::Result<reqwest::Response> {
    let mut request = http.post(endpoint.clone());
    let mut form = fields.to_vec();
    match secret {
        // Both are encoded as in a form first (RFC 6749 §2.3.1).
        Some(secret) => request = request.basic_auth(encoded(client_id), Some(encoded(secret.expose()))),
        None => form.push(("client_id", client_id)),
    }
    Ok(request.form(&form).send().await?)
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn kept(endpoints: &Endpoints, client_id: &str, asked: Asked<'_>, tokens: Tokens) -> anyhow::Result<Kept> {
    anyhow::ensure!(
        tokens.token_type.eq_ignore_ascii_case("bearer"),
        "the gateway gives out tokens of the type {}, which are used in another way",
        tokens.token_type
    );
    Ok(Kept {
        issuer: endpoints.issuer.clone(),
        token_endpoint: endpoints.token_endpoint.clone(),
        client_id: client_id.to_owned(),
        resource: asked.resource.map(str::to_owned),
        scope: tokens.scope.or_else(|| asked.scope.map(str::to_owned)),
        access_token: tokens.access_token,
        expires_at: tokens
            .expires_in
            .map(|seconds| SystemClock.now() + Duration::from_secs(seconds)),
        refresh_token: tokens.refresh_token,
    })
}

/// Has a person let this in, wherever they have a browser.
pub(super) async fn device(
    http: &Client,
    endpoints: &Endpoints,
    asked: Asked<'_>,
    client_id: &str,
    secret: Option<&Secret>,
) -> anyhow::Result<Kept> {
    let endpoint = endpoints.device_authorization_endpoint.as_ref();
    let endpoint =
        endpoint.context("this gateway lets no devices in: its operator has to switch device_authorization on")?;
    let fields: Vec<_> = asked.fields().collect();
    let response = post(http, endpoint, client_id, secret, &fields).await?;
    if !response.status().is_success() {
        return Err(json::<Refused>(response).await?.error());
    }
    let begun: DeviceAuthorization = json(response).await?;
    safe(&begun.verification_uri)?;
    output::note(&format!(
        "Open {} and enter {}",
        begun.verification_uri, begun.user_code
    ));
    if let Some(complete) = &begun.verification_uri_complete {
        output::note(&format!("or open {complete}"));
    }
    let deadline = Instant::now() + Duration::from_secs(begun.expires_in);
    // RFC 8628 §3.2: 5 seconds if nothing is said. Never 0, or we would be a flood.
    let mut interval = Duration::from_secs(begun.interval.unwrap_or(5).max(1));
    let mut fields = vec![("grant_type", DEVICE_CODE), ("device_code", begun.device_code.as_str())];
    fields.extend(asked.resource.map(|resource| ("resource", resource)));
    loop {
        anyhow::ensure!(
            Instant::now() + interval < deadline,
            "nobody has entered the code in time: begin again"
        );
        sleep(interval).await;
        let Ok(response) = post(http, &endpoints.token_endpoint, client_id, secret, &fields).await else {
            // RFC 8628 §3.5: a gateway that is away for a moment is asked again, and less often.
            interval *= 2;
            continue;
        };
        match json::<Answer>(response).await? {
            Answer::Tokens(tokens) => return kept(endpoints, client_id, asked, tokens),
            Answer::Refused(refused) => match refused.error.as_str() {
                "authorization_pending" | "temporarily_unavailable" => {}
                "slow_down" => interval += Duration::from_secs(5),
                _ => return Err(refused.error()),
            },
        }
    }
}

/// Asks for a token of the client's own.
pub(super) async fn client_credentials(
    http: &Client,
    endpoints: &Endpoints,
    asked: Asked<'_>,
    client_id: &str,
    secret: &Secret,
) -> anyhow::Result<Kept> {
    let mut fields = vec![("grant_type", "client_credentials")];
    fields.extend(asked.fields());
    let response = post(http, &endpoints.token_endpoint, client_id, Some(secret), &fields).await?;
    match json(response).await? {
        Answer::Tokens(tokens) => kept(endpoints, client_id, asked, tokens),
        Answer::Refused(refused) => Err(refused.error()),
    }
}

/// Exchanges a refresh token for what follows.
pub(super) async fn refresh(
    http: &Client,
    before: Kept,
    secret: Option<&Secret>,
    scope: Option<&str>,
) -> anyhow::Result<Kept> {
    let refresh_token = before
        .refresh_token
        .clone()
        .context("there is no refresh token in it: begin again")?;
    safe(&before.token_endpoint)?;
    let asked = Asked {
        resource: before.resource.as_deref(),
        scope,
    };
    let mut fields = vec![
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.as_str()),
    ];
    fields.extend(asked.fields());
    let response = post(http, &before.token_endpoint, &before.client_id, secret, &fields).await?;
    let tokens = match json(response).await? {
        Answer::Tokens(tokens) => tokens,
        Answer::Refused(refused) => return Err(refused.error()),
    };
    let endpoints = Endpoints {
        issuer: before.issuer.clone(),
        token_endpoint: before.token_endpoint.clone(),
        device_authorization_endpoint: None,
        registration_endpoint: None,
    };
    let mut after = kept(&endpoints, &before.client_id, asked, tokens)?;
    // A gateway that gives out no new one means the old one to go on (RFC 6749 §6).
    after.refresh_token = after.refresh_token.or(Some(refresh_token));
    after.scope = after.scope.or(before.scope);
    Ok(after)
}
