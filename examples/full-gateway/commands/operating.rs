//! What all commands of an operator have in common: they look into the store that the gateway uses, by the same
//! configuration, whether a gateway runs or not.

use clap::Args;
use mcp_oauth_core::server::operator::Operator;
use mcp_oauth_tower::AuthorizationServer;
use tracing_subscriber::EnvFilter;

use super::output::Output;
use crate::configuration::Configuration;
use crate::{authorization, servers};

/// What is logged unless more is asked for: what a command does is seen anyway, and told again by its error.
const QUIET: &str = "warn,mcp_oauth::audit=off";

/// Arguments that each of them has.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Operating {
    #[command(flatten)]
    pub(crate) output: Output,
    /// Log to stderr as the gateway does, the events of the audit included
    #[arg(long, short)]
    verbose: bool,
}

impl Operating {
    /// The authorization server on the store that the gateway uses. Nothing is asked of the store yet.
    pub(crate) fn server(self) -> anyhow::Result<AuthorizationServer> {
        let configuration = Configuration::load()?;
        let filter = if self.verbose { &configuration.log } else { QUIET };
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_writer(std::io::stderr)
            .init();
        anyhow::ensure!(
            configuration.redis()?.is_some(),
            "without a store of its own the gateway keeps everything in the memory of its process, where no command can \
             see it: set REDIS_URL to the Redis that the gateway uses"
        );
        authorization::server(&configuration, &servers::of(&configuration)?)
    }

    /// The same, for those who run it.
    pub(crate) fn operator(self) -> anyhow::Result<Operator> {
        Ok(self.server()?.operator())
    }
}
