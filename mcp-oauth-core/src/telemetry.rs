//! What this crate tells of itself while it works: spans for traces, and measurements for metrics.
//!
//! Spans have the target `mcp_oauth::trace` and the level DEBUG, so that a log at INFO does not see them and what exports
//! traces can ask for them alone. What they hold is from short lists: the name of an operation, how it ended. Metrics are
//! those of the module `metrics`, if the crate has that feature; without it nothing is measured.

use std::future::Future;

use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::audit::{Action, Event};

/// How a call ended that did not fail.
pub(crate) const SUCCESS: &str = "success";

/// When a call began.
#[derive(Clone, Copy, Debug)]
struct Began(#[cfg(feature = "metrics")] std::time::Instant);

impl Began {
    fn now() -> Self {
        // What is measured is the machine, not the protocol, so this is no clock of the server's.
        Self(
            #[cfg(feature = "metrics")]
            std::time::Instant::now(),
        )
    }
}

/// Notes in the span of the step what came of it, and counts it.
pub(crate) fn event(event: &Event) {
    let outcome = event.outcome_name();
    // Of the step that is under way, the end of a grant is only a part.
    if !matches!(event.action, Action::EndGrant(_)) {
        let span = Span::current();
        span.record("oauth.outcome", outcome);
        if let Some(detail) = event.action.detail() {
            span.record("oauth.detail", detail);
        }
    }
    #[cfg(feature = "metrics")]
    metrics::counter!(
        crate::metrics::EVENTS,
        "action" => event.action.as_str(),
        "detail" => event.action.detail().unwrap_or_default(),
        "outcome" => outcome,
    )
    .increment(1);
}

/// Counts that a quota was found used up.
pub(crate) fn quota_used_up(work: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!(crate::metrics::QUOTA_REFUSALS, "work" => work).increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = work;
}

/// A call to the store.
pub(crate) async fn store_call<T, E>(
    operation: &'static str,
    kind: &'static str,
    call: impl Future<Output = Result<T, E>>,
    name: impl FnOnce(&E) -> &'static str,
) -> Result<T, E> {
    let span = tracing::debug_span!(
        target: "mcp_oauth::trace",
        "store",
        otel.kind = "client",
        db.operation.name = operation,
        db.collection.name = kind,
        error.type = Empty,
        otel.status_code = Empty,
    );
    let (result, outcome, began) = watched(span, call, name).await;
    #[cfg(feature = "metrics")]
    metrics::histogram!(crate::metrics::STORE_CALL_DURATION, "operation" => operation, "outcome" => outcome)
        .record(began.0.elapsed());
    #[cfg(not(feature = "metrics"))]
    let _ = (outcome, began);
    result
}

/// A question to an identity provider. What it takes may be known already, and then nobody is asked.
pub(crate) async fn upstream_call<T, E>(
    provider: &str,
    operation: &'static str,
    call: impl Future<Output = Result<T, E>>,
    name: impl FnOnce(&E) -> &'static str,
) -> Result<T, E> {
    let span = tracing::debug_span!(
        target: "mcp_oauth::trace",
        "upstream",
        provider,
        operation,
        error.type = Empty,
        otel.status_code = Empty,
    );
    let (result, outcome, began) = watched(span, call, name).await;
    #[cfg(feature = "metrics")]
    metrics::histogram!(
        crate::metrics::UPSTREAM_CALL_DURATION,
        "provider" => provider.to_owned(),
        "operation" => operation,
        "outcome" => outcome,
    )
    .record(began.0.elapsed());
    #[cfg(not(feature = "metrics"))]
    let _ = (outcome, began);
    result
}

/// A request to somebody else's server. Its URL may be a stranger's, so only the method is told.
#[cfg(feature = "fetch")]
pub(crate) async fn outbound_request<T, E>(
    by: &'static str,
    call: impl Future<Output = Result<T, E>>,
    name: impl FnOnce(&E) -> &'static str,
) -> Result<T, E> {
    let span = tracing::debug_span!(
        target: "mcp_oauth::trace",
        "request",
        otel.kind = "client",
        by,
        error.type = Empty,
        otel.status_code = Empty,
    );
    let (result, outcome, began) = watched(span, call, name).await;
    #[cfg(feature = "metrics")]
    metrics::histogram!(crate::metrics::OUTBOUND_REQUEST_DURATION, "by" => by, "outcome" => outcome)
        .record(began.0.elapsed());
    #[cfg(not(feature = "metrics"))]
    let _ = (outcome, began);
    result
}

/// Makes a call within its span.
async fn watched<T, E>(
    span: Span,
    call: impl Future<Output = Result<T, E>>,
    name: impl FnOnce(&E) -> &'static str,
) -> (Result<T, E>, &'static str, Began) {
    let began = Began::now();
    let result = call.instrument(span.clone()).await;
    let outcome = result.as_ref().err().map_or(SUCCESS, name);
    if result.is_err() {
        span.record("error.type", outcome);
        span.record("otel.status_code", "ERROR");
    }
    (result, outcome, began)
}
