//! How many requests a protected resource admits, and why it refuses the others.

use crate::refusal::Refusal;

/// What is decided about the requests to one resource, counted if the crate has the feature `metrics`. Clones count
/// together.
#[derive(Clone, Debug)]
pub(crate) struct Decisions {
    #[cfg(feature = "metrics")]
    counters: std::sync::Arc<Counters>,
}

#[cfg(feature = "metrics")]
#[derive(Debug)]
struct Counters {
    resource: metrics::SharedString,
    /// Looked up once, since this is the way of nearly every request.
    admitted: std::sync::OnceLock<metrics::Counter>,
}

#[cfg(feature = "metrics")]
impl Counters {
    fn of(&self, outcome: &'static str) -> metrics::Counter {
        metrics::counter!(crate::metrics::ACCESS_DECISIONS, "resource" => self.resource.clone(), "outcome" => outcome)
    }
}

impl Decisions {
    /// For the resource with this URI.
    pub(crate) fn about(resource: &str) -> Self {
        #[cfg(not(feature = "metrics"))]
        let _ = resource;
        Self {
            #[cfg(feature = "metrics")]
            counters: std::sync::Arc::new(Counters {
                resource: std::sync::Arc::<str>::from(resource).into(),
                admitted: std::sync::OnceLock::new(),
            }),
        }
    }

    /// A request goes on.
    #[cfg_attr(not(feature = "metrics"), allow(clippy::unused_self, reason = "nothing is counted"))]
    pub(crate) fn admitted(&self) {
        #[cfg(feature = "metrics")]
        self.counters
            .admitted
            .get_or_init(|| self.counters.of("success"))
            .increment(1);
    }

    /// A request does not.
    #[cfg_attr(not(feature = "metrics"), allow(clippy::unused_self, reason = "nothing is counted"))]
    pub(crate) fn refused(&self, refusal: Refusal) {
        #[cfg(feature = "metrics")]
        self.counters.of(refusal.name()).increment(1);
        #[cfg(not(feature = "metrics"))]
        let _ = refusal;
    }
}
