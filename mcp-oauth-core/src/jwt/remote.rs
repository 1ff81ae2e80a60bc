//! Sets of keys that are published at an address (`jwks_uri`).
//!
//! They are fetched by the guarded [`Fetcher`] when a signature is to be verified that only they can verify, and never
//! because somebody names an address: the address is one that the operator configured, or that a client has registered or
//! published before.
//!
//! | | |
//! |---|---|
//! | kept | in this process, [`MAXIMUM_SETS`] sets at most, by address; the one that was not used for longest makes room |
//! | fresh | for as long as the publisher says, between a minute and an hour; five minutes if it says nothing |
//! | an unknown `kid` | has a fresh set fetched again, at most every [`REFETCH_INTERVAL`]: so keys can be rotated |
//! | at the same time | one fetch for each address; the others wait for it |
//! | a fetch that fails for the moment | leaves the known set in use, but never for longer than [`MAXIMUM_AGE`] |
//! | a publisher that goes on failing | keeps nobody waiting: the known set is used, and further attempts are made beside |
//! | an unknown `kid` while nothing can be fetched | is no unknown key, but an answer that is not to be had |
//! | a set that is withdrawn or unusable | ends the use of the known one at once |
//! | errors | are not kept; the next fetch is tried after [`REFETCH_INTERVAL`] |
//!
//! A key that its owner withdraws is thus refused after an hour at most. A token that names no `kid` is held against the
//! set as it is known: who wants to rotate keys names them.
//!
//! ```
//! use mcp_oauth_core::clock::{Clock, SystemClock};
//! use mcp_oauth_core::fetch::Fetcher;
//! use mcp_oauth_core::jwt::remote::RemoteKeys;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let remote = RemoteKeys::new(Fetcher::default().maximum_body(64 * 1024));
//! let keys = remote.get(&"https://client.example/jwks.json".parse()?, Some("2026-11"), SystemClock.now()).await?;
//! println!("{}", keys.has("2026-11"));
//! # Ok(())
//! # }
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;
use url::Url;

use super::keys::{InvalidJwkSet, JwkSet};
use crate::clock::UnixTime;
use crate::fetch::kept::{Ages, Kept};
use crate::fetch::{FetchError, Fetcher, FreshnessBounds};

/// At most this many sets are kept.
pub const MAXIMUM_SETS: usize = 1024;

/// No set is used for longer than this after it was fetched.
pub const MAXIMUM_AGE: Duration = Duration::from_secs(60 * 60);

/// So much time lies at least between two fetches that an unknown `kid` or a failure leads to.
pub const REFETCH_INTERVAL: Duration = Duration::from_secs(10);

const FRESHNESS: FreshnessBounds = FreshnessBounds {
    minimum: Duration::from_secs(60),
    maximum: MAXIMUM_AGE,
    unstated: Duration::from_secs(5 * 60),
};

/// Why there are no keys to verify with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteKeysError {
    /// They cannot be fetched at the moment. Nothing is known about the signature.
    #[error("the keys cannot be fetched at the moment")]
    Unavailable {
        /// What happened; nothing if a fetch failed a moment ago and is not tried again yet.
        #[source]
        source: Option<FetchError>,
    },
    /// There are none at the address. Whoever publishes them has to change something.
    #[error("there are no keys at their address: {0}")]
    Fetch(#[source] FetchError),
    /// What is there is no set that can be used.
    #[error(transparent)]
    Set(#[from] InvalidJwkSet),
}

const AGES: Ages = Ages {
    maximum: MAXIMUM_AGE,
    retry: REFETCH_INTERVAL,
};

/// A set, and the document that it was read from.
struct Set {
    keys: Arc<JwkSet>,
    document: Bytes,
}

impl Set {
    fn has(kid: Option<&str>) -> impl Fn(&Self) -> bool {
        move |set| kid.is_none_or(|kid| set.keys.has(kid))
    }
}

struct Slot {
    kept: Kept<Set>,
    used: AtomicU64,
}

impl Slot {
    fn new() -> Self {
        Self {
            kept: Kept::new(AGES),
            used: AtomicU64::new(0),
        }
    }

    /// What can be answered without a fetch; nothing if one is due.
    fn answer(&self, kid: Option<&str>, now: UnixTime) -> Option<Result<Arc<JwkSet>, RemoteKeysError>> {
        let answer = self.kept.answer(now, Set::has(kid))?;
        let answer = answer.or(|| RemoteKeysError::Unavailable { source: None });
        Some(answer.map(|set| Arc::clone(&set.keys)))
    }

    /// Keeps what was fetched. A document that has not changed is the same set as before, so that what was verified
    /// with it need not be verified again.
    fn keep(&self, document: Bytes, lifetime: Duration, now: UnixTime) -> Result<Arc<JwkSet>, InvalidJwkSet> {
        let same = self.kept.last().filter(|set| set.document == document);
        let set = match same {
            Some(set) => set,
            None => Arc::new(Set {
                keys: Arc::new(JwkSet::parse(&document)?),
                document,
            }),
        };
        let keys = Arc::clone(&set.keys);
        self.kept.succeeded(set, lifetime, now);
        Ok(keys)
    }
}

/// Fetches sets of keys, and keeps them for a while. Clones share what they keep.
#[derive(Clone)]
pub struct RemoteKeys {
    fetcher: Arc<Fetcher>,
    slots: Arc<Mutex<HashMap<Url, Arc<Slot>>>>,
    uses: Arc<AtomicU64>,
}

impl RemoteKeys {
    /// Keys that come by this fetcher. Give it room for a whole set: [`MAXIMUM_SIZE`](super::keys::MAXIMUM_SIZE) bytes
    /// at most.
    #[must_use]
    pub fn new(fetcher: Fetcher) -> Self {
        Self {
            fetcher: Arc::new(fetcher),
            slots: Arc::default(),
            uses: Arc::default(),
        }
    }

    /// The keys at `url`, among which the one with the name `kid` should be, if that can be said without a fetch.
    #[must_use]
    pub fn known(&self, url: &Url, kid: Option<&str>, now: UnixTime) -> Option<Arc<JwkSet>> {
        self.slot(url).answer(kid, now)?.ok()
    }

    /// The keys at `url`, among which the one with the name `kid` should be.
    ///
    /// # Errors
    ///
    /// See [`RemoteKeysError`].
    ///
    /// # Cancel safety
    ///
    /// A fetch that has begun goes on in a task of its own, so that whoever hangs up does not keep the keys from others.
    pub async fn get(&self, url: &Url, kid: Option<&str>, now: UnixTime) -> Result<Arc<JwkSet>, RemoteKeysError> {
        let slot = self.slot(url);
        if let Some(answer) = slot.answer(kid, now) {
            return answer;
        }
        if let Some(set) = slot.kept.stand_in_for_failing(now, Set::has(kid)) {
            // Nobody waits for a publisher that has not answered before.
            if let Some(turn) = slot.kept.turn_if_free() {
                self.begin(url, kid, now, slot, turn);
            }
            return Ok(Arc::clone(&set.keys));
        }
        let turn = slot.kept.turn().await;
        // Whoever had the turn before may have fetched what is missing.
        if let Some(answer) = slot.answer(kid, now) {
            return answer;
        }
        let task = self.begin(url, kid, now, slot, turn);
        task.await.unwrap_or(Err(RemoteKeysError::Unavailable { source: None }))
    }

    /// Fetches in a task of its own.
    fn begin(&self, url: &Url, kid: Option<&str>, now: UnixTime, slot: Arc<Slot>, turn: OwnedMutexGuard<()>) -> Fetch {
        let (fetcher, url, kid) = (Arc::clone(&self.fetcher), url.clone(), kid.map(str::to_owned));
        tokio::spawn(async move {
            let answer = match fetch(&fetcher, &url, &slot, now).await {
                Ok(keys) => Ok(keys),
                Err(error @ RemoteKeysError::Unavailable { .. }) => {
                    slot.kept.failed(now);
                    let set = slot.kept.stand_in(now, Set::has(kid.as_deref()));
                    set.map(|set| Arc::clone(&set.keys)).ok_or(error)
                }
                Err(error) => {
                    slot.kept.withdrawn(now);
                    Err(error)
                }
            };
            drop(turn);
            answer
        })
    }

    fn slot(&self, url: &Url) -> Arc<Slot> {
        // Nothing under this lock can panic between two changes.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if !slots.contains_key(url) && slots.len() >= MAXIMUM_SETS {
            let idle = slots.iter().min_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed));
            if let Some(idle) = idle.map(|(url, _)| url.clone()) {
                slots.remove(&idle);
            }
        }
        let slot = slots.entry(url.clone()).or_insert_with(|| Arc::new(Slot::new()));
        let use_number = self.uses.fetch_add(1, Ordering::Relaxed);
        slot.used.store(use_number, Ordering::Relaxed);
        Arc::clone(slot)
    }
}

/// A fetch that goes on whether somebody waits for it or not.
type Fetch = tokio::task::JoinHandle<Result<Arc<JwkSet>, RemoteKeysError>>;

async fn fetch(fetcher: &Fetcher, url: &Url, slot: &Slot, now: UnixTime) -> Result<Arc<JwkSet>, RemoteKeysError> {
    let document = match fetcher.get(url).await {
        Ok(document) => document,
        Err(error) if error.is_transient() => {
            tracing::warn!(%error, "a set of keys cannot be fetched");
            return Err(RemoteKeysError::Unavailable { source: Some(error) });
        }
        Err(error) => return Err(RemoteKeysError::Fetch(error)),
    };
    let lifetime = document.freshness.within(&FRESHNESS);
    Ok(slot.keep(document.body, lifetime, now)?)
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RemoteKeys")
            .field("fetcher", &self.fetcher)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::token::keys::{Algorithm, KeySet};

    const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    struct Publisher {
        server: MockServer,
        remote: RemoteKeys,
    }

    fn set(kid: &str) -> Value {
        let mut set = serde_json::to_value(KeySet::generate(Algorithm::Es256).unwrap().public()).unwrap();
        set["keys"][0]["kid"] = json!(kid);
        set
    }

    impl Publisher {
        async fn new() -> Self {
            let fetcher = Fetcher::default().allow_loopback().timeout(SECOND);
            Self {
                server: MockServer::start().await,
                remote: RemoteKeys::new(fetcher),
            }
        }

        async fn answers(&self, answer: ResponseTemplate) {
            self.server.reset().await;
            Mock::given(path("/jwks"))
                .respond_with(answer)
                .mount(&self.server)
                .await;
        }

        async fn publishes(&self, kid: &str) {
            let answer = ResponseTemplate::new(200)
                .set_body_json(set(kid))
                .insert_header("cache-control", "max-age=600");
            self.answers(answer).await;
        }

        async fn get(&self, kid: &str, now: UnixTime) -> Result<bool, RemoteKeysError> {
            let url = format!("{}/jwks", self.server.uri()).parse().unwrap();
            self.remote.get(&url, Some(kid), now).await.map(|keys| keys.has(kid))
        }

        async fn fetches(&self) -> usize {
            self.server.received_requests().await.unwrap().len()
        }
    }

    #[tokio::test]
    async fn a_set_is_fetched_once_while_it_is_fresh() {
        let publisher = Publisher::new().await;
        publisher.publishes("a").await;
        for seconds in [0, 1, 599] {
            assert!(publisher.get("a", NOW + SECOND * seconds).await.unwrap());
        }
        assert_eq!(publisher.fetches().await, 1);
        assert!(publisher.get("a", NOW + SECOND * 600).await.unwrap());
        assert_eq!(publisher.fetches().await, 2);
    }

    /// V-52.
    #[tokio::test]
    async fn an_unknown_name_has_the_set_fetched_again_and_not_too_often() {
        let publisher = Publisher::new().await;
        publisher.publishes("old").await;
        assert!(publisher.get("old", NOW).await.unwrap());
        publisher.publishes("new").await;
        assert!(!publisher.get("new", NOW + SECOND * 9).await.unwrap());
        assert_eq!(publisher.fetches().await, 0, "nobody makes this server fetch at will");
        assert!(publisher.get("new", NOW + SECOND * 10).await.unwrap());
        assert!(
            !publisher.get("old", NOW + SECOND * 11).await.unwrap(),
            "it was withdrawn"
        );
        assert_eq!(publisher.fetches().await, 1);
    }

    #[tokio::test]
    async fn what_cannot_be_fetched_leaves_a_known_set_for_an_hour_at_most() {
        let publisher = Publisher::new().await;
        publisher.publishes("a").await;
        assert!(publisher.get("a", NOW).await.unwrap());
        publisher.answers(ResponseTemplate::new(503)).await;
        assert!(publisher.get("a", NOW + SECOND * 601).await.unwrap());
        assert!(publisher.get("a", NOW + SECOND * 602).await.unwrap());
        assert_eq!(publisher.fetches().await, 1, "and is not tried each time");
        assert!(publisher.get("a", NOW + SECOND * 3599).await.unwrap());
        let refused = publisher.get("a", NOW + SECOND * 3610).await.unwrap_err();
        assert!(matches!(refused, RemoteKeysError::Unavailable { .. }));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_publisher_that_has_not_answered_before() {
        let publisher = Publisher::new().await;
        publisher.publishes("a").await;
        assert!(publisher.get("a", NOW).await.unwrap());
        publisher.answers(ResponseTemplate::new(503)).await;
        let mut now = NOW + SECOND * 600;
        assert!(publisher.get("a", now).await.unwrap());
        let late = ResponseTemplate::new(200)
            .set_body_json(set("b"))
            .set_delay(SECOND * 60);
        publisher.answers(late).await;
        now = now + REFETCH_INTERVAL;
        // The fetcher would wait for a second.
        let at_once = tokio::time::timeout(SECOND / 2, publisher.get("a", now)).await;
        assert!(at_once.unwrap().unwrap());
        assert!(matches!(
            publisher.get("b", now).await,
            Err(RemoteKeysError::Unavailable { .. })
        ));
    }

    #[tokio::test]
    async fn a_set_that_is_withdrawn_or_bad_is_not_used_any_more_and_not_kept() {
        let publisher = Publisher::new().await;
        let mut private = set("a");
        private["keys"][0]["d"] = json!("AA");
        let mut now = NOW;
        for answer in [
            ResponseTemplate::new(404),
            ResponseTemplate::new(200).set_body_json(private),
            ResponseTemplate::new(200).set_body_json(json!({"keys": []})),
            ResponseTemplate::new(200).set_body_raw("<html>", "text/html"),
        ] {
            publisher.publishes("a").await;
            assert!(publisher.get("a", now).await.unwrap());
            publisher.answers(answer).await;
            now = now + SECOND * 600;
            assert!(publisher.get("a", now).await.is_err());
            assert!(publisher.get("a", now + SECOND).await.is_err());
            assert_eq!(publisher.fetches().await, 1);
            now = now + REFETCH_INTERVAL;
        }
        publisher.publishes("a").await;
        assert!(publisher.get("a", now).await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_who_ask_at_once_wait_for_one_fetch() {
        let publisher = Arc::new(Publisher::new().await);
        let slow = ResponseTemplate::new(200)
            .set_body_json(set("a"))
            .set_delay(Duration::from_millis(50));
        publisher.answers(slow).await;
        let tasks: Vec<_> = (0..32)
            .map(|_| {
                let publisher = Arc::clone(&publisher);
                tokio::spawn(async move { publisher.get("a", NOW).await.unwrap() })
            })
            .collect();
        for task in tasks {
            assert!(task.await.unwrap());
        }
        assert_eq!(publisher.fetches().await, 1);
    }

    #[tokio::test]
    async fn whoever_hangs_up_does_not_keep_the_keys_from_others() {
        let publisher = Publisher::new().await;
        let slow = ResponseTemplate::new(200)
            .set_body_json(set("a"))
            .set_delay(Duration::from_millis(50));
        publisher.answers(slow).await;
        let impatient = tokio::time::timeout(Duration::from_millis(10), publisher.get("a", NOW)).await;
        assert!(impatient.is_err());
        assert!(publisher.get("a", NOW).await.unwrap());
        assert_eq!(publisher.fetches().await, 1);
    }

    #[tokio::test]
    async fn there_is_room_for_so_many_sets_and_the_idle_one_makes_room() {
        let remote = RemoteKeys::new(Fetcher::default());
        let url = |number: usize| format!("https://{number}.example/jwks").parse::<Url>().unwrap();
        for number in 0..MAXIMUM_SETS {
            remote.slot(&url(number));
        }
        remote.slot(&url(0));
        remote.slot(&url(MAXIMUM_SETS));
        let slots = remote.slots.lock().unwrap();
        assert_eq!(slots.len(), MAXIMUM_SETS);
        assert!(slots.contains_key(&url(0)) && !slots.contains_key(&url(1)));
    }
}
