//! An authorization request on its way: from the first page to the code, or to the device that waits for it.
//!
//! A transaction is one record. It begins when somebody opens the authorization endpoint, or enters the code that a
//! device shows, and knows two secrets by digest: the one in the browser's cookie, which says that the pages of one sign-in are seen by one browser,
//! and the one that exists only after consent was given and that the callback has to show.
//!
//! ```text
//!  authorize ──► AwaitingConsent ──approve──► AwaitingIdentity ──callback──► Completed
//!                       └────────────deny────────────┴──────────deny──────► Refused
//! ```
//!
//! All secrets of the second step follow from the browser's secret and the transaction's identifier. So nothing
//! readable is stored, and approving twice leads to the same place twice.
//!
//! ```
//! use mcp_oauth_core::transaction::TransactionId;
//!
//! assert!("not an identifier".parse::<TransactionId>().is_err());
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::client::ClientId;
use crate::client::redirect_uri::RedirectUri;
use crate::clock::UnixTime;
use crate::device::DeviceId;
use crate::pkce::{CodeChallenge, CodeVerifier};
use crate::randomness::Randomness;
use crate::resource::ResourceUri;
use crate::scope::ScopeSet;
use crate::secret::{Secret, SecretDigest, is_encoded_256_bits};

/// The identifier of a transaction: 256 random bits, so that nobody guesses one.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TransactionId(String);

/// Text that cannot be the identifier of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a transaction's identifier is 43 characters of base64url")]
#[non_exhaustive]
pub struct InvalidTransactionId;

impl TransactionId {
    pub(crate) fn drawn_from(random: &dyn Randomness) -> Self {
        Self(Secret::drawn_from(random).expose().to_owned())
    }

    /// The identifier as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TransactionId {
    type Err = InvalidTransactionId;

    fn from_str(text: &str) -> Result<Self, InvalidTransactionId> {
        is_encoded_256_bits(text)
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidTransactionId)
    }
}

impl TryFrom<String> for TransactionId {
    type Error = InvalidTransactionId;

    fn try_from(text: String) -> Result<Self, InvalidTransactionId> {
        text.parse()
    }
}

impl From<TransactionId> for String {
    fn from(id: TransactionId) -> Self {
        id.0
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TransactionId(…)")
    }
}

/// An authorization request that may be put before a person: every part was checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub(crate) struct AuthorizationRequest {
    /// Who asks.
    pub client_id: ClientId,
    /// Where the answer goes.
    pub destination: Destination,
    /// For which resources.
    pub resources: Vec<ResourceUri>,
    /// How far: what was asked for, as far as it exists.
    pub scopes: ScopeSet,
}

/// Where the answer to an authorization request goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub(crate) enum Destination {
    /// Back to the client, with the person: a code, or an error.
    Client {
        /// The redirect URI, as the request named it.
        redirect_uri: RedirectUri,
        /// What the client wants to get back, exactly.
        state: Option<ClientState>,
        /// What the verifier will have to meet.
        code_challenge: CodeChallenge,
    },
    /// To a device, which asks for it by itself (RFC 8628). The person stays here.
    Device {
        /// Which device authorization it is.
        device: DeviceId,
        /// Until when it can be decided about.
        expires_at: UnixTime,
        /// What is left here of the code that the device shows.
        user_code: SecretDigest,
    },
}

/// The `state` of a client. It is the client's protection against forgery, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ClientState(pub(crate) String);

impl fmt::Debug for ClientState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientState(…)")
    }
}

/// The secret in a browser's cookie, one for each transaction. All pages of one sign-in have to be seen by the
/// browser that has it.
#[derive(Clone, Debug)]
pub struct BrowserSecret(Secret);

impl BrowserSecret {
    pub(crate) fn drawn_from(random: &dyn Randomness) -> Self {
        Self(Secret::drawn_from(random))
    }

    /// Takes the value of the cookie.
    #[must_use]
    pub fn from_cookie(value: &str) -> Self {
        Self(Secret::from(value))
    }

    /// The value for the cookie.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    fn sign_in(&self, transaction: &TransactionId) -> SignInSecret {
        SignInSecret(self.0.derive(&format!("sign-in {}", transaction.as_str())))
    }
}

/// The secret of one sign-in, which the browser gets after consent and shows at the callback.
#[derive(Clone, Debug)]
pub struct SignInSecret(Secret);

impl SignInSecret {
    /// Takes the value of the cookie.
    #[must_use]
    pub fn from_cookie(value: &str) -> Self {
        Self(Secret::from(value))
    }

    /// The value for the cookie.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The verifier of this sign-in's own PKCE towards this identity provider.
    pub(crate) fn code_verifier(&self, provider: &str) -> CodeVerifier {
        CodeVerifier::from_secret(self.0.derive(&format!("code verifier {provider}")))
    }

    fn proof(&self, provider: &str) -> Secret {
        self.0.derive(&format!("state {provider}"))
    }
}

/// The `state` of a sign-in at one identity provider: `<transaction>.<proof>`. What one provider was given is of no use at
/// the callback of another.
#[derive(Clone, Debug)]
pub struct SignInState {
    transaction: TransactionId,
    proof: Secret,
}

impl SignInState {
    /// The transaction that the sign-in belongs to.
    #[must_use]
    pub fn transaction(&self) -> &TransactionId {
        &self.transaction
    }

    pub(crate) fn new(transaction: &TransactionId, sign_in: &SignInSecret, provider: &str) -> Self {
        Self {
            transaction: transaction.clone(),
            proof: sign_in.proof(provider),
        }
    }

    /// Whether it goes with this secret, at this provider.
    pub(crate) fn is_of(&self, sign_in: &SignInSecret, provider: &str) -> bool {
        sign_in.proof(provider).digest().matches(&self.proof)
    }

    pub(crate) fn expose(&self) -> Secret {
        Secret::from(format!("{}.{}", self.transaction.as_str(), self.proof.expose()))
    }
}

impl FromStr for SignInState {
    type Err = InvalidTransactionId;

    fn from_str(text: &str) -> Result<Self, InvalidTransactionId> {
        let (transaction, proof) = text.split_once('.').ok_or(InvalidTransactionId)?;
        Ok(Self {
            transaction: transaction.parse()?,
            proof: Secret::from(proof),
        })
    }
}

/// How far a transaction has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Progress {
    AwaitingConsent {
        browser: SecretDigest,
    },
    AwaitingIdentity {
        browser: SecretDigest,
        sign_in: SecretDigest,
    },
    Completed,
    Refused {
        browser: SecretDigest,
    },
}

/// An authorization request on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Transaction {
    pub(crate) id: TransactionId,
    pub(crate) request: AuthorizationRequest,
    /// When its time is over. It begins anew when the person approves, and never after that.
    pub(crate) ends_at: UnixTime,
    progress: Progress,
    /// What becomes of the consent when it was given.
    #[serde(default, skip_serializing_if = "Remembering::is_never")]
    pub(crate) remembering: Remembering,
    /// The person whom the browser was taken for, the `sub` of their tokens. If it turns out to be somebody else, that person
    /// is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expected: Option<String>,
    /// Whether the person is to choose among their accounts at the identity provider.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) choose_account: bool,
}

/// Whether the browser is to remember a consent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Remembering {
    /// It may not.
    #[default]
    Never,
    /// It may, if the person wants it to.
    Possible,
    /// The person wants it to.
    Wanted,
    /// It does already, until then.
    Recalled(UnixTime),
}

impl Remembering {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field as it is")]
    fn is_never(&self) -> bool {
        *self == Self::Never
    }
}

/// Why a transaction does not go on. The person sees these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionRefused {
    /// There is none: it was never there, or its time is over.
    #[error("this sign-in has expired or was never begun, go back to where you began, and start again")]
    Unknown,
    /// Another browser began it, or this one does not keep cookies.
    #[error(
        "this sign-in was begun in another browser, or cookies are blocked: allow cookies and start again from your app"
    )]
    OtherBrowser,
    /// It is over.
    #[error("this sign-in is already finished, go back to where you began, and start again if you are still asked")]
    Finished,
    /// There is no such place to sign in.
    #[error("there is no such place to sign in, go back to where you began, and start again")]
    UnknownProvider,
    /// Nobody has consented yet.
    #[error("this sign-in was not approved yet, go back to where you began, and start again")]
    NotApproved,
}

/// What a person decided on the consent page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The client may have what it asked for.
    Approve,
    /// It may, and the person does not want to be asked again. If this may not be remembered, it is the same as `Approve`.
    ApproveAndRemember,
    /// It may not.
    Deny,
}

impl Transaction {
    pub(crate) fn begin(
        request: AuthorizationRequest,
        browser: &BrowserSecret,
        ends_at: UnixTime,
        random: &dyn Randomness,
    ) -> Self {
        let progress = Progress::AwaitingConsent {
            browser: browser.0.digest(),
        };
        Self {
            id: TransactionId::drawn_from(random),
            request,
            ends_at,
            progress,
            remembering: Remembering::Never,
            expected: None,
            choose_account: false,
        }
    }

    /// Whether the consent page may be shown to this browser, again or for the first time.
    pub(crate) fn is_shown_to(&self, browser: &BrowserSecret) -> Result<(), TransactionRefused> {
        match self.progress {
            Progress::Refused { .. } => Err(TransactionRefused::Finished),
            _ => self.seen_by(browser),
        }
    }

    /// The person approves, and has until `ends_at` to sign in. `None` in place of a next state means that they had
    /// approved before.
    pub(crate) fn approve(
        &self,
        browser: &BrowserSecret,
        ends_at: UnixTime,
    ) -> Result<(Option<Self>, SignInSecret), TransactionRefused> {
        self.seen_by(browser)?;
        let sign_in = browser.sign_in(&self.id);
        match &self.progress {
            Progress::AwaitingConsent { browser } => {
                let progress = Progress::AwaitingIdentity {
                    browser: *browser,
                    sign_in: sign_in.0.digest(),
                };
                Ok((
                    Some(Self {
                        ends_at,
                        progress,
                        ..self.clone()
                    }),
                    sign_in,
                ))
            }
            Progress::AwaitingIdentity { .. } => Ok((None, sign_in)),
            Progress::Completed | Progress::Refused { .. } => Err(TransactionRefused::Finished),
        }
    }

    /// The person denies. `None` means that they had denied before.
    pub(crate) fn deny(&self, browser: &BrowserSecret) -> Result<Option<Self>, TransactionRefused> {
        self.seen_by(browser)?;
        match &self.progress {
            Progress::AwaitingConsent { browser } | Progress::AwaitingIdentity { browser, .. } => Ok(Some(Self {
                progress: Progress::Refused { browser: *browser },
                ..self.clone()
            })),
            Progress::Refused { .. } => Ok(None),
            Progress::Completed => Err(TransactionRefused::Finished),
        }
    }

    /// The person does not want to be asked again.
    pub(crate) fn remembered(self) -> Self {
        let remembering = match self.remembering {
            Remembering::Possible => Remembering::Wanted,
            other => other,
        };
        Self { remembering, ..self }
    }

    /// The person goes to sign in, having approved before.
    pub(crate) fn goes_to_sign_in(&self, browser: &BrowserSecret) -> Result<SignInSecret, TransactionRefused> {
        self.seen_by(browser)?;
        match &self.progress {
            Progress::AwaitingIdentity { .. } => Ok(browser.sign_in(&self.id)),
            Progress::AwaitingConsent { .. } => Err(TransactionRefused::NotApproved),
            Progress::Completed | Progress::Refused { .. } => Err(TransactionRefused::Finished),
        }
    }

    /// Whether the person who comes back from this identity provider is the one who consented, in the same browser, and was
    /// sent to that provider.
    pub(crate) fn returned(
        &self,
        state: &SignInState,
        sign_in: Option<&SignInSecret>,
        provider: &str,
    ) -> Result<(), TransactionRefused> {
        match &self.progress {
            Progress::AwaitingIdentity { sign_in: expected, .. } => sign_in
                .filter(|sign_in| expected.matches(&sign_in.0) && state.is_of(sign_in, provider))
                .map(|_| ())
                .ok_or(TransactionRefused::OtherBrowser),
            Progress::AwaitingConsent { .. } => Err(TransactionRefused::NotApproved),
            Progress::Completed | Progress::Refused { .. } => Err(TransactionRefused::Finished),
        }
    }

    /// The state after the code was issued, or the device decided about.
    pub(crate) fn completed(&self) -> Self {
        Self {
            progress: Progress::Completed,
            ..self.clone()
        }
    }

    /// Whether the code was issued, or the device decided about.
    pub(crate) fn is_completed(&self) -> bool {
        matches!(self.progress, Progress::Completed)
    }

    fn seen_by(&self, browser: &BrowserSecret) -> Result<(), TransactionRefused> {
        let digest = match &self.progress {
            Progress::AwaitingConsent { browser }
            | Progress::AwaitingIdentity { browser, .. }
            | Progress::Refused { browser } => browser,
            Progress::Completed => return Err(TransactionRefused::Finished),
        };
        if digest.matches(&browser.0) {
            Ok(())
        } else {
            Err(TransactionRefused::OtherBrowser)
        }
    }
}

#[cfg(test)]
mod tests;
