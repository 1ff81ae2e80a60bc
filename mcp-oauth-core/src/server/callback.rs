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

use futures_util::future::join3;

use super::authorize::ClientRedirect;
use super::consent::TransactionError;
use super::{AuthorizationServer, grant_key};
use crate::audit::{Action, Event, Outcome};
use crate::error::{ErrorCode, OAuthError};
use crate::grant::{Approval, CodeBinding, Grant};
use crate::identity::{Identity, IdentityError, SignInReturn};
use crate::origin::Origin;
use crate::parameters::Parameters;
use crate::scope::ScopeSet;
use crate::store::{self, Loaded};
use crate::transaction::{Destination, SignInSecret, SignInState, Transaction, TransactionId, TransactionRefused};

/// Where the person goes next.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallbackOutcome {
    /// Back to the client, with a code or with an error.
    Client(ClientRedirect),
    /// Nowhere: the device was let in, and fetches its tokens by itself.
    DeviceLetIn,
    /// Nowhere: the device was turned away, for this reason, because of who the person is.
    DeviceTurnedAway(OAuthError),
    /// Nowhere yet: the identity provider failed in a way that may pass. The transaction waits, and approving it
    /// again sends the person to the identity provider again.
    Retry {
        /// The transaction to approve again.
        transaction: TransactionId,
        /// What happened.
        error: IdentityError,
    },
}

impl AuthorizationServer {
    /// Takes the person back from the identity provider. `state` is the parameter of that name; `sign_in` is the
    /// value of this sign-in's cookie.
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
        let mut event = Event::new(Action::SignIn, origin);
        let result = self.returned(state, parameters, sign_in, &mut event).await;
        self.audit(match &result {
            Err(error) => event.refused(&error.oauth()),
            Ok(_) => event,
        });
        result
    }

    async fn returned(
        &self,
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
        loaded.record.returned(state, sign_in)?;
        let sign_in = sign_in.ok_or(TransactionRefused::OtherBrowser)?;
        let identified = if let Some(error) = self.provider_error(parameters) {
            Err(error)
        } else {
            let code_verifier = sign_in.code_verifier();
            let returned = SignInReturn {
                parameters,
                callback: &self.0.callback,
                code_verifier: &code_verifier,
            };
            self.identity().identify(&returned).await
        };
        let request = &loaded.record.request;
        let refusal = match identified {
            Ok(mut identity) => {
                event.subject = Some(identity.subject());
                identity.learnt_at = Some(self.now());
                let admitted = self
                    .admit(&identity, &request.client_id, &request.resources, &request.scopes)
                    .await;
                match admitted {
                    Ok(scopes) => return self.approved(&loaded, identity, scopes, event).await,
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
                    error,
                });
            }
        };
        event.outcome = Outcome::Refused(refusal.clone());
        if let Destination::Device { device, .. } = &request.destination {
            self.turn_device_away(device).await?;
        }
        let outcome = match request.return_address() {
            Some(to) => CallbackOutcome::Client(ClientRedirect::error(self, &to, &refusal)),
            None => CallbackOutcome::DeviceTurnedAway(refusal),
        };
        self.finish(&loaded).await?;
        Ok(outcome)
    }

    /// An `error` in place of a code (RFC 6749 §4.1.2.1).
    fn provider_error(&self, parameters: &Parameters) -> Option<IdentityError> {
        match parameters.get("error") {
            Ok(None) => None,
            Ok(Some("access_denied")) => Some(IdentityError::Denied),
            Ok(Some("temporarily_unavailable" | "server_error")) => Some(IdentityError::Unavailable {
                retry_after: None,
                source: None,
            }),
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
                    provider = self.identity().id(),
                    error,
                    "the identity provider refused a sign-in"
                );
                Some(IdentityError::Unusable(format!(
                    "{} refused the sign-in; its operator may find out why",
                    self.identity().display_name()
                )))
            }
        }
    }

    /// Lets the device in, or answers the client with a code.
    async fn approved(
        &self,
        loaded: &Loaded<Transaction>,
        identity: Identity,
        scopes: ScopeSet,
        event: &mut Event,
    ) -> Result<CallbackOutcome, TransactionError> {
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
                };
                self.issue_code(loaded, approval, binding, event).await
            }
            Destination::Device { device, .. } => {
                // In this order, so that a sign-in that fails half-way can be finished by loading the page again.
                self.let_device_in(device, identity, scopes).await?;
                self.finish(loaded).await?;
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
        Ok(CallbackOutcome::Client(ClientRedirect::code(self, &to, &code.expose())))
    }

    async fn finish(&self, loaded: &Loaded<Transaction>) -> Result<(), TransactionError> {
        if self.replace_transaction(loaded, &loaded.record.completed()).await? {
            Ok(())
        } else {
            Err(TransactionRefused::Finished.into())
        }
    }
}
