//! Quotas, as the endpoints use them: counted in the store, so that all processes share them.
//!
//! Everything is counted first and done then, by one atomic addition, so that of any number of requests at the same
//! time no more get through than one after the other. A network comes before its site, and a site before everybody: what
//! is refused to one uses up nothing of the others. All of them are asked at the same time, which is one wait for the
//! store, unless [this process has seen](used_up) that one of them is used up: then they are asked in turn, which is up to
//! three waits. And what is refused takes the counter away again that it made, so that a flood from many networks leaves none
//! behind.
//!
//! Two things only cost when they fail. Of [codes](AuthorizationServer::try_user_code) each one that is entered is
//! counted before it is looked up, and each right one is counted too; what is wrong is the difference. One that was right
//! and is on a device which does not wait any more counts as entered twice. Of
//! [secrets](AuthorizationServer::may_try) only the wrong ones are counted, since the right ones come with every request
//! for a token. So requests at the same time may show more wrong ones than the quota has, once; but nobody finds 128
//! random bits that way, and how many of them are *answered* is exact.

use std::future::ready;
use std::time::Duration;

use futures_util::TryFutureExt as _;
use futures_util::future::{join, try_join, try_join_all};

use super::AuthorizationServer;
use crate::client::ClientId;
use crate::clock::UnixTime;
use crate::error::{ErrorCode, OAuthError};
use crate::limits::{Limits, Quota, Work};
use crate::origin::{Network, Origin};
use crate::parameters::Parameters;
use crate::secret::digest_name;
use crate::store::{Key, Kind, StoreError};
use crate::telemetry;

mod used_up;

pub(super) use used_up::UsedUp;

/// Clients share this many counters of what is shown for them that is wrong, known ones and unknown ones alike: so
/// nobody fills the store with made-up names, and nobody learns which ones there are.
const SHARED_BY_CLIENTS: usize = 2;

/// Whose work is counted.
enum Who<'a> {
    Everybody,
    Network(&'a Network),
    /// A client that has proven itself.
    Client(&'a ClientId),
    /// Whoever may be meant by this identifier.
    Named(&'a ClientId),
    ClientFrom(&'a ClientId, &'a Network),
}

impl Who<'_> {
    fn name(&self) -> String {
        match self {
            Self::Everybody => "everybody".to_owned(),
            Self::Network(network) => network.name.clone(),
            Self::Client(client_id) => format!("client:{}", digest_name(client_id.as_str())),
            Self::Named(client_id) => {
                let digest = digest_name(client_id.as_str());
                let shared: String = digest.chars().take(SHARED_BY_CLIENTS).collect();
                format!("clients:{shared}")
            }
            Self::ClientFrom(client_id, network) => {
                format!("client:{}:{}", digest_name(client_id.as_str()), network.name)
            }
        }
    }

    /// What everybody does has few counters, and a shelf of its own: there is always room for them.
    fn kind(&self) -> Kind {
        match self {
            Self::Everybody => Kind::Total,
            _ => Kind::Counter,
        }
    }
}

/// How much of a piece of work somebody has done in the present window.
struct Counter {
    key: Key,
    work: Work,
    quota: Quota,
    /// How long the window still lasts.
    wait: Duration,
}

/// The window that `now` lies in: its number, and how long it still lasts.
fn window(quota: Quota, now: UnixTime) -> (u64, Duration) {
    let length = quota.window.as_secs().max(1);
    let number = now.as_seconds() / length;
    (number, Duration::from_secs(length - now.as_seconds() % length))
}

impl Counter {
    fn new(work: Work, who: &Who<'_>, quota: Quota, now: UnixTime) -> Self {
        let (number, wait) = window(quota, now);
        let name = format!("{}:{}:{number}", work.name().replace(' ', "-"), who.name());
        let key = Key::new(who.kind(), name);
        Self { key, work, quota, wait }
    }

    fn used_up(&self) -> OAuthError {
        telemetry::quota_used_up(self.work.name());
        OAuthError::new(
            ErrorCode::TemporarilyUnavailable,
            format!(
                "too many {} from where this request comes from, try again later",
                self.work.name()
            ),
        )
        .with_retry_after(self.wait)
    }
}

impl AuthorizationServer {
    /// The counter of this work in the present window; `None` if there is no quota.
    fn counter(&self, work: Work, who: &Who<'_>, quota: Quota) -> Option<Counter> {
        let counted = !quota.is_unlimited();
        counted.then(|| Counter::new(work, who, quota, self.now()))
    }

    /// Counts a piece of work, before it is done.
    ///
    /// # Errors
    ///
    /// When a quota is used up, with the time after which to come again; when the store does not answer.
    pub(crate) async fn spend(&self, work: Work, origin: &Origin) -> Result<(), OAuthError> {
        self.count(&self.counters(work, origin), ready(Ok(()))).await
    }

    /// The counters of this work from there, in their order.
    fn counters(&self, work: Work, origin: &Origin) -> Vec<Counter> {
        let (of_network, of_everybody) = work.quotas(self.limits());
        let networks = origin.networks();
        let mut counters: Vec<Counter> = networks
            .iter()
            .filter_map(|network| self.counter(work, &Who::Network(network), of_network.times(network.width)))
            .collect();
        counters.extend(self.counter(work, &Who::Everybody, of_everybody));
        counters
    }

    /// Counts that a client has proven itself by an assertion, before that is remembered.
    ///
    /// # Errors
    ///
    /// As [`spend`](Self::spend).
    pub(crate) async fn spend_assertion(&self, client_id: &ClientId, origin: &Origin) -> Result<(), OAuthError> {
        let quota = self.limits().assertions_of_a_client;
        let of_client = self.counter(Work::Assertion, &Who::Client(client_id), quota);
        // Whoever is counted here has proven who they are, so nobody uses up what is another client's.
        let mut counters = Vec::from_iter(of_client);
        counters.extend(self.counters(Work::Assertion, origin));
        self.count(&counters, ready(Ok(()))).await
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
        let lasts = async {
            let quota = self.limits().lasting_registrations;
            let Some(counter) = self.counter(Work::LastingRegistration, &Who::Everybody, quota) else {
                return Ok(true);
            };
            match self.store().increment(&counter.key, quota.window).await {
                Ok(sum) => Ok(sum <= quota.count),
                Err(StoreError::Full(_)) => Ok(false),
                Err(error) => Err(error.into()),
            }
        };
        self.count(&self.counters(Work::Registration, origin), lasts).await
    }

    /// Refuses whoever has shown too much for this client already, from the same network, that was wrong.
    ///
    /// What others have shown there for other clients does not count: a company behind one address does not lose its
    /// tokens because somebody in it guesses.
    ///
    /// # Errors
    ///
    /// As [`spend`](Self::spend).
    pub(crate) async fn may_try(&self, client_id: &ClientId, origin: &Origin) -> Result<(), OAuthError> {
        let counters = self.failures_of(client_id, origin);
        let sums = try_join_all(counters.iter().map(|counter| self.counted(counter))).await?;
        let used_up = |(counter, sum): &(&Counter, u64)| *sum >= counter.quota.count;
        match counters.iter().zip(sums).find(used_up) {
            Some((counter, _)) => Err(counter.used_up()),
            None => Ok(()),
        }
    }

    /// Counts that something wrong was shown. `named` is the client that it was shown for, which need not exist; `known`
    /// is that client if it does.
    ///
    /// The answer to what is wrong only depends on `named`, so that nobody learns from it which clients there are:
    /// for a known one, the network's own quota is used up no later than what it has for this client, since that is as
    /// much.
    ///
    /// # Errors
    ///
    /// As [`spend`](Self::spend).
    pub(crate) async fn spend_failure(
        &self,
        named: Option<&ClientId>,
        known: Option<&ClientId>,
        origin: &Origin,
    ) -> Result<(), OAuthError> {
        let for_this_client = known.map(|known| self.failures_of(known, origin)).unwrap_or_default();
        // All of them, and whatever the network's quota says: this is what bounds guessing.
        let for_this_client = try_join_all(for_this_client.iter().map(|counter| self.add(counter)));
        let of_network = self.spend(Work::FailedAuthentication, origin);
        let (of_network, for_this_client) = join(of_network, for_this_client).await;
        of_network?;
        for_this_client?;
        let Some(named) = named else { return Ok(()) };
        let quota = self.limits().failed_authentications_of_a_client;
        let counter = self.counter(Work::FailedAuthentication, &Who::Named(named), quota);
        self.count(&Vec::from_iter(counter), ready(Ok(()))).await
    }

    /// What this network has shown for this client that was wrong.
    fn failures_of(&self, client_id: &ClientId, origin: &Origin) -> Vec<Counter> {
        let quota = self.limits().failed_authentications_of_a_network;
        let networks = origin.networks();
        let of_network = |network: &Network| {
            let who = Who::ClientFrom(client_id, network);
            self.counter(Work::FailedAuthentication, &who, quota.times(network.width))
        };
        networks.iter().filter_map(of_network).collect()
    }

    /// Counts that a code of a device is entered, before it is looked up.
    ///
    /// When everybody together has entered too many wrong ones, each network still has a few tries: so strangers cannot
    /// keep people from letting their devices in, and guess no more than a few each. A network of IPv6 and its site are asked
    /// in turn, which is two waits: what a network guesses too much is not its site's.
    ///
    /// # Errors
    ///
    /// As [`spend`](Self::spend).
    pub(crate) async fn try_user_code(&self, origin: &Origin) -> Result<(), OAuthError> {
        let Limits {
            wrong_user_codes_of_a_network: of_network,
            wrong_user_codes: of_everybody,
            wrong_user_codes_in_a_flood: in_a_flood,
            ..
        } = *self.limits();
        if of_network.is_unlimited() && of_everybody.is_unlimited() {
            return Ok(());
        }
        let everybody = Counter::new(Work::WrongUserCode, &Who::Everybody, of_everybody, self.now());
        let networks = origin.networks();
        // Whoever cannot be counted alone has no tries of their own.
        let mut is_counted = false;
        for network in &networks {
            let quota = of_network.times(network.width);
            let entered = Counter::new(Work::UserCode, &Who::Network(network), quota, self.now());
            let right = Counter::new(Work::RightUserCode, &Who::Network(network), quota, self.now());
            let (Some(entered_so_far), right_so_far) = try_join(self.add(&entered), self.counted(&right)).await? else {
                continue;
            };
            is_counted = true;
            let wrong = entered_so_far.saturating_sub(right_so_far);
            let too_many = wrong > quota.count;
            let many = wrong > in_a_flood.saturating_mul(network.width);
            if too_many || (many && self.is_used_up(&everybody).await?) {
                return Err(entered.used_up());
            }
        }
        if !is_counted && self.is_used_up(&everybody).await? {
            return Err(everybody.used_up());
        }
        Ok(())
    }

    /// Counts that the code which was entered is on a device.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub(crate) async fn user_code_was_right(&self, origin: &Origin) -> Result<(), OAuthError> {
        self.add_to_networks(Work::RightUserCode, origin).await
    }

    /// Counts that the device does not wait any more, so that its code was wrong, which counted as right. It counts as
    /// entered once more, since nothing is ever taken off a counter: what is wrong is the difference.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub(crate) async fn user_code_was_wrong_after_all(&self, origin: &Origin) -> Result<(), OAuthError> {
        try_join(self.add_to_networks(Work::UserCode, origin), self.user_code_was_wrong())
            .await
            .map(drop)
    }

    /// Counts what has become of a code, whatever the quotas say.
    async fn add_to_networks(&self, work: Work, origin: &Origin) -> Result<(), OAuthError> {
        let quota = self.limits().wrong_user_codes_of_a_network;
        if quota.is_unlimited() && self.limits().wrong_user_codes.is_unlimited() {
            return Ok(());
        }
        let of_network = |network: &Network| {
            let quota = quota.times(network.width);
            Counter::new(work, &Who::Network(network), quota, self.now())
        };
        let counters: Vec<Counter> = origin.networks().iter().map(of_network).collect();
        try_join_all(counters.iter().map(|counter| self.add(counter)))
            .await
            .map(drop)
    }

    /// Counts that the code which was entered is on none.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub(crate) async fn user_code_was_wrong(&self) -> Result<(), OAuthError> {
        match self.counter(Work::WrongUserCode, &Who::Everybody, self.limits().wrong_user_codes) {
            Some(everybody) => self.add(&everybody).await.map(drop),
            None => Ok(()),
        }
    }

    async fn is_used_up(&self, counter: &Counter) -> Result<bool, OAuthError> {
        Ok(!counter.quota.is_unlimited() && self.counted(counter).await? >= counter.quota.count)
    }

    /// Counts with all of these at the same time as something `beside` them, as long as none of them is known to be used up;
    /// otherwise one after the other, for as long as none of them is, and then what is beside them.
    async fn count<T>(
        &self,
        counters: &[Counter],
        beside: impl Future<Output = Result<T, OAuthError>>,
    ) -> Result<T, OAuthError> {
        let keys = counters.iter().map(|counter| &counter.key);
        let Some(_until_counted) = self.0.used_up.at_once(keys, self.now()) else {
            let mut counted = Vec::new();
            for counter in counters {
                counted.push((counter, self.add(counter).await?));
                self.refuse_beyond(&counted).await?;
            }
            return beside.await;
        };
        let sums = try_join_all(counters.iter().map(|counter| self.add(counter)));
        let (sums, beside) = try_join(sums, beside).await?;
        let counted: Vec<_> = counters.iter().zip(sums).collect();
        self.refuse_beyond(&counted).await?;
        Ok(beside)
    }

    /// Refuses what is more than a quota has. What others have made stays, and so does what counts everybody.
    async fn refuse_beyond(&self, counted: &[(&Counter, Option<u64>)]) -> Result<(), OAuthError> {
        for (counter, _) in counted
            .iter()
            .filter(|(counter, sum)| *sum >= Some(counter.quota.count))
        {
            self.0.used_up.note(&counter.key, self.now() + counter.wait);
        }
        let beyond = |(counter, sum): &&(&Counter, Option<u64>)| *sum > Some(counter.quota.count);
        let Some((refusing, _)) = counted.iter().find(beyond) else {
            return Ok(());
        };
        let made = counted
            .iter()
            .filter(|(counter, sum)| *sum == Some(1) && counter.key.kind() == Kind::Counter);
        // What cannot be taken away is gone by itself in a moment.
        let _ = try_join_all(made.map(|(counter, _)| self.store().remove(&counter.key))).await;
        Err(refusing.used_up())
    }

    /// Adds one, and gives the sum; `None` if there is no room for another counter. Nobody is refused for that: what
    /// everybody does is still counted, and to refuse all whose counter is not there would be to do the attacker's work.
    async fn add(&self, counter: &Counter) -> Result<Option<u64>, OAuthError> {
        match self.store().increment(&counter.key, counter.quota.window).await {
            Ok(sum) => Ok(Some(sum)),
            Err(StoreError::Full(Kind::Counter)) => {
                tracing::warn!(work = counter.work.name(), "there is no room for another counter");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The sum so far.
    async fn counted(&self, counter: &Counter) -> Result<u64, OAuthError> {
        let digits = self.store().get(&counter.key).await?;
        let sum = digits.and_then(|digits| std::str::from_utf8(&digits).ok()?.parse().ok());
        Ok(sum.unwrap_or(0))
    }
}
