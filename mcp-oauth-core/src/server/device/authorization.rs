//! The device authorization endpoint (RFC 8628 §3.1): a device asks to be let in.
//!
//! The client proves itself as at the token endpoint, and asks for scopes and resources as at the authorization
//! endpoint. What it gets back is for two: the device code for itself, the user code for the person.
//!
//! ```
//! use mcp_oauth_core::server::device::authorization::DeviceAuthorization;
//!
//! fn link(authorization: &DeviceAuthorization) -> &str {
//!     &authorization.verification_uri_complete
//! }
//! ```

use futures_util::future::try_join;
use serde::Serialize;
use tracing::field::Empty;

use super::{DevicePointer, device_key, user_code_key};
use crate::audit::{Action, Event};
use crate::client::Client;
use crate::client::registration::GrantType;
use crate::device::{Device, DeviceRequest, POLLING_INTERVAL, UserCode};
use crate::error::{ErrorCode, OAuthError};
use crate::limits::Work;
use crate::origin::Origin;
use crate::parameters::Parameters;
use crate::secret::{Secret, exposed};
use crate::server::token::TokenError;
use crate::server::{AuthorizationServer, contended};
use crate::store::{self, StoreError};

/// So many codes are tried before giving up on finding one that no other device shows. Of 25.6 billion codes a few
/// thousand are shown at the same time, so a second try is hardly ever needed.
const MAXIMUM_TRIES: usize = 10;

/// A successful answer (RFC 8628 §3.2). Serialises as its JSON body, which holds the device code.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct DeviceAuthorization {
    /// What the device polls with. It shows this to nobody.
    #[serde(serialize_with = "exposed")]
    pub device_code: Secret,
    /// What the device shows, for a person to enter.
    pub user_code: UserCode,
    /// Where the person enters it.
    pub verification_uri: String,
    /// The same with the code in it, for a QR code. The person still has to compare the codes.
    pub verification_uri_complete: String,
    /// For how many seconds both codes are good.
    pub expires_in: u64,
    /// How many seconds the device waits between two polls.
    pub interval: u64,
}

impl AuthorizationServer {
    /// Answers a device authorization request. `authorization` is the value of the header of that name.
    ///
    /// # Errors
    ///
    /// `invalid_client` when the client does not prove itself; `unauthorized_client` when it has not registered the grant
    /// type, or when nobody may use it here; `invalid_scope` and `invalid_target` as at the authorization endpoint;
    /// `temporarily_unavailable` when the store does not answer or is full, or when a quota is used up.
    #[tracing::instrument(
        level = "debug",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    pub async fn authorize_device(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        origin: &Origin,
    ) -> Result<DeviceAuthorization, TokenError> {
        let mut event = Event::new(Action::AuthorizeDevice, origin);
        let result = self.new_device(form, authorization, &mut event).await;
        self.audited(event, result)
    }

    async fn new_device(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        event: &mut Event,
    ) -> Result<DeviceAuthorization, TokenError> {
        let origin = event.origin;
        let client = Box::pin(self.client_of_device(form, authorization, event));
        let client = self.paid_for(Work::DeviceAuthorization, &origin, form, client).await?;
        self.may_use_devices(&client)?;
        let (resources, scopes) = self.wanted_access(form)?;
        event.resources.clone_from(&resources);
        let request = DeviceRequest {
            client_id: client.client_id,
            resources,
            scopes,
        };
        let lifetime = self.0.lifetimes.device_code;
        let (device, device_code) = Device::begin(request, self.now(), lifetime, self.randomness());
        let user_code = self.store_device(&device).await?;

        let page = self.issuer().endpoint("/device");
        let mut complete = page.clone();
        complete.query_pairs_mut().append_pair("user_code", &user_code.expose());
        Ok(DeviceAuthorization {
            device_code: device_code.expose(),
            user_code,
            verification_uri: page.into(),
            verification_uri_complete: complete.into(),
            expires_in: lifetime.as_secs(),
            interval: POLLING_INTERVAL.as_secs(),
        })
    }

    /// The client, proven. One that is known by its document may come here first, so the document is read here too.
    async fn client_of_device(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        event: &mut Event,
    ) -> Result<Client, TokenError> {
        #[cfg(feature = "cimd")]
        if let Some(client_id) = form.get("client_id")? {
            self.document_client(client_id).await?;
        }
        Ok(self.proven_client(form, authorization, event).await?.record)
    }

    /// RFC 8628 §3.1, RFC 6749 §5.2.
    pub(super) fn may_use_devices(&self, client: &Client) -> Result<(), OAuthError> {
        if self.lets_devices_in() && client.metadata.grant_types.contains(&GrantType::DeviceCode) {
            return Ok(());
        }
        Err(OAuthError::new(
            ErrorCode::UnauthorizedClient,
            "the client has not registered the grant type urn:ietf:params:oauth:grant-type:device_code",
        ))
    }

    /// Stores a device under a code that no other device shows.
    async fn store_device(&self, device: &Device) -> Result<UserCode, OAuthError> {
        let key = device_key(&device.id);
        let kept = Some(device.time_to_live(self.now()));
        let code = UserCode::drawn_from(self.randomness());
        let (_, mut free) = try_join(
            store::insert(self.store(), &key, device, kept),
            self.point(&code, device),
        )
        .await?;
        let mut shown = code;
        for _ in 1..MAXIMUM_TRIES {
            if free {
                return Ok(shown);
            }
            shown = UserCode::drawn_from(self.randomness());
            free = self.point(&shown, device).await?;
        }
        if free { Ok(shown) } else { Err(contended()) }
    }

    /// Has the code lead to the device, unless it leads to another one.
    async fn point(&self, code: &UserCode, device: &Device) -> Result<bool, StoreError> {
        let pointer = DevicePointer {
            device: device.id.clone(),
            request: device.request.clone(),
            expires_at: device.expires_at,
        };
        let time_to_live = Some(self.0.lifetimes.device_code);
        store::insert(self.store(), &user_code_key(code), &pointer, time_to_live).await
    }
}
