//! `check`: whether the gateway could start, and what it would start with.

use clap::Args;
use serde_json::json;

use super::output;
use crate::configuration::effective::{self, Setting};
use crate::configuration::{Configuration, Loaded, schema};
use crate::gateway::Gateway;
use crate::servers::{self, Server};
use crate::telemetry::Telemetry;

/// What is printed.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    /// Print the JSON Schema of the file instead, for editors
    #[arg(long, conflicts_with = "json")]
    schema: bool,
}

impl Check {
    /// Prints each setting with its value, unless that is a secret, and with where it comes from; then whether all of them
    /// fit together. Nothing is started, and the store is not asked.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if self.schema {
            return output::line(&format!("{:#}", serde_json::to_value(schema::schema())?));
        }
        let loaded = Loaded::load_without_check();
        let checked = loaded.and_then(|loaded| {
            let settings = effective::settings(&loaded.configuration, &loaded.sources)?;
            let mut warnings = loaded.warnings;
            let servers = servers::of(&loaded.configuration);
            warnings.extend(servers.iter().flatten().filter_map(Server::warning));
            let sound = loaded.configuration.check();
            let gateway = sound.and_then(|()| build(loaded.configuration));
            if let Ok(gateway) = &gateway
                && let Some(certificate) = &gateway.current().certificate
            {
                warnings.extend(certificate.warnings.iter().cloned());
            }
            Ok((settings, warnings, gateway.err()))
        });
        let (settings, warnings, error) = match checked {
            Ok((settings, warnings, error)) => (settings, warnings, error),
            Err(error) => (Vec::new(), Vec::new(), Some(error)),
        };
        let printed = if self.json {
            let error = error.as_ref().map(|error| format!("{error:#}"));
            let all = json!({"settings": settings, "warnings": warnings, "error": error});
            output::line(&format!("{all:#}"))
        } else {
            print(&settings, &warnings)
        };
        match error {
            None => printed,
            Some(error) => Err(error),
        }
    }
}

/// Puts the gateway together on a thread without a runtime, where a bridge has nothing to start its spare processes with.
fn build(configuration: Configuration) -> anyhow::Result<Gateway> {
    let built = std::thread::spawn(|| Gateway::build(configuration, &Telemetry::none())).join();
    built.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn print(settings: &[Setting], warnings: &[String]) -> anyhow::Result<()> {
    let width = settings
        .iter()
        .map(|setting| setting.name.len())
        .max()
        .unwrap_or_default();
    for Setting { name, value, source } in settings {
        output::line(&format!("{name:width$} = {value}  ({source})"))?;
    }
    for warning in warnings {
        output::line(&format!("warning: {warning}"))?;
    }
    Ok(())
}
