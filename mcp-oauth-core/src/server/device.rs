//! The device authorization grant (RFC 8628): a device without a browser is let in by a person who has one.
//!
//! Three parties take turns. The device asks ([`authorization`]) and shows a code. A person enters that code on a page
//! of this server ([`verification`]), sees who asks for what, signs in, and lets the device in or turns it away. And the
//! device polls the [token endpoint](super::token) until it is told one or the other.
//!
//! All three meet in one record, the [device](crate::device), and each step is a read and a compare-and-set of it: of
//! two people who decide, the first one has decided; of any number of polls, one gets the tokens.
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

use serde::{Deserialize, Serialize};

use super::AuthorizationServer;
use crate::device::{Device, DeviceId, UserCode};
use crate::store::{self, Key, Kind, Loaded, StoreError};

pub mod authorization;
mod polling;
pub mod verification;

/// What leads from the code that people enter to the device that shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct DevicePointer {
    device: DeviceId,
}

fn device_key(id: &DeviceId) -> Key {
    Key::new(Kind::Device, id.as_str())
}

/// By the digest, since names of records reach logs.
fn user_code_key(code: &UserCode) -> Key {
    Key::new(Kind::UserCode, code.digest().written())
}

impl AuthorizationServer {
    async fn load_device(&self, id: &DeviceId) -> Result<Option<Loaded<Device>>, StoreError> {
        store::load(self.store(), &device_key(id)).await
    }

    async fn replace_device(&self, loaded: &Loaded<Device>, next: &Device) -> Result<bool, StoreError> {
        let time_to_live = Some(next.time_to_live(self.now()));
        store::replace(self.store(), &device_key(&next.id), loaded, next, time_to_live).await
    }
}
