//! What an operator can set, and where from.
//!
//! The environment is stronger than a `.env` file in the working directory, which is stronger than a TOML file
//! (`gateway.toml`, or what `GATEWAY_CONFIG` names). Every setting has a type; a name that nobody knows is refused,
//! since it is most likely a spelling mistake.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use config::{Config, Environment, File, FileFormat};
use mcp_oauth_core::policy::AllowList;
use mcp_oauth_core::server::builder::Lifetimes;
use mcp_oauth_core::token::keys::Algorithm;
use mcp_oauth_tower::TrustedProxies;
use serde::Deserialize;

/// Told by `--help`.
pub(crate) const HELP: &str = "\
Settings come from the environment, a .env file and a TOML file (gateway.toml, or what GATEWAY_CONFIG names), in this order of
strength. The most important ones:
  GATEWAY_LISTEN          address and port to listen on [127.0.0.1:8080]
  GATEWAY_PUBLIC_URL      how clients reach the gateway [http:// and the address]
  GITHUB_CLIENT_ID        with GITHUB_CLIENT_SECRET: sign in with GitHub instead of made-up people
  ALLOWED_GITHUB_USERS    who may sign in: logins, org=acme or team=acme/ops, set apart by commas, or * for everybody
The README beside the example lists all of them.";

/// The file that is read if nothing else is named.
const DEFAULT_FILE: &str = "gateway.toml";

const PREFIX: &str = "GATEWAY_";

/// Names without the prefix that people know from elsewhere, and what they mean here.
const WELL_KNOWN: [(&str, &str); 6] = [
    ("GITHUB_CLIENT_ID", "GATEWAY_GITHUB__CLIENT_ID"),
    ("GITHUB_CLIENT_SECRET", "GATEWAY_GITHUB__CLIENT_SECRET"),
    ("ALLOWED_GITHUB_USERS", "GATEWAY_ALLOWED_USERS"),
    ("ACCESS_TOKEN_LIFETIME", "GATEWAY_ACCESS_TOKEN_LIFETIME"),
    ("REFRESH_TOKEN_LIFETIME", "GATEWAY_REFRESH_TOKEN_LIFETIME"),
    ("CLIENT_LIFETIME", "GATEWAY_CLIENT_LIFETIME"),
];

/// The settings of the gateway.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Configuration {
    /// Address and port to listen on.
    pub(crate) listen: SocketAddr,
    /// How clients reach the gateway: its issuer.
    public_url: Option<String>,
    /// Who may sign in; `*` means everybody.
    allowed_users: Option<String>,
    /// Who of them may use the servers that come with the example.
    built_in_allowed_users: Option<String>,
    /// Sign in with GitHub.
    github: GitHubSettings,
    /// How access tokens are signed.
    signing_algorithm: SigningAlgorithm,
    /// In seconds.
    access_token_lifetime: u64,
    /// In seconds, from the last use.
    refresh_token_lifetime: u64,
    /// In seconds; 0 means for ever.
    client_lifetime: u64,
    /// In seconds: how long GitHub is not asked again how a person stands.
    identity_check: u64,
    /// In seconds: how long organisations, teams and addresses are believed that are not confirmed.
    maximum_identity_age: u64,
    /// Redirect URIs that clients may register although their scheme is not allowed otherwise.
    pub(crate) allowed_redirect_uris: Vec<String>,
    /// Whether clients may be known by the URL of their metadata document, which the gateway then fetches.
    pub(crate) client_id_metadata_documents: bool,
    /// Proxies that say where requests come from: addresses and networks.
    trusted_proxies: String,
    /// What to log, as `tracing-subscriber`'s filter reads it.
    pub(crate) log: String,
    /// Whether the servers that come with the example are served.
    pub(crate) built_in_servers: bool,
    /// The stdio servers to put behind the bridge, by the first segment of their path.
    pub(crate) servers: BTreeMap<String, StdioServer>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            allowed_users: None,
            built_in_allowed_users: None,
            github: GitHubSettings::default(),
            signing_algorithm: SigningAlgorithm::default(),
            access_token_lifetime: 60 * 60,
            refresh_token_lifetime: 30 * 24 * 60 * 60,
            client_lifetime: 90 * 24 * 60 * 60,
            identity_check: 15 * 60,
            maximum_identity_age: 24 * 60 * 60,
            allowed_redirect_uris: Vec::new(),
            client_id_metadata_documents: true,
            trusted_proxies: String::new(),
            log: "info".to_owned(),
            built_in_servers: true,
            servers: BTreeMap::new(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GitHubSettings {
    client_id: Option<String>,
    client_secret: Option<String>,
    enterprise_url: Option<String>,
    /// A token of the operator's, to find out about people who are away.
    membership_token: Option<String>,
}

impl fmt::Debug for GitHubSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("GitHubSettings")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// The app that people sign in with at GitHub.
#[derive(Clone)]
pub(crate) struct GitHubApp {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) enterprise_url: Option<String>,
    pub(crate) membership_token: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum SigningAlgorithm {
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// A stdio MCP server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StdioServer {
    /// Its name for people.
    pub(crate) name: Option<String>,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// Variables to set for it.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// Variables of the gateway's own environment that it may see too.
    #[serde(default)]
    pub(crate) pass_env: Vec<String>,
    /// Who may use it, of those who may sign in.
    allowed_users: Option<String>,
    /// Where it runs.
    pub(crate) directory: Option<PathBuf>,
}

impl StdioServer {
    /// Who may use it, if not everybody who may sign in. `name` is its own.
    pub(crate) fn allowed_users(&self, name: &str) -> anyhow::Result<Option<AllowList>> {
        list(
            &format!("allowed_users of [servers.{name}]"),
            self.allowed_users.as_deref(),
        )
    }
}

impl Configuration {
    /// Reads the settings.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let environment: HashMap<String, String> = std::env::vars().collect();
        let file = dotenv(Path::new(".env"))?;
        let toml = environment
            .get("GATEWAY_CONFIG")
            .or_else(|| file.get("GATEWAY_CONFIG"))
            .cloned();
        let configuration = Self::read(toml.as_deref(), file, environment)?;
        configuration.check()?;
        Ok(configuration)
    }

    fn read(
        toml: Option<&str>,
        dotenv: HashMap<String, String>,
        environment: HashMap<String, String>,
    ) -> anyhow::Result<Self> {
        let file = File::new(toml.unwrap_or(DEFAULT_FILE), FileFormat::Toml).required(toml.is_some());
        Config::builder()
            .add_source(file)
            .add_source(variables(dotenv))
            .add_source(variables(environment))
            .build()
            .and_then(Config::try_deserialize)
            .context("the configuration cannot be read")
    }

    fn check(&self) -> anyhow::Result<()> {
        let github = self.github_app()?;
        if github.is_none() && !self.listen.ip().is_loopback() {
            anyhow::bail!(
                "without GitHub anybody can be anybody, so the gateway listens on loopback only, and not on {}: set \
                 GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET, or GATEWAY_LISTEN=127.0.0.1:8080",
                self.listen
            );
        }
        self.trusted_proxies()?;
        self.allowed_users()?;
        self.built_in_allowed_users()?;
        if github.is_some() && self.allowed_users.is_none() {
            anyhow::bail!(
                "say who may sign in: set ALLOWED_GITHUB_USERS to logins, org=NAME or team=NAME/TEAM set apart by commas, or to * \
                 for everybody on GitHub"
            );
        }
        if !self.built_in_servers && self.servers.is_empty() {
            anyhow::bail!(
                "there is nothing to protect: name a server in [servers.NAME], or set built_in_servers = true"
            );
        }
        for (path, server) in &self.servers {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if path.is_empty() || !path.bytes().all(plain) {
                anyhow::bail!("[servers.{path}] cannot be part of a path: use letters, digits, - and _");
            }
            server.allowed_users(path)?;
            if server.command.is_empty() {
                anyhow::bail!("[servers.{path}] needs a command, such as command = [\"uvx\", \"mcp-server-time\"]");
            }
        }
        Ok(())
    }

    /// How clients reach the gateway.
    pub(crate) fn issuer(&self) -> String {
        self.public_url
            .clone()
            .unwrap_or_else(|| format!("http://{}", self.listen))
    }

    /// Who may sign in, if that is said.
    pub(crate) fn allowed_users(&self) -> anyhow::Result<Option<AllowList>> {
        list("allowed_users", self.allowed_users.as_deref())
    }

    /// Who of them may use the servers that come with the example, if not all of them.
    pub(crate) fn built_in_allowed_users(&self) -> anyhow::Result<Option<AllowList>> {
        list("built_in_allowed_users", self.built_in_allowed_users.as_deref())
    }

    /// The GitHub app, if there is one.
    pub(crate) fn github_app(&self) -> anyhow::Result<Option<GitHubApp>> {
        match (&self.github.client_id, &self.github.client_secret) {
            (None, None) => Ok(None),
            (Some(client_id), Some(client_secret)) => Ok(Some(GitHubApp {
                client_id: client_id.clone(),
                client_secret: client_secret.clone(),
                enterprise_url: self.github.enterprise_url.clone(),
                membership_token: self.github.membership_token.clone(),
            })),
            (Some(_), None) => anyhow::bail!("GITHUB_CLIENT_ID is set: set GITHUB_CLIENT_SECRET too"),
            (None, Some(_)) => anyhow::bail!("GITHUB_CLIENT_SECRET is set: set GITHUB_CLIENT_ID too"),
        }
    }

    /// The proxies whose word is taken.
    pub(crate) fn trusted_proxies(&self) -> anyhow::Result<TrustedProxies> {
        self.trusted_proxies.parse().context("trusted_proxies cannot be read")
    }

    /// How access tokens are signed.
    pub(crate) fn algorithm(&self) -> Algorithm {
        match self.signing_algorithm {
            SigningAlgorithm::Es256 => Algorithm::Es256,
            SigningAlgorithm::Rs256 => Algorithm::Rs256,
            SigningAlgorithm::EdDsa => Algorithm::EdDsa,
        }
    }

    /// How long things live.
    pub(crate) fn lifetimes(&self) -> Lifetimes {
        let mut lifetimes = Lifetimes::default();
        lifetimes.access_token = Duration::from_secs(self.access_token_lifetime);
        lifetimes.grant.refresh_token = Duration::from_secs(self.refresh_token_lifetime);
        lifetimes.client = Some(self.client_lifetime)
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs);
        lifetimes.identity_check = Duration::from_secs(self.identity_check);
        lifetimes.maximum_identity_age = Duration::from_secs(self.maximum_identity_age);
        lifetimes
    }
}

fn list(setting: &str, text: Option<&str>) -> anyhow::Result<Option<AllowList>> {
    let list = text.map(AllowList::parse).transpose();
    list.with_context(|| format!("{setting} cannot be read"))
}

/// The variables of a `.env` file; none if there is no such file.
fn dotenv(path: &Path) -> anyhow::Result<HashMap<String, String>> {
    match dotenvy::from_path_iter(path) {
        Ok(variables) => variables
            .collect::<Result<_, _>>()
            .context("the .env file cannot be read"),
        Err(error) if error.not_found() => Ok(HashMap::new()),
        Err(error) => Err(error).context("the .env file cannot be read"),
    }
}

/// Settings by the names that they have as variables: `GATEWAY_GITHUB__CLIENT_ID` is `client_id` in `[github]`.
fn variables(mut variables: HashMap<String, String>) -> Environment {
    for (known, ours) in WELL_KNOWN {
        if let Some(value) = variables.get(known).cloned() {
            variables.entry(ours.to_owned()).or_insert(value);
        }
    }
    variables.retain(|name, value| name.starts_with(PREFIX) && name != "GATEWAY_CONFIG" && !value.is_empty());
    Environment::with_prefix("GATEWAY")
        .prefix_separator("_")
        .separator("__")
        .list_separator(",")
        .with_list_parse_key("allowed_redirect_uris")
        .try_parsing(true)
        .source(Some(variables))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn read(toml: &str, dotenv: &[(&str, &str)], environment: &[(&str, &str)]) -> anyhow::Result<Configuration> {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile()?;
        file.write_all(toml.as_bytes())?;
        let configuration = Configuration::read(file.path().to_str(), pairs(dotenv), pairs(environment))?;
        configuration.check()?;
        Ok(configuration)
    }

    fn refusal(toml: &str, environment: &[(&str, &str)]) -> String {
        format!("{:#}", read(toml, &[], environment).unwrap_err())
    }

    #[test]
    fn nothing_needs_to_be_set() {
        let configuration = read("", &[], &[]).unwrap();
        assert_eq!(configuration.issuer(), "http://127.0.0.1:8080");
        assert!(configuration.github_app().unwrap().is_none());
    }

    #[test]
    fn the_environment_is_stronger_than_dotenv_and_dotenv_than_the_file() {
        let toml = "listen = \"127.0.0.1:1\"\nlog = \"from the file\"\nclient_lifetime = 1";
        let dotenv = [("GATEWAY_LISTEN", "127.0.0.1:2"), ("GATEWAY_LOG", "from dotenv")];
        let configuration = read(toml, &dotenv, &[("GATEWAY_LISTEN", "127.0.0.1:3")]).unwrap();
        assert_eq!(configuration.listen.port(), 3);
        assert_eq!(configuration.log, "from dotenv");
        assert_eq!(configuration.lifetimes().client, Some(Duration::from_secs(1)));
    }

    #[test]
    fn unknown_names_are_refused_by_name() {
        assert!(refusal("lisen = \"127.0.0.1:1\"", &[]).contains("lisen"));
        assert!(refusal("", &[("GATEWAY_LISEN", "127.0.0.1:1")]).contains("lisen"));
        assert!(refusal("[github]\nid = \"x\"", &[]).contains("id"));
        assert!(refusal("[servers.time]\ncommand = [\"x\"]\nargs = []", &[]).contains("args"));
    }

    #[test]
    fn values_of_the_wrong_type_are_refused() {
        assert!(refusal("listen = \"everywhere\"", &[]).contains("invalid socket address"));
        assert!(refusal("", &[("CLIENT_LIFETIME", "soon")]).contains("soon"));
        assert!(refusal("signing_algorithm = \"HS256\"", &[]).contains("HS256"));
    }

    #[test]
    fn half_a_github_app_is_refused() {
        assert!(refusal("", &[("GITHUB_CLIENT_ID", "x")]).contains("GITHUB_CLIENT_SECRET"));
        assert!(refusal("", &[("GITHUB_CLIENT_SECRET", "x")]).contains("GITHUB_CLIENT_ID"));
    }

    #[test]
    fn with_github_somebody_has_to_be_allowed_in_so_many_words() {
        let github = [("GITHUB_CLIENT_ID", "x"), ("GITHUB_CLIENT_SECRET", "y")];
        assert!(refusal("", &github).contains("ALLOWED_GITHUB_USERS"));
        let allowed = read("allowed_users = \"ada\"", &[], &github).unwrap();
        assert_eq!(allowed.allowed_users().unwrap(), Some(AllowList::parse("ada").unwrap()));
    }

    #[test]
    fn each_list_is_read_and_what_is_wrong_with_one_is_told_with_its_name() {
        let toml = "allowed_users = \"org=acme\"\nbuilt_in_allowed_users = \"\"\n\
                    [servers.time]\ncommand = [\"x\"]\nallowed_users = \"team=acme/ops\"";
        let configuration = read(toml, &[], &[]).unwrap();
        let list = |text: &str| Some(AllowList::parse(text).unwrap());
        assert_eq!(configuration.allowed_users().unwrap(), list("org=acme"));
        assert_eq!(configuration.built_in_allowed_users().unwrap(), list(""));
        let time = &configuration.servers["time"];
        assert_eq!(time.allowed_users("time").unwrap(), list("team=acme/ops"));

        let told = refusal("", &[("ALLOWED_GITHUB_USERS", "ada orgs=acme")]);
        assert!(told.contains("allowed_users") && told.contains("orgs=acme"), "{told}");
        let told = refusal("[servers.time]\ncommand = [\"x\"]\nallowed_users = \"team=acme\"", &[]);
        assert!(told.contains("[servers.time]") && told.contains("team=acme"), "{told}");
    }

    #[test]
    fn made_up_people_stay_on_loopback() {
        assert!(refusal("listen = \"0.0.0.0:8080\"", &[]).contains("GITHUB_CLIENT_ID"));
    }

    #[test]
    fn a_proxy_is_an_address_or_a_network() {
        assert!(refusal("trusted_proxies = \"10.0.0.0/8, traefik\"", &[]).contains("traefik"));
    }

    #[test]
    fn a_server_needs_a_plain_name_and_a_command() {
        assert!(refusal("[servers.\"a/b\"]\ncommand = [\"x\"]", &[]).contains("a/b"));
        assert!(refusal("[servers.time]\ncommand = []", &[]).contains("command"));
        let toml = "[servers.time]\ncommand = [\"uvx\", \"mcp-server-time\"]\nenv = { TZ = \"UTC\" }";
        assert_eq!(read(toml, &[], &[]).unwrap().servers["time"].command.len(), 2);
    }

    #[test]
    fn a_file_that_was_named_has_to_be_there() {
        let error = Configuration::read(Some("nowhere.toml"), HashMap::new(), HashMap::new()).unwrap_err();
        assert!(format!("{error:#}").contains("nowhere.toml"));
    }
}
