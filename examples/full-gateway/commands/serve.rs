//! `serve`: the gateway itself.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::configuration::Configuration;
use crate::gateway::Gateway;
use crate::{announcement, signals};

pub(super) async fn run() -> anyhow::Result<()> {
    let configuration = Configuration::load()?;
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&configuration.log).context("the setting log is no filter, such as info")?)
        .with_writer(std::io::stderr)
        .init();
    let gateway = Gateway::build(&configuration)?;
    let listener = gateway.listen().await?;
    let stop = signals::stop()?;
    announcement::print(&gateway);
    gateway.serve(listener, stop).await
}
