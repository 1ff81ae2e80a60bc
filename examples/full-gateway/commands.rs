//! What the program can be told to do: each command in a module of its own.

mod probe;
mod serve;
mod service;

use clap::Subcommand;

use crate::notes;

/// The first word after the program's name, with what belongs to it.
#[derive(Debug, Default, Subcommand)]
pub(crate) enum Command {
    /// Serve the gateway (this is what happens without a command)
    #[default]
    Serve,
    /// Be the stdio MCP server that the gateway starts as a child: a notebook
    Notes,
    /// Be one MCP server over HTTP, for a reverse proxy that asks a gateway about each request
    Service(service::Options),
    /// Ask a URL of this machine, and succeed if it answers 200: for health checks
    Probe(probe::Options),
}

impl Command {
    /// Does it.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Serve => serve::run().await,
            Self::Notes => notes::serve_stdio().await,
            Self::Service(options) => service::run(options).await,
            Self::Probe(options) => probe::run(options).await,
        }
    }
}
