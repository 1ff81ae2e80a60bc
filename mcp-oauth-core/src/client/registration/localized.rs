//! Texts in certain languages: `client_name#de`, `tos_uri#fr-CH` (RFC 7591 §2.2).
//!
//! A client may give its name and the addresses of its pages once more for each language, with a language tag (BCP 47)
//! behind a `#`. They are held to what the plain members are held to, kept, and echoed; pages of this project show the plain
//! ones. What only looks like such a member, with a tag that can be none, is a member that nobody understands, and is ignored
//! like any other.
//!
//! ```
//! use mcp_oauth_core::client::redirect_uri_policy::RedirectUriPolicy;
//! use mcp_oauth_core::client::registration::RegistrationRequest;
//!
//! let request = br#"{"redirect_uris":["http://127.0.0.1/cb"],"client_name":"Notes","client_name#de":"Notizen"}"#;
//! let metadata = RegistrationRequest::parse(request)?.accept(&RedirectUriPolicy::default())?;
//! assert_eq!(metadata.localized.get("client_name", "de"), Some("Notizen"));
//! # Ok::<_, mcp_oauth_core::client::registration::InvalidRegistration>(())
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::values::{link, name};
use super::{InvalidRegistration, MAXIMUM_ENTRIES, refuse};

/// The members that may be there in several languages: all that people read (RFC 7591 §2.2).
const HUMAN_READABLE: [&str; 5] = ["client_name", "client_uri", "logo_uri", "tos_uri", "policy_uri"];

/// At most this many bytes in a language tag; RFC 5646 §4.4.1 asks for 35 to be understood.
const MAXIMUM_TAG: usize = 64;

/// The localized members of a registration, by the names under which they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct LocalizedMembers(BTreeMap<String, String>);

impl LocalizedMembers {
    /// Takes what is localized out of the members of a request.
    pub(super) fn read(members: &Map<String, Value>) -> Result<Self, InvalidRegistration> {
        let mut localized = BTreeMap::new();
        for (member, value) in members {
            let Some((plain, _)) = parts(member) else { continue };
            let value = match value {
                Value::Null => continue,
                Value::String(text) if text.is_empty() => continue,
                Value::String(text) => Some(text.clone()),
                _ => return refuse(format!("{member} must be a text")),
            };
            let checked = match plain {
                "client_name" => name(member, value)?,
                _ => link(member, value)?,
            };
            localized.extend(checked.map(|text| (member.clone(), text)));
            if localized.len() > MAXIMUM_ENTRIES {
                return refuse("there are more than 20 members with a language tag");
            }
        }
        Ok(Self(localized))
    }

    /// What `member` is in this language; tags count in any case (RFC 5646 §2.1.1).
    #[must_use]
    pub fn get(&self, member: &str, language: &str) -> Option<&str> {
        let named = |known: &str| {
            parts(known).is_some_and(|(plain, tag)| plain == member && tag.eq_ignore_ascii_case(language))
        };
        self.0
            .iter()
            .find(|(known, _)| named(known))
            .map(|(_, text)| text.as_str())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Among the members of a whole record, which are flattened into one object with these.
impl<'de> Deserialize<'de> for LocalizedMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let localized = members.into_iter().filter_map(|(member, value)| match value {
            Value::String(text) if parts(&member).is_some() => Some((member, text)),
            _ => None,
        });
        Ok(Self(localized.collect()))
    }
}

/// The plain member and the language tag.
fn parts(member: &str) -> Option<(&str, &str)> {
    let (plain, tag) = member.split_once('#')?;
    let subtag = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let fits = HUMAN_READABLE.contains(&plain) && tag.len() <= MAXIMUM_TAG && tag.split('-').all(subtag);
    fits.then_some((plain, tag))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{ClientMetadata, RegistrationRequest};
    use super::*;
    use crate::client::redirect_uri_policy::RedirectUriPolicy;

    fn accept(members: &Value) -> Result<ClientMetadata, InvalidRegistration> {
        let mut request = json!({"redirect_uris": ["http://127.0.0.1/cb"]});
        for (name, value) in members.as_object().unwrap() {
            request[name] = value.clone();
        }
        RegistrationRequest::parse(request.to_string().as_bytes())?.accept(&RedirectUriPolicy::default())
    }

    #[test]
    fn members_with_a_language_are_kept_and_survive_the_store() {
        let members =
            json!({"client_name#ja-Jpan-JP": "クライアント名", "tos_uri#fr": "https://a.example/fr", "scope": "a"});
        let metadata = accept(&members).unwrap();
        assert_eq!(
            metadata.localized.get("client_name", "JA-jpan-jp"),
            Some("クライアント名")
        );
        assert_eq!(metadata.localized.get("client_name", "fr"), None);
        let written = serde_json::to_value(&metadata).unwrap();
        for (name, value) in members.as_object().unwrap() {
            assert_eq!(&written[name], value, "{name}");
        }
        assert_eq!(serde_json::from_value::<ClientMetadata>(written).unwrap(), metadata);
    }

    #[test]
    fn they_are_held_to_what_the_plain_ones_are_held_to() {
        for members in [
            json!({"client_name#de": "x".repeat(101)}),
            json!({"client_name#de": "a\u{0}b"}),
            json!({"client_name#de": 5}),
            json!({"client_uri#de": "javascript:alert(1)"}),
            json!({"logo_uri#de": "http://a.example"}),
            json!({"policy_uri#de": "https://a@b.example"}),
        ] {
            let refused = accept(&members).unwrap_err().to_string();
            let member = members.as_object().unwrap().keys().next().unwrap();
            assert!(refused.contains(member.as_str()), "{refused}");
        }
    }

    #[test]
    fn what_is_empty_or_not_understood_is_ignored() {
        for members in [
            json!({"client_name#de": null}),
            json!({"client_name#de": ""}),
            json!({"client_name#": "x"}),
            json!({"client_name#not a tag": "x"}),
            json!({"client_name#de#fr": "x"}),
            json!({"contacts#de": ["x"]}),
            json!({"redirect_uris#de": ["javascript:alert(1)"]}),
            json!({"#de": 5}),
        ] {
            assert!(accept(&members).unwrap().localized.is_empty(), "{members}");
        }
    }

    #[test]
    fn there_may_be_20_of_them() {
        let of = |number: usize| -> Value {
            let tags = (0..number).map(|tag| (format!("client_name#x-{tag}"), json!("a")));
            Value::Object(tags.collect())
        };
        assert!(accept(&of(20)).is_ok());
        assert!(accept(&of(21)).is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics(member in "client_name#.{0,20}", text in ".*") {
            if let Ok(metadata) = accept(&json!({member: text})) {
                let written = serde_json::to_value(&metadata).unwrap();
                prop_assert_eq!(serde_json::from_value::<ClientMetadata>(written).unwrap(), metadata);
            }
        }
    }
}
