//! The few connections that all requests share.
//!
//! A connection is *multiplexed*: any number of requests are on their way over it at the same time, and it stays whole
//! when one of them is given up. So requests do not borrow connections from a pool, which would cost each of them a
//! round trip to see whether the connection is still good; they share a few, the lanes, and take turns. A lane is
//! filled when it is first used. A request that finds its lane's connection broken empties the lane, unless somebody
//! else has filled it anew already, and the next one fills it.
//!
//! Every attempt has an end: to connect and to be answered each take as long as the configuration says and no longer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{Cmd, FromRedisValue};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::connect::{Connection, Source};
use super::failure::Failure;
use super::scripts::Call;

#[derive(Debug, Default)]
struct Lane {
    /// How often this lane was filled.
    epoch: u64,
    connection: Option<Connection>,
}

/// What is asked of Redis.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    /// A command, and the one key that it touches; `None` if it touches none.
    Command(&'a Cmd, Option<&'a str>),
    Script(Call<'a>),
    /// Commands that touch no key, at one server: the one with this address, or any. Their answers come as one.
    At(&'a [Cmd], Option<(&'a str, u16)>),
}

/// How a request may be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It reads.
    None,
    /// It writes, and writing it twice is writing it once.
    Repeatable,
    /// It writes, and writing it twice is not writing it once.
    Once,
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) connection: Duration,
    pub(super) response: Duration,
}

/// The lanes of one store.
#[derive(Debug)]
pub(super) struct Lanes {
    source: Source,
    shared: Box<[Mutex<Lane>]>,
    turn: AtomicUsize,
    patience: Patience,
    /// How many replicas have to have a write before it counts.
    replicas: u32,
}

impl Lanes {
    pub(super) fn new(source: Source, count: usize, patience: Patience, replicas: u32) -> Self {
        Self {
            source,
            shared: (0..count.max(1)).map(|_| Mutex::default()).collect(),
            turn: AtomicUsize::new(0),
            patience,
            replicas,
        }
    }

    /// Whether the keys are spread over several servers.
    pub(super) fn are_of_a_cluster(&self) -> bool {
        self.source.is_cluster()
    }

    /// Sends a request and reads its answer; once more over another connection where that changes nothing but the
    /// outcome.
    pub(super) async fn send<T: FromRedisValue>(&self, request: Request<'_>, effect: Effect) -> Result<T, Failure> {
        let number = self.turn.fetch_add(1, Ordering::Relaxed) % self.shared.len();
        let lane = &self.shared[number];
        let first = match self.attempt(lane, request, effect).await {
            Err(failure) if failure.is_worth_another_attempt(effect != Effect::Once) => {
                tracing::debug!(error = %failure, "a second attempt follows");
                self.attempt(lane, request, effect).await
            }
            outcome => outcome,
        };
        first.and_then(|value| T::from_redis_value(value).map_err(|_| Failure::UnexpectedAnswer))
    }

    async fn attempt(&self, lane: &Mutex<Lane>, request: Request<'_>, effect: Effect) -> Result<redis::Value, Failure> {
        let (mut connection, epoch) = within(self.patience.connection, self.connection(lane)).await?;
        let answer = within(self.patience.response, self.exchange(&mut connection, request, effect)).await;
        if answer.as_ref().is_err_and(Failure::ends_connection) {
            let mut lane = lane.lock().await;
            if lane.epoch == epoch {
                lane.connection = None;
            }
        }
        answer
    }

    async fn connection(&self, lane: &Mutex<Lane>) -> Result<(Connection, u64), Failure> {
        // Whoever finds the lane empty fills it, and the others wait for that instead of connecting too.
        let mut lane = lane.lock().await;
        if let Some(connection) = &lane.connection {
            return Ok((connection.clone(), lane.epoch));
        }
        let connection = self.source.connect().await?;
        lane.epoch += 1;
        lane.connection = Some(connection.clone());
        Ok((connection, lane.epoch))
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        request: Request<'_>,
        effect: Effect,
    ) -> Result<redis::Value, Failure> {
        match request {
            Request::Command(command, key) => self.call(connection, command, key, effect).await,
            Request::At(commands, server) => connection.call_at(commands, server).await,
            Request::Script(call) => {
                let key = Some(call.key);
                match self.call(connection, &call.by_hash(), key, effect).await {
                    Err(Failure::UnknownScript) => self.call(connection, &call.by_text(), key, effect).await,
                    outcome => outcome,
                }
            }
        }
    }

    async fn call(
        &self,
        connection: &mut Connection,
        command: &Cmd,
        key: Option<&str>,
        effect: Effect,
    ) -> Result<redis::Value, Failure> {
        let Some(key) = key.filter(|_| self.replicas > 0 && effect != Effect::None) else {
            return connection.call(command).await;
        };
        let patience = self.patience.response / 2;
        let (answer, have) = connection
            .call_replicated(command, key, self.replicas, patience)
            .await?;
        if have < i64::from(self.replicas) {
            return Err(Failure::TooFewReplicas {
                have,
                wanted: self.replicas,
            });
        }
        Ok(answer)
    }
}

async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(patience, work).await.unwrap_or(Err(Failure::TimedOut))
}
