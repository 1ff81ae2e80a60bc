//! Times to live: nothing is returned after its time, and nothing is lost before it.

use std::time::Duration;

use super::{Database, fresh_key, pass_until, record_kinds};
use crate::store::{Key, Kind, Store};

/// Reads a record, and holds what is found against how long it has to live. `before` is when it was written, at the
/// earliest; `life` is its time to live.
async fn must_be_there_until(database: &dyn Database, store: &dyn Store, key: &Key, before: Duration, life: Duration) {
    let found = store.get(key).await.unwrap();
    // On a slow machine the time may have been over when the store looked.
    if database.elapsed() < before + life {
        assert!(found.is_some(), "{key} is gone before its time");
    }
}

/// Waits until a record that was written at `after`, at the latest, has lived its life, and finds it gone.
async fn must_be_gone_after(database: &dyn Database, store: &dyn Store, key: &Key, after: Duration, life: Duration) {
    pass_until(database, after + life).await;
    assert_eq!(store.get(key).await.unwrap(), None, "{key} outlives its time");
}

/// A record of any kind is there until its time is over, and not after it.
///
/// # Panics
///
/// When it does not hold.
pub async fn every_kind_of_record_ends_with_its_time(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let life = database.moment() * 3;
    let keys: Vec<_> = record_kinds().map(fresh_key).collect();
    let before = database.elapsed();
    for key in &keys {
        assert!(store.insert(key, "a record".into(), Some(life)).await.unwrap());
    }
    let after = database.elapsed();
    database.pass(database.moment()).await;
    for key in &keys {
        must_be_there_until(database, other.as_ref(), key, before, life).await;
    }
    for key in &keys {
        must_be_gone_after(database, other.as_ref(), key, after, life).await;
    }
}

/// No time to live means for ever, for a new record and for one that had a time to live before.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_record_for_ever_stays(database: &dyn Database) {
    let store = database.open().await;
    let (always, at_first_not) = (fresh_key(Kind::Client), fresh_key(Kind::Client));
    let life = database.moment() * 2;
    assert!(store.insert(&always, "a record".into(), None).await.unwrap());
    let before = database.elapsed();
    assert!(
        store
            .insert(&at_first_not, "a record".into(), Some(life))
            .await
            .unwrap()
    );
    let replaced = store
        .compare_and_set(&at_first_not, b"a record", "a record".into(), None)
        .await;
    let in_time = database.elapsed() < before + life;
    assert!(replaced.unwrap() || !in_time, "gone before its time");
    database.pass(life * 2).await;
    assert!(store.get(&always).await.unwrap().is_some());
    if in_time {
        assert!(store.get(&at_first_not).await.unwrap().is_some());
    }
    store.remove(&always).await.unwrap();
    store.remove(&at_first_not).await.unwrap();
}

/// What replaces a record lives for its own time, longer or shorter than what was there.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_replacement_brings_its_own_time_to_live(database: &dyn Database) {
    let store = database.open().await;
    let moment = database.moment();
    let (longer, shorter, refused) = (fresh_key(Kind::Grant), fresh_key(Kind::Grant), fresh_key(Kind::Grant));
    let before = database.elapsed();
    for (key, moments) in [(&longer, 2), (&shorter, 1000), (&refused, 2)] {
        assert!(store.insert(key, "one".into(), Some(moment * moments)).await.unwrap());
    }
    let inserted = database.elapsed();
    let replaced_longer = store
        .compare_and_set(&longer, b"one", "two".into(), Some(moment * 6))
        .await
        .unwrap();
    let in_time = database.elapsed() < before + moment * 2;
    assert!(replaced_longer || !in_time, "gone before its time");
    assert!(
        store
            .compare_and_set(&shorter, b"one", "two".into(), Some(moment * 2))
            .await
            .unwrap()
    );
    let replaced = database.elapsed();
    let refusal = store
        .compare_and_set(&refused, b"other", "two".into(), Some(moment * 1000))
        .await;
    assert!(!refusal.unwrap());

    must_be_gone_after(database, store.as_ref(), &refused, inserted, moment * 2).await;
    must_be_gone_after(database, store.as_ref(), &shorter, replaced, moment * 2).await;
    if replaced_longer {
        must_be_there_until(database, store.as_ref(), &longer, inserted, moment * 6).await;
        must_be_gone_after(database, store.as_ref(), &longer, replaced, moment * 6).await;
    }
}

/// A number lives from its first addition on, whatever is added later; then it begins anew.
///
/// # Panics
///
/// When it does not hold.
pub async fn adding_does_not_lengthen_the_life_of_a_number(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let life = database.moment() * 3;
    let key = fresh_key(Kind::Counter);
    let before = database.elapsed();
    assert_eq!(store.increment(&key, life).await.unwrap(), 1);
    let after = database.elapsed();
    database.pass(database.moment()).await;
    let sum = other.increment(&key, life * 1000).await.unwrap();
    let in_time = database.elapsed() < before + life;
    assert!(sum == 2 || !in_time, "the number is gone before its time");
    if in_time {
        must_be_gone_after(database, store.as_ref(), &key, after, life).await;
        assert_eq!(store.increment(&key, life).await.unwrap(), 1, "it begins anew");
    }
}

/// What is over is over for every operation, not only for reading.
///
/// # Panics
///
/// When it does not hold.
pub async fn what_is_over_is_out_of_the_way(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let moment = database.moment();
    let [replaced, removed, inserted, counted] = [Kind::Grant, Kind::Once, Kind::Device, Kind::Counter].map(fresh_key);
    for key in [&replaced, &removed, &inserted, &counted] {
        assert!(store.insert(key, "1".into(), Some(moment)).await.unwrap());
    }
    database.pass(moment).await;
    assert!(!other.compare_and_set(&replaced, b"1", "2".into(), None).await.unwrap());
    assert!(!other.remove(&removed).await.unwrap());
    assert!(other.insert(&inserted, "2".into(), Some(moment * 1000)).await.unwrap());
    assert_eq!(other.increment(&counted, moment * 1000).await.unwrap(), 1);
    assert_eq!(store.get(&replaced).await.unwrap(), None);
    assert_eq!(store.get(&inserted).await.unwrap().unwrap(), "2");
}
