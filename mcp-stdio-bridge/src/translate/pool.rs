//! Processes that were initialized for clients of the modern era.
//!
//! A server is told once, by `initialize`, who its client is and what it can do; so processes are kept apart by
//! caller, client and capabilities. Within that, requests share a process, the first one, as long as the server cannot
//! ask back in them. Where it can, a call has a process to itself while it runs, for a server does not say which call
//! its question is about. The first process that is free is taken, so that calls that come one after the other meet
//! the same one and what it remembers.

mod listeners;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

pub(super) use self::listeners::Listener;
use self::listeners::Listeners;
use super::{capability_of, declares};
use crate::caller::{Caller, CallerKey};
use crate::child::calls::Level;
use crate::child::{Child, End, Home, Unanswered};
use crate::era::{Eras, initialize, own};
use crate::message::{self, Id, Key, Message, reply};
use crate::modern::level_of;
use crate::start::{OpenError, Opening, Starter};
use crate::stream::{Frame, Pressure};
use crate::versions::LEGACY;

/// How long a call waits for a process to be free.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many calls of one client may wait for it, on top of those that run: each keeps its process.
const PARKED: usize = 16;

/// For whom a process was initialized.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct For {
    pub(super) caller: CallerKey,
    /// Raw.
    pub(super) client_info: Arc<str>,
    /// Raw.
    pub(super) capabilities: Arc<str>,
}

impl For {
    /// Whether a server may ask this client anything.
    pub(super) fn can_be_asked(&self) -> bool {
        ["sampling", "elicitation", "roots"]
            .into_iter()
            .any(|capability| declares(&self.capabilities, capability))
    }

    /// Whether the client can be asked this.
    pub(super) fn can_answer(&self, method: &str) -> Result<(), &'static str> {
        match capability_of(method) {
            Some(capability) if declares(&self.capabilities, capability) => Ok(()),
            Some(capability) => Err(capability),
            None => Err(""),
        }
    }
}

/// All processes.
#[derive(Debug)]
pub(super) struct Pool {
    starter: Arc<Starter>,
    eras: Arc<Eras>,
    groups: Mutex<HashMap<For, Arc<Group>>>,
}

/// The processes of one client.
pub(super) struct Group {
    pub(super) of: For,
    starter: Arc<Starter>,
    eras: Arc<Eras>,
    members: Mutex<Vec<Arc<Member>>>,
    starting: tokio::sync::Mutex<()>,
    freed: Notify,
    pub(super) listeners: Listeners,
}

/// One process.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) child: Arc<Child>,
    /// The raw result of `initialize`.
    pub(super) initialized: Arc<str>,
    state: Mutex<MemberState>,
}

#[derive(Debug, Default)]
struct MemberState {
    /// A call has it to itself.
    taken: bool,
    /// Since when that call has waited for its client, and how to end it.
    parked: Option<(Instant, tokio_util::sync::CancellationToken)>,
    /// How many streams keep it.
    kept: usize,
    level: Option<Level>,
}

/// A process that is used.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) group: Arc<Group>,
    pub(super) member: Arc<Member>,
    exclusive: bool,
}

impl Pool {
    pub(super) fn new(starter: Arc<Starter>, eras: Arc<Eras>) -> Self {
        Self {
            starter,
            eras,
            groups: Mutex::default(),
        }
    }

    pub(super) fn group(&self, of: For) -> Arc<Group> {
        let mut groups = self.lock();
        let group = groups.entry(of).or_insert_with_key(|of| {
            Arc::new(Group {
                of: of.clone(),
                starter: Arc::clone(&self.starter),
                eras: Arc::clone(&self.eras),
                members: Mutex::default(),
                starting: tokio::sync::Mutex::default(),
                freed: Notify::new(),
                listeners: Listeners::default(),
            })
        });
        Arc::clone(group)
    }

    /// The processes that nobody uses now.
    pub(super) fn unused(&self) -> Vec<Arc<Child>> {
        let groups = self.lock();
        let members = groups.values().flat_map(|group| group.open());
        members
            .filter(|member| {
                let state = member.lock();
                !state.taken && state.kept == 0
            })
            .map(|member| Arc::clone(&member.child))
            .collect()
    }

    /// Every process that runs.
    pub(super) fn children(&self) -> Vec<Arc<Child>> {
        let groups = self.lock();
        let members = groups.values().flat_map(|group| group.open());
        members.map(|member| Arc::clone(&member.child)).collect()
    }

    /// Forgets the groups that have no process.
    pub(super) fn sweep(&self) {
        self.lock()
            .retain(|_, group| !group.open().is_empty() || Arc::strong_count(group) > 1);
    }

    /// Ends all streams that hear of changes, as the protocol has it.
    pub(super) fn finish(&self) {
        let groups: Vec<_> = self.lock().values().cloned().collect();
        for group in groups {
            group.listeners.finish();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<For, Arc<Group>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// A process to use; with `exclusive` to be used by nobody else.
    pub(super) async fn lease(self: &Arc<Self>, caller: Option<&Caller>, exclusive: bool) -> Result<Lease, OpenError> {
        let leased = async {
            loop {
                let freed = self.freed.notified();
                if let Some(lease) = self.free(exclusive) {
                    return Ok(lease);
                }
                if self.may_grow() {
                    let starting = self.starting.lock().await;
                    if let Some(lease) = self.free(exclusive) {
                        return Ok(lease);
                    }
                    if self.may_grow() {
                        let member = self.start(caller).await?;
                        self.lock().push(member);
                        drop(starting);
                        continue;
                    }
                }
                if !self.displace() {
                    let _ = timeout(Duration::from_secs(1), freed).await;
                    continue;
                }
                let _ = timeout(Duration::from_millis(100), freed).await;
            }
        };
        match timeout(PATIENCE + self.starter.limits().handshake_timeout, leased).await {
            Ok(lease) => lease,
            Err(_) => Err(OpenError::Processes(self.starter.limits().max_pool)),
        }
    }

    fn free(self: &Arc<Self>, exclusive: bool) -> Option<Lease> {
        for member in self.open() {
            let mut state = member.lock();
            if exclusive && state.taken {
                continue;
            }
            state.taken |= exclusive;
            state.kept += usize::from(!exclusive);
            drop(state);
            return Some(Lease {
                group: Arc::clone(self),
                member,
                exclusive,
            });
        }
        None
    }

    /// Whether another process may be started. Those whose call waits for its client do no work; they count apart.
    fn may_grow(&self) -> bool {
        let members = self.open();
        let parked = members.iter().filter(|member| member.lock().parked.is_some()).count();
        let running = members.len() - parked;
        members.is_empty() || (running < self.starter.limits().max_pool && parked < PARKED && self.starter.has_room())
    }

    /// Ends the call that has waited the longest for its client.
    fn displace(&self) -> bool {
        let members = self.open();
        let parked = members.iter().filter_map(|member| member.lock().parked.clone());
        let Some((_, stop)) = parked.min_by_key(|(since, _)| *since) else {
            return false;
        };
        stop.cancel();
        true
    }

    fn open(&self) -> Vec<Arc<Member>> {
        let mut members = self.lock();
        members.retain(|member| member.child.is_open());
        members.clone()
    }

    /// Starts a process and goes through the handshake with it.
    async fn start(self: &Arc<Self>, caller: Option<&Caller>) -> Result<Arc<Member>, OpenError> {
        let child = self.starter.start_soon(caller, false).await?;
        let home: Weak<Self> = Arc::downgrade(self);
        child.serve(home);
        let opening = Opening::of(Arc::clone(&child));
        let request = own(format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{}","capabilities":{},"clientInfo":{}}}}}"#,
            LEGACY[0], self.of.capabilities, self.of.client_info,
        ));
        let line = initialize(&self.starter, &self.eras, &child, &request, 0).await?;
        let initialized = own(line).outcome().unwrap_or("{}").into();
        child.tell(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned());
        opening.done();
        Ok(Arc::new(Member {
            child,
            initialized,
            state: Mutex::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Member>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Home for Group {
    fn notify(&self, child: &Arc<Child>, message: &Message, method: &str) -> Pressure {
        let line = || Frame::Message(message.line(&[]));
        match method {
            "notifications/message" => child
                .hearing(level_of(message))
                .and_then(|call| child.put(call, line()))
                .flatten(),
            "notifications/resources/updated"
            | "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed" => {
                self.listeners.hear(child, message, method);
                None
            }
            _ => child.only().and_then(|call| child.put(call, line())).flatten(),
        }
    }

    fn ask(&self, child: &Arc<Child>, message: &Message, id: &Id, method: &str) -> Result<Pressure, Unanswered> {
        if method == "ping" && child.answer(0, id.key(), |id| reply::result(id, "{}")) {
            return Ok(None);
        }
        child.ask_in_call(message, id).ok_or(Unanswered::Nobody)
    }

    fn take_back(&self, _child: &Arc<Child>, _message: &Message, _id: &Key) {}

    fn ended(&self, child: &Arc<Child>, end: &End) {
        self.freed.notify_waiters();
        self.listeners.ended(child, end);
    }
}

impl Member {
    /// Makes the server log as much as is wanted now.
    pub(super) fn log(&self, level: Option<Level>, name: Option<&str>) {
        let (Some(level), Some(name)) = (level, name) else {
            return;
        };
        let has_logging = message::members(&self.initialized, ["capabilities"])
            .ok()
            .and_then(|[capabilities]| capabilities)
            .is_some_and(|capabilities| declares(capabilities.get(), "logging"));
        if !has_logging {
            return;
        }
        let most = self.child.lowest_level().map_or(level, |other| other.min(level));
        {
            let mut state = self.lock();
            if state.level == Some(most) || (most < level && state.level.is_some_and(|now| now <= most)) {
                return;
            }
            state.level = Some(level);
        }
        self.child.tell(format!(
            r#"{{"jsonrpc":"2.0","id":"logging {}","method":"logging/setLevel","params":{{"level":"{name}"}}}}"#,
            uuid::Uuid::new_v4()
        ));
    }

    fn lock(&self) -> MutexGuard<'_, MemberState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The call waits for its client; `stop` ends it if its process is needed.
    pub(super) fn park(&self, stop: &tokio_util::sync::CancellationToken) {
        self.member.lock().parked = Some((Instant::now(), stop.clone()));
    }

    /// It goes on.
    pub(super) fn unpark(&self) {
        self.member.lock().parked = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        {
            let mut state = self.member.lock();
            if self.exclusive {
                state.taken = false;
                state.parked = None;
            } else {
                state.kept -= 1;
            }
        }
        self.group.freed.notify_waiters();
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").finish_non_exhaustive()
    }
}
