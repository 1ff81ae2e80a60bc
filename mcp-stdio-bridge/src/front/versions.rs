//! The protocol versions that the front speaks.

/// The versions with sessions. 2024-11-05 had no streamable HTTP, but it is what many a server settles for in
/// `initialize`, and then the client names it.
pub(super) const VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
