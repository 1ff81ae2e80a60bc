//! Claims that more than one kind of JWT has, in types that cannot be wrong.

use serde::Deserialize;

use crate::clock::UnixTime;
use crate::secret::digest_name;

/// One text or a list of texts, as `aud` may be written (RFC 7519 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(crate) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Many(many) => many,
        }
    }

    /// Whether this is `text`, and nothing else.
    pub(crate) fn is_only(&self, text: &str) -> bool {
        matches!(self.as_slice(), [only] if only == text)
    }
}

/// The identifier of a JWT (`jti`): 1 to 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct JwtId(String);

#[derive(Debug, thiserror::Error)]
#[error("a jti has 1 to 512 bytes")]
pub(crate) struct InvalidJwtId;

impl TryFrom<String> for JwtId {
    type Error = InvalidJwtId;

    fn try_from(text: String) -> Result<Self, InvalidJwtId> {
        (1..=512)
            .contains(&text.len())
            .then_some(Self(text))
            .ok_or(InvalidJwtId)
    }
}

/// Something that counts once: the name under which its use is remembered, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SingleUse {
    pub(crate) id: String,
    pub(crate) until: UnixTime,
}

impl SingleUse {
    /// The use of the JWT with this `jti`, from this issuer. Each kind of JWT is counted apart; the parts are kept apart
    /// by their lengths.
    pub(crate) fn of(kind: &str, issuer: &str, JwtId(jti): &JwtId, until: UnixTime) -> Self {
        let text = format!("{kind}:{}:{issuer}:{jti}", issuer.len());
        Self {
            id: digest_name(&text),
            until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_of_different_issuers_kinds_and_identifiers_are_different() {
        let jti = |text: &str| JwtId::try_from(text.to_owned()).unwrap();
        let until = UnixTime::from_seconds(1);
        let uses = [
            SingleUse::of("a", "b", &jti("c"), until),
            SingleUse::of("a", "b:c", &jti("c"), until),
            SingleUse::of("a", "b", &jti("c:c"), until),
            SingleUse::of("x", "b", &jti("c"), until),
        ];
        for (position, one) in uses.iter().enumerate() {
            assert!(uses[..position].iter().all(|other| other.id != one.id));
        }
        assert_eq!(uses[0], SingleUse::of("a", "b", &jti("c"), until));
    }

    #[test]
    fn an_identifier_is_neither_empty_nor_endless() {
        assert!(JwtId::try_from(String::new()).is_err());
        assert!(JwtId::try_from("x".repeat(512)).is_ok());
        assert!(JwtId::try_from("x".repeat(513)).is_err());
    }
}
