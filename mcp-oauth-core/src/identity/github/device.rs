//! GitHub's device flow, as its client: for somebody at a machine without a browser, such as a terminal
//! (<https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps#device-flow>, RFC 8628).
//!
//! GitHub gives a code; the person enters it at GitHub, in the browser of any other machine; meanwhile this side asks again
//! and again whether they have. The app needs no secret for it, and has to have *Enable Device Flow* checked at GitHub.
//! Nothing here waits by itself: whoever calls does, for as long as it is told.
//!
//! ```no_run
//! use mcp_oauth_core::identity::github::GitHub;
//! use mcp_oauth_core::identity::github::device::DevicePoll;
//!
//! # async fn sleep(_: std::time::Duration) {}
//! # async fn example() -> Result<(), mcp_oauth_core::identity::IdentityError> {
//! let github = GitHub::new("Ov23liExample", "");
//! let mut device = github.begin_device_sign_in().await?;
//! println!("Go to {} and enter {}", device.verification_uri(), device.user_code());
//! let person = loop {
//!     sleep(device.interval()).await;
//!     match github.poll_device_sign_in(&mut device).await? {
//!         DevicePoll::Waiting => {}
//!         DevicePoll::SignedIn(person) => break person,
//!         _ => return Ok(()),
//!     }
//! };
//! println!("Hello, {}", person.identity.subject());
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use url::Url;

use super::api::object;
use super::{GitHub, unusable};
use crate::clock::UnixTime;
use crate::identity::IdentityError;
use crate::identity::tokens::{SignedIn, UpstreamTokens};
use crate::secret::Secret;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// How much longer to wait from then on for somebody who was told to slow down (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// A sign-in that waits for a person.
#[derive(Clone, Debug)]
pub struct DeviceSignIn {
    device_code: Secret,
    user_code: String,
    verification_uri: Url,
    expires_at: UnixTime,
    interval: Duration,
}

impl DeviceSignIn {
    /// What the person enters.
    #[must_use]
    pub fn user_code(&self) -> &str {
        &self.user_code
    }

    /// Where they enter it.
    #[must_use]
    pub fn verification_uri(&self) -> &Url {
        &self.verification_uri
    }

    /// Until when they can.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// How long to wait before each poll. It grows when GitHub is asked too often.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }
}

/// How far the person has come.
#[derive(Debug)]
#[non_exhaustive]
pub enum DevicePoll {
    /// Not yet: wait for [`DeviceSignIn::interval`], and poll again.
    Waiting,
    /// They have signed in. The tokens are theirs: keep them as such, or drop them.
    SignedIn(Box<SignedIn>),
    /// They have declined.
    Denied,
    /// Too late: begin anew.
    Expired,
}

#[derive(Deserialize)]
struct Begun {
    device_code: String,
    user_code: String,
    verification_uri: Url,
    expires_in: u64,
    #[serde(default = "five")]
    interval: u64,
}

fn five() -> u64 {
    5
}

/// An answer to a poll. GitHub answers with status 200 whatever it is.
#[derive(Deserialize)]
struct Polled {
    error: Option<String>,
    interval: Option<u64>,
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
    scope: Option<String>,
}

impl GitHub {
    /// Asks GitHub for a code for somebody to enter.
    ///
    /// # Errors
    ///
    /// When GitHub does not answer, or does not know the app, or the app has its device flow switched off.
    pub async fn begin_device_sign_in(&self) -> Result<DeviceSignIn, IdentityError> {
        let scope = self.scopes().collect::<Vec<_>>().join(" ");
        let form = [("client_id", self.client_id.as_str()), ("scope", &scope)];
        let (status, body) = self.post("/login/device/code", &form).await?;
        let now = self.upstream.clock.now();
        if let Some(begun) = object::<Begun>(&body).filter(|_| status == StatusCode::OK) {
            return Ok(DeviceSignIn {
                device_code: Secret::from(begun.device_code),
                user_code: begun.user_code,
                verification_uri: begun.verification_uri,
                expires_at: now + Duration::from_secs(begun.expires_in),
                interval: Duration::from_secs(begun.interval),
            });
        }
        let error = object::<Polled>(&body).and_then(|refusal| refusal.error);
        Err(refused(error.as_deref()))
    }

    /// Asks GitHub whether the person has entered the code.
    ///
    /// # Errors
    ///
    /// When GitHub does not answer, in which case the next poll may succeed; and when it refuses the app or the code.
    pub async fn poll_device_sign_in(&self, device: &mut DeviceSignIn) -> Result<DevicePoll, IdentityError> {
        if self.upstream.clock.now() >= device.expires_at {
            return Ok(DevicePoll::Expired);
        }
        let form = [
            ("client_id", self.client_id.as_str()),
            ("device_code", device.device_code.expose()),
            ("grant_type", GRANT_TYPE),
        ];
        let (_, body) = self.post("/login/oauth/access_token", &form).await?;
        let polled: Polled = object(&body)
            .ok_or_else(|| unusable("the token endpoint did not answer as GitHub does; check the base URLs"))?;
        match (polled.error.as_deref(), polled.access_token) {
            (Some("authorization_pending"), _) => Ok(DevicePoll::Waiting),
            (Some("slow_down"), _) => {
                let told = polled.interval.map(Duration::from_secs);
                device.interval = told.unwrap_or_default().max(device.interval + SLOWER);
                Ok(DevicePoll::Waiting)
            }
            (Some("expired_token"), _) => Ok(DevicePoll::Expired),
            (Some("access_denied"), _) => Ok(DevicePoll::Denied),
            (None, Some(token))
                if polled
                    .token_type
                    .is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) =>
            {
                let mut tokens = UpstreamTokens::new(token);
                let now = self.upstream.clock.now();
                tokens.expires_at = polled.expires_in.map(|seconds| now + Duration::from_secs(seconds));
                tokens.refresh_token = polled.refresh_token.map(Secret::from);
                tokens.scope = polled.scope;
                Ok(DevicePoll::SignedIn(Box::new(self.whose(tokens).await?)))
            }
            (error, _) => Err(refused(error)),
        }
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<(StatusCode, Vec<u8>), IdentityError> {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = self
            .upstream
            .client()?
            .post(Url::from(self.web.join(path)))
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            )
            .body(body)
            .build()
            .map_err(|_| unusable("the base URL cannot be asked"))?;
        let answer = self.upstream.send(request).await?;
        Ok((answer.status(), answer.into_body()))
    }
}

fn refused(error: Option<&str>) -> IdentityError {
    match error {
        Some("device_flow_disabled") => {
            unusable("the OAuth app has its device flow switched off; check Enable Device Flow at GitHub")
        }
        Some("incorrect_client_credentials" | "unauthorized_client" | "Not Found") => {
            unusable("the client ID is wrong; compare it with the OAuth app at GitHub")
        }
        Some("incorrect_device_code" | "bad_verification_code") => {
            unusable("GitHub does not know the device code; begin anew")
        }
        _ => unusable("GitHub did not answer as its device flow does; check the base URLs, and that the app is there"),
    }
}
