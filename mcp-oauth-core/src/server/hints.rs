//! Which grants a person has given, and a client was given: hints for those who look at lists.
//!
//! Each grant is a member of two sets. It is put there at the same time as it is stored, and once a day while it is used, so
//! that a hint lives a little longer than what it points at. Nothing relies on them: whoever reads a hint holds it against
//! the grant, and one that points at nothing is taken away. A store that has just no room for a hint, or cannot be
//! reached for it, costs nobody a sign-in; the grant is then on the list from its use on another day on, or from the next
//! [tidying up](super::operator::Operator::purge).

use std::time::Duration;

use futures_util::future::join;

use super::AuthorizationServer;
use crate::client::ClientId;
use crate::clock::UnixTime;
use crate::grant::Grant;
use crate::store::{Key, Kind};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How much longer a hint lives than a grant that is not used again: it is renewed on the first use of a day, and one
/// renewal may fail.
const SLACK: Duration = Duration::from_secs(2 * DAY.as_secs());

/// How long a hint may be there before its grant: they are stored at the same time.
const AHEAD: Duration = Duration::from_secs(60);

pub(super) fn grants_of_user(subject: &str) -> Key {
    Key::new(Kind::UserGrants, subject)
}

pub(super) fn grants_of_client(client_id: &ClientId) -> Key {
    Key::new(Kind::ClientGrants, client_id.as_str())
}

impl AuthorizationServer {
    fn hint_of_refreshable(&self) -> Duration {
        self.0.lifetimes.grant.refresh_token.saturating_add(SLACK)
    }

    fn hint_of_short(&self) -> Duration {
        self.longest_short_grant().saturating_add(AHEAD)
    }

    /// How long a grant that cannot be refreshed is kept.
    fn longest_short_grant(&self) -> Duration {
        self.0.lifetimes.access_token + crate::revocation::MARGIN
    }

    /// Puts a grant on the lists of its person and of its client.
    pub(super) async fn hint(&self, grant: &Grant) {
        let time_to_live = if grant.may_be_refreshed() {
            self.hint_of_refreshable()
        } else {
            self.hint_of_short()
        };
        let (user, client) = (
            grants_of_user(&grant.identity.subject()),
            grants_of_client(&grant.client_id),
        );
        let add = |set| async move { self.store().add_member(set, grant.id.as_str(), time_to_live).await };
        let (of_user, of_client) = join(add(&user), add(&client)).await;
        if let Err(error) = of_user.and(of_client) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                grant = grant.id.as_str(),
                "a grant is not on every list"
            );
        }
    }

    /// Does so again, on the first use of a day.
    pub(super) async fn hint_again(&self, grant: &Grant, last_used_at: UnixTime) {
        let day = |moment: UnixTime| moment.as_seconds() / DAY.as_secs();
        if day(last_used_at) != day(self.now()) {
            self.hint(grant).await;
        }
    }

    /// Whether a hint with this much left may be so new that its grant is not there yet.
    pub(super) fn may_be_ahead(&self, left: Duration) -> bool {
        [self.hint_of_refreshable(), self.hint_of_short()]
            .into_iter()
            .any(|whole| left <= whole && left.saturating_add(AHEAD) >= whole)
    }
}
