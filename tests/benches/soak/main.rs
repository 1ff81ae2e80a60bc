//! The gateway for ten minutes, as it is built for users and with a real Redis: everything that people, clients and servers do
//! at once, and what has grown by then.
//!
//! People sign in, turn away and say no; clients register, refresh, repeat themselves, are managed and forgotten; devices
//! are let in and left alone; sessions of both eras are opened, used, ended and abandoned; streams are dropped; servers
//! behave badly; and much of what is sent is wrong. Each answer is held against what it has to be. All quotas are as
//! shipped, and requests come from 200 networks behind a proxy. Lifetimes are short by configuration, so that what ends can be seen
//! to go: the first fifth of the time is for the gateway to get there, and then the second half of the rest is held against
//! the first. At last everybody leaves, and what is left is counted.
//!
//! It needs Redis, and Linux, whose `/proc` tells what a process has. With `MCP_TEST_PYTHON` there is a server from PyPI too.
//!
//! ```sh
//! cargo bench -p mcp-oauth-tests --bench soak           # ten minutes, and three to settle
//! cargo bench -p mcp-oauth-tests --bench soak -- 30     # a look: too short for what is flat to show
//! cargo bench -p mcp-oauth-tests --bench soak -- 30 dev # with the gateway as tests have it, which is built sooner
//! ```

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mcp_oauth_core::store::Kind;
use mcp_oauth_tests::tools;

use flows::{Flow, Outcome};
use sample::{Measurements, Process, Stock};
use site::{IDLE_CONNECTIONS, IDLE_SESSION, Site};
use verdict::Verdict;

mod begun;
mod caller;
mod flows;
mod sample;
mod site;
mod upstream;
mod verdict;
mod visitor;

/// For how long, if nothing is said, in seconds.
const TIME: u64 = 600;

/// In a shorter time, what is forgotten after two minutes does not show.
const SHORTEST_FOR_A_VERDICT: u64 = 300;

/// So often a row of the table is printed, and so often between two rows the process is looked at.
const ROWS: u32 = 10;

/// The rows that are for warming up.
const WARM_UP: usize = 2;

/// For what was left behind to go.
const PATIENCE: Duration = Duration::from_secs(240);

/// The kinds that have a column.
const COLUMNS: [Kind; 8] = [
    Kind::Client,
    Kind::Grant,
    Kind::Transaction,
    Kind::Counter,
    Kind::Device,
    Kind::UserCode,
    Kind::ClientGrants,
    Kind::NotBefore,
];

fn print_head() {
    print!(
        "{:>7} {:>7} {:>5} {:>7} {:>8} |",
        "seconds", "MiB", "files", "threads", "children"
    );
    print!(" {:>9} {:>6} {:>6}", "Redis MiB", "keys", "ended");
    for kind in COLUMNS {
        print!(" {:>width$}", kind.as_str(), width = kind.as_str().len().max(6));
    }
    println!();
}

fn mebibytes(bytes: usize) -> String {
    let tenths = bytes * 10 / (1024 * 1024);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn print_row(at: Duration, process: Process, stock: &Stock) {
    print!(
        "{:>7} {:>7} {:>5} {:>7} {:>8} |",
        at.as_secs(),
        mebibytes(process.memory),
        process.descriptors,
        process.threads,
        process.children
    );
    print!(
        " {:>9} {:>6} {:>6}",
        mebibytes(stock.memory),
        stock.total(),
        stock.ended
    );
    for kind in COLUMNS {
        print!(" {:>width$}", stock.count(kind), width = kind.as_str().len().max(6));
    }
    println!();
}

/// What is in Redis now. `redis-cli` takes a moment, which nobody else has to wait for.
async fn stock(site: &Arc<Site>) -> Stock {
    let site = Arc::clone(site);
    let counted = tokio::task::spawn_blocking(move || Stock::of(&site.redis));
    counted.await.expect("Redis answers")
}

/// Looks at the process until the time is over, and prints the table: all samples, row by row.
async fn watch(site: &Arc<Site>, began: Instant, time: Duration) -> Vec<Vec<Process>> {
    let mut rows = Vec::new();
    for row in 1..=ROWS {
        let mut samples = Vec::new();
        for sample in 1..=ROWS {
            let at = time * ((row - 1) * ROWS + sample) / (ROWS * ROWS);
            tokio::time::sleep_until((began + at).into()).await;
            samples.push(Process::of(site));
        }
        let stock = stock(site).await;
        print_row(began.elapsed(), samples[samples.len() - 1], &stock);
        rows.push(samples);
    }
    rows
}

/// Waits until nothing is left of what should go, and says what is.
async fn settle(site: &Arc<Site>, verdict: &mut Verdict, at_rest: Process) {
    let began = Instant::now();
    let spared = loop {
        let (process, stock) = (Process::of(site), stock(site).await);
        let left = stock.count(Kind::Client) + stock.count(Kind::Grant) + stock.count(Kind::NotBefore);
        let children = process.children.saturating_sub(at_rest.children);
        if (left == 0 && children == 0) || began.elapsed() > PATIENCE {
            print_row(began.elapsed(), process, &stock);
            verdict.hold(
                left == 0,
                &format!("clients, grants and marks after all have left: {left}"),
            );
            break process;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    verdict.hold(
        spared.children <= at_rest.children,
        &format!("children: {}, at the start {}", spared.children, at_rest.children),
    );
    // Connections of this program that are kept open for the next request, and the gateway's own to Redis and elsewhere.
    verdict.hold(
        spared.descriptors <= at_rest.descriptors + 2 * IDLE_CONNECTIONS,
        &format!(
            "descriptors: {}, at the start {}",
            spared.descriptors, at_rest.descriptors
        ),
    );
    let streams = site.upstream.streams();
    verdict.hold(
        streams == 0,
        &format!("streams from elsewhere that nobody listens to: {streams}"),
    );
    let measured = Measurements::of(site).await;
    for name in [
        "mcp_bridge_sessions",
        "mcp_bridge_requests_in_flight",
        "mcp_gateway_http_requests_in_flight",
    ] {
        let left = measured.sum(name, "");
        verdict.hold(left == 0.0, &format!("{name}: {left}"));
    }
    let failed = measured.sum("mcp_gateway_http_request_duration_seconds_count", "status=\"5");
    verdict.hold(
        failed == 0.0,
        &format!("requests that the gateway counts as answered by 5xx: {failed}"),
    );
}

fn print_flows(outcomes: &[Outcome], verdict: &mut Verdict) {
    println!("\n{:>6} {:>5} {:>5}  flow", "runs", "late", "wrong");
    for outcome in outcomes {
        println!(
            "{:>6} {:>5} {:>5}  {}",
            outcome.runs, outcome.late, outcome.wrong, outcome.name
        );
        for wrong in &outcome.shown {
            println!("        {wrong}");
        }
    }
    let wrong: usize = outcomes.iter().map(|outcome| outcome.wrong).sum();
    let runs: usize = outcomes.iter().map(|outcome| outcome.runs).sum();
    verdict.hold(wrong == 0, &format!("{runs} flows, {wrong} of them answered wrongly"));
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    // `cargo test --all-targets` runs benches too, as if they were tests.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("ten minutes: run with `cargo bench -p mcp-oauth-tests --bench soak`");
        return ExitCode::SUCCESS;
    }
    // What a flow finds wrong is told at the end, and not in the middle of the table.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() == Some("main") {
            usual(panic);
        }
    }));
    if !tools::redis("the soak") {
        return ExitCode::FAILURE;
    }
    let seconds = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(TIME);
    let time = Duration::from_secs(seconds);
    let released = !std::env::args().any(|argument| argument == "dev");
    let site = Site::start(released).await;
    // One of each, so that what is there once is there.
    for flow in flows::all(&site) {
        flow.repeat(Arc::clone(&site), Instant::now()).await;
    }
    // The sessions that nobody has ended are gone then.
    tokio::time::sleep(2 * IDLE_SESSION).await;
    let (at_rest, empty) = (Process::of(&site), stock(&site).await);

    println!(
        "{seconds} seconds, built in the profile {}",
        if released { "release" } else { "dev" }
    );
    print_head();
    print_row(Duration::ZERO, at_rest, &empty);
    let began = Instant::now();
    let running: Vec<_> = flows::all(&site)
        .into_iter()
        .map(|flow: Flow| tokio::spawn(flow.repeat(Arc::clone(&site), began + time)))
        .collect();
    let rows = watch(&site, began, time).await;
    let mut verdict = Verdict::default();
    verdict.stock(&stock(&site).await, &empty, &site.begun);
    let mut outcomes = Vec::new();
    for flow in running {
        outcomes.push(flow.await.expect("a flow ends"));
    }
    if seconds >= SHORTEST_FOR_A_VERDICT {
        verdict.process(&rows[WARM_UP..].concat());
    }
    settle(&site, &mut verdict, at_rest).await;
    print_flows(&outcomes, &mut verdict);
    let log = site.gateway.log();
    let errors = log
        .lines()
        .filter(|line| line.contains(" ERROR ") || line.contains("panicked"));
    let errors: Vec<_> = errors.collect();
    verdict.hold(errors.is_empty(), &format!("errors in the log: {}", errors.len()));
    for error in errors.iter().take(5) {
        println!("        {error}");
    }
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak-gateway.log");
    std::fs::write(&kept, &log).expect("the log can be kept");
    println!("\nthe gateway's log is in {}", kept.display());
    println!("{} requests", site.sent.load(Ordering::Relaxed));
    if seconds < SHORTEST_FOR_A_VERDICT {
        println!("  too short to say whether it is flat: that takes {SHORTEST_FOR_A_VERDICT} seconds");
    }
    if verdict.print() {
        println!("flat");
        ExitCode::SUCCESS
    } else {
        println!("NOT flat, or not right");
        ExitCode::FAILURE
    }
}
