//! Whether it was flat, and whether the store holds what it may.

use std::time::{Duration, Instant};

use mcp_oauth_core::store::Kind;
use mcp_oauth_tests::measure::median;

use crate::begun::{Begun, What};
use crate::sample::{Process, Stock};
use crate::site::{ACCESS_TOKEN, REFRESH_TOKEN, settled_after};

/// No flow takes longer, and what is stored at its end lives from then on.
const LONGEST_FLOW: Duration = Duration::from_secs(60);

/// A sign-in: ten minutes to the consent, and ten from there. One that is over is remembered as long, for whoever presses a
/// button twice.
const TRANSACTION: Duration = Duration::from_secs(20 * 60);

/// A device, and for how long it is remembered.
const DEVICE: Duration = Duration::from_secs(15 * 60);

/// How long it is remembered that something has ended, beyond the life of an access token.
const MARGIN: Duration = Duration::from_secs(60);

/// As many as this fit into the parts of a stream that Redis does not take apart.
const UNTRIMMED: usize = 100;

/// A record and what Redis needs to find it; the README of the gateway counts with the same.
const BYTES_OF_A_RECORD: usize = 2 * 1024;

/// What is held against what is promised.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    lines: Vec<String>,
    broken: usize,
}

impl Verdict {
    /// Notes what was found.
    pub(crate) fn hold(&mut self, kept: bool, line: &str) {
        self.broken += usize::from(!kept);
        self.lines
            .push(format!("{} {line}", if kept { "  kept  " } else { "  BROKEN" }));
    }

    /// Prints all of it, and says whether everything was kept.
    pub(crate) fn print(&self) -> bool {
        for line in &self.lines {
            println!("{line}");
        }
        self.broken == 0
    }

    /// The second half has no more of something than the first, but for a tenth or `allowance`.
    fn flat(&mut self, what: &str, unit: &str, values: &[f64], allowance: f64) {
        let (first, second) = values.split_at(values.len() / 2);
        let (first, second) = (median(first), median(second));
        let bound = (first * 1.1).max(first + allowance);
        self.hold(
            second <= bound,
            &format!("{what}: {first:.1}{unit}, then {second:.1}{unit} (at most {bound:.1}{unit})"),
        );
    }

    /// The process, after it has warmed up.
    #[allow(clippy::cast_precision_loss, reason = "these are no more than millions")]
    pub(crate) fn process(&mut self, samples: &[Process]) {
        let of = |value: fn(&Process) -> usize| samples.iter().map(|sample| value(sample) as f64).collect::<Vec<_>>();
        let mebibytes: Vec<f64> = of(|sample| sample.memory)
            .iter()
            .map(|bytes| bytes / 1_048_576.0)
            .collect();
        self.flat("memory", " MiB", &mebibytes, 4.0);
        self.flat("descriptors", "", &of(|sample| sample.descriptors), 10.0);
        self.flat("threads", "", &of(|sample| sample.threads), 4.0);
        self.flat("children", "", &of(|sample| sample.children), 5.0);
    }

    /// What is in the store, held against what was begun.
    pub(crate) fn stock(&mut self, stock: &Stock, empty: &Stock, begun: &Begun) {
        let now = Instant::now();
        let within = |what, time| begun.within(what, time + LONGEST_FLOW, now);
        let bounds = [
            (Kind::Client, within(What::Client, settled_after())),
            (Kind::Transaction, within(What::SignIn, TRANSACTION)),
            (Kind::Grant, within(What::Grant, REFRESH_TOKEN.max(ACCESS_TOKEN))),
            (Kind::Device, within(What::Device, DEVICE)),
            (Kind::DeviceDecision, within(What::Device, DEVICE)),
            (Kind::UserCode, within(What::Device, DEVICE)),
            (Kind::NotBefore, within(What::DeletedClient, ACCESS_TOKEN + MARGIN)),
            // Lists live two days longer than what is on them.
            (Kind::ClientGrants, begun.all(What::UsedClient) + 1),
            (Kind::UserGrants, 2),
            (Kind::Keys, 2),
        ];
        for (kind, bound) in bounds {
            let count = stock.count(kind);
            self.hold(count <= bound, &format!("{}: {count} (at most {bound})", kind.as_str()));
        }
        let (ended, hints) = (
            within(What::Grant, ACCESS_TOKEN + MARGIN) + UNTRIMMED,
            begun.all(What::Grant),
        );
        self.hold(
            stock.ended <= ended,
            &format!("ends in the feed: {} (at most {ended})", stock.ended),
        );
        self.hold(
            stock.hints <= hints,
            &format!("grants on lists: {} (at most {hints})", stock.hints),
        );
        let grown = stock.memory.saturating_sub(empty.memory);
        let bound = BYTES_OF_A_RECORD * stock.total();
        self.hold(
            grown <= bound,
            &format!("memory of Redis: {grown} bytes more than at the start (at most {bound})"),
        );
    }
}
