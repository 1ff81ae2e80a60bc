//! A program behind the bridge: with what it is started, and within which bounds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use mcp_stdio_bridge::{Bridge, BridgeBuilder, Command, Hosts, Origins, ResourceLimits};

use crate::configuration::hidden::Hidden;
use crate::configuration::{ProcessSettings, ServerSettings, Sharing};

/// A program with all that decides how it runs. Two that are equal are the same one, so a reload leaves it alone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<Hidden>,
    env: BTreeMap<String, Hidden>,
    pass_env: Vec<String>,
    caller_env: BTreeMap<String, String>,
    caller_meta: Option<String>,
    directory: Option<PathBuf>,
    share: Sharing,
    bounds: ProcessSettings,
    drain_timeout: Duration,
}

impl Program {
    /// The program that is this very one in another role, without any settings.
    pub(super) fn itself(role: &str, drain_timeout: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            path: std::env::current_exe().context("cannot find the program's own file")?,
            arguments: vec![Hidden::from(role.to_owned())],
            env: BTreeMap::new(),
            pass_env: Vec::new(),
            caller_env: BTreeMap::new(),
            caller_meta: None,
            directory: None,
            share: Sharing::default(),
            bounds: ProcessSettings::default(),
            drain_timeout,
        })
    }

    pub(super) fn of(path: &str, arguments: &[String], settings: &ServerSettings, drain_timeout: Duration) -> Self {
        Self {
            path: path.into(),
            arguments: arguments.iter().cloned().map(Hidden::from).collect(),
            env: settings.env.clone(),
            pass_env: settings.pass_env.clone(),
            caller_env: settings.caller_env.clone(),
            caller_meta: settings.caller_meta.clone(),
            directory: settings.directory.clone(),
            share: settings.share,
            bounds: settings.process.clone(),
            drain_timeout,
        }
    }

    /// The bridge to it, for requests to this host. Nothing is started yet.
    pub(crate) fn bridge(&self, name: &str, host: &str) -> anyhow::Result<Bridge> {
        let mut builder = Bridge::builder(self.command()?)
            .name(name)
            .share(self.share.into())
            .hosts(Hosts::loopback().and(host))
            // Origins are the layer's business: what has a good token may come from any page.
            .origins(Origins::any())
            .drain_timeout(self.drain_timeout);
        if let Some(member) = &self.caller_meta {
            builder = builder.caller_meta(member);
        }
        Ok(self.bounded(builder).build()?)
    }

    /// That there is no such program here, if there is none.
    pub(super) fn not_found(&self) -> Option<String> {
        let own = self.env.get("PATH").map(|path| OsString::from(path.expose()));
        let searched = own.or_else(|| std::env::var_os("PATH"));
        let directory = match &self.directory {
            Some(directory) => directory.clone(),
            None => std::env::current_dir().unwrap_or_default(),
        };
        which::which_in(&self.path, searched, directory).err().map(|_| {
            let program = self.path.display();
            format!("the program {program} is not found here, or cannot be run: where the gateway runs it has to be")
        })
    }

    fn command(&self) -> anyhow::Result<Command> {
        let arguments = self.arguments.iter().map(Hidden::expose);
        let mut command = Command::new(&self.path).args(arguments);
        for (name, value) in &self.env {
            command = command.env(name, value.expose());
        }
        for name in &self.pass_env {
            command = command.pass_env(name);
        }
        for (name, template) in &self.caller_env {
            command = command.caller_env(name, template)?;
        }
        if let Some(directory) = &self.directory {
            command = command.current_dir(directory);
        }
        if let Some(user) = self.bounds.user {
            command = command.user(user);
        }
        if let Some(group) = self.bounds.group {
            command = command.group(group);
        }
        let bounds = &self.bounds;
        let mut limits = ResourceLimits::default();
        if let Some(bytes) = bounds.limit_memory {
            limits = limits.memory(bytes);
        }
        if let Some(files) = bounds.limit_files {
            limits = limits.open_files(files);
        }
        if let Some(seconds) = bounds.limit_cpu {
            limits = limits.cpu_seconds(seconds);
        }
        if let Some(bytes) = bounds.limit_file_size {
            limits = limits.file_size(bytes);
        }
        Ok(command.limits(limits))
    }

    fn bounded(&self, mut builder: BridgeBuilder) -> BridgeBuilder {
        fn set<T>(
            builder: BridgeBuilder,
            value: Option<T>,
            setter: impl FnOnce(BridgeBuilder, T) -> BridgeBuilder,
        ) -> BridgeBuilder {
            match value {
                Some(value) => setter(builder, value),
                None => builder,
            }
        }
        let bounds = &self.bounds;
        let forever = |seconds: u64| (seconds > 0).then(|| Duration::from_secs(seconds));
        builder = set(builder, bounds.spares, BridgeBuilder::spares);
        builder = set(builder, bounds.max_sessions, BridgeBuilder::max_sessions);
        builder = set(
            builder,
            bounds.max_sessions_per_caller,
            BridgeBuilder::max_sessions_per_caller,
        );
        builder = set(builder, bounds.max_pool, BridgeBuilder::max_pool);
        builder = set(builder, bounds.max_calls, BridgeBuilder::max_calls);
        builder = set(builder, bounds.max_body, BridgeBuilder::max_body);
        builder = set(builder, bounds.max_line, BridgeBuilder::max_line);
        builder = set(builder, bounds.idle_timeout.map(forever), BridgeBuilder::idle_timeout);
        builder = set(
            builder,
            bounds.request_timeout.map(forever),
            BridgeBuilder::request_timeout,
        );
        let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        builder = set(
            builder,
            seconds(bounds.handshake_timeout),
            BridgeBuilder::handshake_timeout,
        );
        set(builder, seconds(bounds.stream_after), BridgeBuilder::stream_after)
    }
}
