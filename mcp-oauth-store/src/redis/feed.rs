//! The feed of what has ended, as a stream.
//!
//! A position is the identifier of the last entry that a reader has seen. A page begins *at* that entry: if it is still
//! there, what follows it is new, and if it is not (it was dropped because it was old, Redis was restored from a backup,
//! a failover lost it, the position is another store's), the reader begins at the beginning. So a reader may see an
//! entry twice, which is harmless, and misses none.

use bytes::Bytes;
use mcp_oauth_core::store::{FeedPage, FeedPosition};
use redis::{Cmd, Value};

use super::failure::Failure;

/// At most this many entries in a page.
pub(super) const PAGE: usize = 1000;

/// An entry of the stream: its identifier, and what was published.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    id: String,
    entry: Bytes,
}

/// The identifier in a position, if it can be one of ours: `<milliseconds>-<number>`.
pub(super) fn identifier(position: Option<&FeedPosition>) -> Option<&str> {
    let (milliseconds, number) = position?.0.split_once('-')?;
    let fits = |part: &str| part.parse::<u64>().is_ok() && part.bytes().all(|byte| byte.is_ascii_digit());
    (fits(milliseconds) && fits(number)).then_some(position?.0.as_str())
}

/// Asks for a page that begins at the entry of this identifier, or at the beginning. One more entry than it may hold is
/// asked for, to know whether there are more, and another one for the entry that the reader has seen already.
pub(super) fn request(key: &str, from: Option<&str>) -> Cmd {
    let mut command = redis::cmd("XRANGE");
    command
        .arg(key)
        .arg(from.unwrap_or("-"))
        .arg("+")
        .arg("COUNT")
        .arg(PAGE + 2);
    command
}

/// Puts a page together; `None` if the entry that it should go on from is not there.
pub(super) fn page(answer: Value, from: Option<&str>) -> Result<Option<FeedPage>, Failure> {
    let mut entries = entries(answer)?;
    if let Some(from) = from {
        if entries.first().is_none_or(|first| first.id != from) {
            return Ok(None);
        }
        entries.remove(0);
    }
    let more = entries.len() > PAGE;
    entries.truncate(PAGE);
    let last = entries.last().map(|last| last.id.clone()).or(from.map(str::to_owned));
    let entries = entries.into_iter().map(|entry| entry.entry).collect();
    Ok(Some(FeedPage::new(entries, last.map(FeedPosition), more)))
}

fn entries(answer: Value) -> Result<Vec<Entry>, Failure> {
    let Value::Array(entries) = answer else {
        return Err(Failure::UnexpectedAnswer);
    };
    entries.into_iter().map(entry).collect()
}

/// `[identifier, [name, value, …]]`, where the first value is what was published.
fn entry(answer: Value) -> Result<Entry, Failure> {
    let parts = match answer {
        Value::Array(parts) => <[Value; 2]>::try_from(parts).ok(),
        _ => None,
    };
    let Some([Value::BulkString(id), Value::Array(fields)]) = parts else {
        return Err(Failure::UnexpectedAnswer);
    };
    let id = String::from_utf8(id).map_err(|_| Failure::UnexpectedAnswer)?;
    match fields.into_iter().nth(1) {
        Some(Value::BulkString(entry)) => Ok(Entry {
            id,
            entry: entry.into(),
        }),
        _ => Err(Failure::UnexpectedAnswer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn answer(ids: impl IntoIterator<Item = String>) -> Value {
        let entry = |id: String| {
            let fields = vec![text("entry"), text(&format!("entry {id}")), text("keep"), text("1")];
            Value::Array(vec![text(&id), Value::Array(fields)])
        };
        Value::Array(ids.into_iter().map(entry).collect())
    }

    fn ids(numbers: std::ops::Range<usize>) -> impl Iterator<Item = String> {
        numbers.map(|number| format!("{number}-0"))
    }

    #[test]
    fn a_page_goes_on_after_the_entry_that_was_seen_last() {
        let page = page(answer(ids(5..8)), Some("5-0")).unwrap().unwrap();
        assert_eq!(page.entries, ["entry 6-0", "entry 7-0"]);
        assert_eq!(
            (page.position, page.more),
            (Some(FeedPosition("7-0".to_owned())), false)
        );
    }

    #[test]
    fn a_page_without_the_entry_that_was_seen_last_is_none() {
        assert!(page(answer(ids(6..8)), Some("5-0")).unwrap().is_none());
        assert!(page(answer([]), Some("5-0")).unwrap().is_none());
    }

    #[test]
    fn a_page_is_bounded_and_says_that_there_is_more() {
        for (from, first) in [(None, 0), (Some("0-0"), 1)] {
            let page = page(answer(ids(0..PAGE + 2)), from).unwrap().unwrap();
            assert_eq!((page.entries.len(), page.more), (PAGE, true));
            assert_eq!(page.entries[0], format!("entry {first}-0"));
            assert_eq!(page.position, Some(FeedPosition(format!("{}-0", first + PAGE - 1))));
        }
    }

    #[test]
    fn an_empty_feed_is_an_empty_page() {
        let page = page(answer([]), None).unwrap().unwrap();
        assert!(page.entries.is_empty() && page.position.is_none() && !page.more);
    }

    #[test]
    fn a_position_of_something_else_is_none() {
        for foreign in [
            "",
            "17",
            "-",
            "+",
            "5-",
            "(5-0",
            "5-0 COUNT",
            "+5-0",
            "99999999999999999999-0",
        ] {
            assert_eq!(identifier(Some(&FeedPosition(foreign.to_owned()))), None, "{foreign}");
        }
        assert_eq!(identifier(Some(&FeedPosition("5-0".to_owned()))), Some("5-0"));
        assert_eq!(identifier(None), None);
    }

    #[test]
    fn an_answer_of_another_form_is_an_error() {
        for answer in [
            Value::Nil,
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![text("5-0")]),
        ] {
            assert_eq!(page(answer, None).unwrap_err(), Failure::UnexpectedAnswer);
        }
    }
}
