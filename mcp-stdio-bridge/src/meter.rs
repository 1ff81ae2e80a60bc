//! What is seen of a server from outside: spans for traces, and measurements for metrics.
//!
//! Spans have the target `mcp_stdio_bridge::trace` and the level DEBUG, so that a log at INFO does not see them and what
//! exports traces can ask for them alone. Neither they nor metrics hold anything that a client or a server has written, but
//! for the names of methods that the protocol has. Without the feature `metrics` nothing is measured.

use tracing::Span;
use tracing::field::Empty;

use crate::child::{End, Failure, Label};

/// Measures one server. Clones measure the same one.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    server: Label,
    #[cfg(feature = "metrics")]
    instruments: std::sync::Arc<std::sync::OnceLock<Instruments>>,
}

/// What is looked up once, since every message needs it.
#[cfg(feature = "metrics")]
#[derive(Debug)]
struct Instruments {
    in_flight: metrics::Gauge,
    sent: metrics::Counter,
    received: metrics::Counter,
}

#[cfg(feature = "metrics")]
impl Meter {
    fn instruments(&self) -> &Instruments {
        self.instruments.get_or_init(|| Instruments {
            in_flight: metrics::gauge!(crate::metrics::REQUESTS_IN_FLIGHT, "server" => self.name()),
            sent: metrics::counter!(crate::metrics::SENT_BYTES, "server" => self.name()),
            received: metrics::counter!(crate::metrics::RECEIVED_BYTES, "server" => self.name()),
        })
    }

    fn name(&self) -> metrics::SharedString {
        std::sync::Arc::clone(&self.server).into()
    }
}

#[cfg_attr(
    not(feature = "metrics"),
    allow(clippy::unused_self, reason = "nothing is measured without that feature")
)]
impl Meter {
    /// Measures the server of this name.
    pub(crate) fn of(server: Label) -> Self {
        Self {
            server,
            #[cfg(feature = "metrics")]
            instruments: std::sync::Arc::default(),
        }
    }

    /// The span of a start.
    pub(crate) fn start(&self) -> Span {
        tracing::debug_span!(target: "mcp_stdio_bridge::trace", "start", server = &*self.server)
    }

    /// A process could not be started, or did not get through its start.
    pub(crate) fn start_failed(&self) {
        #[cfg(feature = "metrics")]
        metrics::counter!(crate::metrics::START_FAILURES, "server" => self.name()).increment(1);
    }

    /// A process was put to use; the answer counts it for as long as it is kept.
    pub(crate) fn started(&self) -> Alive {
        #[cfg(feature = "metrics")]
        {
            metrics::counter!(crate::metrics::CHILDREN_STARTED, "server" => self.name()).increment(1);
            metrics::gauge!(crate::metrics::CHILDREN, "server" => self.name()).increment(1.0);
        }
        Alive { meter: self.clone() }
    }

    /// A line was sent to the server, or come from it, of this many bytes.
    pub(crate) fn sent(&self, bytes: usize) {
        #[cfg(feature = "metrics")]
        self.instruments().sent.increment(bytes as u64);
        #[cfg(not(feature = "metrics"))]
        let _ = bytes;
    }

    pub(crate) fn received(&self, bytes: usize) {
        #[cfg(feature = "metrics")]
        self.instruments().received.increment(bytes as u64);
        #[cfg(not(feature = "metrics"))]
        let _ = bytes;
    }

    /// A session was opened, or is over.
    pub(crate) fn session_opened(&self) {
        #[cfg(feature = "metrics")]
        metrics::gauge!(crate::metrics::SESSIONS, "server" => self.name()).increment(1.0);
    }

    pub(crate) fn session_over(&self) {
        #[cfg(feature = "metrics")]
        metrics::gauge!(crate::metrics::SESSIONS, "server" => self.name()).decrement(1.0);
    }

    /// A request is handed to the server; the answer counts and times it for as long as it is kept.
    pub(crate) fn call(&self, method: &str) -> InFlight {
        let method = known(method);
        #[cfg(feature = "metrics")]
        self.instruments().in_flight.increment(1.0);
        InFlight {
            #[cfg(feature = "metrics")]
            meter: self.clone(),
            #[cfg(feature = "metrics")]
            method,
            #[cfg(feature = "metrics")]
            began: std::time::Instant::now(),
            outcome: "abandoned",
            span: tracing::debug_span!(
                target: "mcp_stdio_bridge::trace",
                "call",
                otel.kind = "client",
                server = &*self.server,
                mcp.method.name = method,
                error.type = Empty,
                otel.status_code = Empty,
            ),
        }
    }
}

/// A process that is in use.
#[derive(Debug)]
pub(crate) struct Alive {
    #[cfg_attr(
        not(feature = "metrics"),
        allow(dead_code, reason = "nothing is measured without that feature")
    )]
    meter: Meter,
}

impl Alive {
    /// It has ended, for this reason as far as that is known.
    #[cfg_attr(
        not(feature = "metrics"),
        allow(clippy::unused_self, reason = "nothing is measured without that feature")
    )]
    pub(crate) fn ended(self, end: Option<&End>) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            crate::metrics::CHILDREN_ENDED,
            "server" => self.meter.name(),
            "reason" => end.map_or("unknown", End::name),
        )
        .increment(1);
        #[cfg(not(feature = "metrics"))]
        let _ = end;
    }
}

#[cfg(feature = "metrics")]
impl Drop for Alive {
    fn drop(&mut self) {
        metrics::gauge!(crate::metrics::CHILDREN, "server" => self.meter.name()).decrement(1.0);
    }
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct InFlight {
    #[cfg(feature = "metrics")]
    meter: Meter,
    #[cfg(feature = "metrics")]
    method: &'static str,
    #[cfg(feature = "metrics")]
    began: std::time::Instant,
    outcome: &'static str,
    span: Span,
}

impl InFlight {
    /// The server has answered, perhaps with an error.
    pub(crate) fn answered(&mut self, failed: bool) {
        self.outcome = if failed { "error" } else { "success" };
    }

    /// The bridge answers in its place.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        self.outcome = failure.name();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.outcome != "success" {
            self.span.record("error.type", self.outcome);
            self.span.record("otel.status_code", "ERROR");
        }
        #[cfg(feature = "metrics")]
        {
            self.meter.instruments().in_flight.decrement(1.0);
            metrics::histogram!(
                crate::metrics::REQUEST_DURATION,
                "server" => self.meter.name(),
                "method" => self.method,
                "outcome" => self.outcome,
            )
            .record(self.began.elapsed());
        }
    }
}

/// The methods that the protocol has for requests of clients. Anybody can make up others, which are all the same here.
fn known(method: &str) -> &'static str {
    const METHODS: [&str; 20] = [
        "completion/complete",
        "initialize",
        "logging/setLevel",
        "ping",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "resources/templates/list",
        "resources/unsubscribe",
        "server/discover",
        "subscriptions/listen",
        "tasks/cancel",
        "tasks/get",
        "tasks/list",
        "tasks/result",
        "tasks/update",
        "tools/call",
        "tools/list",
    ];
    METHODS
        .iter()
        .find(|known| **known == method)
        .copied()
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::known;

    #[test]
    fn a_method_that_somebody_made_up_has_no_name_of_its_own() {
        assert_eq!(known("tools/call"), "tools/call");
        assert_eq!(known("hunter2/please"), "other");
    }
}
