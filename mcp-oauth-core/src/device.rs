//! A device that waits to be let in (RFC 8628): one without a browser, or with a keyboard that nobody wants to type
//! on.
//!
//! The device shows a [`UserCode`]; a person enters it in a browser somewhere else, sees who asks for what, and signs
//! in. Meanwhile the device asks again and again with its [`DeviceCode`], which nobody but itself has, and gets its
//! tokens once.
//!
//! ```text
//!            ┌──poll──┐
//!            ▼        │
//!  begin ──► Waiting ─┴────────poll─────────► Redeemed
//!                                ▲
//!         a person ──approve──► Approved
//!                  ──deny─────► Denied
//! ```
//!
//! A device is one record, and its transitions are pure: they take what was read and the time, and say what to write.
//! What a person decides is a record beside it, which is written once; a device that polls reads both. So
//! neither waits for the other. The decision stays for as long as the device, or somebody else could decide after it.
//!
//! The device code is kept as a digest. The code that people enter stands nowhere in these records: another one, named by
//! its digest, leads from it to the device, and says what the device asks for.
//!
//! ```
//! use mcp_oauth_core::device::{DeviceCode, UserCode};
//!
//! assert_eq!("wdjb mjht".parse::<UserCode>()?.expose(), "WDJB-MJHT");
//! assert!("not a device code".parse::<DeviceCode>().is_err());
//! # Ok::<_, mcp_oauth_core::device::InvalidUserCode>(())
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::ClientId;
use crate::clock::UnixTime;
use crate::grant::GrantId;
use crate::randomness::{Randomness, random_id};
use crate::resource::ResourceUri;
use crate::scope::ScopeSet;
use crate::secret::{Secret, SecretDigest};

pub(crate) mod decision;
mod user_code;

use decision::{DeviceApproval, DeviceDecision};
pub use user_code::{InvalidUserCode, UserCode};

/// How long a device waits between two polls, unless it was told to slow down (RFC 8628 §3.2).
pub const POLLING_INTERVAL: Duration = Duration::from_secs(5);

/// By how much longer a device has to wait each time it has polled too early (RFC 8628 §3.5).
const SLOWED_BY: Duration = Duration::from_secs(5);

/// The clock counts whole seconds, so of an interval up to one second can be lost in rounding.
const ROUNDING: Duration = Duration::from_secs(1);

/// How long the record outlives its codes, so that a device which polls late is told what happened.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);

/// Whoever was let in at the last moment has this time at least to fetch the tokens.
const TIME_TO_FETCH: Duration = Duration::from_secs(60);

/// The random identifier of a device authorization: 127 bits in 22 characters of base64url. Not a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceId(String);

impl DeviceId {
    fn drawn_from(random: &dyn Randomness) -> Self {
        Self(random_id(random))
    }

    /// The identifier as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The code that a device polls with: `<device>.<secret>`, of which the secret has 256 random bits (RFC 8628 §5.2).
#[derive(Clone, Debug)]
pub struct DeviceCode {
    device: DeviceId,
    secret: Secret,
}

/// Text that cannot be a device code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a device code is 22 characters of base64url, a full stop, and a secret")]
#[non_exhaustive]
pub struct InvalidDeviceCode;

impl DeviceCode {
    /// The device authorization that the code belongs to.
    #[must_use]
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// The written form, for the device alone.
    #[must_use]
    pub fn expose(&self) -> Secret {
        Secret::from(format!("{}.{}", self.device.as_str(), self.secret.expose()))
    }
}

impl FromStr for DeviceCode {
    type Err = InvalidDeviceCode;

    fn from_str(text: &str) -> Result<Self, InvalidDeviceCode> {
        let (device, secret) = text.split_once('.').ok_or(InvalidDeviceCode)?;
        let fits = device.len() == 22
            && device
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !fits {
            return Err(InvalidDeviceCode);
        }
        Ok(Self {
            device: DeviceId(device.to_owned()),
            secret: Secret::from(secret),
        })
    }
}

impl fmt::Display for DeviceCode {
    /// Names the device authorization and keeps the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.…", self.device.as_str())
    }
}

/// What a device asks for. Every part was checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeviceRequest {
    /// The client that runs on the device.
    pub(crate) client_id: ClientId,
    /// For which resources.
    pub(crate) resources: Vec<ResourceUri>,
    /// How far: what was asked for, as far as it exists.
    pub(crate) scopes: ScopeSet,
}

/// How far a device has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Progress {
    Waiting {
        /// In seconds.
        interval: u64,
        polled_at: Option<UnixTime>,
    },
    /// The person who let it in turned out to be no longer allowed.
    Refused,
    Redeemed {
        grant: GrantId,
        at: UnixTime,
    },
}

/// How long what is known of a device has to be kept from now on.
pub(crate) fn time_to_live(expires_at: UnixTime, now: UnixTime) -> Duration {
    (expires_at + REMEMBERED).since(now)
}

/// A device on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) request: DeviceRequest,
    pub(crate) expires_at: UnixTime,
    digest: SecretDigest,
    progress: Progress,
}

/// What a poll leads to.
#[derive(Debug)]
pub(crate) enum Poll {
    /// The code is nobody's.
    Unknown,
    /// The code was given to another client.
    OtherClient,
    /// Nobody has decided yet: write this.
    Pending(Box<Device>),
    /// Nobody has decided yet, and the device asks too often: write this.
    TooEarly(Box<Device>),
    /// A person has said no, or may not.
    Denied,
    /// Nobody has decided in time, or the tokens were not fetched in time.
    Expired,
    /// A person has said yes, and the tokens are still here.
    Approved(Box<DeviceApproval>),
    /// The tokens were fetched, under this grant at this time.
    Redeemed(GrantId, UnixTime),
}

/// The code is of no use to a person any more: the device was let in or turned away already, or its time is over. Which
/// of these it is, is for the device alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this code does not work any more, have the device show a new one")]
#[non_exhaustive]
pub struct DeviceClosed;

impl Device {
    /// A new device, and the code that it polls with.
    pub(crate) fn begin(
        request: DeviceRequest,
        now: UnixTime,
        lifetime: Duration,
        random: &dyn Randomness,
    ) -> (Self, DeviceCode) {
        let id = DeviceId::drawn_from(random);
        let secret = Secret::drawn_from(random);
        let device = Self {
            id: id.clone(),
            request,
            expires_at: now + lifetime,
            digest: secret.digest(),
            progress: Progress::Waiting {
                interval: POLLING_INTERVAL.as_secs(),
                polled_at: None,
            },
        };
        (device, DeviceCode { device: id, secret })
    }

    /// How long the record has to be kept from now on.
    pub(crate) fn time_to_live(&self, now: UnixTime) -> Duration {
        time_to_live(self.expires_at, now)
    }

    fn with(&self, progress: Progress) -> Self {
        Self {
            progress,
            ..self.clone()
        }
    }

    /// Whether a person can still decide, of whom nobody has so far.
    pub(crate) fn is_open(&self, now: UnixTime) -> bool {
        now < self.expires_at && matches!(self.progress, Progress::Waiting { .. })
    }

    /// The state after the person turned out to be no longer allowed.
    pub(crate) fn refused(&self) -> Self {
        self.with(Progress::Refused)
    }

    /// The device polls, about which this was decided. A code that is wrong, or right in the wrong hands, changes nothing.
    pub(crate) fn poll(
        &self,
        decision: Option<DeviceDecision>,
        code: &DeviceCode,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Poll {
        if !self.digest.matches(&code.secret) {
            return Poll::Unknown;
        }
        if self.request.client_id != *client_id {
            return Poll::OtherClient;
        }
        match (&self.progress, decision) {
            (Progress::Waiting { interval, polled_at }, None) => self.keep_waiting(*interval, *polled_at, now),
            (Progress::Waiting { .. }, Some(DeviceDecision::Approved(approval))) => {
                if now < self.expires_at.max(approval.at + TIME_TO_FETCH) {
                    Poll::Approved(approval)
                } else {
                    Poll::Expired
                }
            }
            (Progress::Waiting { .. }, Some(DeviceDecision::Denied)) | (Progress::Refused, _) => Poll::Denied,
            (Progress::Redeemed { grant, at }, _) => Poll::Redeemed(grant.clone(), *at),
        }
    }

    fn keep_waiting(&self, interval: u64, polled_at: Option<UnixTime>, now: UnixTime) -> Poll {
        if now >= self.expires_at {
            return Poll::Expired;
        }
        let waiting = |interval| {
            Box::new(self.with(Progress::Waiting {
                interval,
                polled_at: Some(now),
            }))
        };
        let too_early = |before| now.since(before) + ROUNDING < Duration::from_secs(interval);
        if polled_at.is_some_and(too_early) {
            Poll::TooEarly(waiting(interval.saturating_add(SLOWED_BY.as_secs())))
        } else {
            Poll::Pending(waiting(interval))
        }
    }

    /// The state after the tokens were fetched.
    pub(crate) fn redeemed(&self, grant: &GrantId, now: UnixTime) -> Self {
        self.with(Progress::Redeemed {
            grant: grant.clone(),
            at: now,
        })
    }

    /// Whether the tokens were fetched under this grant.
    pub(crate) fn is_redeemed_by(&self, grant: &GrantId) -> bool {
        matches!(&self.progress, Progress::Redeemed { grant: known, .. } if known == grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    const BEGINNING: UnixTime = UnixTime::from_seconds(1_000_000);
    const LIFETIME: Duration = Duration::from_secs(600);

    fn client(id: &str) -> ClientId {
        id.parse().unwrap()
    }

    fn device() -> (Device, DeviceCode) {
        let request = DeviceRequest {
            client_id: client("a"),
            resources: Vec::new(),
            scopes: ScopeSet::default(),
        };
        Device::begin(request, BEGINNING, LIFETIME, &crate::randomness::SystemRandomness)
    }

    fn approved(at: UnixTime) -> DeviceDecision {
        DeviceDecision::Approved(Box::new(DeviceApproval {
            identity: Identity::new("test", "ada"),
            scopes: ScopeSet::default(),
            at,
            upstream: None,
        }))
    }

    fn after(seconds: u64) -> UnixTime {
        BEGINNING + Duration::from_secs(seconds)
    }

    /// Polls at these times, counted from the beginning, and says which polls were too early.
    fn too_early(times: &[u64]) -> Vec<bool> {
        let (mut device, code) = device();
        times
            .iter()
            .map(|time| {
                let (next, early) = match device.poll(None, &code, &client("a"), after(*time)) {
                    Poll::Pending(next) => (next, false),
                    Poll::TooEarly(next) => (next, true),
                    other => panic!("{other:?}"),
                };
                device = *next;
                early
            })
            .collect()
    }

    #[test]
    fn each_poll_that_comes_too_early_lengthens_the_interval_by_five_seconds() {
        assert_eq!(too_early(&[0, 5, 10, 15]), [false; 4]);
        assert_eq!(too_early(&[0, 3, 11, 22]), [false, true, true, true]);
        assert_eq!(too_early(&[0, 3, 13, 23]), [false, true, false, false]);
        assert_eq!(too_early(&[0, 0, 0, 20, 40]), [false, true, true, false, false]);
    }

    #[test]
    fn a_second_may_be_lost_in_rounding_and_no_more() {
        assert_eq!(too_early(&[0, 4]), [false, false]);
        assert_eq!(too_early(&[0, 3]), [false, true]);
    }

    #[test]
    fn a_code_in_the_wrong_hands_changes_nothing() {
        let (first, code) = device();
        let made_up = DeviceCode {
            device: first.id.clone(),
            secret: Secret::random(),
        };
        for decision in [None, Some(approved(BEGINNING)), Some(DeviceDecision::Denied)] {
            let poll = |device: &Device, code, id| device.poll(decision.clone(), code, &client(id), BEGINNING);
            assert!(matches!(poll(&first, &code, "b"), Poll::OtherClient));
            assert!(matches!(poll(&first, &made_up, "a"), Poll::Unknown));
            let redeemed = first.redeemed(&GrantId::random(), BEGINNING);
            assert!(matches!(poll(&redeemed, &code, "b"), Poll::OtherClient));
        }
    }

    #[test]
    fn a_device_is_told_what_was_decided_until_it_has_its_tokens() {
        let (device, code) = device();
        let poll = |device: &Device, decision| device.poll(decision, &code, &client("a"), BEGINNING);
        assert!(matches!(poll(&device, Some(approved(BEGINNING))), Poll::Approved(_)));
        assert!(matches!(poll(&device, Some(DeviceDecision::Denied)), Poll::Denied));
        let refused = device.refused();
        assert!(matches!(poll(&refused, Some(approved(BEGINNING))), Poll::Denied));
        let redeemed = device.redeemed(&GrantId::random(), BEGINNING);
        assert!(matches!(poll(&redeemed, Some(approved(BEGINNING))), Poll::Redeemed(..)));
        assert!(device.is_open(BEGINNING) && !refused.is_open(BEGINNING) && !redeemed.is_open(BEGINNING));
    }

    /// So that who takes a redemption back leaves that of another request alone.
    #[test]
    fn a_redemption_belongs_to_the_grant_that_it_was_made_for() {
        let (device, _) = device();
        let (grant, another) = (GrantId::random(), GrantId::random());
        assert!(!device.is_redeemed_by(&grant), "nobody has fetched the tokens yet");
        let redeemed = device.redeemed(&grant, BEGINNING);
        assert!(redeemed.is_redeemed_by(&grant));
        assert!(!redeemed.is_redeemed_by(&another));
    }

    #[test]
    fn nobody_decides_and_nobody_waits_after_the_end() {
        let (device, code) = device();
        let poll = |at| device.poll(None, &code, &client("a"), at);
        assert!(device.is_open(after(599)) && !device.is_open(after(600)));
        assert!(matches!(poll(after(599)), Poll::Pending(_)));
        assert!(matches!(poll(after(600)), Poll::Expired));
    }

    #[test]
    fn who_is_let_in_at_the_last_moment_has_a_minute_to_fetch_the_tokens() {
        let (device, code) = device();
        let poll = |at| device.poll(Some(approved(after(599))), &code, &client("a"), at);
        assert!(matches!(poll(after(658)), Poll::Approved(_)));
        assert!(matches!(poll(after(659)), Poll::Expired));
        assert!(time_to_live(device.expires_at, after(599)) > TIME_TO_FETCH);
    }

    #[test]
    fn a_device_code_shows_nothing_in_debug_output_and_in_messages() {
        let (device, code) = device();
        let written = code.expose();
        let secret = written.expose().split_once('.').unwrap().1.to_owned();
        assert_eq!(secret.len(), 43);
        for shown in [
            format!("{code:?}"),
            code.to_string(),
            format!("{device:?}"),
            serde_json::to_string(&device).unwrap(),
        ] {
            assert!(!shown.contains(&secret), "{shown}");
        }
    }

    proptest::proptest! {
        #[test]
        fn reading_a_device_code_never_panics(text in ".*") {
            let _ = text.parse::<DeviceCode>();
        }
    }

    #[test]
    fn a_device_code_names_its_record_and_keeps_its_secret() {
        let id = format!("{}-_", "A".repeat(20));
        let code: DeviceCode = format!("{id}.secret").parse().unwrap();
        assert_eq!(code.expose().expose(), format!("{id}.secret"));
        assert_eq!((code.device.as_str(), code.to_string()), (&*id, format!("{id}.…")));
        assert!(!format!("{code:?}").contains("secret\""));
        for wrong in [
            id.clone(),
            format!("{}.secret", &id[1..]),
            format!("{id}A.secret"),
            format!("{}!.secret", &id[1..]),
            ".".to_owned(),
        ] {
            assert!(wrong.parse::<DeviceCode>().is_err(), "{wrong}");
        }
    }
}
