//! What an operator can set, and where from.
//!
//! The environment is stronger than a `.env` file in the working directory, which is stronger than a TOML file
//! (`gateway.toml`, or what `GATEWAY_CONFIG` names). Every setting has a type; a name that nobody knows is refused,
//! since it is most likely a spelling mistake.
//!
//! Each table of the file has a module of its own. `sources` reads, `predecessor` knows the variables of the Python gateway,
//! `effective` shows what counts, and `schema` is what editors check the file with. A struct of settings can be read
//! (`Deserialize`), shown (`Serialize`) and described (`JsonSchema`); what is secret in it is [`hidden::Hidden`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use http::HeaderValue;
use mcp_oauth_core::issuer::Issuer;
use mcp_oauth_core::policy::AllowList;
use mcp_oauth_core::server::builder::Lifetimes;
use mcp_oauth_core::token::keys::Algorithm;
use mcp_oauth_tower::{RedisConfiguration, TrustedProxies};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clients::{ClientSettings, EnterpriseSettings};
use crate::identities::Identities;

mod access;
mod backends;
mod changes;
pub(crate) mod effective;
mod github;
pub(crate) mod hidden;
mod identity_provider;
mod keys;
mod lists;
mod pages;
mod predecessor;
mod redis;
mod registration;
pub(crate) mod schema;
mod servers;
mod sources;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

pub(crate) use access::AccessSettings;
pub(crate) use github::GitHubApp;
pub(crate) use keys::Keys;
pub(crate) use servers::{Embedded, ProcessSettings, ServedBy, ServerSettings, Sharing, UpstreamSettings};
pub(crate) use sources::Loaded;
pub(crate) use tls::TlsFiles;
pub(crate) mod telemetry;

use backends::{BackendSettings, ForwardAuthSettings};
use github::GitHubSettings;
use hidden::Hidden;
use identity_provider::IdentityProviderSettings;
use keys::{algorithm_name, some_algorithm};
use lists::{Texts, allow_list, some_texts, texts};
use pages::PageSettings;
use redis::RedisSettings;
use registration::{LimitSettings, RegistrationSettings};
use telemetry::{LogFormat, TelemetrySettings};
use tls::TlsSettings;

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

/// The settings of the gateway.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(crate) struct Configuration {
    /// Address and port to listen on.
    #[schemars(with = "String")]
    pub(crate) listen: SocketAddr,
    /// How clients reach the gateway: its issuer.
    public_url: Option<String>,
    /// TLS, for those without a proxy.
    pub(crate) tls: TlsSettings,
    /// In seconds: how long requests have to finish when the gateway stops, or when what serves them is removed.
    shutdown_timeout: u64,
    /// The origins of pages whose scripts may ask the servers; `*` means any, which is safe since tokens are in no cookie.
    #[serde(deserialize_with = "texts")]
    #[schemars(with = "Texts")]
    pub(crate) cors_origins: Vec<String>,
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
    #[serde(deserialize_with = "some_algorithm", serialize_with = "algorithm_name")]
    #[schemars(with = "Option<String>")]
    signing_algorithm: Option<Algorithm>,
    /// The private key that signs access tokens: base64 of its PEM.
    signing_key: Option<Hidden>,
    /// Seals the private keys in the store.
    key_sealing_secret: Option<Hidden>,
    /// What the private keys may have been sealed with before.
    #[serde(deserialize_with = "texts")]
    #[schemars(with = "Texts")]
    previous_key_sealing_secrets: Vec<Hidden>,
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
    #[schemars(with = "Texts")]
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
    #[schemars(with = "Option<Texts>")]
    pub(crate) trusted_client_hosts: Option<Vec<String>>,
    /// The hosts whose metadata documents are not read.
    #[serde(deserialize_with = "texts")]
    #[schemars(with = "Texts")]
    pub(crate) distrusted_client_hosts: Vec<String>,
    /// Clients that do not register themselves.
    pub(crate) clients: Vec<ClientSettings>,
    /// Identity providers whose word for their people is taken.
    pub(crate) enterprises: Vec<EnterpriseSettings>,
    /// What to log, as `tracing-subscriber`'s filter reads it.
    pub(crate) log: String,
    /// In which form.
    pub(crate) log_format: LogFormat,
    /// What is told to those who watch.
    pub(crate) telemetry: TelemetrySettings,
    /// Whether the servers that come with the example are served.
    pub(crate) built_in_servers: bool,
    /// The servers, by the first segment of their path unless they say otherwise.
    pub(crate) servers: BTreeMap<String, ServerSettings>,
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
            tls: TlsSettings::default(),
            shutdown_timeout: 30,
            cors_origins: vec!["*".to_owned()],
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
            log_format: LogFormat::default(),
            telemetry: TelemetrySettings::default(),
            built_in_servers: true,
            servers: BTreeMap::new(),
            backends: BTreeMap::new(),
            forward_auth: ForwardAuthSettings::default(),
            pages: PageSettings::default(),
        }
    }
}

impl Configuration {
    /// Whether the gateway itself speaks TLS.
    pub(crate) fn serves_tls(&self) -> bool {
        self.tls.certificate_file.is_some()
    }

    /// The certificates that the settings name, in PEM.
    pub(crate) fn certificates(&self) -> Vec<(&'static str, &std::path::Path)> {
        let of_redis = self.redis.ca_file.as_deref().map(|file| ("REDIS_CA_FILE", file));
        let own = self.tls.certificate_file.as_deref();
        let own = own.map(|file| ("tls.certificate_file", file));
        of_redis.into_iter().chain(own).collect()
    }

    /// Whether the settings fit together.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        // First of all: the address of every server follows from it, and would be blamed for it.
        if let Some(url) = &self.public_url {
            url.parse::<Issuer>()
                .context("public_url (GATEWAY_PUBLIC_URL) cannot be used")?;
        }
        self.redis()?;
        self.keys()?;
        self.vault_sealing()?;
        self.telemetry.otlp()?;
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
        for (name, server) in &self.servers {
            server.check(name)?;
        }
        self.check_connections()
    }

    /// Whether what goes over the network is protected, by this process or by a proxy in front of it.
    fn check_connections(&self) -> anyhow::Result<()> {
        let tls = self.tls.files()?.is_some();
        if !tls && !self.listen.ip().is_loopback() && self.trusted_proxies.trim().is_empty() {
            anyhow::bail!(
                "on {} tokens would go over the network in clear: set tls.certificate_file and tls.key_file, or name the proxy \
                 in front that has TLS in trusted_proxies (GATEWAY_TRUSTED_PROXIES), or set GATEWAY_LISTEN=127.0.0.1:{}",
                self.listen,
                self.listen.port()
            );
        }
        if self.public_url.is_none() && self.listen.ip().is_unspecified() {
            anyhow::bail!(
                "clients cannot reach {}: set GATEWAY_PUBLIC_URL to the address that they can",
                self.listen
            );
        }
        if tls && self.issuer().starts_with("http:") {
            anyhow::bail!("there is TLS, and public_url begins with http: make it https");
        }
        self.cors_origins()?;
        Ok(())
    }

    /// How long requests have to finish when what serves them ends.
    pub(crate) fn shutdown_timeout(&self) -> Duration {
        Duration::from_secs(self.shutdown_timeout)
    }

    /// The origins of pages that may ask the servers; `None` means any.
    pub(crate) fn cors_origins(&self) -> anyhow::Result<Option<Vec<HeaderValue>>> {
        if self.cors_origins.iter().any(|origin| origin == "*") {
            return Ok(None);
        }
        let origin = |text: &String| {
            let url = url::Url::parse(text).ok();
            let normal = url.is_some_and(|url| url.origin().ascii_serialization() == *text);
            anyhow::ensure!(
                normal,
                "cors_origins has {text:?}: write scheme and host, as in https://app.example.com, or *"
            );
            Ok(HeaderValue::try_from(text)?)
        };
        self.cors_origins
            .iter()
            .map(origin)
            .collect::<anyhow::Result<_>>()
            .map(Some)
    }

    /// How clients reach the gateway.
    pub(crate) fn issuer(&self) -> String {
        if let Some(url) = &self.public_url {
            return url.clone();
        }
        let (scheme, usual) = if self.serves_tls() {
            ("https", ":443")
        } else {
            ("http", ":80")
        };
        // An issuer does not name the port that its scheme has anyway.
        let address = self.listen.to_string();
        format!("{scheme}://{}", address.strip_suffix(usual).unwrap_or(&address))
    }

    /// Who may sign in, if that is said.
    pub(crate) fn allowed_users(&self) -> anyhow::Result<Option<AllowList>> {
        allow_list("allowed_users", self.allowed_users.as_deref())
    }

    /// Who of them may use the servers that come with the example, if not all of them.
    pub(crate) fn built_in_allowed_users(&self) -> anyhow::Result<Option<AllowList>> {
        allow_list("built_in_allowed_users", self.built_in_allowed_users.as_deref())
    }

    /// The GitHub app, if there is one.
    pub(crate) fn github_app(&self) -> anyhow::Result<Option<GitHubApp>> {
        self.github.app()
    }

    /// The Redis to keep records in, if there is one.
    pub(crate) fn redis(&self) -> anyhow::Result<Option<RedisConfiguration>> {
        self.redis.configuration()
    }

    /// The proxies whose word is taken.
    pub(crate) fn trusted_proxies(&self) -> anyhow::Result<TrustedProxies> {
        self.trusted_proxies.parse().context("trusted_proxies cannot be read")
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
