//! The device polls the token endpoint (RFC 8628 §3.4): not yet, no, too late, or here are the tokens.
//!
//! A poll reads the device and what was decided about it, at the same time. Of any number of polls that find the device let
//! in, the one that changes its record gets the tokens. The grant is
//! stored at the same time as that; if one of the two fails, both are undone as far as the store lets us, and since
//! nobody has seen the tokens, the device may poll again.
//!
//! A device code that was redeemed is used up. Polls overlap and answers get lost, so for a while
//! ([`refresh_window`](crate::grant::GrantLifetimes::refresh_window)) another poll changes nothing; after that it ends the
//! grant, as a refresh token does that was replaced long ago: whoever still has the code should not have it.

use std::time::Duration;

use futures_util::TryFutureExt as _;
use futures_util::future::{join, join4, try_join3};

use super::DeviceState;
use crate::audit::{Action, Event};
use crate::client::Client;
use crate::client::registration::GrantType;
use crate::clock::UnixTime;
use crate::device::decision::DeviceApproval;
use crate::device::{Device, DeviceCode, Poll};
use crate::error::{ErrorCode, OAuthError};
use crate::grant::{Approval, EndReason, Grant, GrantId};
use crate::parameters::Parameters;
use crate::resource::ResourceUri;
use crate::server::token::{TokenError, TokenResponse};
use crate::server::{AuthorizationServer, MAXIMUM_ROUNDS, contended, grant_key};
use crate::store::{self, Loaded, StoreError};

/// What a poll asks for.
struct PollRequest<'a> {
    client: Loaded<Client>,
    /// The resources that the token is for, if fewer than were approved.
    resources: Option<Vec<ResourceUri>>,
    scope: Option<&'a str>,
}

impl AuthorizationServer {
    /// Answers a token request of a device.
    pub(in crate::server) async fn device_tokens(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
        event: &mut Event,
    ) -> Result<TokenResponse, TokenError> {
        event.action = Action::IssueTokens(Some(GrantType::DeviceCode));
        let code: Option<DeviceCode> = form.require("device_code")?.parse().ok();
        let resources = self.wanted_resources(form)?;
        let scope = form.get("scope")?;
        let (client, mut loaded, ()) = try_join3(
            self.proven_client(form, authorization, event),
            self.polling_device(code.as_ref()).err_into(),
            self.prepare_keys().err_into(),
        )
        .await?;
        self.may_use_devices(&client.record)?;
        let request = PollRequest {
            client,
            resources,
            scope,
        };
        for _ in 0..MAXIMUM_ROUNDS {
            let (Some(code), Some(DeviceState { device, decision })) = (&code, loaded) else {
                return Err(unknown().into());
            };
            let client_id = &request.client.record.client_id;
            let answered = match device.record.poll(decision, code, client_id, self.now()) {
                Poll::Unknown | Poll::OtherClient => Some(Err(unknown())),
                Poll::Denied => Some(Err(denied())),
                Poll::Expired => Some(Err(expired())),
                Poll::Redeemed(grant, at) => {
                    self.polled_again(&grant, at, event).await?;
                    Some(Err(unknown()))
                }
                Poll::Pending(next) => self.replace_device(&device, &next).await?.then(|| Err(pending())),
                Poll::TooEarly(next) => self.replace_device(&device, &next).await?.then(|| Err(slow_down())),
                Poll::Approved(approval) => self.redeem_device(&request, &device, *approval, event).await?.map(Ok),
            };
            if let Some(answer) = answered {
                return Ok(answer?);
            }
            loaded = self.polling_device(Some(code)).await?;
        }
        Err(contended().into())
    }

    async fn polling_device(&self, code: Option<&DeviceCode>) -> Result<Option<DeviceState>, StoreError> {
        match code {
            Some(code) => self.load_device_state(code.device()).await,
            None => Ok(None),
        }
    }

    /// Redeems the code of a device that was let in; `None` if somebody else was faster.
    async fn redeem_device(
        &self,
        request: &PollRequest<'_>,
        device: &Loaded<Device>,
        approval: DeviceApproval,
        event: &mut Event,
    ) -> Result<Option<TokenResponse>, TokenError> {
        event.subject = Some(approval.identity.subject());
        let approved = &device.record.request.resources;
        event.resources.clone_from(approved);
        // RFC 8707 §2.2: fewer resources than were approved, never others.
        if !request
            .resources
            .iter()
            .flatten()
            .all(|wanted| approved.contains(wanted))
        {
            let reason = "the resource is not one that was approved";
            return Err(OAuthError::new(ErrorCode::InvalidTarget, reason).into());
        }
        // The approval was moments ago, so only the lists are asked again.
        if self.listed(&approval.identity, approved).is_err() {
            let turned_away = self.replace_device(device, &device.record.refused()).await?;
            return if turned_away { Err(denied().into()) } else { Ok(None) };
        }
        let client = &request.client.record;
        let approved_at = approval.at;
        let approval = Approval {
            client_id: client.client_id.clone(),
            identity: approval.identity,
            resources: approved.clone(),
            scopes: approval.scopes,
            upstream: approval.upstream,
        };
        let with_refresh_token = client.metadata.grant_types.contains(&GrantType::RefreshToken);
        let (mut grant, refresh_token) =
            Grant::without_code(approval, with_refresh_token, self.now(), self.randomness());
        grant.approved_at = approved_at;
        // Before anything is stored, so that nothing is used up if it fails.
        let tokens = self.issue(
            request.resources.as_deref(),
            request.scope,
            &grant,
            refresh_token.as_ref(),
            self.now(),
        )?;
        if self.store_redemption(device, &grant, &request.client).await? {
            event.grant = Some(grant.id);
            Ok(Some(tokens))
        } else {
            Ok(None)
        }
    }

    /// Stores the grant and that the device has it; `false` if somebody else was faster.
    async fn store_redemption(
        &self,
        device: &Loaded<Device>,
        grant: &Grant,
        client: &Loaded<Client>,
    ) -> Result<bool, OAuthError> {
        let key = grant_key(&grant.id);
        let redeemed = device.record.redeemed(&grant.id, self.now());
        let (inserted, replaced, ((), ()), over) = join4(
            store::insert(self.store(), &key, grant, Some(self.grant_time_to_live(grant))),
            self.replace_device(device, &redeemed),
            join(self.renew_client(Some(client)), self.hint(grant)),
            // The approval is older than the grant.
            self.is_over(grant),
        )
        .await;
        match (inserted, replaced, over) {
            (Ok(true), Ok(true), Ok(false)) => Ok(true),
            (Ok(true), Ok(true), Ok(true)) => {
                self.store().remove(&key).await?;
                Err(denied())
            }
            (inserted, replaced, over) => {
                let failed = inserted.err().or(replaced.err()).or(over.err());
                self.take_back(&device.record, &grant.id).await;
                failed.map_or(Ok(false), |error| Err(error.into()))
            }
        }
    }

    /// Undoes a redemption of which nobody has seen the tokens. A failure here costs the person another approval, and
    /// leaves a grant behind that nobody can use.
    async fn take_back(&self, before: &Device, grant: &GrantId) {
        let undone = async {
            let loaded = self.load_device(&before.id).await?;
            if let Some(loaded) = loaded.filter(|loaded| loaded.record.is_redeemed_by(grant)) {
                self.replace_device(&loaded, before).await?;
            }
            self.store().remove(&grant_key(grant)).await
        };
        if let Err(error) = undone.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a device code could not be made good again"
            );
        }
    }

    /// The code was redeemed before, by the same client.
    async fn polled_again(&self, grant: &GrantId, at: UnixTime, event: &mut Event) -> Result<(), OAuthError> {
        event.grant = Some(grant.clone());
        let window: Duration = self.0.lifetimes.grant.refresh_window;
        if self.now().since(at) < window {
            return Ok(());
        }
        if let Some(grant) = self.load_grant(grant).await? {
            event.subject = Some(grant.record.identity.subject());
            let reason = if grant.record.has_ended() {
                EndReason::AlreadyEnded
            } else {
                EndReason::DeviceCodeReused
            };
            self.end_grant(grant, reason, &event.origin).await?;
        }
        Ok(())
    }
}

fn pending() -> OAuthError {
    OAuthError::new(
        ErrorCode::AuthorizationPending,
        "nobody has let the device in yet, ask again after the interval",
    )
}

fn slow_down() -> OAuthError {
    OAuthError::new(
        ErrorCode::SlowDown,
        "the device asks too often, wait five seconds longer between two requests from now on",
    )
}

fn denied() -> OAuthError {
    OAuthError::new(ErrorCode::AccessDenied, "the device was not let in")
}

fn expired() -> OAuthError {
    OAuthError::new(
        ErrorCode::ExpiredToken,
        "nobody has let the device in in time, begin again",
    )
}

fn unknown() -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidGrant,
        "the device code is unknown, was given to another client or was used before",
    )
}
