//! How many refreshes a second there are, against what `redis-benchmark` gets for the same commands.
//!
//! A refresh is two readings, of the client and of the grant, and the script that replaces the grant. The two programs take
//! turns, so that both have their share of whatever else runs on the machine; each has as many connections as the store.

use std::process::Command;
use std::time::{Duration, Instant};

use mcp_oauth_core::server::AuthorizationServer;
use mcp_oauth_core::token::keys::KeySet;
use redis::Value;

use crate::journey::{self, SignedIn};
use crate::server::Server;
use crate::{all, store, table};

/// As many as the store has by itself.
const CONNECTIONS: &str = "4";

const ROUNDS: usize = 5;

const REFRESHES: usize = 8_000;

/// The text of the script, as the store has it.
fn script() -> &'static str {
    let source = include_str!("../../src/redis/scripts.rs");
    let begin = "static COMPARE_AND_SET: Script = Script::new(\n    r\"";
    let (_, rest) = source.split_once(begin).expect("the script is there");
    rest.split('"').next().expect("it ends")
}

/// What `redis-benchmark` does in a second.
fn benchmark(redis: &Server, times: usize, command: &[&str]) -> f64 {
    let output = Command::new("redis-benchmark")
        .args(["-p", &redis.port.to_string(), "-c", CONNECTIONS, "-r", "100000000000"])
        .args(["-n", &times.to_string(), "--csv"])
        .args(command)
        .output()
        .expect("redis-benchmark is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = text.lines().last().unwrap_or_default();
    // Each figure is quoted, and so is the name in front of them, whatever it has in it.
    let columns: Vec<_> = figures.split("\",\"").collect();
    assert!(columns.len() >= 8, "{text}");
    columns[columns.len() - 7].parse().unwrap_or_else(|_| panic!("{text}"))
}

/// The commands of one refresh, with a record as long as a grant's.
struct Commands {
    record: String,
    hash: String,
}

impl Commands {
    async fn of(redis: &Server, record: usize) -> Self {
        let hash: String = redis.ask(redis::cmd("SCRIPT").arg("LOAD").arg(script())).await;
        let record = "r".repeat(record);
        for key in ["bench:client", "bench:grant"] {
            redis
                .ask::<()>(redis::cmd("SET").arg(key).arg(format!("@000000000000abc{record}")))
                .await;
        }
        Self { record, hash }
    }

    /// How many refreshes a second would be possible if nothing but these commands had to be done.
    fn rate(&self, redis: &Server) -> f64 {
        let get = benchmark(redis, 2 * REFRESHES, &["GET", "bench:client"]);
        let replace = [
            "EVALSHA",
            &self.hash,
            "1",
            "bench:grant",
            &self.record,
            // Another mark each time, as for each write.
            "@__rand_int__abc",
            &self.record,
            "3600000",
        ];
        let replace = benchmark(redis, REFRESHES, &replace);
        1.0 / (2.0 / get + 1.0 / replace)
    }
}

async fn refresh_all(server: &AuthorizationServer, mut signed_in: Vec<SignedIn>) -> (Vec<SignedIn>, f64, Duration) {
    let times = REFRESHES / signed_in.len();
    let (began, cpu) = (Instant::now(), table::process_cpu());
    for _ in 0..times {
        signed_in = all(server, signed_in, journey::refresh).await;
    }
    let done = u32::try_from(times * signed_in.len()).unwrap();
    let rate = f64::from(done) / began.elapsed().as_secs_f64();
    (signed_in, rate, table::process_cpu().saturating_sub(cpu) / done)
}

/// Prints both, and their ratio.
pub(crate) async fn compare(redis: &Server, records: usize, keys: &KeySet) {
    let server = journey::server(store(redis), keys);
    let clients = all(&server, vec![(); 1_000], journey::register).await;
    let asked = all(&server, clients, journey::authorize).await;
    let approved = all(&server, asked, journey::consent).await;
    let codes = all(&server, approved, journey::callback).await;
    let mut signed_in = all(&server, codes, journey::redeem).await;
    let grants: Vec<String> = redis.ask(redis::cmd("KEYS").arg("mcp-oauth:grant:*")).await;
    let length: usize = redis.ask(redis::cmd("STRLEN").arg(&grants[0])).await;
    let commands = Commands::of(redis, length.saturating_sub(16)).await;
    // The store runs the very script whose hash is asked for here: nothing is sent as text again.
    redis.ask::<Value>(redis::cmd("CONFIG").arg("RESETSTAT")).await;

    println!("\nrefreshes a second, {records} records, {CONNECTIONS} connections");
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let of_redis = commands.rate(redis);
        let (next, ours, cpu) = refresh_all(&server, signed_in).await;
        signed_in = next;
        ratios.push(ours / of_redis);
        println!(
            "  {round}: {ours:>8.0} with {:.0} us of this process each; redis-benchmark {of_redis:>8.0}; ratio {:.2}",
            table::microseconds(cpu),
            ours / of_redis
        );
    }
    let calls = redis.work().await.calls;
    assert!(!calls.contains_key("eval"), "the script is another one: {calls:?}");
    ratios.sort_by(f64::total_cmp);
    println!(
        "  median ratio {:.2} (at least 0.5 is the goal)",
        ratios[ratios.len() / 2]
    );
}
