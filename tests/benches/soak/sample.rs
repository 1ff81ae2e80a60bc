//! What the gateway has at a moment, as the system and Redis see it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mcp_oauth_core::store::Kind;
use mcp_oauth_tests::redis::RedisServer;

use crate::site::Site;

/// What all keys begin with.
const PREFIX: &str = "mcp-oauth:";

/// The process of the gateway.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    /// Resident memory, in bytes.
    pub(crate) memory: usize,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    /// Its children, and whatever those have left behind.
    pub(crate) children: usize,
}

impl Process {
    pub(crate) fn of(site: &Site) -> Self {
        let process = site.gateway.process();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the gateway runs, on Linux");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
            number.unwrap_or_else(|| panic!("{name} is not in the status of a process"))
        };
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the gateway is ours");
        Self {
            memory: number("VmRSS:") * 1024,
            descriptors: descriptors.count(),
            threads: number("Threads:"),
            children: children(process, &site.programs),
        }
    }
}

/// How many processes are children of this one, or run one of these programs.
fn children(process: u32, programs: &[PathBuf]) -> usize {
    let folders = std::fs::read_dir("/proc").expect("there is /proc").flatten();
    let is_child = |status: &str| {
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        parent.and_then(|parent| parent.trim().parse().ok()) == Some(process)
    };
    folders
        .map(|folder| folder.path())
        .filter(|folder| {
            // Processes end while somebody counts them.
            let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
            let program = std::fs::read_link(folder.join("exe")).unwrap_or_default();
            is_child(&status) || programs.contains(&program)
        })
        .count()
}

/// What is in Redis.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stock {
    /// In bytes, with all that Redis needs for itself.
    pub(crate) memory: usize,
    /// How many keys there are of each kind.
    pub(crate) keys: BTreeMap<String, usize>,
    /// How many grants are on the lists of people.
    pub(crate) hints: usize,
    /// How many ends are in the feed.
    pub(crate) ended: usize,
}

impl Stock {
    pub(crate) fn of(redis: &RedisServer) -> Self {
        let mut stock = Self::default();
        let info = redis.ask(&["INFO", "memory"]);
        let memory = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        stock.memory = memory
            .and_then(|bytes| bytes.trim().parse().ok())
            .expect("Redis tells its memory");
        for key in redis.ask(&["--scan"]).lines() {
            let kind = key.strip_prefix(PREFIX).unwrap_or(key);
            let kind = kind.split(':').next().unwrap_or_default();
            if kind == Kind::UserGrants.as_str() {
                stock.hints += redis.ask(&["ZCARD", key]).parse::<usize>().unwrap_or_default();
            }
            if kind == "ended" {
                stock.ended = redis.ask(&["XLEN", key]).parse().unwrap_or_default();
            }
            *stock.keys.entry(kind.to_owned()).or_default() += 1;
        }
        stock
    }

    /// How many keys there are of one kind.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.keys.get(kind.as_str()).copied().unwrap_or_default()
    }

    /// How many keys there are.
    pub(crate) fn total(&self) -> usize {
        self.keys.values().sum()
    }
}

/// What the gateway measures itself.
#[derive(Debug)]
pub(crate) struct Measurements(String);

impl Measurements {
    pub(crate) async fn of(site: &Site) -> Self {
        let response = site
            .http
            .get(&site.metrics)
            .send()
            .await
            .expect("measurements are served");
        Self(response.text().await.expect("they are text"))
    }

    /// The sum of a metric, over all that has this among its labels.
    pub(crate) fn sum(&self, name: &str, label: &str) -> f64 {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        let lines = lines.filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(label));
        let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        values.fold(0.0, |sum, value| sum + value)
    }
}
