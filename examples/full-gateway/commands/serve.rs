//! `serve`: the gateway itself.

use crate::announcement;
use crate::configuration::Loaded;
use crate::gateway::Gateway;
use crate::serving::{self, Ports};
use crate::signals::Signals;
use crate::telemetry::Telemetry;

pub(super) async fn run() -> anyhow::Result<()> {
    let Loaded {
        configuration,
        warnings,
        ..
    } = Loaded::load()?;
    let telemetry = Telemetry::install(&configuration)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let gateway = Gateway::build(configuration, &telemetry)?;
    gateway.prepare().await?;
    let ports = Ports::open(&gateway).await?;
    telemetry.serve().await?;
    let signals = Signals::listen()?;
    announcement::print(&gateway);
    let served = serving::serve(gateway, ports, signals).await;
    telemetry.finish().await;
    served
}
