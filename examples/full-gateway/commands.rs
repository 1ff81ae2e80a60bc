//! What the program can be told to do: each command in a module of its own.

mod check;
mod serve;

use clap::Subcommand;

use crate::notes;

/// The first word after the program's name, with what belongs to it.
#[derive(Debug, Default, Subcommand)]
pub(crate) enum Command {
    /// Serve the gateway (this is what happens without a command)
    #[default]
    Serve,
    /// Say whether the gateway could start, and with which settings
    Check(check::Check),
    /// Be the stdio MCP server that the gateway starts as a child: a notebook
    Notes,
}

impl Command {
    /// Does it.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Serve => serve::run().await,
            Self::Check(check) => check.run(),
            Self::Notes => notes::serve_stdio().await,
        }
    }
}
