//! The token endpoint: what is asked of it, and what it gives (OAuth 2.1 §3.2).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::address::bounded;
use super::client::Client;
use super::discovery::AuthorizationServer;
use super::fetch::{FetchError, Fetcher};
use super::secret::Secret;

/// A token that ends within this time is renewed before it is used.
const MARGIN: Duration = Duration::from_secs(30);

/// Why the token endpoint gave no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// No answer that could be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The answer was an error, as OAuth 2.1 §3.2.4 has it.
    #[error("the authorization server refused: {code}{}", description.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused {
        /// The error code, such as `invalid_grant`.
        code: String,
        /// What the server says of it.
        description: Option<String>,
    },
    /// The token is of a type that cannot be used.
    #[error("the authorization server gave a token of the type {0}, which cannot be used here")]
    Type(String),
    /// The client's own key did not sign.
    #[error("the client's key could not sign")]
    Signing,
}

impl TokenError {
    /// Whether the authorization server said this.
    pub(crate) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }
}

/// Tokens, as they are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Tokens {
    /// The client that they were given to. No other can refresh them.
    pub(crate) client_id: String,
    pub(crate) access_token: Secret,
    /// In seconds since 1970; `None` where nobody said.
    pub(crate) expires_at: Option<u64>,
    pub(crate) refresh_token: Option<Secret>,
    /// What was granted, or what was asked for where nobody said.
    pub(crate) scope: Option<String>,
    /// What they are for.
    pub(crate) resource: String,
}

impl Tokens {
    /// Whether the access token is at its end, or nearly.
    pub(crate) fn is_stale(&self, now: SystemTime) -> bool {
        let now = seconds(now);
        self.expires_at.is_some_and(|end| end <= now + MARGIN.as_secs())
    }
}

pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The answer of the token endpoint, as it is written.
#[derive(Deserialize)]
struct Written {
    access_token: Option<Secret>,
    token_type: Option<String>,
    #[serde(default)]
    expires_in: Value,
    refresh_token: Option<Secret>,
    scope: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// What a token is asked for with.
#[derive(Debug)]
pub(crate) struct TokenRequest<'a> {
    pub(crate) fields: Vec<(&'a str, &'a str)>,
    /// What was asked for, for an answer that does not say what was granted.
    pub(crate) scope: Option<&'a str>,
    pub(crate) resource: &'a str,
}

/// Asks for a token to use.
pub(crate) async fn request(
    fetcher: &Fetcher,
    server: &AuthorizationServer,
    client: &Client,
    asked: TokenRequest<'_>,
    now: SystemTime,
) -> Result<Tokens, TokenError> {
    let (scope, resource) = (asked.scope, asked.resource);
    let (written, success) = ask(fetcher, server, client, asked, now).await?;
    read(written, success, &client.client_id, scope, resource, now)
}

/// Exchanges a token for another that is not for use as an access token (RFC 8693 §2.2.1).
pub(crate) async fn exchange(
    fetcher: &Fetcher,
    server: &AuthorizationServer,
    client: &Client,
    asked: TokenRequest<'_>,
    now: SystemTime,
) -> Result<Secret, TokenError> {
    let resource = asked.resource;
    let (mut written, success) = ask(fetcher, server, client, asked, now).await?;
    written.token_type = None;
    read(written, success, &client.client_id, None, resource, now).map(|tokens| tokens.access_token)
}

async fn ask(
    fetcher: &Fetcher,
    server: &AuthorizationServer,
    client: &Client,
    asked: TokenRequest<'_>,
    now: SystemTime,
) -> Result<(Written, bool), TokenError> {
    let identification = client.identify(&server.issuer, now).ok_or(TokenError::Signing)?;
    let mut fields = asked.fields;
    fields.extend(
        identification
            .fields
            .iter()
            .map(|(name, value)| (*name, value.expose())),
    );
    let mut request = fetcher.form(&server.token_endpoint, &fields);
    if let Some(value) = &identification.header {
        request = request.header(header::AUTHORIZATION, sensitive(value.expose()));
    }
    let answer = fetcher.send(request).await?;
    let status = answer.status;
    let written: Written = match answer.json() {
        Ok(written) => written,
        Err(_) if !status.is_success() => {
            return Err(FetchError::Malformed {
                url: super::address::shown(&server.token_endpoint),
                reason: format!("status {status}"),
            }
            .into());
        }
        Err(error) => return Err(error.into()),
    };
    Ok((written, status.is_success()))
}

fn read(
    written: Written,
    success: bool,
    client_id: &str,
    asked_scope: Option<&str>,
    resource: &str,
    now: SystemTime,
) -> Result<Tokens, TokenError> {
    let access_token = written
        .access_token
        .filter(|token| success && !token.expose().is_empty());
    let Some(access_token) = access_token else {
        return Err(TokenError::Refused {
            code: bounded(written.error.as_deref().unwrap_or("no token and no error")),
            description: written.error_description.as_deref().map(bounded),
        });
    };
    // The word is required. Where it is missing nothing else is meant.
    if let Some(kind) = written.token_type.filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(TokenError::Type(bounded(&kind)));
    }
    let lifetime = match &written.expires_in {
        Value::Number(number) => {
            let whole = |seconds| std::time::Duration::try_from_secs_f64(seconds).ok();
            let seconds = number.as_f64().and_then(whole).map(|seconds| seconds.as_secs());
            number.as_u64().or(seconds)
        }
        // Some servers write the number as a text.
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    Ok(Tokens {
        client_id: client_id.to_owned(),
        access_token,
        expires_at: lifetime.map(|lifetime| seconds(now).saturating_add(lifetime)),
        refresh_token: written.refresh_token.filter(|token| !token.expose().is_empty()),
        scope: written.scope.or_else(|| asked_scope.map(str::to_owned)),
        resource: resource.to_owned(),
    })
}

/// A header value that no log shows.
pub(crate) fn sensitive(text: &str) -> HeaderValue {
    // What cannot stand in a header is sent as one that no server takes.
    let mut value = HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("Bearer invalid"));
    value.set_sensitive(true);
    value
}

/// All scopes of both, each once, in order.
pub(crate) fn union(one: Option<&str>, other: Option<&str>) -> Option<String> {
    let mut all: Vec<&str> = Vec::new();
    for scope in one.into_iter().chain(other).flat_map(str::split_ascii_whitespace) {
        if !all.contains(&scope) {
            all.push(scope);
        }
    }
    (!all.is_empty()).then(|| all.join(" "))
}

/// Whether each scope that is wanted is granted.
pub(crate) fn has_all(granted: Option<&str>, wanted: Option<&str>) -> bool {
    let granted: Vec<&str> = granted.into_iter().flat_map(str::split_ascii_whitespace).collect();
    let mut wanted = wanted.into_iter().flat_map(str::split_ascii_whitespace);
    wanted.all(|scope| granted.contains(&scope))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use serde_json::{Value, json};

    use super::{TokenError, Tokens, has_all, read, union};

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1000)
    }

    fn answer(value: Value) -> Result<Tokens, TokenError> {
        read(
            serde_json::from_value(value).unwrap(),
            true,
            "me",
            Some("a"),
            "https://rs",
            now(),
        )
    }

    #[test]
    fn a_token_has_an_end_and_the_scope_that_was_granted() {
        let value = json!({"access_token": "t", "token_type": "bearer", "expires_in": 60, "scope": "a b"});
        let tokens = answer(value).unwrap();
        assert_eq!(tokens.expires_at, Some(1060));
        assert_eq!(tokens.scope.as_deref(), Some("a b"));
        assert!(!tokens.is_stale(now()));
        assert!(tokens.is_stale(now() + Duration::from_secs(30)));
    }

    #[test]
    fn a_scope_that_is_not_named_is_the_one_that_was_asked_for() {
        let tokens = answer(json!({"access_token": "t", "token_type": "Bearer", "expires_in": "60"})).unwrap();
        assert_eq!(tokens.scope.as_deref(), Some("a"));
        assert_eq!(tokens.expires_at, Some(1060));
    }

    #[test]
    fn an_answer_without_a_token_is_an_error_by_its_code() {
        let error = answer(json!({"error": "invalid_grant", "error_description": "gone\nfor good"})).unwrap_err();
        assert!(error.is("invalid_grant"));
        assert_eq!(
            error.to_string(),
            "the authorization server refused: invalid_grant (gone for good)"
        );
        assert!(matches!(answer(json!({})), Err(TokenError::Refused { .. })));
        assert!(matches!(
            answer(json!({"access_token": "t", "token_type": "DPoP"})),
            Err(TokenError::Type(_))
        ));
    }

    #[test]
    fn scopes_are_united_once_each() {
        assert_eq!(union(Some("a b"), Some("b c")).as_deref(), Some("a b c"));
        assert_eq!(union(None, Some("")), None);
        assert!(has_all(Some("a b"), Some("b")) && has_all(None, None) && !has_all(Some("a"), Some("a b")));
    }
}
