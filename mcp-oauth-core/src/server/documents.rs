//! Clients whose identifier is the URL of what they say of themselves (client ID metadata documents).
//!
//! Such a client need not register. When it first asks for authorization, its document is fetched, within the
//! bounds of the [`Fetcher`](crate::fetch::Fetcher), and kept as the client's record for as long as the document's
//! server says, between a minute and a day. The token endpoint never fetches anything: it knows the client from the
//! record. A document that is bad is never kept; one that cannot be fetched at the moment leaves a client that is
//! known as it was.
//!
//! ```
//! use mcp_oauth_core::fetch::Fetcher;
//! use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
//!
//! fn with_documents(builder: AuthorizationServerBuilder) -> AuthorizationServerBuilder {
//!     builder.client_id_metadata_documents(Fetcher::default())
//! }
//! ```

use super::{AuthorizationServer, client_key};
use crate::client::Client;
use crate::client::metadata_document::{ClientIdUrl, InvalidClientIdUrl, InvalidDocument, MetadataDocument};
use crate::error::{ErrorCode, OAuthError};
use crate::fetch::{FetchError, Fetcher, FreshnessBounds};
use crate::store::{self, Loaded};

/// Where documents come from.
#[derive(Debug)]
pub(super) struct Documents {
    pub(super) fetcher: Fetcher,
    /// Whether identifiers may be http URLs on a loopback host.
    pub(super) development: bool,
}

/// Why a document makes no client.
#[derive(Debug, thiserror::Error)]
enum DocumentError {
    #[error(transparent)]
    ClientId(#[from] InvalidClientIdUrl),
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
        let read = if documents.development {
            ClientIdUrl::for_development
        } else {
            str::parse
        };
        let url = read(client_id).map_err(|error| refuse(error.into()))?;
        let known = self.load_client(url.client_id()).await?;
        let now = self.now();
        if let Some(known) = &known
            && known.record.document_fresh_until.is_some_and(|until| now < until)
        {
            return Ok(Some(known.record.clone()));
        }
        match (self.fetch_document(documents, &url).await, known) {
            (Ok(fetched), known) => self.keep_document(fetched, known).await.map(Some),
            (Err(DocumentError::Fetch(error)), Some(known)) if error.is_transient() => {
                tracing::warn!(%error, "a client ID metadata document cannot be fetched, the known one is used");
                Ok(Some(known.record))
            }
            (Err(error), _) => Err(refuse(error)),
        }
    }

    async fn fetch_document(&self, documents: &Documents, url: &ClientIdUrl) -> Result<Client, DocumentError> {
        let fetched = documents.fetcher.get(url.url()).await?;
        let document = MetadataDocument::parse(url, &fetched.body, &self.0.allowed_redirect_uris)?;
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
            client.expires_at = known.record.expires_at;
            let time_to_live = client.expires_at.map(|expires_at| expires_at.since(now));
            // Whoever was faster has kept the same document, or a newer one.
            store::replace(self.store(), &key, &known, &client, time_to_live).await?;
        } else {
            let time_to_live = self.unused_client_lifetime();
            client.expires_at = Some(now + time_to_live);
            store::insert(self.store(), &key, &client, Some(time_to_live)).await?;
        }
        Ok(client)
    }
}
