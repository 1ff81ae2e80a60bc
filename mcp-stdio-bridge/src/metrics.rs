//! What can be measured of the servers behind the bridge, and by which names (feature `metrics`).
//!
//! With this feature the crate tells the [`metrics`](https://docs.rs/metrics) facade what happens. It brings no exporter: the
//! program installs one and calls [`describe`] after that, before it serves: what a server's first message is counted with,
//! its later ones are.
//!
//! | name | type | labels |
//! |---|---|---|
//! | [`CHILDREN`] | gauge | `server` |
//! | [`CHILDREN_STARTED`] | counter | `server` |
//! | [`CHILDREN_ENDED`] | counter | `server`, `reason` |
//! | [`START_FAILURES`] | counter | `server` |
//! | [`SESSIONS`] | gauge | `server` |
//! | [`REQUESTS_IN_FLIGHT`] | gauge | `server` |
//! | [`REQUEST_DURATION`] | histogram, seconds | `server`, `method`, `outcome` |
//! | [`SENT_BYTES`], [`RECEIVED_BYTES`] | counter, bytes | `server` |
//!
//! `server` is the [name](crate::BridgeBuilder::name) that the operator has given. `method` is one that the protocol has, or
//! `other`.
//!
//! ```
//! // After a recorder was installed:
//! mcp_stdio_bridge::metrics::describe();
//! ```

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Server processes that are in use.
pub const CHILDREN: &str = "mcp_bridge_children";

/// Server processes that were put to use, spares not before somebody uses them.
pub const CHILDREN_STARTED: &str = "mcp_bridge_children_started_total";

/// Server processes that have ended. `reason` is `exited`, `pipe_closed` or `handshake_timeout` where nobody had asked them
/// to end.
pub const CHILDREN_ENDED: &str = "mcp_bridge_children_ended_total";

/// Starts that have failed.
pub const START_FAILURES: &str = "mcp_bridge_start_failures_total";

/// Sessions that are open.
pub const SESSIONS: &str = "mcp_bridge_sessions";

/// Requests that wait for a server's answer.
pub const REQUESTS_IN_FLIGHT: &str = "mcp_bridge_requests_in_flight";

/// How long requests waited for a server's answer; `outcome` is `success`, `error` where the server has answered with one,
/// or why there was no answer.
pub const REQUEST_DURATION: &str = "mcp_bridge_request_duration_seconds";

/// What was written to the servers' stdin.
pub const SENT_BYTES: &str = "mcp_bridge_sent_bytes_total";

/// What was read from the servers' stdout.
pub const RECEIVED_BYTES: &str = "mcp_bridge_received_bytes_total";

/// Tells the recorder what the metrics of this crate are. Once, after it was installed.
pub fn describe() {
    describe_gauge!(CHILDREN, Unit::Count, "Server processes in use");
    describe_counter!(CHILDREN_STARTED, Unit::Count, "Server processes that were put to use");
    describe_counter!(CHILDREN_ENDED, Unit::Count, "Server processes that have ended, and why");
    describe_counter!(
        START_FAILURES,
        Unit::Count,
        "Starts of server processes that have failed"
    );
    describe_gauge!(SESSIONS, Unit::Count, "Sessions that are open");
    describe_gauge!(
        REQUESTS_IN_FLIGHT,
        Unit::Count,
        "Requests that wait for a server's answer"
    );
    describe_histogram!(
        REQUEST_DURATION,
        Unit::Seconds,
        "Time that requests waited for a server's answer"
    );
    describe_counter!(SENT_BYTES, Unit::Bytes, "Bytes written to servers");
    describe_counter!(RECEIVED_BYTES, Unit::Bytes, "Bytes read from servers");
}
