//! What the person decides on the consent page, before anybody is asked who they are.
//!
//! Consent comes first because the identity provider knows this server as one client and may not ask again: without
//! this page, whoever registers a client and sends somebody a link would get a code for that person's account (MCP
//! *Security Best Practices*, confused deputy).
//!
//! ```
//! use mcp_oauth_core::transaction::Decision;
//!
//! assert_ne!(Decision::Approve, Decision::Deny);
//! ```

use std::fmt;

use futures_util::future::try_join;
use tracing::field::Empty;
use url::Url;

use super::authorize::ClientRedirect;
use super::providers::Provider;
use super::{AuthorizationServer, MAXIMUM_ROUNDS, contended};
use crate::audit::{Action, Event};
use crate::device::DeviceClosed;
use crate::device::decision::DeviceDecision;
use crate::error::{ErrorCode, OAuthError};
use crate::identity::{IdentityError, IdentityProvider, SignIn};
use crate::origin::Origin;
use crate::telemetry::upstream_call;
use crate::transaction::{
    AuthorizationRequest, BrowserSecret, Decision, Destination, SignInSecret, SignInState, Transaction, TransactionId,
    TransactionRefused,
};

/// Where the person goes next.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConsentOutcome {
    /// To the identity provider, with the cookie that the callback will ask for.
    SignIn {
        /// The identity provider's page.
        location: SignInUrl,
        /// The value of the cookie.
        sign_in: SignInSecret,
    },
    /// To a choice of identity providers: [`provider_choice`](AuthorizationServer::provider_choice).
    ChooseProvider(TransactionId),
    /// Nowhere yet: the identity provider cannot be reached. The transaction waits, and approving it again tries again.
    Retry {
        /// The transaction to approve again.
        transaction: TransactionId,
        /// What the provider is called.
        provider: String,
        /// What happened.
        error: IdentityError,
    },
    /// Back to the client, which is told `access_denied`.
    Denied(ClientRedirect),
    /// Nowhere: a device was turned away, and is told so when it asks.
    DeviceTurnedAway,
}

/// What a person chooses from who may sign in at several places.
#[derive(Debug)]
#[non_exhaustive]
pub struct ProviderChoice {
    /// Names the transaction in the form.
    pub transaction: TransactionId,
    /// The identity providers: the name of each, and the name for people.
    pub providers: Vec<(String, String)>,
}

/// The identity provider's page, with the state of this sign-in: `Debug` shows the address alone.
#[derive(Clone, PartialEq, Eq)]
pub struct SignInUrl(pub(super) Url);

impl SignInUrl {
    /// The URL as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for SignInUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut address = self.0.clone();
        address.set_query(None);
        formatter.debug_tuple("SignInUrl").field(&address.as_str()).finish()
    }
}

/// Why a decision leads nowhere. The person is told.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The transaction does not go on.
    #[error(transparent)]
    Refused(#[from] TransactionRefused),
    /// The device waits no more: somebody else has decided, or its time is over.
    #[error(transparent)]
    DeviceClosed(#[from] DeviceClosed),
    /// The store does not answer.
    #[error(transparent)]
    Failed(#[from] OAuthError),
}

impl From<&TransactionError> for OAuthError {
    /// The same as an error of OAuth, for the log.
    fn from(error: &TransactionError) -> Self {
        match error {
            TransactionError::Refused(refused) => Self::new(ErrorCode::InvalidRequest, refused.to_string()),
            TransactionError::DeviceClosed(closed) => Self::new(ErrorCode::InvalidRequest, closed.to_string()),
            TransactionError::Failed(error) => error.clone(),
        }
    }
}

impl From<crate::store::StoreError> for TransactionError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl AuthorizationServer {
    /// Takes the person's decision. `browser` is the value of this transaction's cookie.
    ///
    /// Deciding the same twice leads to the same place twice.
    ///
    /// # Errors
    ///
    /// When the transaction is unknown, over, or was begun in another browser; when the store does not answer.
    #[tracing::instrument(
        level = "debug",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    pub async fn consent(
        &self,
        transaction: &TransactionId,
        decision: Decision,
        browser: Option<&BrowserSecret>,
        origin: &Origin,
    ) -> Result<ConsentOutcome, TransactionError> {
        let action = match decision {
            Decision::Approve | Decision::ApproveAndRemember => Action::Approve,
            Decision::Deny => Action::Deny,
        };
        let mut event = Event::new(action, origin);
        let result = self.take_decision(transaction, decision, browser, &mut event).await;
        self.audited(event, result)
    }

    async fn take_decision(
        &self,
        transaction: &TransactionId,
        decision: Decision,
        browser: Option<&BrowserSecret>,
        event: &mut Event,
    ) -> Result<ConsentOutcome, TransactionError> {
        let browser = browser.ok_or(TransactionRefused::OtherBrowser)?;
        for _ in 0..MAXIMUM_ROUNDS {
            let loaded = self
                .load_transaction(transaction)
                .await?
                .ok_or(TransactionRefused::Unknown)?;
            event.client_id = Some(loaded.record.request.client_id.clone());
            event.resources.clone_from(&loaded.record.request.resources);
            let request = &loaded.record.request;
            let (next, then) = match decision {
                Decision::Approve | Decision::ApproveAndRemember => {
                    let (next, sign_in) = loaded.record.approve(browser, self.end_of_step())?;
                    let next = match decision {
                        Decision::ApproveAndRemember => next.map(Transaction::remembered),
                        _ => next,
                    };
                    (next, Then::SignIn(sign_in))
                }
                Decision::Deny => (loaded.record.deny(browser)?, Then::Return(self.denied(request))),
            };
            // At the same time a device is turned away, or asked whether it still waits: if it does not, nothing comes of the
            // approval.
            let told = async {
                match (&request.destination, decision) {
                    (Destination::Client { .. }, _) => Ok(()),
                    (Destination::Device { device, expires_at, .. }, Decision::Deny) => {
                        self.decide_about_device(device, *expires_at, DeviceDecision::Denied)
                            .await
                    }
                    (Destination::Device { device, .. }, _) => self.device_waits(device).await,
                }
            };
            let stored = async {
                match &next {
                    Some(next) => Ok(self.replace_transaction(&loaded, next).await?),
                    None => Ok(true),
                }
            };
            let ((), stored) = try_join(told, stored).await?;
            if stored {
                return Ok(match (then, self.0.identities.only()) {
                    (Then::Return(outcome), _) => outcome,
                    (Then::SignIn(sign_in), Some(only)) => self.sign_in(&loaded.record, sign_in, only).await,
                    (Then::SignIn(_), None) => ConsentOutcome::ChooseProvider(transaction.clone()),
                });
            }
        }
        Err(contended().into())
    }

    /// What to choose from, for the browser that has approved. `browser` is the value of this transaction's cookie.
    ///
    /// # Errors
    ///
    /// When the transaction is unknown, over, not approved, or was begun in another browser; when the store does not answer.
    pub async fn provider_choice(
        &self,
        transaction: &TransactionId,
        browser: Option<&BrowserSecret>,
    ) -> Result<ProviderChoice, TransactionError> {
        self.goes_to_sign_in(transaction, browser).await?;
        let named = |provider: &dyn IdentityProvider| (provider.id().to_owned(), provider.display_name().to_owned());
        Ok(ProviderChoice {
            transaction: transaction.clone(),
            providers: self.identity_providers().map(named).collect(),
        })
    }

    /// Sends somebody who has approved to the identity provider of their choice. They may come back and choose another:
    /// nothing is stored, and whichever they finish with is the one.
    ///
    /// # Errors
    ///
    /// Those of [`provider_choice`](Self::provider_choice), and when there is no such provider.
    #[tracing::instrument(
        level = "debug",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    pub async fn choose_provider(
        &self,
        transaction: &TransactionId,
        provider: &str,
        browser: Option<&BrowserSecret>,
    ) -> Result<ConsentOutcome, TransactionError> {
        let provider = self
            .0
            .identities
            .find(provider)
            .ok_or(TransactionRefused::UnknownProvider)?;
        let (transaction, sign_in) = self.goes_to_sign_in(transaction, browser).await?;
        Ok(self.sign_in(&transaction, sign_in, provider).await)
    }

    async fn goes_to_sign_in(
        &self,
        transaction: &TransactionId,
        browser: Option<&BrowserSecret>,
    ) -> Result<(Transaction, SignInSecret), TransactionError> {
        let browser = browser.ok_or(TransactionRefused::OtherBrowser)?;
        let loaded = self.load_transaction(transaction).await?;
        let transaction = loaded.ok_or(TransactionRefused::Unknown)?.record;
        let sign_in = transaction.goes_to_sign_in(browser)?;
        Ok((transaction, sign_in))
    }

    /// Where to ask the same again, in a page, of somebody who is not who the browser was taken for. `browser` is the value of
    /// this transaction's cookie. `None` for a device, whose person is not taken for anybody.
    ///
    /// # Errors
    ///
    /// When the transaction is unknown, over, or was begun in another browser; when the store does not answer.
    pub async fn begin_anew(
        &self,
        transaction: &TransactionId,
        browser: Option<&BrowserSecret>,
    ) -> Result<Option<String>, TransactionError> {
        let browser = browser.ok_or(TransactionRefused::OtherBrowser)?;
        let loaded = self.load_transaction(transaction).await?;
        let transaction = loaded.ok_or(TransactionRefused::Unknown)?.record;
        transaction.is_shown_to(browser)?;
        Ok(self.ask_again(&transaction.request, "consent select_account"))
    }

    /// Where a person goes who did not allow it.
    fn denied(&self, request: &AuthorizationRequest) -> ConsentOutcome {
        let denied = OAuthError::new(ErrorCode::AccessDenied, "the person did not allow it");
        match request.return_address() {
            Some(to) => ConsentOutcome::Denied(ClientRedirect::error(self, &to, &denied)),
            None => ConsentOutcome::DeviceTurnedAway,
        }
    }

    pub(super) async fn sign_in(
        &self,
        transaction: &Transaction,
        sign_in: SignInSecret,
        to: &Provider,
    ) -> ConsentOutcome {
        let provider = to.identity.as_ref();
        let state = SignInState::new(&transaction.id, &sign_in, provider.id()).expose();
        let code_verifier = sign_in.code_verifier(provider.id());
        let leaving = SignIn {
            state: &state,
            callback: &to.callback,
            code_verifier: &code_verifier,
            choose_account: transaction.choose_account,
        };
        match upstream_call(
            provider.id(),
            "sign_in_url",
            provider.sign_in_url(&leaving),
            IdentityError::name,
        )
        .await
        {
            Ok(location) => ConsentOutcome::SignIn {
                location: SignInUrl(location),
                sign_in,
            },
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    provider = provider.id(),
                    "nobody can be sent to an identity provider"
                );
                ConsentOutcome::Retry {
                    transaction: transaction.id.clone(),
                    provider: provider.display_name().to_owned(),
                    error,
                }
            }
        }
    }
}

/// What follows once a decision is stored.
enum Then {
    SignIn(SignInSecret),
    Return(ConsentOutcome),
}
