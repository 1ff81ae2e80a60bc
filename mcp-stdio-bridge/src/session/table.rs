//! All sessions of a bridge: where they are opened, found and ended.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use uuid::Uuid;

use super::supervise::supervise;
use super::{End, Frame, Refusal, Session};
use crate::back::Process;
use crate::command::Command;
use crate::config::Limits;
use crate::message::{Message, reply};

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("all {0} sessions are in use; try again later")]
    Full(usize),
    #[error("the bridge is shutting down")]
    Stopping,
    #[error("the server could not be started: {0}")]
    Start(#[source] io::Error),
    /// The server's process is there and the session is not: the error response says why.
    #[error("the server did not open a session")]
    Handshake(String),
}

/// The sessions, and what is needed to open another.
#[derive(Debug)]
pub(crate) struct Sessions {
    command: Command,
    limits: Arc<Limits>,
    map: Arc<Mutex<HashMap<String, Arc<Session>>>>,
    /// One for each process, given back when it is gone.
    slots: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Sessions {
    pub(crate) fn new(command: Command, limits: Arc<Limits>) -> Self {
        Self {
            command,
            map: Arc::default(),
            slots: Arc::new(Semaphore::new(limits.max_sessions.min(Semaphore::MAX_PERMITS))),
            limits,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// A session that is open.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Session>> {
        let session = lock(&self.map).get(id).cloned();
        session.filter(|session| session.is_open())
    }

    /// How many sessions are open.
    pub(crate) fn len(&self) -> usize {
        lock(&self.map).values().filter(|session| session.is_open()).count()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Starts a process and hands it the client's `initialize`: the session with the server's answer, or nothing
    /// that remains.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is ended.
    pub(crate) async fn initialize(&self, request: &Message) -> Result<(Arc<Session>, String), OpenError> {
        let opening = Opening(Some(self.start()?));
        // Just put in, and taken out by nobody else.
        let Some(session) = opening.0.clone() else {
            return Err(OpenError::Stopping);
        };

        let handshake = async {
            match session.call(request).await {
                Ok(mut answers) => answers.next().await,
                Err(_) => None,
            }
        };
        let limit = self.limits.handshake_timeout;
        let failed = |end: &dyn std::fmt::Display| {
            let id = request.id().map(crate::message::Id::raw);
            OpenError::Handshake(reply::error(id, reply::INTERNAL_ERROR, &end.to_string()))
        };
        match timeout(limit, handshake).await {
            Ok(Some(Frame::Answer { line, failed: false })) => {
                self.keep(opening);
                Ok((session, line))
            }
            Ok(Some(Frame::Answer { line, .. } | Frame::Message(line))) => {
                session.close(End::HandshakeRefused);
                Err(OpenError::Handshake(line))
            }
            Ok(None) => Err(failed(&Refusal::Gone)),
            Err(_) => {
                let end = End::HandshakeTimeout(limit);
                session.close(end.clone());
                Err(failed(&end))
            }
        }
    }

    /// Ends all sessions at once and waits until the last process is gone. No session can be opened any more.
    pub(crate) async fn shutdown(&self) {
        self.stop();
        self.tasks.wait().await;
    }

    /// The same without waiting.
    pub(crate) fn stop(&self) {
        self.tasks.close();
        self.stop.cancel();
    }

    fn start(&self) -> Result<Arc<Session>, OpenError> {
        if self.is_stopping() {
            return Err(OpenError::Stopping);
        }
        let slot = Arc::clone(&self.slots)
            .try_acquire_owned()
            .map_err(|_| OpenError::Full(self.limits.max_sessions))?;
        let (process, pipes) = Process::start(&self.command).map_err(|error| {
            tracing::error!(program = ?self.command.program(), %error, "the server could not be started");
            OpenError::Start(error)
        })?;
        let (session, inbox) = Session::new(Uuid::new_v4().to_string(), Arc::clone(&self.limits));
        let span = tracing::info_span!("session", session = session.label());
        let supervised = supervise(Arc::clone(&session), process, pipes, inbox, self.stop.clone());
        let map = Arc::clone(&self.map);
        let id = session.id().to_owned();
        self.tasks.spawn(
            async move {
                supervised.await;
                lock(&map).remove(&id);
                drop(slot);
            }
            .instrument(span),
        );
        Ok(session)
    }

    /// Makes a session known to its client. One that has ended meanwhile is not: nobody would take it out again.
    fn keep(&self, mut opening: Opening) {
        let Some(session) = opening.0.take() else { return };
        session.lock().initialized = true;
        let mut map = lock(&self.map);
        if session.is_open() {
            map.insert(session.id().to_owned(), session);
        }
    }
}

fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session whose client does not know its id yet. If the client goes away, nobody ever will.
struct Opening(Option<Arc<Session>>);

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(session) = &self.0 {
            session.close(End::HandshakeAbandoned);
        }
    }
}
