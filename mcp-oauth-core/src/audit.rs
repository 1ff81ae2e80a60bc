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

use std::fmt::Debug;

use crate::client::ClientId;
use crate::client::registration::GrantType;
use crate::clock::UnixTime;
use crate::error::OAuthError;
use crate::grant::{EndReason, GrantId};
use crate::origin::Origin;

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
            Self::WithdrawKey => "withdraw_key",
            Self::EndAllGrants => "end_all_grants",
            Self::Operate(_) => "operate",
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
    /// The signing key: its `kid`.
    pub key: Option<String>,
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

    /// Writes it to the log.
    pub(crate) fn trace(&self) {
        let action = self.action.as_str();
        let detail = match self.action {
            Action::IssueTokens(grant_type) => grant_type.map(GrantType::as_str),
            Action::EndGrant(reason) => Some(reason.as_str()),
            Action::Operate(command) => Some(command.as_str()),
            _ => None,
        };
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
