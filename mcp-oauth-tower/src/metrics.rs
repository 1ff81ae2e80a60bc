//! What can be measured of protected resources (feature `metrics`), beside
//! [what the core measures](mcp_oauth_core::metrics).
//!
//! | name | type | labels |
//! |---|---|---|
//! | [`ACCESS_DECISIONS`] | counter | `resource`, `outcome` |
//!
//! `resource` is the URI of a resource that the operator has configured, `outcome` is `success` or the
//! [name of the refusal](crate::refusal::Refusal::name). Install the recorder before requests come: where a layer has
//! counted its first request, it counts on with what was installed then, which costs a good request an atomic addition and
//! nothing more.
//!
//! ```
//! // After a recorder was installed; the metrics of the core are described along.
//! mcp_oauth_tower::metrics::describe();
//! ```

use metrics::{Unit, describe_counter};

/// Requests to protected resources, at the layer and at `/verify`: admitted, or why not.
pub const ACCESS_DECISIONS: &str = "mcp_oauth_access_decisions_total";

/// Tells the recorder what the metrics of this crate and of the core are. Once, after it was installed.
pub fn describe() {
    mcp_oauth_core::metrics::describe();
    describe_counter!(
        ACCESS_DECISIONS,
        Unit::Count,
        "Requests to protected resources, admitted or refused"
    );
}
