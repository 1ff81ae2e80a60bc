//! What the program can be told to do: each command in a module of its own.

mod doctor;
mod check;
mod serve;

use std::process::ExitCode;

use clap::Subcommand;

use crate::notes;

/// The first word after the program's name, with what belongs to it.
#[derive(Debug, Default, Subcommand)]
pub(crate) enum Command {
    /// Serve the gateway (this is what happens without a command)
    #[default]
    Serve,
    /// Look at an MCP server from outside, as clients do, and name what is wrong
    Doctor(doctor::Arguments),
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
            Self::Doctor(arguments) => arguments.run().await,
            Self::Check(check) => check.run(),
            Self::Notes => notes::serve_stdio().await,
        }
    }
}

/// The exit code for what a command has ended with.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    error
        .downcast_ref()
        .map_or(ExitCode::FAILURE, |diagnosis: &doctor::Diagnosis| {
            diagnosis.code().into()
        })
}
