//! Who runs where. Two processes that talk in turn are put on one processor or on two as the system likes, and a step costs
//! twice as much in the one case as in the other. Here it is always two.

#[cfg(target_os = "linux")]
use nix::unistd::Pid;

/// Keeps this process, and what it starts from now on, on one processor, and this Redis on another, if there is another.
#[cfg(target_os = "linux")]
pub(crate) struct Processors {
    ours: usize,
    of_redis: usize,
}

#[cfg(target_os = "linux")]
impl Processors {
    pub(crate) fn take() -> Self {
        use nix::sched::{CpuSet, sched_getaffinity};
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let mut allowed = (0..CpuSet::count()).filter(|number| allowed.is_set(*number).unwrap());
        let ours = allowed.next().unwrap();
        let processors = Self {
            ours,
            of_redis: allowed.next_back().unwrap_or(ours),
        };
        stay_on(Pid::from_raw(0), processors.ours);
        processors
    }

    pub(crate) fn give(&self, redis: u32) {
        stay_on(Pid::from_raw(redis.try_into().unwrap()), self.of_redis);
    }
}

#[cfg(target_os = "linux")]
fn stay_on(process: Pid, processor: usize) {
    let mut processors = nix::sched::CpuSet::new();
    processors.set(processor).unwrap();
    nix::sched::sched_setaffinity(process, &processors).unwrap();
}

/// Elsewhere the system decides.
#[cfg(not(target_os = "linux"))]
pub(crate) struct Processors;

#[cfg(not(target_os = "linux"))]
impl Processors {
    pub(crate) fn take() -> Self {
        Self
    }

    pub(crate) fn give(&self, _redis: u32) {}
}
