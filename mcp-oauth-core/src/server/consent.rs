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
use url::Url;

use super::authorize::ClientRedirect;
use super::{AuthorizationServer, MAXIMUM_ROUNDS, contended};
use crate::audit::{Action, Event};
use crate::device::DeviceClosed;
use crate::error::{ErrorCode, OAuthError};
use crate::identity::SignIn;
use crate::origin::Origin;
use crate::transaction::{
    AuthorizationRequest, BrowserSecret, Decision, Destination, SignInSecret, SignInState, TransactionId,
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
    /// Back to the client, which is told `access_denied`.
    Denied(ClientRedirect),
    /// Nowhere: a device was turned away, and is told so when it asks.
    DeviceTurnedAway,
}

/// The identity provider's page, with the state of this sign-in: `Debug` shows the address alone.
#[derive(Clone, PartialEq, Eq)]
pub struct SignInUrl(Url);

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
#[derive(Debug, thiserror::Error)]
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

impl TransactionError {
    /// The same as an error of OAuth, for the log.
    #[must_use]
    pub fn oauth(&self) -> OAuthError {
        match self {
            Self::Refused(refused) => OAuthError::new(ErrorCode::InvalidRequest, refused.to_string()),
            Self::DeviceClosed(closed) => OAuthError::new(ErrorCode::InvalidRequest, closed.to_string()),
            Self::Failed(error) => error.clone(),
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
    pub async fn consent(
        &self,
        transaction: &TransactionId,
        decision: Decision,
        browser: Option<&BrowserSecret>,
        origin: &Origin,
    ) -> Result<ConsentOutcome, TransactionError> {
        let action = match decision {
            Decision::Approve => Action::Approve,
            Decision::Deny => Action::Deny,
        };
        let mut event = Event::new(action, origin);
        let result = self.take_decision(transaction, decision, browser, &mut event).await;
        self.audit(event.ended(result.as_ref().err().map(TransactionError::oauth).as_ref()));
        result
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
            let request = &loaded.record.request;
            let (next, outcome) = match decision {
                Decision::Approve => {
                    let (next, sign_in) = loaded.record.approve(browser)?;
                    (next, self.sign_in(transaction, sign_in))
                }
                Decision::Deny => (loaded.record.deny(browser)?, self.denied(request).await?),
            };
            // That the device still waits is asked at the same time: if it does not, nothing comes of the approval.
            let waits = async {
                match (decision, &request.destination) {
                    (Decision::Approve, Destination::Device { device, .. }) => self.device_waits(device).await,
                    _ => Ok(()),
                }
            };
            let stored = async {
                match &next {
                    Some(next) => Ok(self.replace_transaction(&loaded, next).await?),
                    None => Ok(true),
                }
            };
            let ((), stored) = try_join(waits, stored).await?;
            if stored {
                return Ok(outcome);
            }
        }
        Err(contended().into())
    }

    /// Tells whoever asked that the person did not allow it.
    async fn denied(&self, request: &AuthorizationRequest) -> Result<ConsentOutcome, TransactionError> {
        if let Destination::Device { device, .. } = &request.destination {
            self.turn_device_away(device).await?;
        }
        let denied = OAuthError::new(ErrorCode::AccessDenied, "the person did not allow it");
        Ok(match request.return_address() {
            Some(to) => ConsentOutcome::Denied(ClientRedirect::error(self, &to, &denied)),
            None => ConsentOutcome::DeviceTurnedAway,
        })
    }

    fn sign_in(&self, transaction: &TransactionId, sign_in: SignInSecret) -> ConsentOutcome {
        let location = self.identity().sign_in_url(&SignIn {
            state: &SignInState::new(transaction, &sign_in).expose(),
            callback: &self.0.callback,
            code_verifier: &sign_in.code_verifier(),
        });
        let location = SignInUrl(location);
        ConsentOutcome::SignIn { location, sign_in }
    }
}
