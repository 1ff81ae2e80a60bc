//! Identity providers of enterprises, which vouch for people to clients rather than to this server
//! (enterprise-managed authorization, draft-ietf-oauth-identity-assertion-authz-grant).
//!
//! Nobody is sent to such a provider. It gives a client an assertion about a person, and this server takes its word for
//! it: so it has to be configured, with its issuer, with its keys, and with the name that stands in front of its people.
//!
//! People are known by that name and the provider's `sub`, never by an e-mail address: `email=` and `domain=` on an
//! allow-list let none of them in, or one enterprise could name the addresses of another. An address that the provider
//! says it has verified (`email_verified`) is passed on to a [policy](crate::policy::GrantPolicy), any other is dropped. If the provider is also the one
//! that people sign in with here, and has the same `sub` for this server, give it the same name: then a person is the
//! same person either way.
//!
//! ```
//! use mcp_oauth_core::identity::enterprise::EnterpriseIssuer;
//!
//! let acme = EnterpriseIssuer::with_keys_at("acme", "https://acme.idp.example", "https://acme.idp.example/jwks");
//! # let _ = acme;
//! ```

use serde_json::Value;

use crate::client::keys::{ClientKeys, InvalidClientKeys};
use crate::issuer::is_issuer_of_others;
use crate::jwt::SignatureAlgorithm;

/// The name in front of the subjects of clients that act on their own behalf. No provider may have it.
pub const CLIENT: &str = "client";

/// An enterprise's identity provider. Everything is checked when the server is built.
#[derive(Clone, Debug)]
pub struct EnterpriseIssuer {
    name: String,
    issuer: String,
    keys: Keys,
    algorithms: Vec<SignatureAlgorithm>,
}

#[derive(Clone, Debug)]
enum Keys {
    Inline(Value),
    At(String),
}

/// Why a provider cannot be configured like that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEnterpriseIssuer {
    /// The name cannot stand in front of a subject.
    #[error("its name must be 1 to 64 lower-case letters, digits and hyphens, and not client")]
    Name,
    /// The name or the issuer is another provider's too.
    #[error("its name or its issuer is there twice")]
    Twice,
    /// The issuer is none.
    #[error("its issuer must be an https URL without query, fragment and user name, as it stands in iss")]
    Issuer,
    /// The keys are none.
    #[error(transparent)]
    Keys(#[from] InvalidClientKeys),
    /// The keys are to be fetched, and nothing is there that fetches.
    #[error("its keys are at a jwks_uri, and the server has nothing to fetch them with: call .remote_keys(…)")]
    NoFetcher,
    /// No algorithm is left.
    #[error("it must be allowed at least one algorithm")]
    NoAlgorithm,
}

/// A provider that was checked.
#[derive(Debug)]
pub(crate) struct Enterprise {
    pub(crate) name: String,
    pub(crate) issuer: String,
    pub(crate) keys: ClientKeys,
    pub(crate) algorithms: Vec<SignatureAlgorithm>,
}

impl EnterpriseIssuer {
    fn new(name: impl Into<String>, issuer: impl Into<String>, keys: Keys) -> Self {
        Self {
            name: name.into(),
            issuer: issuer.into(),
            keys,
            algorithms: SignatureAlgorithm::SUPPORTED.to_vec(),
        }
    }

    /// A provider whose public keys are in this JWK set. `name` stands in front of its people's subjects and must never
    /// change; `issuer` is what its assertions have as `iss`, to the letter.
    #[must_use]
    pub fn with_keys(name: impl Into<String>, issuer: impl Into<String>, jwks: Value) -> Self {
        Self::new(name, issuer, Keys::Inline(jwks))
    }

    /// A provider whose public keys are published at this https URL: its metadata names it as `jwks_uri`. The server
    /// needs something to fetch them with.
    #[must_use]
    pub fn with_keys_at(name: impl Into<String>, issuer: impl Into<String>, jwks_uri: impl Into<String>) -> Self {
        Self::new(name, issuer, Keys::At(jwks_uri.into()))
    }

    /// The algorithms that its assertions may be signed with; any that its keys are for unless said otherwise.
    #[must_use]
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = SignatureAlgorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// The issuer, as it was given.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(crate) fn check(self, fetches_keys: bool) -> Result<Enterprise, InvalidEnterpriseIssuer> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(plain) || self.name == CLIENT {
            return Err(InvalidEnterpriseIssuer::Name);
        }
        if !is_issuer_of_others(&self.issuer) {
            return Err(InvalidEnterpriseIssuer::Issuer);
        }
        if self.algorithms.is_empty() {
            return Err(InvalidEnterpriseIssuer::NoAlgorithm);
        }
        let keys = match self.keys {
            Keys::Inline(jwks) => ClientKeys::read(Some(&jwks), None)?,
            Keys::At(_) if !fetches_keys => return Err(InvalidEnterpriseIssuer::NoFetcher),
            Keys::At(jwks_uri) => ClientKeys::read(None, Some(&jwks_uri.into()))?,
        };
        Ok(Enterprise {
            name: self.name,
            issuer: self.issuer,
            keys,
            algorithms: self.algorithms,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::keys::{Algorithm, KeySet};

    fn provider(name: &str, issuer: &str) -> EnterpriseIssuer {
        let jwks = serde_json::to_value(KeySet::generate(Algorithm::Es256).unwrap().public()).unwrap();
        EnterpriseIssuer::with_keys(name, issuer, jwks)
    }

    #[test]
    fn a_name_can_stand_in_front_of_a_subject_and_is_no_clients() {
        for wrong in ["", "client", "a:b", "Acme", "a b", "\u{e9}", &"a".repeat(65)] {
            let refused = provider(wrong, "https://idp.example").check(false).unwrap_err();
            assert_eq!(refused, InvalidEnterpriseIssuer::Name, "{wrong}");
        }
        assert!(provider("acme-2", "https://idp.example/").check(false).is_ok());
    }

    #[test]
    fn an_issuer_is_a_secure_url() {
        for wrong in [
            "",
            "idp.example",
            "http://idp.example",
            "https://idp.example?x",
            "https://idp.example#x",
            "https://a@b.example",
        ] {
            let refused = provider("acme", wrong).check(false).unwrap_err();
            assert_eq!(refused, InvalidEnterpriseIssuer::Issuer, "{wrong}");
        }
    }

    #[test]
    fn there_are_keys_and_somebody_who_fetches_them() {
        let at = EnterpriseIssuer::with_keys_at("acme", "https://idp.example", "https://idp.example/jwks");
        assert_eq!(at.clone().check(false).unwrap_err(), InvalidEnterpriseIssuer::NoFetcher);
        assert!(at.check(true).is_ok());
        let none = EnterpriseIssuer::with_keys("acme", "https://idp.example", json!({"keys": []}));
        assert!(matches!(none.check(true), Err(InvalidEnterpriseIssuer::Keys(_))));
        let silent = provider("acme", "https://idp.example").algorithms([]);
        assert_eq!(silent.check(true).unwrap_err(), InvalidEnterpriseIssuer::NoAlgorithm);
    }
}
