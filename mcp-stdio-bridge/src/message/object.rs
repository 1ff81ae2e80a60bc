//! A JSON object inside a text: its members are found, and stay the bytes that they are.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Malformed;

/// The named members of an object, each of which may appear once only.
pub(crate) fn members<'a, const N: usize>(
    object: &'a str,
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], Malformed> {
    let (found, twice) = find(object, names)?;
    match twice.iter().position(|twice| *twice) {
        Some(index) => Err(Malformed::Duplicate(names[index])),
        None => Ok(found),
    }
}

/// The named members of an object, and which of them appear more than once.
pub(super) fn find<'a, const N: usize>(
    object: &'a str,
    names: [&'static str; N],
) -> Result<([Option<&'a RawValue>; N], [bool; N]), Malformed> {
    let mut deserializer = serde_json::Deserializer::from_str(object);
    let found = deserializer
        .deserialize_map(Members(names))
        .map_err(|_| Malformed::NotJson)?;
    deserializer.end().map_err(|_| Malformed::NotJson)?;
    Ok(found)
}

/// All members of an object, in their order.
pub(crate) fn entries(object: &str) -> Vec<(String, &RawValue)> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(Text(key)) = map.next_key()? {
                entries.push((key.into_owned(), map.next_value()?));
            }
            Ok(entries)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(object);
    deserializer.deserialize_map(Entries).unwrap_or_default()
}

/// Whether an object has no members.
pub(crate) fn is_empty(object: &str) -> bool {
    object
        .strip_prefix('{')
        .is_some_and(|rest| rest.trim_start().starts_with('}'))
}

/// The text of a raw JSON string.
pub(crate) fn text_of(raw: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(raw).ok().map(|text| text.0)
}

/// A JSON string's text.
pub(super) fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|text| text.0)
}

/// The place of a value that was borrowed from `source`.
pub(super) fn place(source: &str, value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr().addr() - source.as_ptr().addr();
    start..start + value.get().len()
}

/// Collects the named members; the others are skipped unread.
struct Members<const N: usize>([&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for Members<N> {
    type Value = ([Option<&'de RawValue>; N], [bool; N]);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        let mut twice = [false; N];
        while let Some(Text(key)) = map.next_key()? {
            let Some(index) = self.0.iter().position(|name| *name == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if found[index].replace(map.next_value::<&RawValue>()?).is_some() {
                twice[index] = true;
            }
        }
        Ok((found, twice))
    }
}

/// A string, borrowed unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Read)
    }
}
