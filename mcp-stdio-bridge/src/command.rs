//! The server's command line, and the environment it gets.
//!
//! The server is somebody else's program, and the bridge's own environment may hold secrets of other servers. So
//! the server starts from nothing: it gets the few variables a program needs to run at all, and what was named for
//! it. The arguments are passed as they are, each one an argument; no shell reads them.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use crate::caller::Caller;
use crate::config::ConfigError;
use crate::helper::{self, ResourceLimits};
use crate::placeholder::Template;

/// What a program needs to find its home, its helpers and its language. `LC_*` comes on top.
const ORDINARY: &[&str] = &[
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "TZ",
    // Windows
    "APPDATA",
    "COMSPEC",
    "HOMEDRIVE",
    "HOMEPATH",
    "LOCALAPPDATA",
    "PATHEXT",
    "PROGRAMDATA",
    "PROGRAMFILES",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "USERNAME",
    "USERPROFILE",
    "WINDIR",
];

/// The stdio server to put behind the bridge: program, arguments, environment, working directory.
///
/// ```
/// use mcp_stdio_bridge::Command;
///
/// let command = Command::new("npx")
///     .args(["-y", "@modelcontextprotocol/server-filesystem", "/srv/files"])
///     .env("NODE_ENV", "production")
///     .pass_env("HTTPS_PROXY");
/// ```
///
/// Its environment is empty but for `PATH`, `HOME`, `LANG`, `LC_*`, `TMPDIR`, `USER`, `LOGNAME`, `SHELL`, `TERM`,
/// `TZ` (and what Windows has in their place) and what [`env`](Self::env) and [`pass_env`](Self::pass_env) name.
#[derive(Clone)]
#[must_use]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    pass_env: Vec<OsString>,
    current_dir: Option<PathBuf>,
    caller_env: Vec<(OsString, Template)>,
    user: Option<u32>,
    group: Option<u32>,
    limits: ResourceLimits,
}

impl Command {
    /// A program, by its path or to be found in `PATH`.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            pass_env: Vec::new(),
            current_dir: None,
            caller_env: Vec::new(),
            user: None,
            group: None,
            limits: ResourceLimits::default(),
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the server's environment.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Hands a variable of the bridge's own environment to the server, if it is set when the server starts.
    pub fn pass_env(mut self, name: impl Into<OsString>) -> Self {
        self.pass_env.push(name.into());
        self
    }

    /// Sets a variable of the server's environment to what is known of the caller: `${caller.subject}`, and
    /// `${caller.NAME}` for what the layer in front has put in under that name. What is not known is empty.
    ///
    /// This is for processes that serve one caller only; a bridge whose process is
    /// [shared](crate::Share::Shared) is not built with it.
    ///
    /// # Errors
    ///
    /// There is another placeholder in it.
    pub fn caller_env(mut self, name: impl Into<OsString>, value: &str) -> Result<Self, ConfigError> {
        let template = Template::parse(value)?;
        self.caller_env.push((name.into(), template));
        Ok(self)
    }

    /// The user that the server runs as, by number. The bridge has to be root for that; supplementary groups are
    /// dropped.
    pub fn user(mut self, id: u32) -> Self {
        self.user = Some(id);
        self
    }

    /// The group that the server runs as, by number.
    pub fn group(mut self, id: u32) -> Self {
        self.group = Some(id);
        self
    }

    /// What the server may use of the machine.
    pub fn limits(mut self, limits: ResourceLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The server's working directory; the bridge's own where none is given.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(directory.into());
        self
    }

    /// The program, for logs and errors. The arguments may hold secrets and are never shown.
    pub(crate) fn program(&self) -> &OsStr {
        &self.program
    }

    /// Whether it can be run at all as configured.
    pub(crate) fn check(&self, shared: bool) -> Result<(), ConfigError> {
        if shared && !self.caller_env.is_empty() {
            return Err(ConfigError::SharedCaller);
        }
        if !cfg!(unix) && (self.user.is_some() || self.group.is_some()) {
            return Err(ConfigError::Unsupported("user and group"));
        }
        self.limits.check()
    }

    /// Whether each caller's process is another.
    pub(crate) fn depends_on_caller(&self) -> bool {
        !self.caller_env.is_empty()
    }

    /// The command as the operating system takes it.
    pub(crate) fn prepare(&self, caller: Option<&Caller>) -> tokio::process::Command {
        let mut command = match helper::launcher(&self.limits) {
            Some(mut launcher) => {
                launcher.arg(&self.program);
                launcher
            }
            None => tokio::process::Command::new(&self.program),
        };
        command.args(&self.args).env_clear();
        command.envs(std::env::vars_os().filter(|(name, _)| self.passes(name)));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        for (name, template) in &self.caller_env {
            command.env(name, template.fill(caller));
        }
        if let Some(directory) = &self.current_dir {
            command.current_dir(directory);
        }
        #[cfg(unix)]
        {
            if let Some(group) = self.group {
                command.gid(group);
            }
            if let Some(user) = self.user {
                command.uid(user);
            }
        }
        command
    }

    fn passes(&self, name: &OsStr) -> bool {
        // Only Windows takes names in any case.
        let same = |known: &OsStr| {
            if cfg!(windows) {
                known.eq_ignore_ascii_case(name)
            } else {
                known == name
            }
        };
        ORDINARY.iter().any(|known| same(OsStr::new(known)))
            || name.as_encoded_bytes().starts_with(b"LC_")
            || self.pass_env.iter().any(|passed| same(passed))
    }
}

impl fmt::Debug for Command {
    /// Shows the program and the names of the variables: arguments and values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program)
            .field("args", &self.args.len())
            .field("env", &self.env.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("pass_env", &self.pass_env)
            .field("current_dir", &self.current_dir)
            .finish_non_exhaustive()
    }
}
