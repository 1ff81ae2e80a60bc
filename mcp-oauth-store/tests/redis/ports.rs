//! Ports for the servers that tests start.
//!
//! A test has to name a port before the program that listens there has started, and goes on using it while that program is
//! killed and started again. In between, whoever asks the system for any port could be given this one: another test, or a
//! connection to anywhere. So ports come from below those that systems choose from by themselves (from 32768 on, at the
//! lowest), and a hundred of them at a time belong to one process of tests, which holds a lock until it ends.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use fs4::FileExt;

const FIRST: u16 = 10_000;
const IN_A_BLOCK: u16 = 100;
const BLOCKS: u16 = 100;
/// A node of a Redis Cluster listens at a second port, this far from its first.
const CLUSTER_BUS: u16 = 10_000;

/// What this process has.
struct Mine {
    left: Range<u16>,
    locks: Vec<File>,
}

/// A port that nobody listens on, and neither on the one that a node of a Cluster uses beside it. No other test on this
/// machine gets it as long as this process lives.
pub(crate) fn free_port() -> u16 {
    static MINE: Mutex<Mine> = Mutex::new(Mine {
        left: 0..0,
        locks: Vec::new(),
    });
    let mut mine = MINE.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let Some(port) = mine.left.next() else {
            let (block, lock) = free_block();
            mine.left = block;
            mine.locks.push(lock);
            continue;
        };
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free(port) && free(port + CLUSTER_BUS) {
            return port;
        }
    }
}

/// Ports that are this process's own as long as the file is open. The search begins somewhere else in each process: what
/// still asks for the servers of one that has just ended is not answered by those of the next.
fn free_block() -> (Range<u16>, File) {
    let process = u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("below the number of blocks");
    let found = (0..BLOCKS).find_map(|step| {
        let begin = FIRST + (process + step) % BLOCKS * IN_A_BLOCK;
        let path = std::env::temp_dir().join(format!("mcp-oauth-test-ports-{begin}.lock"));
        // One that cannot be opened is another user's.
        let lock = OpenOptions::new().create(true).append(true).open(path).ok()?;
        FileExt::try_lock(&lock).ok()?;
        Some((begin..begin + IN_A_BLOCK, lock))
    });
    found.expect("fewer processes of tests than blocks of ports")
}

#[test]
fn nobody_is_given_the_ports_of_another() {
    let (one, _held) = free_block();
    let (another, _held_too) = free_block();
    assert_ne!(one, another);
    let (port, next) = (free_port(), free_port());
    assert!(port != next && ![one, another].iter().any(|block| block.contains(&port)));
}
