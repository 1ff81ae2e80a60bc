//! The Redis of the predecessor, from which its clients are taken over.
//!
//! It is read and never written: by `SCAN`, and of each client its record and what it has left to live. See
//! [`mcp_oauth_core::predecessor`] for what becomes of them.
//!
//! ```no_run
//! use mcp_oauth_core::server::AuthorizationServer;
//! use mcp_oauth_store::redis::{Predecessor, RedisConfiguration};
//!
//! # async fn example(server: &AuthorizationServer) -> Result<(), Box<dyn std::error::Error>> {
//! let configuration: RedisConfiguration = "redis://:password@redis.example".parse()?;
//! let predecessor = Predecessor::new(&configuration)?;
//! let mut scan = predecessor.scan();
//! let mut rehearsal = server.operator().migration(true);
//! while let Some(clients) = scan.next().await? {
//!     for client in &clients {
//!         rehearsal.take_over(client).await?;
//!     }
//! }
//! println!("{} clients would be taken over", rehearsal.finish().taken_over);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::time::Duration;

use mcp_oauth_core::predecessor::{KEY_PREFIX, PredecessorRecord};
use mcp_oauth_core::store::StoreError;

use super::configuration::{InvalidConfiguration, RedisConfiguration};
use super::failure::Failure;
use super::lanes::{Effect, Lanes, Request};
use super::listing::{Place, Shards, Step};
use super::scripts::{Call, INSPECT};
use super::{connected, shards, step};

/// About so many keys are looked at in one step, and so at most about so many records are held.
const STEP: usize = 200;

/// The predecessor's Redis.
pub struct Predecessor {
    lanes: Lanes,
}

impl fmt::Debug for Predecessor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Predecessor").finish_non_exhaustive()
    }
}

impl Predecessor {
    /// The Redis that this leads to; the prefix says nothing, since the predecessor has its own. Connects with its first
    /// operation.
    ///
    /// # Errors
    ///
    /// When the configuration cannot be used.
    pub fn new(configuration: &RedisConfiguration) -> Result<Self, InvalidConfiguration> {
        Ok(Self {
            lanes: connected(configuration)?,
        })
    }

    /// Begins to read the clients, some at a time.
    #[must_use]
    pub fn scan(&self) -> PredecessorScan<'_> {
        PredecessorScan {
            predecessor: self,
            state: State::Begins,
        }
    }

    /// Every client that is there, each once, all of them held: [`scan`](Self::scan) is for as many as there may be.
    ///
    /// # Errors
    ///
    /// When Redis does not answer.
    pub async fn clients(&self) -> Result<Vec<PredecessorRecord>, StoreError> {
        let (mut scan, mut clients) = (self.scan(), Vec::new());
        while let Some(some) = scan.next().await? {
            clients.extend(some);
        }
        clients.sort_unstable_by(|one, other| one.id().cmp(other.id()));
        clients.dedup_by(|one, other| one.id() == other.id());
        Ok(clients)
    }

    /// One client; `None` if it is gone meanwhile.
    async fn client(&self, name: &str) -> Result<Option<PredecessorRecord>, StoreError> {
        let Some(id) = name.strip_prefix(KEY_PREFIX) else {
            return Ok(None);
        };
        let call = Call {
            script: &INSPECT,
            key: name,
            arguments: &[],
        };
        let (value, milliseconds): (Option<Vec<u8>>, i64) =
            match self.lanes.send(Request::Script(call), Effect::None).await {
                Ok(answer) => answer,
                // Something else than a record, which whoever reads the report is told.
                Err(Failure::WrongType) => (Some(Vec::new()), -1),
                Err(failure) => return Err(failure.into()),
            };
        let left = u64::try_from(milliseconds).ok().map(Duration::from_millis);
        Ok(value.map(|value| PredecessorRecord::new(id, value, left)))
    }
}

/// A way through the predecessor's clients, of which [`next`](Self::next) reads some at a time.
#[derive(Debug)]
pub struct PredecessorScan<'a> {
    predecessor: &'a Predecessor,
    state: State,
}

#[derive(Debug)]
enum State {
    Begins,
    At(Place, Shards),
    Over,
}

impl PredecessorScan<'_> {
    /// Some clients more, about two hundred at most and perhaps none; `None` when there are no more.
    ///
    /// Every client that is there all the time is among them. One may come more than once: where Redis moves its keys
    /// meanwhile, and where a server is replaced by another, with which everything begins again.
    ///
    /// # Errors
    ///
    /// When Redis does not answer. The next call tries the same again.
    pub async fn next(&mut self) -> Result<Option<Vec<PredecessorRecord>>, StoreError> {
        let Predecessor { lanes } = self.predecessor;
        if let State::Begins = self.state {
            let shards = shards(lanes).await?;
            self.state = State::At(Place::beginning(&shards), shards);
        }
        let State::At(place, shards) = &self.state else {
            return Ok(None);
        };
        let (names, next) = match step(lanes, place, shards, &format!("{KEY_PREFIX}*"), STEP).await? {
            Step::Taken(names, next) => (names, next),
            Step::Lost => {
                self.state = State::Begins;
                return Ok(Some(Vec::new()));
            }
        };
        let mut clients = Vec::with_capacity(names.len());
        for name in names.into_iter().flatten() {
            clients.extend(self.predecessor.client(&name).await?);
        }
        self.state = match next {
            Some(next) => State::At(next, shards.clone()),
            None => State::Over,
        };
        Ok(Some(clients))
    }
}
