//! Which Redis, and how: by one URL, by the environment, or piece by piece.
//!
//! | URL | for |
//! |---|---|
//! | `redis://user:password@host:6379/0` | one node |
//! | `redis+sentinel://user:password@host:26379,host:26379/name/0` | the node that these Sentinels call the primary of `name` |
//! | `redis+cluster://user:password@host:6379,host:6379` | a Cluster that these nodes belong to |
//!
//! `rediss` in place of `redis` means TLS (feature `redis-tls`); `valkey` and `valkeys` mean the same as the two. User
//! name, password, ports and database may be left out. Characters that a URL takes for its own are written as
//! `%40` and the like. These parameters may follow:
//!
//! | parameter | default | |
//! |---|---|---|
//! | `prefix` | `mcp-oauth:` | what all keys begin with |
//! | `connection_timeout`, `response_timeout` | `1000` | milliseconds |
//! | `lanes` | `4` | how many connections all requests share |
//! | `replicas` | `0` | how many replicas have to have a write before it counts |
//! | `sentinel_username`, `sentinel_password` | | if the Sentinels ask for them |
//!
//! ```
//! use mcp_oauth_store::redis::RedisConfiguration;
//!
//! let by_url: RedisConfiguration = "redis+cluster://a.example,b.example:7000?prefix=staging:".parse()?;
//! let by_hand = RedisConfiguration::cluster(["a.example:6379", "b.example:7000"])?.prefix("staging:")?;
//! assert_eq!(format!("{by_url:?}"), format!("{by_hand:?}"));
//! # Ok::<_, mcp_oauth_store::redis::InvalidConfiguration>(())
//! ```

use std::num::NonZeroUsize;
use std::time::Duration;

use mcp_oauth_core::secret::Secret;

mod url;

/// What is wrong with a configuration, and what to write instead. Never repeats a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfiguration {
    /// The URL begins with something else.
    #[error(
        "the URL of Redis has to begin with redis://, rediss://, redis+sentinel://, rediss+sentinel://, \
         redis+cluster:// or rediss+cluster://"
    )]
    Scheme,
    /// A host or port is none.
    #[error("{0:?} is no host with an optional port")]
    Address(String),
    /// No host is named.
    #[error("name the host of at least one node")]
    NoHost,
    /// A single node was named with several hosts.
    #[error("several hosts need redis+sentinel:// or redis+cluster://")]
    SeveralHosts,
    /// The Sentinels know several primaries, so one has to be named.
    #[error(
        "name the primary that Sentinel watches as the first part of the path: redis+sentinel://host:26379/mymaster"
    )]
    NoService,
    /// The database is not a number.
    #[error("the database has to be a number, such as /0")]
    Database,
    /// In a Cluster there is only database 0.
    #[error("a Cluster has no databases to choose from: leave the number out")]
    DatabaseOfCluster,
    /// Something is not UTF-8 when it is decoded.
    #[error("user name and password of the URL have to be UTF-8, escaped as in %40")]
    Encoding,
    /// The prefix would do harm.
    #[error("a prefix has 1 to 64 visible ASCII characters and none of {{ }} * ? [ ] \\")]
    Prefix,
    /// A parameter is unknown.
    #[error("the URL of Redis has no parameter {0:?}")]
    UnknownParameter(String),
    /// A parameter has a value that does not fit.
    #[error("the parameter {0:?} of the URL of Redis has to be a number from {1} to {2}")]
    Number(&'static str, u64, u64),
    /// TLS was asked for and is not there.
    #[error("this program was built without TLS for Redis: turn on the feature redis-tls of mcp-oauth-store")]
    NoTls,
    /// A variable is missing.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// A variable is not UTF-8.
    #[error("the environment variable {0} is not UTF-8")]
    Variable(&'static str),
    /// A file cannot be read.
    #[error("the file that {0} names cannot be read: {1}")]
    File(&'static str, String),
    /// The client library refuses.
    #[error("the configuration of Redis cannot be used: {0}")]
    Refused(String),
}

/// Where one node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Node {
    fn parse(text: &str, default_port: u16) -> Result<Self, InvalidConfiguration> {
        let invalid = || InvalidConfiguration::Address(text.to_owned());
        let (host, port) = match text.strip_prefix('[') {
            // An IPv6 address has colons of its own.
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(invalid)?;
                match rest {
                    "" => (host, None),
                    rest => (host, Some(rest.strip_prefix(':').ok_or_else(invalid)?)),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:%".contains(&byte);
        if host.is_empty() || !host.bytes().all(plain) {
            return Err(invalid());
        }
        let port = port.map_or(Ok(default_port), |port| port.parse().map_err(|_| invalid()))?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// Who to be. `Debug` shows no password.
#[derive(Clone, Debug, Default)]
pub(super) struct Credentials {
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
}

/// How Redis is run.
#[derive(Clone, Debug)]
pub(super) enum Topology {
    Node(Node),
    Sentinel {
        sentinels: Vec<Node>,
        service: String,
        credentials: Credentials,
    },
    Cluster(Vec<Node>),
}

/// Which Redis, and how to treat it.
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisConfiguration {
    pub(super) topology: Topology,
    pub(super) credentials: Credentials,
    pub(super) database: i64,
    pub(super) tls: bool,
    #[cfg_attr(
        not(feature = "redis-tls"),
        allow(dead_code, reason = "there is no TLS to use it for")
    )]
    pub(super) certificate_authority: Option<Vec<u8>>,
    pub(super) prefix: String,
    pub(super) connection_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) lanes: NonZeroUsize,
    pub(super) replicas: u32,
}

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

impl RedisConfiguration {
    fn of(topology: Topology) -> Self {
        Self {
            topology,
            credentials: Credentials::default(),
            database: 0,
            tls: false,
            certificate_authority: None,
            prefix: "mcp-oauth:".to_owned(),
            connection_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            lanes: const { NonZeroUsize::new(4).unwrap() },
            replicas: 0,
        }
    }

    /// One node, as `host` or `host:port`.
    ///
    /// # Errors
    ///
    /// When it is neither.
    pub fn node(address: &str) -> Result<Self, InvalidConfiguration> {
        Ok(Self::of(Topology::Node(Node::parse(address, PORT)?)))
    }

    /// The node that Sentinel calls the primary of `service`; found anew whenever a connection is.
    ///
    /// # Errors
    ///
    /// When an address is none, or there is none at all.
    pub fn sentinel<'a>(
        sentinels: impl IntoIterator<Item = &'a str>,
        service: &str,
    ) -> Result<Self, InvalidConfiguration> {
        if service.is_empty() {
            return Err(InvalidConfiguration::NoService);
        }
        Ok(Self::of(Topology::Sentinel {
            sentinels: nodes(sentinels, SENTINEL_PORT)?,
            service: service.to_owned(),
            credentials: Credentials::default(),
        }))
    }

    /// A Cluster that these nodes belong to; the others are learned from them.
    ///
    /// # Errors
    ///
    /// When an address is none, or there is none at all.
    pub fn cluster<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidConfiguration> {
        Ok(Self::of(Topology::Cluster(nodes(addresses, PORT)?)))
    }

    /// What the environment says: `REDIS_URL`, and beside it `REDIS_USERNAME`, `REDIS_PASSWORD`, `REDIS_KEY_PREFIX` and
    /// `REDIS_CA_FILE` (certificates in PEM), which have precedence over the URL.
    ///
    /// # Errors
    ///
    /// When `REDIS_URL` is not set, or something in it cannot be used.
    pub fn from_env() -> Result<Self, InvalidConfiguration> {
        Self::from_variables(|name| match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(InvalidConfiguration::Variable(name)),
        })
    }

    fn from_variables(
        variable: impl Fn(&'static str) -> Result<Option<String>, InvalidConfiguration>,
    ) -> Result<Self, InvalidConfiguration> {
        // Compose files and the like set what is not set to nothing.
        let set = |name| variable(name).map(|value| value.filter(|value| !value.is_empty()));
        let url = set("REDIS_URL")?.ok_or(InvalidConfiguration::Missing("REDIS_URL"))?;
        let mut configuration: Self = url.parse()?;
        if let Some(username) = set("REDIS_USERNAME")? {
            configuration.credentials.username = Some(username);
        }
        if let Some(password) = set("REDIS_PASSWORD")? {
            configuration = configuration.password(password);
        }
        if let Some(prefix) = set("REDIS_KEY_PREFIX")? {
            configuration = configuration.prefix(&prefix)?;
        }
        if let Some(file) = set("REDIS_CA_FILE")? {
            let pem =
                std::fs::read(file).map_err(|error| InvalidConfiguration::File("REDIS_CA_FILE", error.to_string()))?;
            configuration = configuration.certificate_authority(pem);
        }
        Ok(configuration)
    }

    /// The user of the access control list; `default` unless said otherwise.
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.credentials.username = Some(username.into());
        self
    }

    /// The password of Redis.
    pub fn password(mut self, password: impl Into<Secret>) -> Self {
        self.credentials.password = Some(password.into());
        self
    }

    /// User and password of the Sentinels, if they ask for them. Nothing changes without Sentinel.
    pub fn sentinel_credentials(mut self, username: Option<String>, password: Option<Secret>) -> Self {
        if let Topology::Sentinel { credentials, .. } = &mut self.topology {
            *credentials = Credentials { username, password };
        }
        self
    }

    /// The number of the database; 0 unless said otherwise.
    ///
    /// # Errors
    ///
    /// For a Cluster, which has no others.
    pub fn database(mut self, number: u32) -> Result<Self, InvalidConfiguration> {
        if matches!(self.topology, Topology::Cluster(_)) && number != 0 {
            return Err(InvalidConfiguration::DatabaseOfCluster);
        }
        self.database = number.into();
        Ok(self)
    }

    /// Speaks TLS to Redis, and to the Sentinels. Certificates have to be good for the names that are connected to, by
    /// the certificate authorities of the operating system or by [`certificate_authority`](Self::certificate_authority).
    ///
    /// # Errors
    ///
    /// Without the feature `redis-tls`.
    pub fn tls(mut self) -> Result<Self, InvalidConfiguration> {
        if cfg!(not(feature = "redis-tls")) {
            return Err(InvalidConfiguration::NoTls);
        }
        self.tls = true;
        Ok(self)
    }

    /// Trusts these certificates, in PEM, in place of the operating system's.
    pub fn certificate_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificate_authority = Some(pem.into());
        self
    }

    /// What all keys begin with; `mcp-oauth:` unless said otherwise. Servers with different issuers that share a Redis
    /// need a prefix each.
    ///
    /// # Errors
    ///
    /// When it is empty, longer than 64 characters, or holds what Redis or its Cluster give a meaning to.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, InvalidConfiguration> {
        let harmless = |byte: u8| byte.is_ascii_graphic() && !b"{}*?[]\\".contains(&byte);
        if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(harmless) {
            return Err(InvalidConfiguration::Prefix);
        }
        prefix.clone_into(&mut self.prefix);
        Ok(self)
    }

    /// How long to wait for a connection; 1 second unless said otherwise. Zero counts as a millisecond.
    pub fn connection_timeout(mut self, timeout: Duration) -> Self {
        self.connection_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How long to wait for an answer; 1 second unless said otherwise. Zero counts as a millisecond.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How many connections all requests share; 4 unless said otherwise. In a Cluster, how many to each node.
    pub fn lanes(mut self, count: NonZeroUsize) -> Self {
        self.lanes = count;
        self
    }

    /// How many replicas have to have a write before it counts as done; none unless said otherwise.
    ///
    /// Redis acknowledges a write before its replicas have it, so what was acknowledged in the last moments before a
    /// failover may be gone after it. With 1 here, each write waits (`WAIT`) until a replica has it, and is an error if
    /// that takes longer than half the response timeout. While it waits, so do the other requests on its connection.
    pub fn replicas(mut self, count: u32) -> Self {
        self.replicas = count;
        self
    }
}

fn nodes<'a>(
    addresses: impl IntoIterator<Item = &'a str>,
    default_port: u16,
) -> Result<Vec<Node>, InvalidConfiguration> {
    let nodes: Result<Vec<_>, _> = addresses
        .into_iter()
        .map(|address| Node::parse(address, default_port))
        .collect();
    nodes.and_then(|nodes| {
        if nodes.is_empty() {
            Err(InvalidConfiguration::NoHost)
        } else {
            Ok(nodes)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_beside_the_url_have_precedence_and_empty_ones_count_as_unset() {
        let read = |variables: &[(&str, &str)]| {
            RedisConfiguration::from_variables(|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                Ok(found.map(|(_, value)| (*value).to_owned()))
            })
        };
        assert_eq!(
            read(&[("REDIS_URL", "")]).unwrap_err(),
            InvalidConfiguration::Missing("REDIS_URL")
        );
        let configuration = read(&[
            ("REDIS_URL", "redis://:old@a"),
            ("REDIS_PASSWORD", "new"),
            ("REDIS_USERNAME", ""),
            ("REDIS_KEY_PREFIX", "gateway:"),
        ])
        .unwrap();
        assert_eq!(configuration.credentials.password.unwrap().expose(), "new");
        assert_eq!(
            (configuration.credentials.username, configuration.prefix.as_str()),
            (None, "gateway:")
        );
        let error = read(&[("REDIS_URL", "redis://a"), ("REDIS_CA_FILE", "/nowhere/ca.pem")]).unwrap_err();
        assert!(error.to_string().contains("REDIS_CA_FILE"), "{error}");
    }
}
