//! What is protected: each server with its place, its name, who may use it, and what serves it.

use anyhow::Context as _;
use mcp_oauth_tower::AllowList;
use mcp_stdio_bridge::Command;

use crate::configuration::{Configuration, StdioServer};

/// One protected server: where it is, what it is called, who may use it, and what serves it.
pub(crate) struct Server {
    pub(crate) path: String,
    pub(crate) name: String,
    /// Of those who may sign in; `None` means all of them.
    pub(crate) allow: Option<AllowList>,
    pub(crate) kind: Kind,
}

/// What serves it.
pub(crate) enum Kind {
    /// Code in this process.
    Embedded,
    /// A child behind the bridge.
    Stdio(Box<Command>),
}

impl Server {
    /// Its resource identifier.
    pub(crate) fn uri(&self, issuer: &str) -> String {
        format!("{issuer}/{}/mcp", self.path)
    }
}

/// The servers that `configuration` names, and those that come with the example.
pub(crate) fn of(configuration: &Configuration) -> anyhow::Result<Vec<Server>> {
    let mut servers = Vec::new();
    if configuration.built_in_servers {
        // The notebook is a program of its own that knows nothing of HTTP: here it is this very program in another
        // role.
        let itself = std::env::current_exe().context("cannot find the program's own file")?;
        let allow = configuration.built_in_allowed_users()?;
        servers.push(Server {
            path: "echo".to_owned(),
            name: "Echo".to_owned(),
            allow: allow.clone(),
            kind: Kind::Embedded,
        });
        servers.push(Server {
            path: "notes".to_owned(),
            name: "Notes".to_owned(),
            allow,
            kind: Kind::Stdio(Box::new(Command::new(itself).arg("notes"))),
        });
    }
    for (path, server) in &configuration.servers {
        if servers.iter().any(|other| other.path == *path) {
            anyhow::bail!(
                "[servers.{path}] has the name of a built-in server: rename it, or set built_in_servers = false"
            );
        }
        let name = server.name.clone().unwrap_or_else(|| path.clone());
        servers.push(Server {
            path: path.clone(),
            name,
            allow: server.allowed_users(path)?,
            kind: Kind::Stdio(Box::new(command(server))),
        });
    }
    Ok(servers)
}

fn command(server: &StdioServer) -> Command {
    let (program, arguments) = server
        .command
        .split_first()
        .expect("the configuration was checked for it");
    let mut command = Command::new(program).args(arguments);
    for (name, value) in &server.env {
        command = command.env(name, value);
    }
    for name in &server.pass_env {
        command = command.pass_env(name);
    }
    if let Some(directory) = &server.directory {
        command = command.current_dir(directory);
    }
    command
}
