//! `serve`: the gateway itself.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::announcement;
use crate::configuration::Loaded;
use crate::gateway::Gateway;
use crate::serving::{self, Ports};
use crate::signals::Signals;

pub(super) async fn run() -> anyhow::Result<()> {
    let Loaded {
        configuration,
        warnings,
        ..
    } = Loaded::load()?;
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&configuration.log).context("the setting log is no filter, such as info")?)
        .with_writer(std::io::stderr)
        .init();
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let gateway = Gateway::build(configuration)?;
    gateway.prepare().await?;
    let ports = Ports::open(&gateway).await?;
    let signals = Signals::listen()?;
    announcement::print(&gateway);
    serving::serve(gateway, ports, signals).await
}
