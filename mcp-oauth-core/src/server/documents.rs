//! Clients whose identifier is the URL of what they say of themselves (client ID metadata documents).
//!
//! Such a client need not register. When it first asks for authorization, its document is fetched, within the
//! bounds of the [`Fetcher`](crate::fetch::Fetcher), and kept as the client's record for as long as the document's
//! server says, between a minute and a day. The token endpoint knows the client from the record, and fetches nothing for
//! a public one; for a client that proves itself with keys it looks whether the document is still the same once that time
//! is over. A document that is bad is never kept; one that cannot be fetched at the moment leaves a client that is known
//! as it was, for a day at most if it has keys, and a client that is not known has to come again (`503`). The token endpoint
//! tries no document more often than every ten seconds, however many assertions come.
//!
//! Anybody can publish any number of documents. So these clients have a shelf of their own in the store, which cannot
//! push registered clients out; and one that nobody has signed in with is kept for little longer than a sign-in takes,
//! while one that is used is kept as long as any client.
//!
//! Whose documents are read at all is the operator's to say ([`HostPolicy`]).
//!
//! ```
//! use mcp_oauth_core::fetch::Fetcher;
//! use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
//!
//! fn with_documents(builder: AuthorizationServerBuilder) -> AuthorizationServerBuilder {
//!     builder.client_id_metadata_documents(Fetcher::default())
//! }
//! ```

use std::time::Duration;

use super::{AuthorizationServer, client_key};
use crate::client::client_id_url::{ClientIdUrl, InvalidClientIdUrl};
use crate::client::host_policy::HostPolicy;
use crate::client::metadata_document::{InvalidDocument, MetadataDocument};
use crate::client::registration::InvalidRegistration;
use crate::client::{Client, ClientId};
use crate::clock::UnixTime;
use crate::error::{ErrorCode, OAuthError};
use crate::fetch::{FetchError, Fetcher, FreshnessBounds};
use crate::store::{self, Loaded};

mod attempts;

pub(super) use attempts::Attempts;
use attempts::Outcome;

/// How long after its time the keys of a document still count, if it cannot be fetched.
const MAXIMUM_STALENESS: Duration = Duration::from_secs(24 * 60 * 60);

/// Where documents come from.
#[derive(Debug)]
pub(super) struct Documents {
    pub(super) fetcher: Fetcher,
    pub(super) hosts: HostPolicy,
    /// Whether identifiers may be http URLs on a loopback host.
    pub(super) development: bool,
    pub(super) attempts: Attempts,
}

impl Documents {
    fn read(&self, client_id: &str) -> Result<ClientIdUrl, InvalidClientIdUrl> {
        if self.development {
            ClientIdUrl::for_development(client_id)
        } else {
            client_id.parse()
        }
    }

    /// Whether the document of this client may be read.
    pub(super) fn trusts(&self, client_id: &ClientId) -> bool {
        self.read(client_id.as_str())
            .is_ok_and(|url| self.hosts.trusts(url.host()))
    }
}

/// Why a document makes no client.
#[derive(Debug, thiserror::Error)]
enum DocumentError {
    #[error(transparent)]
    ClientId(#[from] InvalidClientIdUrl),
    #[error("this server does not let clients in that are published by {0}, ask its operator")]
    Host(String),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Document(#[from] InvalidDocument),
}

impl AuthorizationServer {
    /// The client with this identifier, if it can be the URL of a document and documents are switched on.
    pub(super) async fn document_client(&self, client_id: &str) -> Result<Option<Client>, OAuthError> {
        let Some(documents) = &self.0.documents else {
            return Ok(None);
        };
        if !ClientIdUrl::is_meant_by(client_id) {
            return Ok(None);
        }
        let refuse = |error: DocumentError| {
            tracing::info!(%error, "a client ID metadata document was refused");
            OAuthError::new(ErrorCode::InvalidClient, error.to_string())
        };
        let url = documents.read(client_id).map_err(|error| refuse(error.into()))?;
        if !documents.hosts.trusts(url.host()) {
            return Err(refuse(DocumentError::Host(url.host().to_owned())));
        }
        let known = self.load_client(url.client_id()).await?;
        let now = self.now();
        if let Some(known) = &known
            && known.record.document_fresh_until.is_some_and(|until| now < until)
        {
            self.keep_for_this_sign_in(known).await?;
            return Ok(Some(known.record.clone()));
        }
        match (self.fetch_document(documents, &url).await, known) {
            (Ok(fetched), known) => self.keep_document(fetched, known).await.map(Some),
            (Err(DocumentError::Fetch(error)), Some(known)) if error.is_transient() => {
                if is_too_old(&known.record, now) {
                    return Err(OAuthError::new(
                        ErrorCode::TemporarilyUnavailable,
                        "the client ID metadata document cannot be fetched, and what is known of it is too old",
                    ));
                }
                tracing::warn!(%error, "a client ID metadata document cannot be fetched, the known one is used");
                self.keep_for_this_sign_in(&known).await?;
                Ok(Some(known.record))
            }
            (Err(DocumentError::Fetch(error)), None) if error.is_transient() => {
                tracing::warn!(%error, "a client ID metadata document cannot be fetched");
                Err(OAuthError::new(
                    ErrorCode::TemporarilyUnavailable,
                    "the client ID metadata document cannot be fetched at the moment, try again later",
                ))
            }
            (Err(error), _) => Err(refuse(error)),
        }
    }

    /// The client as it is published now, if it is known by a document that may have changed: a key that was taken out of
    /// it must not be good any more, and a new one must be. `None` if it is not known any more.
    pub(super) async fn with_current_document(
        &self,
        found: Loaded<Client>,
    ) -> Result<Option<Loaded<Client>>, OAuthError> {
        let is_fresh = |client: &Client| client.document_fresh_until.is_none_or(|until| self.now() < until);
        let Some(documents) = self.0.documents.as_ref().filter(|_| !is_fresh(&found.record)) else {
            return Ok(Some(found));
        };
        let client_id = found.record.client_id;
        let turn = documents.attempts.of(&client_id, self.now());
        let mut last = turn.lock().await;
        // Whoever had the turn before may have fetched it.
        let known = self.load_client(&client_id).await?;
        if known.as_ref().is_none_or(|known| is_fresh(&known.record)) {
            return Ok(known);
        }
        match last.recent(self.now()) {
            Some(Outcome::Stands) => return Ok(known),
            Some(Outcome::Falls) => {
                return Err(OAuthError::new(
                    ErrorCode::TemporarilyUnavailable,
                    "the client ID metadata document could not be used a moment ago, try again later",
                ));
            }
            None => {}
        }
        // Whoever hangs up has tried too. What is read well is fresh for longer than this counts.
        last.failed(self.now(), Outcome::Stands);
        let current = self.document_client(client_id.as_str()).await;
        if current.is_err() {
            last.failed(self.now(), Outcome::Falls);
        }
        current?;
        Ok(self.load_client(&client_id).await?)
    }

    async fn fetch_document(&self, documents: &Documents, url: &ClientIdUrl) -> Result<Client, DocumentError> {
        let fetched = documents.fetcher.get(url.url()).await?;
        let document = MetadataDocument::parse(url, &fetched.body, &self.0.registration.redirect_uris)?;
        self.check_keys(document.metadata().keys.as_ref())
            .map_err(|error: InvalidRegistration| InvalidDocument::from(error))?;
        let now = self.now();
        let mut client = document.into_client(now);
        client.metadata = client
            .metadata
            .limited_to(self.grant_types())
            .map_err(InvalidDocument::from)?;
        client.document_fresh_until = Some(now + fetched.freshness.within(&FreshnessBounds::default()));
        Ok(client)
    }

    /// Keeps a document as the record of its client. What is known of the client's use stays.
    async fn keep_document(&self, mut client: Client, known: Option<Loaded<Client>>) -> Result<Client, OAuthError> {
        let key = client_key(&client.client_id);
        let now = self.now();
        if let Some(known) = known {
            client.client_id_issued_at = known.record.client_id_issued_at;
            client.expires_at = self.expiry_after_sign_in(&known.record);
            let time_to_live = client.expires_at.map(|expires_at| expires_at.since(now));
            // Whoever was faster has kept the same document, or a newer one.
            store::replace(self.store(), &key, &known, &client, time_to_live).await?;
        } else {
            let time_to_live = self.unused_document_lifetime();
            client.expires_at = Some(now + time_to_live);
            store::insert(self.store(), &key, &client, Some(time_to_live)).await?;
        }
        Ok(client)
    }

    /// For how long a document is kept that nobody has signed in with yet: twice as long as a sign-in takes.
    fn unused_document_lifetime(&self) -> Duration {
        let lifetimes = &self.0.lifetimes;
        let sign_in = lifetimes.transaction + lifetimes.grant.authorization_code + Duration::from_secs(60);
        self.unused_client_lifetime().min(sign_in * 2)
    }

    /// When the client is to be forgotten, with time enough for a sign-in that begins now.
    fn expiry_after_sign_in(&self, client: &Client) -> Option<UnixTime> {
        let lifetime = self.unused_document_lifetime();
        client.expires_at.map(|expires_at| {
            if expires_at.since(self.now()) < lifetime / 2 {
                self.now() + lifetime
            } else {
                expires_at
            }
        })
    }

    /// Sees to it that a known client is not forgotten between a person's consent and the code.
    async fn keep_for_this_sign_in(&self, known: &Loaded<Client>) -> Result<(), OAuthError> {
        let expires_at = self.expiry_after_sign_in(&known.record);
        if expires_at == known.record.expires_at {
            return Ok(());
        }
        let mut client = known.record.clone();
        client.expires_at = expires_at;
        let time_to_live = expires_at.map(|expires_at| expires_at.since(self.now()));
        let key = client_key(&client.client_id);
        // Whoever was faster has done the same, or more.
        store::replace(self.store(), &key, known, &client, time_to_live).await?;
        Ok(())
    }
}

/// Whether the keys of a client have been out of sight for too long. A public client has none.
fn is_too_old(client: &Client, now: UnixTime) -> bool {
    let until = client.document_fresh_until.map(|until| until + MAXIMUM_STALENESS);
    client.credential.is_confidential() && until.is_none_or(|until| until <= now)
}
