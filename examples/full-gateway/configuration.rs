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
use mcp_oauth_core::secret::Secret;
use mcp_oauth_core::server::builder::Lifetimes;
use mcp_oauth_core::token::keys::{Algorithm, KeyRotation, KeySealing, SigningKey};
use mcp_oauth_tower::{RedisConfiguration, TrustedProxies};
use serde::{Deserialize, Deserializer};

use crate::clients::{ClientSettings, EnterpriseSettings};
use crate::identities::{Identities, IdentityProviderSettings};

mod backends;
mod pages;
mod registration;

use backends::{BackendSettings, ForwardAuthSettings};
use pages::PageSettings;
use registration::{LimitSettings, RegistrationSettings};

/// Told by `--help`.
pub(crate) const HELP: &str = "\
Settings come from the environment, a .env file and a TOML file (gateway.toml, or what GATEWAY_CONFIG names), in this order of
strength. The most important ones:
  GATEWAY_LISTEN          address and port to listen on [127.0.0.1:8080]
  GATEWAY_PUBLIC_URL      how clients reach the gateway [http:// and the address]
  GITHUB_CLIENT_ID        with GITHUB_CLIENT_SECRET: sign in with GitHub instead of made-up people; other providers stand in
                          the file, as [[identity_providers]]
  REDIS_URL               where records are kept [the memory of the process]
  ALLOWED_GITHUB_USERS    who may sign in: logins, org=acme or team=acme/ops, set apart by commas, or * for everybody
The README beside the example lists all of them.";

/// The file that is read if nothing else is named.
const DEFAULT_FILE: &str = "gateway.toml";

const PREFIX: &str = "GATEWAY_";

/// Names without the prefix that people know from elsewhere, and what they mean here.
const WELL_KNOWN: [(&str, &str); 13] = [
    ("GITHUB_CLIENT_ID", "GATEWAY_GITHUB__CLIENT_ID"),
    ("GITHUB_CLIENT_SECRET", "GATEWAY_GITHUB__CLIENT_SECRET"),
    ("ALLOWED_GITHUB_USERS", "GATEWAY_ALLOWED_USERS"),
    ("ACCESS_TOKEN_LIFETIME", "GATEWAY_ACCESS_TOKEN_LIFETIME"),
    ("REFRESH_TOKEN_LIFETIME", "GATEWAY_REFRESH_TOKEN_LIFETIME"),
    ("CLIENT_LIFETIME", "GATEWAY_CLIENT_LIFETIME"),
    ("JWT_PRIVATE_KEY_B64", "GATEWAY_SIGNING_KEY"),
    ("JWT_ALGORITHM", "GATEWAY_SIGNING_ALGORITHM"),
    ("REDIS_URL", "GATEWAY_REDIS__URL"),
    ("REDIS_USERNAME", "GATEWAY_REDIS__USERNAME"),
    ("REDIS_PASSWORD", "GATEWAY_REDIS__PASSWORD"),
    ("REDIS_KEY_PREFIX", "GATEWAY_REDIS__KEY_PREFIX"),
    ("REDIS_CA_FILE", "GATEWAY_REDIS__CA_FILE"),
];

/// The settings of the gateway.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
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
    /// Sign in with OpenID Connect.
    pub(crate) identity_providers: Vec<IdentityProviderSettings>,
    /// Whether what providers issue for people is kept, to ask them how people stand.
    pub(crate) token_vault: bool,
    /// Where records are kept, if not in memory.
    redis: RedisSettings,
    /// How access tokens are signed.
    #[serde(deserialize_with = "some_algorithm")]
    signing_algorithm: Option<Algorithm>,
    /// The private key that signs access tokens: base64 of its PEM.
    #[serde(deserialize_with = "some_secret")]
    signing_key: Option<Secret>,
    /// Seals the private keys in the store.
    #[serde(deserialize_with = "some_secret")]
    key_sealing_secret: Option<Secret>,
    /// What the private keys may have been sealed with before.
    #[serde(deserialize_with = "texts")]
    previous_key_sealing_secrets: Vec<Secret>,
    /// For how long a key in the store signs: in seconds; 0 means for ever.
    key_lifetime: u64,
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
    #[serde(deserialize_with = "texts")]
    pub(crate) allowed_redirect_uris: Vec<String>,
    /// Who may register, and where codes may be sent.
    pub(crate) registration: RegistrationSettings,
    /// How often.
    pub(crate) limits: LimitSettings,
    /// Whether clients may be known by the URL of their metadata document, which the gateway then fetches.
    pub(crate) client_id_metadata_documents: bool,
    /// Whether devices without a browser may be let in by somebody who enters a code.
    pub(crate) device_authorization: bool,
    /// Proxies that say where requests come from: addresses and networks.
    trusted_proxies: String,
    /// The hosts whose metadata documents are read; everybody's if none is named. `*.example.com` is all hosts below.
    #[serde(deserialize_with = "some_texts")]
    pub(crate) trusted_client_hosts: Option<Vec<String>>,
    /// The hosts whose metadata documents are not read.
    #[serde(deserialize_with = "texts")]
    pub(crate) distrusted_client_hosts: Vec<String>,
    /// Clients that do not register themselves.
    pub(crate) clients: Vec<ClientSettings>,
    /// Identity providers whose word for their people is taken.
    pub(crate) enterprises: Vec<EnterpriseSettings>,
    /// What to log, as `tracing-subscriber`'s filter reads it.
    pub(crate) log: String,
    /// Whether the servers that come with the example are served.
    pub(crate) built_in_servers: bool,
    /// The stdio servers to put behind the bridge, by the first segment of their path.
    pub(crate) servers: BTreeMap<String, StdioServer>,
    /// Servers that a reverse proxy serves, which asks the gateway about each request.
    pub(crate) backends: BTreeMap<String, BackendSettings>,
    /// What they are told.
    pub(crate) forward_auth: ForwardAuthSettings,
    /// What people see.
    pub(crate) pages: PageSettings,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            allowed_users: None,
            built_in_allowed_users: None,
            github: GitHubSettings::default(),
            identity_providers: Vec::new(),
            token_vault: false,
            redis: RedisSettings::default(),
            signing_algorithm: None,
            signing_key: None,
            key_sealing_secret: None,
            previous_key_sealing_secrets: Vec::new(),
            key_lifetime: 90 * 24 * 60 * 60,
            access_token_lifetime: 60 * 60,
            refresh_token_lifetime: 30 * 24 * 60 * 60,
            client_lifetime: 90 * 24 * 60 * 60,
            identity_check: 15 * 60,
            maximum_identity_age: 24 * 60 * 60,
            allowed_redirect_uris: Vec::new(),
            registration: RegistrationSettings::default(),
            limits: LimitSettings::default(),
            client_id_metadata_documents: true,
            device_authorization: true,
            trusted_client_hosts: None,
            distrusted_client_hosts: Vec::new(),
            clients: Vec::new(),
            enterprises: Vec::new(),
            trusted_proxies: String::new(),
            log: "info".to_owned(),
            built_in_servers: true,
            servers: BTreeMap::new(),
            backends: BTreeMap::new(),
            forward_auth: ForwardAuthSettings::default(),
            pages: PageSettings::default(),
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

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RedisSettings {
    url: Option<String>,
    username: Option<String>,
    password: Option<String>,
    key_prefix: Option<String>,
    ca_file: Option<PathBuf>,
}

impl fmt::Debug for RedisSettings {
    /// Without the URL, in which there may be a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisSettings")
            .field("key_prefix", &self.key_prefix)
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

/// Where the keys that sign access tokens come from.
#[derive(Debug)]
pub(crate) enum Keys {
    /// One is made when the gateway starts.
    Made(Algorithm),
    /// The operator's own.
    Own(SigningKey),
    /// They are in the store.
    Stored(Algorithm, KeySealing, KeyRotation),
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
        self.redis()?;
        self.keys()?;
        self.vault_sealing()?;
        if Identities::read(self)?.are_made_up() && !self.listen.ip().is_loopback() {
            anyhow::bail!(
                "without GitHub anybody can be anybody, so the gateway listens on loopback only, and not on {}: set \
                 GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET, or name [[identity_providers]], or set GATEWAY_LISTEN=127.0.0.1:8080",
                self.listen
            );
        }
        self.trusted_proxies()?;
        self.built_in_allowed_users()?;
        self.registration.policy(&self.allowed_redirect_uris)?;
        if !self.built_in_servers && self.servers.is_empty() && self.backends.is_empty() {
            anyhow::bail!(
                "there is nothing to protect: name a server in [servers.NAME], or set built_in_servers = true"
            );
        }
        if !self.backends.is_empty() && self.trusted_proxies.trim().is_empty() {
            anyhow::bail!(
                "[backends] are asked about by the proxy that serves them: set trusted_proxies to its address"
            );
        }
        for (name, backend) in &self.backends {
            backend
                .resource(name)
                .with_context(|| format!("[backends.{name}] cannot be used"))?;
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

    /// The Redis to keep records in, if there is one.
    pub(crate) fn redis(&self) -> anyhow::Result<Option<RedisConfiguration>> {
        let settings = &self.redis;
        let Some(url) = &settings.url else {
            let alone = settings.username.is_some() || settings.password.is_some();
            anyhow::ensure!(!alone, "there is a user name or password for Redis: set REDIS_URL too");
            return Ok(None);
        };
        let mut redis: RedisConfiguration = url.parse().context("REDIS_URL cannot be used")?;
        if let Some(username) = &settings.username {
            redis = redis.username(username);
        }
        if let Some(password) = &settings.password {
            redis = redis.password(password.as_str());
        }
        if let Some(prefix) = &settings.key_prefix {
            redis = redis.prefix(prefix).context("REDIS_KEY_PREFIX cannot be used")?;
        }
        if let Some(file) = &settings.ca_file {
            let pem =
                std::fs::read(file).with_context(|| format!("REDIS_CA_FILE cannot be read: {}", file.display()))?;
            redis = redis.certificate_authority(pem);
        }
        Ok(Some(redis))
    }

    /// The proxies whose word is taken.
    pub(crate) fn trusted_proxies(&self) -> anyhow::Result<TrustedProxies> {
        self.trusted_proxies.parse().context("trusted_proxies cannot be read")
    }

    /// Where the keys that sign access tokens come from.
    pub(crate) fn keys(&self) -> anyhow::Result<Keys> {
        let asked = self.signing_algorithm;
        match (&self.signing_key, &self.key_sealing_secret) {
            (Some(_), Some(_)) => anyhow::bail!(
                "JWT_PRIVATE_KEY_B64 and GATEWAY_KEY_SEALING_SECRET are both set: a key of one's own signs for ever, \
                 keys in the store are made and exchanged by the gateway, so set one of the two"
            ),
            (Some(key), None) => {
                let key = SigningKey::from_base64_pem(key).context("JWT_PRIVATE_KEY_B64 cannot be used")?;
                if let Some(asked) = asked.filter(|asked| *asked != key.algorithm()) {
                    anyhow::bail!(
                        "JWT_ALGORITHM is {}, and the key in JWT_PRIVATE_KEY_B64 is one for {}: leave JWT_ALGORITHM out",
                        asked.as_str(),
                        key.algorithm().as_str()
                    );
                }
                Ok(Keys::Own(key))
            }
            (None, Some(secret)) => {
                let sealing = self.sealing(secret)?;
                let mut rotation = KeyRotation::default();
                rotation.every = Some(self.key_lifetime)
                    .filter(|seconds| *seconds > 0)
                    .map(Duration::from_secs);
                Ok(Keys::Stored(asked.unwrap_or_default(), sealing, rotation))
            }
            (None, None) if self.previous_key_sealing_secrets.is_empty() => Ok(Keys::Made(asked.unwrap_or_default())),
            (None, None) => anyhow::bail!(
                "GATEWAY_PREVIOUS_KEY_SEALING_SECRETS is set: set GATEWAY_KEY_SEALING_SECRET too, or leave it out"
            ),
        }
    }

    fn sealing(&self, secret: &Secret) -> anyhow::Result<KeySealing> {
        let mut sealing = KeySealing::new(secret).context("GATEWAY_KEY_SEALING_SECRET cannot be used")?;
        for previous in &self.previous_key_sealing_secrets {
            sealing = sealing
                .also_open_with(previous)
                .context("GATEWAY_PREVIOUS_KEY_SEALING_SECRETS cannot be used")?;
        }
        Ok(sealing)
    }

    /// What the token vault is sealed with, if there is one.
    pub(crate) fn vault_sealing(&self) -> anyhow::Result<Option<KeySealing>> {
        match (self.token_vault, &self.key_sealing_secret) {
            (false, _) => Ok(None),
            (true, Some(secret)) => self.sealing(secret).map(Some),
            (true, None) => {
                anyhow::bail!("token_vault is set: set GATEWAY_KEY_SEALING_SECRET too, which seals what it keeps")
            }
        }
    }

    /// Whether the file says that somebody's keys are at an address.
    pub(crate) fn names_keys_elsewhere(&self) -> bool {
        self.clients.iter().any(ClientSettings::has_keys_elsewhere)
            || self.enterprises.iter().any(EnterpriseSettings::has_keys_elsewhere)
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
        self.registration.set_lifetimes(&mut lifetimes);
        lifetimes
    }
}

fn list(setting: &str, text: Option<&str>) -> anyhow::Result<Option<AllowList>> {
    let list = text.map(AllowList::parse).transpose();
    list.with_context(|| format!("{setting} cannot be read"))
}

fn some_algorithm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Algorithm>, D::Error> {
    let known = [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa];
    let named = |name: String| {
        let found = known.into_iter().find(|algorithm| algorithm.as_str() == name);
        found.ok_or_else(|| {
            serde::de::Error::custom(format!(
                "tokens are not signed with {name} here: use ES256, RS256 or EdDSA"
            ))
        })
    };
    Option::<String>::deserialize(deserializer)?.map(named).transpose()
}

fn some_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::from))
}

/// A list, or text with commas.
fn texts<'de, T: From<String>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        List(Vec<String>),
        Text(String),
    }
    let texts = match Written::deserialize(deserializer)? {
        Written::List(list) => list,
        Written::Text(text) => text.split(',').map(|part| part.trim().to_owned()).collect(),
    };
    Ok(texts.into_iter().filter(|text| !text.is_empty()).map(T::from).collect())
}

fn some_texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    texts(deserializer).map(Some)
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
///
/// All of them are text, letter by letter: a secret may look like a number and is none. What a setting is decides how its
/// text is read, and lists have commas.
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
        .source(Some(variables))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use base64::Engine as _;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    pub(crate) fn read(
        toml: &str,
        dotenv: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Configuration> {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile()?;
        file.write_all(toml.as_bytes())?;
        let configuration = Configuration::read(file.path().to_str(), pairs(dotenv), pairs(environment))?;
        configuration.check()?;
        Ok(configuration)
    }

    pub(crate) fn refusal(toml: &str, environment: &[(&str, &str)]) -> String {
        format!("{:#}", read(toml, &[], environment).unwrap_err())
    }

    #[test]
    fn nothing_needs_to_be_set() {
        let configuration = read("", &[], &[]).unwrap();
        assert_eq!(configuration.issuer(), "http://127.0.0.1:8080");
        assert!(configuration.github_app().unwrap().is_none());
    }

    #[test]
    fn redis_is_used_when_its_url_is_set() {
        assert!(read("", &[], &[]).unwrap().redis().unwrap().is_none());
        let environment = [("REDIS_URL", "redis://cache/1"), ("REDIS_PASSWORD", "0070")];
        let configuration = read("", &[("REDIS_PASSWORD", "weaker")], &environment).unwrap();
        assert_eq!(configuration.redis.password.as_deref(), Some("0070"));
        assert!(configuration.redis().unwrap().is_some());
        assert!(!format!("{configuration:?}").contains("0070"));
        let from_file = read("[redis]\nurl = \"redis://cache\"\nkey_prefix = \"staging:\"", &[], &[]).unwrap();
        assert!(from_file.redis().unwrap().is_some());

        assert!(refusal("", &[("REDIS_PASSWORD", "alone")]).contains("REDIS_URL"));
        assert!(refusal("", &[("REDIS_URL", "http://cache")]).contains("redis://"));
        assert!(refusal("", &[("REDIS_URL", "redis://a"), ("REDIS_KEY_PREFIX", "{a}")]).contains("REDIS_KEY_PREFIX"));
        assert!(refusal("", &[("REDIS_URL", "rediss://a"), ("REDIS_CA_FILE", "/nowhere")]).contains("REDIS_CA_FILE"));
    }

    #[test]
    fn text_that_looks_like_a_number_or_a_word_of_yes_or_no_is_text_letter_by_letter() {
        for text in [
            "0070",
            "1e5",
            "1.50",
            "+7",
            "TRUE",
            "0x10",
            "inf",
            "12345678901234567890",
            "-0",
        ] {
            let environment = [
                ("GITHUB_CLIENT_ID", text),
                ("GITHUB_CLIENT_SECRET", text),
                ("GATEWAY_GITHUB__MEMBERSHIP_TOKEN", text),
                ("REDIS_URL", "redis://cache"),
                ("REDIS_USERNAME", text),
                ("REDIS_PASSWORD", text),
                ("REDIS_KEY_PREFIX", text),
                ("REDIS_CA_FILE", text),
                ("ALLOWED_GITHUB_USERS", text),
                ("GATEWAY_BUILT_IN_ALLOWED_USERS", text),
                ("GATEWAY_PUBLIC_URL", text),
                ("GATEWAY_LOG", text),
                ("JWT_PRIVATE_KEY_B64", text),
                ("GATEWAY_KEY_SEALING_SECRET", text),
                ("GATEWAY_PREVIOUS_KEY_SEALING_SECRETS", text),
                ("GATEWAY_ALLOWED_REDIRECT_URIS", text),
                ("GATEWAY_TRUSTED_CLIENT_HOSTS", text),
                ("GATEWAY_DISTRUSTED_CLIENT_HOSTS", text),
                ("GATEWAY_TRUSTED_PROXIES", text),
            ];
            for (dotenv, environment) in [(&[][..], &environment[..]), (&environment, &[])] {
                let read = Configuration::read(None, pairs(dotenv), pairs(environment)).unwrap();
                let some = Some(text);
                let github = &read.github;
                assert_eq!(github.client_id.as_deref(), some);
                assert_eq!(github.client_secret.as_deref(), some);
                assert_eq!(github.membership_token.as_deref(), some);
                let redis = &read.redis;
                assert_eq!(redis.username.as_deref(), some);
                assert_eq!(redis.password.as_deref(), some);
                assert_eq!(redis.key_prefix.as_deref(), some);
                assert_eq!(redis.ca_file.as_deref(), Some(Path::new(text)));
                assert_eq!(read.allowed_users.as_deref(), some);
                assert_eq!(read.built_in_allowed_users.as_deref(), some);
                assert_eq!(read.issuer(), text);
                assert_eq!(read.log, text);
                assert_eq!(read.signing_key.as_ref().map(Secret::expose), some);
                assert_eq!(read.key_sealing_secret.as_ref().map(Secret::expose), some);
                assert_eq!(read.previous_key_sealing_secrets[0].expose(), text);
                assert_eq!(read.allowed_redirect_uris, [text]);
                assert_eq!(read.trusted_client_hosts.as_deref(), Some(&[text.to_owned()][..]));
                assert_eq!(read.distrusted_client_hosts, [text]);
                assert_eq!(read.trusted_proxies, text);
            }
        }
    }

    #[test]
    fn text_is_read_as_what_a_setting_is() {
        let environment = [
            ("CLIENT_LIFETIME", "070"),
            ("GATEWAY_DEVICE_AUTHORIZATION", "FALSE"),
            ("GATEWAY_BUILT_IN_SERVERS", "yes"),
            ("GATEWAY_ALLOWED_REDIRECT_URIS", "a:/x, b:/y"),
        ];
        let configuration = Configuration::read(None, HashMap::new(), pairs(&environment)).unwrap();
        assert_eq!(configuration.client_lifetime, 70);
        assert!(!configuration.device_authorization && configuration.built_in_servers);
        assert_eq!(configuration.allowed_redirect_uris, ["a:/x", "b:/y"]);
        for (name, value) in [("CLIENT_LIFETIME", "1.5"), ("GATEWAY_DEVICE_AUTHORIZATION", "perhaps")] {
            assert!(refusal("", &[(name, value)]).contains(value), "{name}");
        }
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

    /// A key for tests alone.
    fn key(name: &str) -> String {
        let path = format!("../mcp-oauth-core/tests/keys/{name}.pem");
        let pem = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        base64::engine::general_purpose::STANDARD.encode(pem)
    }

    const SECRET: &str = "yTbDSpVfX7Ak3zL8cUhMdQnYrGxKo1WeJtvBiP0sZm4=";
    const OTHER: &str = "a3f1c58e90b7246d13fe8ca57b20d9461c0e8fb3592ad674e1805bcf37d9a246";

    #[test]
    fn without_any_setting_a_key_is_made() {
        assert!(matches!(
            read("", &[], &[]).unwrap().keys().unwrap(),
            Keys::Made(Algorithm::Es256)
        ));
    }

    #[test]
    fn the_variables_of_the_predecessor_name_the_key_that_signs() {
        let rsa = key("rsa2048.pkcs8");
        for environment in [
            &[("JWT_PRIVATE_KEY_B64", &*rsa), ("JWT_ALGORITHM", "RS256")][..],
            &[("JWT_PRIVATE_KEY_B64", &rsa)],
            &[("GATEWAY_SIGNING_KEY", &rsa)],
        ] {
            let keys = read("", &[], environment).unwrap().keys().unwrap();
            assert!(matches!(keys, Keys::Own(key) if key.algorithm() == Algorithm::Rs256));
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named_with_what_to_do() {
        for (key, expected) in [
            (key("rsa1024.pkcs8"), "2048"),
            (key("p384.pkcs8"), "P-256"),
            ("-----BEGIN".to_owned(), "base64 -w0"),
        ] {
            let refused = refusal("", &[("JWT_PRIVATE_KEY_B64", &key)]);
            assert!(refused.contains("JWT_PRIVATE_KEY_B64"), "{refused}");
            assert!(refused.contains(expected), "{refused}");
            assert!(
                !refused.contains(&key[..key.len().min(40)]) || key.len() < 40,
                "{refused}"
            );
        }
        let other = [("JWT_PRIVATE_KEY_B64", &*key("p256.pkcs8")), ("JWT_ALGORITHM", "RS256")];
        assert!(refusal("", &other).contains("leave JWT_ALGORITHM out"));
        assert!(refusal("", &[("JWT_ALGORITHM", "HS256")]).contains("use ES256, RS256 or EdDSA"));
    }

    #[test]
    fn keys_are_sealed_in_the_store_with_secrets_that_nobody_guesses() {
        let environment = [
            ("GATEWAY_KEY_SEALING_SECRET", SECRET),
            ("GATEWAY_PREVIOUS_KEY_SEALING_SECRETS", OTHER),
            ("GATEWAY_KEY_LIFETIME", "0"),
            ("JWT_ALGORITHM", "EdDSA"),
        ];
        let keys = read("", &[], &environment).unwrap().keys().unwrap();
        assert!(matches!(keys, Keys::Stored(Algorithm::EdDsa, _, rotation) if rotation.every.is_none()));
        let weak = [("GATEWAY_KEY_SEALING_SECRET", "password")];
        assert!(refusal("", &weak).contains("openssl rand -base64 32"));
        let alone = [("GATEWAY_PREVIOUS_KEY_SEALING_SECRETS", OTHER)];
        assert!(refusal("", &alone).contains("GATEWAY_KEY_SEALING_SECRET"));
        let both = [
            ("GATEWAY_KEY_SEALING_SECRET", SECRET),
            ("JWT_PRIVATE_KEY_B64", &*key("p256.pkcs8")),
        ];
        assert!(refusal("", &both).contains("one of the two"));
    }

    #[test]
    fn no_secret_is_shown_in_debug_output() {
        let environment = [
            ("GATEWAY_KEY_SEALING_SECRET", SECRET),
            ("GATEWAY_PREVIOUS_KEY_SEALING_SECRETS", OTHER),
        ];
        let shown = format!("{:?}", read("", &[], &environment).unwrap());
        assert!(!shown.contains(SECRET) && !shown.contains(OTHER), "{shown}");
    }

    #[test]
    fn a_server_needs_a_plain_name_and_a_command() {
        assert!(refusal("[servers.\"a/b\"]\ncommand = [\"x\"]", &[]).contains("a/b"));
        assert!(refusal("[servers.time]\ncommand = []", &[]).contains("command"));
        let toml = "[servers.time]\ncommand = [\"uvx\", \"mcp-server-time\"]\nenv = { TZ = \"UTC\" }";
        assert_eq!(read(toml, &[], &[]).unwrap().servers["time"].command.len(), 2);
    }

    #[test]
    fn clients_and_enterprises_are_tables_of_the_file() {
        let toml = r#"
            trusted_client_hosts = ["claude.ai", "*.example.com"]
            [[clients]]
            id = "nightly-job"
            secret = "hunter2"
            grant_types = ["client_credentials"]
            servers = ["notes"]
            [[clients]]
            id = "editor"
            redirect_uris = ["editor:/callback"]
            [[enterprises]]
            name = "acme"
            issuer = "https://acme.idp.example"
            jwks_uri = "https://acme.idp.example/jwks"
        "#;
        let configuration = read(toml, &[], &[]).unwrap();
        assert!(!format!("{configuration:?}").contains("hunter2"));
        let uri = |server: &str| format!("https://mcp.example/{server}/mcp");
        let clients: Vec<_> = configuration
            .clients
            .iter()
            .map(|client| client.client(uri).unwrap())
            .collect();
        assert_eq!(clients[0].client_id(), "nightly-job");
        assert_eq!(
            configuration.enterprises[0].issuer().unwrap().issuer(),
            "https://acme.idp.example"
        );
        let hosts = crate::clients::hosts(configuration.trusted_client_hosts.as_deref(), &[]).unwrap();
        assert!(hosts.trusts("a.example.com") && !hosts.trusts("example.com"));
    }

    #[test]
    fn a_client_proves_itself_in_one_way() {
        let client = |settings: &str| {
            let configuration = read(&format!("[[clients]]\nid = \"x\"\n{settings}"), &[], &[])?;
            configuration.clients[0].client(str::to_owned)
        };
        let error = client("secret = \"a\"\njwks_uri = \"https://a.example\"").unwrap_err();
        assert!(error.to_string().contains("keep one"), "{error}");
        assert!(client("grant_types = [\"password\"]").is_err());
        assert!(client("secrets = \"a\"").is_err());
        let missing = client("jwks_file = \"nowhere.json\"").unwrap_err();
        assert!(format!("{missing:#}").contains("nowhere.json"));
    }

    #[test]
    fn a_file_that_was_named_has_to_be_there() {
        let error = Configuration::read(Some("nowhere.toml"), HashMap::new(), HashMap::new()).unwrap_err();
        assert!(format!("{error:#}").contains("nowhere.toml"));
    }
}
