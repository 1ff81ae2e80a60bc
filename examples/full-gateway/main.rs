//! The whole system in one process: an authorization server, an embedded MCP server, and stdio servers behind the
//! bridge.
//!
//! ```sh
//! cargo run --example full-gateway
//! ```
//!
//! needs no configuration: it listens on loopback, keeps everything in memory, makes a key when it starts, and lets
//! a developer be anybody of a made-up list. With `GITHUB_CLIENT_ID` and `GITHUB_CLIENT_SECRET` set, people sign in
//! with GitHub. See the README beside this file for the rest.

mod announcement;
mod clients;
mod configuration;
mod echo;
mod gateway;
mod identities;
mod notes;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use configuration::Configuration;
use gateway::Gateway;

/// An OAuth 2.1 gateway for MCP servers.
#[derive(Debug, Parser)]
#[command(version, after_help = configuration::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// Serve the gateway (this is what happens without a command)
    Serve,
    /// Be the stdio MCP server that the gateway starts as a child: a notebook
    Notes,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command.unwrap_or(Command::Serve) {
        Command::Serve => serve().await,
        Command::Notes => notes::serve_stdio().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> anyhow::Result<()> {
    let configuration = Configuration::load()?;
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&configuration.log).context("the setting log is no filter, such as info")?)
        .with_writer(std::io::stderr)
        .init();
    let gateway = Gateway::build(&configuration)?;
    let listener = gateway.listen().await?;
    let stop = gateway::stop_signal()?;
    announcement::print(&gateway);
    gateway.serve(listener, stop).await
}
