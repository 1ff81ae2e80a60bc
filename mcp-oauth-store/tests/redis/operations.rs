//! Every operation of a store, tried one by one; and a crowd of writers who remember what they were promised.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mcp_oauth_core::store::{Key, Kind, Store, StoreError};
use mcp_oauth_store::RedisStore;
use tokio::task::JoinHandle;

use crate::servers::eventually;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

#[allow(clippy::needless_pass_by_value, reason = "numbers and text alike")]
pub(crate) fn key(kind: Kind, id: impl ToString) -> Key {
    Key::new(kind, id.to_string())
}

/// What each operation comes to.
pub(crate) async fn each(store: &RedisStore) -> Vec<(&'static str, Result<(), StoreError>)> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let key = |kind| key(kind, format!("each {}", NEXT.fetch_add(1, Ordering::Relaxed)));
    vec![
        ("ping", store.ping().await),
        ("get", store.get(&key(Kind::Grant)).await.map(drop)),
        (
            "insert",
            store.insert(&key(Kind::Grant), "1".into(), Some(HOUR)).await.map(drop),
        ),
        (
            "compare_and_set",
            store
                .compare_and_set(&key(Kind::Grant), b"1", "2".into(), None)
                .await
                .map(drop),
        ),
        ("remove", store.remove(&key(Kind::Grant)).await.map(drop)),
        ("increment", store.increment(&key(Kind::Counter), HOUR).await.map(drop)),
        ("publish_ended", store.publish_ended("each", HOUR).await),
        ("read_ended", store.read_ended(None).await.map(drop)),
        ("inspect", store.inspect(&key(Kind::Grant)).await.map(drop)),
        (
            "add_member",
            store.add_member(&key(Kind::UserGrants), "each", HOUR).await,
        ),
        (
            "remove_member",
            store.remove_member(&key(Kind::UserGrants), "each").await.map(drop),
        ),
        (
            "members",
            store.members(&key(Kind::UserGrants), None, 10).await.map(drop),
        ),
        ("list", store.list(Kind::Client, None, 10).await.map(drop)),
        ("count", store.count().await.map(drop)),
    ]
}

/// Every operation says that the store cannot be reached.
pub(crate) async fn none_works(store: &RedisStore) {
    for (operation, outcome) in each(store).await {
        assert!(
            matches!(outcome, Err(StoreError::Unavailable(_))),
            "{operation}: {outcome:?}"
        );
    }
}

/// Every operation works.
pub(crate) async fn all_work(store: &RedisStore) {
    for (operation, outcome) in each(store).await {
        assert!(outcome.is_ok(), "{operation}: {outcome:?}");
    }
}

/// Waits until every operation works, again and again over every lane.
pub(crate) async fn recovered(store: &RedisStore) {
    eventually("the store works again", async || {
        for _ in 0..4 {
            if each(store).await.iter().any(|(_, outcome)| outcome.is_err()) {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// Writers that insert, and that add to a number by reading and replacing, as fast as they can.
pub(crate) struct Crowd {
    store: Arc<RedisStore>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<Memory>>,
}

/// What one writer was told.
struct Memory {
    writer: usize,
    /// How many of its insertions were acknowledged or not, by number.
    inserted: BTreeMap<usize, bool>,
    /// The highest number that it was told is stored, and the highest that it has tried to store.
    counted: (u64, u64),
    errors: usize,
}

/// What became of what the crowd was told.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How many writes were acknowledged.
    pub(crate) acknowledged: usize,
    /// How many of them are not there.
    pub(crate) lost: usize,
    /// How many operations failed.
    pub(crate) errors: usize,
}

impl Crowd {
    pub(crate) fn of(writers: usize, store: &Arc<RedisStore>) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..writers)
            .map(|writer| {
                let (store, stop, acknowledged) = (store.clone(), stop.clone(), acknowledged.clone());
                tokio::spawn(async move { write(writer, &store, &stop, &acknowledged).await })
            })
            .collect();
        Self {
            store: store.clone(),
            stop,
            acknowledged,
            tasks,
        }
    }

    /// Waits until this many more writes were acknowledged.
    pub(crate) async fn gets_on_by(&self, writes: usize) {
        let goal = self.acknowledged.load(Ordering::SeqCst) + writes;
        eventually("the writers get on", async || {
            (self.acknowledged.load(Ordering::SeqCst) >= goal).then_some(())
        })
        .await;
    }

    /// Stops the writers and holds what is stored against what they were told.
    pub(crate) async fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::SeqCst);
        let mut outcome = Outcome {
            acknowledged: 0,
            lost: 0,
            errors: 0,
        };
        for task in self.tasks {
            let memory = task.await.expect("a writer does not panic");
            outcome.errors += memory.errors;
            for (number, acknowledged) in memory.inserted {
                let key = inserted_key(memory.writer, number);
                let found = self.store.get(&key).await.unwrap();
                if let Some(found) = &found {
                    assert_eq!(*found, number.to_string(), "{key}");
                }
                outcome.acknowledged += usize::from(acknowledged);
                outcome.lost += usize::from(acknowledged && found.is_none());
            }
            let (told, tried) = memory.counted;
            let found = self.store.get(&counted_key(memory.writer)).await.unwrap();
            let found = found.map_or(0, |found| number(&found));
            assert!(found <= tried, "{found} was never written, {tried} was the last");
            outcome.lost += usize::from(found < told);
            outcome.acknowledged += usize::try_from(told).expect("few");
        }
        outcome
    }
}

fn inserted_key(writer: usize, number: usize) -> Key {
    key(Kind::Once, format!("{writer} {number}"))
}

fn counted_key(writer: usize) -> Key {
    key(Kind::Grant, format!("of {writer}"))
}

fn number(record: &[u8]) -> u64 {
    std::str::from_utf8(record).unwrap().parse().unwrap()
}

async fn write(writer: usize, store: &RedisStore, stop: &AtomicBool, acknowledged: &AtomicUsize) -> Memory {
    let mut memory = Memory {
        writer,
        inserted: BTreeMap::new(),
        counted: (0, 0),
        errors: 0,
    };
    for round in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let inserted = store
            .insert(&inserted_key(writer, round), round.to_string().into(), Some(HOUR))
            .await;
        // Nobody else writes this key: whoever is told that it was there already was told wrongly.
        let stored = told(inserted, &mut memory.errors).await;
        assert_ne!(stored, Some(false), "an insertion was taken for somebody else's");
        memory.inserted.insert(round, stored.is_some());
        acknowledged.fetch_add(usize::from(stored.is_some()), Ordering::SeqCst);

        if let Some(()) = add_one(&counted_key(writer), store, &mut memory).await {
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }
    memory
}

async fn add_one(key: &Key, store: &RedisStore, memory: &mut Memory) -> Option<()> {
    let found = told(store.get(key).await, &mut memory.errors).await?;
    let next = found.as_ref().map_or(0, |found| number(found)) + 1;
    memory.counted.1 = memory.counted.1.max(next);
    let record = next.to_string().into();
    let stored = match &found {
        Some(found) => store.compare_and_set(key, found, record, Some(HOUR)).await,
        None => store.insert(key, record, Some(HOUR)).await,
    };
    let stored = told(stored, &mut memory.errors).await?;
    if stored {
        memory.counted.0 = memory.counted.0.max(next);
    }
    stored.then_some(())
}

/// Takes an answer. An error is always the one that says nothing, and is waited out.
async fn told<T>(answer: Result<T, StoreError>, errors: &mut usize) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(StoreError::Unavailable(_)) => {
            *errors += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
            None
        }
        Err(error) => panic!("{error}"),
    }
}
