//! Whose token it is: the account, and its verified address.

use std::error::Error;
use std::num::NonZeroU64;

use futures_util::future::try_join3;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::api::{Api, object};
use super::{GitHub, memberships, unusable};
use crate::identity::tokens::{SignedIn, UpstreamTokens};
use crate::identity::{Identity, IdentityError, IdentityProvider as _};

/// What this crate reads of <https://docs.github.com/en/rest/users/users#get-the-authenticated-user>.
#[derive(Deserialize)]
pub(super) struct Account {
    pub(super) id: NonZeroU64,
    pub(super) login: String,
    pub(super) name: Option<String>,
}

/// Looks through <https://docs.github.com/en/rest/users/emails#list-email-addresses-for-the-authenticated-user>.
///
/// The entries are looked at one by one, so that what is wrong with one of them spoils no other.
fn verified_primary(body: &[u8]) -> Option<String> {
    let entries: Vec<Value> = serde_json::from_slice(body).ok()?;
    let entry = entries
        .iter()
        .find(|entry| entry["primary"] == true && entry["verified"] == true)?;
    entry["email"]
        .as_str()
        .filter(|email| !email.is_empty())
        .map(str::to_owned)
}

/// What this crate reads of a refusal.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// "Sorry. Your account was suspended."
pub(super) fn is_suspension(body: &[u8]) -> bool {
    object(body).is_some_and(|refusal: Refusal| refusal.message.to_ascii_lowercase().contains("suspended"))
}

impl GitHub {
    /// Whose tokens these are, who has just signed in.
    pub(super) async fn whose(&self, tokens: UpstreamTokens) -> Result<SignedIn, IdentityError> {
        let api = self.api(tokens.access_token.expose());
        let email = async { Ok(self.email(&api).await) };
        let memberships = memberships::of_signed_in(&api, &self.wanted);
        let (account, email, memberships) = try_join3(self.account(&api), email, memberships).await?;
        let mut identity = Identity::new(self.id(), account.id.to_string())
            .with_login(account.login)
            .with_memberships(memberships);
        identity.name = account.name.filter(|name| !name.is_empty());
        identity.email = email;
        Ok(SignedIn::new(identity).with_tokens(tokens))
    }

    pub(super) fn api<'a>(&'a self, token: &'a str) -> Api<'a> {
        Api {
            base: &self.api,
            upstream: &self.upstream,
            token,
        }
    }

    /// Whose token it is.
    async fn account(&self, api: &Api<'_>) -> Result<Account, IdentityError> {
        let response = api.get("/user").await?;
        match response.status() {
            StatusCode::OK => object(response.body())
                .filter(|account: &Account| !account.login.is_empty())
                .ok_or_else(|| {
                    unusable("the account has no readable number and login; check that the API's base URL is GitHub's")
                }),
            StatusCode::UNAUTHORIZED => Err(unusable(
                "the API does not accept the token that was just issued; sign in again",
            )),
            StatusCode::FORBIDDEN if is_suspension(response.body()) => Err(unusable("the account is suspended there")),
            StatusCode::FORBIDDEN => Err(unusable(
                "the API forbids to read the account; check at GitHub that neither the account nor the app is restricted",
            )),
            status => Err(unusable(format!(
                "the API answered with status {}; check that the API's base URL is GitHub's",
                status.as_u16()
            ))),
        }
    }

    /// The verified primary address. To have none is no reason to turn somebody away, whatever it is that went wrong.
    pub(super) async fn email(&self, api: &Api<'_>) -> Option<String> {
        match api.get("/user/emails").await {
            Ok(response) if response.status() == StatusCode::OK => verified_primary(response.body()),
            Ok(response) => {
                tracing::debug!(
                    status = response.status().as_u16(),
                    "GitHub keeps the e-mail addresses to itself"
                );
                None
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "GitHub did not tell the e-mail addresses; the sign-in goes on without"
                );
                None
            }
        }
    }
}
