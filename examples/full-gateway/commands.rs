//! What the program can be told to do: each command in a module of its own.

mod backup;
mod check;
mod clients;
mod completions;
mod confirmation;
mod doctor;
mod ending;
pub(crate) mod exit;
mod grants;
mod health;
mod import;
mod init;
mod inspect;
mod keys;
mod operating;
mod output;
mod private_file;
mod probe;
mod progress;
mod purge;
mod restore;
mod serve;
mod service;
mod stats;
mod token;
mod users;

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
    /// Ask what is needed and write it into a .env file, with new secrets
    Init(init::Init),
    /// The keys that sign access tokens
    #[command(subcommand)]
    Keys(keys::Keys),
    /// The clients that ask for access
    #[command(subcommand)]
    Clients(clients::Clients),
    /// What people have let clients do
    #[command(subcommand)]
    Grants(grants::Grants),
    /// The people who have let clients in
    #[command(subcommand)]
    Users(users::Users),
    /// Count what there is
    Stats(operating::Operating),
    /// Remove what is stale, and mend lists
    Purge(purge::Purge),
    /// Write all records into a file, while the gateway goes on
    Backup(backup::Backup),
    /// Read a backup back
    Restore(restore::Restore),
    /// Say what is in a backup, without a store
    Inspect(inspect::Inspect),
    /// Take over what another gateway has
    #[command(subcommand)]
    Import(import::Import),
    /// Get an access token without a browser on this machine
    Token(token::Token),
    /// Say whether the gateway that runs here is well: fit for a container's health check
    Health(health::Health),
    /// Print what makes a shell complete these commands
    Completions(completions::Completions),
    /// Be the stdio MCP server that the gateway starts as a child: a notebook
    #[command(hide = true)]
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
            Self::Doctor(arguments) => arguments.run().await,
            Self::Check(check) => check.run(),
            Self::Init(init) => init::run(&init),
            Self::Keys(command) => keys::run(command).await,
            Self::Clients(command) => clients::run(command).await,
            Self::Grants(command) => grants::run(command).await,
            Self::Users(command) => users::run(command).await,
            Self::Stats(operating) => stats::run(operating).await,
            Self::Purge(purge) => purge::run(purge).await,
            Self::Backup(backup) => backup::run(backup).await,
            Self::Restore(restore) => restore::run(restore).await,
            Self::Inspect(inspect) => inspect::run(&inspect),
            Self::Import(import) => import::run(import).await,
            Self::Token(token) => token::run(token).await,
            Self::Health(health) => health::run(health).await,
            Self::Completions(completions) => completions::run(&completions),
            Self::Notes => notes::serve_stdio().await,
            Self::Service(options) => service::run(options).await,
            Self::Probe(options) => probe::run(options).await,
        }
    }
}
