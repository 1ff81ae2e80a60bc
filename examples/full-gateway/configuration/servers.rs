//! `[servers.<name>]`: MCP servers that the gateway serves, each by code in this process, by a program behind the bridge, or
//! by another server that it passes requests on to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use mcp_oauth_core::policy::AllowList;
use mcp_stdio_bridge::Share;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::access::AccessSettings;
use super::hidden::Hidden;
use super::lists::allow_list;

/// One of them: with `command`, `url` or `embedded`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerSettings {
    /// Its name for people.
    pub(crate) name: Option<String>,
    /// A host of its own, such as `files.example.com`; otherwise it is below the gateway's own address.
    pub(crate) host: Option<String>,
    /// Where it is there: `/mcp` at a host of its own, `/<name>/mcp` otherwise.
    pub(crate) path: Option<String>,
    /// Who may use it, of those who may sign in.
    allowed_users: Option<String>,
    /// How far tokens for it reach, and what its operations need.
    pub(crate) access: AccessSettings,
    /// The identity provider whose tokens it is handed, such as `github`: the person's own, out of the vault.
    pub(crate) upstream_tokens_of: Option<String>,

    /// Code of this program: `echo`.
    embedded: Option<Embedded>,

    /// A program that speaks MCP on stdin and stdout, and its arguments.
    command: Option<Vec<String>>,
    /// Variables to set for it.
    pub(crate) env: BTreeMap<String, Hidden>,
    /// Variables of the gateway's own environment that it may see too.
    pub(crate) pass_env: Vec<String>,
    /// Variables that tell it who calls: `${caller.subject}`, `${caller.username}`, `${caller.name}`, `${caller.client_id}`.
    pub(crate) caller_env: BTreeMap<String, String>,
    /// A member of `_meta` that tells it who calls, with each request.
    pub(crate) caller_meta: Option<String>,
    /// Where it runs.
    pub(crate) directory: Option<PathBuf>,
    /// Which clients share a process.
    pub(crate) share: Sharing,
    /// The bounds of its processes.
    pub(crate) process: ProcessSettings,

    /// Another MCP server, such as `http://127.0.0.1:9000/mcp`.
    #[schemars(with = "Option<String>")]
    url: Option<Url>,
    /// How requests are passed on to it.
    pub(crate) upstream: UpstreamSettings,
}

/// Code of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Embedded {
    /// Echoes, and tells what reaches it.
    Echo,
}

/// Which clients share a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sharing {
    /// Each session has one of its own.
    #[default]
    PerSession,
    /// All sessions of a person have one.
    PerUser,
    /// Everybody has the same one.
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

/// The bounds of the processes of a program. What is left out is as the bridge has it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProcessSettings {
    /// How many are started before anybody asks; none if nothing is said.
    pub(crate) spares: Option<usize>,
    /// How many sessions there can be, and how many processes; 100.
    pub(crate) max_sessions: Option<usize>,
    /// How many sessions one person can have; as many as there can be.
    pub(crate) max_sessions_per_caller: Option<usize>,
    /// How many processes a person without sessions can have, for calls in which the server may ask back; 4.
    pub(crate) max_pool: Option<usize>,
    /// How many requests to one process can wait for their answers; 256.
    pub(crate) max_calls: Option<usize>,
    /// The longest body of a request, in bytes; 16 MiB.
    pub(crate) max_body: Option<usize>,
    /// The longest message of the program, in bytes; 16 MiB.
    pub(crate) max_line: Option<usize>,
    /// In seconds, since its last request and stream, after which a session ends; 1800, and 0 is never.
    pub(crate) idle_timeout: Option<u64>,
    /// In seconds: how long it may take to answer `initialize`; 30.
    pub(crate) handshake_timeout: Option<u64>,
    /// In seconds: how long it may take to answer anything else; as long as it takes, which is 0 too.
    pub(crate) request_timeout: Option<u64>,
    /// In seconds, after which an answer that is not there yet becomes a stream; 10.
    pub(crate) stream_after: Option<u64>,
    /// Address space of each process, in bytes.
    pub(crate) limit_memory: Option<u64>,
    /// Open files of each process.
    pub(crate) limit_files: Option<u64>,
    /// Processor time of each process, in seconds.
    pub(crate) limit_cpu: Option<u64>,
    /// The largest file that it can write, in bytes.
    pub(crate) limit_file_size: Option<u64>,
    /// The user that it runs as, by number; the gateway has to be root for that.
    pub(crate) user: Option<u32>,
    /// The group, likewise.
    pub(crate) group: Option<u32>,
}

/// How requests are passed on to another server.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UpstreamSettings {
    /// In seconds: how long a connection to it may take.
    connect_timeout: u64,
    /// In seconds: how long it may take until its answer begins.
    response_timeout: u64,
    /// The longest body of a request, in bytes.
    pub(crate) max_body: usize,
    /// The authority of its certificate, in PEM; those that the system trusts if nothing is said.
    pub(crate) ca_file: Option<PathBuf>,
    /// Whether it is told who calls in a token that it can verify (`X-Identity-Token`).
    pub(crate) identity_tokens: bool,
    /// Whether it gets the client's own `Authorization`, with which it can be anybody who calls it.
    pub(crate) access_tokens: bool,
    /// The header in which it gets the token that `upstream_tokens_of` names.
    pub(crate) upstream_token_header: String,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            connect_timeout: 5,
            response_timeout: 300,
            max_body: 16 * 1024 * 1024,
            ca_file: None,
            identity_tokens: false,
            access_tokens: false,
            upstream_token_header: mcp_oauth_tower::forward_auth::UPSTREAM_TOKEN_HEADER.to_owned(),
        }
    }
}

impl UpstreamSettings {
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout)
    }

    pub(crate) fn response_timeout(&self) -> Duration {
        Duration::from_secs(self.response_timeout)
    }
}

/// What serves it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ServedBy<'a> {
    Embedded(Embedded),
    /// The program and its arguments.
    Program(&'a str, &'a [String]),
    Upstream(&'a Url),
}

impl ServerSettings {
    /// Who may use it, if not everybody who may sign in. `key` is what it is called in the file.
    pub(crate) fn allowed_users(&self, key: &str) -> anyhow::Result<Option<AllowList>> {
        allow_list(
            &format!("allowed_users of [servers.{key}]"),
            self.allowed_users.as_deref(),
        )
    }

    /// What serves it, which is one thing.
    pub(crate) fn served_by(&self) -> anyhow::Result<ServedBy<'_>> {
        let served_by = match (&self.embedded, &self.command, &self.url) {
            (Some(embedded), None, None) => ServedBy::Embedded(*embedded),
            (None, Some(command), None) => match command.split_first() {
                Some((program, arguments)) => ServedBy::Program(program, arguments),
                None => anyhow::bail!("it needs a command, such as command = [\"uvx\", \"mcp-server-time\"]"),
            },
            (None, None, Some(url)) => ServedBy::Upstream(url),
            (None, None, None) => anyhow::bail!(
                "it needs a command, such as command = [\"uvx\", \"mcp-server-time\"], or the url of another server"
            ),
            _ => anyhow::bail!("it has more than one of command, url and embedded: keep one"),
        };
        let of_programs = !self.env.is_empty()
            || !self.pass_env.is_empty()
            || !self.caller_env.is_empty()
            || self.caller_meta.is_some()
            || self.directory.is_some()
            || self.share != Sharing::default()
            || self.process != ProcessSettings::default();
        anyhow::ensure!(
            !of_programs || matches!(served_by, ServedBy::Program(..)),
            "env, pass_env, caller_env, caller_meta, directory, share and process are for servers with a command"
        );
        anyhow::ensure!(
            self.upstream == UpstreamSettings::default() || matches!(served_by, ServedBy::Upstream(_)),
            "upstream is for servers with a url"
        );
        anyhow::ensure!(
            self.upstream_tokens_of.is_none() || !matches!(served_by, ServedBy::Program(..)),
            "upstream_tokens_of is for servers with a url: a program has no place for the token of whoever calls"
        );
        Ok(served_by)
    }

    /// Whether it can be served as it is written. `key` is what it is called in the file.
    pub(super) fn check(&self, key: &str) -> anyhow::Result<()> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if key.is_empty() || !key.bytes().all(plain) {
            anyhow::bail!("[servers.{key}] cannot be part of a path: use letters, digits, - and _");
        }
        self.allowed_users(key)?;
        let wrong = || format!("[servers.{key}] cannot be used");
        self.served_by().with_context(wrong)?;
        if let Some(path) = &self.path {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
            let clear = path.starts_with('/')
                && path.len() > 1
                && path.bytes().all(plain)
                && path[1..].split('/').all(|segment| !matches!(segment, "" | "." | ".."));
            anyhow::ensure!(
                clear,
                "[servers.{key}] has the path {path:?}: write it as /mcp or /files/mcp, without a slash at the end"
            );
        }
        if let Some(host) = &self.host {
            let parsed: Option<http::uri::Authority> = host.parse().ok();
            let plain = parsed.is_some_and(|parsed| parsed.host() == host && !host.contains('@'));
            anyhow::ensure!(
                plain && host.chars().all(|character| !character.is_ascii_uppercase()),
                "[servers.{key}] has the host {host:?}: write a name in small letters, such as files.example.com, without \
                 scheme, port and path"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::configuration::tests::{read, refusal};

    #[test]
    fn a_server_is_one_thing() {
        for (settings, says) in [
            ("", "needs a command"),
            ("command = []", "needs a command"),
            ("command = [\"x\"]\nurl = \"http://127.0.0.1:9000/mcp\"", "keep one"),
            (
                "url = \"http://127.0.0.1:9000/mcp\"\nenv = { A = \"b\" }",
                "for servers with a command",
            ),
            (
                "url = \"http://127.0.0.1:9000/mcp\"\nshare = \"shared\"",
                "for servers with a command",
            ),
            (
                "command = [\"x\"]\nupstream = { max_body = 1 }",
                "for servers with a url",
            ),
            (
                "command = [\"x\"]\nupstream_tokens_of = \"github\"",
                "for servers with a url",
            ),
            ("url = \"nowhere\"", "nowhere"),
            ("command = [\"x\"]\npath = \"/a/../b\"", "/a/../b"),
            ("command = [\"x\"]\npath = \"/mcp/\"", "/mcp/"),
            (
                "command = [\"x\"]\nhost = \"https://files.example.com\"",
                "without scheme",
            ),
            ("command = [\"x\"]\nhost = \"files.example.com:8443\"", "without"),
            ("command = [\"x\"]\nhost = \"Files.example.com\"", "small letters"),
            ("command = [\"x\"]\nshare = \"per-person\"", "per-person"),
            ("command = [\"x\"]\nprocess = { spare = 1 }", "spare"),
            ("command = [\"x\"]\naccess = { scope = [] }", "scope"),
        ] {
            let told = refusal(&format!("[servers.files]\n{settings}"), &[]);
            assert!(told.contains(says), "{settings}: {told}");
        }
    }

    #[test]
    fn what_may_hold_a_secret_is_not_shown() {
        let toml = "[servers.files]\ncommand = [\"x\"]\nenv = { TOKEN = \"hunter2\" }";
        let configuration = read(toml, &[], &[]).unwrap();
        assert!(!format!("{configuration:?}").contains("hunter2"));
        assert_eq!(configuration.servers["files"].env["TOKEN"].expose(), "hunter2");
    }
}
