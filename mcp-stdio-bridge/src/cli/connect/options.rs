//! What `connect` can be told, and the connection that comes of it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use clap::builder::FalseyValueParser;
use mcp_stdio_bridge::connect::{
    Browser, ClientCredentials, Connection, Enterprise, FileStorage, Grant, MemoryStorage, Secret, SigningKey, Terminal,
};
use tracing_subscriber::filter::Targets;
use url::Url;

use super::Usage;

const EXAMPLES: &str = "\
Examples:
  mcp-stdio-bridge connect https://mcp.example.com/mcp
      What a client starts that only knows stdio. In Claude Desktop's file:
      {\"mcpServers\": {\"example\": {\"command\": \"mcp-stdio-bridge\", \"args\": [\"connect\", \"https://mcp.example.com/mcp\"]}}}

  mcp-stdio-bridge connect https://mcp.example.com/mcp --token
      Signs in beforehand, so that the client does not have to wait for it, and says what there is.

  mcp-stdio-bridge connect https://mcp.example.com/mcp --call echo '{\"message\": \"hello\"}'
      Calls a tool from a script.

Exit codes: 0 done; 1 it failed; 2 the options are wrong; 3 no token, or the token is not taken; 4 the server cannot be
reached; 5 the tool or the server answered with an error.

Nothing but messages of the protocol, or what was asked for, goes to stdout; all else goes to stderr.";

/// Gives a client that only knows stdio a remote MCP server, and signs in there
///
/// Messages are carried as they are, in either era of the protocol. When the server asks for a token, somebody is asked
/// to sign in, in the browser or on another device; tokens are kept for the next time, renewed when they end, and asked
/// for again when the server wants more scope.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The server: https, or http on this machine
    #[arg(env = "MCP_SERVER_URL", value_name = "URL")]
    url: String,

    #[command(flatten)]
    pub(super) task: Task,

    /// Print what was asked for as JSON
    #[arg(long)]
    pub(super) json: bool,

    /// Do not ask before what cannot be undone
    #[arg(long, env = "MCP_YES", value_parser = FalseyValueParser::new())]
    pub(super) yes: bool,

    /// How a token is asked for
    #[arg(long, env = "MCP_GRANT", value_enum, default_value_t = GrantKind::Browser)]
    grant: GrantKind,

    /// Sign in on another device, by a code; the same as `--grant device`
    #[arg(long)]
    device: bool,

    /// A client id that was registered by hand
    #[arg(long, env = "MCP_CLIENT_ID", value_name = "ID")]
    client_id: Option<String>,

    /// The file with the secret of that client. The variable MCP_CLIENT_SECRET may hold the secret itself
    #[arg(long, env = "MCP_CLIENT_SECRET_FILE", value_name = "FILE")]
    client_secret_file: Option<PathBuf>,

    // On a command line others can read it; in the environment they cannot.
    #[arg(long, env = "MCP_CLIENT_SECRET", hide = true, hide_env_values = true, value_parser = secret)]
    client_secret: Option<Secret>,

    /// The file with the private key of that client, in PEM form (private_key_jwt)
    #[arg(long, env = "MCP_CLIENT_KEY_FILE", value_name = "FILE")]
    client_key_file: Option<PathBuf>,

    /// The name under which the authorization server knows that key
    #[arg(long, env = "MCP_CLIENT_KEY_ID", value_name = "ID")]
    client_key_id: Option<String>,

    /// The address of a document that describes this client, for authorization servers that read such documents
    #[arg(long, env = "MCP_CLIENT_METADATA_URL", value_name = "URL")]
    client_metadata_url: Option<Url>,

    /// The name to register under
    #[arg(long, env = "CLIENT_NAME", value_name = "NAME", default_value = "mcp-stdio-bridge")]
    client_name: String,

    /// The only authorization server to sign in at, by its issuer
    #[arg(long, env = "MCP_ISSUER", value_name = "URL")]
    issuer: Option<String>,

    /// The scopes to ask for at first, in place of those that the server names
    #[arg(long, env = "MCP_SCOPE", value_name = "SCOPES")]
    scope: Option<String>,

    /// The program that opens the browser: it gets the address as its only argument; `none` only prints the address
    #[arg(long, env = "MCP_BROWSER", value_name = "PROGRAM")]
    browser: Option<PathBuf>,

    /// The port of 127.0.0.1 that the browser comes back to
    #[arg(long, env = "MCP_CALLBACK_PORT", value_name = "PORT")]
    callback_port: Option<u16>,

    /// How long somebody has to sign in
    #[arg(long, env = "MCP_SIGN_IN_TIMEOUT", value_name = "SECONDS", default_value_t = 600)]
    sign_in_timeout: u64,

    // A token from somewhere else, used as it is.
    #[arg(long, env = "MCP_CLIENT_ACCESS_TOKEN", hide = true, hide_env_values = true, value_parser = secret)]
    access_token: Option<Secret>,

    /// The file with an assertion to exchange for a token (`--grant assertion`)
    #[arg(
        long,
        env = "MCP_ASSERTION_FILE",
        value_name = "FILE",
        required_if_eq("grant", "assertion")
    )]
    assertion_file: Option<PathBuf>,

    /// The token endpoint of the enterprise's identity provider (`--grant enterprise`)
    #[arg(
        long,
        env = "MCP_IDP_TOKEN_ENDPOINT",
        value_name = "URL",
        required_if_eq("grant", "enterprise")
    )]
    idp_token_endpoint: Option<Url>,

    /// This client as that identity provider knows it
    #[arg(
        long,
        env = "MCP_IDP_CLIENT_ID",
        value_name = "ID",
        required_if_eq("grant", "enterprise")
    )]
    idp_client_id: Option<String>,

    /// The file with the ID token of the person, from that identity provider
    #[arg(
        long,
        env = "MCP_ID_TOKEN_FILE",
        value_name = "FILE",
        required_if_eq("grant", "enterprise")
    )]
    id_token_file: Option<PathBuf>,

    /// Where tokens and registrations are kept
    #[arg(long, env = "MCP_CREDENTIALS", value_enum, default_value_t = Kept::File)]
    credentials: Kept,

    /// The directory for them; by default the system's for what programs keep
    #[arg(long, env = "MCP_CREDENTIALS_DIRECTORY", value_name = "DIRECTORY")]
    credentials_directory: Option<PathBuf>,

    /// Longest message in either direction, in bytes
    #[arg(long, env = "MCP_MAX_MESSAGE", value_name = "BYTES", default_value_t = 16 * 1024 * 1024)]
    max_message: usize,

    /// How long requests in flight have to finish when stdin ends
    #[arg(long, env = "MCP_DRAIN_TIMEOUT", value_name = "SECONDS", default_value_t = 5)]
    drain_timeout: u64,

    /// What to log: error, warn, info, debug, trace, or filters such as `mcp_stdio_bridge=debug`
    #[arg(long, env = "LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub(super) log_level: Targets,
}

/// What to do in place of carrying messages.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct Task {
    /// List the server's tools
    #[arg(long)]
    pub(super) list_tools: bool,

    /// List the server's prompts
    #[arg(long)]
    pub(super) list_prompts: bool,

    /// List the server's resources
    #[arg(long)]
    pub(super) list_resources: bool,

    /// Call a tool, with its arguments as a JSON object
    #[arg(long, num_args = 1..=2, value_names = ["TOOL", "JSON"])]
    pub(super) call: Option<Vec<String>>,

    /// Call a tool, all in one text: its name, and its arguments as JSON or as name=value …
    #[arg(short = 'c', long, value_name = "TOOL ARGUMENTS")]
    pub(super) command: Option<String>,

    /// Send a request as it is and print its answer; without an id and a version it gets them
    #[arg(long, value_name = "JSON")]
    pub(super) raw: Option<String>,

    /// Make sure that there is a token that the server takes, and say what there is; somebody may have to sign in
    #[arg(short = 't', long)]
    pub(super) token: bool,

    /// The same, and print the access token and nothing else
    #[arg(long)]
    pub(super) print_token: bool,

    /// Say whether the server takes the token that is there; nobody is asked to sign in
    #[arg(long)]
    pub(super) test_auth: bool,

    /// Give the tokens back, and forget them
    #[arg(long, visible_alias = "reset-auth")]
    pub(super) logout: bool,

    /// Show this client's own registration
    #[arg(long, visible_alias = "get-client-info")]
    pub(super) show_registration: bool,

    /// Change members of this client's own registration: a JSON object
    #[arg(long, visible_alias = "update-client", value_name = "JSON")]
    pub(super) update_registration: Option<String>,

    /// End this client's own registration; asks first, unless --yes
    #[arg(long, visible_alias = "delete-client")]
    pub(super) delete_registration: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GrantKind {
    /// Somebody signs in in a browser here
    Browser,
    /// Somebody signs in on another device, by a code
    Device,
    /// The client itself is who is let in, by its secret or key
    ClientCredentials,
    /// Somebody else vouches for the client, by an assertion
    Assertion,
    /// The enterprise's identity provider vouches for the person
    Enterprise,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kept {
    /// In files that only their owner can read
    File,
    /// In the system's keyring
    Keyring,
    /// Nowhere: they end with this process
    None,
}

// A parser has to be able to fail.
#[allow(clippy::unnecessary_wraps)]
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

impl Options {
    /// The connection that they describe.
    pub(super) fn connection(&self) -> anyhow::Result<Connection> {
        let browser = match &self.browser {
            None => Browser::System,
            Some(program) if program.as_os_str() == "none" => Browser::None,
            Some(program) => Browser::Program(program.clone()),
        };
        let mut builder = Connection::builder(&self.url)
            .grant(self.grant()?)
            .client_name(&self.client_name)
            .person(Terminal::new(browser))
            .max_message(self.max_message)
            .sign_in_timeout(Duration::from_secs(self.sign_in_timeout))
            .drain_timeout(Duration::from_secs(self.drain_timeout));
        if let Some(client) = self.client()? {
            builder = builder.client(client);
        } else if let Some(key) = self.client_key()? {
            builder = builder.client_key(key);
        }
        if let Some(url) = &self.client_metadata_url {
            builder = builder.client_metadata_url(url.clone());
        }
        if let Some(issuer) = &self.issuer {
            builder = builder.issuer(issuer);
        }
        if let Some(scope) = &self.scope {
            builder = builder.scope(scope);
        }
        if let Some(port) = self.callback_port {
            builder = builder.callback_port(port);
        }
        if let Some(token) = &self.access_token {
            builder = builder.access_token(token.clone());
        }
        let files = || match &self.credentials_directory {
            Some(directory) => FileStorage::new(directory),
            None => FileStorage::of_user(),
        };
        builder = match self.credentials {
            // With a token from somewhere else nothing is kept.
            Kept::File if self.access_token.is_none() => builder.storage(files()?),
            Kept::Keyring if self.access_token.is_none() => keyring(builder, files()?)?,
            _ => builder.storage(MemoryStorage::default()),
        };
        Ok(builder.build()?)
    }

    fn grant(&self) -> anyhow::Result<Grant> {
        let missing = |what: &str| Usage(format!("this grant needs {what}"));
        let kind = if self.device { GrantKind::Device } else { self.grant };
        Ok(match kind {
            GrantKind::Browser => Grant::Browser,
            GrantKind::Device => Grant::Device,
            GrantKind::ClientCredentials => Grant::ClientCredentials,
            GrantKind::Assertion => Grant::Assertion {
                file: self.assertion_file.clone().ok_or_else(|| missing("--assertion-file"))?,
            },
            GrantKind::Enterprise => {
                let id = self.idp_client_id.clone().ok_or_else(|| missing("--idp-client-id"))?;
                let endpoint = self.idp_token_endpoint.clone();
                Grant::Enterprise(Enterprise::new(
                    endpoint.ok_or_else(|| missing("--idp-token-endpoint"))?,
                    ClientCredentials::public(id),
                    self.id_token_file.clone().ok_or_else(|| missing("--id-token-file"))?,
                ))
            }
        })
    }

    fn client(&self) -> anyhow::Result<Option<ClientCredentials>> {
        let Some(id) = &self.client_id else { return Ok(None) };
        if let Some(key) = self.client_key()? {
            return Ok(Some(ClientCredentials::with_key(id, key)));
        }
        let secret = match &self.client_secret_file {
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
                Some(Secret::new(text.trim()))
            }
            None => self.client_secret.clone(),
        };
        Ok(Some(match secret {
            Some(secret) => ClientCredentials::with_secret(id, secret),
            None => ClientCredentials::public(id),
        }))
    }

    fn client_key(&self) -> anyhow::Result<Option<SigningKey>> {
        let Some(file) = &self.client_key_file else {
            return Ok(None);
        };
        let pem = std::fs::read(file).with_context(|| format!("{}", file.display()))?;
        let mut key = SigningKey::from_pem(&pem).with_context(|| format!("{}", file.display()))?;
        if let Some(id) = &self.client_key_id {
            key = key.key_id(id);
        }
        Ok(Some(key))
    }
}

#[cfg(feature = "keyring")]
fn keyring(
    builder: mcp_stdio_bridge::connect::ConnectionBuilder,
    files: FileStorage,
) -> anyhow::Result<mcp_stdio_bridge::connect::ConnectionBuilder> {
    Ok(builder.storage(mcp_stdio_bridge::connect::KeyringStorage::new(files)?))
}

#[cfg(not(feature = "keyring"))]
fn keyring(
    _: mcp_stdio_bridge::connect::ConnectionBuilder,
    _: FileStorage,
) -> anyhow::Result<mcp_stdio_bridge::connect::ConnectionBuilder> {
    anyhow::bail!(Usage(
        "this program was built without the feature `keyring`; use --credentials file".to_owned()
    ))
}
