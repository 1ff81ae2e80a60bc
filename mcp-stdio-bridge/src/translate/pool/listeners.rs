//! Streams that hear of changes: what a process says has changed goes to those that have asked for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::child::{Child, End};
use crate::message::{Message, reply};
use crate::stream::{Frame, Put, Stream};
use crate::translate::error;
use crate::translate::modern_to_legacy::{listened, tagged};

/// Those of one client.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<Vec<Listener>>);

/// A stream that hears of changes.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) number: u64,
    pub(crate) child: Arc<Child>,
    /// Raw.
    pub(crate) id: String,
    pub(crate) methods: Vec<&'static str>,
    pub(crate) uris: Vec<String>,
    pub(crate) stream: Arc<Stream>,
}

impl Listeners {
    /// Adds a stream that hears of changes; the server is asked for those of resources.
    pub(crate) fn add(&self, listener: Listener) {
        for uri in &listener.uris {
            if !self.lock().iter().any(|other| other.subscribes(&listener.child, uri)) {
                subscribe(&listener.child, "resources/subscribe", uri);
            }
        }
        self.lock().push(listener);
    }

    /// Takes it away again: of what nobody else hears of, the server is told that it is not asked for any more.
    pub(crate) fn remove(&self, number: u64) {
        let removed = {
            let mut listeners = self.lock();
            let index = listeners.iter().position(|listener| listener.number == number);
            index.map(|index| listeners.remove(index))
        };
        let Some(removed) = removed else { return };
        for uri in &removed.uris {
            if !self.lock().iter().any(|other| other.subscribes(&removed.child, uri)) {
                subscribe(&removed.child, "resources/unsubscribe", uri);
            }
        }
    }

    /// Hands on what a process says has changed.
    pub(super) fn hear(&self, child: &Arc<Child>, message: &Message, method: &str) {
        let uri = message.param_text("uri");
        for listener in &*self.lock() {
            if listener.wants(child, method, uri.as_deref()) {
                listener.hear(message);
            }
        }
    }

    /// Ends those of a process that is over.
    pub(super) fn ended(&self, child: &Arc<Child>, end: &End) {
        self.lock().retain(|listener| {
            let theirs = Arc::ptr_eq(&listener.child, child);
            if theirs {
                let frame = error(&listener.id, reply::INTERNAL_ERROR, &end.to_string());
                listener.stream.put(frame);
            }
            !theirs
        });
    }

    /// Ends all as the protocol has it.
    pub(super) fn finish(&self) {
        for listener in std::mem::take(&mut *self.lock()) {
            listener.stream.put(listened(&listener.id));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    fn subscribes(&self, child: &Arc<Child>, uri: &str) -> bool {
        Arc::ptr_eq(&self.child, child) && self.uris.iter().any(|wanted| wanted == uri)
    }

    /// What has changed in one process has changed for the client, but for resources, which it subscribed to in one.
    fn wants(&self, child: &Arc<Child>, method: &str, uri: Option<&str>) -> bool {
        match uri {
            Some(uri) if method == "notifications/resources/updated" => self.subscribes(child, uri),
            _ => self.methods.contains(&method),
        }
    }

    fn hear(&self, message: &Message) {
        let line = tagged(message, &self.id);
        // Nobody waits for one that is slow, and what it misses is that something has changed.
        if self.stream.put(Frame::Message(line)) == Put::Full {
            tracing::warn!("a client does not read what it listens to and was cut off");
            self.stream
                .put(error(&self.id, reply::OVERLOADED, "the client does not read"));
        }
    }
}

fn subscribe(child: &Arc<Child>, method: &str, uri: &str) {
    let uri = serde_json::Value::from(uri);
    child.tell(format!(
        r#"{{"jsonrpc":"2.0","id":"{method} {}","method":"{method}","params":{{"uri":{uri}}}}}"#,
        uuid::Uuid::new_v4()
    ));
}
