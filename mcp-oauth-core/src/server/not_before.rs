//! Ending everything that a person, or a client, has been granted, by one write.
//!
//! A mark says: whatever this holder had been granted by then is over. It is one record, whether that was one grant or a
//! million, and whoever uses a grant reads it: that of the client at the same time as the grant, that of the person at the
//! same time as the grant's new state is stored, so that no step takes a round trip more. If the mark turns out to be there,
//! the grant ends and nobody sees the new tokens. Access tokens end by an entry in the [feed](crate::revocation) with the
//! same meaning, at every process within the bound that holds there.
//!
//! A mark counts in whole seconds, and what was granted in its very second is over too. Clocks of several machines have to
//! agree, as they have to for tokens: by as much as one is behind, so much of what another granted before the mark survives
//! it. The mark lives for as long as a grant that it ends could.

use std::time::Duration;

use futures_util::future::{join, try_join};
use serde::{Deserialize, Serialize};

use super::{AuthorizationServer, MAXIMUM_ROUNDS, contended};
use crate::clock::UnixTime;
use crate::error::OAuthError;
use crate::grant::{EndReason, Grant};
use crate::origin::Origin;
use crate::revocation::{self, Ended, Holder};
use crate::store::{self, Key, Kind, StoreError};

/// Since when what a holder is granted counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotBefore {
    pub(crate) at: UnixTime,
}

impl NotBefore {
    /// Whether the grant is over.
    pub(crate) fn ends(self, grant: &Grant) -> bool {
        grant.approved_at <= self.at
    }
}

pub(crate) fn not_before_key(holder: &Holder) -> Key {
    Key::new(Kind::NotBefore, holder.to_string())
}

impl AuthorizationServer {
    /// The mark of a holder, if there is one.
    pub(crate) async fn not_before(&self, holder: &Holder) -> Result<Option<NotBefore>, StoreError> {
        let found = store::load(self.store(), &not_before_key(holder)).await?;
        Ok(found.map(|found| found.record))
    }

    /// Whether the grant is over by the mark of its person.
    pub(super) async fn person_ended(&self, grant: &Grant) -> Result<bool, StoreError> {
        let mark = self.not_before(&Holder::User(grant.identity.subject())).await?;
        Ok(mark.is_some_and(|mark| mark.ends(grant)))
    }

    /// Whether the grant is over by the mark of its client.
    pub(super) async fn client_ended(&self, grant: &Grant) -> Result<bool, StoreError> {
        let mark = self.not_before(&Holder::Client(grant.client_id.clone())).await?;
        Ok(mark.is_some_and(|mark| mark.ends(grant)))
    }

    /// Whether the grant is over by any mark.
    pub(super) async fn is_over(&self, grant: &Grant) -> Result<bool, StoreError> {
        let (of_person, of_client) = try_join(self.person_ended(grant), self.client_ended(grant)).await?;
        Ok(of_person || of_client)
    }

    /// For how long a grant that exists now may still be used.
    pub(super) fn longest_grant(&self) -> Duration {
        let lifetimes = &self.0.lifetimes;
        let longest = lifetimes.grant.refresh_token.max(lifetimes.access_token);
        longest
            .max(lifetimes.grant.authorization_code)
            .saturating_add(revocation::MARGIN)
    }

    /// Ends whatever the holder has been granted up to now, everywhere, and says up to when.
    ///
    /// The mark comes first, so that nothing new comes of what is over. If the announcement fails, doing all of it again
    /// does all of it.
    pub(crate) async fn end_all(&self, holder: Holder) -> Result<UnixTime, OAuthError> {
        let (key, time_to_live) = (not_before_key(&holder), Some(self.longest_grant()));
        for _ in 0..MAXIMUM_ROUNDS {
            let mark = NotBefore { at: self.now() };
            let written = match store::load::<NotBefore>(self.store(), &key).await? {
                None => store::insert(self.store(), &key, &mark, time_to_live).await?,
                Some(known) if known.record.at > mark.at => {
                    store::replace(self.store(), &key, &known, &known.record, time_to_live).await?
                }
                Some(known) => store::replace(self.store(), &key, &known, &mark, time_to_live).await?,
            };
            if written {
                // Not before the mark is there: whoever read that there was none issues tokens of an earlier moment.
                self.announce(Ended::Before(holder, self.now())).await?;
                return Ok(mark.at);
            }
        }
        Err(contended())
    }

    /// Ends a grant that a mark concerns, however far it has got meanwhile.
    pub(super) async fn end_marked(&self, grant: &Grant, origin: &Origin) -> Result<(), OAuthError> {
        match self.load_grant(&grant.id).await? {
            Some(loaded) => self.end_grant(loaded, EndReason::EndedWithAll, origin).await,
            None => Ok(()),
        }
    }

    /// Stores something of a grant, and says at the same time whether the grant is over by the mark of its person. What the
    /// store says of the mark counts for nothing if the grant was not stored.
    pub(super) async fn store_unless_over(
        &self,
        grant: &Grant,
        stored: impl Future<Output = Result<bool, StoreError>>,
    ) -> Result<Stored, StoreError> {
        let (stored, over) = join(stored, self.person_ended(grant)).await;
        if !stored? {
            return Ok(Stored::No);
        }
        Ok(if over? { Stored::Over } else { Stored::Yes })
    }
}

/// What came of storing a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Yes,
    /// Somebody else was faster.
    No,
    /// It was, and the grant is over: nothing of it may be shown.
    Over,
}
