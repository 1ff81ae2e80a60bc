//! The program's options. Each has a variable of the environment beside it.

#[cfg(feature = "connect")]
pub(crate) mod connect;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::ValueEnum;
use clap::builder::FalseyValueParser;
use mcp_stdio_bridge::{
    Bridge, BridgeBuilder, Command, ConfigError, Hosts, MemoryEvents, Origins, ResourceLimits, Share,
};
use tracing_subscriber::filter::Targets;

const EXAMPLES: &str = "\
Examples:
  mcp-stdio-bridge -- uvx mcp-server-time
      Serves the time server on http://127.0.0.1:3000/mcp.

  mcp-stdio-bridge --port 8080 --env NODE_ENV=production --pass-env HTTPS_PROXY -- \\
      npx -y @modelcontextprotocol/server-filesystem /srv/files
      Everything after `--` is the server's command line, passed on as it is.

  mcp-stdio-bridge --config claude_desktop_config.json
      Serves each server of the file at a path of its own, /NAME/mcp, and follows the file.

  mcp-stdio-bridge --share per-user --caller-header x-user --caller-env USER_ID='${caller.subject}' -- my-server
      A process for each user, as a proxy in front has authenticated them, which knows whose it is.

  mcp-stdio-bridge --host 0.0.0.0 --allow-unauthenticated --allowed-host mcp.example.com -- my-server
      In a container, behind a proxy that authenticates its callers.

  mcp-stdio-bridge connect https://mcp.example.com/mcp
      The other way round: a remote server, with sign-in, behind stdio. See `mcp-stdio-bridge connect --help`.

What the server writes to stderr is in the log with `--log-level debug`.";

/// Serves a stdio MCP server over streamable HTTP.
///
/// Each client gets a server process of its own, started by its `initialize` and ended with its session; clients of
/// MCP 2026-07-28, which have no sessions, share one by caller. Server and client need not speak the same era of the
/// protocol. The server sees an environment of the ordinary variables only (PATH, HOME, LANG, LC_*, ...): name what else
/// it needs with --env and --pass-env.
#[derive(Debug, Parser)]
#[command(name = "mcp-stdio-bridge", version, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Options {
    #[cfg(feature = "connect")]
    #[command(subcommand)]
    pub(crate) other: Option<Other>,

    /// Address to listen on
    #[arg(long, env = "MCP_BIND_HOST", default_value = "127.0.0.1", value_name = "ADDRESS", value_parser = address)]
    host: IpAddr,

    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "MCP_PORT", default_value_t = 3000)]
    port: u16,

    /// A file of servers in the form of Claude Desktop (`mcpServers`) or VS Code (`servers`), in place of a command
    #[arg(long, env = "MCP_CONFIG", value_name = "FILE", conflicts_with = "command")]
    pub(crate) config: Option<PathBuf>,

    /// Path of the endpoint
    #[arg(long, env = "MCP_PATH", default_value = "/mcp")]
    path: String,

    /// Listen on an address that others can reach, although the bridge itself lets in whoever comes
    #[arg(long, env = "MCP_ALLOW_UNAUTHENTICATED", value_parser = FalseyValueParser::new())]
    allow_unauthenticated: bool,

    /// A host name that clients reach the bridge by, beside localhost; `*` for any. May be repeated
    #[arg(long, env = "MCP_ALLOWED_HOSTS", value_delimiter = ',', value_name = "HOST[:PORT]")]
    allowed_host: Vec<String>,

    /// An origin whose pages may use the bridge, beside those of its hosts; `*` for any. May be repeated
    #[arg(long, env = "MCP_ALLOWED_ORIGINS", value_delimiter = ',', value_name = "ORIGIN")]
    allowed_origin: Vec<String>,

    /// Serve the two endpoints of MCP 2024-11-05 as well, /sse and /message
    #[arg(long, env = "MCP_HTTP_SSE", value_parser = FalseyValueParser::new())]
    http_sse: bool,

    /// Which clients share a server process
    #[arg(long, env = "MCP_SHARE", value_enum, default_value_t = Sharing::PerSession)]
    share: Sharing,

    /// A variable for the server's environment. May be repeated; MCP_SERVER_ENV may hold a JSON object of them
    // Several names and values in one text need a form that can hold any value.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(OsString, OsString)>,

    #[arg(long, env = "MCP_SERVER_ENV", hide = true, hide_env_values = true, value_parser = variables)]
    env_json: Option<Variables>,

    /// A variable for the server's environment that names the caller: ${caller.subject} stands for who the proxy in
    /// front says it is. May be repeated
    #[arg(long, env = "MCP_CALLER_ENV", value_delimiter = ',', value_name = "NAME=TEMPLATE")]
    caller_env: Vec<String>,

    /// The header in which the proxy in front names the caller. Only where nobody can come past the proxy
    #[arg(long, env = "MCP_CALLER_HEADER", value_name = "HEADER")]
    caller_header: Option<String>,

    /// Tell the server who calls: under this name in `_meta` of each request
    #[arg(long, env = "MCP_CALLER_META", value_name = "NAME")]
    caller_meta: Option<String>,

    /// A variable of this environment to hand to the server. May be repeated
    #[arg(long, env = "MCP_PASS_ENV", value_delimiter = ',', value_name = "NAME")]
    pass_env: Vec<OsString>,

    /// The server's working directory
    #[arg(long, env = "MCP_CWD", value_name = "DIRECTORY")]
    cwd: Option<PathBuf>,

    /// The user to run the server as, by number
    #[arg(long, env = "MCP_USER_ID", value_name = "UID")]
    user: Option<u32>,

    /// The group to run the server as, by number
    #[arg(long, env = "MCP_GROUP_ID", value_name = "GID")]
    group: Option<u32>,

    /// Address space of each process of the server, in bytes
    #[arg(long, env = "MCP_LIMIT_MEMORY", value_name = "BYTES")]
    limit_memory: Option<u64>,

    /// Open files of each process of the server
    #[arg(long, env = "MCP_LIMIT_FILES", value_name = "NUMBER")]
    limit_files: Option<u64>,

    /// Processor time of each process of the server
    #[arg(long, env = "MCP_LIMIT_CPU", value_name = "SECONDS")]
    limit_cpu: Option<u64>,

    /// Largest file that the server can write, in bytes
    #[arg(long, env = "MCP_LIMIT_FILE_SIZE", value_name = "BYTES")]
    limit_file_size: Option<u64>,

    /// Longest body of a request, in bytes
    #[arg(long, env = "MCP_MAX_BODY", default_value_t = 16 * 1024 * 1024, value_name = "BYTES")]
    max_body: usize,

    /// Longest message of the server, in bytes
    #[arg(long, env = "MCP_MAX_LINE", default_value_t = 16 * 1024 * 1024, value_name = "BYTES")]
    max_line: usize,

    /// How many sessions, and so server processes, there can be
    #[arg(long, env = "MCP_MAX_SESSIONS", default_value_t = 100, value_name = "NUMBER")]
    max_sessions: usize,

    /// How many sessions one caller can have; 0 is as many as there can be
    #[arg(
        long,
        env = "MCP_MAX_SESSIONS_PER_CALLER",
        default_value_t = 0,
        value_name = "NUMBER"
    )]
    max_sessions_per_caller: usize,

    /// How many processes one client of 2026-07-28 can have of a server that has to be initialized; with 1 all its
    /// calls meet the same process
    #[arg(long, env = "MCP_MAX_POOL", default_value_t = 4, value_name = "NUMBER")]
    max_pool: usize,

    /// How many processes to start before anybody asks, for servers that take their time to come up
    #[arg(long, env = "MCP_SPARES", default_value_t = 0, value_name = "NUMBER")]
    spares: usize,

    /// How many events of each session are kept for clients whose connection breaks
    #[arg(long, env = "MCP_EVENTS", default_value_t = 256, value_name = "NUMBER")]
    events: usize,

    /// How many requests to one process can wait for their answers
    #[arg(long, env = "MCP_MAX_CALLS", default_value_t = 256, value_name = "NUMBER")]
    max_calls: usize,

    /// End a session so long after its last request and stream; 0 is never
    #[arg(
        long,
        alias = "timeout",
        env = "MCP_IDLE_TIMEOUT",
        default_value_t = 1800,
        value_name = "SECONDS"
    )]
    idle_timeout: u64,

    /// How long a server may take to answer `initialize`
    #[arg(long, env = "MCP_HANDSHAKE_TIMEOUT", default_value_t = 30, value_name = "SECONDS")]
    handshake_timeout: u64,

    /// How long a server may take to answer any other request; 0 is as long as it takes
    #[arg(long, env = "MCP_REQUEST_TIMEOUT", default_value_t = 0, value_name = "SECONDS")]
    request_timeout: u64,

    /// How long a server may be silent when asked which era of the protocol it speaks, before a second process is
    /// initialized beside it
    #[arg(long, env = "MCP_PROBE_TIMEOUT", default_value_t = 2, value_name = "SECONDS")]
    probe_timeout: u64,

    /// How long a call waits for what its client was asked
    #[arg(long, env = "MCP_INPUT_TIMEOUT", default_value_t = 600, value_name = "SECONDS")]
    input_timeout: u64,

    /// How long an answer may take before its response becomes an event stream
    #[arg(long, env = "MCP_STREAM_AFTER", default_value_t = 10, value_name = "SECONDS")]
    stream_after: u64,

    /// How long requests in flight have to finish when the program is to end
    #[arg(long, env = "MCP_DRAIN_TIMEOUT", default_value_t = 3, value_name = "SECONDS")]
    drain_timeout: u64,

    /// Tell clients what a server that did not start has written to stderr; by default on an address that only this
    /// machine reaches
    #[arg(long, env = "MCP_TELL_STDERR", value_name = "BOOLEAN", num_args = 0..=1, default_missing_value = "true")]
    tell_stderr: Option<bool>,

    /// How many threads do the work; 0 is one for each processor. With one, small messages pass soonest, and a large one
    /// holds the others up
    #[arg(long, env = "MCP_THREADS", default_value_t = 0, value_name = "NUMBER")]
    pub(crate) threads: usize,

    /// A file to log to as well
    #[arg(long, env = "LOG_FILE", value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,

    /// What to log: error, warn, info, debug, trace, or filters such as `mcp_stdio_bridge=debug`
    #[arg(long, env = "LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub(crate) log_level: Targets,

    /// The server's command line
    #[arg(last = true, required_unless_present = "config", value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What the program does beside serving.
#[cfg(feature = "connect")]
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Other {
    Connect(Box<connect::Options>),
}

/// How much of each session's events is kept at most.
const EVENT_BYTES: usize = 1024 * 1024;

/// Which clients share a process.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sharing {
    /// Each session has its own
    PerSession,
    /// Each caller has one
    PerUser,
    /// There is one
    Shared,
}

impl From<Sharing> for Share {
    fn from(sharing: Sharing) -> Self {
        match sharing {
            Sharing::PerSession => Self::PerSession,
            Sharing::PerUser => Self::PerUser,
            Sharing::Shared => Self::Shared,
        }
    }
}

/// Variables for the server, as a JSON object has them.
#[derive(Clone)]
struct Variables(std::collections::BTreeMap<String, String>);

impl std::fmt::Debug for Variables {
    /// The names; the values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What keeps the program from starting with these options.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsafe {
    #[error(
        "{0} can be reached from other machines, and the bridge does not ask who is calling: whoever reaches it can \
         use the server.\nListen on 127.0.0.1 (the default), or put something in front that authenticates its \
         callers and say so with --allow-unauthenticated"
    )]
    Exposed(IpAddr),
}

impl Options {
    /// Where to listen.
    pub(crate) fn address(&self) -> Result<SocketAddr, Unsafe> {
        if !self.host.is_loopback() && !self.allow_unauthenticated {
            return Err(Unsafe::Exposed(self.host));
        }
        Ok(SocketAddr::new(self.host, self.port))
    }

    /// The endpoint's path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The bridge to the server of the command line.
    pub(crate) fn bridge(&self) -> Result<Bridge, ConfigError> {
        let mut words = self.command.iter();
        // Without a command the options are not accepted.
        let command = Command::new(words.next().cloned().unwrap_or_default()).args(words);
        self.configure(command)?.build()
    }

    /// What the options say of a server.
    pub(crate) fn configure(&self, mut command: Command) -> Result<BridgeBuilder, ConfigError> {
        for (name, value) in &self.env {
            command = command.env(name, value);
        }
        for (name, value) in self.env_json.iter().flat_map(|variables| &variables.0) {
            command = command.env(name, value);
        }
        for name in self.pass_env.iter().filter(|name| !name.is_empty()) {
            command = command.pass_env(name);
        }
        for (name, template) in self.caller_env.iter().filter_map(|one| one.split_once('=')) {
            command = command.caller_env(name, template)?;
        }
        if let Some(directory) = &self.cwd {
            command = command.current_dir(directory);
        }
        if let Some(user) = self.user {
            command = command.user(user);
        }
        if let Some(group) = self.group {
            command = command.group(group);
        }
        let mut builder = Bridge::builder(command.limits(self.limits()))
            .path(&self.path)
            .hosts(self.hosts())
            .origins(if any(&self.allowed_origin) {
                Origins::any()
            } else {
                Origins::list(named(&self.allowed_origin))
            })
            .http_sse(self.http_sse)
            .share(self.share.into())
            .max_body(self.max_body)
            .max_line(self.max_line)
            .max_sessions(self.max_sessions)
            .max_sessions_per_caller((self.max_sessions_per_caller > 0).then_some(self.max_sessions_per_caller))
            .max_pool(self.max_pool)
            .max_calls(self.max_calls)
            .spares(self.spares)
            .event_store(MemoryEvents::new(self.events, EVENT_BYTES))
            .idle_timeout(seconds(self.idle_timeout))
            .handshake_timeout(Duration::from_secs(self.handshake_timeout))
            .request_timeout(seconds(self.request_timeout))
            .probe_timeout(Duration::from_secs(self.probe_timeout))
            .input_timeout(Duration::from_secs(self.input_timeout))
            .stream_after(Duration::from_secs(self.stream_after))
            .drain_timeout(Duration::from_secs(self.drain_timeout))
            // On this machine the client is mostly the operator.
            .tell_stderr(
                self.tell_stderr
                    .unwrap_or(self.host.is_loopback() && !self.allow_unauthenticated),
            );
        if let Some(header) = &self.caller_header {
            builder = builder.caller_header(header);
        }
        if let Some(name) = &self.caller_meta {
            builder = builder.caller_meta(name);
        }
        Ok(builder)
    }

    fn limits(&self) -> ResourceLimits {
        let mut limits = ResourceLimits::default();
        if let Some(bytes) = self.limit_memory {
            limits = limits.memory(bytes);
        }
        if let Some(files) = self.limit_files {
            limits = limits.open_files(files);
        }
        if let Some(seconds) = self.limit_cpu {
            limits = limits.cpu_seconds(seconds);
        }
        if let Some(bytes) = self.limit_file_size {
            limits = limits.file_size(bytes);
        }
        limits
    }

    fn hosts(&self) -> Hosts {
        if any(&self.allowed_host) {
            return Hosts::any();
        }
        self.allowed_host.iter().fold(Hosts::loopback(), Hosts::and)
    }
}

fn any(list: &[String]) -> bool {
    list.iter().any(|one| one == "*")
}

/// A variable that is set to nothing names nothing.
fn named(list: &[String]) -> impl Iterator<Item = &str> {
    list.iter().map(|one| one.trim()).filter(|one| !one.is_empty())
}

fn seconds(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

fn address(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::from([127, 0, 0, 1]));
    }
    text.parse()
        .map_err(|_| "write an address such as 127.0.0.1, ::1 or 0.0.0.0".to_owned())
}

fn variable(text: &str) -> Result<(OsString, OsString), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        // The text may be a secret; it is not repeated.
        _ => Err("write NAME=VALUE; to hand on a variable that is set here, use --pass-env NAME".to_owned()),
    }
}

fn variables(text: &str) -> Result<Variables, String> {
    if text.trim().is_empty() {
        return Ok(Variables(std::collections::BTreeMap::new()));
    }
    // The text may hold secrets; the error says nothing of it.
    let variables = serde_json::from_str(text).map_err(|_| "write a JSON object of strings".to_owned())?;
    Ok(Variables(variables))
}
