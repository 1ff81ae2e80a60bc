//! What an access token contains (RFC 9068 §2.2).
//!
//! ```
//! use mcp_oauth_core::token::claims::AccessTokenClaims;
//!
//! let claims: AccessTokenClaims = serde_json::from_str(
//!     r#"{"iss":"https://a.example","aud":"https://a.example/mcp","sub":"github:1","client_id":"c","scope":"notes:read",
//!         "iat":1790000000,"exp":1790003600,"jti":"AAAAAAAAAAAAAAAAAAAAAA.x"}"#,
//! )?;
//! assert_eq!(claims.audience.len(), 1);
//! # Ok::<_, serde_json::Error>(())
//! ```

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::client::ClientId;
use crate::clock::UnixTime;
use crate::grant::GrantId;
use crate::randomness::{Randomness, random_id};
use crate::scope::ScopeSet;

/// The claims of an access token. Every one that this type names without `Option` is required, and of its JSON
/// type: an `exp` that is a string is no `exp`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AccessTokenClaims {
    /// Who issued it.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// For which resources: one text or a list of them.
    #[serde(
        rename = "aud",
        serialize_with = "one_or_many",
        deserialize_with = "from_one_or_many"
    )]
    pub audience: Vec<String>,
    /// On whose behalf.
    #[serde(rename = "sub")]
    pub subject: String,
    /// Who uses it.
    pub client_id: ClientId,
    /// How far it reaches.
    pub scope: ScopeSet,
    /// When it was issued.
    #[serde(rename = "iat")]
    pub issued_at: UnixTime,
    /// When it stops being good.
    #[serde(rename = "exp")]
    pub expires_at: UnixTime,
    /// From when on it is good, if that is not from its issue on.
    #[serde(rename = "nbf", default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<UnixTime>,
    /// Its own identifier: `<grant>.<random>`.
    pub jti: TokenId,
    /// The name the person signs in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// What the person is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The `jti` of an access token. It begins with the grant, so that one entry ends all tokens of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId {
    text: String,
    grant: GrantId,
}

impl TokenId {
    pub(crate) fn drawn_from(random: &dyn Randomness, grant: &GrantId) -> Self {
        Self {
            text: format!("{grant}.{}", random_id(random)),
            grant: grant.clone(),
        }
    }

    /// The grant that the token was issued under.
    #[must_use]
    pub fn grant(&self) -> &GrantId {
        &self.grant
    }

    /// The identifier as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for TokenId {
    type Error = crate::grant::InvalidGrantId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (grant, _) = text.split_once('.').ok_or(crate::grant::InvalidGrantId)?;
        let grant = grant.parse()?;
        Ok(Self { text, grant })
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.text
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn one_or_many<S: Serializer>(audience: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match audience {
        [only] => serializer.serialize_str(only),
        many => many.serialize(serializer),
    }
}

fn from_one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(only) => vec![only],
        OneOrMany::Many(many) => many,
    })
}

/// The claims around those of a kind, in what this server signs for itself.
#[derive(Serialize, Deserialize)]
pub(crate) struct OwnClaims<C> {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) iat: UnixTime,
    pub(crate) exp: UnixTime,
    #[serde(flatten)]
    pub(crate) own: C,
}
