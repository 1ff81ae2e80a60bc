//! For those who run the server: what is there, ending what should not be, tidying up, backups.
//!
//! An [`Operator`] is a server seen by whoever runs it. What it shows are views: typed, serialisable, and without anything
//! that a secret could be made of. Nothing here is reachable over the network by itself; a program or a page that offers it
//! decides who may. Every command leaves an [event](crate::audit).
//!
//! | to | call |
//! |---|---|
//! | see who asks for access | [`clients`](Operator::clients), [`client`](Operator::client) |
//! | make a client for somebody who cannot register | [`create_client`](Operator::create_client) |
//! | see what people let in | [`grants`](Operator::grants), [`grant`](Operator::grant), [`users`](Operator::users) |
//! | end it | [`end_grant`](Operator::end_grant), [`end_grants_of_user`](Operator::end_grants_of_user), [`end_grants_of_client`](Operator::end_grants_of_client), [`delete_client`](Operator::delete_client) |
//! | know how much there is | [`statistics`](Operator::statistics) |
//! | tidy up | [`purge`](Operator::purge) |
//! | keep it, and bring it back | [`export`](Operator::export), [`import`](Operator::import) |
//! | take over the predecessor's clients | [`migrate`](Operator::migrate) |
//!
//! A person's own page is an [`Account`](account::Account): the same, for what is theirs.
//!
//! # Who has left
//!
//! Somebody who is taken off the allow-list gets no new tokens from then on, since it is asked at every refresh; an access
//! token that they have is good until it expires. To have that end too, call
//! [`end_grants_of_user`](Operator::end_grants_of_user) when the server has the new list: every process refuses their tokens
//! within a second.
//!
//! # Lists
//!
//! Lists come in pages. Hand the [`Cursor`] of a page in to get the next one; it can be kept as text. What is there all the
//! time is on one of them, and may be on two. Lists read as much of the store as they have to, which in Redis may be all
//! of it: they are for people and programs that can wait, and no request of a client ever needs one.
//!
//! ```
//! use mcp_oauth_core::server::AuthorizationServer;
//! use mcp_oauth_core::server::operator::OperatorError;
//!
//! async fn print_clients(server: &AuthorizationServer) -> Result<(), OperatorError> {
//!     let (operator, mut cursor) = (server.operator(), None);
//!     loop {
//!         let page = operator.clients(cursor.as_ref(), 50).await?;
//!         for client in &page.items {
//!             println!("{} {}", client.client_id, client.name.as_deref().unwrap_or("-"));
//!         }
//!         cursor = page.next;
//!         if cursor.is_none() {
//!             return Ok(());
//!         }
//!     }
//! }
//! ```

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::AuthorizationServer;
use super::keys::KeyRingError;
use crate::audit::{Action, Command, Event};
use crate::backup::BackupError;
use crate::client::ClientId;
use crate::error::{ErrorCode, OAuthError};
use crate::origin::Origin;
use crate::store::{Key, Kind, ListPosition, StoreError};

pub mod account;
mod clients;
mod export;
mod grants;
mod import;
mod migrate;
mod purge;
mod statistics;
mod views;

pub use export::{Export, ExportReport};
pub use grants::{EndedGrants, Whose};
pub use import::{ExistingRecords, Import, ImportOptions, ImportReport};
pub use migrate::{Migration, MigrationOutcome, MigrationProblem, MigrationReport};
pub use purge::PurgeReport;
pub use statistics::{KindCount, Statistics};
pub use views::{ClientSource, ClientView, GrantState, GrantView, Unreadable, UserView};

/// How many records are read at the same time.
const AT_ONCE: usize = 16;

/// At most this many things on one page.
pub const MAXIMUM_PAGE: usize = 1000;

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// The store does not answer, or a record in it cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing keys cannot be read or written.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    /// The client is one of the configuration.
    #[error("the client {0} is part of the configuration: take it out of there and start the server again")]
    Configured(ClientId),
    /// A backup is to be read into an empty store, and this one is not.
    #[error(
        "there are clients or grants in the store: say whether those are to be kept or replaced, or give the server an \
         empty store, or another prefix in it"
    )]
    NotEmpty,
    /// There is something wrong with a backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The server refuses.
    #[error(transparent)]
    Refused(#[from] OAuthError),
}

impl From<&OperatorError> for OAuthError {
    fn from(error: &OperatorError) -> Self {
        match error {
            OperatorError::Store(StoreError::Unreadable { .. }) => {
                Self::new(ErrorCode::ServerError, "a record cannot be read")
            }
            OperatorError::Store(_) => Self::new(ErrorCode::TemporarilyUnavailable, "the store does not answer"),
            OperatorError::Keys(_) => Self::new(ErrorCode::TemporarilyUnavailable, "the signing keys cannot be read"),
            OperatorError::Configured(_) | OperatorError::NotEmpty | OperatorError::Backup(_) => {
                Self::new(ErrorCode::InvalidRequest, error.to_string())
            }
            OperatorError::Refused(error) => error.clone(),
        }
    }
}

/// Where a list goes on. Its text is for keeping and handing back, and says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    kind: Kind,
    position: Option<ListPosition>,
}

/// Text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor: take the one that came with a page, or begin without")]
#[non_exhaustive]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = self.position.as_ref().map_or("", |position| &position.0);
        let separator = if self.position.is_some() { ":" } else { "" };
        let text = format!("{}{separator}{position}", self.kind.as_str());
        formatter.write_str(&URL_SAFE_NO_PAD.encode(text))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let text = String::from_utf8(bytes).map_err(|_| InvalidCursor)?;
        let (kind, position) = match text.split_once(':') {
            Some((kind, position)) => (kind, Some(ListPosition(position.to_owned()))),
            None => (text.as_str(), None),
        };
        let kind = Kind::from_name(kind).ok_or(InvalidCursor)?;
        Ok(Self { kind, position })
    }
}

impl TryFrom<String> for Cursor {
    type Error = InvalidCursor;

    fn try_from(text: String) -> Result<Self, InvalidCursor> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

/// Some of what there is.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Page<T> {
    /// What it is; perhaps nothing, although there is more.
    pub items: Vec<T>,
    /// Where to go on; `None` at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
    /// Records that belong here and cannot be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            next: None,
            unreadable: Vec::new(),
        }
    }
}

/// A server, seen by whoever runs it.
#[derive(Clone, Debug)]
pub struct Operator {
    server: AuthorizationServer,
    origin: Origin,
}

impl AuthorizationServer {
    /// This server, for whoever runs it.
    #[must_use]
    pub fn operator(&self) -> Operator {
        Operator {
            server: self.clone(),
            origin: Origin::unknown(),
        }
    }
}

impl Operator {
    /// The same, for commands that come from here: events say so.
    #[must_use]
    pub fn coming_from(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    fn event(&self, command: Command) -> Event {
        Event::new(Action::Operate(command), &self.origin)
    }

    /// Reports a command, and gives what came of it.
    fn audited<T>(&self, event: Event, outcome: Result<T, OperatorError>) -> Result<T, OperatorError> {
        self.server.audited(event, outcome)
    }

    /// Reads keys of a kind from a position on, until there are as many as were asked for or no more.
    async fn keys(
        &self,
        kind: Kind,
        from: Option<ListPosition>,
        limit: usize,
    ) -> Result<(Vec<Key>, Option<ListPosition>), StoreError> {
        let (mut keys, mut position) = (Vec::new(), from);
        loop {
            let page = self
                .server
                .store()
                .list(kind, position.as_ref(), limit - keys.len())
                .await?;
            keys.extend(page.keys);
            position = page.next;
            if position.is_none() || keys.len() >= limit {
                return Ok((keys, position));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_as_it_was_written(position in proptest::option::of(".{0,40}"), number in 0..Kind::ALL.len()) {
            let cursor = Cursor { kind: Kind::ALL[number], position: position.map(ListPosition) };
            prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        }

        #[test]
        fn reading_a_cursor_never_panics(text in ".{0,40}") {
            let _ = text.parse::<Cursor>();
            let _ = URL_SAFE_NO_PAD.encode(&text).parse::<Cursor>();
        }
    }
}
