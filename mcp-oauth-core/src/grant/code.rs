//! The authorization code of a grant: issued once, redeemed once (OAuth 2.1 §4.1).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::refresh::{RefreshChain, RefreshToken};
use super::{EndReason, Grant, GrantId, InvalidGrantId, Transition};
use crate::client::ClientId;
use crate::client::redirect_uri::RedirectUri;
use crate::clock::UnixTime;
use crate::pkce::{CodeChallenge, CodeVerifier};
use crate::randomness::Randomness;
use crate::secret::{Secret, SecretDigest, is_encoded_256_bits};

/// An authorization code as the client gets it: `<grant>.<secret>`.
#[derive(Clone, Debug)]
pub struct AuthorizationCode {
    pub(super) grant: GrantId,
    pub(super) secret: Secret,
}

impl AuthorizationCode {
    /// The grant that the code belongs to.
    #[must_use]
    pub fn grant(&self) -> &GrantId {
        &self.grant
    }

    /// The written form, for the redirect to the client.
    #[must_use]
    pub fn expose(&self) -> Secret {
        Secret::from(format!("{}.{}", self.grant, self.secret.expose()))
    }
}

impl FromStr for AuthorizationCode {
    type Err = InvalidGrantId;

    fn from_str(text: &str) -> Result<Self, InvalidGrantId> {
        let (grant, secret) = text.split_once('.').ok_or(InvalidGrantId)?;
        // Codes are shown to people, so nothing else may pass for one.
        if !is_encoded_256_bits(secret) {
            return Err(InvalidGrantId);
        }
        Ok(Self {
            grant: grant.parse()?,
            secret: Secret::from(secret),
        })
    }
}

/// What the code is bound to, beside the client: a redemption has to show the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CodeBinding {
    /// Where the code was sent.
    pub(crate) redirect_uri: RedirectUri,
    /// What the verifier has to meet.
    pub(crate) code_challenge: CodeChallenge,
}

/// Why a code is not redeemed. To the client all of these are `invalid_grant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedemptionRefused {
    /// The secret is not the one that was issued.
    #[error("the code is unknown")]
    Unknown,
    /// The code was issued to another client.
    #[error("the code was issued to another client")]
    OtherClient,
    /// The verifier does not meet the challenge.
    #[error("the code_verifier does not match the code_challenge")]
    Verifier,
    /// The redirect URI is not the one that the code was sent to.
    #[error("the redirect_uri is not the one of the authorization request")]
    RedirectUri,
    /// It was not redeemed in time.
    #[error("the code has expired")]
    Expired,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CodeState {
    digest: SecretDigest,
    binding: CodeBinding,
    expires_at: UnixTime,
    redeemed: bool,
}

impl CodeState {
    pub(super) fn new(digest: SecretDigest, binding: CodeBinding, expires_at: UnixTime) -> Self {
        Self {
            digest,
            binding,
            expires_at,
            redeemed: false,
        }
    }

    pub(super) fn is_redeemed(&self) -> bool {
        self.redeemed
    }

    pub(super) fn expires_at(&self) -> UnixTime {
        self.expires_at
    }
}

/// What a client shows to redeem a code.
#[derive(Debug)]
pub(crate) struct Redemption<'a> {
    pub(crate) code: &'a AuthorizationCode,
    pub(crate) client_id: &'a ClientId,
    /// Optional (OAuth 2.1 §10.2), but checked when it is there.
    pub(crate) redirect_uri: Option<&'a str>,
    pub(crate) code_verifier: &'a CodeVerifier,
    /// Whether the client may have a refresh token.
    pub(crate) with_refresh_token: bool,
}

impl Grant {
    /// Redeems the code.
    ///
    /// Everything is checked before the code counts as used, so that nobody who lacks the verifier can use it up
    /// or, when it has been used, end the grant (OAuth 2.1 §7.5.2).
    pub(crate) fn redeem(
        &self,
        redemption: &Redemption<'_>,
        now: UnixTime,
        random: &dyn Randomness,
    ) -> Transition<Option<RefreshToken>, RedemptionRefused> {
        let Some(code) = &self.code else {
            return Transition::Refuse(RedemptionRefused::Unknown);
        };
        let refusal = if !code.digest.matches(&redemption.code.secret) {
            Some(RedemptionRefused::Unknown)
        } else if self.client_id != *redemption.client_id {
            Some(RedemptionRefused::OtherClient)
        } else if !code.binding.code_challenge.is_met_by(redemption.code_verifier) {
            Some(RedemptionRefused::Verifier)
        } else if redemption
            .redirect_uri
            .is_some_and(|uri| uri != code.binding.redirect_uri.as_str())
        {
            Some(RedemptionRefused::RedirectUri)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return Transition::Refuse(refusal);
        }
        if self.has_ended() {
            return Transition::End(EndReason::AlreadyEnded);
        }
        if code.redeemed {
            return Transition::End(EndReason::CodeReused);
        }
        if now >= code.expires_at {
            return Transition::Refuse(RedemptionRefused::Expired);
        }
        let mut next = self.clone();
        next.code = Some(CodeState {
            redeemed: true,
            ..code.clone()
        });
        next.last_used_at = now;
        let refresh_token = redemption.with_refresh_token.then(|| {
            let (chain, token) = RefreshChain::start(&self.id, random);
            next.refresh = Some(chain);
            token
        });
        Transition::Store(Box::new(next), refresh_token)
    }
}

impl fmt::Display for AuthorizationCode {
    /// Names the grant and keeps the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.…", self.grant)
    }
}
