//! Who people are, as somebody else can tell.
//!
//! This server does not keep accounts. An [`IdentityProvider`] sends the person somewhere to sign in and, when they
//! come back, says who they are: an [`Identity`]. What the provider's own tokens allow is no concern of this
//! server; they are used to learn the identity and then dropped, unless the operator has them [kept](crate::server::vault).
//!
//! ```
//! use mcp_oauth_core::identity::Identity;
//!
//! // The subject is the provider's unchangeable identifier, never a login or an e-mail address: those get reassigned.
//! let ada = Identity::new("github", "583231").with_login("ada");
//! assert_eq!(ada.subject(), "github:583231");
//! ```
//!
//! # After the sign-in
//!
//! What was learnt at a sign-in grows old: people leave organisations, and accounts are closed. A provider that can be
//! asked about somebody who is away says so by [`IdentityProvider::standing`], which the server asks when a token is
//! refreshed, at bounded intervals. See [`crate::policy`] for how long what cannot be asked again is believed.

use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::clock::UnixTime;
use crate::issuer::Issuer;
use crate::parameters::Parameters;
use crate::pkce::CodeVerifier;
use crate::secret::Secret;

pub mod development;
pub mod enterprise;
#[cfg(feature = "github")]
pub mod github;
pub mod membership;
#[cfg(feature = "oidc")]
pub mod oidc;
pub mod tokens;

use membership::Membership;
use tokens::{SignedIn, TokensRefreshed, UpstreamTokens};

/// A person, as an identity provider knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Identity {
    /// Which provider says so.
    pub provider: String,
    /// The provider's identifier of the person, which never changes.
    pub id: String,
    /// The name they sign in with. It can change, and can then be somebody else's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// What they are called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// An e-mail address that the provider has verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What they belong to. A provider may leave out whatever nobody wants to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memberships: Vec<Membership>,
    /// When the provider said all this; `None` if that was when the grant was approved. The server fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learnt_at: Option<UnixTime>,
}

impl Identity {
    /// The person whom `provider` knows as `id`.
    #[must_use]
    pub fn new(provider: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            id: id.into(),
            login: None,
            name: None,
            email: None,
            memberships: Vec::new(),
            learnt_at: None,
        }
    }

    /// Adds the name they sign in with.
    #[must_use]
    pub fn with_login(mut self, login: impl Into<String>) -> Self {
        self.login = Some(login.into());
        self
    }

    /// Adds what they are called.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds an e-mail address that the provider has verified.
    #[must_use]
    pub fn with_verified_email(mut self, email: impl Into<String>) -> Self {
        self.email = Some(email.into());
        self
    }

    /// Adds what they belong to.
    #[must_use]
    pub fn with_memberships(mut self, memberships: impl IntoIterator<Item = Membership>) -> Self {
        self.memberships.extend(memberships);
        self
    }

    /// Whether they belong to this.
    #[must_use]
    pub fn belongs_to(&self, membership: &Membership) -> bool {
        self.memberships.contains(membership)
    }

    /// The `sub` of tokens: provider and identifier, so that two providers never name the same person by chance.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("{}:{}", self.provider, self.id)
    }
}

/// What a provider needs to send somebody away to sign in.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SignIn<'a> {
    /// Comes back unchanged with the person.
    pub state: &'a Secret,
    /// Where the person comes back to.
    pub callback: &'a Url,
    /// The secret behind the PKCE challenge of this sign-in.
    pub code_verifier: &'a CodeVerifier,
    /// Whether the person is to choose among their accounts there, since they are not whom the browser is signed in as.
    pub choose_account: bool,
}

impl<'a> SignIn<'a> {
    /// Puts the three together, for tests of a provider.
    #[must_use]
    pub fn new(state: &'a Secret, callback: &'a Url, code_verifier: &'a CodeVerifier) -> Self {
        Self {
            state,
            callback,
            code_verifier,
            choose_account: false,
        }
    }

    /// Has the person choose among their accounts.
    #[must_use]
    pub fn choosing_account(mut self) -> Self {
        self.choose_account = true;
        self
    }
}

/// What came back with a person.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SignInReturn<'a> {
    /// The parameters of the callback.
    pub parameters: &'a Parameters,
    /// Where the person came back to.
    pub callback: &'a Url,
    /// The secret behind the PKCE challenge of this sign-in.
    pub code_verifier: &'a CodeVerifier,
}

impl<'a> SignInReturn<'a> {
    /// Puts the three together, for tests of a provider.
    #[must_use]
    pub fn new(parameters: &'a Parameters, callback: &'a Url, code_verifier: &'a CodeVerifier) -> Self {
        Self {
            parameters,
            callback,
            code_verifier,
        }
    }
}

/// Why nobody can be identified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The person declined at the provider.
    #[error("the person declined to sign in")]
    Denied,
    /// The provider does not answer, or not now. Trying again may help.
    #[error("the identity provider does not answer")]
    Unavailable {
        /// After how long it may be asked again, if it said so.
        retry_after: Option<Duration>,
        /// What happened.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The provider refused the code, or answered what nobody can read. Signing in anew may help.
    #[error("the identity provider's answer cannot be used: {0}")]
    Unusable(String),
}

impl IdentityError {
    /// A short name, for what is measured.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Unavailable { .. } => "unavailable",
            Self::Unusable(_) => "unusable",
        }
    }
}

/// How a person stands with the provider who once said who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Nothing new is known. What was learnt before is as old as it was.
    Unchanged,
    /// The provider was asked, and it is all as it was: what was learnt counts as learnt now.
    Confirmed,
    /// The provider was asked, and this is the person now: under another login, or in other organisations. The
    /// identifier has to be the same.
    Changed(Identity),
    /// The provider was asked, and there is nobody: the account was deleted or suspended.
    Gone,
    /// The provider no longer takes the person's own token: they have taken back what they once allowed this server.
    Revoked,
}

/// Somebody who can tell who a person is.
#[async_trait]
pub trait IdentityProvider: Debug + Send + Sync + 'static {
    /// A short name that stands in front of every subject. It must never change.
    fn id(&self) -> &str;

    /// The name for people.
    fn display_name(&self) -> &str;

    /// Whether this provider may be used by a server with this issuer; asked once, when the server is built.
    ///
    /// # Errors
    ///
    /// A sentence that says what to change.
    fn check(&self, issuer: &Issuer) -> Result<(), String> {
        let _ = issuer;
        Ok(())
    }

    /// Where to send somebody to sign in.
    ///
    /// # Errors
    ///
    /// When that is not known at the moment, because the provider has to be asked for it and does not answer.
    async fn sign_in_url(&self, sign_in: &SignIn<'_>) -> Result<Url, IdentityError>;

    /// Whether what came back says that it comes from this provider, or says nothing of it (`iss`, RFC 9207). Asked before
    /// anything else that came back is looked at, an error included: where people can sign in at several places, one of
    /// them could pass off another's answer as its own.
    ///
    /// # Errors
    ///
    /// When that cannot be told at the moment.
    async fn is_own_answer(&self, parameters: &Parameters) -> Result<bool, IdentityError> {
        let _ = parameters;
        Ok(true)
    }

    /// Learns who came back.
    async fn identify(&self, returned: &SignInReturn<'_>) -> Result<Identity, IdentityError>;

    /// Learns who came back, and hands over the tokens that the provider has issued for them. Called in place of
    /// [`identify`](Self::identify) by a server that has a [vault](crate::server::vault); a provider that has no tokens to
    /// hand over leaves it as it is.
    ///
    /// # Errors
    ///
    /// Those of [`identify`](Self::identify).
    async fn identify_with_tokens(&self, returned: &SignInReturn<'_>) -> Result<SignedIn, IdentityError> {
        Ok(SignedIn::new(self.identify(returned).await?))
    }

    /// Exchanges tokens whose time is over for new ones.
    ///
    /// # Errors
    ///
    /// When the provider cannot be asked now.
    async fn refresh_tokens(&self, tokens: &UpstreamTokens) -> Result<TokensRefreshed, IdentityError> {
        let _ = tokens;
        Ok(TokensRefreshed::Impossible)
    }

    /// Whether this provider tells who belongs to `membership`; asked once for each that an allow-list names, when the
    /// server is built, so that nobody waits in vain to be let in.
    fn tells(&self, membership: &Membership) -> bool {
        let _ = membership;
        true
    }

    /// Asks how somebody stands who signed in some time ago and is not here. `identity` is what was learnt last.
    ///
    /// Called while a client waits for a refreshed token, so it has to be bounded in time.
    ///
    /// # Errors
    ///
    /// When the provider cannot be asked now. That never ends anybody's session by itself: what was learnt before is
    /// believed until it is too old, and from then on clients are told to come again.
    async fn standing(&self, identity: &Identity) -> Result<Standing, IdentityError> {
        let _ = identity;
        Ok(Standing::Unchanged)
    }

    /// Asks the same with the person's own tokens, which are good at this moment. Without a way to do so, it is
    /// [`standing`](Self::standing).
    ///
    /// # Errors
    ///
    /// Those of [`standing`](Self::standing).
    async fn standing_with_tokens(
        &self,
        identity: &Identity,
        tokens: &UpstreamTokens,
    ) -> Result<Standing, IdentityError> {
        let _ = tokens;
        self.standing(identity).await
    }

    /// The made-up people to choose from, if this provider is for development.
    fn development_users(&self) -> Option<&[Identity]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_stored_before_there_were_memberships_has_none_and_is_stored_as_before() {
        let stored = r#"{"provider":"github","id":"7","login":"ada"}"#;
        let ada: Identity = serde_json::from_str(stored).unwrap();
        assert_eq!(ada, Identity::new("github", "7").with_login("ada"));
        assert_eq!(serde_json::to_string(&ada).unwrap(), stored);
    }

    #[test]
    fn memberships_are_stored_as_they_are_written() {
        let ada = Identity::new("github", "7").with_memberships(["team=Acme/ops".parse().unwrap()]);
        let stored = r#"{"provider":"github","id":"7","memberships":["team=acme/ops"]}"#;
        assert_eq!(serde_json::to_string(&ada).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Identity>(stored).unwrap(), ada);
    }
}
