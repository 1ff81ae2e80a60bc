//! Starting server processes: how many, how often, and what a start that failed had to say.
//!
//! A process that ends before it has got through its start would be started again by the next request, and the next.
//! So after a failure starts are refused for a while, longer with each: half a second, then twice that, up to half a
//! minute. A start that succeeds begins the count anew, and so does a failure that is long ago.
//!
//! Spares are processes that were started before anybody asked, for servers that take their time to come up. A spare
//! has been sent nothing; it is as good as one that is started now, only sooner.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::back::{Process, Started};
use crate::caller::Caller;
use crate::child::{Child, End, Label, Setting};
use crate::command::Command;
use crate::config::Limits;
use crate::meter::Meter;
use crate::session::table::Full;

/// How long starts are refused after the first failure, and after many.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long a process may take to end that makes room for another.
const MAKING_ROOM: Duration = Duration::from_secs(6);
/// A failure that is so long ago does not count.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// Why there is no server to talk to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("{0}")]
    Full(Full),
    #[error("all {0} server processes are in use; try again later")]
    Processes(usize),
    #[error("the bridge is shutting down")]
    Stopping,
    #[error("the server could not be started: {0}")]
    Start(#[source] io::Error),
    /// It was started, and did not get through its start.
    #[error("{end}")]
    Failed { end: End, stderr: Option<String> },
    /// It has failed to start before, and is left alone for a while.
    #[error("the server does not start (failures in a row: {failures}); next try in {} s", wait.as_secs() + 1)]
    BackingOff {
        failures: u32,
        wait: Duration,
        stderr: Option<String>,
    },
    /// The server itself has refused: its error response says why.
    #[error("the server did not open a session")]
    Refused(String),
    #[error("the client went away")]
    Abandoned,
}

/// Starts the processes of one server.
#[derive(Debug)]
pub(crate) struct Starter {
    name: Label,
    meter: Meter,
    command: Command,
    limits: Arc<Limits>,
    slots: Arc<Semaphore>,
    failures: Mutex<Failures>,
    spares: Mutex<VecDeque<Started>>,
    number: AtomicU64,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct Failures {
    count: u32,
    last: Option<Instant>,
    stderr: String,
}

impl Starter {
    pub(crate) fn new(name: Label, command: Command, limits: Arc<Limits>) -> Self {
        Self {
            meter: Meter::of(Arc::clone(&name)),
            name,
            command,
            slots: Arc::new(Semaphore::new(limits.max_sessions.min(Semaphore::MAX_PERMITS))),
            limits,
            failures: Mutex::default(),
            spares: Mutex::default(),
            number: AtomicU64::new(1),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Where the tasks run that have to be over before the program ends.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    pub(crate) fn stopped(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Whether the last start has failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.lock().count > 0
    }

    /// Whether there is room for another process.
    pub(crate) fn has_room(&self) -> bool {
        self.slots.available_permits() > 0
    }

    /// Starts a process, or takes a spare. `alone` is for a process that has one client only.
    pub(crate) fn start(&self, caller: Option<&Caller>, alone: bool) -> Result<Arc<Child>, OpenError> {
        let slot = self.slot()?;
        self.start_in(slot, caller, alone)
    }

    /// The same, waiting a while for one that makes room.
    pub(crate) async fn start_soon(&self, caller: Option<&Caller>, alone: bool) -> Result<Arc<Child>, OpenError> {
        self.may_start()?;
        let slot = Arc::clone(&self.slots).acquire_owned();
        let Ok(Ok(slot)) = tokio::time::timeout(MAKING_ROOM, slot).await else {
            return Err(OpenError::Processes(self.limits.max_sessions));
        };
        self.start_in(slot, caller, alone)
    }

    fn slot(&self) -> Result<OwnedSemaphorePermit, OpenError> {
        self.may_start()?;
        Arc::clone(&self.slots)
            .try_acquire_owned()
            .map_err(|_| OpenError::Processes(self.limits.max_sessions))
    }

    fn may_start(&self) -> Result<(), OpenError> {
        if self.is_stopping() {
            return Err(OpenError::Stopping);
        }
        let failures = self.lock();
        let Some(last) = failures.last.filter(|_| failures.count > 0) else {
            return Ok(());
        };
        let since = last.elapsed();
        let pause = BACK_OFF
            .1
            .min(BACK_OFF.0 * 2u32.saturating_pow(failures.count.min(16) - 1));
        if since < pause {
            return Err(OpenError::BackingOff {
                failures: failures.count,
                wait: pause.saturating_sub(since),
                stderr: self.told(&failures.stderr),
            });
        }
        Ok(())
    }

    fn start_in(
        &self,
        slot: OwnedSemaphorePermit,
        caller: Option<&Caller>,
        alone: bool,
    ) -> Result<Arc<Child>, OpenError> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let label: Label = format!("{}#{number}", self.name).into();
        let started = match self.spare() {
            Some(spare) => Ok(spare),
            None => self
                .meter
                .start()
                .in_scope(|| Process::start(self.command.prepare(caller), &label)),
        };
        let setting = Setting {
            label,
            meter: self.meter.clone(),
            limits: Arc::clone(&self.limits),
            alone,
            tasks: &self.tasks,
            stop: self.stop.clone(),
        };
        let child = started.and_then(|started| Child::new(started, setting, slot));
        child.map_err(|error| {
            tracing::error!(program = ?self.command.program(), %error, "the server could not be started");
            self.failed(&error.to_string());
            OpenError::Start(error)
        })
    }

    /// Takes note that a process has not got through its start; the error says what its client gets.
    pub(crate) async fn start_failed(&self, child: &Arc<Child>, end: End) -> OpenError {
        child.close(&end);
        // If it crashed, that is the reason.
        let end = child.end().unwrap_or(end);
        if end.is_crash() {
            // What was written last is read when the process is gone, which it nearly is.
            let _ = tokio::time::timeout(Duration::from_millis(200), child.ended()).await;
        }
        let stderr = child.stderr();
        self.failed(&stderr);
        tracing::warn!(of = child.label(), reason = %end, stderr, "the server did not get through its start");
        OpenError::Failed {
            stderr: self.told(&stderr),
            end,
        }
    }

    fn failed(&self, stderr: &str) {
        self.meter.start_failed();
        let mut failures = self.lock();
        let now = Instant::now();
        if failures.last.is_some_and(|last| last + FORGOTTEN < now) {
            failures.count = 0;
        }
        failures.count += 1;
        failures.last = Some(now);
        stderr.clone_into(&mut failures.stderr);
    }

    /// Takes note that a process has got through its start.
    pub(crate) fn succeeded(self: &Arc<Self>) {
        let mut failures = self.lock();
        if failures.count > 0 {
            *failures = Failures::default();
        }
        drop(failures);
        self.refill();
    }

    fn told(&self, stderr: &str) -> Option<String> {
        (self.limits.tell_stderr && !stderr.is_empty()).then(|| stderr.to_owned())
    }

    fn spare(&self) -> Option<Started> {
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut spare = spares.pop_front()?;
            if spare.process.is_running() {
                return Some(spare);
            }
        }
    }

    /// Starts as many spares as there ought to be, away from whoever waits. None are for processes that differ from
    /// caller to caller.
    pub(crate) fn refill(self: &Arc<Self>) {
        if self.limits.spares == 0 || self.command.depends_on_caller() || self.is_stopping() {
            return;
        }
        let starter = Arc::clone(self);
        tokio::spawn(async move {
            let mut spares = starter.spares.lock().unwrap_or_else(PoisonError::into_inner);
            while spares.len() < starter.limits.spares {
                match Process::start(starter.command.prepare(None), &starter.name) {
                    Ok(spare) => spares.push_back(spare),
                    Err(_) => return,
                }
            }
        });
    }

    /// Ends everything that was started.
    pub(crate) fn stop(&self) {
        self.tasks.close();
        self.stop.cancel();
        let spares = std::mem::take(&mut *self.spares.lock().unwrap_or_else(PoisonError::into_inner));
        for Started { process, stdin, .. } in spares {
            drop(stdin);
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(self.tasks.track_future(process.end()));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process that goes through its start. If whoever waits for it goes away, nobody ever will use it.
#[derive(Debug)]
pub(crate) struct Opening(Option<Arc<Child>>);

impl Opening {
    pub(crate) fn of(child: Arc<Child>) -> Self {
        Self(Some(child))
    }

    /// It is used from now on.
    pub(crate) fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(child) = &self.0 {
            child.close(&End::HandshakeAbandoned);
        }
    }
}
