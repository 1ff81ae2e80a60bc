//! Who may register, and what becomes of it: the operator's side of registration.
//!
//! | | unless said otherwise |
//! |---|---|
//! | who may register ([`Admission`]) | everybody |
//! | the same registration again ([`Repeats`]) | another client |
//! | software statements ([`SoftwareStatements`]) | ignored |
//! | redirect URIs ([`RedirectUriPolicy`]) | see there |
//!
//! How often anybody may register is not decided here but by the [limits](crate::limits), and how long a registration is
//! kept by the [lifetimes](crate::server::builder::Lifetimes).
//!
//! ```
//! use mcp_oauth_core::client::registration_policy::{Admission, InitialAccessTokens, RegistrationPolicy, Repeats};
//! use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
//!
//! fn for_staff(builder: AuthorizationServerBuilder) -> Result<AuthorizationServerBuilder, Box<dyn std::error::Error>> {
//!     let mut policy = RegistrationPolicy::default();
//!     policy.admission = Admission::InitialAccessToken(InitialAccessTokens::new([std::env::var("INITIAL_ACCESS_TOKEN")?])?);
//!     policy.repeats = Repeats::OneRecord;
//!     Ok(builder.registration(policy))
//! }
//! ```

use super::registration::statement::SoftwareStatements;
use crate::client::redirect_uri_policy::RedirectUriPolicy;
use crate::secret::{Secret, SecretDigest};

/// What an operator wants of registrations, see the [module](self).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RegistrationPolicy {
    /// Who may register.
    pub admission: Admission,
    /// What becomes of a registration that says what another one has said.
    pub repeats: Repeats,
    /// What becomes of software statements.
    pub software_statements: SoftwareStatements,
    /// Which redirect URIs are taken; this counts for client ID metadata documents too.
    pub redirect_uris: RedirectUriPolicy,
}

/// Who may register a client.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Admission {
    /// Everybody. This is what MCP clients count on.
    #[default]
    Everybody,
    /// Whoever shows one of these tokens (RFC 7591 §3). The registration endpoint stays in the metadata.
    InitialAccessToken(InitialAccessTokens),
    /// Nobody. The registration endpoint leaves the metadata; clients that have registered before stay, and manage
    /// themselves as before.
    Nobody,
}

/// What becomes of a registration that says what another one has said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repeats {
    /// It is another client, with a management token of its own.
    #[default]
    Apart,
    /// A *public* client with the same metadata is the same client: the same identifier, one record, however often it is
    /// registered (RFC 7591 Appendix A.4.2 lets a server do so). Such a client has no management token, since nobody may
    /// manage what others share, and no pages of its own. Clients that prove themselves always get records of their own.
    OneRecord,
}

/// At least this many characters in an initial access token: as many as 128 random bits have in base64url.
pub const MINIMUM_TOKEN: usize = 22;

/// At most this many.
pub const MAXIMUM_TOKEN: usize = 512;

/// The initial access tokens of a server (RFC 7591 §3). What is kept of them are their digests.
#[derive(Clone, Debug)]
pub struct InitialAccessTokens(Vec<SecretDigest>);

/// Tokens that cannot be initial access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInitialAccessToken {
    /// There is none, so that nobody could register.
    #[error("there is no initial access token: name one, or close registration")]
    None,
    /// One is too short to be safe, too long, or holds what cannot stand in an `Authorization` header (RFC 6750 §2.1).
    #[error("an initial access token has 22 to 512 of the characters A-Z a-z 0-9 - . _ ~ + / and = at its end")]
    Unfit,
}

impl InitialAccessTokens {
    /// Takes the tokens that the operator has given away. Make them at random: `openssl rand -base64 32`.
    ///
    /// # Errors
    ///
    /// When there is none, or when one of them cannot be a token.
    pub fn new(tokens: impl IntoIterator<Item = impl Into<Secret>>) -> Result<Self, InvalidInitialAccessToken> {
        let digest = |token: Secret| {
            let text = token.expose();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            let fits = (MINIMUM_TOKEN..=MAXIMUM_TOKEN).contains(&text.len())
                && text.trim_end_matches('=').bytes().all(plain)
                && !text.starts_with('=');
            fits.then(|| token.digest()).ok_or(InvalidInitialAccessToken::Unfit)
        };
        let digests: Vec<_> = tokens
            .into_iter()
            .map(|token| digest(token.into()))
            .collect::<Result<_, _>>()?;
        if digests.is_empty() {
            return Err(InvalidInitialAccessToken::None);
        }
        Ok(Self(digests))
    }

    /// Whether `presented` is one of them. Takes the same time whichever it is, and if it is none.
    #[must_use]
    pub fn include(&self, presented: &Secret) -> bool {
        self.0
            .iter()
            .fold(false, |found, digest| digest.matches(presented) | found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_several_tokens_is_good_and_no_other() {
        let (one, other) = (Secret::random(), Secret::random());
        let tokens = InitialAccessTokens::new([one.clone(), other.clone()]).unwrap();
        assert!(tokens.include(&one) && tokens.include(&other));
        assert!(!tokens.include(&Secret::random()));
        assert!(!tokens.include(&Secret::from("")));
        assert!(!format!("{tokens:?}").contains(one.expose()));
    }

    #[test]
    fn what_is_short_or_cannot_be_sent_is_no_token() {
        assert_eq!(
            InitialAccessTokens::new([""; 0]).unwrap_err(),
            InvalidInitialAccessToken::None
        );
        for unfit in [
            String::new(),
            "secret".to_owned(),
            "x".repeat(21),
            "x".repeat(513),
            format!("{} x", "x".repeat(30)),
            "=".repeat(30),
            format!("=x{}", "x".repeat(30)),
            "é".repeat(30),
        ] {
            let refused = InitialAccessTokens::new([Secret::random().expose(), unfit.as_str()]);
            assert_eq!(refused.unwrap_err(), InvalidInitialAccessToken::Unfit, "{unfit}");
        }
        assert!(InitialAccessTokens::new([format!("{}==", "x".repeat(22))]).is_ok());
    }
}
