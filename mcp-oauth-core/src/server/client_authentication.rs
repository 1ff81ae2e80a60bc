//! Who a request comes from: the client is looked up, and has to prove itself.
//!
//! Every endpoint for clients goes this way, so each of them takes every method, and none takes less than what the client
//! has registered. What a client with a secret shows is compared; what a client with keys shows is verified, and then
//! remembered in the store, so that it is good for one request on all nodes. A request that fails here has used
//! nothing up.
//!
//! # Who guesses
//!
//! Failures are counted: by network, by network and client, and by client ([`limits`](crate::limits)). What is wrong is
//! told to wait once a quota is used up. What is right is let in, unless this very network has shown too much that was
//! wrong for this very client: neither a stranger elsewhere nor a colleague behind the same address locks a client out,
//! and no network can guess for ever.
//!
//! ```
//! use mcp_oauth_core::limits::{Limits, Quota};
//!
//! let mut limits = Limits::default();
//! limits.failed_authentications_of_a_client = Quota::per_minute(10);
//! # let _ = limits;
//! ```

use std::sync::Arc;

use futures_util::future::try_join;

use super::AuthorizationServer;
use super::token_error::TokenError;
use crate::audit::Event;
use crate::client::assertion::{AssertionRefused, ClientAssertion};
use crate::client::authentication::{PresentedClient, not_proven};
use crate::client::keys::ClientKeys;
use crate::client::registration::InvalidRegistration;
use crate::client::{Client, ClientCredential, ClientId};
use crate::error::{ErrorCode, OAuthError};
use crate::jwt::claims::SingleUse;
use crate::jwt::keys::JwkSet;
use crate::origin::Origin;
use crate::parameters::Parameters;
use crate::store::{self, Key, Kind, Loaded, StoreError};

/// Who has brought a client, or keys, here. What strangers bring has bounds of its own, so that they use up nothing of what
/// the operator has configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bringer {
    Operator,
    Stranger,
}

impl Bringer {
    /// Where it is remembered that an assertion was used.
    fn assertions(self) -> Kind {
        match self {
            Self::Operator => Kind::Once,
            Self::Stranger => Kind::Assertion,
        }
    }
}

impl AuthorizationServer {
    /// The client that a request claims to come from, if there is one.
    pub(super) async fn find_client(
        &self,
        presented: &PresentedClient,
        origin: &Origin,
    ) -> Result<Option<Loaded<Client>>, OAuthError> {
        let found = async {
            match presented.client_id() {
                Some(client_id) => self.known_client(client_id).await.map_err(OAuthError::from),
                None => Ok(None),
            }
        };
        let may_try = async {
            match presented.client_id().filter(|_| presented.shows_something()) {
                Some(client_id) => self.may_try(client_id, origin).await,
                None => Ok(()),
            }
        };
        try_join(found, may_try).await.map(|(found, ())| found)
    }

    /// The client with this identifier: one of the configuration, or one that has a record.
    pub(super) async fn known_client(&self, client_id: &ClientId) -> Result<Option<Loaded<Client>>, StoreError> {
        if let Some(known) = self.0.clients.preregistered.get(client_id) {
            return Ok(Some(Loaded::unstored(known.client.clone())));
        }
        if client_id.is_url() && !self.reads_document_of(client_id) {
            return Ok(None);
        }
        self.load_client(client_id).await
    }

    /// The client that a request comes from, proven, with its record as it was read.
    pub(super) async fn proven_client(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        event: &mut Event,
    ) -> Result<Loaded<Client>, TokenError> {
        let presented = presented_client(form, authorization, event)?;
        self.proven(&presented, &event.origin).await
    }

    /// The same for who the request was already read to come from.
    pub(super) async fn proven(
        &self,
        presented: &PresentedClient,
        origin: &Origin,
    ) -> Result<Loaded<Client>, TokenError> {
        let found = self.find_client(presented, origin).await?;
        self.authenticate(presented, found, origin)
            .await
            .map_err(|error| TokenError::challenging(error, presented.used_header()))
    }

    /// Has the client that was found prove itself.
    ///
    /// # Errors
    ///
    /// `invalid_client`, or that there were too many of these; `temporarily_unavailable` when the store does not answer
    /// or the client's keys cannot be had.
    pub(super) async fn authenticate(
        &self,
        presented: &PresentedClient,
        found: Option<Loaded<Client>>,
        origin: &Origin,
    ) -> Result<Loaded<Client>, OAuthError> {
        let known = found.as_ref().map(|found| found.record.client_id.clone());
        let proven = match presented.assertion() {
            None => presented
                .prove(found.as_ref().map(|found| found.record.clone()))
                .and_then(|_| found.ok_or_else(not_proven)),
            Some(assertion) => self.prove_by_assertion(assertion, found, origin).await,
        };
        match proven {
            Err(error) if error.code() == ErrorCode::InvalidClient && presented.shows_something() => {
                self.spend_failure(presented.client_id(), known.as_ref(), origin)
                    .await?;
                Err(error)
            }
            proven => proven,
        }
    }

    async fn prove_by_assertion(
        &self,
        assertion: &ClientAssertion,
        found: Option<Loaded<Client>>,
        origin: &Origin,
    ) -> Result<Loaded<Client>, OAuthError> {
        let has_keys = |found: &Loaded<Client>| matches!(found.record.credential, ClientCredential::Keys);
        let Some(found) = found.filter(has_keys) else {
            assertion.verify_in_vain();
            return Err(not_proven());
        };
        let found = self.with_current_document(found).await?.ok_or_else(not_proven)?;
        let client = &found.record;
        let Some(keys) = client.metadata.keys.as_ref() else {
            assertion.verify_in_vain();
            return Err(not_proven());
        };
        let bringer = if self.0.clients.preregistered.contains_key(&client.client_id) {
            Bringer::Operator
        } else {
            Bringer::Stranger
        };
        let keys = self.public_keys(keys, assertion.kid(), bringer).await?;
        let single_use =
            assertion
                .verify(client, &keys, self.issuer(), self.now())
                .map_err(|refused: AssertionRefused| {
                    tracing::info!(client = %client.client_id, reason = %refused, "a client assertion was refused");
                    answer(&refused)
                })?;
        if bringer == Bringer::Stranger {
            self.spend_assertion(&client.client_id, origin).await?;
        }
        if self.use_once(bringer.assertions(), &single_use).await? {
            return Ok(found);
        }
        Err(OAuthError::new(
            ErrorCode::InvalidClient,
            "the client assertion was used before (jti), sign a new one for each request",
        ))
    }

    /// The keys that a client, or an issuer, has published here or there.
    pub(super) async fn public_keys(
        &self,
        keys: &ClientKeys,
        kid: Option<&str>,
        bringer: Bringer,
    ) -> Result<Arc<JwkSet>, OAuthError> {
        match keys {
            ClientKeys::Inline(set) => JwkSet::read(set).map(Arc::new).map_err(|error| {
                tracing::warn!(%error, "the registered keys of a client cannot be used");
                not_proven()
            }),
            ClientKeys::Remote(url) => self.remote_keys(url, kid, bringer).await,
        }
    }

    #[cfg(feature = "remote-jwks")]
    async fn remote_keys(
        &self,
        url: &url::Url,
        kid: Option<&str>,
        bringer: Bringer,
    ) -> Result<Arc<JwkSet>, OAuthError> {
        use crate::jwt::remote::RemoteKeysError;

        let remote = match bringer {
            Bringer::Operator => &self.0.clients.configured_keys,
            Bringer::Stranger => &self.0.clients.remote_keys,
        };
        let remote = remote.as_ref().ok_or_else(keys_elsewhere)?;
        remote.get(url, kid, self.now()).await.map_err(|error| match error {
            RemoteKeysError::Unavailable { .. } => OAuthError::new(
                ErrorCode::TemporarilyUnavailable,
                "the keys at jwks_uri cannot be fetched at the moment, try again later",
            ),
            error => {
                tracing::info!(%error, "the keys of a client cannot be used");
                OAuthError::new(
                    ErrorCode::InvalidClient,
                    "there is no set of keys at jwks_uri that can be used, look at what is published there",
                )
            }
        })
    }

    #[cfg(not(feature = "remote-jwks"))]
    #[allow(clippy::unused_async, reason = "with the feature it waits")]
    async fn remote_keys(&self, _: &url::Url, _: Option<&str>, _: Bringer) -> Result<Arc<JwkSet>, OAuthError> {
        Err(keys_elsewhere())
    }

    #[cfg(not(feature = "cimd"))]
    #[allow(clippy::unused_async, reason = "with the feature it waits")]
    async fn with_current_document(&self, found: Loaded<Client>) -> Result<Option<Loaded<Client>>, OAuthError> {
        Ok(Some(found))
    }

    /// Whether the documents of this client's host are read.
    #[cfg(feature = "cimd")]
    fn reads_document_of(&self, client_id: &ClientId) -> bool {
        let documents = self.0.documents.as_ref();
        documents.is_some_and(|documents| documents.trusts(client_id))
    }

    #[cfg(not(feature = "cimd"))]
    #[allow(clippy::unused_self, reason = "with the feature it depends on the server")]
    fn reads_document_of(&self, _: &ClientId) -> bool {
        false
    }

    /// Refuses keys that nobody here could fetch.
    pub(super) fn check_keys(&self, keys: Option<&ClientKeys>) -> Result<(), InvalidRegistration> {
        let refuse = |reason: &str| Err(InvalidRegistration::Metadata(reason.to_owned()));
        match keys {
            Some(ClientKeys::Remote(_)) if !self.fetches_keys() => {
                refuse("this server does not fetch keys from a jwks_uri: say them as jwks")
            }
            Some(ClientKeys::Remote(url)) if url.scheme() != "https" && !self.issuer().is_loopback() => {
                refuse("jwks_uri must be an https URL without user name and fragment")
            }
            _ => Ok(()),
        }
    }

    /// Whether keys are fetched from addresses.
    #[cfg(feature = "remote-jwks")]
    fn fetches_keys(&self) -> bool {
        self.0.clients.remote_keys.is_some()
    }

    #[cfg(not(feature = "remote-jwks"))]
    #[allow(clippy::unused_self, reason = "with the feature it depends on the server")]
    fn fetches_keys(&self) -> bool {
        false
    }

    /// Notes that something was used, and says whether this was the first time, on any node.
    pub(super) async fn use_once(&self, kind: Kind, single_use: &SingleUse) -> Result<bool, StoreError> {
        let key = Key::new(kind, single_use.id.as_str());
        let time_to_live = single_use.until.since(self.now());
        store::insert(self.store(), &key, &(), Some(time_to_live)).await
    }
}

/// Who a request says that it comes from, which the event takes note of.
pub(super) fn presented_client(
    form: &Parameters,
    authorization: Option<&str>,
    event: &mut Event,
) -> Result<PresentedClient, TokenError> {
    let presented = PresentedClient::read(authorization, form)
        .map_err(|error| TokenError::challenging(error, authorization.is_some()))?;
    event.client_id = presented.client_id().cloned();
    Ok(presented)
}

/// What the client is told: the reason, once it is certain that it is the client.
fn answer(refused: &AssertionRefused) -> OAuthError {
    match refused {
        AssertionRefused::NotTheClients(_) => not_proven(),
        known => OAuthError::new(ErrorCode::InvalidClient, known.to_string()),
    }
}

/// This server fetches no keys.
pub(super) fn keys_elsewhere() -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidClient,
        "this server does not fetch keys from jwks_uri, register them as jwks",
    )
}
