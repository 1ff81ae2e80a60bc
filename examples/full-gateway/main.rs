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
mod authorization;
mod clients;
mod commands;
mod configuration;
mod echo;
mod fetch;
mod gateway;
mod hosts;
mod identities;
mod notes;
mod servers;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use commands::Command;

/// An OAuth 2.1 gateway for MCP servers.
#[derive(Debug, Parser)]
#[command(version, after_help = configuration::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Arguments::parse().command.unwrap_or_default().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
