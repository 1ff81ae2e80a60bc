//! How much of what costs something is done, for one network and for everybody.
//!
//! Anybody may ask for a registration, begin a sign-in, or guess. Each of these is bounded by a [`Quota`] with a
//! name and a default. They are counted in the store, so that all processes which share it share the quotas, in
//! windows of time that begin at the same moment everywhere. Whoever has used a quota up is told when the next window
//! begins ([`OAuthError::retry_after`](crate::error::OAuthError::retry_after)), and nobody else notices: what is refused to
//! a network does not count for everybody. Several processes each learn of it by one request that does.
//!
//! The quotas of a network are wide, since whole companies and all users of a hosted client come from one address. A
//! network is an address of IPv4 or a network of 64 bits of IPv6. Of the latter one site has 65,536 (48 bits), so a site is
//! counted too, and may do ten times as much as a network. Where the [`Origin`](crate::origin::Origin) of a request is not
//! known, only the quotas for everybody count.
//!
//! # What strangers can fill
//!
//! Whatever waits for somebody is forgotten after a while, so the quotas for everybody are what bounds it, on any store:
//! also on one that has no bounds of its own for each kind of record, such as Redis. With the defaults these are:
//!
//! | records | that begin | and are kept | at most |
//! |---|---|---|---|
//! | sign-ins on their way | 1,800 a minute | 10 minutes; 10 more from consent on | 1,800 × 11 = 19,800; 37,800 |
//! | devices that wait, as many codes, and as many decisions | 300 a minute | 15 minutes | 300 × 16 = 4,800 of each |
//! | unused clients | 600 a minute, and 600 an hour that last | 30 minutes, and a day | 600 × 31 + 600 × 25 = 33,600 |
//! | documents of clients | with each sign-in or device | 22 minutes | (1,800 + 300) × 23 = 48,300 |
//! | assertions of clients | 1,600 a minute | an hour, 62 minutes at most | 1,600 × 62 = 99,200 |
//!
//! That is less than 470 MB in a store with 2 kB for each. The memory store's bounds are above these, but for documents,
//! and for sign-ins if somebody consents to each, of which it holds 20,000. A minute is short, so that a flood from many networks leaves others a chance in the next one;
//! whoever has more people than that raises the quotas for everybody together with the room in the store.
//!
//! Counters themselves are records, as many as there are networks. What is refused takes away the counter that it
//! made; the others are gone with their window. When there is no room for another, its network is let in, and what
//! everybody does is still counted, in records that always have room.
//!
//! # A flood of registrations
//!
//! Anybody may register, from as many networks as they have. A memory store holds 50,000 clients; so there is room for
//! 16,400 that are in use, none of which is ever forgotten for a flood, and half an hour after one all is as before. Whoever
//! has more clients in use than that gives the store more room. While a flood lasts, everybody's new clients have to be used
//! within half an hour, which is what clients do anyway, and have to come again in the next minute if that one's quota is
//! used up.
//!
//! # What is wrong, and who is kept out for it
//!
//! A quota for mistakes must not become a way to keep others out:
//!
//! * *Secrets, assertions and registration access tokens.* A network that has shown too many wrong ones is told to wait in
//!   place of that they are wrong, and so is whoever shows too many for one client from wherever. The right one is let in all
//!   the same: a colleague behind the same address, or a stranger elsewhere, locks nobody out. Only where the mistakes of
//!   this very network at this very client alone reach the quota of a network, the right one has to wait too, which is what
//!   bounds guessing. Clients that do not exist are answered like those that do.
//! * *Initial access tokens* have 128 random bits, so the right one is always let in.
//! * *Codes of devices* are short. A network that has entered too many wrong ones has to wait, whatever it enters. When
//!   everybody together has, as a thousand machines of one attacker do, each network still has a few tries: enough for a
//!   person who reads a code from a screen.
//!
//! ```
//! use mcp_oauth_core::limits::{Limits, Quota};
//!
//! let mut limits = Limits::default();
//! limits.registrations_of_a_network = Quota::per_hour(100);
//! assert_eq!(Quota::per_hour(5).window.as_secs(), 3600);
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

    /// Whether there is no bound.
    #[must_use]
    pub const fn is_unlimited(self) -> bool {
        self.count == u64::MAX
    }

    /// The quota of somebody who may do so many times as much.
    pub(crate) const fn times(self, width: u64) -> Self {
        Self::within(self.count.saturating_mul(width), self.window)
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
    /// Sign-ins that everybody together begins (1,800 a minute).
    pub authorizations: Quota,
    /// Wrong secrets, assertions and registration access tokens that one network shows (120 a minute). Beyond, it is told to
    /// wait; the right ones are let in, but for a client for which this network alone has shown so many wrong ones.
    pub failed_authentications_of_a_network: Quota,
    /// Wrong secrets, assertions and registration access tokens that are shown for one client, from wherever (600 a minute).
    /// Whoever shows the right one is let in all the same, or strangers could lock a client out. Some clients share a
    /// counter.
    pub failed_authentications_of_a_client: Quota,
    /// Assertions by which one client proves itself that the operator has not configured (300 a minute).
    pub assertions_of_a_client: Quota,
    /// Assertions by which such clients prove themselves from one network (300 a minute).
    pub assertions_of_a_network: Quota,
    /// Assertions by which all such clients together prove themselves (1,600 a minute). Each is remembered for as long as it
    /// is good, an hour at most.
    pub assertions: Quota,
    /// Device authorizations that one network begins (120 a minute).
    pub device_authorizations_of_a_network: Quota,
    /// Device authorizations that everybody together begins (300 a minute).
    pub device_authorizations: Quota,
    /// Codes that one network enters which are on no device (20 in 10 minutes; RFC 8628 §5.1).
    pub wrong_user_codes_of_a_network: Quota,
    /// Codes that everybody together enters which are on no device (1,000 in 10 minutes), for those who have many
    /// networks. Beyond, each network has [`wrong_user_codes_in_a_flood`](Self::wrong_user_codes_in_a_flood), and what comes
    /// from nobody knows where has none.
    pub wrong_user_codes: Quota,
    /// Codes that one network may enter which are on no device, in place of
    /// [`wrong_user_codes_of_a_network`](Self::wrong_user_codes_of_a_network), once everybody together has entered too many
    /// (3).
    pub wrong_user_codes_in_a_flood: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const TEN_MINUTES: Duration = Duration::from_secs(10 * 60);
        Self {
            registrations_of_a_network: Quota::per_minute(60),
            registrations: Quota::per_minute(600),
            lasting_registrations: Quota::per_hour(600),
            authorizations_of_a_network: Quota::per_minute(600),
            authorizations: Quota::per_minute(1_800),
            failed_authentications_of_a_network: Quota::per_minute(120),
            failed_authentications_of_a_client: Quota::per_minute(600),
            assertions_of_a_client: Quota::per_minute(300),
            assertions_of_a_network: Quota::per_minute(300),
            assertions: Quota::per_minute(1_600),
            device_authorizations_of_a_network: Quota::per_minute(120),
            device_authorizations: Quota::per_minute(300),
            wrong_user_codes_of_a_network: Quota::within(20, TEN_MINUTES),
            wrong_user_codes: Quota::within(1_000, TEN_MINUTES),
            wrong_user_codes_in_a_flood: 3,
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
            authorizations: NONE,
            failed_authentications_of_a_network: NONE,
            failed_authentications_of_a_client: NONE,
            assertions_of_a_client: NONE,
            assertions_of_a_network: NONE,
            assertions: NONE,
            device_authorizations_of_a_network: NONE,
            device_authorizations: NONE,
            wrong_user_codes_of_a_network: NONE,
            wrong_user_codes: NONE,
            wrong_user_codes_in_a_flood: u64::MAX,
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
    Assertion,
    DeviceAuthorization,
    UserCode,
    RightUserCode,
    WrongUserCode,
}

impl Work {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Registration => "registrations",
            Self::LastingRegistration => "lasting registrations",
            Self::Authorization => "authorizations",
            Self::FailedAuthentication => "failed authentications",
            Self::Assertion => "client assertions",
            Self::DeviceAuthorization => "device authorizations",
            Self::UserCode => "user codes",
            Self::RightUserCode => "right user codes",
            Self::WrongUserCode => "wrong user codes",
        }
    }

    /// The quota of a network, and that of everybody.
    pub(crate) fn quotas(self, limits: &Limits) -> (Quota, Quota) {
        match self {
            Self::Registration => (limits.registrations_of_a_network, limits.registrations),
            Self::LastingRegistration => (Quota::unlimited(), limits.lasting_registrations),
            Self::Authorization => (limits.authorizations_of_a_network, limits.authorizations),
            Self::FailedAuthentication => (limits.failed_authentications_of_a_network, Quota::unlimited()),
            Self::Assertion => (limits.assertions_of_a_network, limits.assertions),
            Self::DeviceAuthorization => (limits.device_authorizations_of_a_network, limits.device_authorizations),
            Self::UserCode | Self::RightUserCode | Self::WrongUserCode => {
                (limits.wrong_user_codes_of_a_network, limits.wrong_user_codes)
            }
        }
    }
}
