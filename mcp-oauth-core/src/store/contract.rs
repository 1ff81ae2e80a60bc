//! What every [`Store`] has to keep to, as tests that any of them can be put through.
//!
//! The protocol is safe because each of its steps is one read and one compare-and-set of one record, whoever else is at
//! work at the same time. That is true only as far as the store keeps its side. A store that tells two callers of
//! [`insert`](Store::insert) that they were first has a code paid twice; one that returns a record a moment after its
//! time lets a code live longer than RFC 6749 allows; one whose feed skips an entry leaves a stolen token good
//! somewhere. None of that shows in a test of a single process that does one thing after the other, so these tests do
//! many things at once, over several handles.
//!
//! # Putting a store through it
//!
//! Say how to get at your database, as a [`Database`]: how to open another handle to it, as another process would, and
//! how time passes for it. Then either have one test for each promise, named for what it promises:
//!
//! ```ignore
//! mcp_oauth_core::store_contract!(MyDatabase::start().await);
//! ```
//!
//! or, where a database is expensive to start, run all of them against one: [`every_promise`]. They do not mind each
//! other's records, nor those of others, so the database need not be empty.
//!
//! # Time
//!
//! A store that asks a [`Clock`](crate::clock::Clock) for the time is tested with a
//! [`ManualClock`](crate::clock::ManualClock): [`pass`](Database::pass) moves its hands, and nothing waits. A database
//! with a clock of its own, such as Redis or Postgres, cannot be told the time, and there alone real time has to pass:
//! `pass` sleeps, and [`moment`](Database::moment) is short, so that all of it takes seconds. Nothing fails because the
//! machine was slow: that something is *still* there is only asked for as long as, by
//! [`elapsed`](Database::elapsed), it has to be.
//!
//! # What it does not ask
//!
//! These are yours to test, because only you know how to bring them about: that what was acknowledged survives a crash;
//! that a database which is gone, slow, full or read-only is told with the right [`StoreError`](super::StoreError) and
//! never as a success; that the store recovers by itself. A [`Deployment`] over your database shows what people notice of
//! it. Lost answers deserve a thought: a client library that sends a write again on its own makes an
//! [`insert`](Store::insert) see its own record and say "somebody else was first".
//!
//! # A worked example
//!
//! A whole store, kept behind one lock, and the contract that it passes:
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//!
//! use async_trait::async_trait;
//! use bytes::Bytes;
//! use mcp_oauth_core::clock::{Clock, ManualClock, UnixTime};
//! use mcp_oauth_core::store::contract::{self, Database};
//! use mcp_oauth_core::store::{
//!     Counts, FeedPage, FeedPosition, Kept, Key, KeyPage, Kind, ListPosition, MAXIMUM_MEMBERS, Member, MemberPage, Store,
//!     StoreError,
//! };
//!
//! #[derive(Debug, Default)]
//! struct Tables {
//!     records: HashMap<Key, (Bytes, Option<UnixTime>)>,
//!     sets: HashMap<Key, Vec<(UnixTime, String)>>,
//!     feed: Vec<Bytes>,
//! }
//!
//! #[derive(Clone, Debug)]
//! struct ToyStore {
//!     tables: Arc<Mutex<Tables>>,
//!     clock: ManualClock,
//! }
//!
//! impl ToyStore {
//!     /// One atomic step on one record, with whatever is over out of the way.
//!     fn step<T>(&self, key: &Key, step: impl FnOnce(&mut Option<(Bytes, Option<UnixTime>)>) -> T) -> T {
//!         let mut tables = self.tables.lock().unwrap();
//!         let found = tables.records.remove(key);
//!         let mut record = found.filter(|(_, until)| until.is_none_or(|until| until > self.clock.now()));
//!         let outcome = step(&mut record);
//!         tables.records.extend(record.map(|record| (key.clone(), record)));
//!         outcome
//!     }
//!
//!     /// One atomic step on one set, whose members are in the order in which they go.
//!     fn change<T>(&self, set: &Key, change: impl FnOnce(&mut Vec<(UnixTime, String)>) -> T) -> T {
//!         let mut tables = self.tables.lock().unwrap();
//!         let members = tables.sets.entry(set.clone()).or_default();
//!         members.retain(|(until, _)| *until > self.clock.now());
//!         let outcome = change(members);
//!         tables.sets.retain(|_, members| !members.is_empty());
//!         outcome
//!     }
//!
//!     /// All keys there are, in their order.
//!     fn keys(&self) -> Vec<Key> {
//!         let (tables, now) = (self.tables.lock().unwrap(), self.clock.now());
//!         let live = tables.records.iter().filter(|(_, (_, until))| until.is_none_or(|until| until > now));
//!         let filled = tables.sets.iter().filter(|(_, members)| members.iter().any(|(until, _)| *until > now));
//!         let mut keys: Vec<_> = live.map(|(key, _)| key).chain(filled.map(|(key, _)| key)).cloned().collect();
//!         keys.sort();
//!         keys
//!     }
//!
//!     fn until(&self, time_to_live: Option<Duration>) -> Option<UnixTime> {
//!         time_to_live.map(|time_to_live| self.clock.now() + time_to_live)
//!     }
//! }
//!
//! #[async_trait]
//! impl Store for ToyStore {
//!     async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
//!         Ok(self.step(key, |record| record.as_ref().map(|(record, _)| record.clone())))
//!     }
//!
//!     async fn insert(&self, key: &Key, new: Bytes, time_to_live: Option<Duration>) -> Result<bool, StoreError> {
//!         let until = self.until(time_to_live);
//!         Ok(self.step(key, |record| {
//!             let vacant = record.is_none();
//!             record.get_or_insert((new, until));
//!             vacant
//!         }))
//!     }
//!
//!     async fn compare_and_set(
//!         &self,
//!         key: &Key,
//!         expected: &[u8],
//!         new: Bytes,
//!         time_to_live: Option<Duration>,
//!     ) -> Result<bool, StoreError> {
//!         let until = self.until(time_to_live);
//!         Ok(self.step(key, |record| match record {
//!             Some((old, _)) if old == expected => {
//!                 *record = Some((new, until));
//!                 true
//!             }
//!             _ => false,
//!         }))
//!     }
//!
//!     async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
//!         Ok(self.step(key, |record| record.take().is_some()))
//!     }
//!
//!     async fn increment(&self, key: &Key, time_to_live: Duration) -> Result<u64, StoreError> {
//!         let until = self.until(Some(time_to_live));
//!         Ok(self.step(key, |record| {
//!             let (number, _) = record.get_or_insert(("0".into(), until));
//!             let sum = std::str::from_utf8(number).unwrap().parse::<u64>().unwrap() + 1;
//!             *number = sum.to_string().into();
//!             sum
//!         }))
//!     }
//!
//!     async fn publish_ended(&self, entry: &str, _: Duration) -> Result<(), StoreError> {
//!         // "At least" its time to live: a toy may keep it for ever.
//!         self.tables.lock().unwrap().feed.push(Bytes::copy_from_slice(entry.as_bytes()));
//!         Ok(())
//!     }
//!
//!     async fn read_ended(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
//!         let feed = &self.tables.lock().unwrap().feed;
//!         let ours = position.and_then(|position| position.0.strip_prefix("toy ")?.parse().ok());
//!         let entries = feed.get(ours.unwrap_or(0)..).unwrap_or(feed).to_vec();
//!         Ok(FeedPage::new(entries, Some(FeedPosition(format!("toy {}", feed.len()))), false))
//!     }
//!
//!     async fn inspect(&self, key: &Key) -> Result<Option<Kept>, StoreError> {
//!         let now = self.clock.now();
//!         Ok(self.step(key, |record| {
//!             let (record, until) = record.clone()?;
//!             Some(Kept::new(record, until.map(|until| until.since(now))))
//!         }))
//!     }
//!
//!     async fn add_member(&self, set: &Key, member: &str, time_to_live: Duration) -> Result<(), StoreError> {
//!         let until = self.clock.now() + time_to_live;
//!         Ok(self.change(set, |members| {
//!             let before = members.iter().position(|(_, known)| known == member).map(|place| members.remove(place).0);
//!             members.push((before.map_or(until, |before| before.max(until)), member.to_owned()));
//!             members.sort();
//!             members.drain(..members.len().saturating_sub(MAXIMUM_MEMBERS));
//!         }))
//!     }
//!
//!     async fn remove_member(&self, set: &Key, member: &str) -> Result<bool, StoreError> {
//!         Ok(self.change(set, |members| {
//!             let before = members.len();
//!             members.retain(|(_, known)| known != member);
//!             members.len() < before
//!         }))
//!     }
//!
//!     async fn members(
//!         &self,
//!         set: &Key,
//!         position: Option<&ListPosition>,
//!         limit: usize,
//!     ) -> Result<MemberPage, StoreError> {
//!         let now = self.clock.now();
//!         let read = |position: &ListPosition| {
//!             let (until, member) = position.0.strip_prefix("toy ")?.split_once(' ')?;
//!             Some((UnixTime::from_seconds(until.parse().ok()?), member.to_owned()))
//!         };
//!         let after = position.and_then(read);
//!         Ok(self.change(set, |members| {
//!             let rest: Vec<_> = members.iter().filter(|member| after.as_ref().is_none_or(|after| *member > after)).collect();
//!             let page = &rest[..rest.len().min(limit)];
//!             let next = page.last().filter(|_| rest.len() > limit);
//!             let next = next.map(|(until, member)| ListPosition(format!("toy {} {member}", until.as_seconds())));
//!             let members_of_page = page.iter().map(|(until, name)| Member::new(name, until.since(now))).collect();
//!             MemberPage::new(members_of_page, members.len(), next)
//!         }))
//!     }
//!
//!     async fn list(&self, kind: Kind, position: Option<&ListPosition>, limit: usize) -> Result<KeyPage, StoreError> {
//!         let after = position.and_then(|position| position.0.strip_prefix("toy "));
//!         let mut rest = self.keys();
//!         rest.retain(|key| key.kind() == kind && after.is_none_or(|after| key.id() > after));
//!         let next = (rest.len() > limit).then(|| ListPosition(format!("toy {}", rest[limit - 1].id())));
//!         rest.truncate(limit);
//!         Ok(KeyPage::new(rest, next))
//!     }
//!
//!     async fn count(&self) -> Result<Counts, StoreError> {
//!         let mut counts = Counts::default();
//!         self.keys().iter().for_each(|key| counts.add(key.kind(), 1));
//!         Ok(counts)
//!     }
//! }
//!
//! struct ToyDatabase(ToyStore);
//!
//! #[async_trait]
//! impl Database for ToyDatabase {
//!     async fn open(&self) -> Arc<dyn Store> {
//!         Arc::new(self.0.clone())
//!     }
//!
//!     fn elapsed(&self) -> Duration {
//!         self.0.clock.now().since(ManualClock::default().now())
//!     }
//!
//!     async fn pass(&self, time: Duration) {
//!         self.0.clock.advance(time);
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() {
//! let store = ToyStore { tables: Arc::default(), clock: ManualClock::default() };
//! contract::every_promise(&ToyDatabase(store)).await;
//! # }
//! ```

#![allow(clippy::unwrap_used, reason = "these are tests: what fails is to be seen")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Key, Kind, Store};
use crate::randomness::{SystemRandomness, random_id};

mod deployment;
mod expiry;
mod feed;
mod lists;
mod protocol;
mod records;
mod sets;

pub use deployment::Deployment;
pub use expiry::*;
pub use feed::*;
pub use lists::*;
pub use protocol::*;
pub use records::*;
pub use sets::*;

/// The database of a store that is put to the test.
#[async_trait]
pub trait Database: Send + Sync {
    /// Opens another handle to the same database, with nothing in common with other handles, as another process would.
    async fn open(&self) -> Arc<dyn Store>;

    /// How much time has passed for the store since some moment before the test.
    fn elapsed(&self) -> Duration;

    /// Lets time pass for the store, at least this much, and then until the unit is over in which the store counts: whatever
    /// was to end by now has ended afterwards, also if the time to pass is zero.
    async fn pass(&self, time: Duration);

    /// The shortest time that makes sense as a time to live here. The tests wait for twenty or so of them in all; a
    /// store that counts in whole seconds needs one second, the default.
    fn moment(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// How many callers meet where it is tried what happens at the same time.
const MANY: usize = 64;

/// Lets time pass until this much has elapsed. The unit in which the store counts has to be over then too, so time passes once
/// at least, be it no time.
async fn pass_until(database: &dyn Database, end: Duration) {
    loop {
        database.pass(end.saturating_sub(database.elapsed())).await;
        if database.elapsed() >= end {
            return;
        }
    }
}

/// An identifier that no other test has.
fn fresh(name: &str) -> String {
    format!("{name} {}", random_id(&SystemRandomness))
}

fn fresh_key(kind: Kind) -> Key {
    Key::new(kind, random_id(&SystemRandomness))
}

/// Every kind of record that is not a set.
fn record_kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().copied().filter(|kind| !kind.is_set())
}

/// Several handles to one database.
async fn handles(database: &dyn Database) -> Vec<Arc<dyn Store>> {
    let mut handles = Vec::new();
    for _ in 0..4 {
        handles.push(database.open().await);
    }
    handles
}

/// Has many tasks do something at the same time, spread over the handles, and gives what came of each.
async fn at_once<T, F>(handles: &[Arc<dyn Store>], work: impl Fn(usize, Arc<dyn Store>) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(tokio::sync::Barrier::new(MANY));
    let tasks: Vec<_> = (0..MANY)
        .map(|number| {
            let (start, work) = (start.clone(), work(number, handles[number % handles.len()].clone()));
            tokio::spawn(async move {
                start.wait().await;
                work.await
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.expect("the store does not panic"));
    }
    outcomes
}

/// Puts a store through every test here, one after the other, and says which one it is at.
///
/// # Panics
///
/// When the store breaks a promise.
pub async fn every_promise(database: &dyn Database) {
    crate::store_contract!(@each run [database]);
}

/// Makes a test for each promise of a store, named for what it promises.
///
/// Takes an expression that gives a [`Database`](crate::store::contract::Database), in which `.await` may stand. It is
/// evaluated for each test. The tests need `tokio` with its macros and its runtime of several threads.
#[macro_export]
macro_rules! store_contract {
    (@each $what:ident [$($argument:tt)*]) => {
        $crate::store_contract! { @$what [$($argument)*]
            what_was_written_is_read
            a_record_is_written_once
            a_record_is_replaced_only_while_it_is_as_expected
            removing_twice_is_removing_once
            kinds_are_kept_apart
            identifiers_may_be_anything
            records_may_be_empty_or_large
            a_number_counts_up
            of_many_inserts_at_once_one_wins
            of_many_replacements_at_once_one_wins
            of_many_removals_at_once_one_wins
            many_additions_at_once_all_count
            chains_of_replacements_lose_none
            every_kind_of_record_ends_with_its_time
            a_record_for_ever_stays
            a_replacement_brings_its_own_time_to_live
            adding_does_not_lengthen_the_life_of_a_number
            what_is_over_is_out_of_the_way
            the_feed_keeps_its_order
            a_long_feed_is_read_to_its_end
            a_reader_misses_nothing_that_is_published_meanwhile
            an_entry_of_the_feed_lives_for_its_time
            an_old_position_misses_nothing
            a_position_of_another_store_begins_at_the_beginning
            a_record_is_inspected_with_the_time_that_it_has
            what_was_added_is_a_member
            members_may_be_anything_and_sets_are_kept_apart
            a_member_stays_for_the_longer_of_its_times
            a_set_is_read_page_by_page_those_first_that_go_first
            a_full_set_makes_room
            many_additions_and_removals_at_once_leave_what_was_not_removed
            what_stays_in_a_set_is_seen_while_others_come_and_go
            every_record_of_a_kind_is_listed_and_no_other
            what_is_over_is_on_no_list
            what_stays_is_listed_while_others_write
            any_position_leads_through_the_whole_list
            records_are_counted_by_kind
            the_store_answers
            a_code_pays_once_over_all_servers
            parallel_refreshes_over_all_servers_give_one_successor
            a_repeated_refresh_is_answered_at_another_server
            a_late_replay_ends_the_grant_at_every_server
            a_revocation_reaches_every_server_within_the_bound
            deleting_a_client_ends_what_it_had_at_every_server
            deciding_twice_is_deciding_once
        }
    };
    (@run [$database:expr] $($promise:ident)*) => {
        $(
            ::std::println!("promise {} ...", ::std::stringify!($promise));
            $crate::store::contract::$promise($database).await;
        )*
    };
    (@tests [$database:expr] $($promise:ident)*) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                $crate::store::contract::$promise(&$database).await;
            }
        )*
    };
    ($database:expr) => {
        $crate::store_contract! { @each tests [$database] }
    };
}
