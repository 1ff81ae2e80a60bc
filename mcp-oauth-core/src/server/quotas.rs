//! Quotas, as the endpoints use them: counted in the store, so that all processes share them.
//!
//! What costs something is [spent](AuthorizationServer::spend) before it is done. What only costs when it fails, as
//! guessing does, is [looked at](AuthorizationServer::afford) before and spent after.

use std::time::Duration;

use futures_util::TryFutureExt as _;
use futures_util::future::try_join;

use super::AuthorizationServer;
use crate::client::ClientId;
use crate::clock::UnixTime;
use crate::error::{ErrorCode, OAuthError};
use crate::limits::{Quota, Work};
use crate::origin::Origin;
use crate::parameters::Parameters;
use crate::secret::digest_name;
use crate::store::{Key, Kind, StoreError};

/// Who is counted where it does not matter who somebody is.
const EVERYBODY: &str = "everybody";

/// The window that `now` lies in: its number, and how long it still lasts.
fn window(quota: Quota, now: UnixTime) -> (u64, Duration) {
    let length = quota.window.as_secs().max(1);
    let number = now.as_seconds() / length;
    (number, Duration::from_secs(length - now.as_seconds() % length))
}

fn used_up(work: Work, wait: Duration) -> OAuthError {
    OAuthError::new(
        ErrorCode::TemporarilyUnavailable,
        format!(
            "too many {} from where this request comes from, try again later",
            work.name()
        ),
    )
    .with_retry_after(wait)
}

impl AuthorizationServer {
    /// Counts a piece of work, before it is done.
    ///
    /// # Errors
    ///
    /// When a quota is used up, with the time after which to come again; when the store does not answer.
    pub(crate) async fn spend(&self, work: Work, origin: &Origin) -> Result<(), OAuthError> {
        let (of_network, of_everybody) = work.quotas(self.limits());
        // One after the other: what is refused to a network must not use up what everybody has.
        if let Some(network) = origin.network() {
            self.count(work, of_network, &network).await?;
        }
        self.count(work, of_everybody, EVERYBODY).await
    }

    /// Finds the client of a request, which may have this server fetch a document: then that is counted first. All
    /// other clients are looked up at the same time, which costs a round trip less.
    pub(crate) async fn paid_for<T, E: From<OAuthError>>(
        &self,
        work: Work,
        origin: &Origin,
        parameters: &Parameters,
        client: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let spent = self.spend(work, origin).err_into::<E>();
        let named = parameters.get("client_id").ok().flatten();
        if named.is_some_and(|named| named.parse().is_ok_and(|named: ClientId| named.is_url())) {
            spent.await?;
            return client.await;
        }
        try_join(client, spent).await.map(|(client, ())| client)
    }

    /// Counts a registration, before it is done, and says whether it may wait for its first use for long. Where there is
    /// no room to count, it may not.
    ///
    /// # Errors
    ///
    /// As [`spend`](Self::spend).
    pub(crate) async fn spend_registration(&self, origin: &Origin) -> Result<bool, OAuthError> {
        self.spend(Work::Registration, origin).await?;
        let quota = self.limits().lasting_registrations;
        if quota == Quota::unlimited() {
            return Ok(true);
        }
        let (number, _) = window(quota, self.now());
        let counter = counter(Work::LastingRegistration, EVERYBODY, number);
        match self.store().increment(&counter, quota.window).await {
            Ok(sum) => Ok(sum <= quota.count),
            Err(StoreError::Full(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses a piece of work that has been tried too often, without counting.
    ///
    /// # Errors
    ///
    /// As [`spend`](Self::spend).
    pub(crate) async fn afford(&self, work: Work, origin: &Origin) -> Result<(), OAuthError> {
        let (of_network, of_everybody) = work.quotas(self.limits());
        for (quota, who) in [
            (of_network, origin.network()),
            (of_everybody, Some(EVERYBODY.to_owned())),
        ] {
            let Some(who) = who.filter(|_| quota != Quota::unlimited()) else {
                continue;
            };
            let (number, wait) = window(quota, self.now());
            let counted = self.store().get(&counter(work, &who, number)).await?;
            let counted = counted.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok());
            if counted.unwrap_or(0_u64) >= quota.count {
                return Err(used_up(work, wait));
            }
        }
        Ok(())
    }

    /// Counts that something wrong was shown for a client that there is.
    ///
    /// # Errors
    ///
    /// As [`spend`](Self::spend).
    pub(crate) async fn spend_failure_of(&self, client_id: &ClientId) -> Result<(), OAuthError> {
        let quota = self.limits().failed_authentications_of_a_client;
        let who = format!("client:{}", digest_name(client_id.as_str()));
        self.count(Work::FailedAuthentication, quota, &who).await
    }

    async fn count(&self, work: Work, quota: Quota, who: &str) -> Result<(), OAuthError> {
        if quota == Quota::unlimited() {
            return Ok(());
        }
        let (number, wait) = window(quota, self.now());
        match self.store().increment(&counter(work, who, number), quota.window).await {
            Ok(counted) if counted > quota.count => Err(used_up(work, wait)),
            Ok(_) => Ok(()),
            // So many networks at once that there is no room to count them: what they do is bounded by the store's
            // other shelves, and to refuse everybody would be to do the attacker's work.
            Err(StoreError::Full(_)) => {
                tracing::warn!(work = work.name(), "there is no room for another counter");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn counter(work: Work, who: &str, window: u64) -> Key {
    Key::new(
        Kind::Counter,
        format!("{}:{who}:{window}", work.name().replace(' ', "-")),
    )
}
