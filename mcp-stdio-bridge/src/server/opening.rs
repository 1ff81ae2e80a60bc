//! How a session is opened: with a process of its own, with one that is shared, or translated.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};

use uuid::Uuid;

use super::Server;
use crate::caller::{Caller, CallerKey};
use crate::child::Child;
use crate::config::Share;
use crate::era::{Probed, initialize, probe};
use crate::message::{self, Id, Message, reply};
use crate::session::table::Bounds;
use crate::session::{Parts, Session};
use crate::shared::Shared;
use crate::start::{OpenError, Opening};
use crate::translate::legacy_to_modern::LegacyToModern;
use crate::versions::Version;

impl Server {
    /// Opens a session for the client that has sent this `initialize`: with it comes the server's answer.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, what was started for the session is ended.
    pub(crate) async fn open(
        self: &Arc<Self>,
        request: &Message,
        caller: Option<&Caller>,
    ) -> Result<(Arc<Session>, String), OpenError> {
        if self.is_stopping() {
            return Err(OpenError::Stopping);
        }
        let owner = Self::owner(caller);
        let bounds = Bounds {
            all: self.limits.max_sessions,
            per_caller: self.limits.max_sessions_per_caller,
        };
        self.sessions.room(&owner, bounds).map_err(OpenError::Full)?;
        self.sweep_from_now_on();
        let (session, line) = if self.eras.legacy() == Some(false) {
            self.open_translated(request, caller, owner).await?
        } else {
            let opened = match self.share {
                Share::PerSession => self.open_alone(request, caller, owner.clone()).await,
                Share::PerUser | Share::Shared => self.open_shared(request, caller, owner.clone()).await,
            };
            match opened {
                Err(OpenError::Refused(line)) if self.eras.legacy().is_none() => {
                    match self.open_translated(request, caller, owner).await {
                        Ok(opened) => {
                            self.eras.set_legacy(false);
                            opened
                        }
                        // Then it was the client's `initialize` that the server did not like.
                        Err(_) => return Err(OpenError::Refused(line)),
                    }
                }
                opened => opened?,
            }
        };
        session.agreed(version_of(&line));
        self.sessions.insert(&session);
        tracing::info!(
            session = session.label(),
            of = session.child().label(),
            "a session was opened"
        );
        Ok((session, line))
    }

    async fn open_alone(
        &self,
        request: &Message,
        caller: Option<&Caller>,
        owner: CallerKey,
    ) -> Result<(Arc<Session>, String), OpenError> {
        let child = match self.starter.start(caller, true) {
            Err(OpenError::Processes(_)) if self.make_room() => self.starter.start_soon(caller, true).await?,
            started => started?,
        };
        let session = self.new_session(Arc::clone(&child), true, owner);
        let home: Weak<Session> = Arc::downgrade(&session);
        child.serve(home);
        let opening = Opening::of(child);
        let line = initialize(&self.starter, &self.eras, session.child(), request, session.number()).await?;
        opening.done();
        Ok((session, line))
    }

    async fn open_shared(
        &self,
        request: &Message,
        caller: Option<&Caller>,
        owner: CallerKey,
    ) -> Result<(Arc<Session>, String), OpenError> {
        let capabilities = request.params().map(|params| {
            let [capabilities] = request.members(params, ["capabilities"]);
            capabilities.map(|capabilities| request.text(&capabilities).to_owned())
        });
        let by = (self.isolation(caller), capabilities.flatten().unwrap_or_default());
        let place = {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(shared.entry(by).or_default())
        };
        let mut place = place.lock().await;
        let current = place.as_ref().filter(|shared| shared.child().is_open()).cloned();
        let shared = if let Some(shared) = current {
            shared
        } else {
            let child = self.starter.start_soon(caller, false).await?;
            let opening = Opening::of(Arc::clone(&child));
            let line = initialize(&self.starter, &self.eras, &child, request, 0).await?;
            opening.done();
            let message = Message::parse(line.into_bytes()).map_err(|_| OpenError::Abandoned)?;
            let shared = Shared::new(child, message.outcome().unwrap_or("{}").into());
            *place = Some(Arc::clone(&shared));
            shared
        };
        let session = self.new_session(Arc::clone(shared.child()), false, owner);
        shared.join(&session);
        session.translate(Arc::new(crate::shared::Member::new(Arc::clone(&shared), &session)));
        let line = reply::result(request.id().map_or("null", Id::raw), shared.initialized());
        Ok((session, line))
    }

    async fn open_translated(
        &self,
        request: &Message,
        caller: Option<&Caller>,
        owner: CallerKey,
    ) -> Result<(Arc<Session>, String), OpenError> {
        let mut probed = probe(&self.starter, &self.eras, caller, true).await?;
        if let Probed::Silent(silent) = probed {
            probed = silent.listen(self.limits.handshake_timeout).await;
        }
        let Probed::Modern(server) = probed else {
            let text = "the server speaks no version of the protocol that is known here";
            return Err(OpenError::Refused(reply::error(
                request.id().map(Id::raw),
                reply::INTERNAL_ERROR,
                text,
            )));
        };
        let child = Arc::clone(&server.child);
        let translator = LegacyToModern::new(server, request);
        let session = self.new_session(child, true, owner);
        translator.belongs_to(&session);
        let line = translator.initialized(request);
        session.translate(translator);
        Ok((session, line))
    }

    fn new_session(&self, child: Arc<Child>, alone: bool, owner: CallerKey) -> Arc<Session> {
        let parts = Parts {
            number: self.number.fetch_add(1, Ordering::Relaxed),
            owner,
            child,
            alone,
            store: Arc::clone(&self.store),
        };
        Session::new(Uuid::new_v4().to_string().into(), parts, &self.limits)
    }
}

/// The version that the answer to `initialize` names.
fn version_of(line: &str) -> Version {
    let Ok(message) = Message::parse(line.as_bytes().to_vec()) else {
        return Version::default();
    };
    let [version] = message.members(message.outcome().unwrap_or_default(), ["protocolVersion"]);
    let version =
        version.and_then(|version| message::text_of(message.text(&version)).map(std::borrow::Cow::into_owned));
    version.map_or_else(Version::default, |version| Version::named(&version))
}
