//! Signing in on another device (RFC 8628).

use std::time::Duration;

use http::header;
use serde::Deserialize;

use super::address::bounded;
use super::authorizer::AuthorizationError;
use super::client::Client;
use super::discovery::Discovered;
use super::fetch::{FetchError, Fetcher};
use super::person::{DevicePrompt, Person};
use super::secret::Secret;
use super::tokens::{TokenError, TokenRequest, Tokens, request, sensitive};

pub(crate) const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Where the server says nothing.
const INTERVAL: u64 = 5;

#[derive(Deserialize)]
struct Written {
    device_code: Option<Secret>,
    user_code: Option<String>,
    verification_uri: Option<String>,
    verification_uri_complete: Option<String>,
    expires_in: Option<u64>,
    interval: Option<u64>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Shows a code, and waits until it was typed in somewhere.
pub(crate) async fn authorize(
    fetcher: &Fetcher,
    discovered: &Discovered,
    client: &Client,
    scope: Option<&str>,
    person: &dyn Person,
) -> Result<Tokens, AuthorizationError> {
    let server = &discovered.server;
    let endpoint = server
        .device_authorization_endpoint
        .as_ref()
        .ok_or_else(|| AuthorizationError::NoEndpoint("device_authorization_endpoint", server.issuer.clone()))?;
    let now = std::time::SystemTime::now();
    let identification = client.identify(&server.issuer, now).ok_or(TokenError::Signing)?;
    let mut fields = vec![("resource", discovered.resource.as_str())];
    fields.extend(scope.map(|scope| ("scope", scope)));
    fields.extend(
        identification
            .fields
            .iter()
            .map(|(name, value)| (*name, value.expose())),
    );
    let mut asked = fetcher.form(endpoint, &fields);
    if let Some(value) = &identification.header {
        asked = asked.header(header::AUTHORIZATION, sensitive(value.expose()));
    }
    let written: Written = fetcher.send(asked).await?.json()?;
    if let Some(code) = written.error {
        return Err(TokenError::Refused {
            code: bounded(&code),
            description: written.error_description.as_deref().map(bounded),
        }
        .into());
    }
    let (Some(device_code), Some(user_code), Some(uri)) =
        (written.device_code, written.user_code, written.verification_uri)
    else {
        return Err(FetchError::Malformed {
            url: super::address::shown(endpoint),
            reason: "there is no code in it".to_owned(),
        }
        .into());
    };
    let complete = written.verification_uri_complete;
    let prompt = DevicePrompt {
        verification_uri: fetcher.reach.parse(&uri).map_err(FetchError::from)?,
        verification_uri_complete: complete.and_then(|uri| fetcher.reach.parse(&uri).ok()),
        user_code,
    };
    person.enter(&prompt).await;

    let mut interval = written.interval.unwrap_or(INTERVAL).max(1);
    let lifetime = Duration::from_secs(written.expires_in.unwrap_or(600));
    let poll = async {
        loop {
            tokio::time::sleep(Duration::from_secs(interval)).await;
            let fields = vec![
                ("grant_type", GRANT),
                ("device_code", device_code.expose()),
                ("resource", discovered.resource.as_str()),
            ];
            let asked = TokenRequest {
                fields,
                scope,
                resource: &discovered.resource,
            };
            match request(fetcher, server, client, asked, std::time::SystemTime::now()).await {
                Err(error) if error.is("authorization_pending") => {}
                Err(error) if error.is("slow_down") => interval += INTERVAL,
                // A connection that breaks is no answer (RFC 8628 §3.5).
                Err(TokenError::Fetch(FetchError::Unreachable { .. })) => interval += INTERVAL,
                result => return result,
            }
        }
    };
    match tokio::time::timeout(lifetime, poll).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(AuthorizationError::TimedOut),
    }
}
