//! `serve`: the gateway itself.

use crate::configuration::Configuration;
use crate::gateway::Gateway;
use crate::telemetry::Telemetry;
use crate::{announcement, signals};

pub(super) async fn run() -> anyhow::Result<()> {
    let configuration = Configuration::load()?;
    let telemetry = Telemetry::install(&configuration)?;
    let gateway = Gateway::build(&configuration, &telemetry)?;
    let listener = gateway.listen().await?;
    telemetry.serve().await?;
    let stop = signals::stop()?;
    announcement::print(&gateway);
    let served = gateway.serve(listener, stop).await;
    telemetry.finish().await;
    served
}
