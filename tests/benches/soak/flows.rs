//! What is done, and how often. Everything stays below the quotas as they are shipped, so none of them is raised.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::site::Site;

mod authorization;
mod devices;
mod sessions;

/// No more of one flow than this at the same time: a machine that is too slow does less, and says so.
const AT_ONCE: usize = 5;

/// So many answers of one flow are shown that were not what they should be.
const SHOWN: usize = 3;

/// And of each so many characters: pages are long.
const LONGEST_SHOWN: usize = 400;

/// One thing that is done again and again.
pub(crate) struct Flow {
    name: &'static str,
    per_minute: u32,
    run: Box<dyn Fn(Arc<Site>) -> BoxFuture<'static, ()> + Send + Sync>,
}

/// What became of a flow.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) runs: usize,
    /// How often it was time for it, and too much of it was on its way.
    pub(crate) late: usize,
    pub(crate) wrong: usize,
    /// The first of what went wrong.
    pub(crate) shown: Vec<String>,
}

fn flow<F>(name: &'static str, per_minute: u32, run: fn(Arc<Site>) -> F) -> Flow
where
    F: Future<Output = ()> + Send + 'static,
{
    Flow {
        name,
        per_minute,
        run: Box::new(move |site| Box::pin(run(site))),
    }
}

/// Everything that is done.
pub(crate) fn all(site: &Site) -> Vec<Flow> {
    let mut flows = vec![
        flow("a grant from registration to revocation", 90, authorization::whole),
        flow("a sign-in that is left, at each step", 30, authorization::left),
        flow("a sign-in that is denied", 30, authorization::denied),
        flow("a client that is read, changed and deleted", 60, authorization::managed),
        flow("a client that nobody uses", 120, authorization::unused),
        flow("a code and a refresh token used again", 60, authorization::reused),
        flow("wrong codes, tokens, secrets and requests", 60, authorization::mistakes),
        flow("metadata, keys and health", 60, authorization::documents),
        flow("a device that is let in", 30, devices::let_in),
        flow("devices that are turned away or left", 15, devices::not_let_in),
        flow("sessions that are used and ended", 60, sessions::whole),
        flow("sessions that are abandoned", 30, sessions::abandoned),
        flow("clients and servers of both eras", 30, sessions::eras),
        flow("streams that are dropped", 30, sessions::streams),
        flow("a server that behaves badly", 20, sessions::unruly),
        flow("a server elsewhere", 30, sessions::passed_on),
        flow("a proxy that asks /verify", 60, sessions::verify),
    ];
    if site.has_python {
        flows.push(flow("a server from PyPI", 6, sessions::python));
    }
    flows
}

impl Flow {
    /// Does it again and again until then, and waits for what is on its way.
    pub(crate) async fn repeat(self, site: Arc<Site>, until: Instant) -> Outcome {
        let mut outcome = Outcome {
            name: self.name,
            runs: 0,
            late: 0,
            wrong: 0,
            shown: Vec::new(),
        };
        let mut ticks = tokio::time::interval(Duration::from_secs(60) / self.per_minute);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut running = JoinSet::new();
        while Instant::now() < until {
            ticks.tick().await;
            while let Some(ended) = running.try_join_next() {
                outcome.count(ended);
            }
            if running.len() < AT_ONCE {
                running.spawn((self.run)(Arc::clone(&site)));
            } else {
                outcome.late += 1;
            }
        }
        while let Some(ended) = running.join_next().await {
            outcome.count(ended);
        }
        outcome
    }
}

impl Outcome {
    fn count(&mut self, ended: Result<(), JoinError>) {
        self.runs += 1;
        if let Err(error) = ended {
            self.wrong += 1;
            if self.shown.len() < SHOWN {
                self.shown
                    .push(error.try_into_panic().map_or_else(|error| error.to_string(), told));
            }
        }
    }
}

/// What a flow said when it found something wrong.
fn told(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast::<String>().map(|text| *text);
    text.or_else(|panic| panic.downcast::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
        .chars()
        .take(LONGEST_SHOWN)
        .collect()
}
