//! The program's options. Each has a variable of the environment beside it.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::FalseyValueParser;
use mcp_stdio_bridge::{Bridge, Builder, Command, Hosts, Origins};

const EXAMPLES: &str = "\
Examples:
  mcp-stdio-bridge -- uvx mcp-server-time
      Serves the time server on http://127.0.0.1:3000/mcp.

  mcp-stdio-bridge --port 8080 --env NODE_ENV=production --pass-env HTTPS_PROXY -- \\
      npx -y @modelcontextprotocol/server-filesystem /srv/files
      Everything after `--` is the server's command line, passed on as it is.

  mcp-stdio-bridge --host 0.0.0.0 --allow-unauthenticated --allowed-host mcp.example.com -- my-server
      In a container, behind a proxy that authenticates its callers.

What the server writes to stderr is in the log with `--log-level debug`.";

/// Serves a stdio MCP server over streamable HTTP.
///
/// Each client gets a server process of its own, started by its `initialize` and ended with its session. The server
/// sees an environment of the ordinary variables only (PATH, HOME, LANG, LC_*, ...): name what else it needs with
/// --env and --pass-env.
#[derive(Debug, Parser)]
#[command(name = "mcp-stdio-bridge", version, after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Address to listen on
    #[arg(long, env = "MCP_BIND_HOST", default_value = "127.0.0.1", value_name = "ADDRESS", value_parser = address)]
    host: IpAddr,

    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "MCP_PORT", default_value_t = 3000)]
    port: u16,

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

    /// A variable for the server's environment. May be repeated
    // No variable stands behind these two: they would hold several names or values in one text.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(OsString, OsString)>,

    /// A variable of this environment to hand to the server. May be repeated
    #[arg(long, env = "MCP_PASS_ENV", value_delimiter = ',', value_name = "NAME")]
    pass_env: Vec<OsString>,

    /// The server's working directory
    #[arg(long, env = "MCP_CWD", value_name = "DIRECTORY")]
    cwd: Option<PathBuf>,

    /// Longest body of a request, in bytes
    #[arg(long, env = "MCP_MAX_BODY", default_value_t = 4 * 1024 * 1024, value_name = "BYTES")]
    max_body: usize,

    /// Longest message of the server, in bytes
    #[arg(long, env = "MCP_MAX_LINE", default_value_t = 16 * 1024 * 1024, value_name = "BYTES")]
    max_line: usize,

    /// How many sessions, and so server processes, there can be
    #[arg(long, env = "MCP_MAX_SESSIONS", default_value_t = 100, value_name = "NUMBER")]
    max_sessions: usize,

    /// How many requests of one session can wait for their answers
    #[arg(long, env = "MCP_MAX_CALLS", default_value_t = 256, value_name = "NUMBER")]
    max_calls: usize,

    /// End a session so long after its last request and stream; 0 is never
    #[arg(long, env = "MCP_IDLE_TIMEOUT", default_value_t = 1800, value_name = "SECONDS")]
    idle_timeout: u64,

    /// How long a server may take to answer `initialize`
    #[arg(long, env = "MCP_HANDSHAKE_TIMEOUT", default_value_t = 30, value_name = "SECONDS")]
    handshake_timeout: u64,

    /// How long a server may take to answer any other request; 0 is as long as it takes
    #[arg(long, env = "MCP_REQUEST_TIMEOUT", default_value_t = 0, value_name = "SECONDS")]
    request_timeout: u64,

    /// What to log: error, warn, info, debug, trace, or filters such as `mcp_stdio_bridge=debug`
    #[arg(long, env = "LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub(crate) log_level: String,

    /// The server's command line
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
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

    /// The bridge.
    pub(crate) fn builder(&self) -> Builder {
        let mut words = self.command.iter();
        // Without a command the options are not accepted.
        let mut command = Command::new(words.next().cloned().unwrap_or_default()).args(words);
        for (name, value) in &self.env {
            command = command.env(name, value);
        }
        for name in self.pass_env.iter().filter(|name| !name.is_empty()) {
            command = command.pass_env(name);
        }
        if let Some(directory) = &self.cwd {
            command = command.current_dir(directory);
        }
        Bridge::builder(command)
            .path(&self.path)
            .hosts(self.hosts())
            .origins(if any(&self.allowed_origin) {
                Origins::any()
            } else {
                Origins::list(named(&self.allowed_origin))
            })
            .max_body(self.max_body)
            .max_line(self.max_line)
            .max_sessions(self.max_sessions)
            .max_calls(self.max_calls)
            .idle_timeout(seconds(self.idle_timeout))
            .handshake_timeout(Duration::from_secs(self.handshake_timeout))
            .request_timeout(seconds(self.request_timeout))
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
