//! Client registration management (RFC 7592): a client reads, replaces or deletes what it has registered.
//!
//! The registration access token is the only key. Whatever is wrong with it (no such client, another client's
//! token, an access token) has one and the same answer, so nobody learns which clients there are.
//!
//! To read and to delete are one step each. To replace are two, because there is a body: first
//! [`admit_replacement`](AuthorizationServer::admit_replacement) says whether the caller may, before anything is read of
//! what it sends; then [`replace_client`](AuthorizationServer::replace_client) replaces what was registered.
//!
//! ```
//! use mcp_oauth_core::server::manage::ManagementError;
//!
//! fn status(error: &ManagementError) -> u16 {
//!     match error {
//!         ManagementError::Unauthenticated | ManagementError::InvalidToken => 401,
//!         ManagementError::Refused(error) => error.status(),
//!         _ => 400,
//!     }
//! }
//! ```

use futures_util::future::{join, try_join};
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::field::Empty;

use super::register::{ClientInformation, credential};
use super::{AuthorizationServer, MAXIMUM_ROUNDS, client_key, contended};
use crate::audit::{Action, Event};
use crate::client::{Client, ClientId};
use crate::error::{ErrorCode, OAuthError};
use crate::origin::Origin;
use crate::revocation::{Ended, Holder};
use crate::secret::{Secret, SecretDigest};
use crate::store::{self, Loaded, StoreError};

/// Why a registration is not shown or changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagementError {
    /// No registration access token was sent.
    #[error("the registration access token is missing")]
    Unauthenticated,
    /// The token is not that of the client, or there is no such client: nobody is told which (RFC 7592 §2.1).
    #[error("the registration access token is not good for this client")]
    InvalidToken,
    /// The token is good, and the request is not; or the store does not answer.
    #[error(transparent)]
    Refused(#[from] OAuthError),
}

impl From<&ManagementError> for OAuthError {
    /// The error that the client is told.
    fn from(error: &ManagementError) -> Self {
        match error {
            ManagementError::Refused(error) => error.clone(),
            _ => Self::new(ErrorCode::InvalidToken, error.to_string()),
        }
    }
}

/// Somebody who may replace a registration: [`admit_replacement`](AuthorizationServer::admit_replacement) says who that
/// is. Holds the registration as it was then; what has become of it meanwhile is noticed when it is replaced.
#[must_use]
#[derive(Debug)]
pub struct AdmittedReplacement {
    client: Loaded<Client>,
    token: Secret,
}

impl From<StoreError> for ManagementError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

/// What a replacement has to say beside the metadata (RFC 7592 §2.2).
#[derive(Deserialize)]
struct Identification {
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// Members that only the server writes.
const SERVERS_OWN: [&str; 4] = [
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
];

impl AuthorizationServer {
    /// What the client has registered (RFC 7592 §2.1). The token that was presented is shown again; the client's
    /// secret is not, since it was not kept.
    ///
    /// # Errors
    ///
    /// See [`ManagementError`].
    #[tracing::instrument(
        level = "debug",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    pub async fn read_client(
        &self,
        client_id: &str,
        token: Option<Secret>,
        origin: &Origin,
    ) -> Result<ClientInformation, ManagementError> {
        let result = self.manager(client_id, token, origin).await;
        let (client, token) = self.audited_management(Action::ReadClient, client_id, origin, result)?;
        Ok(self.client_information(client.record, None, Some(token)))
    }

    /// Says whether somebody may replace what this client has registered: whether `token`, the bearer token of the
    /// request, is the registration access token of the client. Waits for the store once.
    ///
    /// # Errors
    ///
    /// See [`ManagementError`].
    pub async fn admit_replacement(
        &self,
        client_id: &str,
        token: Option<Secret>,
        origin: &Origin,
    ) -> Result<AdmittedReplacement, ManagementError> {
        let result = self.manager(client_id, token, origin).await;
        // Whoever is admitted has not replaced anything yet.
        let (client, token) = match result {
            Ok(manager) => manager,
            refused => self.audited_management(Action::ReplaceClient, client_id, origin, refused)?,
        };
        Ok(AdmittedReplacement { client, token })
    }

    fn audited_management<T>(
        &self,
        action: Action,
        client_id: &str,
        origin: &Origin,
        result: Result<T, ManagementError>,
    ) -> Result<T, ManagementError> {
        let mut event = Event::new(action, origin);
        event.client_id = client_id.parse().ok();
        self.audited(event, result)
    }

    /// Replaces what a client has registered by what `body` says, all of it (RFC 7592 §2.2). A client that now
    /// needs a secret and had none gets one; one that needs none any more loses it. Waits for the store once, unless the
    /// registration has changed since the caller was admitted.
    ///
    /// # Errors
    ///
    /// See [`ManagementError`]; [`InvalidToken`](ManagementError::InvalidToken) when the client was deleted meanwhile.
    #[tracing::instrument(
        level = "debug",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    pub async fn replace_client(
        &self,
        body: &[u8],
        admitted: AdmittedReplacement,
        origin: &Origin,
    ) -> Result<ClientInformation, ManagementError> {
        let client_id = admitted.client.record.client_id.clone();
        let result = self.replacement(body, admitted).await;
        self.audited_management(Action::ReplaceClient, client_id.as_str(), origin, result)
    }

    async fn replacement(
        &self,
        body: &[u8],
        admitted: AdmittedReplacement,
    ) -> Result<ClientInformation, ManagementError> {
        let AdmittedReplacement {
            client: mut loaded,
            token,
        } = admitted;
        identify(&loaded.record, body)?;
        let policy = &self.0.registration;
        let request = policy.software_statements.read(body, self.issuer(), self.now());
        let metadata = request
            .and_then(|request| request.accept(&policy.redirect_uris))
            .and_then(|metadata| metadata.limited_to(self.grant_types()))
            .map_err(OAuthError::from)?;
        self.check_keys(metadata.keys.as_ref()).map_err(OAuthError::from)?;
        for _ in 0..MAXIMUM_ROUNDS {
            let had_secret = loaded.record.metadata.token_endpoint_auth_method.needs_secret();
            let needs_secret = metadata.token_endpoint_auth_method.needs_secret();
            let secret = (needs_secret && !had_secret).then(|| Secret::drawn_from(self.randomness()));
            let credential = match (had_secret, needs_secret) {
                (true, true) => loaded.record.credential.clone(),
                _ => credential(metadata.token_endpoint_auth_method, secret.as_ref()),
            };
            let next = Client {
                credential,
                metadata: metadata.clone(),
                ..loaded.record.clone()
            };
            // What it has left of its life stays as it was: only use renews it.
            let time_to_live = next.expires_at.map(|expires_at| expires_at.since(self.now()));
            let key = client_key(&next.client_id);
            if store::replace(self.store(), &key, &loaded, &next, time_to_live).await? {
                return Ok(self.client_information(next, secret, Some(token)));
            }
            loaded = self
                .load_client(&loaded.record.client_id)
                .await?
                .ok_or(ManagementError::InvalidToken)?;
        }
        Err(contended().into())
    }

    /// Deletes the client, with everything that was ever granted to it (RFC 7592 §2.3). Its access tokens end
    /// everywhere; its refresh tokens belong to a client that no longer exists.
    ///
    /// # Errors
    ///
    /// See [`ManagementError`]. When the store fails half-way, the client can be deleted again, as long as the store lets it
    /// be put back.
    #[tracing::instrument(
        level = "debug",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    pub async fn delete_client(
        &self,
        client_id: &str,
        token: Option<Secret>,
        origin: &Origin,
    ) -> Result<(), ManagementError> {
        let result = self.deletion(client_id, token, origin).await;
        self.audited_management(Action::DeleteClient, client_id, origin, result)
    }

    async fn deletion(&self, client_id: &str, token: Option<Secret>, origin: &Origin) -> Result<(), ManagementError> {
        let (loaded, _) = self.manager(client_id, token, origin).await?;
        self.end_client(&loaded.record).await?;
        Ok(())
    }

    /// Removes a client that registered itself, or the record of a document, and ends all that it was granted. Says whether
    /// there was one.
    ///
    /// An identifier that was drawn never comes back, so its tokens end whenever they were issued. One that follows from what
    /// a client says of itself does, so there what was granted up to now ends, and what it is granted when it is here again
    /// counts.
    pub(super) async fn end_client(&self, client: &Client) -> Result<bool, OAuthError> {
        let client_id = &client.client_id;
        let key = client_key(client_id);
        if client.registration_access_token.is_none() {
            // The mark comes before the word of it, and if the last step fails, the client is there to be deleted again.
            self.end_all(Holder::Client(client_id.clone())).await?;
            return Ok(self.store().remove(&key).await?);
        }
        let announcement = self.announce(Ended::Client(client_id.clone()));
        let (announced, removed) = join(announcement, self.store().remove(&key)).await;
        if let Err(error) = announced {
            if !matches!(removed, Ok(false)) {
                self.put_back(client).await;
            }
            return Err(error.into());
        }
        Ok(removed?)
    }

    /// Has a client be there again, for as long as it had left, whose end nobody may have been told of: so it can be deleted
    /// again. If that fails, its access tokens are good until their time is over, and nothing more comes of them.
    async fn put_back(&self, client: &Client) {
        let time_to_live = client.expires_at.map(|expires_at| expires_at.since(self.now()));
        if time_to_live.is_some_and(|left| left.is_zero()) {
            return;
        }
        let key = client_key(&client.client_id);
        if let Err(error) = store::insert(self.store(), &key, client, time_to_live).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                client = %client.client_id,
                "a client is gone, and its access tokens may be good until their time is over"
            );
        }
    }

    /// The client, if the token is its own. For an unknown client the same work is done as for a known one. Wrong tokens
    /// count against the quota of the network that they come from (RFC 7592 §5).
    async fn manager(
        &self,
        client_id: &str,
        token: Option<Secret>,
        origin: &Origin,
    ) -> Result<(Loaded<Client>, Secret), ManagementError> {
        let token = token.ok_or(ManagementError::Unauthenticated)?;
        let named = client_id.parse::<ClientId>().ok();
        let found = match &named {
            Some(client_id) => {
                let find = async { Ok(self.load_client(client_id).await?) };
                let ((), found) = try_join(self.may_try(client_id, origin), find).await?;
                found
            }
            None => None,
        };
        let known = found.as_ref().and_then(|found| found.record.registration_access_token);
        let is_known = found.is_some();
        let digest = known.unwrap_or_else(|| SecretDigest::of("nobody"));
        let good = digest.matches(&token) && known.is_some();
        if let Some(found) = found.filter(|_| good) {
            return Ok((found, token));
        }
        self.spend_failure(named.as_ref(), named.as_ref().filter(|_| is_known), origin)
            .await?;
        Err(ManagementError::InvalidToken)
    }
}

/// A replacement names the client that it is for, and nothing that is the server's to say.
fn identify(client: &Client, body: &[u8]) -> Result<(), OAuthError> {
    let refuse = |reason: &'static str| Err(OAuthError::new(ErrorCode::InvalidClientMetadata, reason));
    let (Ok(members), Ok(identification)) = (
        serde_json::from_slice::<Map<String, Value>>(body),
        serde_json::from_slice::<Identification>(body),
    ) else {
        return refuse("the request must be a JSON object with a client_id");
    };
    if SERVERS_OWN.iter().any(|member| members.contains_key(*member)) {
        return refuse("the request holds a member that only the server writes");
    }
    if identification.client_id.as_deref() != Some(client.client_id.as_str()) {
        return refuse("client_id must be that of the registration");
    }
    match identification.client_secret.map(Secret::from) {
        Some(secret) if !client.accepts(Some(&secret)) => {
            refuse("client_secret must be the one that was issued, or be left out")
        }
        _ => Ok(()),
    }
}
