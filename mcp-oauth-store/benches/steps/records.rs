//! Very many clients and grants, made of one that went all the way.

use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::token::keys::KeySet;
use redis::Pipeline;

use crate::journey;
use crate::server::Server;
use crate::store;

/// At most so many are written at a time.
const PIPELINE: usize = 5_000;

/// A client and a grant of it, as Redis holds them.
pub(crate) struct Records {
    client: Record,
    grant: Record,
}

struct Record {
    /// What its key begins with.
    prefix: String,
    /// How long the rest of it is.
    identifier: usize,
    value: Vec<u8>,
    milliseconds: i64,
}

impl Records {
    /// The records of a client that has signed somebody in, and has refreshed its token.
    pub(crate) async fn template(redis: &Server, keys: &KeySet) -> Self {
        let server = journey::server(store(redis), keys);
        let client = journey::register(server.clone(), ()).await;
        let asked = journey::authorize(server.clone(), client).await;
        let approved = journey::consent(server.clone(), asked).await;
        let code = journey::callback(server.clone(), approved).await;
        let signed_in = journey::redeem(server.clone(), code).await;
        journey::refresh(server, signed_in).await;
        Self {
            client: Record::read(redis, "mcp-oauth:client:").await,
            grant: Record::read(redis, "mcp-oauth:grant:").await,
        }
    }

    /// Has Redis hold so many, half of them clients and half of them grants, and nothing else.
    pub(crate) async fn fill(&self, redis: &Server, records: usize) {
        redis.ask::<()>(&redis::cmd("FLUSHALL")).await;
        self.client.write(redis, records / 2).await;
        self.grant.write(redis, records - records / 2).await;
    }

    /// Says how much memory each takes.
    pub(crate) async fn print_sizes(&self, redis: &Server, records: usize) {
        redis.ask::<()>(&redis::cmd("FLUSHALL")).await;
        let half = records / 2;
        let empty = redis.used_memory().await;
        self.client.write(redis, half).await;
        let with_clients = redis.used_memory().await;
        self.grant.write(redis, half).await;
        let with_both = redis.used_memory().await;
        let each = |more: u64, less: u64| more.saturating_sub(less) / u64::try_from(half.max(1)).unwrap();
        println!(
            "{records} records: {} bytes of Redis' memory for each client (its record has {}), {} for each grant ({})",
            each(with_clients, empty),
            self.client.value.len(),
            each(with_both, with_clients),
            self.grant.value.len(),
        );
    }
}

impl Record {
    async fn read(redis: &Server, prefix: &str) -> Self {
        let keys: Vec<String> = redis.ask(redis::cmd("KEYS").arg(format!("{prefix}*"))).await;
        let key = &keys[0];
        Self {
            prefix: prefix.to_owned(),
            identifier: key.len() - prefix.len(),
            value: redis.ask(redis::cmd("GET").arg(key)).await,
            milliseconds: redis.ask(redis::cmd("PTTL").arg(key)).await,
        }
    }

    async fn write(&self, redis: &Server, times: usize) {
        let mut left = times;
        while left > 0 {
            let now = left.min(PIPELINE);
            let mut pipeline = Pipeline::with_capacity(now);
            for _ in 0..now {
                let identifier = format!("{}{}", Secret::random().expose(), Secret::random().expose());
                let key = format!("{}{}", self.prefix, &identifier[..self.identifier]);
                let set = pipeline.cmd("SET").arg(key).arg(&self.value);
                set.arg("PX").arg(self.milliseconds).ignore();
            }
            redis.run(&pipeline).await;
            left -= now;
        }
    }
}
