//! What a server reports, kept.

use std::sync::{Arc, Mutex};

use mcp_oauth_core::audit::{AuditSink, Event, Outcome};

/// Keeps every event. Clones keep them together.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Mutex<Vec<Event>>>);

impl Events {
    /// Everything so far, in its order.
    #[must_use]
    pub fn so_far(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// What was done so far, in its order, and whether it went well.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(&'static str, bool)> {
        let succeeded = |event: &Event| matches!(event.outcome, Outcome::Success);
        let events = self.0.lock().unwrap();
        events
            .iter()
            .map(|event| (event.action.as_str(), succeeded(event)))
            .collect()
    }
}

impl AuditSink for Events {
    fn record(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}
