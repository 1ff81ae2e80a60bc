//! One node, and everything that can happen to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mcp_oauth_core::store::{Kind, Store, StoreError};
use mcp_oauth_store::RedisStore;
use mcp_oauth_store::redis::RedisConfiguration;
use redis::Value;

use crate::operations::{Crowd, HOUR, all_work, each, key, none_works, recovered};
use crate::servers::proxy::{Loss, Proxy};
use crate::servers::refusing::Refusing;
use crate::servers::{Server, available, eventually};

fn store(configuration: &RedisConfiguration) -> Arc<RedisStore> {
    Arc::new(RedisStore::new(configuration).unwrap())
}

/// The machine may be slow: only where a hanging server is what is tested, an answer has to come soon.
fn patient(configuration: RedisConfiguration) -> RedisConfiguration {
    configuration
        .connection_timeout(Duration::from_secs(20))
        .response_timeout(Duration::from_secs(20))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill_and_the_store_recovers_by_itself() {
    if !available("what_was_acknowledged_survives_a_kill_and_the_store_recovers_by_itself") {
        return;
    }
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let store = store(&patient(server.configuration()));
    let crowd = Crowd::of(8, &store);
    for _ in 0..2 {
        crowd.gets_on_by(100).await;
        server.kill();
        none_works(&store).await;
        server.restart().await;
    }
    crowd.gets_on_by(100).await;
    let outcome = crowd.stop().await;
    println!("killed twice: {outcome:?}");
    assert_eq!(outcome.lost, 0);
    assert!(outcome.errors > 0, "somebody noticed");
    all_work(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_an_error_in_time_and_then_works_again() {
    if !available("a_server_that_hangs_is_an_error_in_time_and_then_works_again") {
        return;
    }
    let server = Server::start(&[]).await;
    let timeout = Duration::from_millis(300);
    let configuration = server
        .configuration()
        .connection_timeout(timeout)
        .response_timeout(timeout);
    let store = store(&configuration);
    recovered(&store).await;
    // Stopped, it takes no answer; paused, it takes everything and answers nothing.
    for stopped in [true, false] {
        if stopped {
            server.signal("-STOP");
        } else {
            server.ask::<Value>("CLIENT PAUSE 8000").await.unwrap();
        }
        let started = Instant::now();
        let outcomes = futures(&store).await;
        let longest = started.elapsed();
        for outcome in outcomes {
            assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        }
        // Each is two timeouts at most, on a machine that is not slow; and they do not wait for each other.
        assert!(longest < Duration::from_secs(5), "{longest:?}");
        if stopped {
            server.signal("-CONT");
        }
        recovered(&store).await;
        let record = store.get(&key(Kind::Grant, "of a hanging server")).await.unwrap();
        assert!(
            record.is_none_or(|record| record == "whole"),
            "it was written whole or not at all"
        );
    }
}

/// Many requests at once to a server that does not answer.
async fn futures(store: &Arc<RedisStore>) -> Vec<Result<(), StoreError>> {
    let tasks: Vec<_> = (0..32)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let key = key(Kind::Grant, "of a hanging server");
                match number % 4 {
                    0 => store.get(&key).await.map(drop),
                    1 => store.insert(&key, "whole".into(), Some(HOUR)).await.map(drop),
                    2 => store
                        .compare_and_set(&key, b"whole", "whole".into(), None)
                        .await
                        .map(drop),
                    _ => store.ping().await,
                }
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

/// Does something until it is refused: of a server that is full, a little may have become free again.
async fn until_refused(mut operation: impl AsyncFnMut(usize) -> Result<(), StoreError>) -> StoreError {
    for number in 0..20_000 {
        if let Err(error) = operation(number).await {
            return error;
        }
    }
    panic!("it is never refused");
}

#[tokio::test]
async fn a_full_server_refuses_new_records_and_keeps_the_old_ones() {
    if !available("a_full_server_refuses_new_records_and_keeps_the_old_ones") {
        return;
    }
    let server = Server::start(&["--maxmemory", "6mb", "--maxmemory-policy", "noeviction"]).await;
    let store = store(&patient(server.configuration()));
    let large = "x".repeat(16 * 1024);
    let mut stored = 0;
    let refused = until_refused(async |number| {
        let inserted = store
            .insert(&key(Kind::Client, number), large.clone().into(), None)
            .await;
        stored += usize::from(matches!(inserted, Ok(true)));
        inserted.map(drop)
    });
    assert!(matches!(refused.await, StoreError::Full(Kind::Client)));
    let counted = until_refused(async |number| store.increment(&key(Kind::Counter, number), HOUR).await.map(drop));
    assert!(matches!(counted.await, StoreError::Full(Kind::Counter)));
    let changed = until_refused(async |_| {
        let (key, expected) = (key(Kind::Client, 0), large.as_bytes());
        store
            .compare_and_set(&key, expected, large.clone().into(), None)
            .await
            .map(drop)
    });
    assert!(matches!(changed.await, StoreError::Unavailable(_)));
    let published = until_refused(async |_| store.publish_ended("grant", HOUR).await);
    assert!(matches!(published.await, StoreError::Unavailable(_)));
    for number in 0..stored {
        assert_eq!(
            store.get(&key(Kind::Client, number)).await.unwrap().unwrap(),
            large,
            "{number}"
        );
    }
    for number in 0..stored / 2 {
        assert!(store.remove(&key(Kind::Client, number)).await.unwrap());
    }
    // Redis frees in the background.
    eventually("there is room again", async || {
        store
            .insert(&key(Kind::Client, "room"), large.clone().into(), None)
            .await
            .ok()
    })
    .await;
    all_work(&store).await;
}

#[tokio::test]
async fn a_replica_takes_no_writes_until_it_is_made_the_primary() {
    if !available("a_replica_takes_no_writes_until_it_is_made_the_primary") {
        return;
    }
    let primary = Server::start(&[]).await;
    let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]).await;
    let store = store(&patient(replica.configuration()));
    for (operation, outcome) in each(&store).await {
        let reads = ["ping", "get", "read_ended", "inspect", "members", "list", "count"].contains(&operation);
        // A compare-and-set or removal of what is not there writes nothing.
        let reads = reads || ["compare_and_set", "remove", "remove_member"].contains(&operation);
        assert!(
            reads || matches!(outcome, Err(StoreError::Unavailable(_))),
            "{operation}: {outcome:?}"
        );
    }
    replica.ask::<Value>("REPLICAOF NO ONE").await.unwrap();
    all_work(&store).await;
}

#[tokio::test]
async fn a_lost_request_or_answer_costs_nobody_the_truth() {
    if !available("a_lost_request_or_answer_costs_nobody_the_truth") {
        return;
    }
    let server = Server::start(&[]).await;
    let proxy = Proxy::before(server.address()).await;
    let store = store(&patient(proxy.configuration()).lanes(std::num::NonZeroUsize::MIN));
    // The scripts are known, so that the next answer is the one that counts.
    all_work(&store).await;
    for (round, loss) in [Loss::Request, Loss::Answer].into_iter().enumerate() {
        let key = key(Kind::Grant, round);
        proxy.lose_next(loss);
        assert!(store.insert(&key, "1".into(), Some(HOUR)).await.unwrap(), "{loss:?}");
        assert!(proxy.has_lost());

        proxy.lose_next(loss);
        assert!(!store.insert(&key, "1".into(), Some(HOUR)).await.unwrap(), "{loss:?}");
        assert!(proxy.has_lost());

        proxy.lose_next(loss);
        assert!(
            store.compare_and_set(&key, b"1", "2".into(), Some(HOUR)).await.unwrap(),
            "{loss:?}"
        );
        assert!(proxy.has_lost());

        proxy.lose_next(loss);
        assert!(
            !store.compare_and_set(&key, b"1", "3".into(), Some(HOUR)).await.unwrap(),
            "{loss:?}"
        );
        assert!(proxy.has_lost());

        proxy.lose_next(loss);
        assert_eq!(store.get(&key).await.unwrap().unwrap(), "2", "{loss:?}");
        assert!(proxy.has_lost());

        proxy.lose_next(loss);
        store.publish_ended(&format!("{loss:?}"), HOUR).await.unwrap();
        assert!(proxy.has_lost());

        // Counting is not repeated, since that would count twice.
        let counter = self::key(Kind::Counter, round);
        proxy.lose_next(loss);
        let sum = store.increment(&counter, HOUR).await;
        assert!(matches!(sum, Err(StoreError::Unavailable(_))), "{sum:?}");
        let expected = if loss == Loss::Request { 1 } else { 2 };
        assert_eq!(store.increment(&counter, HOUR).await.unwrap(), expected, "{loss:?}");

        proxy.lose_next(loss);
        store.remove(&key).await.unwrap();
        assert!(proxy.has_lost());
        assert_eq!(store.get(&key).await.unwrap(), None);
    }
    let feed = store.read_ended(None).await.unwrap();
    for loss in ["Request", "Answer"] {
        assert!(feed.entries.iter().any(|entry| entry == loss), "{:?}", feed.entries);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_while_a_script_waits_changes_no_answer() {
    if !available("a_connection_cut_while_a_script_waits_changes_no_answer") {
        return;
    }
    let server = Server::start(&[]).await;
    let store = store(&patient(server.configuration()));
    for round in 0..5 {
        // One cut goes unnoticed, and a second one on the same way is an error. So the lanes are whole each time.
        recovered(&store).await;
        let key = key(Kind::Grant, round);
        store.insert(&key, "before".into(), Some(HOUR)).await.unwrap();
        server.ask::<Value>("CLIENT PAUSE 60000 WRITE").await.unwrap();
        let replacing = tokio::spawn({
            let (store, key) = (store.clone(), key.clone());
            async move { store.compare_and_set(&key, b"before", "after".into(), Some(HOUR)).await }
        });
        eventually("the script waits", async || {
            let clients: String = server.ask("INFO clients").await.unwrap();
            (!clients.contains("blocked_clients:0")).then_some(())
        })
        .await;
        server.ask::<Value>("CLIENT KILL TYPE normal").await.unwrap();
        server.ask::<Value>("CLIENT UNPAUSE").await.unwrap();
        assert!(replacing.await.unwrap().unwrap(), "the second attempt has told");
        assert_eq!(store.get(&key).await.unwrap().unwrap(), "after");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_forgotten_are_sent_again() {
    if !available("scripts_that_are_forgotten_are_sent_again") {
        return;
    }
    let server = Server::start(&[]).await;
    let store = store(&patient(server.configuration()));
    let crowd = Crowd::of(8, &store);
    for _ in 0..30 {
        crowd.gets_on_by(10).await;
        server.ask::<Value>("SCRIPT FLUSH").await.unwrap();
    }
    let outcome = crowd.stop().await;
    assert_eq!((outcome.lost, outcome.errors), (0, 0), "{outcome:?}");
}

#[tokio::test]
async fn a_wrong_password_is_an_error_without_the_password_until_it_is_right() {
    if !available("a_wrong_password_is_an_error_without_the_password_until_it_is_right") {
        return;
    }
    let server = Server::start(&["--requirepass", "the-first-one"]).await;
    let wrong = store(&patient(server.configuration()).password("the-second-one"));
    let none = store(&patient(RedisConfiguration::node(&server.address()).unwrap()));
    for store in [&wrong, &none] {
        none_works(store).await;
        let shown = format!("{store:?} {:?}", store.ping().await);
        assert!(!shown.contains("second"), "{shown}");
    }
    server
        .ask::<Value>("CONFIG SET requirepass the-second-one")
        .await
        .unwrap();
    all_work(&wrong).await;
    none_works(&none).await;
}

#[tokio::test]
async fn whatever_a_server_refuses_with_nothing_is_known() {
    for error in [
        "LOADING Redis is loading the dataset in memory",
        "CLUSTERDOWN The cluster is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "READONLY You can't write against a read only replica.",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "NOREPLICAS Not enough good replicas to write.",
        "NOPERM this user has no permissions to run the command",
        "NOSCRIPT No matching script.",
        "BUSY Redis is busy running a script.",
        "MOVED 3999 127.0.0.1:1",
        "ERR unknown command 'SET', with args beginning with: 'the record'",
        "SOMETHING that nobody knows yet",
    ] {
        let server = Refusing::with(error).await;
        let store = store(&patient(RedisConfiguration::node(&server.address).unwrap()));
        none_works(&store).await;
        let shown = format!(
            "{:?}",
            store.insert(&key(Kind::Grant, "1"), "the record".into(), None).await
        );
        assert!(!shown.contains("the record"), "{shown}");
    }
}

#[tokio::test]
async fn values_that_are_none_of_ours_are_unreadable_and_stay_as_they_are() {
    if !available("values_that_are_none_of_ours_are_unreadable_and_stay_as_they_are") {
        return;
    }
    let server = Server::start(&[]).await;
    let store = store(&patient(server.configuration()));
    for command in [
        "SET mcp-oauth:grant:text {}",
        "SET mcp-oauth:grant:short @short",
        "LPUSH mcp-oauth:grant:list a",
        "HSET mcp-oauth:grant:hash a b",
    ] {
        server.ask::<Value>(command).await.unwrap();
    }
    let unreadable = |outcome: Result<(), StoreError>, what: &str| match outcome {
        Err(StoreError::Unreadable { reason, .. }) => assert!(!reason.contains("short"), "{reason}"),
        other => panic!("{what}: {other:?}"),
    };
    for id in ["text", "short", "list", "hash"] {
        let key = key(Kind::Grant, id);
        unreadable(store.get(&key).await.map(drop), id);
        if ["list", "hash"].contains(&id) {
            unreadable(store.compare_and_set(&key, b"a", "b".into(), None).await.map(drop), id);
        }
        unreadable(store.increment(&key, HOUR).await.map(drop), id);
    }
    let length: i64 = server.ask("LLEN mcp-oauth:grant:list").await.unwrap();
    assert_eq!(length, 1);
}

#[tokio::test]
async fn every_key_has_an_end_but_those_for_ever() {
    if !available("every_key_has_an_end_but_those_for_ever") {
        return;
    }
    let server = Server::start(&[]).await;
    let store = store(&patient(server.configuration()));
    all_work(&store).await;
    store
        .insert(&key(Kind::Client, "eternal"), "1".into(), None)
        .await
        .unwrap();
    let keys: Vec<String> = server.ask("KEYS *").await.unwrap();
    assert!(keys.len() >= 4, "{keys:?}");
    for key in keys {
        assert!(key.starts_with("mcp-oauth:"), "{key}");
        let left: i64 = server.send(redis::cmd("PTTL").arg(&key)).await.unwrap();
        assert_eq!(left == -1, key == "mcp-oauth:client:eternal", "{key}: {left}");
    }
}

#[tokio::test]
async fn what_is_old_leaves_the_feed() {
    if !available("what_is_old_leaves_the_feed") {
        return;
    }
    let server = Server::start(&[]).await;
    let store = store(&patient(server.configuration()));
    for number in 0..500 {
        store
            .publish_ended(&number.to_string(), Duration::from_millis(1))
            .await
            .unwrap();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    store.publish_ended("last", Duration::from_millis(1)).await.unwrap();
    let left: i64 = server.ask("XLEN mcp-oauth:ended").await.unwrap();
    assert!(left < 250, "{left} entries of 501 are left");
    assert_eq!(store.read_ended(None).await.unwrap().entries.last().unwrap(), "last");
}

#[tokio::test]
async fn two_prefixes_are_two_stores_and_two_databases_too() {
    if !available("two_prefixes_are_two_stores_and_two_databases_too") {
        return;
    }
    let server = Server::start(&[]).await;
    let one = store(&patient(server.configuration()));
    let other = store(&patient(server.configuration()).prefix("other:").unwrap());
    let elsewhere = store(&patient(server.configuration()).database(3).unwrap());
    let key = key(Kind::Client, "a");
    for store in [&one, &other, &elsewhere] {
        assert!(store.insert(&key, "1".into(), Some(HOUR)).await.unwrap());
        assert!(store.read_ended(None).await.unwrap().entries.is_empty());
        store.publish_ended("entry", HOUR).await.unwrap();
    }
}
