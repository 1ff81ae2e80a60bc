//! Where records are kept: the contract between the protocol and a database.
//!
//! A [`Store`] moves opaque bytes. Every operation touches exactly one [`Key`] and is atomic: nobody sees half of
//! it, and of two that meet one comes first. That is all the protocol needs, because each of its steps is one read
//! and one compare-and-set of one record; what a step may do is decided in this crate, by pure code, the same on
//! any store.
//!
//! Records carry the version of their form, so that a process never misreads what a newer one wrote.
//!
//! # Example
//!
//! What a store has to do, seen from a caller:
//!
//! ```
//! use std::time::Duration;
//! use mcp_oauth_core::store::{Key, Kind, Store, StoreError};
//!
//! async fn only_once(store: &dyn Store, key: &Key) -> Result<bool, StoreError> {
//!     // Of any number of callers, on any number of machines, exactly one is told `true`.
//!     store.insert(key, b"taken".to_vec().into(), Some(Duration::from_secs(60))).await
//! }
//! # let _ = Key::new(Kind::Grant, "x");
//! ```

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[cfg(feature = "test-util")]
pub mod contract;
mod listing;
pub mod observed;

pub use listing::{Counts, Kept, KeyPage, ListPosition, MAXIMUM_MEMBERS, Member, MemberPage};

/// What kind of record a key leads to. A store may keep each kind within a bound of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// A registered client.
    Client,
    /// A client that is known by the URL of its metadata document. Anybody can publish one, so these have a bound of
    /// their own.
    Document,
    /// An authorization request that a person has not finished yet. Anybody can cause these, so they are the ones to
    /// bound.
    Transaction,
    /// What a person approved, with everything that came of it.
    Grant,
    /// How often somebody has done something in a window of time. There are as many of these as there are networks.
    Counter,
    /// How often everybody together has done something in a window of time. There are a few of these, and there has to be
    /// room for them whatever strangers do.
    Total,
    /// Something that may happen once, and has: an assertion of somebody whom the operator has configured.
    Once,
    /// An assertion by which a client has proven itself that the operator has not configured. Anybody can bring one of those
    /// and sign without end, so these have a bound of their own.
    Assertion,
    /// The signing keys, sealed.
    Keys,
    /// A device that waits to be let in.
    Device,
    /// What a person has decided about a device. There are never more of these than devices.
    DeviceDecision,
    /// Which device shows a code that people enter.
    UserCode,
    /// Since when whatever a person, or a client, had been granted before is over.
    NotBefore,
    /// The grants of a person: a set.
    UserGrants,
    /// The grants of a client: a set.
    ClientGrants,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Client,
        Self::Document,
        Self::Transaction,
        Self::Grant,
        Self::Counter,
        Self::Total,
        Self::Once,
        Self::Assertion,
        Self::Keys,
        Self::Device,
        Self::DeviceDecision,
        Self::UserCode,
        Self::NotBefore,
        Self::UserGrants,
        Self::ClientGrants,
    ];

    /// Whether what is kept under keys of this kind are sets of members, and not records.
    #[must_use]
    pub fn is_set(self) -> bool {
        matches!(self, Self::UserGrants | Self::ClientGrants)
    }

    /// The kind with this short name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// A short name, as it may stand in front of the identifier in a database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Document => "document",
            Self::Transaction => "transaction",
            Self::Grant => "grant",
            Self::Counter => "counter",
            Self::Total => "total",
            Self::Once => "once",
            Self::Assertion => "assertion",
            Self::Keys => "keys",
            Self::Device => "device",
            Self::DeviceDecision => "device-decision",
            Self::UserCode => "user-code",
            Self::NotBefore => "not-before",
            Self::UserGrants => "user-grants",
            Self::ClientGrants => "client-grants",
        }
    }
}

/// The name of one record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    kind: Kind,
    id: String,
}

impl Key {
    /// The key of the record of this kind with this identifier. Identifiers are not secret; secrets never stand in
    /// keys.
    #[must_use]
    pub fn new(kind: Kind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }

    /// The kind of record.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The identifier within its kind.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.kind.as_str(), self.id)
    }
}

/// Why a store could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database does not answer. Nothing is known of whether the operation took place.
    #[error("the store does not answer")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// There is no room for another record of this kind. Nothing was stored, and nothing was dropped to make room.
    #[error("the store holds as many records of the kind {} as it may", .0.as_str())]
    Full(Kind),
    /// A record cannot be read: it is damaged, or a newer version of this software wrote it.
    #[error("the record {key} cannot be read: {reason}")]
    Unreadable {
        /// Which record it is.
        key: Key,
        /// What is wrong with it, without any of its content.
        reason: String,
    },
}

/// A position in the feed of ended grants; what it means is the store's own business.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FeedPosition(pub String);

/// Some entries of the feed, oldest first.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FeedPage {
    /// The entries.
    pub entries: Vec<Bytes>,
    /// Where to go on reading; `None` to begin at the beginning again.
    pub position: Option<FeedPosition>,
    /// Whether there are more entries after these already. What is known counts as fresh only when there are none.
    pub more: bool,
}

impl FeedPage {
    /// Puts the three together.
    #[must_use]
    pub fn new(entries: Vec<Bytes>, position: Option<FeedPosition>, more: bool) -> Self {
        Self {
            entries,
            position,
            more,
        }
    }
}

/// A place for records.
///
/// # Contract
///
/// * Each operation is atomic, over all processes that share the store.
/// * What was acknowledged stays until its time to live is over; a record whose time is over is never returned.
/// * `None` as time to live means for ever.
/// * A store at its bound refuses new records with [`StoreError::Full`]; it does not evict.
/// * An error means that the operation may or may not have happened; success means that it has.
/// * Under a key there is a record or a set, as its [kind says](Kind::is_set). A store need not cope with anybody who takes
///   the one for the other.
///
/// # Lists
///
/// [`list`](Self::list) and [`members`](Self::members) are read page by page, from `None` to a page without
/// [`next`](KeyPage::next), while others go on writing. What is there from the first page to the last is on at least one of
/// them. It may be on several; what is added or removed meanwhile may be on none or on one. Nothing is ever on a page that
/// was not there while the list was read. A position that the store cannot make sense of, because it is another store's, or
/// because the store has changed too much since, leads to the beginning: better to see something twice than to miss it. So a
/// list comes to an end as soon as the store lets it, and no position is ever an error.
///
/// The feature `test-util` has this contract as tests that any store can be put through: `store::contract`.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Reads a record.
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError>;

    /// Writes a record that must not exist yet. Returns whether it was written.
    async fn insert(&self, key: &Key, record: Bytes, time_to_live: Option<Duration>) -> Result<bool, StoreError>;

    /// Replaces a record if it still is `expected`, byte for byte. Returns whether it was replaced.
    async fn compare_and_set(
        &self,
        key: &Key,
        expected: &[u8],
        record: Bytes,
        time_to_live: Option<Duration>,
    ) -> Result<bool, StoreError>;

    /// Removes a record. Returns whether there was one.
    async fn remove(&self, key: &Key) -> Result<bool, StoreError>;

    /// Adds one to the number under a key, and gives the sum. A number that is not there counts as 0, and lives for
    /// `time_to_live` from then on: adding to it later does not lengthen its life. [`get`](Self::get) reads the number in
    /// decimal digits.
    async fn increment(&self, key: &Key, time_to_live: Duration) -> Result<u64, StoreError>;

    /// Appends an entry to the feed of what has ended, from which every process that verifies tokens reads.
    /// The entry stays readable for at least `time_to_live`, which is longer than any access token lives.
    async fn publish_ended(&self, entry: &str, time_to_live: Duration) -> Result<(), StoreError>;

    /// Reads what was appended to the feed after `position`, or from its beginning: all of it, or a page that says
    /// that there is more.
    async fn read_ended(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError>;

    /// Reads a record, and how long it still has to live, both at the same moment.
    async fn inspect(&self, key: &Key) -> Result<Option<Kept>, StoreError>;

    /// Adds a member to a set, which begins with its first member and is gone with its last. The member stays for
    /// `time_to_live`; one that is there already stays for the longer of the two.
    ///
    /// Members are hints, so a set that is full ([`MAXIMUM_MEMBERS`]) does not refuse: those that would go first make room.
    /// A store without room for another *set* refuses with [`StoreError::Full`].
    async fn add_member(&self, set: &Key, member: &str, time_to_live: Duration) -> Result<(), StoreError>;

    /// Removes a member from a set. Returns whether it was there.
    async fn remove_member(&self, set: &Key, member: &str) -> Result<bool, StoreError>;

    /// Reads a page of at most `limit` members of a set, those first that go first. See [Lists](#lists) for what is on it
    /// while others write.
    async fn members(&self, set: &Key, position: Option<&ListPosition>, limit: usize)
    -> Result<MemberPage, StoreError>;

    /// Reads a page of the keys of one kind, in no order: about `limit` of them, or fewer, or none with more to come. See
    /// [Lists](#lists) for what is on it while others write.
    ///
    /// This may take time in proportion to all that is in the store.
    async fn list(&self, kind: Kind, position: Option<&ListPosition>, limit: usize) -> Result<KeyPage, StoreError>;

    /// Counts what there is of each kind. While others write, the numbers are as good as a list is.
    ///
    /// This may take time in proportion to all that is in the store.
    async fn count(&self) -> Result<Counts, StoreError>;

    /// Asks whether the store answers.
    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The form in which records are stored now.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a, R> {
    version: u32,
    record: &'a R,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize)]
struct Read<R> {
    record: R,
}

/// A record as it was read, with the bytes that a compare-and-set has to name.
#[derive(Clone, Debug)]
pub(crate) struct Loaded<R> {
    pub(crate) record: R,
    bytes: Bytes,
}

impl<R> Loaded<R> {
    /// A record that is in no store, so that nothing replaces it.
    pub(crate) fn unstored(record: R) -> Self {
        Self {
            record,
            bytes: Bytes::new(),
        }
    }
}

/// The form in which a record is stored.
pub(crate) fn encode<R: Serialize>(key: &Key, record: &R) -> Result<Bytes, StoreError> {
    serde_json::to_vec(&Written {
        version: VERSION,
        record,
    })
    .map(Bytes::from)
    .map_err(|error| StoreError::Unreadable {
        key: key.clone(),
        reason: error.to_string(),
    })
}

/// Reads what is stored under a key.
pub(crate) fn decode<R: DeserializeOwned>(key: &Key, bytes: &[u8]) -> Result<R, StoreError> {
    let unreadable = |reason: String| StoreError::Unreadable {
        key: key.clone(),
        reason,
    };
    // serde_json names the kind of mistake and its place, and never quotes more than a single unexpected token; even
    // that is kept out, since a token may be part of a record.
    let damaged = |error: serde_json::Error| unreadable(format!("it is damaged at byte {}", error.column()));
    let Version { version } = serde_json::from_slice(bytes).map_err(damaged)?;
    if version != VERSION {
        return Err(unreadable(format!(
            "its version is {version}, and this software reads {VERSION}"
        )));
    }
    let Read { record } = serde_json::from_slice(bytes).map_err(damaged)?;
    Ok(record)
}

/// Reads a record and says which bytes it was.
pub(crate) async fn load<R: DeserializeOwned>(store: &dyn Store, key: &Key) -> Result<Option<Loaded<R>>, StoreError> {
    let Some(bytes) = store.get(key).await? else {
        return Ok(None);
    };
    let record = decode(key, &bytes)?;
    Ok(Some(Loaded { record, bytes }))
}

/// Reads a record and says how long it still has.
pub(crate) async fn inspect<R: DeserializeOwned>(
    store: &dyn Store,
    key: &Key,
) -> Result<Option<(Loaded<R>, Option<Duration>)>, StoreError> {
    let Some(kept) = store.inspect(key).await? else {
        return Ok(None);
    };
    let record = decode(key, &kept.record)?;
    let bytes = kept.record;
    Ok(Some((Loaded { record, bytes }, kept.time_to_live)))
}

/// Removes a record that was loaded, unless somebody else has replaced it since. Returns whether it did.
pub(crate) async fn remove_unchanged<R>(store: &dyn Store, key: &Key, loaded: &Loaded<R>) -> Result<bool, StoreError> {
    let moment = Some(Duration::from_millis(1));
    if !store
        .compare_and_set(key, &loaded.bytes, loaded.bytes.clone(), moment)
        .await?
    {
        return Ok(false);
    }
    // A store that forgets by itself has nothing left to remove.
    if store.get(key).await?.is_some_and(|bytes| bytes == loaded.bytes) {
        store.remove(key).await?;
    }
    Ok(true)
}

/// Writes a record that must not exist yet.
pub(crate) async fn insert<R: Serialize>(
    store: &dyn Store,
    key: &Key,
    record: &R,
    time_to_live: Option<Duration>,
) -> Result<bool, StoreError> {
    store.insert(key, encode(key, record)?, time_to_live).await
}

/// Replaces a record that was loaded, unless somebody else has replaced it since.
pub(crate) async fn replace<R: Serialize>(
    store: &dyn Store,
    key: &Key,
    loaded: &Loaded<R>,
    record: &R,
    time_to_live: Option<Duration>,
) -> Result<bool, StoreError> {
    store
        .compare_and_set(key, &loaded.bytes, encode(key, record)?, time_to_live)
        .await
}
