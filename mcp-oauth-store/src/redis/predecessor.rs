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
//! let clients = Predecessor::new(&configuration)?.clients().await?;
//! let report = server.operator().migrate(clients, true).await?;
//! println!("{} clients would be taken over", report.taken_over);
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
use super::listing::{Place, Step};
use super::scripts::{Call, INSPECT};
use super::{connected, shards, step};

/// So many keys are looked at in one step.
const STEP: usize = 1000;

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

    /// Every client that is there.
    ///
    /// # Errors
    ///
    /// When Redis does not answer.
    pub async fn clients(&self) -> Result<Vec<PredecessorRecord>, StoreError> {
        let (shards, pattern) = (shards(&self.lanes).await?, format!("{KEY_PREFIX}*"));
        let (mut place, mut names) = (Some(Place::beginning(&shards)), Vec::new());
        while let Some(here) = place {
            match step(&self.lanes, &here, &shards, &pattern, STEP).await? {
                Step::Taken(found, next) => {
                    names.extend(found.into_iter().flatten());
                    place = next;
                }
                Step::Lost => {
                    names.clear();
                    place = Some(Place::beginning(&shards));
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        let mut clients = Vec::with_capacity(names.len());
        for name in names {
            clients.extend(self.client(&name).await?);
        }
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
