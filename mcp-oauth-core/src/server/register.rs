//! Dynamic client registration (RFC 7591 §3): a client introduces itself.
//!
//! ```
//! use mcp_oauth_core::server::register::ClientInformation;
//!
//! fn is_public(response: &ClientInformation) -> bool {
//!     response.client_secret().is_none()
//! }
//! ```

use serde::{Serialize, Serializer};

use super::AuthorizationServer;
use crate::audit::{Action, Event};
use crate::client::registration::{ClientMetadata, RegistrationRequest, TokenEndpointAuthMethod};
use crate::client::{Client, ClientCredential, ClientId};
use crate::clock::UnixTime;
use crate::error::OAuthError;
use crate::limits::Work;
use crate::origin::Origin;
use crate::secret::Secret;
use crate::store;

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
    pub(super) secret: Option<IssuedSecret>,
    /// The token to manage the registration with.
    #[serde(serialize_with = "expose")]
    pub registration_access_token: Secret,
    /// Where to manage it.
    pub registration_client_uri: String,
    /// What was registered.
    #[serde(flatten)]
    pub metadata: ClientMetadata,
}

#[derive(Debug, Serialize)]
pub(super) struct IssuedSecret {
    #[serde(serialize_with = "expose")]
    pub(super) client_secret: Secret,
    /// Required with every secret; 0 means never.
    client_secret_expires_at: UnixTime,
}

fn expose<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

impl ClientInformation {
    /// The secret of a confidential client, when it is new. It is not kept: this is the only time it can be seen.
    #[must_use]
    pub fn client_secret(&self) -> Option<&Secret> {
        self.secret.as_ref().map(|issued| &issued.client_secret)
    }
}

impl TokenEndpointAuthMethod {
    pub(super) fn needs_secret(self) -> bool {
        match self {
            Self::None | Self::PrivateKeyJwt => false,
            Self::ClientSecretBasic | Self::ClientSecretPost => true,
        }
    }
}

impl AuthorizationServer {
    /// Registers a client, from the JSON body of its request.
    ///
    /// # Errors
    ///
    /// `invalid_redirect_uri` or `invalid_client_metadata`; `temporarily_unavailable` when the store does not
    /// answer or is full, or when a quota is used up.
    pub async fn register(&self, body: &[u8], origin: &Origin) -> Result<ClientInformation, OAuthError> {
        let result = self.new_client(body, origin).await;
        let event = Event::new(Action::RegisterClient, origin);
        self.audit(match &result {
            Ok(information) => event.with_client(&information.client_id),
            Err(error) => event.refused(error),
        });
        result
    }

    async fn new_client(&self, body: &[u8], origin: &Origin) -> Result<ClientInformation, OAuthError> {
        let metadata = RegistrationRequest::parse(body)?
            .accept(&self.0.allowed_redirect_uris)?
            .limited_to(self.grant_types())?;
        self.check_keys(metadata.keys.as_ref())?;
        self.spend(Work::Registration, origin).await?;
        let now = self.now();
        let secret = metadata
            .token_endpoint_auth_method
            .needs_secret()
            .then(|| self.issue_secret());
        let registration_access_token = Secret::drawn_from(self.randomness());
        let until_used = self.unused_client_lifetime();
        let client = Client {
            client_id: ClientId::drawn_from(self.randomness()),
            client_id_issued_at: now,
            expires_at: Some(now + until_used),
            credential: credential(metadata.token_endpoint_auth_method, secret.as_ref()),
            registration_access_token: Some(registration_access_token.digest()),
            document_fresh_until: None,
            metadata,
        };
        let key = super::client_key(&client.client_id);
        store::insert(self.store(), &key, &client, Some(until_used)).await?;
        Ok(self.client_information(client, secret, registration_access_token))
    }

    /// A new secret for a client.
    pub(super) fn issue_secret(&self) -> IssuedSecret {
        let expires_at = self.0.lifetimes.client.map(|lifetime| self.now() + lifetime);
        IssuedSecret {
            client_secret: Secret::drawn_from(self.randomness()),
            client_secret_expires_at: expires_at.unwrap_or(UnixTime::from_seconds(0)),
        }
    }

    /// What a client is told of itself.
    pub(super) fn client_information(
        &self,
        client: Client,
        secret: Option<IssuedSecret>,
        registration_access_token: Secret,
    ) -> ClientInformation {
        let registration_client_uri = self
            .issuer()
            .endpoint(&format!("/register/{}", client.client_id))
            .into();
        ClientInformation {
            client_id: client.client_id,
            client_id_issued_at: client.client_id_issued_at,
            secret,
            registration_access_token,
            registration_client_uri,
            metadata: client.metadata,
        }
    }
}

/// How a client with this method proves itself; of a secret the digest is kept.
pub(super) fn credential(method: TokenEndpointAuthMethod, secret: Option<&IssuedSecret>) -> ClientCredential {
    match (method, secret) {
        (TokenEndpointAuthMethod::PrivateKeyJwt, _) => ClientCredential::Keys,
        (_, None) => ClientCredential::None,
        (_, Some(issued)) => ClientCredential::Secret {
            digest: issued.client_secret.digest(),
        },
    }
}
