//! Dynamic client registration (RFC 7591 §3): a client introduces itself.
//!
//! First [`admit_registration`](AuthorizationServer::admit_registration) says whether the caller may register at all, before anything is read of
//! what it sends; then [`register`](AuthorizationServer::register) makes it a client, as the
//! [policy](crate::client::registration_policy) has it.
//!
//! # How long a registration lives
//!
//! Anybody can bring a client here, so one that nobody has signed in with yet is forgotten after a day, and after half an
//! hour when many come at once. The first use gives it its whole life (90 days), and further use renews it: what is in
//! use is never forgotten. Its secret has no end of its own, so `client_secret_expires_at` is always 0. Any other number
//! would come true for nobody: not for the client that is in use, whose stated day would pass without its end, and not for
//! one that is not, which ends sooner. That a registration has ended, a client learns from `invalid_client`.
//!
//! ```
//! use mcp_oauth_core::server::register::ClientInformation;
//!
//! fn is_public(response: &ClientInformation) -> bool {
//!     response.client_secret().is_none()
//! }
//! ```

use std::time::Duration;

use serde::Serialize;
use tracing::field::Empty;

use super::{AuthorizationServer, MAXIMUM_ROUNDS, client_key, contended};
use crate::audit::{Action, Event};
use crate::client::registration::{ClientMetadata, TokenEndpointAuthMethod};
use crate::client::registration_policy::{Admission, Repeats};
use crate::client::{Client, ClientCredential, ClientId};
use crate::clock::UnixTime;
use crate::error::{ErrorCode, OAuthError};
use crate::limits::Work;
use crate::origin::Origin;
use crate::secret::{Secret, exposed_if_any};
use crate::store::{self, Loaded, StoreError};

/// What a client has registered, and what it needs from now on (RFC 7591 §3.2.1, RFC 7592 §3). Serialises as its JSON
/// body, which holds secrets.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ClientInformation {
    /// Its identifier.
    pub client_id: ClientId,
    /// When it was issued.
    pub client_id_issued_at: UnixTime,
    #[serde(flatten)]
    pub(super) secret: Option<SecretInformation>,
    /// The token to manage the registration with; `None` if nobody manages it, since several share it.
    #[serde(serialize_with = "exposed_if_any", skip_serializing_if = "Option::is_none")]
    pub registration_access_token: Option<Secret>,
    /// Where to manage it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_client_uri: Option<String>,
    /// What was registered.
    #[serde(flatten)]
    pub metadata: ClientMetadata,
}

/// What a client that has a secret is told of it.
#[derive(Debug, Serialize)]
pub(super) struct SecretInformation {
    /// The secret, when it is new.
    #[serde(serialize_with = "exposed_if_any", skip_serializing_if = "Option::is_none")]
    client_secret: Option<Secret>,
    /// Required with every secret; 0 means never (RFC 7591 §3.2.1).
    client_secret_expires_at: UnixTime,
}

/// Somebody who may register: [`admit_registration`](AuthorizationServer::admit_registration) says who that is.
#[must_use]
#[derive(Debug)]
pub struct AdmittedRegistration(());

/// Why a client is not registered.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// Nobody may register.
    #[error("clients cannot register here: ask the operator of this server for a client_id")]
    Closed,
    /// An initial access token is needed, and none was sent.
    #[error("the initial access token is missing: ask the operator of this server for one")]
    Unauthenticated,
    /// The initial access token is not one of this server's.
    #[error("the initial access token is not good here")]
    InvalidToken,
    /// The request is not good, a quota is used up, or the store does not answer.
    #[error(transparent)]
    Refused(#[from] OAuthError),
}

impl From<&RegistrationError> for OAuthError {
    /// The error that the client is told.
    fn from(error: &RegistrationError) -> Self {
        let code = match error {
            RegistrationError::Refused(error) => return error.clone(),
            RegistrationError::Closed => ErrorCode::AccessDenied,
            _ => ErrorCode::InvalidToken,
        };
        Self::new(code, error.to_string())
    }
}

impl From<StoreError> for RegistrationError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl ClientInformation {
    /// The secret of a confidential client, when it is new. It is not kept: this is the only time it can be seen.
    #[must_use]
    pub fn client_secret(&self) -> Option<&Secret> {
        self.secret.as_ref().and_then(|secret| secret.client_secret.as_ref())
    }
}

impl AuthorizationServer {
    /// Whether clients can register at all.
    #[must_use]
    pub fn registers_clients(&self) -> bool {
        !matches!(self.0.registration.admission, Admission::Nobody)
    }

    /// Says whether somebody may register. `initial_access_token` is the bearer token of the request, if it has one;
    /// where everybody may register, it is not looked at.
    ///
    /// # Errors
    ///
    /// See [`RegistrationError`]. Wrong tokens count against the quota of the network that they come from; the right one is
    /// let in all the same, since nobody guesses it.
    pub async fn admit_registration(
        &self,
        initial_access_token: Option<Secret>,
        origin: &Origin,
    ) -> Result<AdmittedRegistration, RegistrationError> {
        let result = self.admission(initial_access_token, origin).await;
        if let Err(error) = &result {
            self.audit(Event::new(Action::RegisterClient, origin).refused(&OAuthError::from(error)));
        }
        result
    }

    async fn admission(
        &self,
        token: Option<Secret>,
        origin: &Origin,
    ) -> Result<AdmittedRegistration, RegistrationError> {
        let tokens = match &self.0.registration.admission {
            Admission::Everybody => return Ok(AdmittedRegistration(())),
            Admission::Nobody => return Err(RegistrationError::Closed),
            Admission::InitialAccessToken(tokens) => tokens,
        };
        let token = token.ok_or(RegistrationError::Unauthenticated)?;
        if tokens.include(&token) {
            return Ok(AdmittedRegistration(()));
        }
        self.spend(Work::FailedAuthentication, origin).await?;
        Err(RegistrationError::InvalidToken)
    }

    /// Registers a client, from the JSON body of its request, for somebody who may do so.
    ///
    /// # Errors
    ///
    /// One of the four errors of RFC 7591 §3.2.2; `temporarily_unavailable` when the store does not answer or is full, or
    /// when a quota is used up.
    #[tracing::instrument(
        level = "debug",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    pub async fn register(
        &self,
        body: &[u8],
        admitted: AdmittedRegistration,
        origin: &Origin,
    ) -> Result<ClientInformation, RegistrationError> {
        let AdmittedRegistration(()) = admitted;
        let result = self.new_client(body, origin).await;
        let event = Event::new(Action::RegisterClient, origin);
        self.audit(match &result {
            Ok(information) => event.with_client(&information.client_id),
            Err(error) => event.refused(error),
        });
        Ok(result?)
    }

    async fn new_client(&self, body: &[u8], origin: &Origin) -> Result<ClientInformation, OAuthError> {
        let policy = &self.0.registration;
        let request = policy.software_statements.read(body, self.issuer(), self.now())?;
        let metadata = request.accept(&policy.redirect_uris)?.limited_to(self.grant_types())?;
        self.check_keys(metadata.keys.as_ref())?;
        if policy.repeats == Repeats::OneRecord && metadata.can_be_shared() {
            return self.shared_client(metadata, origin).await;
        }
        let until_used = self.spend_and_keep(origin).await?;
        let secret = metadata
            .token_endpoint_auth_method
            .needs_secret()
            .then(|| Secret::drawn_from(self.randomness()));
        let registration_access_token = Secret::drawn_from(self.randomness());
        let client = Client {
            credential: credential(metadata.token_endpoint_auth_method, secret.as_ref()),
            registration_access_token: Some(registration_access_token.digest()),
            ..self.unused_client(ClientId::drawn_from(self.randomness()), metadata, until_used)
        };
        let key = client_key(&client.client_id);
        store::insert(self.store(), &key, &client, Some(until_used)).await?;
        Ok(self.client_information(client, secret, Some(registration_access_token)))
    }

    /// The one client that everybody is who registers this metadata.
    async fn shared_client(&self, metadata: ClientMetadata, origin: &Origin) -> Result<ClientInformation, OAuthError> {
        let client_id = metadata.shared_id()?;
        let key = client_key(&client_id);
        for _ in 0..MAXIMUM_ROUNDS {
            if let Some(known) = self.load_client(&client_id).await? {
                if self.lasts_for_a_sign_in(&known.record) || self.extend_life(&known, origin).await? {
                    return Ok(self.client_information(known.record, None, None));
                }
                continue;
            }
            let until_used = self.spend_and_keep(origin).await?;
            let client = self.unused_client(client_id.clone(), metadata.clone(), until_used);
            if store::insert(self.store(), &key, &client, Some(until_used)).await? {
                return Ok(self.client_information(client, None, None));
            }
        }
        Err(contended())
    }

    /// Whether the client will still be known when somebody who begins to sign in now has got a token.
    fn lasts_for_a_sign_in(&self, client: &Client) -> bool {
        client
            .expires_at
            .is_none_or(|expires_at| expires_at.since(self.now()) > self.longest_sign_in())
    }

    /// From the client's request to its first token, in a browser or on a device.
    fn longest_sign_in(&self) -> Duration {
        let lifetimes = &self.0.lifetimes;
        (lifetimes.transaction + lifetimes.grant.authorization_code).max(lifetimes.device_code)
    }

    /// Gives a shared client that is about to be forgotten what a new one would get, at the price of a new one, so that
    /// whoever registers it again is no worse off. Repeats alone make no client live as if it were used. Returns whether
    /// the record still was the one that was read.
    async fn extend_life(&self, known: &Loaded<Client>, origin: &Origin) -> Result<bool, OAuthError> {
        let until_used = self.spend_and_keep(origin).await?;
        let client = Client {
            expires_at: Some(self.now() + until_used),
            ..known.record.clone()
        };
        let key = client_key(&client.client_id);
        Ok(store::replace(self.store(), &key, known, &client, Some(until_used)).await?)
    }

    /// Counts a registration, and says how long it is kept until somebody signs in with it.
    async fn spend_and_keep(&self, origin: &Origin) -> Result<Duration, OAuthError> {
        let lasting = self.spend_registration(origin).await?;
        let whole = self.unused_client_lifetime();
        Ok(if lasting {
            whole
        } else {
            // However the operator has set them, nobody's registration ends in the middle of a sign-in.
            whole.min(self.0.lifetimes.unused_client_in_a_flood.max(self.longest_sign_in()))
        })
    }

    /// A public client that nobody has signed in with yet.
    fn unused_client(&self, client_id: ClientId, metadata: ClientMetadata, until_used: Duration) -> Client {
        let now = self.now();
        Client {
            client_id,
            client_id_issued_at: now,
            expires_at: Some(now + until_used),
            credential: ClientCredential::None,
            registration_access_token: None,
            document_fresh_until: None,
            metadata,
        }
    }

    /// What a client is told of itself.
    pub(super) fn client_information(
        &self,
        client: Client,
        secret: Option<Secret>,
        registration_access_token: Option<Secret>,
    ) -> ClientInformation {
        let has_secret = matches!(client.credential, ClientCredential::Secret { .. });
        let registration_client_uri = registration_access_token.as_ref().map(|_| {
            let path = format!("/register/{}", client.client_id);
            self.issuer().endpoint(&path).into()
        });
        ClientInformation {
            client_id: client.client_id,
            client_id_issued_at: client.client_id_issued_at,
            secret: has_secret.then(|| SecretInformation {
                client_secret: secret,
                client_secret_expires_at: UnixTime::from_seconds(0),
            }),
            registration_access_token,
            registration_client_uri,
            metadata: client.metadata,
        }
    }
}

/// How a client with this method proves itself; of a secret the digest is kept.
pub(super) fn credential(method: TokenEndpointAuthMethod, secret: Option<&Secret>) -> ClientCredential {
    match (method, secret) {
        (TokenEndpointAuthMethod::PrivateKeyJwt, _) => ClientCredential::Keys,
        (_, None) => ClientCredential::None,
        (_, Some(secret)) => ClientCredential::Secret {
            digest: secret.digest(),
        },
    }
}
