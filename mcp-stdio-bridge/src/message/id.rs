//! A JSON-RPC id: as it was written, and as it compares.
//!
//! An id has to come back exactly as the client wrote it, while an id that is looked up may be written differently
//! by the other side (`"a"` and `"\u0061"`, `1` and `1.0`). A number and a string are never the same id.

use std::sync::Arc;

use super::text_of;

/// The id of a request, or another value of the same form such as a progress token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Id {
    raw: Arc<str>,
    key: Key,
}

/// What two spellings of one id have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Number(Arc<str>),
    String(Arc<str>),
}

impl Id {
    pub(super) fn read(raw: &str) -> Option<Self> {
        let first = *raw.as_bytes().first()?;
        let raw: Arc<str> = match first {
            b'"' | b'-' | b'0'..=b'9' => raw.into(),
            _ => return None,
        };
        let key = match first {
            b'"' => Key::String(text_of(&raw)?.into()),
            _ => Key::Number(number(&raw)),
        };
        Some(Self { raw, key })
    }

    /// As it was written.
    pub(crate) fn raw(&self) -> &str {
        &self.raw
    }

    /// As it compares.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The bridge's own number, come back from a server. Some servers turn numbers into strings.
    pub(crate) fn own(&self) -> Option<u64> {
        match &self.key {
            Key::Number(text) | Key::String(text) => text.parse().ok(),
        }
    }
}

/// `1`, `1.0` and `1e0` are one number. Outside of what a double holds exactly, the spelling decides.
fn number(raw: &Arc<str>) -> Arc<str> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if raw.bytes().all(|byte| byte.is_ascii_digit()) {
        return Arc::clone(raw);
    }
    match raw.parse::<f64>() {
        Ok(value) if value.fract() == 0.0 && value.abs() <= EXACT => format!("{value:.0}").into(),
        _ => Arc::clone(raw),
    }
}
