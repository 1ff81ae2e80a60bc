//! What is shown of records. Nothing here can hold a secret, or what is left of one.

use serde::{Serialize, Serializer};

use crate::client::registration::{GrantType, TokenEndpointAuthMethod};
use crate::client::{Client, ClientId};
use crate::clock::UnixTime;
use crate::grant::{Grant, GrantId};
use crate::resource::ResourceUri;
use crate::scope::ScopeSet;
use crate::store::{Key, Kind, StoreError};

/// Where a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClientSource {
    /// The operator has configured it.
    Configuration,
    /// It has registered itself (RFC 7591).
    Registration,
    /// It has published a metadata document at its identifier.
    Document,
}

/// A client.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClientView {
    /// Its identifier.
    pub client_id: ClientId,
    /// Where it comes from.
    pub source: ClientSource,
    /// What it calls itself. Nobody has checked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it was registered, or its document first read; `None` for one of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<UnixTime>,
    /// When it is forgotten unless it is used before; `None` means never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixTime>,
    /// How it proves itself.
    pub authentication: TokenEndpointAuthMethod,
    /// Where codes for it may be sent.
    pub redirect_uris: Vec<String>,
    /// How it may come to tokens.
    pub grant_types: Vec<GrantType>,
    /// The scopes that it expects to ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeSet>,
    /// Its home page, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// How to reach its developers, as it says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    /// Which software it is, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// Whether it can change or delete its registration by itself (RFC 7592).
    pub manages_itself: bool,
    /// Up to when all that it had been granted is over. Only where one client is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_up_to: Option<UnixTime>,
}

impl ClientView {
    pub(super) fn of(client: Client, source: ClientSource) -> Self {
        let metadata = client.metadata;
        Self {
            client_id: client.client_id,
            source,
            name: metadata.client_name,
            issued_at: Some(client.client_id_issued_at).filter(|_| source != ClientSource::Configuration),
            expires_at: client.expires_at,
            authentication: metadata.token_endpoint_auth_method,
            redirect_uris: metadata.redirect_uris.iter().map(ToString::to_string).collect(),
            grant_types: metadata.grant_types,
            scope: metadata.scope,
            client_uri: metadata.links.client_uri,
            contacts: metadata.contacts,
            software: metadata.software_id,
            manages_itself: client.registration_access_token.is_some(),
            ended_up_to: None,
        }
    }
}

/// What can still come of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GrantState {
    /// Its code has not been redeemed yet.
    AwaitsRedemption,
    /// Its client can get new tokens.
    Live,
    /// Its client has an access token, and gets no other.
    AccessTokenOnly,
    /// It has ended.
    Ended,
}

/// What a person let a client do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GrantView {
    /// Its identifier.
    pub id: GrantId,
    /// The person: the `sub` of tokens.
    pub subject: String,
    /// The name that they sign in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// What they are called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who may use it.
    pub client_id: ClientId,
    /// What that client calls itself; `None` if it calls itself nothing, or is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// For which protected resources.
    pub resources: Vec<ResourceUri>,
    /// How far.
    pub scopes: ScopeSet,
    /// When it was approved.
    pub approved_at: UnixTime,
    /// When tokens were last issued under it.
    pub last_used_at: UnixTime,
    /// What can still come of it.
    pub state: GrantState,
}

impl GrantView {
    pub(super) fn of(grant: Grant, is_over: bool, client_name: Option<String>) -> Self {
        let state = if is_over || grant.has_ended() {
            GrantState::Ended
        } else if grant.awaits_redemption() {
            GrantState::AwaitsRedemption
        } else if grant.is_refreshable() {
            GrantState::Live
        } else {
            GrantState::AccessTokenOnly
        };
        Self {
            subject: grant.identity.subject(),
            id: grant.id,
            login: grant.identity.login,
            name: grant.identity.name,
            client_id: grant.client_id,
            client_name,
            resources: grant.resources,
            scopes: grant.scopes,
            approved_at: grant.approved_at,
            last_used_at: grant.last_used_at,
            state,
        }
    }

    /// Whether anything can still come of it.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state != GrantState::Ended
    }
}

/// A person with what they have granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UserView {
    /// The `sub` of tokens.
    pub subject: String,
    /// The name that they sign in with, as of their latest grant here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// What they are called, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What they have granted, the first hundred.
    pub grants: Vec<GrantView>,
    /// Whether there is more.
    pub has_more: bool,
}

/// A record that cannot be read. It is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Unreadable {
    /// What kind of record it is.
    #[serde(serialize_with = "name")]
    pub kind: Kind,
    /// Its identifier.
    pub id: String,
    /// What is wrong with it.
    pub reason: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field as it is")]
fn name<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}

impl Unreadable {
    pub(crate) fn new(key: &Key, reason: impl Into<String>) -> Self {
        Self {
            kind: key.kind(),
            id: key.id().to_owned(),
            reason: reason.into(),
        }
    }

    /// Tells a record that cannot be read from a store that cannot.
    pub(crate) fn from_error(error: StoreError) -> Result<Self, StoreError> {
        match error {
            StoreError::Unreadable { key, reason } => Ok(Self::new(&key, reason)),
            error => Err(error),
        }
    }
}
