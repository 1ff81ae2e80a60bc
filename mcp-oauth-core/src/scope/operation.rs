//! What a request to an MCP server is for: which method, and which tool, prompt or resource.
//!
//! That decides which scopes the caller needs, so it has to be read as the server behind will read it. Two readers differ in
//! what JSON leaves open, and each difference is a way around the rules: which of two members with the same name counts,
//! whether `Method` is `method`, what comes after the end. None of that is decided here. A body that another reader could
//! take for something else is [no message](InvalidMessage), and is refused:
//!
//! * every member of a message, and of its `params`, is there once;
//! * no member is spelt almost like one that decides (`Method`, `NAME`), in whatever letters count as the same;
//! * `method` is text, and so is the `name` or `uri` of a method that has one;
//! * a message is a request or an answer and not both; a batch has at least one message, and each of them counts;
//! * there is one JSON value, in UTF-8, and nothing after it.
//!
//! ```
//! use mcp_oauth_core::scope::operation::{InvalidMessage, Operation, operations};
//!
//! let call = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete","arguments":{}}}"#;
//! assert_eq!(operations(call)?, [Operation::call("tools/call", Some("delete"))]);
//! let twice = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}"#;
//! assert_eq!(operations(twice), Err(InvalidMessage::Twice));
//! # Ok::<_, InvalidMessage>(())
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

mod message;

pub use message::{InvalidMessage, MAXIMUM_BATCH, operations};

/// The first protocol version whose servers hold the headers `Mcp-Method` and `Mcp-Name` against the body (MCP 2026-07-28,
/// *Streamable HTTP*).
pub const HEADERS_SINCE: &str = "2026-07-28";

/// What one message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// A request or a notification.
    Call {
        /// Its method.
        method: String,
        /// The tool, the prompt, or the URI of the resource that it is about, where the method has one.
        name: Option<String>,
    },
    /// What has no method of its own: an answer to the server's own request, the stream that the server sends on (`GET`), the
    /// end of a session (`DELETE`).
    Session,
}

/// What the name of an operation is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tool,
    Prompt,
    Resource,
}

impl Kind {
    pub(super) fn of(method: &str) -> Option<Self> {
        match method {
            "tools/call" => Some(Self::Tool),
            "prompts/get" => Some(Self::Prompt),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Some(Self::Resource),
            _ => None,
        }
    }
}

impl Operation {
    /// A request for this method.
    #[must_use]
    pub fn call(method: &str, name: Option<&str>) -> Self {
        Self::Call {
            method: method.to_owned(),
            name: name.map(str::to_owned),
        }
    }

    /// What the headers `MCP-Protocol-Version`, `Mcp-Method` and `Mcp-Name` say, if the version is one of those in which the
    /// server holds them against the body: [`HEADERS_SINCE`] and later. A name may be in base64 (`=?base64?…?=`).
    ///
    /// Nothing if the version is older, or if the headers do not say what the method needs: then the body counts, or the most
    /// that there is.
    #[must_use]
    pub fn of_headers(version: &str, method: &str, name: Option<&str>) -> Option<Self> {
        if !has_checked_headers(version) || method.is_empty() {
            return None;
        }
        let name = match (Kind::of(method), name) {
            (Some(_), Some(name)) => Some(decoded(name)?),
            (Some(_), None) => return None,
            (None, _) => None,
        };
        Some(Self::Call {
            method: method.to_owned(),
            name,
        })
    }
}

/// Whether a server of this version of MCP refuses a request whose headers and body differ. Anything that is not a date is no
/// version.
#[must_use]
pub fn has_checked_headers(version: &str) -> bool {
    let date = version.len() == HEADERS_SINCE.len()
        && version.bytes().enumerate().all(|(position, byte)| match position {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    date && version >= HEADERS_SINCE
}

/// The value of an `Mcp-Name` header.
fn decoded(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows 192 and 193.
    #[test]
    fn headers_count_from_the_version_on_that_checks_them() {
        let of = |version, method, name| Operation::of_headers(version, method, name);
        let call = Some(Operation::call("tools/call", Some("a")));
        assert_eq!(of("2026-07-28", "tools/call", Some("a")), call);
        assert_eq!(of("2027-01-01", "tools/call", Some("=?base64?YQ==?=")), call);
        for version in [
            "2025-11-25",
            "2026-07-27",
            "",
            "9999",
            "2026-07-28 ",
            "2026-07-281",
            "zzzz-zz-zz",
            "2026/07/28",
            "draft",
        ] {
            assert_eq!(of(version, "tools/call", Some("a")), None, "{version}");
        }
        assert_eq!(
            of("2026-07-28", "tools/list", Some("a")),
            Some(Operation::call("tools/list", None))
        );
        assert_eq!(of("2026-07-28", "", None), None);
        assert_eq!(of("2026-07-28", "tools/call", None), None);
        for broken in ["=?base64?YQ?=", "=?base64?/w==?=", "=?base64?\u{20}?="] {
            assert_eq!(of("2026-07-28", "tools/call", Some(broken)), None, "{broken}");
        }
        let shout = Some(Operation::call("tools/call", Some("=?BASE64?YQ==?=")));
        assert_eq!(
            of("2026-07-28", "tools/call", Some("=?BASE64?YQ==?=")),
            shout,
            "it is a name like any other"
        );
    }

    proptest! {
        #[test]
        fn a_name_survives_its_header(name in any::<String>()) {
            let encoded = format!("=?base64?{}?=", STANDARD.encode(&name));
            let read = Operation::of_headers("2026-07-28", "tools/call", Some(&encoded));
            prop_assert_eq!(read, Some(Operation::call("tools/call", Some(&name))));
        }
    }
}
