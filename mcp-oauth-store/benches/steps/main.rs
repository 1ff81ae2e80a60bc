//! What each step of the protocol costs on a real Redis, and whether that stays so as records become more.
//!
//! ```sh
//! cargo bench -p mcp-oauth-store --features redis --bench steps            # 10^3, 10^5 and 10^6 records
//! cargo bench -p mcp-oauth-store --features redis --bench steps -- 1000    # so many
//! ```
//!
//! Needs `redis-server` and `redis-benchmark`. What is counted is time of the processor, in Redis and in this process, and
//! of several rounds, in which the sizes take turns, the cheapest: so that what else runs on the machine is left out as far
//! as it can be. A step is called as the core has it, without HTTP, one after the other, so that none costs less because another
//! was on its way with it; what comes through when 32 are on their way at the same time is shown at the end. The commands that
//! a script runs are counted beside the script.

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the run")]

mod distance;
mod journey;
mod processors;
mod rate;
mod records;
mod server;
mod table;
#[path = "../../tests/support/wrapped_store.rs"]
#[allow(unreachable_pub, reason = "the tests of the workspace have it in a library")]
mod wrapped_store;

use std::time::Instant;

use mcp_oauth_core::limits::Limits;
use mcp_oauth_core::server::AuthorizationServer;
use mcp_oauth_core::token::keys::{Algorithm, KeySet};
use mcp_oauth_store::RedisStore;

use distance::{Distant, round_trips};
use processors::Processors;
use records::Records;
use server::Server;
use table::{Cost, Table, process_cpu};

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

/// How many of each step are measured at a time.
const STEPS: usize = 400;

/// How many of them are on their way at the same time.
pub(crate) const AT_ONCE: usize = 32;

const ROUNDS: usize = 7;

fn store(redis: &Server) -> RedisStore {
    redis.url().parse().unwrap()
}

/// Takes one step with each of these, one after the other: none costs less because another was on its way with it.
async fn each<I, T, F>(server: &AuthorizationServer, inputs: Vec<I>, step: fn(AuthorizationServer, I) -> F) -> Vec<T>
where
    F: Future<Output = T>,
{
    let mut outputs = Vec::new();
    for input in inputs {
        outputs.push(step(server.clone(), input).await);
    }
    outputs
}

/// Takes one step with each of these, many at the same time.
pub(crate) async fn all<I, T, F>(
    server: &AuthorizationServer,
    inputs: Vec<I>,
    step: fn(AuthorizationServer, I) -> F,
) -> Vec<T>
where
    I: Send + 'static,
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut lines: Vec<Vec<I>> = (0..AT_ONCE).map(|_| Vec::new()).collect();
    for (number, input) in inputs.into_iter().enumerate() {
        lines[number % AT_ONCE].push(input);
    }
    let tasks: Vec<_> = lines
        .into_iter()
        .map(|line| {
            let server = server.clone();
            tokio::spawn(async move {
                let mut outputs = Vec::new();
                for input in line {
                    outputs.push(step(server.clone(), input).await);
                }
                outputs
            })
        })
        .collect();
    let mut outputs = Vec::new();
    for task in tasks {
        outputs.extend(task.await.unwrap());
    }
    outputs
}

/// A server on a Redis that holds so many records, and what is measured on it.
struct Bench<'a> {
    server: AuthorizationServer,
    redis: &'a Server,
    records: usize,
}

impl Bench<'_> {
    async fn step<I, T, F>(
        &self,
        table: &mut Table,
        name: &'static str,
        inputs: Vec<I>,
        step: fn(AuthorizationServer, I) -> F,
    ) -> Vec<T>
    where
        I: Send + 'static,
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let times = u32::try_from(inputs.len()).unwrap();
        let (work, cpu) = (self.redis.work().await, process_cpu());
        let outputs = each(&self.server, inputs, step).await;
        let (cpu, work) = (process_cpu().saturating_sub(cpu), self.redis.work().await.since(&work));
        let each = |calls: u64| f64::from(u32::try_from(calls).unwrap()) / f64::from(times);
        let cost = Cost {
            commands: work
                .calls
                .iter()
                .map(|(name, calls)| (name.clone(), each(*calls)))
                .collect(),
            redis: work.cpu / times,
            process: cpu / times,
        };
        table.note(name, self.records, cost);
        outputs
    }

    /// Every step, one after the other.
    async fn journey(&self, table: &mut Table) {
        let clients = self.step(table, "register", vec![(); STEPS], journey::register).await;
        let asked = self.step(table, "authorize", clients.clone(), journey::authorize).await;
        let approved = self.step(table, "consent", asked, journey::consent).await;
        let codes = self.step(table, "callback", approved, journey::callback).await;
        let signed_in = self.step(table, "redeem a code", codes, journey::redeem).await;
        let signed_in = self.step(table, "refresh", signed_in, journey::refresh).await;
        let signed_in = self.step(table, "introspect", signed_in, journey::introspect).await;
        self.step(table, "revoke", signed_in, journey::revoke).await;
        let waiting = self
            .step(
                table,
                "device authorization",
                clients.clone(),
                journey::authorize_device,
            )
            .await;
        let asked = self
            .step(table, "device: code entered", waiting, journey::enter_user_code)
            .await;
        let approved = self.step(table, "device: consent", asked, journey::consent).await;
        let codes = self.step(table, "device: callback", approved, journey::callback).await;
        self.step(table, "device: poll with success", codes, journey::poll)
            .await;
        let waiting = all(&self.server, clients.clone(), journey::authorize_device).await;
        let asked = all(&self.server, waiting, journey::enter_user_code).await;
        self.step(table, "device: denial", asked, journey::deny).await;
        self.step(table, "delete a client", clients, journey::delete).await;
    }
}

/// How often each step waits for the store, on the way of one client, where everything is counted.
async fn count_round_trips(redis: &Server, keys: &KeySet, table: &mut Table) {
    let server = journey::server_with(&Limits::default(), Distant::new(store(redis)), keys);
    macro_rules! count {
        ($name:literal, $step:path, $input:expr) => {{
            let began = Instant::now();
            let output = $step(server.clone(), $input).await;
            table.round_trips.insert($name, round_trips(began));
            output
        }};
    }
    let client = count!("register", journey::register, ());
    let asked = count!("authorize", journey::authorize, client.clone());
    let approved = count!("consent", journey::consent, asked);
    let code = count!("callback", journey::callback, approved);
    let signed_in = count!("redeem a code", journey::redeem, code);
    let signed_in = count!("refresh", journey::refresh, signed_in);
    let signed_in = count!("introspect", journey::introspect, signed_in);
    let _ = count!("revoke", journey::revoke, signed_in);
    let waiting = count!("device authorization", journey::authorize_device, client.clone());
    let asked = count!("device: code entered", journey::enter_user_code, waiting);
    let approved = count!("device: consent", journey::consent, asked);
    let code = count!("device: callback", journey::callback, approved);
    let _ = count!("device: poll with success", journey::poll, code);
    let waiting = journey::authorize_device(server.clone(), client.clone()).await;
    let asked = journey::enter_user_code(server.clone(), waiting).await;
    count!("device: denial", journey::deny, asked);
    count!("delete a client", journey::delete, client);
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

async fn run(sizes: &[usize]) {
    println!("load of the machine at the beginning: {}", load());
    let keys = KeySet::generate(Algorithm::Es256).unwrap();
    let mut table = Table::default();
    let processors = Processors::take();
    let mut filled = Vec::new();
    for size in sizes {
        let redis = Server::start(&processors).await;
        let records = Records::template(&redis, &keys).await;
        records.fill(&redis, *size).await;
        filled.push((redis, records, *size));
    }
    count_round_trips(&filled[0].0, &keys, &mut table).await;
    for round in 0..ROUNDS {
        // Whoever is first in one round is last in another.
        filled.rotate_left(round % 2);
        for (redis, records, size) in &filled {
            // What the last round has added would count among few.
            if *size <= 100_000 {
                records.fill(redis, *size).await;
            }
            let server = journey::server(store(redis), &keys);
            // Connections are made and scripts are known before anything counts.
            let clients = all(&server, vec![(); AT_ONCE], journey::register).await;
            let asked = all(&server, clients, journey::authorize).await;
            let approved = all(&server, asked, journey::consent).await;
            let codes = all(&server, approved, journey::callback).await;
            all(&server, codes, journey::redeem).await;
            let bench = Bench {
                server,
                redis,
                records: *size,
            };
            bench.journey(&mut table).await;
        }
    }
    table.print(sizes);
    filled.sort_by_key(|(_, _, size)| *size);
    println!();
    for (redis, records, size) in &filled {
        records.print_sizes(redis, *size).await;
    }
    let (redis, _, size) = &filled[filled.len() / 2];
    rate::compare(redis, *size, &keys).await;
    println!("load of the machine at the end: {}", load());
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // `cargo test --all-targets` runs benches too, as if they were tests.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("a real Redis: run with `cargo bench -p mcp-oauth-store --features redis --bench steps`");
        return;
    }
    let asked: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    run(if asked.is_empty() { &SIZES } else { &asked }).await;
}
