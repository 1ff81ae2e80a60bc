//! Traces, and the audit log if that is wanted, for a receiver of OTLP over HTTP.

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{LogExporter, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

use crate::configuration::telemetry::Otlp;

/// What the crates call the spans that are for traces.
pub(super) const TARGETS: [&str; 2] = ["mcp_oauth::trace", "mcp_stdio_bridge::trace"];

const SCOPE: &str = "full-gateway";

/// What sends, in threads of its own.
#[derive(Debug)]
pub(super) struct Exporters {
    traces: SdkTracerProvider,
    records: Option<SdkLoggerProvider>,
}

impl Exporters {
    pub(super) fn new(to: &Otlp, service_name: &str) -> anyhow::Result<Self> {
        let resource = Resource::builder().with_service_name(service_name.to_owned()).build();
        let spans = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&to.traces)
            .build()
            .context("traces cannot be sent")?;
        let traces = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            // By the trace's identifier alone: whoever calls cannot ask for more than the operator does.
            .with_sampler(Sampler::TraceIdRatioBased(to.trace_ratio))
            .with_batch_exporter(spans)
            .build();
        let records = to.audit.then(|| {
            let exporter = LogExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(&to.logs)
                .build()
                .context("the audit log cannot be sent")?;
            let records = SdkLoggerProvider::builder()
                .with_resource(resource)
                .with_batch_exporter(exporter)
                .build();
            anyhow::Ok(records)
        });
        Ok(Self {
            traces,
            records: records.transpose()?,
        })
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.traces.tracer(SCOPE)
    }

    pub(super) fn records(&self) -> Option<SdkLoggerProvider> {
        self.records.clone()
    }

    /// Makes spans of `tracing` those of a trace.
    pub(super) fn layer<S>(&self) -> OpenTelemetryLayer<S, SdkTracer>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.tracer())
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
    }

    /// Sends what is left.
    pub(super) async fn finish(self) {
        let sent = tokio::task::spawn_blocking(move || {
            let traces = self.traces.shutdown();
            let records = self.records.map(|records| records.shutdown()).transpose();
            (traces, records)
        });
        if let Ok((traces, records)) = sent.await {
            let failed = traces.err().into_iter().chain(records.err());
            for error in failed {
                tracing::warn!(%error, "some traces or audit records were not sent");
            }
        }
    }
}
