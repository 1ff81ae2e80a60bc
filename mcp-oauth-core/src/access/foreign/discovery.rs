//! What an authorization server says of itself: RFC 8414, and OpenID Connect Discovery.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::OwnedMutexGuard;
use url::Url;

use super::issuer::Rules;
use crate::clock::UnixTime;
use crate::fetch::kept::{Ages, Kept};
use crate::fetch::{FetchError, Fetcher, FreshnessBounds};
use crate::jwt::remote::REFETCH_INTERVAL;

const FRESHNESS: FreshnessBounds = FreshnessBounds {
    minimum: Duration::from_secs(5 * 60),
    maximum: AGES.maximum,
    unstated: Duration::from_secs(60 * 60),
};

const AGES: Ages = Ages {
    maximum: Duration::from_secs(24 * 60 * 60),
    retry: REFETCH_INTERVAL,
};

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

/// Whatever is known of an issuer will do.
fn anything(_: &Metadata) -> bool {
    true
}

/// The metadata of one issuer, fetched when it is needed and kept for a while.
pub(super) struct Discovery {
    issuer: Arc<str>,
    places: Arc<[Url]>,
    kept: Arc<Kept<Metadata>>,
}

impl Discovery {
    pub(super) fn of(rules: &Rules) -> Self {
        Self {
            issuer: Arc::clone(&rules.name),
            places: places(&rules.url).into(),
            kept: Arc::new(Kept::new(AGES)),
        }
    }

    /// What is known and fresh.
    pub(super) fn known(&self, now: UnixTime) -> Option<Arc<Metadata>> {
        self.kept.answer(now, anything)?.or(|| ()).ok()
    }

    /// What is known, fetched if it is not known or too old.
    pub(super) async fn get(&self, fetcher: &Fetcher, now: UnixTime) -> Result<Arc<Metadata>, DiscoveryError> {
        let not_now = || DiscoveryError::NotNow {
            issuer: self.issuer.to_string(),
        };
        if let Some(answer) = self.kept.answer(now, anything) {
            return answer.or(not_now);
        }
        if let Some(metadata) = self.kept.stand_in_for_failing(now, anything) {
            // Nobody waits for an issuer that has not answered before.
            if let Some(turn) = self.kept.turn_if_free() {
                self.begin(fetcher, now, turn);
            }
            return Ok(metadata);
        }
        let turn = self.kept.turn().await;
        // Whoever had the turn before may have fetched it.
        if let Some(answer) = self.kept.answer(now, anything) {
            return answer.or(not_now);
        }
        let task = self.begin(fetcher, now, turn);
        task.await.unwrap_or_else(|_| Err(not_now()))
    }

    /// Fetches in a task of its own, so that whoever hangs up does not keep it from others.
    fn begin(&self, fetcher: &Fetcher, now: UnixTime, turn: OwnedMutexGuard<()>) -> Fetch {
        let (issuer, places) = (Arc::clone(&self.issuer), Arc::clone(&self.places));
        let (kept, fetcher) = (Arc::clone(&self.kept), fetcher.clone());
        tokio::spawn(async move {
            let answer = match fetch(&fetcher, &issuer, &places).await {
                Ok((metadata, lifetime)) => {
                    let metadata = Arc::new(metadata);
                    kept.succeeded(Arc::clone(&metadata), lifetime, now);
                    Ok(metadata)
                }
                // What is somebody else's ends the use of what is known.
                Err(error @ DiscoveryError::NotTheIssuers { .. }) => {
                    kept.withdrawn(now);
                    Err(error)
                }
                Err(error) => {
                    kept.failed(now);
                    kept.stand_in(now, anything).ok_or(error)
                }
            };
            drop(turn);
            answer
        })
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
