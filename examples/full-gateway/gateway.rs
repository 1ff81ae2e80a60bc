//! The gateway, put together, and put together anew when it is told to reload.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::Request;
use mcp_oauth_core::secret::Secret;
use mcp_stdio_bridge::Bridge;
use tokio_util::sync::CancellationToken;

use crate::authorization::Foundation;
use crate::configuration::Configuration;
use crate::echo::Sessions;
use crate::telemetry::{Observer, Telemetry};

pub(crate) use generation::Generation;
use generation::{Parts, Running};

mod generation;

/// What outlives every reload, and what counts at the moment.
pub(crate) struct Gateway {
    foundation: Foundation,
    observer: Observer,
    /// Binds sessions to their callers, before and after a reload.
    session_secret: Secret,
    echo_sessions: Arc<Sessions>,
    /// Ends with the gateway, as do those that were made of it.
    pub(crate) ended: CancellationToken,
    pub(crate) configuration: Configuration,
    current: Arc<RwLock<Arc<Generation>>>,
}

/// What a reload has done.
#[derive(Debug)]
pub(crate) struct Reloaded {
    /// Settings that count from the next start on.
    pub(crate) kept: Vec<&'static str>,
    /// The bridges that nobody is sent to any more.
    pub(crate) removed: Vec<Bridge>,
}

impl Gateway {
    /// Puts the gateway together. Nothing runs yet.
    pub(crate) fn build(configuration: Configuration, telemetry: &Telemetry) -> anyhow::Result<Self> {
        let foundation = Foundation::lay(&configuration, telemetry.audit())?;
        let parts = Parts {
            foundation: &foundation,
            observer: &telemetry.observer(),
            session_secret: &Secret::random(),
            echo_sessions: &Arc::default(),
            ended: &CancellationToken::new(),
        };
        let generation = parts.generation(&configuration, &BTreeMap::new())?;
        let (observer, session_secret, echo_sessions, ended) = (
            parts.observer.clone(),
            parts.session_secret.clone(),
            Arc::clone(parts.echo_sessions),
            parts.ended.clone(),
        );
        Ok(Self {
            foundation,
            observer,
            session_secret,
            echo_sessions,
            ended,
            configuration,
            current: Arc::new(RwLock::new(Arc::new(generation))),
        })
    }

    /// What counts at the moment.
    pub(crate) fn current(&self) -> Arc<Generation> {
        now(&self.current)
    }

    /// All that is served, whatever that is at the moment of a request. What is in flight stays where it began.
    pub(crate) fn router(&self) -> Router {
        let current = Arc::clone(&self.current);
        Router::new().fallback(move |request: Request| {
            let generation = now(&current);
            async move { generation.sites.serve(request).await }
        })
    }

    /// Makes sure that there are keys to sign with.
    pub(crate) async fn prepare(&self) -> anyhow::Result<()> {
        self.current().prepare().await
    }

    /// Exchanges what is served for what `configuration` says. When that cannot be, everything stays as it was.
    pub(crate) async fn reload(&mut self, mut configuration: Configuration) -> anyhow::Result<Reloaded> {
        let kept = configuration.keep_of(&self.configuration);
        configuration.check()?;
        let before = self.current();
        let parts = Parts {
            foundation: &self.foundation,
            observer: &self.observer,
            session_secret: &self.session_secret,
            echo_sessions: &self.echo_sessions,
            ended: &self.ended,
        };
        let generation = parts.generation(&configuration, &before.running)?;
        generation.prepare().await?;
        let stays = |key: &str, old: &Running| generation.running.get(key).is_some_and(|new| new.is(old));
        let left = before.running.iter().filter(|(key, old)| !stays(key, old));
        let left: Vec<Running> = left.map(|(_, old)| old.clone()).collect();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(generation);
        self.configuration = configuration;
        // From here on nobody is sent to them.
        let mut removed = Vec::new();
        for running in left {
            running.ended.cancel();
            removed.extend(running.bridge().cloned());
        }
        Ok(Reloaded { kept, removed })
    }

    /// The bridges of what is served.
    pub(crate) fn bridges(&self) -> Vec<Bridge> {
        let current = self.current();
        current.running.values().filter_map(Running::bridge).cloned().collect()
    }
}

fn now(current: &RwLock<Arc<Generation>>) -> Arc<Generation> {
    Arc::clone(&current.read().unwrap_or_else(PoisonError::into_inner))
}
