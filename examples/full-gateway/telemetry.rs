//! What operators see of the gateway: its log, its metrics, its traces, and the audit log.
//!
//! The crates say what happens, through `tracing` and the `metrics` facade, and export nothing; what is told to whom is
//! decided here. `OBSERVING.md` beside this file says what there is to see.

use std::sync::Arc;

use anyhow::Context as _;
use axum::{Router, middleware};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::configuration::Configuration;
use crate::configuration::telemetry::LogFormat;

pub(crate) mod audit;
mod exposition;
mod otlp;
mod requests;

use audit::AuditLog;
use exposition::Exposition;
use otlp::Exporters;

/// What is told, and to whom.
#[derive(Debug)]
pub(crate) struct Telemetry {
    exposition: Option<Exposition>,
    exporters: Option<Exporters>,
    audit: Option<AuditLog>,
}

/// Measures and traces requests, if anybody is told.
#[derive(Clone, Debug)]
pub(crate) enum Observer {
    /// Nobody is.
    Idle,
    /// Somebody is; of traces, if there is somebody to trace for.
    Telling(Option<SdkTracer>),
}

impl Observer {
    /// Has the requests to this router observed, each under the route that takes it.
    pub(crate) fn observe(&self, router: Router) -> Router {
        self.layer(None, router)
    }

    /// The same, all of them under one name.
    pub(crate) fn observe_as(&self, endpoint: &str, router: Router) -> Router {
        self.layer(Some(endpoint), router)
    }

    fn layer(&self, endpoint: Option<&str>, router: Router) -> Router {
        match self {
            Self::Idle => router,
            Self::Telling(tracer) => {
                let observed = requests::Observed {
                    tracer: tracer.clone(),
                    endpoint: endpoint.map(Arc::from),
                };
                router.layer(middleware::from_fn_with_state(observed, requests::observe))
            }
        }
    }
}

impl Telemetry {
    /// Nobody is told anything, as where it is only tried whether a gateway can be built.
    pub(crate) fn none() -> Self {
        Self {
            exposition: None,
            exporters: None,
            audit: None,
        }
    }

    /// Begins the log, and whatever else the configuration asks for. Once in a process.
    pub(crate) fn install(configuration: &Configuration) -> anyhow::Result<Self> {
        let settings = &configuration.telemetry;
        let filter = EnvFilter::try_new(&configuration.log).context("the setting log is no filter, such as info")?;
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match configuration.log_format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        let exporters = settings
            .otlp()?
            .map(|to| Exporters::new(&to, &settings.service_name))
            .transpose()?;
        // The spans that the crates make for this, and nothing else: what others put into theirs is not known here.
        let traced = filter_fn(|metadata| metadata.is_span() && otlp::TARGETS.contains(&metadata.target()))
            .with_max_level_hint(LevelFilter::DEBUG);
        let spans = exporters.as_ref().map(Exporters::layer);
        tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .with(spans.with_filter(traced))
            .init();

        let exposition = settings.metrics_listen.map(Exposition::install).transpose()?;
        let file = settings.audit_file.as_deref().map(audit::File::open).transpose()?;
        let records = exporters.as_ref().and_then(Exporters::records);
        let audit = (file.is_some() || records.is_some()).then(|| AuditLog::new(file, records));
        Ok(Self {
            exposition,
            exporters,
            audit,
        })
    }

    /// Where audit events go beside the log, if anywhere.
    pub(crate) fn audit(&self) -> Option<AuditLog> {
        self.audit.clone()
    }

    /// What measures and traces requests.
    pub(crate) fn observer(&self) -> Observer {
        match (&self.exposition, &self.exporters) {
            (None, None) => Observer::Idle,
            (_, traces) => Observer::Telling(traces.as_ref().map(Exporters::tracer)),
        }
    }

    /// Serves `/metrics` from now on, and listens for the signal by which the audit log's file is opened again.
    pub(crate) async fn serve(&self) -> anyhow::Result<()> {
        if let Some(exposition) = &self.exposition {
            exposition.serve().await?;
        }
        if let Some(audit) = &self.audit {
            audit.reopen_on_hangup()?;
        }
        Ok(())
    }

    /// Sends what has not been sent yet.
    pub(crate) async fn finish(self) {
        if let Some(exporters) = self.exporters {
            exporters.finish().await;
        }
    }
}
