//! The device authorization grant (RFC 8628): a device without a browser is let in by a person who has one.
//!
//! Three parties take turns. The device asks ([`authorization`]) and shows a code. A person enters that code on a page
//! of this server ([`verification`]), sees who asks for what, signs in, and lets the device in or turns it away. And the
//! device polls the [token endpoint](super::token) until it is told one or the other.
//!
//! Each writes a record of its own. The device asks, and its polls are a compare-and-set of one record, the
//! [device](crate::device): of any number of them, one gets the tokens. What a person decides is another, which is written
//! once: of two people who decide, the first one has decided. And the code leads to both.
//!
//! Nothing here knows whether the person who enters the code is the one who holds the device. That is what the pages
//! ask (RFC 8628 §5.4), and why nothing is skipped for a link that already holds the code.
//!
//! ```
//! use mcp_oauth_core::origin::Origin;
//! use mcp_oauth_core::parameters::Parameters;
//! use mcp_oauth_core::server::AuthorizationServer;
//! use mcp_oauth_core::server::token::TokenError;
//!
//! async fn show_code(server: &AuthorizationServer, client_id: &str) -> Result<String, TokenError> {
//!     let form: Parameters = [("client_id".to_owned(), client_id.to_owned())].into_iter().collect();
//!     let device = server.authorize_device(&form, None, &Origin::unknown()).await?;
//!     Ok(format!("Enter {} at {}", device.user_code.expose(), device.verification_uri))
//! }
//! ```

use futures_util::future::try_join;
use serde::{Deserialize, Serialize};

use super::AuthorizationServer;
use crate::clock::UnixTime;
use crate::device::decision::DeviceDecision;
use crate::device::{Device, DeviceId, DeviceRequest, UserCode};
use crate::store::{self, Key, Kind, Loaded, StoreError};

pub mod authorization;
mod polling;
pub mod verification;

/// What leads from the code that people enter to the device that shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct DevicePointer {
    device: DeviceId,
    /// What the device asks for.
    request: DeviceRequest,
    expires_at: UnixTime,
}

/// A device, and what was decided about it.
struct DeviceState {
    device: Loaded<Device>,
    decision: Option<DeviceDecision>,
}

impl DeviceState {
    /// Whether a person can still decide.
    fn is_open(&self, now: UnixTime) -> bool {
        self.decision.is_none() && self.device.record.is_open(now)
    }
}

fn device_key(id: &DeviceId) -> Key {
    Key::new(Kind::Device, id.as_str())
}

fn decision_key(id: &DeviceId) -> Key {
    Key::new(Kind::DeviceDecision, id.as_str())
}

/// By the digest, since names of records reach logs.
fn user_code_key(code: &UserCode) -> Key {
    Key::new(Kind::UserCode, code.digest().written())
}

impl AuthorizationServer {
    async fn load_device(&self, id: &DeviceId) -> Result<Option<Loaded<Device>>, StoreError> {
        store::load(self.store(), &device_key(id)).await
    }

    async fn load_decision(&self, id: &DeviceId) -> Result<Option<DeviceDecision>, StoreError> {
        let loaded = store::load(self.store(), &decision_key(id)).await?;
        Ok(loaded.map(|loaded| loaded.record))
    }

    /// A device, and what was decided about it, asked for at the same time.
    async fn load_device_state(&self, id: &DeviceId) -> Result<Option<DeviceState>, StoreError> {
        let (device, decision) = try_join(self.load_device(id), self.load_decision(id)).await?;
        Ok(device.map(|device| DeviceState { device, decision }))
    }

    async fn replace_device(&self, loaded: &Loaded<Device>, next: &Device) -> Result<bool, StoreError> {
        let time_to_live = Some(next.time_to_live(self.now()));
        store::replace(self.store(), &device_key(&next.id), loaded, next, time_to_live).await
    }
}
