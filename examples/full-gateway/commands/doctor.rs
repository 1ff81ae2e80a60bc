//! `doctor`: what a client meets at an MCP server's URL, and which line of it is wrong.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use mcp_oauth_core::secret::Secret;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::Url;

use super::output;
use crate::doctor::{Client, Examination};

/// How an examination ends that does not end well. What was found has been printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Diagnosis {
    /// Something is wrong.
    #[error("{0} is not as clients need it")]
    Wrong(String),
    /// Nobody could be asked, so that nothing is known.
    #[error("{0} does not answer")]
    NoAnswer(String),
}

impl Diagnosis {
    /// The program's exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Wrong(_) => 1,
            Self::NoAnswer(_) => 4,
        }
    }
}

/// A token is no longer.
const MAXIMUM_TOKEN: u64 = 64 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is changed by it: nobody is signed in, and nothing is registered.
Exit codes: 0 when nothing is wrong, 1 when something is, 2 when the command is wrong, 4 when nobody answers.")]
pub(crate) struct Arguments {
    /// The MCP server's URL, as people put it into their client
    #[arg(value_parser = mcp_url)]
    url: Url,
    /// Only count what stops this client
    #[arg(long, value_enum)]
    client: Option<Client>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Trust the authorities in this PEM file, beside those of this machine
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Read an access token from this file, or from stdin with -, and look at a session with it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Seconds to wait for each answer
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=120))]
    timeout: u64,
}

fn mcp_url(text: &str) -> Result<Url, String> {
    let url: Url = text
        .parse()
        .map_err(|error| format!("{error}: write the whole URL, such as https://mcp.example.com/mcp"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it has to begin with https:// or http://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must have no user name and no password in it".to_owned());
    }
    if url.fragment().is_some() {
        return Err("it must have no fragment (#…)".to_owned());
    }
    Ok(url)
}

impl Arguments {
    /// Examines, and prints what was found.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let examination = Examination {
            url: self.url,
            client: self.client,
            timeout: Duration::from_secs(self.timeout),
            roots: self.ca_file.as_deref().map_or(Ok(Vec::new()), roots)?,
            token: self.token_file.as_deref().map(token).transpose()?,
        };
        let report = examination.run().await?;
        let printed = if self.json {
            output::line(&serde_json::to_string_pretty(&report)?)
        } else {
            output::line(&report.to_string())
        };
        if report.is_good() {
            printed
        } else if report.reached {
            Err(Diagnosis::Wrong(report.url).into())
        } else {
            Err(Diagnosis::NoAnswer(report.url).into())
        }
    }
}

fn roots(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || format!("{} has no certificates in PEM", file.display());
    let certificates = CertificateDer::pem_file_iter(file).with_context(read)?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().with_context(read)?;
    anyhow::ensure!(!certificates.is_empty(), read());
    Ok(certificates)
}

fn token(file: &Path) -> anyhow::Result<Secret> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(MAXIMUM_TOKEN).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAXIMUM_TOKEN).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read the token from {}", file.display()))?;
    let token = text.trim();
    anyhow::ensure!(!token.is_empty(), "{} has no token", file.display());
    Ok(Secret::from(token))
}
