//! Proof Key for Code Exchange (RFC 7636), method S256 only.
//!
//! The client sends a [`CodeChallenge`] when it asks for authorization and proves itself with the [`CodeVerifier`]
//! when it redeems the code. There is no `plain` here: the type of a challenge cannot hold one.
//!
//! ```
//! use mcp_oauth_core::pkce::{CodeChallenge, CodeVerifier};
//!
//! // The example of RFC 7636, Appendix B.
//! let verifier: CodeVerifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".parse()?;
//! let challenge: CodeChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".parse()?;
//! assert!(challenge.is_met_by(&verifier));
//! # Ok::<_, mcp_oauth_core::pkce::InvalidPkce>(())
//! ```

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// Text that is no code challenge or no code verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPkce {
    /// An S256 challenge is the base64url form of 32 bytes: 43 characters without padding (RFC 7636 §4.2).
    #[error("code_challenge must be 43 characters of base64url, the SHA-256 of the verifier")]
    Challenge,
    /// A verifier has 43 to 128 unreserved characters (RFC 7636 §4.1).
    #[error("code_verifier must be 43 to 128 characters of A-Z, a-z, 0-9, -, ., _ and ~")]
    Verifier,
}

/// The S256 challenge of an authorization request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CodeChallenge([u8; 32]);

impl CodeChallenge {
    /// The challenge that `verifier` meets.
    #[must_use]
    pub fn of(verifier: &CodeVerifier) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, verifier.expose().as_bytes()).as_ref());
        Self(bytes)
    }

    /// Whether this is the challenge of `verifier`. Compares in constant time.
    #[must_use]
    pub fn is_met_by(&self, verifier: &CodeVerifier) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &Self::of(verifier).0).is_ok()
    }
}

impl FromStr for CodeChallenge {
    type Err = InvalidPkce;

    fn from_str(text: &str) -> Result<Self, InvalidPkce> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidPkce::Challenge)?;
        bytes.try_into().map(Self).map_err(|_| InvalidPkce::Challenge)
    }
}

impl TryFrom<String> for CodeChallenge {
    type Error = InvalidPkce;

    fn try_from(text: String) -> Result<Self, InvalidPkce> {
        text.parse()
    }
}

impl From<CodeChallenge> for String {
    fn from(challenge: CodeChallenge) -> Self {
        challenge.to_string()
    }
}

impl fmt::Display for CodeChallenge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for CodeChallenge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CodeChallenge(…)")
    }
}

/// The verifier of a token request. A secret: its `Debug` shows nothing.
#[derive(Clone, Debug)]
pub struct CodeVerifier(Secret);

impl CodeVerifier {
    /// A verifier made of a secret of this project's own, which has 43 characters of base64url.
    pub(crate) fn from_secret(secret: Secret) -> Self {
        Self(secret)
    }

    /// Shows the verifier.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl FromStr for CodeVerifier {
    type Err = InvalidPkce;

    fn from_str(text: &str) -> Result<Self, InvalidPkce> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let fits = (43..=128).contains(&text.len()) && text.bytes().all(unreserved);
        fits.then(|| Self(Secret::from(text))).ok_or(InvalidPkce::Verifier)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_verifier_outside_43_to_128_unreserved_characters_is_refused() {
        for text in [
            "a".repeat(42),
            "a".repeat(129),
            "a".repeat(42) + "+",
            "a".repeat(42) + "é",
        ] {
            assert_eq!(
                text.parse::<CodeVerifier>().err(),
                Some(InvalidPkce::Verifier),
                "{text}"
            );
        }
    }

    #[test]
    fn a_challenge_that_is_not_32_bytes_of_base64url_is_refused() {
        for text in [
            "",
            "abc",
            &"A".repeat(44),
            &("A".repeat(42) + "="),
            &("A".repeat(42) + "/"),
        ] {
            assert_eq!(text.parse::<CodeChallenge>(), Err(InvalidPkce::Challenge), "{text}");
        }
    }

    #[test]
    fn a_challenge_is_written_as_it_came_and_shown_to_nobody() {
        let text = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let challenge: CodeChallenge = text.parse().unwrap();
        assert_eq!(challenge.to_string(), text);
        assert_eq!(format!("{challenge:?}"), "CodeChallenge(…)");
        assert_eq!(String::from(challenge), text);
    }

    proptest! {
        #[test]
        fn a_challenge_is_met_by_its_own_verifier_alone(a in "[A-Za-z0-9._~-]{43,128}", b in "[A-Za-z0-9._~-]{43,128}") {
            let first: CodeVerifier = a.parse().unwrap();
            let second: CodeVerifier = b.parse().unwrap();
            prop_assert!(CodeChallenge::of(&first).is_met_by(&first));
            prop_assert_eq!(CodeChallenge::of(&first).is_met_by(&second), a == b);
        }

        #[test]
        fn parsing_never_panics(text in ".*") {
            let _ = text.parse::<CodeVerifier>();
            let _ = text.parse::<CodeChallenge>();
        }
    }
}
