//! What is told of the gateway, in which form, and to whom.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object on each line.
    Json,
}

/// `[telemetry]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TelemetrySettings {
    /// Where `/metrics` is served, if anywhere. Never where the gateway itself listens.
    #[schemars(with = "Option<String>")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Where traces go, if anywhere: the root of a receiver of OTLP over HTTP.
    otlp_endpoint: Option<String>,
    /// What part of the requests is traced: 1 is all of them.
    trace_ratio: f64,
    /// What this process is called in traces and in the audit log.
    pub(crate) service_name: String,
    /// The file that the audit log is written to.
    pub(crate) audit_file: Option<PathBuf>,
    /// Whether the audit log goes to the receiver of OTLP.
    audit_otlp: bool,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            metrics_listen: None,
            otlp_endpoint: None,
            trace_ratio: 1.0,
            service_name: "mcp-oauth-gateway".to_owned(),
            audit_file: None,
            audit_otlp: false,
        }
    }
}

/// What goes to a receiver of OTLP.
#[derive(Debug)]
pub(crate) struct Otlp {
    pub(crate) traces: String,
    pub(crate) logs: String,
    /// Between 0 and 1.
    pub(crate) trace_ratio: f64,
    pub(crate) audit: bool,
}

impl TelemetrySettings {
    /// The receiver of OTLP, if there is one.
    pub(crate) fn otlp(&self) -> anyhow::Result<Option<Otlp>> {
        let Some(endpoint) = &self.otlp_endpoint else {
            anyhow::ensure!(
                !self.audit_otlp,
                "telemetry.audit_otlp is set: set OTEL_EXPORTER_OTLP_ENDPOINT too, which says where to"
            );
            return Ok(None);
        };
        let url: Url = endpoint
            .parse()
            .context("OTEL_EXPORTER_OTLP_ENDPOINT is no URL, such as http://127.0.0.1:4318")?;
        anyhow::ensure!(
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none(),
            "OTEL_EXPORTER_OTLP_ENDPOINT has to be an http or https URL without a password: put what proves who sends into \
             OTEL_EXPORTER_OTLP_HEADERS"
        );
        anyhow::ensure!(
            (0.0..=1.0).contains(&self.trace_ratio),
            "telemetry.trace_ratio is a part of the requests, between 0 and 1"
        );
        let root = endpoint.trim_end_matches('/');
        Ok(Some(Otlp {
            traces: format!("{root}/v1/traces"),
            logs: format!("{root}/v1/logs"),
            trace_ratio: self.trace_ratio,
            audit: self.audit_otlp,
        }))
    }
}

#[cfg(test)]
mod tests {
    use crate::configuration::tests::{read, refusal};

    #[test]
    fn nothing_is_told_to_anybody_unless_somebody_is_named() {
        let telemetry = read("", &[], &[]).unwrap().telemetry;
        assert!(telemetry.metrics_listen.is_none() && telemetry.audit_file.is_none());
        assert!(telemetry.otlp().unwrap().is_none());
    }

    #[test]
    fn the_receiver_has_the_variable_that_opentelemetry_gives_it() {
        let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/")];
        let otlp = read("", &[], &environment).unwrap().telemetry.otlp().unwrap().unwrap();
        assert_eq!(otlp.traces, "http://127.0.0.1:4318/v1/traces");
        assert_eq!(otlp.logs, "http://127.0.0.1:4318/v1/logs");
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_its_name() {
        assert!(refusal("[telemetry]\naudit_otlp = true", &[]).contains("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let endpoint = |value| refusal("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", value)]);
        assert!(endpoint("127.0.0.1:4318").contains("OTEL_EXPORTER_OTLP_ENDPOINT"));
        assert!(endpoint("https://ada:hunter2@collector.example").contains("OTEL_EXPORTER_OTLP_HEADERS"));
        let ratio = "[telemetry]\notlp_endpoint = \"http://127.0.0.1:4318\"\ntrace_ratio = 2.0";
        assert!(refusal(ratio, &[]).contains("trace_ratio"));
        assert!(refusal("log_format = \"xml\"", &[]).contains("xml"));
    }
}
