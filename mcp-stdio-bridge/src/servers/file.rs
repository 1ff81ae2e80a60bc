//! The file: its entries, and how a bridge is configured by one.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;

use super::ServersError;
use crate::bridge::BridgeBuilder;
use crate::command::Command;
use crate::config::{ConfigError, Share};
use crate::placeholder::{expand, names_caller};

/// Makes a bridge's configuration of what the file says: the name, and the command.
pub(super) type Configure = dyn Fn(&str, Command) -> BridgeBuilder + Send + Sync;

/// Why one entry of the file is none that can be run.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum EntryError {
    #[error("the name may have letters, digits, `-`, `_` and `.`, since it stands in a path")]
    Name,
    #[error("{0}")]
    Form(String),
    #[error("{0}")]
    Config(#[from] ConfigError),
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "mcpServers")]
    mcp_servers: Option<BTreeMap<String, Value>>,
    servers: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    command: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, Option<Setting>>,
    cwd: Option<String>,
    #[serde(default)]
    pass_env: Vec<String>,
    share: Option<Sharing>,
    spares: Option<usize>,
    max_sessions: Option<usize>,
    idle_timeout: Option<u64>,
}

/// A value of the environment. People write numbers and truths without quotes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Setting {
    Text(String),
    Number(serde_json::Number),
    Truth(bool),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Sharing {
    PerSession,
    PerUser,
    Shared,
}

/// What an entry says, on top of what is configured for all.
pub(super) fn configured(name: &str, said: &Value, configure: &Configure) -> Result<BridgeBuilder, EntryError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(EntryError::Name);
    }
    let said: Said = Said::deserialize(said).map_err(|error| EntryError::Form(error.to_string()))?;
    let variable = |name: &str| std::env::var(name).ok();
    let mut command = Command::new(expand(&said.command, variable)?);
    for arg in &said.args {
        command = command.arg(expand(arg, variable)?);
    }
    for (name, value) in &said.env {
        let value = match value {
            Some(Setting::Text(text)) if names_caller(text) => {
                command = command.caller_env(name, text)?;
                continue;
            }
            Some(Setting::Text(text)) => expand(text, variable)?,
            Some(Setting::Number(number)) => number.to_string(),
            Some(Setting::Truth(truth)) => truth.to_string(),
            // As VS Code has it: the variable is not to be there.
            None => continue,
        };
        command = command.env(name, value);
    }
    for name in &said.pass_env {
        command = command.pass_env(name);
    }
    if let Some(directory) = &said.cwd {
        command = command.current_dir(expand(directory, variable)?);
    }
    let mut builder = configure(name, command).name(name);
    if let Some(share) = said.share {
        builder = builder.share(match share {
            Sharing::PerSession => Share::PerSession,
            Sharing::PerUser => Share::PerUser,
            Sharing::Shared => Share::Shared,
        });
    }
    if let Some(spares) = said.spares {
        builder = builder.spares(spares);
    }
    if let Some(sessions) = said.max_sessions {
        builder = builder.max_sessions(sessions);
    }
    if let Some(seconds) = said.idle_timeout {
        builder = builder.idle_timeout((seconds > 0).then(|| Duration::from_secs(seconds)));
    }
    Ok(builder)
}

/// The entries of a file that are a stdio bridge's.
pub(super) fn read(file: &Path) -> Result<BTreeMap<String, Value>, ServersError> {
    let text = std::fs::read_to_string(file).map_err(|error| ServersError::Read(file.to_owned(), error))?;
    let read: File = serde_json::from_str(&text).map_err(|error| ServersError::Form(file.to_owned(), error))?;
    let all = read
        .mcp_servers
        .or(read.servers)
        .ok_or_else(|| ServersError::Nothing(file.to_owned()))?;
    let mut ours = BTreeMap::new();
    for (name, said) in all {
        if said["disabled"] == true {
            continue;
        }
        if said.get("command").is_none() && said.get("url").is_some() {
            tracing::warn!(
                server = name,
                "the entry has a `url`: only stdio servers are served here"
            );
            continue;
        }
        ours.insert(name, said);
    }
    Ok(ours)
}

/// By what a change of the file is noticed.
pub(super) fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let data = std::fs::metadata(file).ok()?;
    Some((data.modified().ok()?, data.len()))
}
