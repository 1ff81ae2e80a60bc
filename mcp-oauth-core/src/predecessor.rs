//! Clients of `mcp-oauth-gateway`, the Python project that this one follows, as they are taken over.
//!
//! The predecessor keeps a client under `oauth:client:<client_id>` in Redis, as JSON in which lists are JSON inside of strings
//! and in which the secret and the management token are readable. [`convert`] makes a client of this server out of such a
//! record: pure, from bytes to a client or to the reason why not. The program around it reads a Redis
//! (`mcp_oauth_store::redis::Predecessor`) or a [dump](read_dump), and hands the records to
//! [`Operator::migrate`](crate::server::operator::Operator::migrate).
//!
//! | what | is taken over |
//! |---|---|
//! | `client_id`, the secret, the management token | as they are: the client notices nothing. Of the two secrets only digests are kept |
//! | redirect URIs | those that today's policy takes; each other one is reported. A client of which none is left is left out |
//! | name, scope, grant types, pages, contacts | as far as they are what they should be; what is not is reported |
//! | how long it lives | for as long as it had, and at most for as long as clients live here; use renews it |
//!
//! A client has to show its secret from now on. The predecessor gave one to every client and never asked for it, so a client that
//! has thrown its own away cannot be told from a stranger: it registers again, which clients do by themselves when they
//! are told `invalid_client`.
//!
//! # What is not taken over, and why
//!
//! * **Refresh tokens.** They would be the reason to migrate, and none of them can be trusted. They stand readable in the
//!   Redis and in every backup of it, they were never bound to a client or a resource, never rotated, and survived the end of
//!   their client and of their person's permission; and they were given out without anybody having been asked, to
//!   whoever sent a signed-in person a link. Nothing in a record tells a good one from a stolen one. So people sign in
//!   once more, with the clients that they have, and see what they let in.
//! * **Access tokens** name no resource, and every resource here asks for its own.
//! * **Codes and authorization requests** are on their way for minutes, and begin anew.
//! * **The signing key** may be taken over ([`SigningKey`](crate::token::keys::SigningKey)), which nothing needs: no token
//!   that it has signed is good here.
//!
//! ```
//! use mcp_oauth_core::client::redirect_uri_policy::RedirectUriPolicy;
//! use mcp_oauth_core::clock::UnixTime;
//! use mcp_oauth_core::predecessor::{LeftOut, PredecessorRecord, convert};
//!
//! let record = PredecessorRecord::new("client_1", "not JSON", None);
//! let refused = convert(&record, &RedirectUriPolicy::default(), UnixTime::from_seconds(0)).unwrap_err();
//! assert!(matches!(refused, LeftOut::Unreadable));
//! ```

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::client::redirect_uri_policy::RedirectUriPolicy;
use crate::client::registration::{ClientMetadata, MAXIMUM_ENTRIES, RegistrationRequest};
use crate::client::{Client, ClientCredential, ClientId};
use crate::clock::UnixTime;
use crate::secret::{Secret, SecretDigest, is_encoded_256_bits};

/// How the keys of its clients begin.
pub const KEY_PREFIX: &str = "oauth:client:";

/// How its management tokens begin, before 256 random bits.
const MANAGEMENT_TOKEN: &str = "reg-";

/// A client, as the predecessor has written it.
#[derive(Clone)]
pub struct PredecessorRecord {
    id: String,
    value: Vec<u8>,
    time_to_live: Option<Duration>,
}

impl fmt::Debug for PredecessorRecord {
    /// Without the record, in which secrets are readable.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PredecessorRecord")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl PredecessorRecord {
    /// The record of the client `id`, which is what follows [`KEY_PREFIX`] in its key. `time_to_live` is what it has left;
    /// `None` means that it stays.
    #[must_use]
    pub fn new(id: impl Into<String>, value: impl Into<Vec<u8>>, time_to_live: Option<Duration>) -> Self {
        Self {
            id: id.into(),
            value: value.into(),
            time_to_live,
        }
    }

    /// The identifier of the client.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Why a client is not taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeftOut {
    /// The record is not what the predecessor writes.
    #[error("the record cannot be read")]
    Unreadable,
    /// The identifier in the record is not the one in its key, or can be none.
    #[error("the identifier in the record is not the one that its key says, or cannot be one here")]
    Identifier,
    /// There is no secret, or one that somebody made up.
    #[error("its secret is not the 256 random bits that the predecessor gives out: it has to register again")]
    Secret,
    /// None of its redirect URIs is taken here.
    #[error("none of its redirect URIs is taken here: {0}")]
    RedirectUris(String),
    /// It registered something that cannot be registered here.
    #[error("{0}")]
    Metadata(String),
}

/// A client that can be taken over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Converted {
    /// The client, which lives for as long as it had at the predecessor.
    pub client: Client,
    /// What of its registration is left out, and why.
    pub left_out: Vec<String>,
}

/// Makes a client of this server out of one of the predecessor. `policy` says which redirect URIs are taken.
///
/// # Errors
///
/// Why it cannot be taken over.
pub fn convert(record: &PredecessorRecord, policy: &RedirectUriPolicy, now: UnixTime) -> Result<Converted, LeftOut> {
    let members: Map<String, Value> = serde_json::from_slice(&record.value).map_err(|_| LeftOut::Unreadable)?;
    let text = |name: &str| {
        members
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let client_id: ClientId = record.id.parse().map_err(|_| LeftOut::Identifier)?;
    if client_id.is_url() || text("client_id").is_some_and(|named| named != record.id) {
        return Err(LeftOut::Identifier);
    }
    let secret = text("client_secret").filter(|secret| is_encoded_256_bits(secret));
    let secret = Secret::from(secret.ok_or(LeftOut::Secret)?);
    let mut left_out = Vec::new();
    let metadata = metadata(&members, policy, &mut left_out)?;
    Ok(Converted {
        client: Client {
            client_id,
            client_id_issued_at: issued_at(&members).filter(|at| *at <= now).unwrap_or(now),
            expires_at: record.time_to_live.map(|left| now + left),
            credential: ClientCredential::Secret {
                digest: secret.digest(),
            },
            registration_access_token: management_token(text("registration_access_token"), &mut left_out),
            document_fresh_until: None,
            metadata,
        },
        left_out,
    })
}

/// Seconds, with a fraction in records of some versions.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is no moment between 1970 and the end of time is none"
)]
fn issued_at(members: &Map<String, Value>) -> Option<UnixTime> {
    let seconds = |name: &str| {
        let number = members.get(name)?.as_f64()?;
        (0.0..1e12).contains(&number).then_some(number as u64)
    };
    seconds("client_id_issued_at")
        .or_else(|| seconds("created_at"))
        .map(UnixTime::from_seconds)
}

fn management_token(token: Option<&str>, left_out: &mut Vec<String>) -> Option<SecretDigest> {
    let random = |token: &&str| token.strip_prefix(MANAGEMENT_TOKEN).is_some_and(is_encoded_256_bits);
    let digest = token.filter(random).map(SecretDigest::of);
    if digest.is_none() {
        left_out.push("the management token: it is not there, or not one that the predecessor gives out".to_owned());
    }
    digest
}

/// A list: JSON inside of a string, or a list as it should be.
fn list(members: &Map<String, Value>, name: &str) -> Vec<String> {
    let parsed = match members.get(name) {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
        Some(value) => value.clone(),
        None => Value::Null,
    };
    match parsed {
        Value::Array(values) => values
            .into_iter()
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}

fn metadata(
    members: &Map<String, Value>,
    policy: &RedirectUriPolicy,
    left_out: &mut Vec<String>,
) -> Result<ClientMetadata, LeftOut> {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for uri in list(members, "redirect_uris") {
        match policy.take(&uri) {
            Ok(_) if taken.len() < MAXIMUM_ENTRIES => taken.push(uri),
            Ok(_) => refused.push("a client has 20 redirect URIs at most".to_owned()),
            Err(error) => refused.push(error.to_string()),
        }
    }
    if taken.is_empty() {
        let reasons = if refused.is_empty() {
            "it has none".to_owned()
        } else {
            refused.join("; ")
        };
        return Err(LeftOut::RedirectUris(reasons));
    }
    left_out.extend(refused.into_iter().map(|reason| format!("a redirect URI: {reason}")));
    // The predecessor takes the secret from the form alone.
    let mut request = json!({"redirect_uris": taken, "token_endpoint_auth_method": "client_secret_post"});
    // Each member by itself: the predecessor has checked none of them, and one that is not good costs no other.
    for name in [
        "client_name",
        "scope",
        "client_uri",
        "logo_uri",
        "tos_uri",
        "policy_uri",
        "contacts",
        "grant_types",
    ] {
        let value = match name {
            "contacts" | "grant_types" => json!(list(members, name)),
            _ => members.get(name).cloned().unwrap_or_default(),
        };
        let mut with = request.clone();
        with[name] = value;
        match accept(&with, policy) {
            Ok(_) => request = with,
            Err(reason) => left_out.push(format!("{name}: {reason}")),
        }
    }
    accept(&request, policy).map_err(LeftOut::Metadata)
}

fn accept(request: &Value, policy: &RedirectUriPolicy) -> Result<ClientMetadata, String> {
    let request = RegistrationRequest::parse(request.to_string().as_bytes());
    request
        .and_then(|request| request.accept(policy))
        .map_err(|error| error.to_string())
}

/// What is no dump of the predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no backup of the predecessor: it has to be the JSON that its oauth-backup writes")]
#[non_exhaustive]
pub struct InvalidDump;

/// Reads the clients in a backup that the predecessor's own commands have made: JSON in which, in whatever category, a member
/// named `oauth:client:…` is an object with `value` (the record) and `ttl` (in seconds, negative if it stays). `age` is how
/// long ago the backup was made, which is taken off what the records had left then.
///
/// # Errors
///
/// When it is not JSON.
pub fn read_dump(dump: &[u8], age: Duration) -> Result<Vec<PredecessorRecord>, InvalidDump> {
    let dump: Value = serde_json::from_slice(dump).map_err(|_| InvalidDump)?;
    let mut records = Vec::new();
    collect(&dump, age, &mut records);
    Ok(records)
}

/// Looks for records at any depth, which serde_json bounds.
fn collect(value: &Value, age: Duration, records: &mut Vec<PredecessorRecord>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match name.strip_prefix(KEY_PREFIX) {
                    Some(id) => records.extend(dumped(id, value, age)),
                    None => collect(value, age, records),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                let named = value.get("key").and_then(Value::as_str);
                match named.and_then(|name| name.strip_prefix(KEY_PREFIX)) {
                    Some(id) => records.extend(dumped(id, value, age)),
                    None => collect(value, age, records),
                }
            }
        }
        _ => {}
    }
}

/// One record of a dump; `None` if its time is over.
fn dumped(id: &str, value: &Value, age: Duration) -> Option<PredecessorRecord> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let record = value.get("value").or_else(|| value.get("parsed")).unwrap_or(value);
    let seconds = value
        .get("ttl")
        .and_then(Value::as_i64)
        .and_then(|seconds| u64::try_from(seconds).ok());
    let left = seconds.map(|seconds| Duration::from_secs(seconds).checked_sub(age).unwrap_or_default());
    if left == Some(Duration::ZERO) {
        return None;
    }
    Some(PredecessorRecord::new(id, text(record), left))
}

#[cfg(test)]
mod tests;
