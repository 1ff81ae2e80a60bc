//! What is kept of a server: its tokens, under who gave them, and a note of who that is.

use serde::{Deserialize, Serialize};

use super::super::secret::Secret;
use super::super::storage::{self, Key, StorageError};
use super::super::tokens::Tokens;
use super::Authorizer;
use super::error::AuthorizationError;

/// A token in use, and who gave it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(super) issuer: String,
    pub(super) tokens: Tokens,
}

impl Held {
    pub(crate) fn access_token(&self) -> &Secret {
        &self.tokens.access_token
    }
}

/// The note of who gave the token of a resource.
#[derive(Serialize, Deserialize)]
struct Note {
    given_by: String,
}

impl Authorizer {
    /// Keeps tokens; only then they are used.
    pub(super) fn keep(&self, issuer: &str, tokens: Tokens) -> Result<Held, AuthorizationError> {
        storage::write(&*self.storage, &self.tokens_key(issuer), &tokens)?;
        let note = Note {
            given_by: issuer.to_owned(),
        };
        storage::write(&*self.storage, &self.note_key(), &note)?;
        Ok(Held {
            issuer: issuer.to_owned(),
            tokens,
        })
    }

    pub(super) fn note(&self) -> Result<Option<String>, StorageError> {
        let note: Option<Note> = storage::read(&*self.storage, &self.note_key())?;
        Ok(note.map(|note| note.given_by))
    }

    /// What was kept last.
    pub(super) fn kept(&self) -> Result<Option<Held>, StorageError> {
        let Some(issuer) = self.note()? else { return Ok(None) };
        let tokens = self.tokens_of(&issuer)?;
        // What was given to another client than the one that is configured now is not this one's to use.
        let configured = self
            .settings
            .client
            .as_ref()
            .filter(|_| self.settings.client_metadata_url.is_none());
        let tokens = tokens.filter(|tokens| configured.is_none_or(|client| client.id == tokens.client_id));
        Ok(tokens.map(|tokens| Held { issuer, tokens }))
    }

    pub(super) fn tokens_of(&self, issuer: &str) -> Result<Option<Tokens>, StorageError> {
        storage::read(&*self.storage, &self.tokens_key(issuer))
    }

    pub(super) fn forget_tokens(&self, issuer: &str) -> Result<(), StorageError> {
        self.storage.remove(&self.tokens_key(issuer))
    }

    pub(super) fn note_key(&self) -> Key {
        Key::Issuer {
            resource: self.resource.clone(),
        }
    }

    pub(super) fn tokens_key(&self, issuer: &str) -> Key {
        Key::Tokens {
            issuer: issuer.to_owned(),
            resource: self.resource.clone(),
        }
    }
}

/// Where this program's registration with an authorization server is kept.
pub(super) fn client_key(issuer: &str) -> Key {
    Key::Client {
        issuer: issuer.to_owned(),
    }
}
