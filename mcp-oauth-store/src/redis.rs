//! A store in Redis or Valkey, for any number of processes: one node, behind Sentinel, or a Cluster.
//!
//! Each operation of [`RedisStore`] touches exactly one key, by a plain command or by a script of a few lines that Redis
//! runs atomically. So it needs no hash tags in a Cluster, and nothing is locked. Everything but clients that live for
//! ever has a time to live, so Redis forgets by itself what is over.
//!
//! ```no_run
//! use mcp_oauth_store::RedisStore;
//!
//! # fn example() -> Result<(), mcp_oauth_store::redis::InvalidConfiguration> {
//! let store: RedisStore = "redis://:password@redis.example".parse()?;
//! // or, by the variables REDIS_URL, REDIS_PASSWORD and their like:
//! let store = RedisStore::from_env()?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing is connected to before the first operation, so a server starts without its Redis and answers `503` until it is
//! there. [`RedisConfiguration`] says what can be set.
//!
//! # What Redis has to be
//!
//! Redis 6.2 or newer (for `XADD … MINID`), or any Valkey. Three settings matter:
//!
//! * `maxmemory-policy noeviction`. Any other policy throws out records that are still good, and people are signed out
//!   for no reason. At the bound, new records are then refused ([`StoreError::Full`]) and the old ones stay.
//! * `appendonly yes`, or a restart forgets what happened since the last snapshot. With `appendfsync everysec` a crash of
//!   the machine loses a second, with `always` nothing.
//! * With replicas, `min-replicas-to-write 1`: a primary that has lost its replicas, because it is the one that was cut
//!   off, then stops taking writes that a failover would throw away. [`RedisConfiguration::replicas`] goes further:
//!   a write counts only when a replica has it.
//!
//! A user of the access control list needs no more than this:
//!
//! ```text
//! ACL SETUSER mcp-oauth on >password resetkeys ~mcp-oauth:* resetchannels -@all
//!     +get +set +unlink +incr +xadd +xrange +xrevrange +pexpire +time +eval +evalsha +ping
//!     +zadd +zrem +zrange +zrevrange +zrank +zscore +zcard +zcount +zpopmin +zremrangebyscore +pexpireat
//!     +pttl +scan +info
//! ```
//!
//! (the last line is for lists, backups and counts alone) and `+select` for another database than 0, `+wait` to wait for replicas, `+role` behind Sentinel, `+cluster|slots` and
//! `+asking` in a Cluster.
//!
//! # When something goes wrong
//!
//! | Redis | this store |
//! |---|---|
//! | is gone, hangs, starts, fails over, is read-only, wants another password | [`StoreError::Unavailable`] after at most the two timeouts; the next operation connects anew |
//! | loses the answer to a write | asks once more: the mark of the write tells whether it took place. A removal that is repeated may find nothing left and say so. An addition to a number is not repeated, except by the client library in a Cluster, and then counts twice |
//! | has no memory left | [`StoreError::Full`] for new records, [`StoreError::Unavailable`] for changes |
//! | forgot the scripts | is sent them again |
//! | moves slots of the Cluster | is followed |
//! | holds a value that is none of ours | [`StoreError::Unreadable`] |

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mcp_oauth_core::store::{
    Counts, FeedPage, FeedPosition, Kept, Key, KeyPage, Kind, ListPosition, MAXIMUM_MEMBERS, MemberPage, Store,
    StoreError,
};
use redis::Value;

mod configuration;
mod connect;
mod failure;
mod feed;
mod keys;
mod lanes;
mod listing;
mod predecessor;
mod records;
mod scripts;
mod sets;

pub use configuration::{InvalidConfiguration, RedisConfiguration};
pub use predecessor::{Predecessor, PredecessorScan};

use connect::Source;
use failure::Failure;
use keys::Keys;
use lanes::{Effect, Lanes, Patience, Request};
use listing::{Place, Shards, Step};
use records::Mark;
use scripts::{ADD_MEMBER, COMPARE_AND_SET, Call, INCREMENT, INSPECT, MEMBERS, PUBLISH, REMOVE_MEMBER};

/// A store in Redis or Valkey.
///
/// One of these per process is enough: all requests share its connections. See the [module](self) for what it needs.
pub struct RedisStore {
    lanes: Lanes,
    keys: Keys,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisStore")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl RedisStore {
    /// A store as configured. Connects with its first operation.
    ///
    /// # Errors
    ///
    /// When the configuration cannot be used, such as a certificate authority that is none.
    pub fn new(configuration: &RedisConfiguration) -> Result<Self, InvalidConfiguration> {
        Ok(Self {
            lanes: connected(configuration)?,
            keys: Keys::below(&configuration.prefix),
        })
    }

    /// A store as the environment says: see [`RedisConfiguration::from_env`].
    ///
    /// # Errors
    ///
    /// When `REDIS_URL` is not set, or something cannot be used.
    pub fn from_env() -> Result<Self, InvalidConfiguration> {
        Self::new(&RedisConfiguration::from_env()?)
    }

    async fn stored(&self, key: &str) -> Result<Option<Bytes>, Failure> {
        let mut command = redis::cmd("GET");
        command.arg(key);
        let stored: Option<Vec<u8>> = self
            .lanes
            .send(Request::Command(&command, Some(key)), Effect::None)
            .await?;
        Ok(stored.map(Bytes::from))
    }
}

impl FromStr for RedisStore {
    type Err = InvalidConfiguration;

    /// A store by its URL: see [`RedisConfiguration`].
    fn from_str(url: &str) -> Result<Self, InvalidConfiguration> {
        Self::new(&url.parse()?)
    }
}

/// The connections that a configuration leads to.
fn connected(configuration: &RedisConfiguration) -> Result<Lanes, InvalidConfiguration> {
    let source =
        Source::new(configuration).map_err(|error| InvalidConfiguration::Refused(error.category().to_owned()))?;
    let patience = Patience {
        connection: configuration.connection_timeout,
        response: configuration.response_timeout,
    };
    let (lanes, replicas) = (configuration.lanes.get(), configuration.replicas);
    Ok(Lanes::new(source, lanes, patience, replicas))
}

/// The servers that have a share of the keys.
async fn shards(lanes: &Lanes) -> Result<Shards, Failure> {
    if !lanes.are_of_a_cluster() {
        return Ok(Shards::One);
    }
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    let answer = lanes.send(Request::At(&[command], None), Effect::None).await?;
    Shards::read(listing::array(answer)?.pop().unwrap_or(Value::Nil))
}

/// Looks at some keys more.
async fn step(lanes: &Lanes, place: &Place, shards: &Shards, pattern: &str, limit: usize) -> Result<Step, Failure> {
    let commands = place.request(pattern, limit);
    let server = shards
        .get(place.shard)
        .map(|primary| (primary.host.as_str(), primary.port));
    let answer = lanes.send(Request::At(&commands, server), Effect::None).await?;
    place.step(answer, shards)
}

/// The record in what is stored.
fn read(key: &Key, stored: &Bytes) -> Result<Bytes, StoreError> {
    records::read(stored).ok_or_else(|| StoreError::Unreadable {
        key: key.clone(),
        reason: "something else has written it".to_owned(),
    })
}

/// A time to live as Redis takes it: whole milliseconds, one at least. What is longer than ten thousand years is that.
fn milliseconds(time_to_live: Duration) -> String {
    const LONGEST: u128 = 10_000 * 365 * 24 * 60 * 60 * 1000;
    time_to_live
        .as_nanos()
        .div_ceil(1_000_000)
        .clamp(1, LONGEST)
        .to_string()
}

#[async_trait]
impl Store for RedisStore {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let stored = self.stored(&self.keys.record(key)).await;
        let Some(stored) = stored.map_err(|failure| failure.about(key))? else {
            return Ok(None);
        };
        read(key, &stored).map(Some)
    }

    async fn insert(&self, key: &Key, record: Bytes, time_to_live: Option<Duration>) -> Result<bool, StoreError> {
        let (name, mark) = (self.keys.record(key), Mark::random());
        let mut command = redis::cmd("SET");
        command.arg(&name).arg(mark.before(&record)).arg("NX");
        if let Some(time_to_live) = time_to_live {
            command.arg("PX").arg(milliseconds(time_to_live));
        }
        let request = Request::Command(&command, Some(&name));
        let answer: Value = self
            .lanes
            .send(request, Effect::Repeatable)
            .await
            .map_err(|failure| failure.about_new(key))?;
        if answer == Value::Okay {
            return Ok(true);
        }
        // There is a record already: somebody else's, or this one, if it was sent twice.
        let stored = self.stored(&name).await.map_err(|failure| failure.about(key))?;
        Ok(stored.is_some_and(|stored| mark.wrote(&stored)))
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: &[u8],
        record: Bytes,
        time_to_live: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let (name, mark) = (self.keys.record(key), Mark::random());
        let time_to_live = time_to_live.map(milliseconds).unwrap_or_default();
        let call = Call {
            script: &COMPARE_AND_SET,
            key: &name,
            arguments: &[expected, mark.as_bytes(), &record, time_to_live.as_bytes()],
        };
        let replaced: i64 = self
            .lanes
            .send(Request::Script(call), Effect::Repeatable)
            .await
            .map_err(|failure| failure.about(key))?;
        Ok(replaced == 1)
    }

    async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        let name = self.keys.record(key);
        let mut command = redis::cmd("UNLINK");
        command.arg(&name);
        let removed: i64 = self
            .lanes
            .send(Request::Command(&command, Some(&name)), Effect::Repeatable)
            .await
            .map_err(|failure| failure.about(key))?;
        Ok(removed == 1)
    }

    async fn increment(&self, key: &Key, time_to_live: Duration) -> Result<u64, StoreError> {
        let (name, time_to_live) = (self.keys.record(key), milliseconds(time_to_live));
        let call = Call {
            script: &INCREMENT,
            key: &name,
            arguments: &[time_to_live.as_bytes()],
        };
        self.lanes
            .send(Request::Script(call), Effect::Once)
            .await
            .map_err(|failure| failure.about_new(key))
    }

    async fn publish_ended(&self, entry: &str, time_to_live: Duration) -> Result<(), StoreError> {
        let (name, time_to_live) = (self.keys.feed(), milliseconds(time_to_live));
        let call = Call {
            script: &PUBLISH,
            key: &name,
            arguments: &[entry.as_bytes(), time_to_live.as_bytes()],
        };
        // An entry that stands there twice says the same as one.
        let _: Value = self.lanes.send(Request::Script(call), Effect::Repeatable).await?;
        Ok(())
    }

    async fn read_ended(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
        let name = self.keys.feed();
        if let Some(from) = feed::identifier(position) {
            let answer = self.feed_answer(&name, Some(from)).await?;
            if let Some(page) = feed::page(answer, Some(from))? {
                return Ok(page);
            }
        }
        let answer = self.feed_answer(&name, None).await?;
        Ok(feed::page(answer, None)?.unwrap_or_default())
    }

    async fn inspect(&self, key: &Key) -> Result<Option<Kept>, StoreError> {
        let name = self.keys.record(key);
        let call = Call {
            script: &INSPECT,
            key: &name,
            arguments: &[],
        };
        let answer = self.lanes.send(Request::Script(call), Effect::None).await;
        let (stored, milliseconds): (Option<Vec<u8>>, i64) = answer.map_err(|failure| failure.about(key))?;
        let Some(stored) = stored.map(Bytes::from) else {
            return Ok(None);
        };
        let time_to_live = u64::try_from(milliseconds).ok().map(Duration::from_millis);
        Ok(Some(Kept::new(read(key, &stored)?, time_to_live)))
    }

    async fn add_member(&self, set: &Key, member: &str, time_to_live: Duration) -> Result<(), StoreError> {
        let (name, time_to_live) = (self.keys.record(set), milliseconds(time_to_live));
        let maximum = MAXIMUM_MEMBERS.to_string();
        let call = Call {
            script: &ADD_MEMBER,
            key: &name,
            arguments: &[member.as_bytes(), time_to_live.as_bytes(), maximum.as_bytes()],
        };
        // Added twice is added once, but for the moment that lies between.
        let added: Result<Value, _> = self.lanes.send(Request::Script(call), Effect::Repeatable).await;
        added.map(drop).map_err(|failure| failure.about_new(set))
    }

    async fn remove_member(&self, set: &Key, member: &str) -> Result<bool, StoreError> {
        let name = self.keys.record(set);
        let call = Call {
            script: &REMOVE_MEMBER,
            key: &name,
            arguments: &[member.as_bytes()],
        };
        let removed: i64 = self
            .lanes
            .send(Request::Script(call), Effect::Repeatable)
            .await
            .map_err(|failure| failure.about(set))?;
        Ok(removed == 1)
    }

    async fn members(
        &self,
        set: &Key,
        position: Option<&ListPosition>,
        limit: usize,
    ) -> Result<MemberPage, StoreError> {
        let (name, limit) = (self.keys.record(set), limit.clamp(1, MAXIMUM_MEMBERS).to_string());
        let (score, last) = sets::read(position).unwrap_or_default();
        let call = Call {
            script: &MEMBERS,
            key: &name,
            arguments: &[limit.as_bytes(), score.as_bytes(), last.as_bytes()],
        };
        let answer = self.lanes.send(Request::Script(call), Effect::None).await;
        answer.and_then(sets::page).map_err(|failure| failure.about(set))
    }

    async fn list(&self, kind: Kind, position: Option<&ListPosition>, limit: usize) -> Result<KeyPage, StoreError> {
        let (shards, pattern) = (shards(&self.lanes).await?, self.keys.pattern(Some(kind)));
        let (mut place, mut keys) = (Some(Place::of(position, &shards)), Vec::new());
        for _ in 0..listing::STEPS {
            let Some(here) = place else { break };
            match step(&self.lanes, &here, &shards, &pattern, limit).await? {
                Step::Taken(names, next) => {
                    keys.extend(listing::of_kind(names, &self.keys, kind));
                    place = next;
                }
                Step::Lost => place = Some(Place::beginning(&shards)),
            }
            if !keys.is_empty() {
                break;
            }
        }
        Ok(listing::page(keys, place.as_ref()))
    }

    async fn count(&self) -> Result<Counts, StoreError> {
        let (shards, pattern) = (shards(&self.lanes).await?, self.keys.pattern(None));
        let (mut place, mut counts) = (Some(Place::beginning(&shards)), Counts::default());
        while let Some(here) = place {
            match step(&self.lanes, &here, &shards, &pattern, usize::MAX).await? {
                Step::Taken(names, next) => {
                    for key in names.into_iter().flatten().filter_map(|name| self.keys.read(&name)) {
                        counts.add(key.kind(), 1);
                    }
                    place = next;
                }
                Step::Lost => (place, counts) = (Some(Place::beginning(&shards)), Counts::default()),
            }
        }
        Ok(counts)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let command = redis::cmd("PING");
        let _: Value = self.lanes.send(Request::Command(&command, None), Effect::None).await?;
        Ok(())
    }
}

impl RedisStore {
    async fn feed_answer(&self, key: &str, from: Option<&str>) -> Result<Value, Failure> {
        let command = feed::request(key, from);
        self.lanes
            .send(Request::Command(&command, Some(key)), Effect::None)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_whole_milliseconds_and_never_none() {
        for (time_to_live, written) in [
            (Duration::ZERO, "1"),
            (Duration::from_nanos(1), "1"),
            (Duration::from_micros(1500), "2"),
            (Duration::from_secs(60), "60000"),
            (Duration::MAX, "315360000000000"),
        ] {
            assert_eq!(milliseconds(time_to_live), written);
        }
    }

    #[tokio::test]
    async fn a_store_whose_redis_is_not_there_says_so_at_once() {
        let store: RedisStore = "redis://127.0.0.1:1".parse().unwrap();
        assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
        assert_eq!(format!("{store:?}").matches("127.0.0.1").count(), 0);
    }
}
