//! What happened, for whoever has to know afterwards.
//!
//! Every endpoint reports one [`Event`] for each request that reaches it: what was tried, by which client, for whom,
//! under which grant, from where, and how it ended. An event holds no secret: identifiers, and the error that the
//! client was told.
//!
//! Events go two ways. Each is a line of `tracing` with the target `mcp_oauth::audit`, at `INFO` for what succeeded and
//! at `WARN` for what was refused. And each is handed to the server's [`AuditSink`], if it has one
//! ([`AuthorizationServerBuilder::audit`](crate::server::builder::AuthorizationServerBuilder::audit)).
//!
//! ```
//! use std::sync::Mutex;
//! use mcp_oauth_core::audit::{Action, AuditSink, Event, Outcome};
//!
//! /// Counts the refresh tokens that were stolen, or lost by a careless client.
//! #[derive(Debug, Default)]
//! struct Reuse(Mutex<u64>);
//!
//! impl AuditSink for Reuse {
//!     fn record(&self, event: &Event) {
//!         if matches!(event.action, Action::EndGrant(mcp_oauth_core::grant::EndReason::RefreshTokenReused)) {
//!             *self.0.lock().unwrap() += 1;
//!         }
//!     }
//! }
//! # let _ = Outcome::Success;
//! ```
//!
//! # As JSON
//!
//! An event can be serialised: an object with these members. What is not known is not there.
//!
//! | member | |
//! |---|---|
//! | `at` | when: seconds since 1970 (RFC 7519's NumericDate) |
//! | `action` | [what was tried](Action::as_str) |
//! | `detail` | [by which way](Action::detail): the grant type, why a grant ended, the operator's command |
//! | `outcome` | `success` or `refused` |
//! | `error`, `reason` | if it was refused: the code and the sentence that the client, or the person, was told |
//! | `client_id` | the client; until it has proven itself it is what it claims to be |
//! | `subject` | the person: the `sub` of tokens |
//! | `grant` | the grant |
//! | `resources` | the URIs of the protected resources that it is about |
//! | `key` | the signing key: its `kid` |
//! | `network` | from where: an IPv4 address, or the /64 of an IPv6 address |

use std::fmt::Debug;

use serde::{Serialize, Serializer};

use crate::client::ClientId;
use crate::client::registration::GrantType;
use crate::clock::UnixTime;
use crate::error::OAuthError;
use crate::grant::{EndReason, GrantId};
use crate::origin::Origin;
use crate::resource::ResourceUri;
use crate::telemetry;

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// A client registered.
    RegisterClient,
    /// A client read its registration.
    ReadClient,
    /// A client replaced its registration.
    ReplaceClient,
    /// A client deleted its registration.
    DeleteClient,
    /// An authorization request was put before a person.
    Authorize,
    /// A person allowed what a client asked for.
    Approve,
    /// A person was not asked, since they had allowed the same before and had it remembered.
    RecallConsent,
    /// A person did not allow it.
    Deny,
    /// A person came back from the identity provider; if that succeeded, there is a new grant, or a device was let in, which
    /// gets its grant when it fetches the tokens.
    SignIn,
    /// A person came back from the identity provider to see their own pages.
    SignInToAccount,
    /// A client asked for tokens; `None` if it did not say how, or in a way that is not known here.
    IssueTokens(Option<GrantType>),
    /// A grant ended, with everything that had come of it.
    EndGrant(EndReason),
    /// A client gave a token back.
    Revoke,
    /// A client asked about a token.
    Introspect,
    /// A device asked to be let in.
    AuthorizeDevice,
    /// A person entered the code that a device shows.
    EnterUserCode,
    /// A new signing key was made.
    RotateKeys,
    /// A signing key that was made elsewhere was taken in.
    ImportKey,
    /// A signing key was withdrawn before its time.
    WithdrawKey,
    /// A person ended all that they had granted.
    EndAllGrants,
    /// Whoever runs the server looked at something, or changed it.
    Operate(Command),
}

/// What whoever runs the server has it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Clients were listed.
    ListClients,
    /// A client was shown.
    ShowClient,
    /// A client was made.
    CreateClient,
    /// A client was deleted, with all that it had been granted.
    DeleteClient,
    /// Grants were listed.
    ListGrants,
    /// A grant was shown.
    ShowGrant,
    /// A grant was ended.
    EndGrant,
    /// All that a person had granted was ended.
    EndGrantsOfUser,
    /// All that a client had been granted was ended.
    EndGrantsOfClient,
    /// People with grants were listed.
    ListUsers,
    /// Records were counted.
    Count,
    /// What is stale was removed.
    Purge,
    /// What is stale was counted.
    RehearsePurge,
    /// A backup was made, without the signing keys.
    Export,
    /// A backup was made, with the signing keys.
    ExportWithKeys,
    /// A backup was read back.
    Import,
    /// Clients of the predecessor were taken over.
    Migrate,
    /// It was tried which clients of the predecessor could be taken over.
    RehearseMigration,
}

impl Command {
    /// A short name, as it stands in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ListClients => "list_clients",
            Self::ShowClient => "show_client",
            Self::CreateClient => "create_client",
            Self::DeleteClient => "delete_client",
            Self::ListGrants => "list_grants",
            Self::ShowGrant => "show_grant",
            Self::EndGrant => "end_grant",
            Self::EndGrantsOfUser => "end_grants_of_user",
            Self::EndGrantsOfClient => "end_grants_of_client",
            Self::ListUsers => "list_users",
            Self::Count => "count",
            Self::Purge => "purge",
            Self::RehearsePurge => "rehearse_purge",
            Self::Export => "export",
            Self::ExportWithKeys => "export_with_keys",
            Self::Import => "import",
            Self::Migrate => "migrate",
            Self::RehearseMigration => "rehearse_migration",
        }
    }
}

impl Action {
    /// A short name, as it stands in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RegisterClient => "register_client",
            Self::ReadClient => "read_client",
            Self::ReplaceClient => "replace_client",
            Self::DeleteClient => "delete_client",
            Self::Authorize => "authorize",
            Self::Approve => "approve",
            Self::RecallConsent => "recall_consent",
            Self::Deny => "deny",
            Self::SignIn => "sign_in",
            Self::SignInToAccount => "sign_in_to_account",
            Self::IssueTokens(_) => "issue_tokens",
            Self::EndGrant(_) => "end_grant",
            Self::Revoke => "revoke",
            Self::Introspect => "introspect",
            Self::AuthorizeDevice => "authorize_device",
            Self::EnterUserCode => "enter_user_code",
            Self::RotateKeys => "rotate_keys",
            Self::ImportKey => "import_key",
            Self::WithdrawKey => "withdraw_key",
            Self::EndAllGrants => "end_all_grants",
            Self::Operate(_) => "operate",
        }
    }

    /// By which way it was tried, in a word: the grant type, why a grant ended, or the operator's command.
    #[must_use]
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::IssueTokens(grant_type) => grant_type.map(GrantType::as_str),
            Self::EndGrant(reason) => Some(reason.as_str()),
            Self::Operate(command) => Some(command.as_str()),
            _ => None,
        }
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was not, for this reason, which is also what the client or the person was told.
    Refused(OAuthError),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When.
    pub at: UnixTime,
    /// What was tried.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// From where.
    pub origin: Origin,
    /// The client, as far as it is known; until it has proven itself it is what it claims to be.
    pub client_id: Option<ClientId>,
    /// The person: the `sub` of tokens.
    pub subject: Option<String>,
    /// The grant.
    pub grant: Option<GrantId>,
    /// The protected resources that it is about, where that is known.
    pub resources: Vec<ResourceUri>,
    /// The signing key: its `kid`.
    pub key: Option<String>,
}

/// An event as it is written.
#[derive(Serialize)]
struct Written<'a> {
    at: u64,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    resources: &'a [ResourceUri],
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let error = match &self.outcome {
            Outcome::Success => None,
            Outcome::Refused(error) => Some(error),
        };
        let written = Written {
            at: self.at.as_seconds(),
            action: self.action.as_str(),
            detail: self.action.detail(),
            outcome: if error.is_some() { "refused" } else { "success" },
            error: error.map(|error| error.code().as_str()),
            reason: error.map(OAuthError::description),
            client_id: self.client_id.as_ref().map(ClientId::as_str),
            subject: self.subject.as_deref(),
            grant: self.grant.as_ref().map(GrantId::as_str),
            resources: &self.resources,
            key: self.key.as_deref(),
            network: self.origin.network(),
        };
        written.serialize(serializer)
    }
}

impl Event {
    /// An attempt of which no more is known yet.
    pub(crate) fn new(action: Action, origin: &Origin) -> Self {
        Self {
            at: UnixTime::from_seconds(0),
            action,
            outcome: Outcome::Success,
            origin: *origin,
            client_id: None,
            subject: None,
            grant: None,
            resources: Vec::new(),
            key: None,
        }
    }

    pub(crate) fn with_client(mut self, client_id: &ClientId) -> Self {
        self.client_id = Some(client_id.clone());
        self
    }

    pub(crate) fn with_subject(mut self, subject: String) -> Self {
        self.subject = Some(subject);
        self
    }

    pub(crate) fn with_grant(mut self, grant: &GrantId) -> Self {
        self.grant = Some(grant.clone());
        self
    }

    pub(crate) fn with_key(mut self, kid: Option<&str>) -> Self {
        self.key = kid.map(str::to_owned);
        self
    }

    pub(crate) fn refused(mut self, error: &OAuthError) -> Self {
        self.outcome = Outcome::Refused(error.clone());
        self
    }

    /// Refused if there is an error, done if there is none.
    pub(crate) fn ended(self, error: Option<&OAuthError>) -> Self {
        match error {
            Some(error) => self.refused(error),
            None => self,
        }
    }

    /// `success`, or the code of the error.
    pub(crate) fn outcome_name(&self) -> &'static str {
        match &self.outcome {
            Outcome::Success => telemetry::SUCCESS,
            Outcome::Refused(error) => error.code().as_str(),
        }
    }

    /// Writes it to the log.
    pub(crate) fn trace(&self) {
        let action = self.action.as_str();
        let detail = self.action.detail();
        let client_id = self.client_id.as_ref().map(ClientId::as_str);
        let subject = self.subject.as_deref();
        let grant = self.grant.as_ref().map(GrantId::as_str);
        let key = self.key.as_deref();
        let origin = &self.origin;
        match &self.outcome {
            Outcome::Success => tracing::info!(
                target: "mcp_oauth::audit",
                action, detail, client_id, subject, grant, key, %origin, "done"
            ),
            Outcome::Refused(error) => tracing::warn!(
                target: "mcp_oauth::audit",
                action, detail, client_id, subject, grant, key, %origin,
                error = error.code().as_str(), reason = error.description(), "refused"
            ),
        }
    }
}

/// Somebody who keeps events.
pub trait AuditSink: Debug + Send + Sync + 'static {
    /// Takes an event. Requests wait for this, so what takes long belongs into a queue with a bound.
    fn record(&self, event: &Event);
}
