//! The authorization server: one file an endpoint, typed request in, typed response out, no HTTP.
//!
//! An [`AuthorizationServer`] is what the endpoints share: the issuer, the protected resources, the store, the
//! identity provider, who may sign in, the keys and the clock. It is cheap to clone, and it holds no protocol state
//! of its own.
//!
//! | endpoint | step | round trips to the store |
//! |---|---|---|
//! | [`authorize`] | checks the request, begins a transaction | 2 |
//! | [`consent`] | the person approves or denies | 2 |
//! | [`callback`] | the person is identified, the grant and its code exist | 2 |
//! | [`token`] | the code or a refresh token becomes tokens | 2 |
//! | [`register`] | a client introduces itself | 1 |
//! | [`metadata`] | what this server offers | none |
//!
//! ```
//! # use mcp_oauth_core::{identity::development::DevIdentity, policy::AllowList, resource::Resource};
//! # use mcp_oauth_core::server::{AuthorizationServer, ConfigurationError};
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

use url::Url;

use crate::client::{Client, ClientId};
use crate::clock::{Clock, SystemClock, UnixTime};
use crate::error::{ErrorCode, OAuthError};
use crate::grant::{Grant, GrantId, GrantLifetimes};
use crate::identity::IdentityProvider;
use crate::issuer::{InvalidIssuer, Issuer};
use crate::policy::AllowList;
use crate::resource::{InvalidResource, Resource, ResourceUri};
use crate::revocation::EndedGrants;
use crate::store::{self, Key, Kind, Loaded, Store, StoreError};
use crate::token::claims::AccessTokenClaims;
use crate::token::keys::{Algorithm, KeyError, KeySet};
use crate::token::verify::{TokenRefused, TokenVerifier};
use crate::transaction::{Transaction, TransactionId};

pub mod authorize;
pub mod callback;
pub mod consent;
pub mod metadata;
pub mod register;
pub mod token;

/// How often a step begins anew when it finds that somebody else was faster. Each round somebody got ahead, so this
/// bounds how many requests for one grant may meet.
pub(crate) const MAXIMUM_ROUNDS: usize = 100;

/// How long things live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lifetimes {
    /// An access token (1 hour). Clients count on it being good that long.
    pub access_token: Duration,
    /// An authorization request, from the first page to the code (10 minutes).
    pub transaction: Duration,
    /// A registered client (90 days); `None` means for ever.
    pub client: Option<Duration>,
    /// The parts of a grant.
    pub grant: GrantLifetimes,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            access_token: Duration::from_secs(60 * 60),
            transaction: Duration::from_secs(10 * 60),
            client: Some(Duration::from_secs(90 * 24 * 60 * 60)),
            grant: GrantLifetimes::default(),
        }
    }
}

/// Why a server cannot be built. Each says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// The issuer is none.
    #[error(transparent)]
    Issuer(#[from] InvalidIssuer),
    /// A resource is none.
    #[error(transparent)]
    Resource(#[from] InvalidResource),
    /// Something is missing that has no safe default.
    #[error("the authorization server needs {0}")]
    Missing(&'static str),
    /// The same resource twice.
    #[error("the resource {0} is configured twice")]
    DuplicateResource(ResourceUri),
    /// The default resource is not one of the resources.
    #[error("the default resource {0} is not among the resources")]
    UnknownDefault(String),
    /// The identity provider cannot be used here.
    #[error("{0}")]
    Identity(String),
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

struct Inner {
    issuer: Issuer,
    callback: Url,
    resources: Vec<Resource>,
    default_resource: Option<ResourceUri>,
    store: Arc<dyn Store>,
    identity: Arc<dyn IdentityProvider>,
    allow: AllowList,
    keys: KeySet,
    verifier: TokenVerifier,
    clock: Arc<dyn Clock>,
    lifetimes: Lifetimes,
    allowed_redirect_uris: Vec<String>,
    ended: EndedGrants,
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
    allow: Option<AllowList>,
    algorithm: Algorithm,
    keys: Option<KeySet>,
    clock: Arc<dyn Clock>,
    lifetimes: Lifetimes,
    allowed_redirect_uris: Vec<String>,
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

    /// Who may sign in.
    pub fn allow(mut self, allow: AllowList) -> Self {
        self.allow = Some(allow);
        self
    }

    /// How access tokens are signed: [`Algorithm::Es256`] unless said otherwise. Not used with [`keys`](Self::keys).
    pub fn signing_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The keys that sign access tokens; otherwise a key is made now, and tokens do not outlive the process.
    pub fn keys(mut self, keys: KeySet) -> Self {
        self.keys = Some(keys);
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

    /// Lets clients register this very redirect URI although its scheme is not allowed otherwise, such as
    /// `cursor://anysphere.cursor-mcp/oauth/callback`.
    pub fn allow_redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.allowed_redirect_uris.push(uri.into());
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
        if self.resources.is_empty() {
            return Err(ConfigurationError::Missing("a protected resource: call .resource(…)"));
        }
        for (position, resource) in self.resources.iter().enumerate() {
            if self.resources[..position]
                .iter()
                .any(|other| other.uri().is(resource.uri().as_str()))
            {
                return Err(ConfigurationError::DuplicateResource(resource.uri().clone()));
            }
        }
        identity.check(&issuer).map_err(ConfigurationError::Identity)?;
        let default_resource = match (self.default_resource, self.resources.as_slice()) {
            (Some(asked), resources) => {
                let known = resources.iter().find(|resource| resource.uri().is(&asked));
                Some(known.ok_or(ConfigurationError::UnknownDefault(asked))?.uri().clone())
            }
            (None, [only]) => Some(only.uri().clone()),
            (None, _) => None,
        };
        if allow.is_empty() {
            tracing::warn!("the allow-list is empty, so nobody may sign in");
        }
        let keys = self.keys.map_or_else(|| KeySet::generate(self.algorithm), Ok)?;
        Ok(AuthorizationServer(Arc::new(Inner {
            callback: issuer.endpoint("/callback"),
            verifier: TokenVerifier::new(&issuer, &keys.public()),
            issuer,
            resources: self.resources,
            default_resource,
            store,
            identity,
            allow,
            keys,
            clock: self.clock,
            ended: EndedGrants::new(self.lifetimes.access_token),
            lifetimes: self.lifetimes,
            allowed_redirect_uris: self.allowed_redirect_uris,
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
            allow: None,
            algorithm: Algorithm::default(),
            keys: None,
            clock: Arc::new(SystemClock),
            lifetimes: Lifetimes::default(),
            allowed_redirect_uris: Vec::new(),
        }
    }

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

    /// Who tells who people are.
    #[must_use]
    pub fn identity(&self) -> &dyn IdentityProvider {
        self.0.identity.as_ref()
    }

    /// The public keys, for the JWKS endpoint.
    #[must_use]
    pub fn jwks(&self) -> crate::token::keys::PublicKeys {
        self.0.keys.public()
    }

    /// How long an authorization request may take, which is how long the browser's cookies live.
    #[must_use]
    pub fn transaction_lifetime(&self) -> Duration {
        self.0.lifetimes.transaction
    }

    /// Asks whether the store answers.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.0.store.ping().await
    }

    /// Verifies an access token that was presented at `resource`, from memory alone.
    ///
    /// # Errors
    ///
    /// Why the token is refused.
    pub fn verify_access_token(&self, token: &str, resource: &ResourceUri) -> Result<VerifiedToken, TokenRefused> {
        let now = self.now();
        let claims = self.0.verifier.verify(token, resource, now)?;
        match self.0.ended.contains(claims.jti.grant(), now) {
            Some(true) => Err(TokenRefused::Revoked),
            Some(false) => Ok(VerifiedToken::Good(claims)),
            None => Ok(VerifiedToken::Unconfirmed(UnconfirmedToken(Box::new(claims)))),
        }
    }

    /// Reads from the store which grants have ended, and says whether the token's is one of them.
    ///
    /// # Errors
    ///
    /// When it is, or when the store cannot be read.
    pub async fn confirm_access_token(&self, token: UnconfirmedToken) -> Result<AccessTokenClaims, ConfirmError> {
        self.0.ended.refresh(self.store(), self.now()).await?;
        let UnconfirmedToken(claims) = token;
        if self.0.ended.contained_at_last_reading(claims.jti.grant()) {
            return Err(TokenRefused::Revoked.into());
        }
        Ok(*claims)
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.0.clock.now()
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.0.store.as_ref()
    }

    async fn load_client(&self, client_id: &ClientId) -> Result<Option<Client>, StoreError> {
        let key = Key::new(Kind::Client, client_id.as_str());
        Ok(store::load::<Client>(self.store(), &key)
            .await?
            .map(|loaded| loaded.record))
    }

    async fn load_transaction(&self, id: &TransactionId) -> Result<Option<Loaded<Transaction>>, StoreError> {
        store::load(self.store(), &transaction_key(id)).await
    }

    async fn replace_transaction(&self, loaded: &Loaded<Transaction>, next: &Transaction) -> Result<bool, StoreError> {
        let time_to_live = Some(self.0.lifetimes.transaction);
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
        grant.time_to_live(self.now(), lifetimes.access_token, &lifetimes.grant)
    }

    /// Ends a grant. First its access tokens are ended everywhere, then the record goes: if the second step fails,
    /// nothing that is left can be used for long.
    async fn end_grant(&self, grant: &GrantId, reason: &'static str) -> Result<(), StoreError> {
        self.store()
            .publish_ended(grant.as_str(), self.0.lifetimes.access_token)
            .await?;
        self.0.ended.note(grant, self.now());
        self.store().remove(&grant_key(grant)).await?;
        tracing::warn!(%grant, reason, "a grant was ended");
        Ok(())
    }
}

/// What is known of a token from memory alone.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "it is taken apart at once, and boxing it would cost every request"
)]
pub enum VerifiedToken {
    /// It is good.
    Good(AccessTokenClaims),
    /// It is good unless its grant has ended, and what this process knows of ended grants is too old to say:
    /// [`confirm_access_token`](AuthorizationServer::confirm_access_token) asks the store.
    Unconfirmed(UnconfirmedToken),
}

/// A token that is good unless its grant has ended.
#[derive(Clone, Debug)]
pub struct UnconfirmedToken(Box<AccessTokenClaims>);

/// Why a token was not confirmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfirmError {
    /// Its grant has ended.
    #[error(transparent)]
    Refused(#[from] TokenRefused),
    /// Nobody can say.
    #[error(transparent)]
    Store(#[from] StoreError),
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
