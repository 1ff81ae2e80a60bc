//! For how long things are good, and kept.

use std::time::Duration;

use crate::grant::GrantLifetimes;

/// How long things live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lifetimes {
    /// An access token (1 hour). Clients count on it being good that long.
    pub access_token: Duration,
    /// An authorization request, from the first page to the person's consent, and from there to the code (10 minutes each).
    pub transaction: Duration,
    /// The codes of a device that waits to be let in, from their issue to the person's approval (10 minutes; 1 minute to
    /// 1 hour). The longer, the more time there is to guess one (RFC 8628 §5.1).
    pub device_code: Duration,
    /// A registered client, from its last use (90 days; it is renewed once a day at most, and when half of it is over);
    /// `None` means for ever.
    pub client: Option<Duration>,
    /// A registered client that has never got a token (1 day).
    pub unused_client: Duration,
    /// The same, when more clients come than [`Limits::lasting_registrations`](crate::limits::Limits::lasting_registrations) (half an hour): time enough to sign in
    /// right away, as clients do, and too short to fill a store.
    pub unused_client_in_a_flood: Duration,
    /// The parts of a grant.
    pub grant: GrantLifetimes,
    /// How long the identity provider is not asked again how a person stands (15 minutes), counted from when it was last
    /// asked. It is asked while a token is refreshed and at no other time, so nobody waits for it who has a good access
    /// token. Zero has it asked at every refresh.
    pub identity_check: Duration,
    /// How long it is believed, without being confirmed, what the identity provider said (1 day): memberships of somebody
    /// whom it cannot be asked about, e-mail addresses, and anything at all while it does not answer. See
    /// [`crate::policy`]. A day, so that whoever leaves an organisation today is out tomorrow, and nobody signs in more
    /// than once a day for it. [`Duration::MAX`] means for ever.
    pub maximum_identity_age: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            access_token: Duration::from_secs(60 * 60),
            transaction: Duration::from_secs(10 * 60),
            device_code: Duration::from_secs(10 * 60),
            client: Some(Duration::from_secs(90 * 24 * 60 * 60)),
            unused_client: Duration::from_secs(24 * 60 * 60),
            unused_client_in_a_flood: Duration::from_secs(30 * 60),
            grant: GrantLifetimes::default(),
            identity_check: Duration::from_secs(15 * 60),
            maximum_identity_age: Duration::from_secs(24 * 60 * 60),
        }
    }
}
