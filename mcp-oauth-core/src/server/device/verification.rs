//! What a person does for a device: enter its code, and let it in or turn it away (RFC 8628 §3.3).
//!
//! Entering the code begins a [transaction](crate::transaction) as an authorization request does, with the same
//! consent, the same cookies and the same sign-in. Only the answer goes elsewhere: not back to a client with the person,
//! but into a record beside that of the device, which asks for it by itself.
//!
//! The code leads to what the device asks for, so the transaction begins at the same time as it is asked whether the
//! device still waits; where it does not, the transaction is removed again.
//!
//! Codes are short, so guesses are counted: for each network and for everybody ([`limits`](crate::limits)). A code that is unknown, expired or used
//! has one and the same answer.
//!
//! ```
//! use mcp_oauth_core::origin::Origin;
//! use mcp_oauth_core::server::AuthorizationServer;
//!
//! async fn who_asks(server: &AuthorizationServer, entered: &str) -> Result<String, Box<dyn std::error::Error>> {
//!     let entry = server.enter_user_code(entered, &Origin::unknown()).await?;
//!     let prompt = server.device_prompt(&entry.transaction, &entry.user_code, Some(&entry.browser)).await?;
//!     Ok(prompt.client_name)
//! }
//! ```

use futures_util::future::{join, join3, try_join3};
use tracing::field::Empty;

use super::{DevicePointer, decision_key, user_code_key};
use crate::audit::{Action, Event};
use crate::clock::UnixTime;
use crate::device::decision::DeviceDecision;
use crate::device::{self, DeviceClosed, DeviceId, DeviceRequest, UserCode};
use crate::error::{ErrorCode, OAuthError};
use crate::limits::Work;
use crate::origin::Origin;
use crate::server::authorize::{ConsentPrompt, PromptDestination};
use crate::server::consent::TransactionError;
use crate::server::{AuthorizationServer, transaction_key};
use crate::store::{self, Loaded, StoreError};
use crate::transaction::{AuthorizationRequest, BrowserSecret, Destination, TransactionId, TransactionRefused};

/// Why a code leads nowhere. The person is told.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserCodeError {
    /// It is on no device that waits: mistyped, expired, used, or made up.
    #[error("no device that waits shows this code")]
    Unusable,
    /// Too many wrong codes were entered, or the store does not answer.
    #[error(transparent)]
    Failed(#[from] OAuthError),
}

impl From<StoreError> for UserCodeError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<&UserCodeError> for OAuthError {
    /// The same as an error of OAuth, for the log.
    fn from(error: &UserCodeError) -> Self {
        match error {
            UserCodeError::Unusable => Self::new(ErrorCode::InvalidRequest, error.to_string()),
            UserCodeError::Failed(error) => error.clone(),
        }
    }
}

/// What entering a code leads to.
#[derive(Debug)]
#[non_exhaustive]
pub struct UserCodeEntry {
    /// The transaction that the consent page is for.
    pub transaction: TransactionId,
    /// For a cookie of the browser.
    pub browser: BrowserSecret,
    /// The code, as the device shows it.
    pub user_code: UserCode,
}

impl AuthorizationServer {
    /// Takes the code that a person has entered, as they have typed it, and begins a transaction for the device that
    /// shows it.
    ///
    /// May be called any number of times for the same code: nothing is used up before the person decides.
    ///
    /// # Errors
    ///
    /// See [`UserCodeError`].
    #[tracing::instrument(
        level = "debug",
        target = "mcp_oauth::trace",
        skip_all,
        fields(oauth.outcome = Empty, oauth.detail = Empty)
    )]
    pub async fn enter_user_code(&self, entered: &str, origin: &Origin) -> Result<UserCodeEntry, UserCodeError> {
        let mut event = Event::new(Action::EnterUserCode, origin);
        let result = self.begin_verification(entered, &mut event).await;
        self.audited(event, result)
    }

    async fn begin_verification(&self, entered: &str, event: &mut Event) -> Result<UserCodeEntry, UserCodeError> {
        // What can be no code is no guess either, and costs nothing.
        let user_code: UserCode = entered.parse().map_err(|_| UserCodeError::Unusable)?;
        let origin = event.origin;
        // Looked up beside the quotas; whoever has used one up is not told what was found.
        let found = async { Ok(self.load_pointer(&user_code).await?) };
        let (found, (), ()) = try_join3(
            found,
            self.try_user_code(&origin),
            self.spend(Work::Authorization, &origin),
        )
        .await?;
        let Some(Loaded { record: pointer, .. }) = found else {
            self.user_code_was_wrong().await?;
            return Err(UserCodeError::Unusable);
        };
        let DeviceRequest {
            client_id,
            resources,
            scopes,
        } = pointer.request;
        event.client_id = Some(client_id.clone());
        event.resources.clone_from(&resources);
        let request = AuthorizationRequest {
            client_id,
            destination: Destination::Device {
                device: pointer.device.clone(),
                expires_at: pointer.expires_at,
                user_code: user_code.digest(),
            },
            resources,
            scopes,
        };
        let browser = BrowserSecret::drawn_from(self.randomness());
        let transaction = self.new_transaction(request, &browser);
        // Whether the device still waits is asked at the same time. If it does not, the rest is undone.
        let (state, inserted, counted) = join3(
            self.load_device_state(&pointer.device),
            self.insert_transaction(&transaction),
            self.user_code_was_right(&origin),
        )
        .await;
        if !state?.is_some_and(|state| state.is_open(self.now())) {
            let key = transaction_key(&transaction.id);
            let undone = join(self.store().remove(&key), self.user_code_was_wrong_after_all(&origin));
            // A transaction that stays is of no use: before anybody is sent to sign in, the device is asked for again.
            let (_, counted) = undone.await;
            counted?;
            return Err(UserCodeError::Unusable);
        }
        inserted?;
        counted?;
        Ok(UserCodeEntry {
            transaction: transaction.id,
            browser,
            user_code,
        })
    }

    /// What the consent page for a device shows. `browser` is the value of this transaction's cookie.
    ///
    /// The person is asked to compare `user_code`, so it has to be the code that began the transaction; it is not kept
    /// here, and comes with each request for the page.
    ///
    /// # Errors
    ///
    /// When the transaction is unknown, over, was begun in another browser or with another code; when the store does not
    /// answer.
    pub async fn device_prompt(
        &self,
        transaction: &TransactionId,
        user_code: &UserCode,
        browser: Option<&BrowserSecret>,
    ) -> Result<ConsentPrompt, TransactionError> {
        let browser = browser.ok_or(TransactionRefused::OtherBrowser)?;
        let loaded = self.load_transaction(transaction).await?;
        let transaction = loaded.ok_or(TransactionRefused::Unknown)?.record;
        transaction.is_shown_to(browser)?;
        match &transaction.request.destination {
            Destination::Device { user_code: known, .. } if user_code.has(known) => {}
            _ => return Err(TransactionRefused::Unknown.into()),
        }
        let client = self.known_client(&transaction.request.client_id).await?;
        let client = client.ok_or(TransactionRefused::Unknown)?.record;
        let destination = PromptDestination::Device {
            user_code: user_code.clone(),
        };
        Ok(self.prompt(&client, transaction, browser.clone(), destination))
    }

    async fn load_pointer(&self, code: &UserCode) -> Result<Option<Loaded<DevicePointer>>, StoreError> {
        store::load(self.store(), &user_code_key(code)).await
    }

    /// Whether a person can still decide about the device: asked before they are sent to sign in.
    pub(in crate::server) async fn device_waits(&self, id: &DeviceId) -> Result<(), TransactionError> {
        match self.load_device_state(id).await? {
            Some(state) if state.is_open(self.now()) => Ok(()),
            _ => Err(DeviceClosed.into()),
        }
    }

    /// Decides about the device, unless somebody has before, or its time is over. To decide the same again changes nothing.
    pub(in crate::server) async fn decide_about_device(
        &self,
        id: &DeviceId,
        expires_at: UnixTime,
        decision: DeviceDecision,
    ) -> Result<(), TransactionError> {
        let now = self.now();
        if now < expires_at {
            let kept = Some(device::time_to_live(expires_at, now));
            if store::insert(self.store(), &decision_key(id), &decision, kept).await? {
                return Ok(());
            }
        }
        match self.load_decision(id).await? {
            Some(known) if decision.repeats(&known) => Ok(()),
            _ => Err(DeviceClosed.into()),
        }
    }
}
