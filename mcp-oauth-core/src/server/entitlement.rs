//! Where it is decided who gets what: once before there is a grant, and again at every use of one.
//!
//! [`crate::policy`] says what is decided and when. Whatever leads to a grant asks
//! [`admit`](AuthorizationServer::admit); the token endpoint has what a grant decided
//! [reconsidered](AuthorizationServer::reconsider) before anything is stored.

use std::error::Error;

use super::AuthorizationServer;
use super::vault::{Fresh, VaultError};
use crate::client::registration::GrantType;
use crate::client::{Client, ClientId};
use crate::error::{ErrorCode, OAuthError};
use crate::grant::{EndReason, Grant, RefreshToken, Transition};
use crate::identity::enterprise::Enterprise;
use crate::identity::tokens::UpstreamTokens;
use crate::identity::{Identity, IdentityError, IdentityProvider, Standing};
use crate::origin::Origin;
use crate::policy::{GrantPolicy, GrantRequest, Ground, Occasion, Verdict};
use crate::resource::ResourceUri;
use crate::scope::ScopeSet;
use crate::store::Loaded;
use crate::telemetry::upstream_call;

/// Why somebody gets nothing.
enum Denied {
    /// They may not, for this reason. It may be shown.
    No(String),
    /// Nobody can tell now.
    NotNow(OAuthError),
}

/// Why a grant does not go on.
enum Stop {
    /// It ends, for this reason and with this sentence for the client.
    End(EndReason, String),
    /// Nobody can tell now: it stays as it is.
    NotNow(OAuthError),
}

impl From<Denied> for Stop {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::No(reason) => Self::End(EndReason::NoLongerAllowed, reason),
            Denied::NotNow(error) => Self::NotNow(error),
        }
    }
}

impl AuthorizationServer {
    /// Decides whether a person gets a grant for this client, for all of these resources, and how far it reaches: the
    /// scopes that are left of those that were asked for. Every way to a grant has to ask this before there is one.
    ///
    /// # Errors
    ///
    /// `access_denied` with a reason that may be shown, or `temporarily_unavailable` when it cannot be decided now.
    pub(crate) async fn admit(
        &self,
        identity: &Identity,
        client_id: &ClientId,
        resources: &[ResourceUri],
        scopes: &ScopeSet,
    ) -> Result<ScopeSet, OAuthError> {
        let denied = |reason: String| OAuthError::new(ErrorCode::AccessDenied, reason);
        self.listed(identity, resources).map_err(denied)?;
        let Some(policy) = self.0.policy.as_deref() else {
            return Ok(scopes.clone());
        };
        let client = self
            .known_client(client_id)
            .await?
            .ok_or_else(|| denied("the client is no longer registered here".to_owned()))?
            .record;
        let request = GrantRequest {
            occasion: Occasion::Approval,
            identity,
            client: &client,
            resources,
            scopes,
        };
        ask(policy, &request).await.map_err(|refused| match refused {
            Denied::No(reason) => denied(reason),
            Denied::NotNow(error) => error,
        })
    }

    /// Looks once more at what a grant decided, before it is stored: whether its person still may, and how far. Ends the
    /// grant of somebody who may not.
    ///
    /// The identity provider is asked once at most: if somebody else changes the grant meanwhile, the token that was
    /// presented is either a repeat, which asks nobody, or no good.
    pub(super) async fn reconsider(
        &self,
        decided: Transition<Option<RefreshToken>, OAuthError>,
        grant: &Loaded<Grant>,
        client: &Client,
        used: GrantType,
        origin: &Origin,
    ) -> Result<Transition<Option<RefreshToken>, OAuthError>, OAuthError> {
        let (mut next, token, is_repeat) = match decided {
            Transition::Store(next, token) => (next, token, false),
            Transition::Answer(token) => (Box::new(grant.record.clone()), token, true),
            nothing => return Ok(nothing),
        };
        let mut tokens = None;
        if used == GrantType::RefreshToken && !is_repeat && grant.record.upstream.is_some() && self.may_ask(&next) {
            match self.fresh_tokens(grant.clone(), origin).await {
                // To have exchanged them was a step of its own.
                Ok(Fresh { exchanged: true, .. }) => return Ok(Transition::Again),
                Ok(fresh) => tokens = Some(fresh.tokens),
                Err(VaultError::Revoked | VaultError::Ended) => {
                    let sentence = "the identity provider no longer takes the person's tokens: sign in again";
                    return Ok(Transition::Refuse(OAuthError::new(ErrorCode::InvalidGrant, sentence)));
                }
                Err(VaultError::Store(error)) => return Err(error.into()),
                Err(error) => tracing::warn!(
                    error = &error as &dyn Error,
                    grant = %grant.record.id,
                    "the tokens of a person cannot be used to ask how they stand"
                ),
            }
        }
        let with = tokens.as_ref();
        match self.reconsider_grant(&mut next, client, used, is_repeat, with).await {
            Ok(()) if is_repeat && next.scopes == grant.record.scopes => Ok(Transition::Answer(token)),
            Ok(()) => {
                self.reseal(&mut next).await?;
                Ok(Transition::Store(next, token))
            }
            Err(Stop::NotNow(error)) => Err(error),
            Err(Stop::End(reason, sentence)) => {
                self.end_grant(grant.clone(), reason, origin).await?;
                Ok(Transition::Refuse(OAuthError::new(ErrorCode::InvalidGrant, sentence)))
            }
        }
    }

    async fn reconsider_grant(
        &self,
        grant: &mut Grant,
        client: &Client,
        used: GrantType,
        is_repeat: bool,
        tokens: Option<&UpstreamTokens>,
    ) -> Result<(), Stop> {
        // Before the first tokens the approval was moments ago, so only the lists are asked.
        if used != GrantType::RefreshToken {
            return self
                .listed(&grant.identity, &grant.resources)
                .map(drop)
                .map_err(no_longer);
        }
        // A repeat gets what its first use got, so nothing that time alone brings about may end it.
        if is_repeat {
            self.listed(&grant.identity, &grant.resources).map_err(no_longer)?;
        } else {
            self.recheck(grant, tokens).await?;
        }
        if let Some(policy) = self.0.policy.as_deref() {
            let request = GrantRequest {
                occasion: Occasion::Refresh,
                identity: &grant.identity,
                client,
                resources: &grant.resources,
                scopes: &grant.scopes,
            };
            grant.scopes = ask(policy, &request).await?;
        }
        Ok(())
    }

    /// Asks the identity provider, if it is time to, and the lists. What was learnt must be neither against the person
    /// nor too old.
    async fn recheck(&self, grant: &mut Grant, tokens: Option<&UpstreamTokens>) -> Result<(), Stop> {
        let now = self.now();
        let is_too_old = |since| now.since(since) >= self.0.lifetimes.maximum_identity_age;
        let mut fails = false;
        if self.may_ask(grant)
            && let Some(provider) = self.identity_provider(&grant.identity.provider)
        {
            let standing = self.ask_provider(provider, &grant.identity, tokens).await;
            fails = standing.is_none();
            grant
                .take_over(standing, tokens.is_some(), now)
                .map_err(|reason| Stop::End(reason, "the identity provider no longer knows the person".to_owned()))?;
        }
        let ground = self.listed(&grant.identity, &grant.resources).map_err(no_longer)?;
        let learnt_is_too_old = is_too_old(grant.identity_learnt_at());
        if fails && learnt_is_too_old {
            return Err(Stop::NotNow(OAuthError::new(
                ErrorCode::TemporarilyUnavailable,
                "the identity provider does not answer, and what it last said is too old: try again in a moment",
            )));
        }
        // A policy of one's own may count on memberships that no list names.
        let rests_on_memberships =
            ground >= Ground::Membership || (self.0.policy.is_some() && !grant.identity.memberships.is_empty());
        let rests_on_email = ground == Ground::Email;
        if (rests_on_memberships && learnt_is_too_old) || (rests_on_email && is_too_old(grant.email_learnt_at())) {
            return Err(Stop::End(
                EndReason::IdentityTooOld,
                "it is too long ago that the person signed in: sign in again".to_owned(),
            ));
        }
        Ok(())
    }

    /// Whether it is time to ask the identity provider how the person of a grant stands.
    ///
    /// What is too old is asked for every time: only then it is known whether the provider cannot tell, or not now.
    fn may_ask(&self, grant: &Grant) -> bool {
        let (now, lifetimes) = (self.now(), &self.0.lifetimes);
        now.since(grant.identity_asked_at()) >= lifetimes.identity_check
            || now.since(grant.identity_learnt_at()) >= lifetimes.maximum_identity_age
    }

    /// What the identity provider says; nothing if it cannot be asked now.
    async fn ask_provider(
        &self,
        provider: &dyn IdentityProvider,
        identity: &Identity,
        tokens: Option<&UpstreamTokens>,
    ) -> Option<Standing> {
        let standing = match tokens {
            Some(tokens) => provider.standing_with_tokens(identity, tokens),
            None => provider.standing(identity),
        };
        let standing = upstream_call(provider.id(), "standing", standing, IdentityError::name).await;
        match standing {
            Ok(Standing::Changed(other)) if other.subject() != identity.subject() => {
                tracing::error!(
                    subject = identity.subject(),
                    provider = provider.id(),
                    "the identity provider answered for somebody else"
                );
                None
            }
            Ok(standing) => Some(standing),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    subject = identity.subject(),
                    "the identity provider could not be asked how a person stands"
                );
                None
            }
        }
    }

    /// What the lists let a person in for, to all of these resources: the least sure of the grounds. If they do not, a
    /// sentence that says so.
    pub(super) fn listed(&self, identity: &Identity, resources: &[ResourceUri]) -> Result<Ground, String> {
        // An address is the word of whoever tells it, and enterprises are only asked who their own people are.
        let counts = |ground: &Ground| *ground != Ground::Email || !self.is_vouched_for(identity);
        let of_server = self.0.allow.ground(identity).filter(counts);
        let mut least = of_server.ok_or("this person is not allowed to sign in here")?;
        for uri in resources {
            let may_not = || format!("this person is not allowed to use {uri}");
            // A resource that is not served any more has no list that could let anybody in.
            let resource = self.resource(uri.as_str()).ok_or_else(may_not)?;
            if let Some(list) = resource.allowed() {
                least = least.max(list.ground(identity).filter(counts).ok_or_else(may_not)?);
            }
        }
        Ok(least)
    }

    /// Whether it is an enterprise's provider that speaks for this person, and not the one that people sign in with here.
    fn is_vouched_for(&self, identity: &Identity) -> bool {
        let provider = &identity.provider;
        let speaks = |enterprise: &Enterprise| enterprise.name == *provider;
        self.identity_provider(provider).is_none() && self.0.clients.enterprises.iter().any(speaks)
    }
}

fn no_longer(reason: String) -> Stop {
    Stop::End(EndReason::NoLongerAllowed, reason)
}

/// What a policy leaves of the scopes.
async fn ask(policy: &dyn GrantPolicy, request: &GrantRequest<'_>) -> Result<ScopeSet, Denied> {
    match policy.decide(request).await {
        Ok(Verdict::Allow) => Ok(request.scopes.clone()),
        Ok(Verdict::Narrow(to)) => {
            let left = request.scopes.intersection(&to);
            if left.is_empty() && !request.scopes.is_empty() {
                return Err(Denied::No("none of the scopes is allowed to this person".to_owned()));
            }
            Ok(left)
        }
        Ok(Verdict::Deny(reason)) => Err(Denied::No(reason)),
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, "the policy failed");
            Err(Denied::NotNow(OAuthError::new(
                ErrorCode::TemporarilyUnavailable,
                "the server cannot decide at the moment whether this is allowed, try again in a moment",
            )))
        }
    }
}
