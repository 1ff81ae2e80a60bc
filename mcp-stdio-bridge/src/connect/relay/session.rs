//! The session with the server: what is known of it, and how another like it is begun when the server has lost it.

use std::sync::{Arc, MutexGuard, PoisonError};

use http::HeaderValue;
use serde_json::Value;

use super::Relay;
use super::answer::Asked;
use crate::connect::transport::RequestError;
use crate::message::{Kind, Message};

/// What is known of the session.
#[derive(Debug, Default, Clone)]
pub(super) struct Session {
    pub(super) id: Option<HeaderValue>,
    pub(super) version: Option<HeaderValue>,
    /// The client's `initialize`, for another session like the first.
    initialize: Option<Message>,
    /// Which session it is, of those that there were.
    pub(super) generation: u64,
}

impl Session {
    /// The one that this `initialize` of the client's begins, after another.
    pub(super) fn begun_by(initialize: &Message, before: &Self) -> Self {
        Self {
            initialize: Some(initialize.clone()),
            generation: before.generation + 1,
            ..Self::default()
        }
    }
}

impl Relay {
    /// Begins a session like the one that the server has lost, unless somebody has.
    pub(super) async fn begin_again(self: &Arc<Self>, lost: u64) -> Result<(), RequestError> {
        let _one = self.beginning.lock().await;
        let before = self.session().clone();
        if before.generation != lost {
            return Ok(());
        }
        let failed = |reason: &str| RequestError::SessionLost(reason.to_owned());
        let initialize = before.initialize.ok_or_else(|| failed("it was never begun here"))?;
        tracing::info!("the server has ended the session; another is begun");
        self.stop_listening();
        {
            let mut session = self.session();
            session.id = None;
            session.version = None;
        }
        let Some(place) = initialize.id_member() else {
            return Err(failed("it was never begun here"));
        };
        let text = initialize.line(&[(&place, super::OWN_ID)]);
        let message = Message::parse(text.into_bytes()).map_err(|_| failed("it was never begun here"))?;
        let Kind::Request { id, .. } = message.kind() else {
            return Err(failed("it was never begun here"));
        };
        let own = Asked {
            message: &message,
            id,
            modern: false,
            own: true,
        };
        let answer = Box::pin(self.ask(&own)).await?;
        if matches!(answer.kind(), Kind::Response { failed: true, .. }) {
            return Err(failed("the server refused to begin another"));
        }
        if self.session().version != before.version {
            return Err(failed("it would speak another version of the protocol"));
        }
        let initialized = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_vec();
        if let Ok(initialized) = Message::parse(initialized) {
            self.tell(&initialized).await;
        }
        self.session().generation += 1;
        self.listen();
        Ok(())
    }

    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The version that the answer to `initialize` settles for.
pub(super) fn version_of(result: &str) -> Option<HeaderValue> {
    let result: Value = serde_json::from_str(result).ok()?;
    HeaderValue::from_str(result["protocolVersion"].as_str()?).ok()
}
