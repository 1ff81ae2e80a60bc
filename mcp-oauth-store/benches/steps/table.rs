//! What was measured, and how it is shown.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

/// How much of the processor this process has used.
pub(crate) fn process_cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let of = |time: nix::sys::time::TimeVal| {
        let (seconds, microseconds) = (time.tv_sec(), time.tv_usec());
        Duration::from_secs(seconds.unsigned_abs()) + Duration::from_micros(microseconds.unsigned_abs())
    };
    of(usage.user_time()) + of(usage.system_time())
}

/// What one step costs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    /// Commands by name, on average.
    pub(crate) commands: BTreeMap<String, f64>,
    pub(crate) redis: Duration,
    pub(crate) process: Duration,
}

impl Cost {
    /// The lower of two measurements of the same: whatever else runs on the machine only ever adds.
    pub(crate) fn lower_of(self, other: &Self) -> Self {
        Self {
            commands: self.commands,
            redis: self.redis.min(other.redis),
            process: self.process.min(other.process),
        }
    }

    fn commands(&self) -> String {
        let each = self.commands.iter().map(|(name, calls)| format!("{calls:.1} {name}"));
        each.collect::<Vec<_>>().join(", ")
    }
}

/// The steps in their order, and what each costs with this many records.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) steps: Vec<&'static str>,
    pub(crate) round_trips: BTreeMap<&'static str, u32>,
    pub(crate) costs: BTreeMap<(&'static str, usize), Cost>,
}

/// More than this between the smallest and the largest is not flat.
const FLAT: f64 = 1.2;

impl Table {
    pub(crate) fn note(&mut self, step: &'static str, records: usize, cost: Cost) {
        if !self.steps.contains(&step) {
            self.steps.push(step);
        }
        let lower = match self.costs.remove(&(step, records)) {
            Some(known) => known.lower_of(&cost),
            None => cost,
        };
        self.costs.insert((step, records), lower);
    }

    pub(crate) fn print(&self, sizes: &[usize]) {
        print!("\n{:<28}{:>6}", "step", "trips");
        for records in sizes {
            print!("{:>22}", format!("{records} records"));
        }
        println!("{:>18}  commands", "most / least");
        print!("{:<28}{:>6}", "", "");
        for _ in sizes {
            print!("{:>22}", "redis + process us");
        }
        println!("{:>18}", "redis   process");
        for step in &self.steps {
            print!(
                "{step:<28}{:>6}",
                self.round_trips.get(step).copied().unwrap_or_default()
            );
            let costs: Vec<_> = sizes.iter().map(|records| &self.costs[&(*step, *records)]).collect();
            for cost in &costs {
                let (redis, process) = (microseconds(cost.redis), microseconds(cost.process));
                print!("{:>22}", format!("{redis:.1} + {process:.1}"));
            }
            let redis = spread(costs.iter().map(|cost| cost.redis));
            let process = spread(costs.iter().map(|cost| cost.process));
            let mark = if redis.max(process) > FLAT { "!" } else { " " };
            println!(
                "{:>18}{mark} {}",
                format!("{redis:.2}   {process:.2}"),
                costs[0].commands()
            );
        }
    }
}

pub(crate) fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn spread(costs: impl Iterator<Item = Duration> + Clone) -> f64 {
    let most = costs.clone().max().unwrap_or_default();
    let least = costs.min().unwrap_or_default();
    most.as_secs_f64() / least.as_secs_f64().max(1e-9)
}
