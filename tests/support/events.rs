//! What a server reports, kept.

use std::sync::{Arc, Mutex};

use mcp_oauth_core::audit::{AuditSink, Event};

/// Keeps every event. Clones keep them together.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Mutex<Vec<Event>>>);

impl Events {
    /// Everything so far, in its order.
    #[must_use]
    pub fn so_far(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
}

impl AuditSink for Events {
    fn record(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}
