//! The protocol versions, and what differs between them.

/// The version in which every request stands alone.
pub(crate) const MODERN: &str = "2026-07-28";

/// The versions with sessions, the newest first. 2024-11-05 had no streamable HTTP, but it is what many a server
/// settles for in `initialize`, and then the client names it.
pub(crate) const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// All, the newest first.
pub(crate) const ALL: [&str; 5] = [MODERN, LEGACY[0], LEGACY[1], LEGACY[2], LEGACY[3]];

/// A version with sessions, as the two sides have agreed on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Version {
    /// The one that streamable HTTP came with, and what is assumed where none is known.
    #[default]
    Oldest,
    /// 2025-03-26, the only one that has batches.
    Batches,
    /// 2025-06-18.
    WithoutBatches,
    /// 2025-11-25, in which an event stream begins with an event that says nothing, for the client to resume from.
    Priming,
}

impl Version {
    /// A version by its name. One that is not known is taken for what it is most like.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            name if name >= "2025-11-25" => Self::Priming,
            name if name >= "2025-06-18" => Self::WithoutBatches,
            "2025-03-26" => Self::Batches,
            _ => Self::Oldest,
        }
    }

    /// Whether a request may bring several messages.
    pub(crate) fn has_batches(self) -> bool {
        self == Self::Batches
    }

    /// Whether an event stream begins with an event without a message.
    pub(crate) fn has_priming(self) -> bool {
        self >= Self::Priming
    }
}
