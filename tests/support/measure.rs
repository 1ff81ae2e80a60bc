//! What things cost, side by side.
//!
//! A figure by itself says as much about the machine as about the program. So contestants run in turns, in many short rounds
//! of one run, and what is compared is what they took in the same round; the median of the rounds counts. What they take is
//! the processor time of the thread, so that it makes little difference what else the machine does.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_gettime};

/// The processor time that this thread has used.
#[must_use]
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Unix has this clock");
    Duration::from(time)
}

/// The processor time that this process has used, in all of its threads.
#[must_use]
pub fn process_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("every Unix has this clock");
    Duration::from(time)
}

/// The processor time that the programs have used which this process has started and waited for.
#[must_use]
pub fn childrens_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("every Unix counts this");
    let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(microseconds.unsigned_abs())
}

/// Something to be measured: what it is called, and what does it a number of times.
pub struct Contestant<'a> {
    name: &'a str,
    run: Box<dyn FnMut(usize) + 'a>,
    /// For each round, how long one time took, in nanoseconds.
    rounds: Vec<f64>,
}

impl<'a> Contestant<'a> {
    /// `run` is given the number of times.
    pub fn new(name: &'a str, run: impl FnMut(usize) + 'a) -> Self {
        Self {
            name,
            run: Box::new(run),
            rounds: Vec::new(),
        }
    }

    /// What one time took, in microseconds: the median of the rounds.
    #[must_use]
    pub fn microseconds(&self) -> f64 {
        median(&self.rounds) / 1000.0
    }

    /// How much more it took than another one, in microseconds.
    #[must_use]
    pub fn more_than(&self, other: &Self) -> f64 {
        let pairs = self.rounds.iter().zip(&other.rounds);
        median(&pairs.map(|(mine, theirs)| mine - theirs).collect::<Vec<_>>()) / 1000.0
    }

    /// How many times as much it took as another one.
    #[must_use]
    pub fn ratio_to(&self, other: &Self) -> f64 {
        let pairs = self.rounds.iter().zip(&other.rounds);
        median(&pairs.map(|(mine, theirs)| mine / theirs).collect::<Vec<_>>())
    }
}

impl std::fmt::Debug for Contestant<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:<44} {:>9.3} µs", self.name, self.microseconds())
    }
}

/// The middle one of these.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Has the contestants run in turns, `times` each in each round. One round before the first is for warming up.
#[allow(clippy::cast_precision_loss, reason = "these are no more than millions")]
pub fn in_turns(contestants: &mut [Contestant<'_>], rounds: usize, times: usize) {
    for round in 0..=rounds {
        for contestant in &mut *contestants {
            let began = thread_time();
            (contestant.run)(times);
            let took = thread_time().saturating_sub(began);
            if round > 0 {
                contestant.rounds.push(took.as_nanos() as f64 / times as f64);
            }
        }
    }
}
