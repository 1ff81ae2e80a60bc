//! Where a record stands in Redis.
//!
//! A key is written `<prefix><kind>:<identifier>`. Every byte of the identifier that Redis, its Cluster or a person at
//! `redis-cli` could take for something else is escaped as in a URL: an identifier that somebody else chose can
//! neither choose a slot of the Cluster (`{…}`) nor look like a pattern or a second line, and two identifiers never
//! share a key.

use mcp_oauth_core::store::Key;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is. `:` and `/` are in the URLs that some clients have as identifier.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b'=')
    .remove(b'@');

/// The keys that begin with one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn below(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// The key of a record.
    pub(super) fn record(&self, key: &Key) -> String {
        let id = utf8_percent_encode(key.id(), ESCAPED);
        format!("{}{}:{id}", self.prefix, key.kind().as_str())
    }

    /// The key of the feed of what has ended. No kind has this name.
    pub(super) fn feed(&self) -> String {
        format!("{}ended", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use mcp_oauth_core::store::Kind;
    use proptest::prelude::*;

    use super::*;

    fn written(id: &str) -> String {
        Keys::below("mcp-oauth:").record(&Key::new(Kind::Client, id))
    }

    #[test]
    fn a_key_names_prefix_kind_and_identifier() {
        assert_eq!(written("client_1"), "mcp-oauth:client:client_1");
        assert_eq!(
            written("https://app.example/client.json"),
            "mcp-oauth:client:https://app.example/client.json"
        );
    }

    #[test]
    fn an_identifier_chooses_no_slot_of_the_cluster() {
        assert_eq!(written("{a}b"), "mcp-oauth:client:%7Ba%7Db");
    }

    proptest! {
        #[test]
        fn every_identifier_has_a_key_of_its_own_in_harmless_characters(one in any::<String>(), other in any::<String>()) {
            let key = written(&one);
            prop_assert!(key.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}*?[]\\\"'".contains(&byte)), "{key}");
            prop_assert_eq!(one == other, key == written(&other));
        }
    }
}
