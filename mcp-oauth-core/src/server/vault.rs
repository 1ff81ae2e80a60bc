//! The token vault: what identity providers have issued for people, kept for as long as the grant lives.
//!
//! Off unless the operator [turns it on](crate::server::builder::AuthorizationServerBuilder::vault). Then the tokens of a
//! sign-in are kept, sealed (AES-256-GCM), inside of the grant that the sign-in led to, and end with it. They serve two
//! purposes:
//!
//! * At refreshes the provider is asked with them how the person stands
//!   ([`standing_with_tokens`](crate::identity::IdentityProvider::standing_with_tokens)). If it takes them no longer, the
//!   person has taken back what they once allowed, and the grant ends.
//! * A protected resource whose [policy](crate::resource::Resource::hand_on_tokens_of) says so is given the access token,
//!   by [`upstream_token`](AuthorizationServer::upstream_token), so that it can act for the person at the provider. It never
//!   gets the refresh token, and no client gets either.
//!
//! The keys that seal are in the store, sealed with the operator's secret. They are exchanged every 90 days by themselves,
//! and the secret is exchanged as that for the signing keys is ([`KeySealing`]). Whoever has the store alone can read
//! nothing.
//!
//! # Once for all
//!
//! A refresh token may be good once, and using it twice may end it. So whoever exchanges tokens says so in the grant first,
//! by a compare-and-set; other nodes go on with the access token for as long as it is good, which is why it is exchanged a
//! minute before its time is over, and are told to come again after that. One that fails half-way is waited for 30 seconds.
//! Within one process, requests wait for each other.
//!
//! ```
//! use mcp_oauth_core::grant::GrantId;
//! use mcp_oauth_core::resource::ResourceUri;
//! use mcp_oauth_core::secret::Secret;
//! use mcp_oauth_core::server::AuthorizationServer;
//! use mcp_oauth_core::server::vault::VaultError;
//!
//! /// Whom the caller of a tool is at the provider.
//! async fn token(auth: &AuthorizationServer, grant: &GrantId, mcp: &ResourceUri) -> Result<Secret, VaultError> {
//!     Ok(auth.upstream_token(grant, mcp).await?.access_token)
//! }
//! ```

use std::fmt;
use std::time::Duration;

use futures_util::lock::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::builder::Lifetimes;
use super::{AuthorizationServer, MAXIMUM_ROUNDS};
use crate::clock::UnixTime;
use crate::error::OAuthError;
use crate::grant::upstream::SealedTokens;
use crate::grant::{EndReason, Grant, GrantId};
use crate::identity::tokens::{TokensRefreshed, UpstreamTokens};
use crate::identity::{Identity, IdentityError};
use crate::issuer::Issuer;
use crate::origin::Origin;
use crate::randomness::random_id;
use crate::resource::{Resource, ResourceUri};
use crate::secret::{Secret, SecretDigest};
use crate::store::{Loaded, StoreError};
use crate::telemetry::upstream_call;
use crate::token::keys::KeySealing;

mod keys;

use keys::VaultKeys;

/// How long before its time is over an access token is exchanged, unless half of its life is less.
const EARLY: Duration = Duration::from_secs(60);

/// How long one node may take to exchange tokens. Longer than any provider is waited for.
const LEASE: Duration = Duration::from_secs(30);

/// Tokens of more bytes are not kept.
const MAXIMUM_TOKENS: usize = 24 * 1024;

/// How often a store that fails is asked again, when what it has to keep cannot be had a second time.
const MAXIMUM_FAILURES: usize = 3;

/// So many exchanges of one process can take place at the same time.
const TURNS: usize = 64;

/// Why a token of the provider's cannot be handed out, or the vault cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The server has no vault.
    #[error("the server keeps no tokens of identity providers: call .vault(…) when it is built")]
    Off,
    /// The resource is not to be given them.
    #[error("the resource is not given tokens of this identity provider: call .hand_on_tokens_of(…) on it")]
    NotAllowed,
    /// The grant has ended, or there never was one.
    #[error("the grant has ended")]
    Ended,
    /// The grant has none: the provider gave none, or none that are still good and can be exchanged.
    #[error("there is no token of the identity provider that is still good: sign in again")]
    NoTokens,
    /// The provider takes them no longer. The grant has ended.
    #[error("the identity provider no longer takes the person's tokens: sign in again")]
    Revoked,
    /// Somebody exchanges them at this moment, or the provider does not answer.
    #[error("the tokens of the identity provider are being exchanged, or it does not answer: try again in a moment")]
    NotNow {
        /// After how long.
        retry_after: Duration,
    },
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys are sealed with a secret that this process was not given.
    #[error(
        "the keys of the vault are sealed with a secret that this server was not given: give it as one that also opens \
         (KeySealing::also_open_with); if it is lost, remove the record of the kind keys that begins with vault:"
    )]
    UnknownSecret,
    /// What is kept was sealed with a key that is not there any more.
    #[error("the tokens were sealed with a key that is not in the vault: sign in again")]
    UnknownKey,
    /// Something is not as it was written.
    #[error("what is in the vault is damaged")]
    Damaged,
    /// Others kept changing the same record.
    #[error("too many want to change the same at the same time: try again")]
    Contended,
    /// The cryptographic library fails.
    #[error("the cryptographic library could not seal")]
    Cryptography,
}

impl VaultError {
    /// Whether the same may succeed in a moment, and after how long.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotNow { retry_after } => Some(*retry_after),
            Self::Store(_) | Self::Contended => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

/// What is wrong with the vault is never the client's fault.
impl From<VaultError> for OAuthError {
    fn from(error: VaultError) -> Self {
        if let VaultError::Store(error) = error {
            return error.into();
        }
        tracing::error!(error = &error as &dyn std::error::Error, "the vault cannot be used");
        Self::new(
            crate::error::ErrorCode::TemporarilyUnavailable,
            "the server cannot use its token vault, try again in a moment",
        )
    }
}

/// A token of an identity provider's, for a protected resource to use.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HandedOut {
    /// The access token.
    pub access_token: Secret,
    /// Which provider has issued it.
    pub provider: String,
    /// Until when it is good; `None` if the provider set no end to it.
    pub expires_at: Option<UnixTime>,
    /// The scopes that the provider has granted, as it wrote them, if it did.
    pub scope: Option<String>,
}

/// Tokens as they are sealed.
#[derive(Serialize, Deserialize)]
struct Plain {
    access_token: String,
    expires_at: Option<UnixTime>,
    /// From when on it is to be exchanged.
    exchange_from: Option<UnixTime>,
    refresh_token: Option<String>,
    scope: Option<String>,
}

/// What seals and opens, and who waits for whom.
pub(super) struct Vault {
    keys: VaultKeys,
    issuer: Issuer,
    /// By the grant.
    turns: [Mutex<()>; TURNS],
}

impl fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Vault")
    }
}

impl Vault {
    pub(super) fn new(sealing: KeySealing, issuer: Issuer, lifetimes: &Lifetimes) -> Self {
        let unused_grant = lifetimes.grant.refresh_token.max(lifetimes.access_token);
        Self {
            keys: VaultKeys::new(sealing, issuer.clone(), unused_grant),
            issuer,
            turns: std::array::from_fn(|_| Mutex::default()),
        }
    }

    async fn turn(&self, grant: &GrantId) -> MutexGuard<'_, ()> {
        let digest = SecretDigest::of(grant.as_str()).written();
        let number = digest
            .bytes()
            .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.turns[number % TURNS].lock().await
    }

    fn context<'a>(&'a self, subject: &'a str) -> [&'a str; 3] {
        ["upstream tokens", self.issuer.as_str(), subject]
    }
}

/// Tokens as they were sealed.
struct Opened {
    tokens: UpstreamTokens,
    exchange_from: Option<UnixTime>,
}

/// Tokens that are good.
pub(super) struct Fresh {
    pub(super) tokens: UpstreamTokens,
    /// Whether the grant has been changed since it was handed in.
    pub(super) exchanged: bool,
}

impl AuthorizationServer {
    /// Makes sure that the vault can seal, if there is one: at the start of a process, so that a wrong secret does not show
    /// at the first sign-in.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub async fn prepare_vault(&self) -> Result<(), VaultError> {
        let Some(vault) = &self.0.vault else { return Ok(()) };
        vault.keys.get_ready(self.store(), self.now()).await
    }

    /// The access token with which `resource` may act at the identity provider for the person of this grant. Exchanged first
    /// if its time is nearly over.
    ///
    /// Whoever asks has verified an access token of this server for that resource: `grant` is the one that it was issued
    /// under.
    ///
    /// # Errors
    ///
    /// See [`VaultError`]; [`VaultError::retry_after`] tells whether it may succeed in a moment.
    pub async fn upstream_token(&self, grant: &GrantId, resource: &ResourceUri) -> Result<HandedOut, VaultError> {
        if self.0.vault.is_none() {
            return Err(VaultError::Off);
        }
        let policy = self.resource(resource.as_str()).map(Resource::tokens_handed_on);
        let policy = policy
            .filter(|providers| !providers.is_empty())
            .ok_or(VaultError::NotAllowed)?;
        let loaded = self.load_grant(grant).await?.ok_or(VaultError::Ended)?;
        let provider = &loaded.record.identity.provider;
        if !policy.contains(provider) || !loaded.record.resources.contains(resource) {
            return Err(VaultError::NotAllowed);
        }
        let provider = provider.clone();
        let Fresh { tokens, .. } = self.fresh_tokens(loaded, &Origin::unknown()).await?;
        Ok(HandedOut {
            access_token: tokens.access_token,
            provider,
            expires_at: tokens.expires_at,
            scope: tokens.scope,
        })
    }

    /// Seals the tokens of somebody who has just signed in; nothing where there is no vault, and none that are too long.
    pub(super) async fn keep_tokens(
        &self,
        identity: &Identity,
        tokens: Option<UpstreamTokens>,
    ) -> Result<Option<SealedTokens>, VaultError> {
        match (&self.0.vault, tokens) {
            (Some(vault), Some(tokens)) => self.seal(vault, identity, &tokens).await,
            _ => Ok(None),
        }
    }

    async fn seal(
        &self,
        vault: &Vault,
        identity: &Identity,
        tokens: &UpstreamTokens,
    ) -> Result<Option<SealedTokens>, VaultError> {
        let now = self.now();
        let plain = Plain {
            access_token: tokens.access_token.expose().to_owned(),
            expires_at: tokens.expires_at,
            exchange_from: tokens.expires_at.map(|at| at - EARLY.min(at.since(now) / 2)),
            refresh_token: tokens.refresh_token.as_ref().map(|token| token.expose().to_owned()),
            scope: tokens.scope.clone(),
        };
        let plain = Zeroizing::new(serde_json::to_vec(&plain).map_err(|_| VaultError::Damaged)?);
        if plain.len() > MAXIMUM_TOKENS {
            tracing::warn!(
                provider = identity.provider,
                bytes = plain.len(),
                "the tokens of an identity provider are too long to be kept"
            );
            return Ok(None);
        }
        let subject = identity.subject();
        let (key, sealed) = vault
            .keys
            .seal(self.store(), now, &vault.context(&subject), &plain)
            .await?;
        Ok(Some(SealedTokens::new(key, sealed)))
    }

    async fn open(&self, vault: &Vault, identity: &Identity, sealed: &SealedTokens) -> Result<Opened, VaultError> {
        let subject = identity.subject();
        let context = vault.context(&subject);
        let opened = vault
            .keys
            .open(self.store(), self.now(), &sealed.key, &context, &sealed.sealed);
        let plain: Plain = serde_json::from_slice(&opened.await?).map_err(|_| VaultError::Damaged)?;
        let mut tokens = UpstreamTokens::new(plain.access_token);
        tokens.expires_at = plain.expires_at;
        tokens.refresh_token = plain.refresh_token.map(Secret::from);
        tokens.scope = plain.scope;
        Ok(Opened {
            tokens,
            exchange_from: plain.exchange_from,
        })
    }

    /// Has the tokens of a grant that is about to be stored sealed with the newest key. What cannot be opened stays.
    pub(super) async fn reseal(&self, grant: &mut Grant) -> Result<(), VaultError> {
        let (Some(vault), Some(sealed)) = (&self.0.vault, &grant.upstream) else {
            return Ok(());
        };
        if vault.keys.is_newest(&sealed.key) || sealed.is_leased(self.now()) {
            return Ok(());
        }
        match self.open(vault, &grant.identity, sealed).await {
            Ok(opened) => grant.upstream = self.seal(vault, &grant.identity, &opened.tokens).await?,
            Err(VaultError::UnknownKey | VaultError::Damaged) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The tokens of a grant, exchanged if their time is nearly over.
    pub(super) async fn fresh_tokens(&self, grant: Loaded<Grant>, origin: &Origin) -> Result<Fresh, VaultError> {
        let vault = self.0.vault.as_ref().ok_or(VaultError::Off)?;
        if let Some(fresh) = self.good_tokens(vault, &grant).await? {
            let (Good::Fresh(tokens) | Good::Leased(tokens)) = fresh;
            return Ok(Fresh {
                tokens,
                exchanged: false,
            });
        }
        let _turn = vault.turn(&grant.record.id).await;
        let mut loaded = self.load_grant(&grant.record.id).await?;
        for _ in 0..MAXIMUM_ROUNDS {
            let grant = loaded.ok_or(VaultError::Ended)?;
            let tokens = match self.good_tokens(vault, &grant).await? {
                // Somebody else of this process had the turn before.
                Some(Good::Fresh(tokens) | Good::Leased(tokens)) => {
                    return Ok(Fresh {
                        tokens,
                        exchanged: true,
                    });
                }
                None => self.tokens_of(vault, &grant.record).await?.tokens,
            };
            // What the provider gives cannot be had twice, so it has to be certain that it can be kept.
            vault.keys.get_ready(self.store(), self.now()).await?;
            let lease = random_id(self.randomness());
            if self
                .replace_grant(&grant, &grant.record.with_lease(&lease, self.now(), LEASE))
                .await?
            {
                return self.exchange(vault, &grant.record, &tokens, &lease, origin).await;
            }
            loaded = self.load_grant(&grant.record.id).await?;
        }
        Err(VaultError::Contended)
    }

    async fn tokens_of(&self, vault: &Vault, grant: &Grant) -> Result<Opened, VaultError> {
        if grant.has_ended() {
            return Err(VaultError::Ended);
        }
        let sealed = grant.upstream.as_ref().ok_or(VaultError::NoTokens)?;
        self.open(vault, &grant.identity, sealed).await
    }

    /// The tokens, if they need not be exchanged, or somebody does it already and they are good for that long.
    async fn good_tokens(&self, vault: &Vault, grant: &Loaded<Grant>) -> Result<Option<Good>, VaultError> {
        let Opened { tokens, exchange_from } = self.tokens_of(vault, &grant.record).await?;
        let now = self.now();
        if exchange_from.is_none_or(|from| now < from) {
            return Ok(Some(Good::Fresh(tokens)));
        }
        let still_good = tokens.expires_at.is_none_or(|at| now < at);
        if tokens.refresh_token.is_none() {
            return if still_good {
                Ok(Some(Good::Fresh(tokens)))
            } else {
                Err(VaultError::NoTokens)
            };
        }
        let is_leased = grant
            .record
            .upstream
            .as_ref()
            .is_some_and(|sealed| sealed.is_leased(now));
        match (is_leased, still_good) {
            (false, _) => Ok(None),
            (true, true) => Ok(Some(Good::Leased(tokens))),
            (true, false) => Err(VaultError::NotNow {
                retry_after: Duration::from_secs(1),
            }),
        }
    }

    /// Has the lease, and so is the only one to ask the provider.
    async fn exchange(
        &self,
        vault: &Vault,
        grant: &Grant,
        tokens: &UpstreamTokens,
        lease: &str,
        origin: &Origin,
    ) -> Result<Fresh, VaultError> {
        let provider = self
            .identity_provider(&grant.identity.provider)
            .ok_or(VaultError::NoTokens)?;
        let (new, identity) = match upstream_call(
            &grant.identity.provider,
            "refresh",
            provider.refresh_tokens(tokens),
            IdentityError::name,
        )
        .await
        {
            Ok(TokensRefreshed::Tokens(new, identity)) => (*new, identity),
            Ok(TokensRefreshed::Refused) => {
                if let Some(loaded) = self.load_grant(&grant.id).await? {
                    let ended = self.end_grant(loaded, EndReason::UpstreamRevoked, origin).await;
                    ended.map_err(|_| VaultError::NotNow {
                        retry_after: Duration::from_secs(1),
                    })?;
                }
                return Err(VaultError::Revoked);
            }
            Ok(TokensRefreshed::Impossible) => {
                self.settle(grant, lease, None, None).await?;
                return Err(VaultError::NoTokens);
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    provider = provider.id(),
                    "the tokens of an identity provider could not be exchanged"
                );
                // Best effort: the lease ends by itself.
                let _ = self.settle(grant, lease, None, None).await;
                let retry_after = match error {
                    IdentityError::Unavailable { retry_after, .. } => retry_after,
                    _ => None,
                };
                return Err(VaultError::NotNow {
                    retry_after: retry_after.unwrap_or(Duration::from_secs(5)),
                });
            }
        };
        let identity = identity.filter(|identity| identity.subject() == grant.identity.subject());
        let sealed = self.seal(vault, &grant.identity, &new).await?;
        self.settle(grant, lease, sealed, identity).await?;
        Ok(Fresh {
            tokens: new,
            exchanged: true,
        })
    }

    /// Writes what came of an exchange, and gives the lease back. Whatever else happened to the grant meanwhile stays. The
    /// old tokens may be good for nothing by now, so a store that fails for a moment is asked again.
    async fn settle(
        &self,
        grant: &Grant,
        lease: &str,
        sealed: Option<SealedTokens>,
        identity: Option<Identity>,
    ) -> Result<(), VaultError> {
        let mut failures = 0;
        for _ in 0..MAXIMUM_ROUNDS {
            match self
                .settle_once(&grant.id, lease, sealed.as_ref(), identity.as_ref())
                .await
            {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(VaultError::Store(_)) if failures < MAXIMUM_FAILURES => failures += 1,
                Err(error) => return Err(error),
            }
        }
        Err(VaultError::Contended)
    }

    /// `false` if somebody else was faster.
    async fn settle_once(
        &self,
        grant: &GrantId,
        lease: &str,
        sealed: Option<&SealedTokens>,
        identity: Option<&Identity>,
    ) -> Result<bool, VaultError> {
        let loaded = self.load_grant(grant).await?.ok_or(VaultError::Ended)?;
        if loaded.record.has_ended() {
            return Err(VaultError::Ended);
        }
        if !loaded.record.has_lease(lease) {
            return Ok(true);
        }
        let mut next = loaded.record.with_tokens(sealed.cloned());
        if let Some(identity) = identity {
            next.meet_again(identity.clone(), self.now());
        }
        Ok(self.replace_grant(&loaded, &next).await?)
    }
}

/// Tokens that need not be exchanged by whoever asked.
enum Good {
    Fresh(UpstreamTokens),
    /// Somebody exchanges them already.
    Leased(UpstreamTokens),
}
