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
mod doctor;
mod echo;
mod fetch;
mod gateway;
mod identities;
mod notes;
mod proxied;
mod servers;
mod serving;
mod signals;
mod sites;
mod streams;
mod systemd;
mod telemetry;
mod tls;

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

fn main() -> ExitCode {
    // Does not return where the program was started to help one that runs already.
    mcp_stdio_bridge::helper::run();
    let arguments = Arguments::parse();
    // Each command is a future of its own size: on the heap, none of them weighs on the others.
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(Box::pin(arguments.command.unwrap_or_default().run())));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !commands::exit::is_silent(&error) {
                eprintln!("error: {error:#}");
            }
            commands::exit::code(&error)
        }
    }
}
