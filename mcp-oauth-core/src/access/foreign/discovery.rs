//! What an authorization server says of itself: RFC 8414, and OpenID Connect Discovery.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::OwnedMutexGuard;
use url::Url;

use super::issuer::Rules;
use crate::clock::UnixTime;
use crate::fetch::{FetchError, Fetcher, FreshnessBounds};
use crate::jwt::remote::REFETCH_INTERVAL;

const FRESHNESS: FreshnessBounds = FreshnessBounds {
    minimum: Duration::from_secs(5 * 60),
    maximum: Duration::from_secs(24 * 60 * 60),
    unstated: Duration::from_secs(60 * 60),
};

/// No metadata is used for longer than this after it was fetched.
const MAXIMUM_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Why an issuer's metadata is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// It is at none of the places where it could be.
    #[error("the metadata of the issuer {issuer} cannot be fetched: {reason}")]
    Fetch {
        /// The issuer.
        issuer: String,
        /// What the first place answered.
        #[source]
        reason: FetchError,
    },
    /// What is there is somebody else's, or no metadata.
    #[error(
        "what is published as metadata of the issuer {issuer} names another issuer, or is none: the two must be equal to the letter"
    )]
    NotTheIssuers {
        /// The issuer.
        issuer: String,
    },
    /// It could not be had a moment ago, and is not tried again yet.
    #[error("the metadata of the issuer {issuer} could not be fetched a moment ago: the log says why")]
    NotNow {
        /// The issuer.
        issuer: String,
    },
}

/// A fetch that goes on whether somebody waits for it or not.
type Fetch = tokio::task::JoinHandle<Result<Arc<Metadata>, DiscoveryError>>;

/// The members that are of use to a protected resource.
#[derive(Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) jwks_uri: Option<Url>,
    pub(super) introspection_endpoint: Option<Url>,
}

#[derive(Clone)]
struct Held {
    metadata: Arc<Metadata>,
    fetched_at: UnixTime,
    fresh_until: UnixTime,
}

impl Held {
    /// A clock that was set back makes metadata look older than it is, never younger.
    fn is_within(&self, now: UnixTime) -> bool {
        self.fetched_at <= now && now.since(self.fetched_at) < MAXIMUM_AGE
    }
}

#[derive(Default)]
struct Known {
    held: Option<Held>,
    attempted_at: Option<UnixTime>,
    /// Whether the last attempt came to nothing.
    failed: bool,
}

/// What can be said without a fetch.
enum Answer {
    Known(Arc<Metadata>),
    /// That nothing is known, and why was found out a moment ago.
    NotNow,
}

impl Answer {
    fn or(self, not_now: impl FnOnce() -> DiscoveryError) -> Result<Arc<Metadata>, DiscoveryError> {
        match self {
            Self::Known(metadata) => Ok(metadata),
            Self::NotNow => Err(not_now()),
        }
    }
}

#[derive(Default)]
struct Slot {
    known: Mutex<Known>,
    /// Whoever holds this fetches.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The metadata of one issuer, fetched when it is needed and kept for a while.
pub(super) struct Discovery {
    issuer: Arc<str>,
    places: Arc<[Url]>,
    slot: Arc<Slot>,
}

impl Discovery {
    pub(super) fn of(rules: &Rules) -> Self {
        Self {
            issuer: Arc::clone(&rules.name),
            places: places(&rules.url).into(),
            slot: Arc::default(),
        }
    }

    /// What is known and fresh.
    pub(super) fn known(&self, now: UnixTime) -> Option<Arc<Metadata>> {
        match self.slot.answer(now)? {
            Answer::Known(metadata) => Some(metadata),
            Answer::NotNow => None,
        }
    }

    /// What is known, fetched if it is not known or too old.
    pub(super) async fn get(&self, fetcher: &Fetcher, now: UnixTime) -> Result<Arc<Metadata>, DiscoveryError> {
        let not_now = || DiscoveryError::NotNow {
            issuer: self.issuer.to_string(),
        };
        if let Some(answer) = self.slot.answer(now) {
            return answer.or(not_now);
        }
        if let Some(metadata) = self.slot.stand_in_for_failing(now) {
            // Nobody waits for an issuer that has not answered before.
            if let Ok(turn) = Arc::clone(&self.slot.turn).try_lock_owned() {
                self.begin(fetcher, now, turn);
            }
            return Ok(metadata);
        }
        let turn = Arc::clone(&self.slot.turn).lock_owned().await;
        // Whoever had the turn before may have fetched it.
        if let Some(answer) = self.slot.answer(now) {
            return answer.or(not_now);
        }
        let task = self.begin(fetcher, now, turn);
        task.await.unwrap_or_else(|_| Err(not_now()))
    }

    /// Fetches in a task of its own, so that whoever hangs up does not keep it from others.
    fn begin(&self, fetcher: &Fetcher, now: UnixTime, turn: OwnedMutexGuard<()>) -> Fetch {
        let (issuer, places) = (Arc::clone(&self.issuer), Arc::clone(&self.places));
        let (slot, fetcher) = (Arc::clone(&self.slot), fetcher.clone());
        tokio::spawn(async move {
            let found = fetch(&fetcher, &issuer, &places).await;
            let answer = slot.keep(found, now);
            drop(turn);
            answer
        })
    }
}

impl Slot {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change under this lock is the assignment of one field.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be answered without a fetch; nothing if one is due.
    fn answer(&self, now: UnixTime) -> Option<Answer> {
        let known = self.known();
        let held = known.held.as_ref().filter(|held| held.is_within(now));
        let attempted = known
            .attempted_at
            .is_some_and(|at| at <= now && now.since(at) < REFETCH_INTERVAL);
        match held {
            Some(held) if now < held.fresh_until || attempted => Some(Answer::Known(Arc::clone(&held.metadata))),
            None if attempted => Some(Answer::NotNow),
            _ => None,
        }
    }

    /// What is known, if it may stand in while another attempt is made after one that came to nothing.
    fn stand_in_for_failing(&self, now: UnixTime) -> Option<Arc<Metadata>> {
        let known = self.known();
        let held = known.held.as_ref().filter(|held| known.failed && held.is_within(now));
        held.map(|held| Arc::clone(&held.metadata))
    }

    /// Keeps what was fetched. What cannot be fetched for the moment leaves what is known in use; what is somebody else's
    /// ends that.
    fn keep(
        &self,
        fetched: Result<(Metadata, Duration), DiscoveryError>,
        now: UnixTime,
    ) -> Result<Arc<Metadata>, DiscoveryError> {
        let mut known = self.known();
        known.attempted_at = Some(now);
        known.failed = fetched.is_err();
        match fetched {
            Ok((metadata, lifetime)) => {
                let metadata = Arc::new(metadata);
                known.held = Some(Held {
                    metadata: Arc::clone(&metadata),
                    fetched_at: now,
                    fresh_until: now + lifetime,
                });
                Ok(metadata)
            }
            Err(error @ DiscoveryError::NotTheIssuers { .. }) => {
                known.held = None;
                Err(error)
            }
            Err(error) => {
                let held = known.held.as_ref();
                let held = held.filter(|held| held.is_within(now));
                held.map(|held| Arc::clone(&held.metadata)).ok_or(error)
            }
        }
    }
}

/// Where the metadata of an issuer can be, in the order in which MCP has clients look: the well-known segment between host
/// and path (RFC 8414 §3.1, for both documents), then behind the path (OpenID Connect Discovery §4).
fn places(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    let mut places = vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("/.well-known/openid-configuration{path}")),
    ];
    if !path.is_empty() {
        places.push(at(format!("{path}/.well-known/openid-configuration")));
    }
    places
}

/// The first document that is the issuer's, and for how long it may be used.
async fn fetch(fetcher: &Fetcher, issuer: &str, places: &[Url]) -> Result<(Metadata, Duration), DiscoveryError> {
    let mut first_reason = None;
    let mut others = false;
    for place in places {
        match fetcher.get(place).await {
            Ok(document) => match serde_json::from_slice::<Metadata>(&document.body) {
                Ok(metadata) if metadata.issuer == issuer => {
                    return Ok((metadata, document.freshness.within(&FRESHNESS)));
                }
                Ok(metadata) => {
                    tracing::warn!(issuer, place = %place, named = metadata.issuer, "metadata names another issuer");
                    others = true;
                }
                Err(error) => {
                    tracing::warn!(issuer, place = %place, %error, "metadata cannot be read");
                    others = true;
                }
            },
            Err(reason) => {
                tracing::debug!(issuer, place = %place, %reason, "metadata cannot be fetched");
                first_reason = first_reason.or(Some(reason));
            }
        }
    }
    match first_reason {
        // A place that could not be looked at may be the right one.
        Some(reason) if !others || reason.is_transient() => Err(DiscoveryError::Fetch {
            issuer: issuer.to_owned(),
            reason,
        }),
        _ => Err(DiscoveryError::NotTheIssuers {
            issuer: issuer.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(issuer: &str) -> Vec<String> {
        let places = places(&issuer.parse().unwrap());
        places.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn metadata_is_looked_for_wherever_an_issuer_may_have_it() {
        for issuer in ["https://a.example", "https://a.example/"] {
            assert_eq!(
                texts(issuer),
                [
                    "https://a.example/.well-known/oauth-authorization-server",
                    "https://a.example/.well-known/openid-configuration",
                ]
            );
        }
        for issuer in ["https://a.example/realms/x", "https://a.example/realms/x/"] {
            assert_eq!(
                texts(issuer),
                [
                    "https://a.example/.well-known/oauth-authorization-server/realms/x",
                    "https://a.example/.well-known/openid-configuration/realms/x",
                    "https://a.example/realms/x/.well-known/openid-configuration",
                ]
            );
        }
    }
}
