//! `/metrics`, on a port of its own: Prometheus reads there what was measured.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

use super::{audit, requests};

/// From half a millisecond, which a store in memory does not need, to ten seconds, for which nobody waits.
const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// How often measurements are put in order that nobody has asked for.
const UPKEEP: Duration = Duration::from_secs(5);

/// Whether anything was built, and as which version: always 1.
const BUILD_INFO: &str = "mcp_gateway_build_info";

/// What was measured, and where it can be read.
#[derive(Debug)]
pub(crate) struct Exposition {
    address: SocketAddr,
    measured: PrometheusHandle,
}

impl Exposition {
    /// Measures from now on. Once in a process.
    pub(super) fn install(address: SocketAddr) -> anyhow::Result<Self> {
        let measured = PrometheusBuilder::new()
            .set_buckets(&BUCKETS)
            .and_then(PrometheusBuilder::install_recorder)
            .context("nothing can be measured")?;
        mcp_oauth_tower::metrics::describe();
        mcp_stdio_bridge::metrics::describe();
        requests::describe();
        audit::describe();
        metrics::describe_gauge!(BUILD_INFO, "The version that runs; always 1");
        metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self { address, measured })
    }

    /// Serves it for as long as the process runs.
    pub(super) async fn serve(&self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(self.address).await.with_context(|| {
            format!(
                "cannot listen on {} for /metrics: set GATEWAY_TELEMETRY__METRICS_LISTEN to another address",
                self.address
            )
        })?;
        tracing::info!(address = %self.address, "metrics are served");
        let measured = self.measured.clone();
        let router = Router::new()
            .route("/metrics", get(show))
            .with_state(self.measured.clone());
        tokio::spawn(async move {
            let mut next = tokio::time::interval(UPKEEP);
            loop {
                next.tick().await;
                measured.run_upkeep();
            }
        });
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "metrics are not served any more");
            }
        });
        Ok(())
    }
}

async fn show(State(measured): State<PrometheusHandle>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        measured.render(),
    )
}
