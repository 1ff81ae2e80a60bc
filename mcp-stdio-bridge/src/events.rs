//! What has been sent as events, for clients whose connection broke.
//!
//! From MCP 2025-03-26 to 2025-11-25 an event stream can be resumed: the client names the last event it has seen, and
//! gets what came after it. That needs memory, and memory needs a bound: of each session the newest events are kept,
//! as many as the store allows. A session's events go with the session.
//!
//! ```
//! use mcp_stdio_bridge::{EventStore, MemoryEvents};
//!
//! let store = MemoryEvents::new(2, 1024);
//! for (number, text) in [(1, "one"), (2, "two"), (3, "three")] {
//!     store.append("session", 7, number, text);
//! }
//! // The first has gone for the third.
//! let kept: Vec<u64> = store.after("session", 7, 0).into_iter().map(|(number, _)| number).collect();
//! assert_eq!(kept, [2, 3]);
//! store.forget("session");
//! assert!(store.after("session", 7, 0).is_empty());
//! ```

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keeps the events of sessions until they are asked for again or forgotten.
///
/// A store is called while messages pass, so it answers at once: one that keeps events elsewhere writes behind. Events
/// of one stream come with growing numbers.
pub trait EventStore: Send + Sync + fmt::Debug {
    /// Keeps an event: the JSON of one message, under its number in its stream.
    fn append(&self, session: &str, stream: u64, number: u64, data: &str);

    /// The events of a stream that came after a number, the oldest first, as far as they are still there.
    fn after(&self, session: &str, stream: u64, number: u64) -> Vec<(u64, Arc<str>)>;

    /// Forgets a session that is over.
    fn forget(&self, session: &str);
}

/// Keeps events in this process, and of each session no more than its bounds.
#[derive(Debug)]
pub struct MemoryEvents {
    events: usize,
    bytes: usize,
    sessions: Mutex<HashMap<Box<str>, Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    queue: VecDeque<Event>,
    bytes: usize,
}

#[derive(Debug)]
struct Event {
    stream: u64,
    number: u64,
    data: Arc<str>,
}

impl MemoryEvents {
    /// Keeps of each session at most so many events, and of those no more than so many bytes.
    #[must_use]
    pub fn new(events: usize, bytes: usize) -> Self {
        Self {
            events,
            bytes,
            sessions: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Kept>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryEvents {
    /// 256 events and 1 MiB of each session.
    fn default() -> Self {
        Self::new(256, 1024 * 1024)
    }
}

impl EventStore for MemoryEvents {
    fn append(&self, session: &str, stream: u64, number: u64, data: &str) {
        let mut sessions = self.lock();
        if !sessions.contains_key(session) {
            sessions.insert(session.into(), Kept::default());
        }
        let Some(kept) = sessions.get_mut(session) else { return };
        kept.bytes += data.len();
        kept.queue.push_back(Event {
            stream,
            number,
            data: data.into(),
        });
        // The newest is kept whatever its size: its client may not have seen it yet.
        while kept.queue.len() > 1 && (kept.queue.len() > self.events || kept.bytes > self.bytes) {
            if let Some(oldest) = kept.queue.pop_front() {
                kept.bytes -= oldest.data.len();
            }
        }
    }

    fn after(&self, session: &str, stream: u64, number: u64) -> Vec<(u64, Arc<str>)> {
        let sessions = self.lock();
        let kept = sessions.get(session).into_iter().flat_map(|kept| &kept.queue);
        kept.filter(|event| event.stream == stream && event.number > number)
            .map(|event| (event.number, Arc::clone(&event.data)))
            .collect()
    }

    fn forget(&self, session: &str) {
        self.lock().remove(session);
    }
}
