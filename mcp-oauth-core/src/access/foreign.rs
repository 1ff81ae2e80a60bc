//! Access tokens that somebody else's authorization server has issued (RFC 9068 §4, RFC 7662).
//!
//! [`ForeignTokens`] is what a protected resource asks that has no authorization server of its own. It trusts the
//! authorization servers that it was told of, [`TrustedIssuer`]s, and nobody else:
//!
//! * A signed token is verified with the keys of the issuer that it names. Where they are is what the issuer's metadata
//!   says (RFC 8414, OpenID Connect Discovery), and that counts only if it names the issuer to the letter. The name in the
//!   token picks one of the trusted issuers; no address is ever taken from a token, and keys of one issuer verify nothing of
//!   another's.
//! * Tokens of an issuer that was given credentials for [introspection](TrustedIssuer::introspect) are asked about, and so
//!   are tokens that nobody else could read.
//!
//! # What is fetched, and when
//!
//! Nothing before the first token comes. Metadata and keys are kept ([`jwt::remote`](crate::jwt::remote) says for how long)
//! and fetched again when they are old or when a token names a key that is not among them, by one request at a time and once
//! in ten seconds at most. A token of which nobody can say whether it is good is neither good nor bad: that is
//! [`ForeignError`] with a cause of its own, `503` over HTTP, and the client keeps its token.
//!
//! # What is remembered
//!
//! A signed token until it expires or until its issuer's set of keys changes, the answer to a question until the token
//! expires and [`TrustedIssuer::remember_answers_for`] at most. So a token that was revoked at somebody else's server goes on
//! being good here that long, and a signed one until it expires: ask for short lives there.
//!
//! ```
//! use std::sync::Arc;
//!
//! use mcp_oauth_core::access::foreign::{ForeignTokens, TrustedIssuer, Verified};
//! use mcp_oauth_core::clock::SystemClock;
//! use mcp_oauth_core::fetch::Fetcher;
//!
//! # async fn example(token: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let issuers = vec![TrustedIssuer::new("https://login.example.com")];
//! let tokens = ForeignTokens::new("https://mcp.example.com/mcp".parse()?, issuers, Fetcher::default(), Arc::new(SystemClock))?;
//! let token = match tokens.verify(token)? {
//!     Verified::Good(token) => token,
//!     Verified::Unsettled(token) => tokens.settle(token).await?,
//! };
//! println!("{} by way of {}", token.subject, token.client_id.as_str());
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::Arc;

use super::remembered::RememberedTokens;
use super::{AccessToken, Proof};
use crate::clock::{Clock, UnixTime};
use crate::fetch::{FetchError, Fetcher};
use crate::jwt::SignatureAlgorithm;
use crate::jwt::keys::{JwkSet, MAXIMUM_SIZE};
use crate::jwt::remote::{RemoteKeys, RemoteKeysError};
use crate::jwt::verify::UnverifiedJwt;
use crate::resource::ResourceUri;
use crate::secret::Secret;
use crate::token::verify::TokenRefused;

mod claims;
mod discovery;
mod introspection;
mod issuer;

pub use discovery::DiscoveryError;
pub use issuer::{InvalidTrustedIssuer, TrustedIssuer};

use claims::IssuerClaim;
use discovery::Discovery;
use issuer::Rules;

/// Verifies the access tokens of other people's authorization servers, for one protected resource. Clones share what they
/// know.
#[derive(Clone)]
pub struct ForeignTokens(Arc<Inner>);

struct Inner {
    resource: ResourceUri,
    sources: Vec<Source>,
    keys: RemoteKeys,
    fetcher: Fetcher,
    remembered: RememberedTokens,
    clock: Arc<dyn Clock>,
}

/// One of the issuers, and what is known of it.
struct Source {
    rules: Rules,
    discovery: Discovery,
}

/// What can be said of a token at once.
#[derive(Clone, Debug)]
#[allow(
    clippy::exhaustive_enums,
    reason = "whoever asks has to do something about each of the two"
)]
pub enum Verified {
    /// It is good.
    Good(Arc<AccessToken>),
    /// Its issuer has to be asked first, for keys or for its word: [`ForeignTokens::settle`] does that.
    Unsettled(UnsettledToken),
}

/// A token of which only its issuer can say whether it is good.
#[derive(Clone, Debug)]
pub struct UnsettledToken {
    token: Secret,
    source: usize,
}

/// Why a token was not found good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignError {
    /// It is not: `401` over HTTP.
    #[error(transparent)]
    Refused(#[from] TokenRefused),
    /// Nobody can say, because the issuer's metadata is not to be had: `503` over HTTP, like everything below.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// Nobody can say, because the issuer's keys are not to be had.
    #[error(transparent)]
    Keys(#[from] RemoteKeysError),
    /// Nobody can say, because the issuer does not answer.
    #[error("the issuer does not say whether a token is good: {0}")]
    Introspection(#[source] FetchError),
    /// Nobody can say, because the issuer has no place to ask.
    #[error("the metadata of the issuer {issuer} names no {member}: name it in the configuration")]
    Missing {
        /// The issuer.
        issuer: String,
        /// What its metadata lacks.
        member: &'static str,
    },
}

impl ForeignTokens {
    /// Trusts these issuers with tokens for `resource`. What they publish comes by `fetcher`, which is given room for a set
    /// of keys.
    ///
    /// # Errors
    ///
    /// When an issuer cannot be like that, or when there is none.
    pub fn new(
        resource: ResourceUri,
        issuers: Vec<TrustedIssuer>,
        fetcher: Fetcher,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidTrustedIssuer> {
        let fetcher = fetcher.maximum_body(MAXIMUM_SIZE);
        let mut sources: Vec<Source> = Vec::with_capacity(issuers.len());
        for issuer in issuers {
            let rules = issuer.check(&fetcher)?;
            if sources.iter().any(|known| known.rules.name == rules.name) {
                return Err(InvalidTrustedIssuer::Twice(rules.name.to_string()));
            }
            let discovery = Discovery::of(&rules);
            sources.push(Source { rules, discovery });
        }
        let asked = sources.iter().filter(|source| source.rules.introspection.is_some());
        match (sources.is_empty(), asked.count()) {
            (true, _) => return Err(InvalidTrustedIssuer::None),
            (false, 0 | 1) => {}
            (false, _) => return Err(InvalidTrustedIssuer::SeveralToAsk),
        }
        Ok(Self(Arc::new(Inner {
            resource,
            sources,
            keys: RemoteKeys::new(fetcher.clone()),
            fetcher,
            remembered: RememberedTokens::default(),
            clock,
        })))
    }

    /// The protected resource that tokens have to be for.
    #[must_use]
    pub fn resource(&self) -> &ResourceUri {
        &self.0.resource
    }

    /// The issuers, as they were configured.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.0.sources.iter().map(|source| &*source.rules.name)
    }

    /// The signed token that a caller presents, if it was found good before and still is. Whether what is presented could be a
    /// token at all need not be known: whatever an issuer's keys have signed is one.
    ///
    /// `None` says nothing about the token: [`verify`](Self::verify) does.
    #[must_use]
    pub fn recall(&self, presented: &[u8]) -> Option<Arc<AccessToken>> {
        let (inner, now) = (&*self.0, self.0.clock.now());
        let fingerprint = inner.remembered.fingerprint(presented, &inner.resource);
        inner
            .remembered
            .get(&fingerprint, &inner.resource)
            .filter(|remembered| matches!(remembered.proof, Proof::Keys(_)))
            .filter(|remembered| now < remembered.expires_at && inner.still_holds(remembered, now))
    }

    /// Verifies a token with what is known already.
    ///
    /// # Errors
    ///
    /// Why the token is refused.
    pub fn verify(&self, token: &str) -> Result<Verified, TokenRefused> {
        let inner = &*self.0;
        let now = inner.clock.now();
        let fingerprint = inner.remembered.fingerprint(token.as_bytes(), &inner.resource);
        if let Some(remembered) = inner.remembered.get(&fingerprint, &inner.resource) {
            if now >= remembered.expires_at {
                inner.remembered.forget(&fingerprint);
                return Err(TokenRefused::Time);
            }
            if inner.still_holds(&remembered, now) {
                return Ok(Verified::Good(remembered));
            }
            inner.remembered.forget(&fingerprint);
        }
        let unsettled = |source| {
            let token = Secret::from(token);
            Ok(Verified::Unsettled(UnsettledToken { token, source }))
        };
        let jwt = match UnverifiedJwt::parse(token) {
            Ok(jwt) => jwt,
            // Whatever it is, whoever has issued it can say.
            Err(refused) => return inner.asked().map_or(Err(refused.into()), unsettled),
        };
        let claimed: IssuerClaim = jwt.claimed()?;
        let source = inner
            .sources
            .iter()
            .position(|source| *source.rules.name == *claimed.iss)
            .ok_or(TokenRefused::Issuer)?;
        match inner.known_keys(&inner.sources[source], jwt.kid(), now) {
            Some(keys) => {
                let verified = inner.verify_with(&inner.sources[source], &jwt, keys, now)?;
                inner.remembered.remember(fingerprint, &verified);
                Ok(Verified::Good(verified))
            }
            None => unsettled(source),
        }
    }

    /// Asks the issuer for what was not known.
    ///
    /// # Errors
    ///
    /// When the token is refused by what the issuer says, or when the issuer says nothing that helps.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no keys that others wait for.
    pub async fn settle(
        &self,
        UnsettledToken { token, source }: UnsettledToken,
    ) -> Result<Arc<AccessToken>, ForeignError> {
        let inner = &*self.0;
        let source = &inner.sources[source];
        let fingerprint = inner.remembered.fingerprint(token.expose().as_bytes(), &inner.resource);
        let verified = if let Some(introspection) = &source.rules.introspection {
            let endpoint = if let Some(endpoint) = &introspection.endpoint {
                endpoint.clone()
            } else {
                let metadata = source.discovery.get(&inner.fetcher, inner.clock.now()).await?;
                let endpoint = metadata.introspection_endpoint.clone();
                endpoint.ok_or_else(|| source.missing("introspection_endpoint"))?
            };
            let answer = introspection::ask(&inner.fetcher, &endpoint, introspection, &token).await?;
            let now = inner.clock.now();
            let until = now + introspection.remember_for;
            Arc::new(claims::access_token(
                &answer,
                &source.rules,
                &inner.resource,
                now,
                Proof::Word(until),
            )?)
        } else {
            let jwt = UnverifiedJwt::parse(token.expose()).map_err(TokenRefused::from)?;
            let uri = if let Some(uri) = &source.rules.jwks_uri {
                uri.clone()
            } else {
                let metadata = source.discovery.get(&inner.fetcher, inner.clock.now()).await?;
                metadata.jwks_uri.clone().ok_or_else(|| source.missing("jwks_uri"))?
            };
            let keys = inner.keys.get(&uri, jwt.kid(), inner.clock.now()).await?;
            inner.verify_with(source, &jwt, keys, inner.clock.now())?
        };
        // What is over already has been good for this one request.
        if inner.clock.now() < verified.expires_at {
            inner.remembered.remember(fingerprint, &verified);
        }
        Ok(verified)
    }
}

impl Inner {
    /// The issuer that is asked about what nobody can read.
    fn asked(&self) -> Option<usize> {
        self.sources
            .iter()
            .position(|source| source.rules.introspection.is_some())
    }

    /// Whether a token is still good that was good before and has not expired.
    fn still_holds(&self, remembered: &AccessToken, now: UnixTime) -> bool {
        match &remembered.proof {
            Proof::Word(until) => now < *until,
            Proof::Keys(keys) => self
                .sources
                .iter()
                .find(|source| *source.rules.name == *remembered.issuer)
                .and_then(|source| self.known_keys(source, None, now))
                .is_some_and(|known| Arc::ptr_eq(&known, keys)),
            Proof::OwnKey(_) => false,
        }
    }

    /// The keys to verify with, if they need not be fetched; none where the issuer is asked instead.
    fn known_keys(&self, source: &Source, kid: Option<&str>, now: UnixTime) -> Option<Arc<JwkSet>> {
        if source.rules.introspection.is_some() {
            return None;
        }
        if let Some(uri) = &source.rules.jwks_uri {
            return self.keys.known(uri, kid, now);
        }
        let metadata = source.discovery.known(now)?;
        self.keys.known(metadata.jwks_uri.as_ref()?, kid, now)
    }

    fn verify_with(
        &self,
        source: &Source,
        jwt: &UnverifiedJwt,
        keys: Arc<JwkSet>,
        now: UnixTime,
    ) -> Result<Arc<AccessToken>, TokenRefused> {
        let claims = jwt.verify(&keys, &SignatureAlgorithm::SUPPORTED, source.rules.expected_type())?;
        let proof = Proof::Keys(keys);
        claims::of_jwt(&claims, &source.rules, &self.resource, now, proof).map(Arc::new)
    }
}

impl Source {
    fn missing(&self, member: &'static str) -> ForeignError {
        ForeignError::Missing {
            issuer: self.rules.name.to_string(),
            member,
        }
    }
}

impl fmt::Debug for ForeignTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ForeignTokens")
            .field("resource", &self.0.resource.as_str())
            .field("issuers", &self.issuers().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
