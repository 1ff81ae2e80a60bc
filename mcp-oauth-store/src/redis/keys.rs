//! Where a record stands in Redis.
//!
//! A key is written `<prefix><kind>:<identifier>`. Every byte of the identifier that Redis, its Cluster or a person at
//! `redis-cli` could take for something else is escaped as in a URL: an identifier that somebody else chose can
//! neither choose a slot of the Cluster (`{…}`) nor look like a pattern or a second line, and two identifiers never
//! share a key.

use mcp_oauth_core::store::{Key, Kind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

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

    /// The record that a key leads to; `None` if it is none of ours.
    pub(super) fn read(&self, name: &str) -> Option<Key> {
        let (kind, id) = name.strip_prefix(&self.prefix)?.split_once(':')?;
        let id = percent_decode_str(id).decode_utf8().ok()?;
        let key = Key::new(Kind::from_name(kind)?, id);
        // Whatever is written in another way, somebody else has written.
        (self.record(&key) == name).then_some(key)
    }

    /// The pattern, for Redis, of the keys of a kind; of all kinds if there is none.
    pub(super) fn pattern(&self, kind: Option<Kind>) -> String {
        let mut pattern = String::new();
        for character in self.prefix.chars() {
            if "*?[]\\".contains(character) {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        if let Some(kind) = kind {
            pattern.push_str(kind.as_str());
            pattern.push(':');
        }
        pattern.push('*');
        pattern
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

    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(
            Keys::below("a*[b]:").pattern(Some(Kind::Client)),
            "a\\*\\[b\\]:client:*"
        );
        assert_eq!(Keys::below("mcp:").pattern(None), "mcp:*");
    }

    #[test]
    fn what_somebody_else_has_written_is_not_read() {
        let keys = Keys::below("mcp-oauth:");
        for foreign in [
            "mcp-oauth:ended",
            "mcp-oauth:client:%7b",
            "mcp-oauth:client:a b",
            "mcp-oauth:other:a",
            "client:a",
            "mcp-oauth:client:%ff",
        ] {
            assert_eq!(keys.read(foreign), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_read_as_it_was_written(id in any::<String>()) {
            for kind in Kind::ALL {
                let (keys, key) = (Keys::below("mcp-oauth:"), Key::new(*kind, &id));
                prop_assert_eq!(keys.read(&keys.record(&key)), Some(key));
            }
        }

        #[test]
        fn every_identifier_has_a_key_of_its_own_in_harmless_characters(one in any::<String>(), other in any::<String>()) {
            let key = written(&one);
            prop_assert!(key.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}*?[]\\\"'".contains(&byte)), "{key}");
            prop_assert_eq!(one == other, key == written(&other));
        }
    }
}
