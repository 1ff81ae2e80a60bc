//! The authorization server: one file an endpoint, typed request in, typed response out, no HTTP.
//!
//! An [`AuthorizationServer`] is what the endpoints share: the issuer, the protected resources, the store, the
//! identity provider, who may sign in, the keys and the clock. It is cheap to clone, and it holds no protocol state
//! of its own.
//!
//! | endpoint | step | round trips to the store |
//! |---|---|---|
//! | [`authorize`] | checks the request, begins a transaction | 2; 3 if a document may have to be fetched |
//! | [`consent`] | the person approves or denies | 2 |
//! | [`callback`] | the person is identified, the grant and its code exist | 2 |
//! | [`token`] | the code or a refresh token becomes tokens | 2 |
//! | [`device`] | a device asks to be let in | 2; likewise |
//! | | a person enters the code that it shows | 2; 3 from a network of IPv6 |
//! | | the person approves or denies, and is identified | 2, and 2 |
//! | | the device polls | 2 |
//! | `client_credentials` | a client gets tokens on its own behalf | 1 |
//! | [`enterprise`] | an enterprise's word for a person becomes a token | 3 |
//! | `client_authentication` | a client with keys proves itself, at any of these | 1 more; 2 for one that the operator has not configured, which is counted |
//! | [`register`] | a client introduces itself | 2, the first of them to count it; 3 for the first of several that are one record |
//! | [`manage`] | a client reads, replaces or deletes its registration | 1, 2 and 2 |
//! | [`revoke`] | a client gives a token back | 2 |
//! | [`introspect`] | a client asks about a token | 2 |
//! | [`metadata`] | what this server offers | none |
//! | [`identity_token`] | a backend is told who calls | none |
//! | [`remembered_consent`] | the person was asked before | 1 or 2 more at `authorize`, where the browser has such a cookie |
//! | [`session`] | a person signs in to their own pages | none; 1 to count it |
//!
//! Whatever leads to tokens also asks whether all that its person or its client had been granted is over; no round trip is
//! added by that. Where a quota is used up, to count something may take two more, so that nobody uses up what is others'. A [policy of one's own](crate::policy::GrantPolicy) costs the callback one round trip more. [`builder`] puts a server
//! together; [`access`] is what a protected resource asks it; [`keys`] has the signing keys that nodes share; [`operator`] is
//! for those who run it.
//!
//! ```
//! # use mcp_oauth_core::{identity::development::DevIdentity, policy::AllowList, resource::Resource};
//! # use mcp_oauth_core::server::{AuthorizationServer, builder::ConfigurationError};
//! # fn example(store: impl mcp_oauth_core::store::Store) -> Result<(), ConfigurationError> {
//! let server = AuthorizationServer::builder("http://127.0.0.1:8080")
//!     .resource(Resource::new("http://127.0.0.1:8080/mcp")?)
//!     .identity(DevIdentity::default())
//!     .allow(AllowList::everybody())
//!     .store(store)
//!     .build()?;
//! assert_eq!(server.metadata().token_endpoint, "http://127.0.0.1:8080/token");
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;

use crate::access::remembered::RememberedTokens;
use crate::audit::{Action, AuditSink, Event};
use crate::client::registration_policy::RegistrationPolicy;
use crate::client::{Client, ClientId};
use crate::clock::{Clock, UnixTime};
use crate::error::{ErrorCode, OAuthError};
use crate::grant::{EndReason, Grant, GrantId};
use crate::issuer::Issuer;
use crate::limits::Limits;
use crate::origin::Origin;
use crate::policy::{AllowList, GrantPolicy};
use crate::randomness::Randomness;
use crate::resource::{Resource, ResourceUri};
use crate::revocation::{self, Ended, Revocations};
use crate::store::{self, Key, Kind, Loaded, Store, StoreError};
use crate::telemetry;
use crate::transaction::{AuthorizationRequest, BrowserSecret, Transaction, TransactionId};

pub mod access;
pub mod authorize;
pub mod builder;
pub mod callback;
mod client_authentication;
mod client_credentials;
pub mod consent;
pub mod device;
#[cfg(feature = "cimd")]
mod documents;
pub mod enterprise;
mod entitlement;
mod hints;
pub mod identity_token;
pub mod introspect;
pub mod keys;
mod known_token;
pub mod manage;
pub mod metadata;
mod not_before;
pub mod operator;
mod own_jwt;
mod providers;
mod quotas;
pub mod register;
pub mod remembered_consent;
mod requested_access;
pub mod revoke;
pub mod session;
pub mod token;
mod token_error;
pub mod vault;

use builder::Lifetimes;
use builder::clients::ConfiguredClients;
pub(crate) use not_before::NotBefore;

/// A client that is in use is given its whole life again when it was given it this long ago, or when half of it is over.
const RENEWAL: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a step begins anew when it finds that somebody else was faster. Each round somebody got ahead, so this
/// bounds how many requests for one grant may meet.
pub(crate) const MAXIMUM_ROUNDS: usize = 100;

struct Inner {
    issuer: Issuer,
    resources: Vec<Resource>,
    default_resource: Option<ResourceUri>,
    store: Arc<dyn Store>,
    identities: providers::Providers,
    vault: Option<vault::Vault>,
    allow: AllowList,
    policy: Option<Arc<dyn GrantPolicy>>,
    keys: keys::Keys,
    clock: Arc<dyn Clock>,
    lifetimes: Lifetimes,
    registration: RegistrationPolicy,
    devices: bool,
    remember_consent: Option<Duration>,
    ended: Revocations,
    remembered: RememberedTokens,
    randomness: Arc<dyn Randomness>,
    limits: Limits,
    used_up: quotas::UsedUp,
    audit_sink: Option<Arc<dyn AuditSink>>,
    clients: ConfiguredClients,
    #[cfg(feature = "cimd")]
    documents: Option<documents::Documents>,
}

/// Why a server cannot answer requests at the moment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// The store.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// The signing keys.
    #[error("the signing keys cannot be used")]
    Keys(#[from] keys::KeyRingError),
}

/// An authorization server. Clones are the same server.
#[derive(Clone)]
pub struct AuthorizationServer(Arc<Inner>);

impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AuthorizationServer")
            .field("issuer", &self.0.issuer)
            .finish_non_exhaustive()
    }
}

impl AuthorizationServer {
    /// The name of this server.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.0.issuer
    }

    /// The protected resources that tokens can be had for.
    #[must_use]
    pub fn resources(&self) -> &[Resource] {
        &self.0.resources
    }

    /// The protected resource that `uri` names, in any spelling that counts as the same.
    #[must_use]
    pub fn resource(&self, uri: &str) -> Option<&Resource> {
        self.0.resources.iter().find(|resource| resource.uri().is(uri))
    }

    /// How long an authorization request may take, which is how long the browser's cookies live.
    #[must_use]
    pub fn transaction_lifetime(&self) -> Duration {
        self.0.lifetimes.transaction
    }

    /// Asks whether requests can be answered: whether the store answers, and the keys to sign with are known. Keys that
    /// are in the store are read again when that was too long ago, and not otherwise.
    ///
    /// # Errors
    ///
    /// When one of the two is not so.
    pub async fn ready(&self) -> Result<(), NotReady> {
        self.0.store.ping().await?;
        Ok(self.prepare_keys().await?)
    }

    /// Whether devices may ask to be let in (RFC 8628).
    #[must_use]
    pub fn lets_devices_in(&self) -> bool {
        self.0.devices
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.0.clock.now()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.0.clock.as_ref()
    }

    pub(crate) fn randomness(&self) -> &dyn Randomness {
        self.0.randomness.as_ref()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Reports what happened just now.
    pub(crate) fn audit(&self, mut event: Event) {
        event.at = self.now();
        event.trace();
        telemetry::event(&event);
        if let Some(sink) = &self.0.audit_sink {
            sink.record(&event);
        }
    }

    /// Reports how a step ended, and hands its result on.
    fn audited<T, E>(&self, event: Event, result: Result<T, E>) -> Result<T, E>
    where
        OAuthError: for<'a> From<&'a E>,
    {
        let error = result.as_ref().err().map(OAuthError::from);
        self.audit(event.ended(error.as_ref()));
        result
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.0.store.as_ref()
    }

    async fn load_client(&self, client_id: &ClientId) -> Result<Option<Loaded<Client>>, StoreError> {
        store::load(self.store(), &client_key(client_id)).await
    }

    /// How long a client is kept that nobody has signed in with yet: anybody can bring one here.
    fn unused_client_lifetime(&self) -> Duration {
        let unused = self.0.lifetimes.unused_client;
        self.0.lifetimes.client.map_or(unused, |lifetime| lifetime.min(unused))
    }

    /// Gives a client that is in use its whole life again, once a day at most. A failure here is nobody's: the next use
    /// tries again.
    async fn renew_client(&self, loaded: Option<&Loaded<Client>>) {
        let lifetime = self.0.lifetimes.client;
        let Some(loaded) = loaded else { return };
        let Some(expires_at) = loaded.record.expires_at else {
            return;
        };
        let remaining = expires_at.since(self.now());
        if lifetime.is_some_and(|lifetime| remaining > lifetime.saturating_sub(RENEWAL.min(lifetime / 2))) {
            return;
        }
        let mut client = loaded.record.clone();
        client.expires_at = lifetime.map(|lifetime| self.now() + lifetime);
        let key = client_key(&client.client_id);
        if let Err(error) = store::replace(self.store(), &key, loaded, &client, lifetime).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a client could not be renewed"
            );
        }
    }

    async fn load_transaction(&self, id: &TransactionId) -> Result<Option<Loaded<Transaction>>, StoreError> {
        store::load(self.store(), &transaction_key(id)).await
    }

    /// For how long a person may have a consent remembered; `None` if not at all.
    #[must_use]
    pub fn remembers_consent(&self) -> Option<Duration> {
        self.0.remember_consent
    }

    fn new_transaction(&self, request: AuthorizationRequest, browser: &BrowserSecret) -> Transaction {
        Transaction::begin(request, browser, self.end_of_step(), self.randomness())
    }

    /// When a person is too late who begins a step of a sign-in now.
    fn end_of_step(&self) -> UnixTime {
        self.now() + self.0.lifetimes.transaction
    }

    async fn insert_transaction(&self, transaction: &Transaction) -> Result<bool, StoreError> {
        let time_to_live = Some(transaction.ends_at.since(self.now()));
        store::insert(
            self.store(),
            &transaction_key(&transaction.id),
            transaction,
            time_to_live,
        )
        .await
    }

    async fn replace_transaction(&self, loaded: &Loaded<Transaction>, next: &Transaction) -> Result<bool, StoreError> {
        let time_to_live = Some(next.ends_at.since(self.now()).max(Duration::from_secs(1)));
        store::replace(self.store(), &transaction_key(&next.id), loaded, next, time_to_live).await
    }

    async fn load_grant(&self, id: &GrantId) -> Result<Option<Loaded<Grant>>, StoreError> {
        store::load(self.store(), &grant_key(id)).await
    }

    async fn replace_grant(&self, loaded: &Loaded<Grant>, next: &Grant) -> Result<bool, StoreError> {
        let time_to_live = self.grant_time_to_live(next);
        store::replace(self.store(), &grant_key(&next.id), loaded, next, Some(time_to_live)).await
    }

    fn grant_time_to_live(&self, grant: &Grant) -> Duration {
        let lifetimes = &self.0.lifetimes;
        grant.time_to_live(
            self.now(),
            lifetimes.access_token + revocation::MARGIN,
            &lifetimes.grant,
        )
    }

    /// Ends a grant: its record, so that nothing new comes of it, and at the same time its access tokens everywhere.
    ///
    /// If one of the two fails, so does this, and the grant is of less use than before: whoever uses its record again
    /// takes the other step again, and what may still come of the record is refused.
    async fn end_grant(&self, grant: Loaded<Grant>, reason: EndReason, origin: &Origin) -> Result<(), OAuthError> {
        let id = grant.record.id.clone();
        let mut event = Event::new(Action::EndGrant(reason), origin)
            .with_client(&grant.record.client_id)
            .with_subject(grant.record.identity.subject())
            .with_grant(&id);
        event.resources.clone_from(&grant.record.resources);
        let mut loaded = Some(grant);
        let mut announced = false;
        for _ in 0..MAXIMUM_ROUNDS {
            let ended = async {
                match &loaded {
                    Some(grant) if !grant.record.has_ended() => self.replace_grant(grant, &grant.record.ended()).await,
                    _ => Ok(true),
                }
            };
            let announcement = async {
                if announced {
                    return Ok(());
                }
                self.announce(Ended::Grant(id.clone())).await
            };
            // Neither is given up because the other one failed.
            let (done, told) = join(ended, announcement).await;
            told?;
            announced = true;
            if done? {
                if reason != EndReason::AlreadyEnded {
                    self.audit(event);
                }
                return Ok(());
            }
            loaded = self.load_grant(&id).await?;
        }
        Err(contended())
    }

    /// Has every process refuse the access tokens of what has ended.
    async fn announce(&self, ended: Ended) -> Result<(), StoreError> {
        let time_to_live = self.0.lifetimes.access_token + revocation::MARGIN;
        self.store().publish_ended(&ended.to_string(), time_to_live).await?;
        self.0.ended.note(ended, self.clock());
        Ok(())
    }
}

fn client_key(id: &ClientId) -> Key {
    let kind = if id.is_url() { Kind::Document } else { Kind::Client };
    Key::new(kind, id.as_str())
}

fn transaction_key(id: &TransactionId) -> Key {
    Key::new(Kind::Transaction, id.as_str())
}

fn grant_key(id: &GrantId) -> Key {
    Key::new(Kind::Grant, id.as_str())
}

/// So many requests for one record met that this one never got its turn.
fn contended() -> OAuthError {
    OAuthError::new(
        ErrorCode::TemporarilyUnavailable,
        "too many requests at the same time, try again in a moment",
    )
}
