//! How a server is put together, and why it may not be.
//!
//! ```
//! use mcp_oauth_core::server::builder::ConfigurationError;
//! use mcp_oauth_core::server::AuthorizationServer;
//!
//! let error = AuthorizationServer::builder("http://auth.example.com").build().unwrap_err();
//! assert!(matches!(error, ConfigurationError::Issuer(_)));
//! assert!(error.to_string().contains("https"));
//! ```

use std::sync::Arc;
use std::time::Duration;

use super::keys::{Keys, State, StoredKeys};
use super::providers::Providers;
use super::vault::Vault;
use super::{AuthorizationServer, Inner};
use crate::access::remembered::RememberedTokens;
use crate::audit::AuditSink;
use crate::client::registration_policy::RegistrationPolicy;
use crate::clock::{Clock, SystemClock};
use crate::identity::IdentityProvider;
use crate::issuer::Issuer;
use crate::limits::Limits;
use crate::policy::{AllowList, GrantPolicy};
use crate::randomness::{Randomness, SystemRandomness};
use crate::resource::Resource;
use crate::revocation::Revocations;
use crate::store::Store;
use crate::token::keys::ring::KeyPlan;
use crate::token::keys::{Algorithm, KeyRotation, KeySealing, KeySet, PublicKeys};

mod checks;
pub(super) mod clients;
mod error;
mod lifetimes;

pub use error::ConfigurationError;
pub use lifetimes::Lifetimes;

use checks::{check_lists, check_policies, check_resources};
use clients::ClientConfiguration;

/// Puts an [`AuthorizationServer`] together.
///
/// Issuer, resources, store, identity provider and allow-list have to be named: none of them has a default that is
/// safe everywhere.
#[must_use]
#[derive(Debug)]
pub struct AuthorizationServerBuilder {
    issuer: String,
    resources: Vec<Resource>,
    default_resource: Option<String>,
    store: Option<Arc<dyn Store>>,
    identity: Option<Arc<dyn IdentityProvider>>,
    other_identities: Vec<Arc<dyn IdentityProvider>>,
    vault: Option<KeySealing>,
    allow: Option<AllowList>,
    policy: Option<Arc<dyn GrantPolicy>>,
    algorithm: Algorithm,
    keys: Option<KeySet>,
    stored_keys: Option<(KeySealing, KeyRotation)>,
    clock: Arc<dyn Clock>,
    lifetimes: Lifetimes,
    registration: RegistrationPolicy,
    allowed_redirect_uris: Vec<String>,
    devices: bool,
    remember_consent: Option<Duration>,
    randomness: Arc<dyn Randomness>,
    limits: Limits,
    audit_sink: Option<Arc<dyn AuditSink>>,
    clients: ClientConfiguration,
    #[cfg(feature = "cimd")]
    fetcher: Option<crate::fetch::Fetcher>,
}

impl AuthorizationServerBuilder {
    /// Adds a protected resource that tokens can be had for.
    pub fn resource(mut self, resource: Resource) -> Self {
        self.resources.push(resource);
        self
    }

    /// The resource that a client gets which names none. A server with one resource has that one as its default;
    /// with several and no default, such a client gets `invalid_target`.
    pub fn default_resource(mut self, uri: impl Into<String>) -> Self {
        self.default_resource = Some(uri.into());
        self
    }

    /// Where records are kept.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Where records are kept, if the store was chosen at run time or is shared.
    pub fn shared_store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Who tells who people are.
    pub fn identity(mut self, provider: impl IdentityProvider) -> Self {
        self.identity = Some(Arc::new(provider));
        self
    }

    /// Who tells who people are, if the provider was chosen at run time or is shared.
    pub fn shared_identity(mut self, provider: Arc<dyn IdentityProvider>) -> Self {
        self.identity = Some(provider);
        self
    }

    /// Adds another provider, of which people then choose one when they sign in; in this order, after the one that
    /// [`identity`](Self::identity) names. Its people are not those of another, whatever they are called: allow-lists have to
    /// say whom they mean ([`AllowList::of_provider`]).
    ///
    /// People come back from it at [`callback_url`](AuthorizationServer::callback_url), `/callback/<name>`, which is what has
    /// to be registered there.
    pub fn also_sign_in_with(self, provider: impl IdentityProvider) -> Self {
        self.also_sign_in_with_shared(Arc::new(provider))
    }

    /// The same for a provider that was chosen at run time or is shared.
    pub fn also_sign_in_with_shared(mut self, provider: Arc<dyn IdentityProvider>) -> Self {
        self.other_identities.push(provider);
        self
    }

    /// Keeps what identity providers issue for people, sealed, for as long as their grants live; see
    /// [`server::vault`](super::vault). Off unless this is called. `sealing` can be the same as for
    /// [`stored_keys`](Self::stored_keys).
    pub fn vault(mut self, sealing: KeySealing) -> Self {
        self.vault = Some(sealing);
        self
    }

    /// Who may sign in. Each resource can have [a list of its own](Resource::allow), which only takes away.
    pub fn allow(mut self, allow: AllowList) -> Self {
        self.allow = Some(allow);
        self
    }

    /// What decides beside the lists: about people whom they let in, at every approval and at every refresh. Without a
    /// policy, the lists decide alone.
    pub fn policy(mut self, policy: impl GrantPolicy) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// How access tokens are signed: [`Algorithm::Es256`] unless said otherwise. Not used with [`keys`](Self::keys);
    /// with [`stored_keys`](Self::stored_keys) it is what the next key is for.
    pub fn signing_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The keys that sign and verify access tokens: imported ones, or those that several servers of one process
    /// share. Without this and without [`stored_keys`](Self::stored_keys) a key is made now, and tokens do not outlive
    /// the process.
    pub fn keys(mut self, keys: KeySet) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Keeps the keys that sign access tokens in the store, sealed, where all nodes share them and exchange them as
    /// `rotation` says; see [`server::keys`](super::keys). Nothing is read now:
    /// [`prepare_keys`](AuthorizationServer::prepare_keys) does that.
    ///
    /// Together with [`keys`](Self::keys), those are only published and verify: so one moves from keys of one's own to
    /// keys in the store.
    pub fn stored_keys(mut self, sealing: KeySealing, rotation: KeyRotation) -> Self {
        self.stored_keys = Some((sealing, rotation));
        self
    }

    /// What tells the time; the operating system unless said otherwise.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How long things live.
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.lifetimes = lifetimes;
        self
    }

    /// What codes, tokens, identifiers and secrets are drawn from; the operating system unless said otherwise. Signing
    /// keys never are.
    pub fn randomness(mut self, randomness: impl Randomness) -> Self {
        self.randomness = Arc::new(randomness);
        self
    }

    /// How much of what costs something is done.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Who keeps what happened, beside the log.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.audit_sink = Some(Arc::new(sink));
        self
    }

    /// Who may register, and what becomes of it.
    pub fn registration(mut self, policy: RegistrationPolicy) -> Self {
        self.registration = policy;
        self
    }

    /// Lets clients register this very redirect URI although its scheme is not allowed otherwise, such as
    /// `cursor://anysphere.cursor-mcp/oauth/callback`. The same as
    /// [`RedirectUriPolicy::allow`](crate::client::redirect_uri_policy::RedirectUriPolicy::allow).
    pub fn allow_redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.allowed_redirect_uris.push(uri.into());
        self
    }

    /// Lets devices in that have no browser: the device authorization grant (RFC 8628).
    ///
    /// Off unless said otherwise. A device shows a code, and whoever enters it and signs in lets the device in; so a
    /// stranger can begin this on a device of their own and talk somebody into entering the code (RFC 8628 §5.4). The
    /// pages warn of that, but only those who need the grant should offer it.
    pub fn device_authorization(mut self) -> Self {
        self.devices = true;
        self
    }

    /// Lets people have a consent remembered, for this long at most, in the browser that they gave it in; see
    /// [`server::remembered_consent`](super::remembered_consent). Off unless this is called: people are asked each time.
    pub fn remember_consent(mut self, at_most: Duration) -> Self {
        self.remember_consent = Some(at_most).filter(|at_most| !at_most.is_zero());
        self
    }

    /// Lets clients in whose identifier is the URL of a document (client ID metadata documents), which is fetched
    /// with `fetcher`. On a loopback issuer the URL may be a loopback one, if the fetcher lets it through.
    #[cfg(feature = "cimd")]
    pub fn client_id_metadata_documents(mut self, fetcher: crate::fetch::Fetcher) -> Self {
        self.fetcher = Some(fetcher);
        self
    }

    /// Builds the server.
    ///
    /// # Errors
    ///
    /// When something is missing or does not fit together; the message says what to change.
    pub fn build(self) -> Result<AuthorizationServer, ConfigurationError> {
        let issuer: Issuer = self.issuer.parse()?;
        let store = self
            .store
            .ok_or(ConfigurationError::Missing("a store: call .store(…)"))?;
        let identity = self
            .identity
            .ok_or(ConfigurationError::Missing("an identity provider: call .identity(…)"))?;
        let allow = self.allow.ok_or(ConfigurationError::Missing(
            "to be told who may sign in: call .allow(AllowList::parse(…)), with \"*\" for everybody",
        ))?;
        check_resources(&self.resources)?;
        if !(1..=600).contains(&self.lifetimes.grant.authorization_code.as_secs()) {
            return Err(ConfigurationError::CodeLifetime);
        }
        if !(60..=3600).contains(&self.lifetimes.device_code.as_secs()) {
            return Err(ConfigurationError::DeviceCodeLifetime);
        }
        let mut registration = self.registration;
        for uri in self.allowed_redirect_uris {
            registration.redirect_uris = registration.redirect_uris.allow(uri);
        }
        registration.redirect_uris.check()?;
        let default_resource = match (self.default_resource, self.resources.as_slice()) {
            (Some(asked), resources) => {
                let known = resources.iter().find(|resource| resource.uri().is(&asked));
                Some(known.ok_or(ConfigurationError::UnknownDefault(asked))?.uri().clone())
            }
            (None, [only]) => Some(only.uri().clone()),
            (None, _) => None,
        };
        #[cfg(feature = "cimd")]
        let hosts = self.clients.hosts.clone();
        let clients = self.clients.check(
            &self.resources,
            std::iter::once(&identity).chain(&self.other_identities),
            #[cfg(feature = "cimd")]
            self.fetcher.as_ref(),
        )?;
        let identities = Providers::new(&issuer, identity, self.other_identities, &clients.enterprises)?;
        check_lists(&identities, &clients, &allow, &self.resources)?;
        check_policies(&identities, &self.resources, self.vault.is_some())?;
        let vault = self
            .vault
            .map(|sealing| Vault::new(sealing, issuer.clone(), &self.lifetimes));
        let keys = match (self.stored_keys, self.keys) {
            (Some((sealing, rotation)), handed_in) => {
                rotation.check()?;
                Keys::Stored(Box::new(StoredKeys {
                    store: Arc::clone(&store),
                    clock: Arc::clone(&self.clock),
                    issuer: issuer.clone(),
                    sealing,
                    plan: KeyPlan {
                        rotation,
                        algorithm: self.algorithm,
                        token_lifetime: self.lifetimes.access_token,
                    },
                    published: handed_in.map_or_else(PublicKeys::default, |keys| keys.public()),
                    state: State::default(),
                }))
            }
            (None, Some(handed_in)) => Keys::given(&issuer, &handed_in)?,
            (None, None) => Keys::given(&issuer, &KeySet::generate(self.algorithm)?)?,
        };
        Ok(AuthorizationServer(Arc::new(Inner {
            #[cfg(feature = "cimd")]
            documents: self.fetcher.map(|fetcher| super::documents::Documents {
                fetcher,
                hosts,
                development: issuer.is_loopback(),
                attempts: super::documents::Attempts::default(),
            }),
            issuer,
            resources: self.resources,
            default_resource,
            store,
            identities,
            vault,
            allow,
            policy: self.policy,
            keys,
            clock: self.clock,
            ended: Revocations::new(self.lifetimes.access_token),
            remembered: RememberedTokens::default(),
            lifetimes: self.lifetimes,
            registration,
            devices: self.devices,
            remember_consent: self.remember_consent,
            randomness: self.randomness,
            limits: self.limits,
            used_up: super::quotas::UsedUp::default(),
            audit_sink: self.audit_sink,
            clients,
        })))
    }
}

impl AuthorizationServer {
    /// Begins to put a server together. `issuer` is what clients see: an https URL without a trailing slash, or
    /// http on a loopback host.
    pub fn builder(issuer: impl Into<String>) -> AuthorizationServerBuilder {
        AuthorizationServerBuilder {
            issuer: issuer.into(),
            resources: Vec::new(),
            default_resource: None,
            store: None,
            identity: None,
            other_identities: Vec::new(),
            vault: None,
            allow: None,
            policy: None,
            algorithm: Algorithm::default(),
            keys: None,
            stored_keys: None,
            clock: Arc::new(SystemClock),
            lifetimes: Lifetimes::default(),
            registration: RegistrationPolicy::default(),
            allowed_redirect_uris: Vec::new(),
            devices: false,
            remember_consent: None,
            randomness: Arc::new(SystemRandomness),
            limits: Limits::default(),
            audit_sink: None,
            clients: ClientConfiguration::default(),
            #[cfg(feature = "cimd")]
            fetcher: None,
        }
    }
}
