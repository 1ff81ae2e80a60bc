//! Lists over many records: what is on them, and what a reader sees while others write.

use std::collections::BTreeSet;
use std::time::Duration;

use super::records::HOSTILE;
use super::{Database, MANY, at_once, fresh, fresh_key, handles, record_kinds};
use crate::store::{Key, Kind, ListPosition, Store};

/// Long enough for every test here.
const LONG: Duration = Duration::from_secs(3600);

/// Reads the list of a kind to its end, page by page, and gives the identifiers that are one test's.
async fn listed_from(
    store: &dyn Store,
    kind: Kind,
    from: Option<ListPosition>,
    limit: usize,
    ours: &str,
) -> Vec<String> {
    let (mut ids, mut position) = (Vec::new(), from);
    loop {
        let page = store.list(kind, position.as_ref(), limit).await.unwrap();
        assert!(
            page.keys.iter().all(|key| key.kind() == kind),
            "another kind is on the list"
        );
        let found = page.keys.iter().map(|key| key.id().to_owned());
        ids.extend(found.filter(|id| id.contains(ours)));
        position = page.next;
        if position.is_none() {
            return ids;
        }
    }
}

async fn listed(store: &dyn Store, kind: Kind, ours: &str) -> BTreeSet<String> {
    listed_from(store, kind, None, 100, ours).await.into_iter().collect()
}

async fn put(store: &dyn Store, kind: Kind, id: &str, life: Duration) {
    let key = Key::new(kind, id);
    if kind.is_set() {
        store.add_member(&key, "a member", life).await.unwrap();
    } else {
        assert!(store.insert(&key, "1".into(), Some(life)).await.unwrap(), "{key}");
    }
}

/// A record is told with how long it has: its whole time at first, then less, and none if it stays for ever.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_record_is_inspected_with_the_time_that_it_has(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let moment = database.moment();
    for kind in record_kinds() {
        let key = fresh_key(kind);
        assert_eq!(other.inspect(&key).await.unwrap(), None);
        let before = database.elapsed();
        assert!(store.insert(&key, "a record".into(), Some(LONG)).await.unwrap());
        let kept = other.inspect(&key).await.unwrap().expect("it is there");
        let passed = database.elapsed().saturating_sub(before);
        assert_eq!(kept.record, "a record", "{key}");
        let left = kept.time_to_live.expect("it has a time to live");
        assert!(
            left <= LONG && left + passed + moment >= LONG,
            "{key} has {left:?} left of {LONG:?}"
        );
        assert!(store.compare_and_set(&key, b"a record", "".into(), None).await.unwrap());
        let kept = other.inspect(&key).await.unwrap().expect("it is there");
        assert_eq!((kept.record.len(), kept.time_to_live), (0, None), "{key}");
        assert!(store.remove(&key).await.unwrap());
    }
    let key = fresh_key(Kind::Counter);
    store.increment(&key, LONG).await.unwrap();
    database.pass(moment).await;
    store.increment(&key, LONG * 2).await.unwrap();
    let kept = other.inspect(&key).await.unwrap().expect("it is there");
    assert_eq!(kept.record, "2");
    assert!(
        kept.time_to_live.is_some_and(|left| left < LONG),
        "its time runs from the first addition"
    );
}

/// Whatever there is of a kind is on its list, under the identifier that it has, whatever that is; and nothing else is.
///
/// # Panics
///
/// When it does not hold.
pub async fn every_record_of_a_kind_is_listed_and_no_other(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let ours = fresh("listed");
    let long = "{x}".repeat(22_000);
    let ids = |kind: Kind| -> BTreeSet<String> {
        let hostile = HOSTILE.into_iter().chain([long.as_str()]);
        hostile
            .map(|hostile| format!("{hostile}{} {ours}", kind.as_str()))
            .collect()
    };
    for kind in Kind::ALL.iter().copied() {
        for id in ids(kind) {
            put(store.as_ref(), kind, &id, LONG).await;
        }
    }
    for kind in Kind::ALL.iter().copied() {
        let expected = ids(kind);
        assert!(
            listed(other.as_ref(), kind, &ours).await == expected,
            "{}",
            kind.as_str()
        );
        for limit in [1, 1000] {
            let found = listed_from(other.as_ref(), kind, None, limit, &ours).await;
            assert_eq!(
                found.len(),
                expected.len(),
                "{} by {limit}: each once, since nobody writes",
                kind.as_str()
            );
        }
        for id in expected {
            if kind.is_set() {
                store.remove_member(&Key::new(kind, id), "a member").await.unwrap();
            } else {
                store.remove(&Key::new(kind, id)).await.unwrap();
            }
        }
        assert!(
            listed(other.as_ref(), kind, &ours).await.is_empty(),
            "{}",
            kind.as_str()
        );
    }
}

/// A record that is over is not on the list, nor a set whose members are.
///
/// # Panics
///
/// When it does not hold.
pub async fn what_is_over_is_on_no_list(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let (ours, moment) = (fresh("over"), database.moment());
    for kind in Kind::ALL.iter().copied() {
        put(store.as_ref(), kind, &format!("short {ours}"), moment).await;
        put(store.as_ref(), kind, &format!("long {ours}"), LONG).await;
    }
    database.pass(moment).await;
    for kind in Kind::ALL.iter().copied() {
        let found = listed(other.as_ref(), kind, &ours).await;
        assert_eq!(found, BTreeSet::from([format!("long {ours}")]), "{}", kind.as_str());
    }
}

/// Whoever lists while others write sees everything that stays.
///
/// # Panics
///
/// When it does not hold.
pub async fn what_stays_is_listed_while_others_write(database: &dyn Database) {
    let handles = handles(database).await;
    let ours = fresh("stays");
    let staying: BTreeSet<_> = (0..200).map(|number| format!("{ours} {number}")).collect();
    for id in &staying {
        put(handles[0].as_ref(), Kind::Grant, id, LONG).await;
    }
    let seen = at_once(&handles, |number, store| {
        let (ours, staying) = (ours.clone(), staying.clone());
        async move {
            if number % 8 == 0 {
                return Some(listed_from(store.as_ref(), Kind::Grant, None, 10, &ours).await);
            }
            for round in 0..6 {
                let passing = format!("passing {number} {round}");
                put(store.as_ref(), Kind::Grant, &format!("{passing} {number}"), LONG).await;
                let replaced = Key::new(Kind::Grant, staying.iter().nth(number).unwrap());
                store
                    .compare_and_set(&replaced, b"1", "1".into(), Some(LONG))
                    .await
                    .unwrap();
                store
                    .remove(&Key::new(Kind::Grant, format!("{passing} {number}")))
                    .await
                    .unwrap();
            }
            None
        }
    });
    for seen in seen.await.into_iter().flatten() {
        let seen: BTreeSet<_> = seen.into_iter().collect();
        let missed: Vec<_> = staying.difference(&seen).collect();
        assert!(missed.is_empty(), "a reader missed {missed:?}");
    }
}

/// A position that this database never gave leads to the beginning.
///
/// # Panics
///
/// When it does not hold.
pub async fn any_position_leads_through_the_whole_list(database: &dyn Database) {
    let store = database.open().await;
    let ours = fresh("foreign");
    for number in 0..5 {
        put(store.as_ref(), Kind::Client, &format!("{ours} {number}"), LONG).await;
    }
    for foreign in [
        "",
        "0",
        "17",
        "x",
        "-1",
        "0.0..0x",
        "0.0.another-run.17",
        "0.7.another-run.17",
        "ffffffffffffffff.0.another-run.17",
        "99999999999999999999999.0.r.1",
        "0.0.r.18446744073709551616",
        "17 MATCH *",
        "\r\n",
        "\0",
    ] {
        let from = Some(ListPosition(foreign.to_owned()));
        let found = listed_from(store.as_ref(), Kind::Client, from, 100, &ours).await;
        assert_eq!(found.len(), 5, "{foreign:?}");
    }
}

/// What is counted is what there is of each kind.
///
/// # Panics
///
/// When it does not hold.
pub async fn records_are_counted_by_kind(database: &dyn Database) {
    let handles = handles(database).await;
    let ours = fresh("counted");
    let before = handles[0].count().await.unwrap();
    at_once(&handles, |number, store| {
        let id = format!("{ours} {number}");
        async move {
            put(store.as_ref(), Kind::Document, &id, LONG).await;
            put(store.as_ref(), Kind::UserGrants, &id, LONG).await;
        }
    })
    .await;
    let after = handles[1].count().await.unwrap();
    for kind in [Kind::Document, Kind::UserGrants] {
        // Others may be at work in the same database, and what they leave behind comes to its end.
        let ours = listed(handles[2].as_ref(), kind, &ours).await.len();
        assert_eq!(ours, MANY, "{}", kind.as_str());
        assert!(after.of(kind) >= MANY as u64, "{}", kind.as_str());
        assert!(after.of(kind) <= before.of(kind) + MANY as u64, "{}", kind.as_str());
    }
    assert!(after.iter().all(|(_, count)| count > 0));
}
