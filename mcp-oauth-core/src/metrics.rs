//! What can be measured of a server, and by which names (feature `metrics`).
//!
//! With this feature the crate tells the [`metrics`](https://docs.rs/metrics) facade what happens. It brings no exporter: the
//! program installs one, such as `metrics-exporter-prometheus`, and calls [`describe`] after that. Without one, each
//! measurement costs a look at an atomic.
//!
//! | name | type | labels |
//! |---|---|---|
//! | [`EVENTS`] | counter | `action`, `detail`, `outcome` |
//! | [`QUOTA_REFUSALS`] | counter | `work` |
//! | [`STORE_CALL_DURATION`] | histogram, seconds | `operation`, `outcome` |
//! | [`UPSTREAM_CALL_DURATION`] | histogram, seconds | `provider`, `operation`, `outcome` |
//! | [`OUTBOUND_REQUEST_DURATION`] | histogram, seconds | `by`, `outcome` |
//!
//! The values of labels are from lists in this crate, or names that the operator has given (`provider`). None comes from a
//! request: no client, no person, no address, no URL. `outcome` is `success`, or what went wrong in a word; where OAuth has
//! one, it is that (`invalid_grant`).
//!
//! Calls to the store are seen by [`ObservedStore`](crate::store::observed::ObservedStore), which stands in front of one.
//!
//! ```
//! use mcp_oauth_core::metrics::{self, EVENTS};
//!
//! // After a recorder was installed:
//! metrics::describe();
//! assert_eq!(EVENTS, "mcp_oauth_events_total");
//! ```

use metrics::{Unit, describe_counter, describe_histogram};

/// [Audit events](crate::audit): what was tried, by which way (the grant type, why a grant ended, the operator's command; or
/// nothing), and how it ended.
pub const EVENTS: &str = "mcp_oauth_events_total";

/// How often a quota was found used up, by the [work](crate::limits) that it counts.
pub const QUOTA_REFUSALS: &str = "mcp_oauth_quota_refusals_total";

/// Calls to the store: how long they took, by operation and outcome.
pub const STORE_CALL_DURATION: &str = "mcp_oauth_store_call_duration_seconds";

/// Questions to identity providers: how long it took to know, by the provider's name, by what was asked, and by outcome.
pub const UPSTREAM_CALL_DURATION: &str = "mcp_oauth_upstream_call_duration_seconds";

/// Requests to other servers: how long they took. `by` is what made them: `fetcher`, the guarded client for metadata
/// documents, keys, introspection and OpenID Connect; or `github`.
pub const OUTBOUND_REQUEST_DURATION: &str = "mcp_oauth_outbound_request_duration_seconds";

/// Tells the recorder what the metrics of this crate are. Once, after it was installed.
pub fn describe() {
    describe_counter!(
        EVENTS,
        Unit::Count,
        "Steps of the protocol and commands of the operator, by outcome"
    );
    describe_counter!(QUOTA_REFUSALS, Unit::Count, "Requests that found a quota used up");
    describe_histogram!(STORE_CALL_DURATION, Unit::Seconds, "Time that calls to the store took");
    describe_histogram!(
        UPSTREAM_CALL_DURATION,
        Unit::Seconds,
        "Time that it took to learn something of an identity provider"
    );
    describe_histogram!(
        OUTBOUND_REQUEST_DURATION,
        Unit::Seconds,
        "Time that requests to other servers took"
    );
}
