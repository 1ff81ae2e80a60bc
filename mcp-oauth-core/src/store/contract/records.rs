//! Single records: what each operation does, and what happens when many meet.

use std::time::Duration;

use bytes::Bytes;

use super::{Database, MANY, at_once, fresh, fresh_key, handles, record_kinds};
use crate::store::{Key, Kind};

/// Long enough for every test here.
const LONG: Option<Duration> = Some(Duration::from_secs(3600));

/// What one handle has written, another reads, byte for byte; what nobody has written is not there.
///
/// # Panics
///
/// When it does not hold.
pub async fn what_was_written_is_read(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    for kind in record_kinds() {
        let key = fresh_key(kind);
        assert_eq!(store.get(&key).await.unwrap(), None, "{key}");
        assert!(store.insert(&key, "a record".into(), LONG).await.unwrap(), "{key}");
        assert_eq!(
            other.get(&key).await.unwrap().as_deref(),
            Some(&b"a record"[..]),
            "{key}"
        );
    }
}

/// A second insertion changes nothing and says so; after a removal there is room again.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_record_is_written_once(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let key = fresh_key(Kind::Once);
    assert!(store.insert(&key, "first".into(), LONG).await.unwrap());
    for time_to_live in [LONG, None] {
        assert!(!other.insert(&key, "second".into(), time_to_live).await.unwrap());
    }
    assert!(
        !other.insert(&key, "first".into(), LONG).await.unwrap(),
        "not even by the same record"
    );
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "first");
    store.remove(&key).await.unwrap();
    assert!(other.insert(&key, "second".into(), LONG).await.unwrap());
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "second");
}

/// A compare-and-set replaces what is as expected, to the byte, and creates nothing.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_record_is_replaced_only_while_it_is_as_expected(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let key = fresh_key(Kind::Grant);
    let replace = async |expected: &'static str, new: &'static str| {
        let replaced = other.compare_and_set(&key, expected.as_bytes(), new.into(), LONG).await;
        replaced.unwrap()
    };
    assert!(!replace("", "new").await, "there is nothing to replace");
    assert_eq!(store.get(&key).await.unwrap(), None, "and nothing was created");
    store.insert(&key, "one".into(), LONG).await.unwrap();
    for unexpected in ["", "on", "one ", "One", "two", "one\0"] {
        assert!(!replace(unexpected, "new").await, "{unexpected:?}");
    }
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "one");
    assert!(replace("one", "two").await);
    assert!(!replace("one", "three").await, "it is no longer so");
    assert!(replace("two", "two").await, "replaced by the same");
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "two");
}

/// A removal says whether there was something, and a second one does no harm.
///
/// # Panics
///
/// When it does not hold.
pub async fn removing_twice_is_removing_once(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let key = fresh_key(Kind::Client);
    assert!(!store.remove(&key).await.unwrap());
    store.insert(&key, "a record".into(), None).await.unwrap();
    assert!(other.remove(&key).await.unwrap());
    assert_eq!(store.get(&key).await.unwrap(), None);
    assert!(!store.remove(&key).await.unwrap());
    assert!(
        !other
            .compare_and_set(&key, b"a record", "new".into(), None)
            .await
            .unwrap()
    );
    assert_eq!(store.get(&key).await.unwrap(), None);
}

/// Records of different kinds with one identifier are different records.
///
/// # Panics
///
/// When it does not hold.
pub async fn kinds_are_kept_apart(database: &dyn Database) {
    let store = database.open().await;
    let id = fresh("shared");
    for kind in record_kinds() {
        let written = store.insert(&Key::new(kind, &id), kind.as_str().into(), LONG).await;
        assert!(written.unwrap(), "{}", kind.as_str());
    }
    assert!(store.remove(&Key::new(Kind::Grant, &id)).await.unwrap());
    for kind in record_kinds().filter(|kind| *kind != Kind::Grant) {
        let read = store.get(&Key::new(kind, &id)).await.unwrap();
        assert_eq!(read.as_deref(), Some(kind.as_str().as_bytes()), "{}", kind.as_str());
    }
}

/// What strangers may choose as part of an identifier.
pub(super) const HOSTILE: [&str; 46] = [
    "",
    "{",
    "}",
    "{}",
    "{a}",
    "a{b}c",
    "{a}{b}",
    "*",
    "?",
    "[a-z]",
    "\\",
    "\\*",
    "\n",
    "\r\n",
    "\r\nDEL x\r\n",
    "\0",
    "a\0b",
    ":",
    "::",
    "client:",
    "a:b",
    "%",
    "%7B",
    "%7b",
    "%00",
    "+",
    " ",
    "'",
    "\"",
    "';--",
    "${a}",
    "@",
    "=",
    "/",
    "../..",
    "é",
    "e\u{301}",
    "ü",
    "𝕊",
    "\u{202e}",
    "A",
    "a",
    "-",
    "_",
    ".",
    "~",
];

/// Identifiers come from outside: whatever is in them, each names one record and nothing else.
///
/// # Panics
///
/// When it does not hold.
pub async fn identifiers_may_be_anything(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let unique = fresh("");
    let hostile = HOSTILE;
    let mut ids: Vec<String> = hostile.iter().map(|hostile| format!("{unique}{hostile}")).collect();
    ids.extend(
        hostile
            .iter()
            .filter(|hostile| !hostile.is_empty())
            .map(|hostile| format!("{hostile}{unique}")),
    );
    let long = "{x}".repeat(22_000);
    ids.push(format!("{unique}{long}1"));
    ids.push(format!("{unique}{long}2"));
    for (number, id) in ids.iter().enumerate() {
        let key = Key::new(Kind::Client, id);
        let written = store.insert(&key, number.to_string().into(), LONG).await.unwrap();
        assert!(written, "{:?} is no other identifier's", shortened(id));
    }
    for (number, id) in ids.iter().enumerate() {
        let key = Key::new(Kind::Client, id);
        let new = Bytes::from(format!("{number} again"));
        let before = number.to_string();
        let replaced = other.compare_and_set(&key, before.as_bytes(), new.clone(), LONG).await;
        assert!(replaced.unwrap(), "{:?}", shortened(id));
        assert_eq!(store.get(&key).await.unwrap(), Some(new), "{:?}", shortened(id));
    }
    for id in &ids {
        assert!(
            store.remove(&Key::new(Kind::Client, id)).await.unwrap(),
            "{:?}",
            shortened(id)
        );
    }
    for hostile in hostile {
        let counter = Key::new(Kind::Counter, format!("{unique}{hostile}"));
        assert_eq!(
            store.increment(&counter, Duration::from_secs(3600)).await.unwrap(),
            1,
            "{hostile:?}"
        );
    }
}

pub(super) fn shortened(id: &str) -> String {
    id.chars().take(60).collect()
}

/// A record is bytes, from none to 64 KiB of any value.
///
/// # Panics
///
/// When it does not hold.
pub async fn records_may_be_empty_or_large(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let every_byte: Vec<u8> = (0..=255).collect();
    let records: [Bytes; 6] = [
        "".into(),
        "0".into(),
        "17".into(),
        "\r\n$3\r\nabc\r\n".into(),
        every_byte.clone().into(),
        every_byte.repeat(256).into(),
    ];
    for record in &records {
        let key = fresh_key(Kind::Keys);
        assert!(store.insert(&key, record.clone(), LONG).await.unwrap());
        assert_eq!(other.get(&key).await.unwrap().as_ref(), Some(record));
        for next in &records {
            let before = store.get(&key).await.unwrap().unwrap();
            assert!(other.compare_and_set(&key, &before, next.clone(), LONG).await.unwrap());
            assert_eq!(store.get(&key).await.unwrap().as_ref(), Some(next));
        }
    }
}

/// A number that is not there counts as 0, each addition gives the sum, and it can be read.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_number_counts_up(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let (key, hour) = (fresh_key(Kind::Counter), Duration::from_secs(3600));
    for sum in 1..=12 {
        let handle = if sum % 2 == 0 { &store } else { &other };
        assert_eq!(handle.increment(&key, hour).await.unwrap(), sum);
        assert_eq!(store.get(&key).await.unwrap().unwrap(), sum.to_string());
    }
    assert!(
        !store.insert(&key, "0".into(), LONG).await.unwrap(),
        "a number is a record"
    );
    assert!(store.remove(&key).await.unwrap());
    assert_eq!(other.increment(&key, hour).await.unwrap(), 1);
}

/// Of many that insert one record at the same time, exactly one is told that it did, and its record is what is there.
///
/// # Panics
///
/// When it does not hold.
pub async fn of_many_inserts_at_once_one_wins(database: &dyn Database) {
    let handles = handles(database).await;
    for _ in 0..8 {
        let key = fresh_key(Kind::Once);
        let inserted = at_once(&handles, |number, store| {
            let key = key.clone();
            async move { store.insert(&key, number.to_string().into(), LONG).await.unwrap() }
        });
        let winners = winners(&inserted.await);
        assert_eq!(winners.len(), 1, "{winners:?} were all told that they were first");
        let record = handles[0].get(&key).await.unwrap().unwrap();
        assert_eq!(
            record,
            winners[0].to_string(),
            "the winner's record is the one that stays"
        );
    }
}

/// Of many that replace one record at the same time, exactly one succeeds, even where all would write the same.
///
/// # Panics
///
/// When it does not hold.
pub async fn of_many_replacements_at_once_one_wins(database: &dyn Database) {
    let handles = handles(database).await;
    for same in [false, true, false, true] {
        let key = fresh_key(Kind::Grant);
        handles[0].insert(&key, "before".into(), LONG).await.unwrap();
        let replaced = at_once(&handles, |number, store| {
            let key = key.clone();
            let record = if same { "after".to_owned() } else { number.to_string() };
            async move {
                store
                    .compare_and_set(&key, b"before", record.into(), LONG)
                    .await
                    .unwrap()
            }
        });
        let winners = winners(&replaced.await);
        assert_eq!(winners.len(), 1, "{winners:?} all replaced it");
        let record = handles[0].get(&key).await.unwrap().unwrap();
        let expected = if same {
            "after".to_owned()
        } else {
            winners[0].to_string()
        };
        assert_eq!(record, expected);
    }
}

/// Of many that remove one record at the same time, exactly one is told that it did.
///
/// # Panics
///
/// When it does not hold.
pub async fn of_many_removals_at_once_one_wins(database: &dyn Database) {
    let handles = handles(database).await;
    let key = fresh_key(Kind::UserCode);
    handles[0].insert(&key, "a record".into(), LONG).await.unwrap();
    let removed = at_once(&handles, |_, store| {
        let key = key.clone();
        async move { store.remove(&key).await.unwrap() }
    });
    assert_eq!(winners(&removed.await).len(), 1);
}

/// No addition is lost, and each gets a sum of its own.
///
/// # Panics
///
/// When it does not hold.
pub async fn many_additions_at_once_all_count(database: &dyn Database) {
    let handles = handles(database).await;
    let key = fresh_key(Kind::Counter);
    let mut sums = at_once(&handles, |_, store| {
        let key = key.clone();
        async move { store.increment(&key, Duration::from_secs(3600)).await.unwrap() }
    })
    .await;
    sums.sort_unstable();
    let all: Vec<_> = (1..=MANY as u64).collect();
    assert_eq!(sums, all);
}

/// Many that read, change and replace one record, again and again until they succeed: every change is in the end.
///
/// # Panics
///
/// When it does not hold.
pub async fn chains_of_replacements_lose_none(database: &dyn Database) {
    let handles = handles(database).await;
    let key = fresh_key(Kind::Grant);
    handles[0].insert(&key, "{}".into(), LONG).await.unwrap();
    at_once(&handles, |number, store| {
        let key = key.clone();
        async move {
            loop {
                let before = store.get(&key).await.unwrap().unwrap();
                let after = [before.as_ref(), format!(" {number}").as_bytes()].concat();
                if store.compare_and_set(&key, &before, after.into(), LONG).await.unwrap() {
                    return;
                }
            }
        }
    })
    .await;
    let record = handles[0].get(&key).await.unwrap().unwrap();
    let text = String::from_utf8(record.to_vec()).expect("what was written is text");
    let mut changes: Vec<usize> = text.split(' ').skip(1).map(|number| number.parse().unwrap()).collect();
    changes.sort_unstable();
    assert_eq!(changes, (0..MANY).collect::<Vec<_>>());
}

/// The store says that it is there.
///
/// # Panics
///
/// When it does not.
pub async fn the_store_answers(database: &dyn Database) {
    database.open().await.ping().await.unwrap();
}

fn winners(outcomes: &[bool]) -> Vec<usize> {
    outcomes
        .iter()
        .enumerate()
        .filter_map(|(number, won)| won.then_some(number))
        .collect()
}
