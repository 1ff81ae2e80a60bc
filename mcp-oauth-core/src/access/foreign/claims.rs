//! What somebody else says of a token, in its claims (RFC 9068 §2.2) or in an answer (RFC 7662 §2.2).

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::issuer::Rules;
use crate::access::{AccessToken, Proof};
use crate::client::ClientId;
use crate::clock::UnixTime;
use crate::jwt::claims::OneOrMany;
use crate::jwt::time::{NumericDate, Validity};
use crate::resource::ResourceUri;
use crate::scope::ScopeSet;
use crate::token::verify::TokenRefused;

/// At most this many bytes in a `sub`.
const MAXIMUM_SUBJECT: usize = 512;

/// What an ID token has and an access token has not (OpenID Connect Core §2, §3.3.2.11).
const OF_ID_TOKENS: [&str; 3] = ["nonce", "at_hash", "c_hash"];

/// The one claim that is looked at before a token is verified: to find out which of the trusted issuers it would be.
#[derive(Deserialize)]
pub(super) struct IssuerClaim {
    pub(super) iss: String,
}

/// The claims of a signed token, in which issuer and expiry are required.
pub(super) fn of_jwt(
    claims: &Map<String, Value>,
    rules: &Rules,
    resource: &ResourceUri,
    now: UnixTime,
    proof: Proof,
) -> Result<AccessToken, TokenRefused> {
    if OF_ID_TOKENS.iter().any(|claim| claims.contains_key(*claim)) {
        return Err(TokenRefused::WrongType);
    }
    if !claims.contains_key("iss") || !claims.contains_key("exp") {
        return Err(TokenRefused::Malformed);
    }
    access_token(claims, rules, resource, now, proof)
}

/// What is said of a token, if that makes it good for `resource` at `now`.
pub(super) fn access_token(
    said: &Map<String, Value>,
    rules: &Rules,
    resource: &ResourceUri,
    now: UnixTime,
    proof: Proof,
) -> Result<AccessToken, TokenRefused> {
    let issuer: Option<String> = optional(said, "iss")?;
    if issuer.is_some_and(|issuer| issuer != *rules.name) {
        return Err(TokenRefused::Issuer);
    }
    let audience: OneOrMany = required(said, "aud")?;
    let due = rules.audience.as_deref().unwrap_or(resource.as_str());
    if !audience.as_slice().iter().any(|audience| audience == due) {
        return Err(TokenRefused::Audience);
    }
    let time = |name| optional::<NumericDate>(said, name).map(|date| date.map(|date| date.0));
    let (expires_at, not_before, issued_at) = (time("exp")?, time("nbf")?, time("iat")?);
    let validity = Validity {
        // What nobody has said an end of is good for this moment.
        expires_at: expires_at.unwrap_or(UnixTime::from_seconds(u64::MAX)),
        not_before,
        issued_at,
    };
    if !validity.covers(now) {
        return Err(TokenRefused::Time);
    }
    let subject: String = required(said, "sub")?;
    if subject.is_empty() || subject.len() > MAXIMUM_SUBJECT {
        return Err(TokenRefused::Malformed);
    }
    let client_id: ClientId = required(said, &rules.client_claim)?;
    Ok(AccessToken {
        issuer: rules.name.clone(),
        subject,
        client_id,
        scopes: scopes(said.get(&rules.scope_claim), &rules.scope_claim)?,
        resource: resource.clone(),
        grant: None,
        username: text(said, "preferred_username").or_else(|| text(said, "username")),
        name: text(said, "name"),
        issued_at,
        expires_at: expires_at.unwrap_or(now),
        proof,
    })
}

/// The scopes, which some servers write as a list, in a claim of their own.
fn scopes(claim: Option<&Value>, name: &str) -> Result<ScopeSet, TokenRefused> {
    let parsed = match claim {
        Some(Value::String(text)) => text.parse().ok(),
        Some(Value::Array(list)) if name != "scope" => list
            .iter()
            .map(|scope| scope.as_str()?.parse().ok())
            .collect::<Option<ScopeSet>>(),
        _ => None,
    };
    parsed.ok_or(TokenRefused::Malformed)
}

fn required<T: DeserializeOwned>(said: &Map<String, Value>, name: &str) -> Result<T, TokenRefused> {
    let value = said.get(name).ok_or(TokenRefused::Malformed)?;
    T::deserialize(value).map_err(|_| TokenRefused::Malformed)
}

fn optional<T: DeserializeOwned>(said: &Map<String, Value>, name: &str) -> Result<Option<T>, TokenRefused> {
    said.contains_key(name).then(|| required(said, name)).transpose()
}

/// A name to show. Nothing is decided by it, so one that is none is left out.
fn text(said: &Map<String, Value>, name: &str) -> Option<String> {
    said.get(name).and_then(Value::as_str).map(str::to_owned)
}
