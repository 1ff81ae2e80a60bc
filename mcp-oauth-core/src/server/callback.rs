//! The way back from the identity provider: who the person is, whether they may, and the code.
//!
//! The callback has to come from the browser that gave consent: it shows the state that went out and the cookie
//! that was set with it. A person who finishes a sign-in that somebody else began gets a page, and the one who
//! began it gets nothing.
//!
//! ```
//! use mcp_oauth_core::transaction::SignInState;
//!
//! assert!("made-up".parse::<SignInState>().is_err());
//! ```

use futures_util::future::{join, join3};
use tracing::field::Empty;

use super::authorize::ClientRedirect;
use super::consent::TransactionError;
use super::providers::Provider;
use super::remembered_consent::RememberedConsent;
use super::{AuthorizationServer, grant_key};
use crate::audit::{Action, Event, Outcome};
use crate::device::decision::{DeviceApproval, DeviceDecision};
use crate::error::{ErrorCode, OAuthError};
use crate::grant::upstream::SealedTokens;
use crate::grant::{Approval, CodeBinding, Grant};
use crate::identity::tokens::SignedIn;
use crate::identity::{Identity, IdentityError, IdentityProvider, SignInReturn};
use crate::origin::Origin;
use crate::parameters::Parameters;
use crate::scope::ScopeSet;
use crate::store::{self, Loaded};
use crate::telemetry::upstream_call;
use crate::transaction::{
    Destination, Remembering, SignInSecret, SignInState, Transaction, TransactionId, TransactionRefused,
};

/// Where the person goes next.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallbackOutcome {
    /// Back to the client, with a code or with an error.
    Client(ClientRedirect),
    /// Back to the client, with a code, and the browser is to remember the consent.
    ClientRemembered {
        /// Back to the client.
        redirect: ClientRedirect,
        /// What the browser is to keep.
        remembered: RememberedConsent,
    },
    /// To the authorization endpoint, where this person is asked: the browser was taken for somebody else's.
    AskAgain {
        /// The authorization request, again.
        location: String,
    },
    /// Nowhere: the device was let in, and fetches its tokens by itself.
    DeviceLetIn,
    /// Nowhere: the device was turned away, for this reason, because of who the person is.
    DeviceTurnedAway(OAuthError),
    /// Nowhere yet: the identity provider failed in a way that may pass. The transaction waits, and approving it
    /// again sends the person to the identity provider again.
    Retry {
        /// The transaction to approve again.
        transaction: TransactionId,
        /// What the provider is called.
        provider: String,
        /// What happened.
        error: IdentityError,
    },
}

/// Somebody who may, and how far.
struct Admitted {
    identity: Identity,
    scopes: ScopeSet,
    upstream: Option<SealedTokens>,
}

impl AuthorizationServer {
    /// Takes the person back from the identity provider, or from the first one if there are several. `state` is the
    /// parameter of that name; `sign_in` is the value of this sign-in's cookie.
    ///
    /// # Errors
    ///
    /// When the transaction is unknown, over, or was begun in another browser; when the store does not answer.
    pub async fn callback(
        &self,
        state: &SignInState,
        parameters: &Parameters,
        sign_in: Option<&SignInSecret>,
        origin: &Origin,
    ) -> Result<CallbackOutcome, TransactionError> {
        self.back_from(self.0.identities.first(), state, parameters, sign_in, origin)
            .await
    }

    /// The same for the [callback](Self::callback_url) of this identity provider. Somebody who was sent to another provider
    /// is refused there.
    ///
    /// # Errors
    ///
    /// Those of [`callback`](Self::callback), and when there is no such provider.
    pub async fn callback_from(
        &self,
        provider: &str,
        state: &SignInState,
        parameters: &Parameters,
        sign_in: Option<&SignInSecret>,
        origin: &Origin,
    ) -> Result<CallbackOutcome, TransactionError> {
        let provider = self
            .0
            .identities
            .find(provider)
            .ok_or(TransactionRefused::UnknownProvider)?;
        self.back_from(provider, state, parameters, sign_in, origin).await
    }

    #[tracing::instrument(
        level = "debug",
        name = "callback",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    async fn back_from(
        &self,
        provider: &Provider,
        state: &SignInState,
        parameters: &Parameters,
        sign_in: Option<&SignInSecret>,
        origin: &Origin,
    ) -> Result<CallbackOutcome, TransactionError> {
        let mut event = Event::new(Action::SignIn, origin);
        let result = self.returned(provider, state, parameters, sign_in, &mut event).await;
        self.audited(event, result)
    }

    async fn returned(
        &self,
        provider: &Provider,
        state: &SignInState,
        parameters: &Parameters,
        sign_in: Option<&SignInSecret>,
        event: &mut Event,
    ) -> Result<CallbackOutcome, TransactionError> {
        let loaded = self
            .load_transaction(state.transaction())
            .await?
            .ok_or(TransactionRefused::Unknown)?;
        event.client_id = Some(loaded.record.request.client_id.clone());
        event.resources.clone_from(&loaded.record.request.resources);
        let identity = provider.identity.as_ref();
        loaded.record.returned(state, sign_in, identity.id())?;
        let sign_in = sign_in.ok_or(TransactionRefused::OtherBrowser)?;
        let code_verifier = sign_in.code_verifier(identity.id());
        let returned = SignInReturn {
            parameters,
            callback: &provider.callback,
            code_verifier: &code_verifier,
        };
        let identified = self.identified(identity, &returned).await;
        let request = &loaded.record.request;
        let refusal = match identified {
            Ok(SignedIn { mut identity, tokens }) => {
                event.subject = Some(identity.subject());
                identity.learnt_at = Some(self.now());
                let expected = loaded.record.expected.as_ref();
                if expected.is_some_and(|expected| *expected != identity.subject()) {
                    let location = self.ask_again(request, "consent").ok_or(TransactionRefused::Unknown)?;
                    self.finish(&loaded).await?;
                    let reason = "the browser was taken for somebody else's, who had consented";
                    event.outcome = Outcome::Refused(OAuthError::new(ErrorCode::AccessDenied, reason));
                    return Ok(CallbackOutcome::AskAgain { location });
                }
                let admitted = self
                    .admit(&identity, &request.client_id, &request.resources, &request.scopes)
                    .await;
                match admitted {
                    Ok(scopes) => {
                        let upstream = self.keep_tokens(&identity, tokens).await.map_err(OAuthError::from)?;
                        let admitted = Admitted {
                            identity,
                            scopes,
                            upstream,
                        };
                        return self.approved(&loaded, admitted, event).await;
                    }
                    Err(error) if error.code() == ErrorCode::AccessDenied => error,
                    Err(error) => return Err(error.into()),
                }
            }
            Err(IdentityError::Denied) => OAuthError::new(ErrorCode::AccessDenied, "the person declined to sign in"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the identity provider failed");
                let reason = "the identity provider could not say who the person is";
                event.outcome = Outcome::Refused(OAuthError::new(ErrorCode::TemporarilyUnavailable, reason));
                return Ok(CallbackOutcome::Retry {
                    transaction: loaded.record.id.clone(),
                    provider: identity.display_name().to_owned(),
                    error,
                });
            }
        };
        event.outcome = Outcome::Refused(refusal.clone());
        self.finish_with(&loaded, DeviceDecision::Denied).await?;
        Ok(match request.return_address() {
            Some(to) => CallbackOutcome::Client(ClientRedirect::error(self, &to, &refusal)),
            None => CallbackOutcome::DeviceTurnedAway(refusal),
        })
    }

    /// Who it is, if what came back is the provider's own, and no error. Tokens come along where there is a vault for them.
    pub(super) async fn identified(
        &self,
        provider: &dyn IdentityProvider,
        returned: &SignInReturn<'_>,
    ) -> Result<SignedIn, IdentityError> {
        if !provider.is_own_answer(returned.parameters).await? {
            tracing::warn!(
                provider = provider.id(),
                "an answer says that it is another provider's (iss)"
            );
            let reason = "the answer is not from there (iss); sign in again";
            return Err(IdentityError::Unusable(reason.to_owned()));
        }
        if let Some(error) = provider_error(provider, returned.parameters) {
            return Err(error);
        }
        if self.0.vault.is_some() {
            let identified = provider.identify_with_tokens(returned);
            upstream_call(provider.id(), "identify", identified, IdentityError::name).await
        } else {
            let identified = provider.identify(returned);
            let identity = upstream_call(provider.id(), "identify", identified, IdentityError::name).await?;
            Ok(SignedIn::new(identity))
        }
    }

    /// Lets the device in, or answers the client with a code.
    async fn approved(
        &self,
        loaded: &Loaded<Transaction>,
        admitted: Admitted,
        event: &mut Event,
    ) -> Result<CallbackOutcome, TransactionError> {
        let Admitted {
            identity,
            scopes,
            upstream,
        } = admitted;
        let request = &loaded.record.request;
        match &request.destination {
            Destination::Client {
                redirect_uri,
                code_challenge,
                ..
            } => {
                let binding = CodeBinding {
                    redirect_uri: redirect_uri.clone(),
                    code_challenge: code_challenge.clone(),
                };
                let approval = Approval {
                    client_id: request.client_id.clone(),
                    identity,
                    resources: request.resources.clone(),
                    scopes,
                    upstream,
                };
                self.issue_code(loaded, approval, binding, event).await
            }
            Destination::Device { .. } => {
                let approval = DeviceApproval {
                    identity,
                    scopes,
                    at: self.now(),
                    upstream,
                };
                self.finish_with(loaded, DeviceDecision::Approved(Box::new(approval)))
                    .await?;
                Ok(CallbackOutcome::DeviceLetIn)
            }
        }
    }

    /// Creates the grant and finishes the transaction, at the same time. Only the request that finished the
    /// transaction hands out its code; a grant whose code nobody gets is taken back.
    async fn issue_code(
        &self,
        loaded: &Loaded<Transaction>,
        approval: Approval,
        binding: CodeBinding,
        event: &mut Event,
    ) -> Result<CallbackOutcome, TransactionError> {
        let (grant, code) = Grant::issue(
            approval,
            binding,
            self.now(),
            &self.0.lifetimes.grant,
            self.randomness(),
        );
        event.subject = Some(grant.identity.subject());
        event.grant = Some(grant.id.clone());
        let key = grant_key(&grant.id);
        let (inserted, finished, ()) = join3(
            store::insert(self.store(), &key, &grant, Some(self.grant_time_to_live(&grant))),
            self.finish(loaded),
            self.hint(&grant),
        )
        .await;
        if let Err(error) = finished {
            if matches!(inserted, Ok(true)) {
                self.store().remove(&key).await?;
            }
            return Err(error);
        }
        inserted?;
        let to = loaded
            .record
            .request
            .return_address()
            .ok_or(TransactionRefused::Unknown)?;
        let redirect = ClientRedirect::code(self, &to, &code.expose());
        let until = match (loaded.record.remembering, self.0.remember_consent) {
            (Remembering::Wanted, Some(at_most)) => Some(self.now() + at_most),
            (Remembering::Recalled(until), Some(_)) => Some(until),
            _ => None,
        };
        let remembered = match until {
            Some(until) => self.remember(&loaded.record.request, &grant, until).await,
            None => None,
        };
        Ok(match remembered {
            Some(remembered) => CallbackOutcome::ClientRemembered { redirect, remembered },
            None => CallbackOutcome::Client(redirect),
        })
    }

    /// Finishes the transaction and, at the same time, decides about the device if there is one. If the decision may not
    /// have been stored, the transaction goes on, so that the person can load the page again or decide again.
    async fn finish_with(
        &self,
        loaded: &Loaded<Transaction>,
        decision: DeviceDecision,
    ) -> Result<(), TransactionError> {
        let Destination::Device { device, expires_at, .. } = &loaded.record.request.destination else {
            return self.finish(loaded).await;
        };
        let decided = self.decide_about_device(device, *expires_at, decision);
        let (decided, finished) = join(decided, self.finish(loaded)).await;
        if let (Err(TransactionError::Failed(_)), Ok(())) = (&decided, &finished) {
            self.take_up_again(&loaded.record).await;
        }
        decided.and(finished)
    }

    /// Undoes that this transaction was finished. If that fails, the person has to enter the code of the device again.
    async fn take_up_again(&self, before: &Transaction) {
        let undone = async {
            match self.load_transaction(&before.id).await? {
                Some(loaded) if loaded.record.is_completed() => self.replace_transaction(&loaded, before).await,
                _ => Ok(false),
            }
        };
        if let Err(error) = undone.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a sign-in for a device was finished, and the device was told nothing"
            );
        }
    }

    async fn finish(&self, loaded: &Loaded<Transaction>) -> Result<(), TransactionError> {
        if self.replace_transaction(loaded, &loaded.record.completed()).await? {
            Ok(())
        } else {
            Err(TransactionRefused::Finished.into())
        }
    }
}

/// An `error` in place of a code (RFC 6749 §4.1.2.1).
fn provider_error(provider: &dyn IdentityProvider, parameters: &Parameters) -> Option<IdentityError> {
    match parameters.get("error") {
        Ok(None) => None,
        Ok(Some("access_denied")) => Some(IdentityError::Denied),
        Ok(Some("temporarily_unavailable" | "server_error")) => Some(IdentityError::Unavailable {
            retry_after: None,
            source: None,
        }),
        // The provider wants the person to do something first, and lets them when they are there (OpenID Connect Core §3.1.2.6).
        Ok(Some("login_required" | "interaction_required" | "account_selection_required" | "consent_required")) => {
            Some(IdentityError::Unusable(
                "you have to sign in there, choose an account or agree to something first".to_owned(),
            ))
        }
        Ok(Some(_)) | Err(_) => {
            // Anybody can write this parameter, so only what a specification could have as a code is noted.
            let plain = |character: &char| character.is_ascii_alphanumeric() || *character == '_';
            let error: String = parameters
                .all("error")
                .flat_map(str::chars)
                .filter(plain)
                .take(60)
                .collect();
            tracing::warn!(
                provider = provider.id(),
                error,
                "the identity provider refused a sign-in"
            );
            Some(IdentityError::Unusable(format!(
                "{} refused the sign-in; its operator may find out why",
                provider.display_name()
            )))
        }
    }
}
