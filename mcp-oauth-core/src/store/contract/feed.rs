//! The feed of what has ended: in order, whole, and for long enough.

use std::time::Duration;

use super::{Database, at_once, fresh, handles};
use crate::store::{FeedPosition, Store};

const LONG: Duration = Duration::from_secs(3600);

/// Reads from a position to the end, and gives the entries that one of the tests has published, and where the end is.
async fn read(store: &dyn Store, from: Option<FeedPosition>, ours: &str) -> (Vec<String>, Option<FeedPosition>) {
    let (mut entries, mut position) = (Vec::new(), from);
    loop {
        let page = store.read_ended(position.as_ref()).await.unwrap();
        let read = page
            .entries
            .iter()
            .map(|entry| String::from_utf8(entry.to_vec()).unwrap());
        entries.extend(read.filter(|entry| entry.starts_with(ours)));
        if page.position.is_some() {
            position = page.position;
        }
        if !page.more {
            return (entries, position);
        }
    }
}

/// Entries are read in the order in which they were published, by whichever handle, each once after a position.
///
/// # Panics
///
/// When it does not hold.
pub async fn the_feed_keeps_its_order(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let ours = fresh("order");
    let (none, begin) = read(store.as_ref(), None, &ours).await;
    assert!(none.is_empty());
    let expected: Vec<_> = (0..20).map(|number| format!("{ours} {number:02}")).collect();
    for (number, entry) in expected.iter().enumerate() {
        let handle = if number % 2 == 0 { &store } else { &other };
        handle.publish_ended(entry, LONG).await.unwrap();
    }
    let (entries, end) = read(other.as_ref(), begin.clone(), &ours).await;
    assert_eq!(entries, expected, "after the position");
    assert_eq!(
        read(store.as_ref(), begin, &ours).await.0,
        expected,
        "a position is good for every handle"
    );
    assert_eq!(
        read(store.as_ref(), None, &ours).await.0,
        expected,
        "from the beginning"
    );
    let (nothing, end) = read(store.as_ref(), end, &ours).await;
    assert!(nothing.is_empty(), "{nothing:?} was read before");
    store.publish_ended(&format!("{ours} last"), LONG).await.unwrap();
    assert_eq!(read(other.as_ref(), end, &ours).await.0, [format!("{ours} last")]);
}

/// A feed that is longer than a page is read to its end, page by page, each entry once.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_long_feed_is_read_to_its_end(database: &dyn Database) {
    const EACH: usize = 40;
    let handles = handles(database).await;
    let ours = fresh("long");
    let (_, begin) = read(handles[0].as_ref(), None, &ours).await;
    let published = at_once(&handles, |number, store| {
        let ours = ours.clone();
        async move {
            for entry in 0..EACH {
                let entry = format!("{ours} {number:02} {entry:02}");
                store.publish_ended(&entry, LONG).await.unwrap();
            }
        }
    })
    .await
    .len()
        * EACH;
    let (mut entries, _) = read(handles[1].as_ref(), begin, &ours).await;
    assert_eq!(entries.len(), published);
    entries.sort_unstable();
    entries.dedup();
    assert_eq!(entries.len(), published, "an entry was read twice");
    assert_eq!(read(handles[2].as_ref(), None, &ours).await.0.len(), published);
}

/// Whoever goes on reading while others publish sees every entry in the end. This is where a feed by numbers that are
/// given out before the entry can be seen loses some.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_reader_misses_nothing_that_is_published_meanwhile(database: &dyn Database) {
    const EACH: usize = 5;
    let handles = handles(database).await;
    let ours = fresh("meanwhile");
    let (_, begin) = read(handles[0].as_ref(), None, &ours).await;
    let outcomes = at_once(&handles, |number, store| {
        let (ours, mut position) = (ours.clone(), begin.clone());
        async move {
            let mut seen = Vec::new();
            for entry in 0..EACH {
                if number % 8 == 0 {
                    let (new, end) = read(store.as_ref(), position.take(), &ours).await;
                    seen.extend(new);
                    position = end;
                } else {
                    let entry = format!("{ours} {number:02} {entry:02}");
                    store.publish_ended(&entry, LONG).await.unwrap();
                }
            }
            (number, seen, position)
        }
    })
    .await;
    let readers = || outcomes.iter().filter(|(number, _, _)| number % 8 == 0);
    let published = (outcomes.len() - readers().count()) * EACH;
    for (number, seen, position) in readers() {
        let (rest, _) = read(handles[number % handles.len()].as_ref(), position.clone(), &ours).await;
        let mut all: Vec<_> = seen.iter().chain(&rest).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), published, "a reader missed some");
    }
}

/// An entry stays readable for its time, however short-lived those are that come after it.
///
/// # Panics
///
/// When it does not hold.
pub async fn an_entry_of_the_feed_lives_for_its_time(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let (ours, moment) = (fresh("life"), database.moment());
    store.publish_ended(&format!("{ours} long"), LONG).await.unwrap();
    for _ in 0..3 {
        // Stores may drop what is old in heaps: there have to be enough for that.
        for _ in 0..150 {
            other.publish_ended("short", moment).await.unwrap();
        }
        database.pass(moment * 2).await;
    }
    assert_eq!(read(other.as_ref(), None, &ours).await.0, [format!("{ours} long")]);
}

/// A position whose entry is no longer there leads to everything that came after it.
///
/// # Panics
///
/// When it does not hold.
pub async fn an_old_position_misses_nothing(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let (ours, moment) = (fresh("old"), database.moment());
    store.publish_ended(&format!("{ours} first"), moment).await.unwrap();
    let (_, position) = read(store.as_ref(), None, &ours).await;
    database.pass(moment * 3).await;
    for _ in 0..150 {
        other.publish_ended("short", moment).await.unwrap();
    }
    store.publish_ended(&format!("{ours} second"), LONG).await.unwrap();
    let (entries, _) = read(other.as_ref(), position, &ours).await;
    assert_eq!(entries.last(), Some(&format!("{ours} second")));
}

/// A position that this database never gave, because it is another one or was restored from a backup, leads to the
/// beginning: better to see something twice than to miss it.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_position_of_another_store_begins_at_the_beginning(database: &dyn Database) {
    let store = database.open().await;
    let ours = fresh("foreign");
    let entry = format!("{ours} entry");
    store.publish_ended(&entry, LONG).await.unwrap();
    for foreign in [
        "",
        "0",
        "0-0",
        "1",
        "17",
        "17-3",
        "x",
        "-",
        "+",
        "$",
        "-1",
        "9999999999999",
        "9999999999999-0",
        "18446744073709551615",
        "18446744073709551615-18446744073709551615",
        "99999999999999999999999-1",
        "toy 999999",
        "1-1 COUNT 0",
        "{a}",
        "\r\n",
        "\0",
        "NaN",
    ] {
        let (entries, position) = read(store.as_ref(), Some(FeedPosition(foreign.to_owned())), &ours).await;
        assert_eq!(entries, [entry.as_str()], "{foreign:?}");
        assert!(read(store.as_ref(), position, &ours).await.0.is_empty(), "{foreign:?}");
    }
}
