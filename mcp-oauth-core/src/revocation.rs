//! Which grants have ended, known without asking the store for every request.
//!
//! A token is good until it expires, unless its grant has ended before. [`EndedGrants`] is what one process knows
//! of ended grants: it reads the store's feed when its knowledge is older than [`MAXIMUM_AGE`] and answers from
//! memory in between. So a token is refused everywhere at most that long after its grant has ended; if the store
//! cannot be reached and the knowledge is too old, there is no answer, which is not the same as "good".
//!
//! ```
//! use mcp_oauth_core::revocation::MAXIMUM_AGE;
//!
//! assert_eq!(MAXIMUM_AGE.as_secs(), 1);
//! ```

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::UnixTime;
use crate::grant::GrantId;
use crate::store::{FeedPosition, Store, StoreError};

/// After this time what is known of ended grants is refreshed before it is used.
pub const MAXIMUM_AGE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Known {
    ended: HashSet<GrantId>,
    /// When each entry may be forgotten, because every token of the grant has expired by then.
    forget: BTreeSet<(UnixTime, String)>,
    position: Option<FeedPosition>,
    read_at: Option<UnixTime>,
}

/// What a process knows of ended grants.
#[derive(Debug)]
pub struct EndedGrants {
    known: Mutex<Known>,
    access_token_lifetime: Duration,
}

impl EndedGrants {
    /// Knows nothing yet; entries are kept for the life of an access token.
    #[must_use]
    pub fn new(access_token_lifetime: Duration) -> Self {
        Self {
            known: Mutex::default(),
            access_token_lifetime,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing is left half done under this lock: every change is a single insertion or a whole read page.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the grant has ended, as far as this process knows; `None` if its knowledge is too old to say.
    #[must_use]
    pub fn contains(&self, grant: &GrantId, now: UnixTime) -> Option<bool> {
        let known = self.known();
        if known.ended.contains(grant) {
            return Some(true);
        }
        let fresh = known
            .read_at
            .is_some_and(|read_at| now.since(read_at) < MAXIMUM_AGE && read_at <= now);
        fresh.then_some(false)
    }

    /// Whether the grant has ended, as of the last time the feed was read, however long ago that was.
    pub(crate) fn contained_at_last_reading(&self, grant: &GrantId) -> bool {
        self.known().ended.contains(grant)
    }

    /// Reads what the feed has that this process does not know yet.
    ///
    /// # Errors
    ///
    /// When the store cannot be read; what was known before stays.
    pub async fn refresh(&self, store: &dyn Store, now: UnixTime) -> Result<(), StoreError> {
        let position = self.known().position.clone();
        let page = store.read_ended(position.as_ref()).await?;
        let mut known = self.known();
        for entry in &page.entries {
            let Some(grant) = std::str::from_utf8(entry)
                .ok()
                .and_then(|text| text.parse::<GrantId>().ok())
            else {
                tracing::warn!("the feed of ended grants has an entry that is no identifier of a grant");
                continue;
            };
            known.forget.insert((
                now + self.access_token_lifetime + MAXIMUM_AGE,
                grant.as_str().to_owned(),
            ));
            known.ended.insert(grant);
        }
        while known.forget.first().is_some_and(|(forget_at, _)| *forget_at < now) {
            if let Some((_, grant)) = known.forget.pop_first()
                && let Ok(grant) = grant.parse::<GrantId>()
            {
                known.ended.remove(&grant);
            }
        }
        if page.position.is_some() {
            known.position = page.position;
        }
        known.read_at = Some(known.read_at.map_or(now, |read_at| read_at.max(now)));
        Ok(())
    }

    /// Notes a grant that this very process has ended, so that it is refused here at once.
    pub(crate) fn note(&self, grant: &GrantId, now: UnixTime) {
        let mut known = self.known();
        known.forget.insert((
            now + self.access_token_lifetime + MAXIMUM_AGE,
            grant.as_str().to_owned(),
        ));
        known.ended.insert(grant.clone());
    }
}
