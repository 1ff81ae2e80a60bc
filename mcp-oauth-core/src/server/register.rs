//! Dynamic client registration (RFC 7591 §3): a client introduces itself.
//!
//! ```
//! use mcp_oauth_core::server::register::RegistrationResponse;
//!
//! fn is_public(response: &RegistrationResponse) -> bool {
//!     response.client_secret().is_none()
//! }
//! ```

use serde::{Serialize, Serializer};

use super::AuthorizationServer;
use crate::client::registration::{ClientMetadata, RegistrationRequest, TokenEndpointAuthMethod};
use crate::client::{Client, ClientCredential, ClientId};
use crate::clock::UnixTime;
use crate::error::OAuthError;
use crate::secret::Secret;
use crate::store;

/// The answer to a registration: everything that was registered, and what the client needs from now on (RFC 7591
/// §3.2.1). Serialises as its JSON body, which holds the secret.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct RegistrationResponse {
    /// The new identifier.
    pub client_id: ClientId,
    /// When it was issued.
    pub client_id_issued_at: UnixTime,
    #[serde(flatten)]
    secret: Option<IssuedSecret>,
    /// What was registered.
    #[serde(flatten)]
    pub metadata: ClientMetadata,
}

#[derive(Debug, Serialize)]
struct IssuedSecret {
    #[serde(serialize_with = "expose")]
    client_secret: Secret,
    /// Required with every secret; 0 means never.
    client_secret_expires_at: UnixTime,
}

fn expose<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

impl RegistrationResponse {
    /// The secret of a confidential client. It is not kept: this is the only time it can be seen.
    #[must_use]
    pub fn client_secret(&self) -> Option<&Secret> {
        self.secret.as_ref().map(|issued| &issued.client_secret)
    }
}

impl AuthorizationServer {
    /// Registers a client, from the JSON body of its request.
    ///
    /// # Errors
    ///
    /// `invalid_redirect_uri` or `invalid_client_metadata`; `temporarily_unavailable` when the store does not
    /// answer or is full.
    pub async fn register(&self, body: &[u8]) -> Result<RegistrationResponse, OAuthError> {
        let metadata = RegistrationRequest::parse(body)?.accept(&self.0.allowed_redirect_uris)?;
        let now = self.now();
        let lifetime = self.0.lifetimes.client;
        let secret = match metadata.token_endpoint_auth_method {
            TokenEndpointAuthMethod::None => None,
            TokenEndpointAuthMethod::ClientSecretBasic | TokenEndpointAuthMethod::ClientSecretPost => {
                Some(IssuedSecret {
                    client_secret: Secret::random(),
                    client_secret_expires_at: lifetime.map_or(UnixTime::from_seconds(0), |lifetime| now + lifetime),
                })
            }
        };
        // Anybody can register, so a client that nobody ever signs in with does not stay for long.
        let unused = self.0.lifetimes.unused_client;
        let until_used = lifetime.map_or(unused, |lifetime| lifetime.min(unused));
        let client = Client {
            client_id: ClientId::random(),
            client_id_issued_at: now,
            expires_at: Some(now + until_used),
            credential: match &secret {
                None => ClientCredential::None,
                Some(issued) => ClientCredential::Secret {
                    digest: issued.client_secret.digest(),
                },
            },
            metadata,
        };
        let key = super::client_key(&client.client_id);
        store::insert(self.store(), &key, &client, Some(until_used)).await?;
        tracing::info!(client = %client.client_id, "a client was registered");
        Ok(RegistrationResponse {
            client_id: client.client_id,
            client_id_issued_at: now,
            secret,
            metadata: client.metadata,
        })
    }
}
