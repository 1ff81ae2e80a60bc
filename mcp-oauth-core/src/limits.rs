//! How much of what costs something is done, for one network and for everybody.
//!
//! Anybody may ask for a registration, begin a sign-in, or guess. Each of these is bounded by a [`Quota`] with a
//! name and a default. They are counted in the store, so that all processes which share it share the quotas, in
//! windows of time that begin at the same moment everywhere. Whoever has used a quota up is told when the next window
//! begins ([`OAuthError::retry_after`](crate::error::OAuthError::retry_after)), and nobody else notices.
//!
//! The quotas of a network are wide, since whole companies and all users of a hosted client come from one address.
//! What keeps the store small is not these but its own bounds, and that unused registrations and transactions are soon
//! forgotten. Where the [`Origin`](crate::origin::Origin) of a request is not known, only the quotas for everybody count.
//!
//! # A flood of registrations
//!
//! Anybody may register, from as many networks as they have. With the defaults, this is what they can fill: 600 an hour
//! that wait a day for their first use, and 600 a minute that wait half an hour, which is
//! 600 × 25 + 600 × 31 = 33,600 records at most. A memory store holds 50,000 clients; so there is room for 16,400 that are
//! in use, none of which is ever forgotten for it, and half an hour after a flood all is as before. Whoever has more
//! clients in use than that gives the store more room. While a flood lasts, everybody's new clients have to be used
//! within half an hour, which is what clients do anyway, and have to come again in the next minute if that one's quota is
//! used up.
//!
//! ```
//! use mcp_oauth_core::limits::{Limits, Quota};
//!
//! let mut limits = Limits::default();
//! limits.registrations_of_a_network = Quota::per_hour(100);
//! assert_eq!(Quota::per_minute(5).window.as_secs(), 60);
//! ```

use std::time::Duration;

/// So much in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// How often.
    pub count: u64,
    /// In which time; whole seconds, one at least.
    pub window: Duration,
}

impl Quota {
    /// As often as this in a minute.
    #[must_use]
    pub const fn per_minute(count: u64) -> Self {
        Self::within(count, Duration::from_secs(60))
    }

    /// As often as this in an hour.
    #[must_use]
    pub const fn per_hour(count: u64) -> Self {
        Self::within(count, Duration::from_secs(60 * 60))
    }

    /// As often as this in a time of one's own.
    #[must_use]
    pub const fn within(count: u64, window: Duration) -> Self {
        Self { count, window }
    }

    /// No bound. Nothing is counted.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self::within(u64::MAX, Duration::from_secs(60))
    }
}

/// Every quota of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Clients that one network registers (60 a minute: vendors register all their users' clients from a few
    /// addresses, and whole companies come from one). Repeats that are one record count once.
    pub registrations_of_a_network: Quota,
    /// Clients that everybody together registers (600 a minute). Short, so that a flood from many networks leaves others
    /// a chance in the next minute.
    pub registrations: Quota,
    /// Clients that everybody together registers and that may wait the whole of
    /// [`Lifetimes::unused_client`](crate::server::builder::Lifetimes::unused_client) for their first use (600 an hour).
    /// Those beyond are registered too, and have to be used soon, see
    /// [`Lifetimes::unused_client_in_a_flood`](crate::server::builder::Lifetimes::unused_client_in_a_flood).
    pub lasting_registrations: Quota,
    /// Sign-ins that one network begins (600 a minute).
    pub authorizations_of_a_network: Quota,
    /// Wrong secrets, assertions and registration access tokens that one network shows (120 a minute).
    pub failed_authentications_of_a_network: Quota,
    /// Wrong secrets and assertions that are shown for one client, from wherever (600 a minute). Whoever shows the right
    /// one is let in all the same, or strangers could lock a client out.
    pub failed_authentications_of_a_client: Quota,
    /// Device authorizations that one network begins (120 a minute).
    pub device_authorizations_of_a_network: Quota,
    /// Codes that one network enters which are on no device (20 in 10 minutes; RFC 8628 §5.1).
    pub wrong_user_codes_of_a_network: Quota,
    /// Codes that everybody together enters which are on no device (1,000 in 10 minutes), for those who have many
    /// networks.
    pub wrong_user_codes: Quota,
}

impl Default for Limits {
    fn default() -> Self {
        const TEN_MINUTES: Duration = Duration::from_secs(10 * 60);
        Self {
            registrations_of_a_network: Quota::per_minute(60),
            registrations: Quota::per_minute(600),
            lasting_registrations: Quota::per_hour(600),
            authorizations_of_a_network: Quota::per_minute(600),
            failed_authentications_of_a_network: Quota::per_minute(120),
            failed_authentications_of_a_client: Quota::per_minute(600),
            device_authorizations_of_a_network: Quota::per_minute(120),
            wrong_user_codes_of_a_network: Quota::within(20, TEN_MINUTES),
            wrong_user_codes: Quota::within(1_000, TEN_MINUTES),
        }
    }
}

impl Limits {
    /// No quota at all: for tests, and where something in front of the server counts.
    #[must_use]
    pub const fn unlimited() -> Self {
        const NONE: Quota = Quota::unlimited();
        Self {
            registrations_of_a_network: NONE,
            registrations: NONE,
            lasting_registrations: NONE,
            authorizations_of_a_network: NONE,
            failed_authentications_of_a_network: NONE,
            failed_authentications_of_a_client: NONE,
            device_authorizations_of_a_network: NONE,
            wrong_user_codes_of_a_network: NONE,
            wrong_user_codes: NONE,
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Registration,
    LastingRegistration,
    Authorization,
    FailedAuthentication,
    DeviceAuthorization,
    WrongUserCode,
}

impl Work {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Registration => "registrations",
            Self::LastingRegistration => "lasting registrations",
            Self::Authorization => "authorizations",
            Self::FailedAuthentication => "failed authentications",
            Self::DeviceAuthorization => "device authorizations",
            Self::WrongUserCode => "wrong user codes",
        }
    }

    /// The quota of a network, and that of everybody.
    pub(crate) fn quotas(self, limits: &Limits) -> (Quota, Quota) {
        match self {
            Self::Registration => (limits.registrations_of_a_network, limits.registrations),
            Self::LastingRegistration => (Quota::unlimited(), limits.lasting_registrations),
            Self::Authorization => (limits.authorizations_of_a_network, Quota::unlimited()),
            Self::FailedAuthentication => (limits.failed_authentications_of_a_network, Quota::unlimited()),
            Self::DeviceAuthorization => (limits.device_authorizations_of_a_network, Quota::unlimited()),
            Self::WrongUserCode => (limits.wrong_user_codes_of_a_network, limits.wrong_user_codes),
        }
    }
}
