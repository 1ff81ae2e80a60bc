//! Floods of 100,000 requests against a server with the default bounds: how many records are left, how much memory they
//! take, how long it takes, and that a client which was there before notices nothing. Small versions of the same are in
//! `it/floods.rs`.
//!
//! ```sh
//! cargo bench -p mcp-oauth-tests --bench floods
//! ```

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the run")]

use std::time::{Duration, Instant};

use mcp_oauth_core::client::registration_policy::{RegistrationPolicy, Repeats};
use mcp_oauth_core::limits::Limits;
use mcp_oauth_core::store::Kind;
use mcp_oauth_store::memory::Bounds;
use mcp_oauth_tests::flood::{Flooded, Statuses};

const FLOOD: usize = 100_000;

/// A record of a flood and what the store needs to find it take less than this.
const BYTES_OF_A_RECORD: u64 = 4 * 1024;

/// How much memory the process has, on Linux.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// What was measured of one flood.
struct Measured {
    before: Option<u64>,
    began: Instant,
}

impl Measured {
    fn begin() -> Self {
        Self {
            before: resident_bytes(),
            began: Instant::now(),
        }
    }

    /// Prints the figures; the records of `kind` have to be within `bound`, and to take no more than they may.
    fn end(self, what: &str, server: &Flooded, kind: Kind, bound: usize, statuses: &Statuses) {
        let elapsed = self.began.elapsed();
        let records = server.records(kind);
        let grown = self
            .before
            .zip(resident_bytes())
            .map(|(before, after)| after.saturating_sub(before));
        let each = elapsed / u32::try_from(FLOOD).unwrap();
        println!("{what}");
        println!("  answers           {statuses:?}");
        println!("  records           {records} (bound: {bound})");
        if let Some(bytes) = grown {
            println!(
                "  memory            {bytes} bytes more than before, {} for each record",
                bytes / records.max(1) as u64
            );
        }
        println!("  time              {elapsed:.1?}, {each:.1?} each");
        assert_eq!(statuses.values().sum::<usize>(), FLOOD);
        assert!(records <= bound, "{records} records");
        if let Some(bytes) = grown {
            let most = BYTES_OF_A_RECORD * bound as u64;
            assert!(bytes <= most, "{bytes} bytes, and {most} would be too much");
        }
    }
}

/// What the essay of `limits` says that a flood of sign-ins can fill.
const STATED_BOUND_OF_SIGN_INS: usize = 19_800;

async fn authorization_requests() {
    let mut server = Flooded::new(Bounds::default(), Limits::default(), |builder| builder).await;
    let measured = Measured::begin();
    let mut statuses = Statuses::new();
    let mut most = 0;
    // Faster than the quota for everybody lets it, minute after minute.
    for _ in 0..FLOOD / 2_000 {
        for (status, times) in server.authorize(2_000).await {
            *statuses.entry(status).or_default() += times;
        }
        most = most.max(server.records(Kind::Transaction));
        server.wait(Duration::from_secs(60));
    }
    measured.end(
        "100,000 authorization requests that nobody goes on with, 2,000 a minute",
        &server,
        Kind::Transaction,
        STATED_BOUND_OF_SIGN_INS,
        &statuses,
    );
    println!("  at most           {most} records");
    assert!(most <= STATED_BOUND_OF_SIGN_INS, "{most} records");
    server.assert_untouched().await;
    server.wait(Duration::from_secs(600));
    assert_eq!(server.somebody_signs_in().await.status, 200);
    assert_eq!(server.records(Kind::Transaction), 1);
    println!("  afterwards        the client from before is untouched; ten minutes later they are forgotten");
}

async fn authorization_requests_without_quotas() {
    let mut server = Flooded::new(Bounds::default(), Limits::unlimited(), |builder| builder).await;
    let bound = server.bounds.transactions;
    let measured = Measured::begin();
    let statuses = server.authorize(FLOOD).await;
    measured.end(
        "100,000 authorization requests at once that nobody goes on with, without any quota",
        &server,
        Kind::Transaction,
        bound,
        &statuses,
    );
    server.assert_untouched().await;
    server.wait(Duration::from_secs(600));
    assert_eq!(server.somebody_signs_in().await.status, 200);
    assert_eq!(server.records(Kind::Transaction), 1);
    println!("  afterwards        the client from before is untouched; ten minutes later people can sign in again");
}

async fn registrations_that_are_one_record() {
    let mut policy = RegistrationPolicy::default();
    policy.repeats = Repeats::OneRecord;
    let mut server = Flooded::new(Bounds::default(), Limits::default(), |builder| {
        builder.registration(policy)
    })
    .await;
    let measured = Measured::begin();
    let statuses = server.register(FLOOD).await;
    measured.end(
        "100,000 repeats of one registration, one record by the operator's wish",
        &server,
        Kind::Client,
        // And the client from before.
        2,
        &statuses,
    );
    assert_eq!(statuses, Statuses::from([(201, FLOOD)]));
    server.assert_untouched().await;
}

/// What the essay of `limits` says that a flood of registrations can fill.
const STATED_BOUND: usize = 33_600;

async fn registrations() {
    let mut server = Flooded::new(Bounds::default(), Limits::default(), |builder| builder).await;
    let measured = Measured::begin();
    let mut statuses = Statuses::new();
    let mut most = 0;
    // Faster than the quota for everybody lets it, minute after minute.
    for _ in 0..FLOOD / 1_000 {
        for (status, times) in server.register(1_000).await {
            *statuses.entry(status).or_default() += times;
        }
        most = most.max(server.records(Kind::Client));
        server.wait(Duration::from_secs(60));
    }
    measured.end(
        "100,000 repeats of one registration, 1,000 a minute, each a record of its own",
        &server,
        Kind::Client,
        STATED_BOUND,
        &statuses,
    );
    println!("  at most           {most} records");
    assert!(most <= STATED_BOUND, "{most} records");
    // The access token has run out in the meantime; the grant has not.
    server.renew().await;
    server.assert_untouched().await;
    server.wait(Duration::from_secs(30 * 60));
    let lasting = server.records(Kind::Client);
    server.wait(Duration::from_secs(24 * 60 * 60));
    println!(
        "  afterwards        the client from before is untouched; {lasting} records are left after half an hour, {} after a day",
        server.records(Kind::Client)
    );
}

async fn registrations_without_quotas() {
    let mut server = Flooded::new(Bounds::default(), Limits::unlimited(), |builder| builder).await;
    let bound = server.bounds.clients;
    let measured = Measured::begin();
    let statuses = server.register(FLOOD).await;
    measured.end(
        "100,000 repeats of one registration at once, without any quota",
        &server,
        Kind::Client,
        bound,
        &statuses,
    );
    server.assert_untouched().await;
    server.wait(Duration::from_secs(24 * 60 * 60));
    assert_eq!(server.records(Kind::Client), 1);
    println!("  afterwards        the client from before is untouched, and a day later the only one");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // `cargo test --all-targets` runs benches too, as if they were tests.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("100,000 requests each: run with `cargo bench -p mcp-oauth-tests --bench floods`");
        return;
    }
    authorization_requests().await;
    authorization_requests_without_quotas().await;
    registrations_that_are_one_record().await;
    registrations().await;
    registrations_without_quotas().await;
}
