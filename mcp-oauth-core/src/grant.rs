//! The grant: everything that one approval by a person leads to.
//!
//! A [`Grant`] is one record under one key. It owns its authorization code and its chain of refresh tokens, and it
//! ends as a whole. Codes and refresh tokens are written `<grant>.<secret>`, so the grant is found without an
//! index, and of each secret only the digest is kept.
//!
//! The transitions here are pure: they take what was read and the time, and say what to write. Storing it is one
//! compare-and-set, so of two requests that meet, one finds the other's work and decides again.
//!
//! | transition | first time | again | with something wrong |
//! |---|---|---|---|
//! | redeem the code | tokens | the grant ends | nothing changes |
//! | use a refresh token | tokens, and a successor | the same successor within the window, after it the grant ends | nothing changes |
//!
//! ```
//! use mcp_oauth_core::grant::GrantId;
//!
//! let id = GrantId::random();
//! assert_eq!(id.as_str().parse::<GrantId>()?, id);
//! # Ok::<_, mcp_oauth_core::grant::InvalidGrantId>(())
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::ClientId;
use crate::clock::UnixTime;
use crate::identity::Identity;
use crate::randomness::{Randomness, SystemRandomness, random_id};
use crate::resource::ResourceUri;
use crate::scope::ScopeSet;
use crate::secret::Secret;

mod code;
mod refresh;
mod standing;
pub(crate) mod upstream;

pub use code::AuthorizationCode;
pub(crate) use code::{CodeBinding, Redemption};
pub use refresh::RefreshToken;

use code::CodeState;
use refresh::RefreshChain;
use upstream::SealedTokens;

/// The random identifier of a grant: 127 bits in 22 characters of base64url. Not a secret: access tokens carry it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GrantId(String);

/// Text that cannot be the identifier of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a grant's identifier is 22 characters of base64url")]
#[non_exhaustive]
pub struct InvalidGrantId;

impl GrantId {
    /// A new identifier.
    #[must_use]
    pub fn random() -> Self {
        Self::drawn_from(&SystemRandomness)
    }

    fn drawn_from(random: &dyn Randomness) -> Self {
        Self(random_id(random))
    }

    /// The identifier as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GrantId {
    type Err = InvalidGrantId;

    fn from_str(text: &str) -> Result<Self, InvalidGrantId> {
        let fits = text.len() == 22
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        fits.then(|| Self(text.to_owned())).ok_or(InvalidGrantId)
    }
}

impl TryFrom<String> for GrantId {
    type Error = InvalidGrantId;

    fn try_from(text: String) -> Result<Self, InvalidGrantId> {
        text.parse()
    }
}

impl From<GrantId> for String {
    fn from(id: GrantId) -> Self {
        id.0
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a person approved for a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Grant {
    /// Its identifier.
    pub id: GrantId,
    /// Who may use it.
    pub client_id: ClientId,
    /// On whose behalf.
    pub identity: Identity,
    /// For which protected resources.
    pub resources: Vec<ResourceUri>,
    /// How far.
    pub scopes: ScopeSet,
    /// When it was approved.
    pub approved_at: UnixTime,
    /// When tokens were last issued under it.
    pub last_used_at: UnixTime,
    status: Status,
    /// `None` where no code leads to the grant.
    code: Option<CodeState>,
    refresh: Option<RefreshChain>,
    /// When the identity provider was last asked how the person stands, whether or not it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity_asked_at: Option<UnixTime>,
    /// When the identity provider last said what the e-mail address is; `None` if that was at the approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email_learnt_at: Option<UnixTime>,
    /// The person's own tokens with the identity provider, if there is a vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<SealedTokens>,
}

/// Whether anything can still come of a grant. One that has ended is kept for as long as there may be access tokens
/// of it, so that whoever uses it again ends those again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Live,
    Ended,
}

/// Why a grant ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// Its code was redeemed a second time.
    CodeReused,
    /// A device code was used long after it had been redeemed.
    DeviceCodeReused,
    /// A refresh token was used long after it had been replaced.
    RefreshTokenReused,
    /// The person is no longer on the allow-list, or the policy denies it now.
    NoLongerAllowed,
    /// The identity provider knows the person no longer.
    AccountGone,
    /// The identity provider no longer takes the person's own tokens: they have taken back what they once allowed.
    UpstreamRevoked,
    /// What the identity provider said is too old to be believed, and it cannot be asked again.
    IdentityTooOld,
    /// Its client gave a token back.
    Revoked,
    /// All that its person, or its client, had been granted was ended at once.
    EndedWithAll,
    /// The operator ended it.
    ByOperator,
    /// Its person ended it.
    ByPerson,
    /// It had ended before.
    AlreadyEnded,
}

impl EndReason {
    /// A short name, as it stands in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CodeReused => "code_reused",
            Self::DeviceCodeReused => "device_code_reused",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::NoLongerAllowed => "no_longer_allowed",
            Self::AccountGone => "account_gone",
            Self::UpstreamRevoked => "upstream_revoked",
            Self::IdentityTooOld => "identity_too_old",
            Self::Revoked => "revoked",
            Self::EndedWithAll => "ended_with_all",
            Self::ByOperator => "by_operator",
            Self::ByPerson => "by_person",
            Self::AlreadyEnded => "already_ended",
        }
    }
}

/// What a person has approved, before there is a grant.
#[derive(Clone, Debug)]
pub(crate) struct Approval {
    /// The client that asked.
    pub(crate) client_id: ClientId,
    /// The person who approved.
    pub(crate) identity: Identity,
    /// The resources that were asked for.
    pub(crate) resources: Vec<ResourceUri>,
    /// The scopes that were approved.
    pub(crate) scopes: ScopeSet,
    /// The person's own tokens with the identity provider, if there is a vault.
    pub(crate) upstream: Option<SealedTokens>,
}

/// How long the parts of a grant live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrantLifetimes {
    /// An authorization code, from its issue to its redemption (60 s; RFC 6749 §4.1.2 allows ten minutes).
    pub authorization_code: Duration,
    /// A refresh token that is not used (30 days).
    pub refresh_token: Duration,
    /// How long the last refresh token that was rotated out still gets the same successor (60 s), so that parallel
    /// refreshes and lost answers cost nobody their session. Zero switches that off.
    pub refresh_window: Duration,
}

impl Default for GrantLifetimes {
    fn default() -> Self {
        Self {
            authorization_code: Duration::from_secs(60),
            refresh_token: Duration::from_secs(30 * 24 * 60 * 60),
            refresh_window: Duration::from_secs(60),
        }
    }
}

/// What a transition asks to be done.
#[derive(Debug)]
pub(crate) enum Transition<T, R> {
    /// Write the grant in this state, then answer with this.
    Store(Box<Grant>, T),
    /// Nothing to write: answer with this.
    Answer(T),
    /// End the grant, and refuse.
    End(EndReason),
    /// Change nothing and refuse.
    Refuse(R),
    /// The grant has been changed meanwhile: read it and decide again.
    Again,
}

impl<T, R> Transition<T, R> {
    /// The same with another answer and another refusal.
    pub(crate) fn map<U, S>(self, answer: impl FnOnce(T) -> U, refuse: impl FnOnce(R) -> S) -> Transition<U, S> {
        match self {
            Self::Store(next, value) => Transition::Store(next, answer(value)),
            Self::Answer(value) => Transition::Answer(answer(value)),
            Self::End(reason) => Transition::End(reason),
            Self::Refuse(reason) => Transition::Refuse(refuse(reason)),
            Self::Again => Transition::Again,
        }
    }
}

impl Grant {
    /// A new grant with its code.
    pub(crate) fn issue(
        approval: Approval,
        binding: CodeBinding,
        now: UnixTime,
        lifetimes: &GrantLifetimes,
        random: &dyn Randomness,
    ) -> (Self, AuthorizationCode) {
        let id = GrantId::drawn_from(random);
        let secret = Secret::drawn_from(random);
        let code = CodeState::new(secret.digest(), binding, now + lifetimes.authorization_code);
        let grant = Self::begin(id.clone(), approval, now, Some(code));
        (grant, AuthorizationCode { grant: id, secret })
    }

    /// A new grant that no code leads to: its tokens are issued at once.
    pub(crate) fn without_code(
        approval: Approval,
        with_refresh_token: bool,
        now: UnixTime,
        random: &dyn Randomness,
    ) -> (Self, Option<RefreshToken>) {
        let mut grant = Self::begin(GrantId::drawn_from(random), approval, now, None);
        let refresh_token = with_refresh_token.then(|| {
            let (chain, token) = RefreshChain::start(&grant.id, random);
            grant.refresh = Some(chain);
            token
        });
        (grant, refresh_token)
    }

    fn begin(id: GrantId, approval: Approval, now: UnixTime, code: Option<CodeState>) -> Self {
        let Approval {
            client_id,
            identity,
            resources,
            scopes,
            upstream,
        } = approval;
        Self {
            id,
            client_id,
            identity,
            resources,
            scopes,
            approved_at: now,
            last_used_at: now,
            status: Status::Live,
            code,
            refresh: None,
            identity_asked_at: None,
            email_learnt_at: None,
            upstream,
        }
    }

    /// The grant after its end.
    pub(crate) fn ended(&self) -> Self {
        Self {
            status: Status::Ended,
            upstream: None,
            ..self.clone()
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.status == Status::Ended
    }

    /// Whether its code has not been redeemed yet.
    #[must_use]
    pub fn awaits_redemption(&self) -> bool {
        self.code.as_ref().is_some_and(|code| !code.is_redeemed())
    }

    /// Whether there is a refresh token that leads to more.
    #[must_use]
    pub fn is_refreshable(&self) -> bool {
        self.refresh.is_some()
    }

    /// Whether there may be one, now or after the code is redeemed.
    pub(crate) fn may_be_refreshed(&self) -> bool {
        self.is_refreshable() || self.awaits_redemption()
    }

    /// How long the record has to be kept from now on.
    pub(crate) fn time_to_live(&self, now: UnixTime, access_token: Duration, lifetimes: &GrantLifetimes) -> Duration {
        if self.has_ended() {
            return access_token;
        }
        match (&self.refresh, &self.code) {
            (Some(_), _) => lifetimes.refresh_token,
            (None, Some(code)) if !code.is_redeemed() => code.expires_at().since(now),
            // Kept as long as there are tokens to end.
            (None, _) => access_token,
        }
    }
}

#[cfg(test)]
mod tests;
