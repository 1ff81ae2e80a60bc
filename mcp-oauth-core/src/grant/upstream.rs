//! What a grant keeps of its person's tokens with the identity provider: sealed, and gone with the grant.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Grant;
use crate::clock::UnixTime;

/// Tokens of an identity provider, sealed by the vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SealedTokens {
    /// The name of the vault's key that they are sealed with.
    pub(crate) key: String,
    pub(crate) sealed: String,
    /// Who exchanges them for new ones at this moment, so that nobody else does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease: Option<Lease>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    id: String,
    until: UnixTime,
}

impl SealedTokens {
    pub(crate) fn new(key: String, sealed: String) -> Self {
        Self {
            key,
            sealed,
            lease: None,
        }
    }

    /// Whether somebody exchanges them now.
    pub(crate) fn is_leased(&self, now: UnixTime) -> bool {
        self.lease.as_ref().is_some_and(|lease| now < lease.until)
    }
}

impl Grant {
    /// The grant while this one, and nobody else, exchanges its tokens.
    pub(crate) fn with_lease(&self, id: &str, now: UnixTime, lifetime: Duration) -> Self {
        let lease = Lease {
            id: id.to_owned(),
            until: now + lifetime,
        };
        let mut next = self.clone();
        if let Some(upstream) = &mut next.upstream {
            upstream.lease = Some(lease);
        }
        next
    }

    /// Whether the tokens are still this one's to replace.
    pub(crate) fn has_lease(&self, id: &str) -> bool {
        let lease = self.upstream.as_ref().and_then(|upstream| upstream.lease.as_ref());
        lease.is_some_and(|lease| lease.id == id)
    }

    /// The grant with other tokens, or with the same ones and nobody who exchanges them.
    pub(crate) fn with_tokens(&self, tokens: Option<SealedTokens>) -> Self {
        let mut next = self.clone();
        match tokens {
            Some(tokens) => next.upstream = Some(tokens),
            None => {
                if let Some(upstream) = &mut next.upstream {
                    upstream.lease = None;
                }
            }
        }
        next
    }
}
