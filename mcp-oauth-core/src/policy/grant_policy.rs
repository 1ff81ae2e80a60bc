//! A policy of one's own, beside the allow-lists: who gets a grant, and how far it reaches.

use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;

use crate::client::Client;
use crate::identity::Identity;
use crate::resource::ResourceUri;
use crate::scope::ScopeSet;

/// When a policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Occasion {
    /// A person has approved, or a client brings a good assertion: there is no grant yet.
    Approval,
    /// There is a grant, and its client wants new tokens.
    Refresh,
}

/// What a policy is asked about.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GrantRequest<'a> {
    /// When this is.
    pub occasion: Occasion,
    /// The person, as the identity provider knows them. What they belong to, and when that was learnt, is part of it.
    pub identity: &'a Identity,
    /// The client that acts for them.
    pub client: &'a Client,
    /// For which protected resources. All of them, or none.
    pub resources: &'a [ResourceUri],
    /// How far: what was approved.
    pub scopes: &'a ScopeSet,
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// All that was asked for.
    Allow,
    /// No more than these scopes. What was not asked for is never added; if nothing is left, that is a denial. It holds
    /// for the whole grant: a later [`Allow`](Self::Allow) does not bring back what was taken away, and only the person
    /// can, by approving anew.
    Narrow(ScopeSet),
    /// Nothing, for this reason. It is shown to the client and may be shown to the person, so it must hold no secret:
    /// a sentence in plain ASCII that says what to do, without a full stop.
    Deny(String),
}

/// A policy that cannot say anything at the moment, since something that it needs does not answer.
#[derive(Debug, thiserror::Error)]
#[error("the policy cannot decide at the moment")]
pub struct PolicyError(#[source] Box<dyn Error + Send + Sync>);

impl PolicyError {
    /// Says what does not answer. It is logged, and nobody is shown it.
    #[must_use]
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// Decides what the allow-lists leave open.
///
/// Only people whom the lists let in come before it. It is asked at every approval and at every refresh, so it has to be
/// quick, and bounded in time. A server is given one by
/// [`policy`](crate::server::builder::AuthorizationServerBuilder::policy).
///
/// ```
/// use async_trait::async_trait;
/// use mcp_oauth_core::policy::{GrantPolicy, GrantRequest, PolicyError, Verdict};
///
/// /// People outside of operations look and do not touch.
/// #[derive(Debug)]
/// struct ReadOnlyUnlessOps;
///
/// #[async_trait]
/// impl GrantPolicy for ReadOnlyUnlessOps {
///     async fn decide(&self, request: &GrantRequest<'_>) -> Result<Verdict, PolicyError> {
///         let ops = "team=acme/ops".parse().map_err(PolicyError::new)?;
///         if request.identity.belongs_to(&ops) {
///             return Ok(Verdict::Allow);
///         }
///         Ok(Verdict::Narrow("notes:read".parse().map_err(PolicyError::new)?))
///     }
/// }
/// ```
#[async_trait]
pub trait GrantPolicy: Debug + Send + Sync + 'static {
    /// Decides about one request.
    ///
    /// # Errors
    ///
    /// When it cannot decide now. The request is then answered with `temporarily_unavailable`: nobody is let in, and no
    /// grant ends.
    async fn decide(&self, request: &GrantRequest<'_>) -> Result<Verdict, PolicyError>;
}
