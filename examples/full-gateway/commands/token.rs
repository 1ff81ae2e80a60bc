//! `token`: an access token, without a browser on this machine.
//!
//! A person is shown an address and a code, which they enter wherever they have a browser (RFC 8628); a client that acts on
//! its own behalf shows its secret (RFC 6749 §4.4). What is printed on stdout is the token and nothing else, so that
//! `TOKEN=$(full-gateway token URL)` has it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use mcp_oauth_core::secret::Secret;

use super::output::{self, Output, moment};
use super::private_file::{self, PrivateFile, Taken};
use endpoints::Endpoints;
use kept::Kept;

mod endpoints;
mod flow;
mod kept;
mod lock;

/// From where, for what, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// The gateway: its issuer, such as `https://mcp.example.com`
    #[arg(required_unless_present = "refresh")]
    url: Option<String>,
    /// The server that the token is for, by the URL that people type into clients [the gateway's first one]
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    /// The scopes, set apart by spaces [all that the server has]
    #[arg(long)]
    scope: Option<String>,
    /// A client that is known at the gateway [one is registered]
    #[arg(long, value_name = "CLIENT_ID")]
    client_id: Option<String>,
    /// A file with the client's secret
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// The token is for the client itself, and for no person
    #[arg(long, requires_all = ["client_id", "client_secret_file"])]
    client_credentials: bool,
    /// Keep what `--refresh` needs in this file, which only you can read
    #[arg(long, value_name = "FILE", conflicts_with = "client_credentials")]
    save: Option<PathBuf>,
    /// Get a new token with what --save has kept, and keep what comes of it there; of several processes one at a time
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "resource", "client_id", "client_credentials", "save"])]
    refresh: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(token: Token) -> anyhow::Result<()> {
    let secret = token
        .client_secret_file
        .as_deref()
        .map(private_file::secret)
        .transpose()?;
    let http = endpoints::http()?;
    if let Some(path) = &token.refresh {
        let _lock = lock::lock(path).await?;
        let kept = kept::read(path)?;
        // The refresh token is used up by its use: whoever cannot keep the next one must not use it.
        let file = PrivateFile::begin(path, Taken::Replaced)?;
        let scope = token.scope.as_deref();
        let kept = flow::refresh(&http, kept, secret.as_ref(), scope).await?;
        kept.write(file)?;
        return kept.print(token.output);
    }
    let url = token.url.as_deref().context("there is no URL")?;
    let file = token
        .save
        .as_deref()
        .map(|path| PrivateFile::begin(path, Taken::Kept))
        .transpose()?;
    let endpoints = Endpoints::discover(&http, url).await?;
    let asked = flow::Asked {
        resource: token.resource.as_deref(),
        scope: token.scope.as_deref(),
    };
    let kept = if token.client_credentials {
        let client_id = token.client_id.as_deref().unwrap_or_default();
        let secret = secret.unwrap_or_else(|| Secret::from(String::new()));
        flow::client_credentials(&http, &endpoints, asked, client_id, &secret).await?
    } else {
        let client_id = match &token.client_id {
            Some(client_id) => client_id.clone(),
            None => flow::register(&http, &endpoints).await?,
        };
        flow::device(&http, &endpoints, asked, &client_id, secret.as_ref()).await?
    };
    if let Some(file) = file {
        kept.write(file)?;
    } else if kept.refresh_token.is_some() && !token.output.json {
        output::note("Its refresh token was dropped: --save keeps it.");
    }
    kept.print(token.output)
}

impl Kept {
    fn print(&self, output: Output) -> anyhow::Result<()> {
        if output.json {
            return output::json(self);
        }
        if let Some(expires_at) = self.expires_at {
            output::note(&format!("The token is good until {}.", moment(expires_at)));
        }
        output::line(&self.access_token)
    }
}
