//! Where connections come from: one node, whatever node Sentinel names, or a Cluster.

use std::fmt;
use std::time::Duration;

use deadpool_redis::{Manager, Pool, PoolError};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisConnectionInfo,
    RedisError, TlsMode, Value,
};
use tokio::sync::Mutex;

use super::configuration::{Credentials, Node, RedisConfiguration, Topology};
use super::failure::Failure;

/// A connection that any number of requests share. Clones are the same connection.
#[derive(Clone)]
pub(super) enum Connection {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Node(_) => "Connection::Node",
            Self::Cluster(_) => "Connection::Cluster",
        })
    }
}

impl Connection {
    pub(super) async fn call(&mut self, command: &Cmd) -> Result<Value, Failure> {
        let answer = match self {
            Self::Node(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        };
        Ok(answer?.extract_error()?)
    }

    /// Has one server do something that touches no key: the only one, or the one with this address. Gives the answers as
    /// one.
    pub(super) async fn call_at(&mut self, commands: &[Cmd], server: Option<(&str, u16)>) -> Result<Value, Failure> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let answers = match self {
            Self::Node(connection) => connection.req_packed_commands(&pipeline, 0, commands.len()).await,
            Self::Cluster(connection) => {
                let route = match server {
                    Some((host, port)) => SingleNodeRoutingInfo::ByAddress {
                        host: host.to_owned(),
                        port,
                    },
                    None => SingleNodeRoutingInfo::RandomPrimary,
                };
                connection.route_pipeline(pipeline, 0, commands.len(), route).await
            }
        }?;
        let answers: Result<_, RedisError> = answers.into_iter().map(Value::extract_error).collect();
        Ok(Value::Array(answers?))
    }

    /// Writes, and waits until as many replicas have it. Says how many do after `patience`.
    pub(super) async fn call_replicated(
        &mut self,
        command: &Cmd,
        key: &str,
        replicas: u32,
        patience: Duration,
    ) -> Result<(Value, i64), Failure> {
        let mut wait = redis::cmd("WAIT");
        wait.arg(replicas).arg(patience.as_millis().max(1).to_string());
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(command.clone()).add_command(wait);
        let answers = match self {
            Self::Node(connection) => connection.req_packed_commands(&pipeline, 0, 2).await,
            Self::Cluster(connection) => {
                let route = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
                connection.route_pipeline(pipeline, 0, 2, route).await
            }
        }?;
        let mut answers = answers.into_iter().map(Value::extract_error);
        let mut next = || answers.next().ok_or(Failure::UnexpectedAnswer);
        let (answer, have) = (next()??, next()??);
        match have {
            Value::Int(have) => Ok((answer, have)),
            _ => Err(Failure::UnexpectedAnswer),
        }
    }
}

/// Makes connections.
///
/// deadpool makes those to one node, and sees to it that a burst of requests after an outage does not become a burst of
/// connections. Its makers for Sentinel and Cluster can be told neither a certificate authority nor how long to wait, so
/// there the library below it is asked directly.
pub(super) enum Source {
    Node(Pool),
    Sentinel(Mutex<SentinelClient>, AsyncConnectionConfig),
    Cluster(ClusterClient),
}

impl fmt::Debug for Source {
    /// Without addresses and passwords.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Node(_) => "Source::Node",
            Self::Sentinel(..) => "Source::Sentinel",
            Self::Cluster(_) => "Source::Cluster",
        })
    }
}

impl Source {
    /// Prepares connections and makes none yet.
    pub(super) fn new(configuration: &RedisConfiguration) -> Result<Self, RedisError> {
        #[cfg(feature = "redis-tls")]
        if configuration.tls {
            // rustls takes the cryptography that the program has chosen; if it has chosen none, it gets this one.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let timeouts = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(configuration.connection_timeout))
            .set_response_timeout(Some(configuration.response_timeout));
        match &configuration.topology {
            Topology::Node(node) => {
                let manager = Manager::new_with_config(node_info(configuration, node)?, timeouts)?;
                let pool = Pool::builder(manager).max_size(configuration.lanes.get()).build();
                Ok(Self::Node(pool.map_err(|_| unusable())?))
            }
            Topology::Sentinel {
                sentinels,
                service,
                credentials,
            } => Ok(Self::Sentinel(
                Mutex::new(sentinel(configuration, sentinels, service, credentials)?),
                timeouts,
            )),
            Topology::Cluster(nodes) => Ok(Self::Cluster(cluster(configuration, nodes)?)),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        match self {
            Self::Node(pool) => match pool.get().await {
                Ok(pooled) => Ok(Connection::Node(deadpool_redis::Connection::take(pooled))),
                Err(PoolError::Backend(error)) => Err(error.into()),
                Err(error) => Err(Failure::Client(error.to_string())),
            },
            Self::Sentinel(client, timeouts) => {
                let mut client = client.lock().await;
                Ok(Connection::Node(
                    client.get_async_connection_with_config(timeouts).await?,
                ))
            }
            Self::Cluster(client) => Ok(Connection::Cluster(client.get_async_connection().await?)),
        }
    }
}

fn unusable() -> RedisError {
    (redis::ErrorKind::InvalidClientConfig, "the pool cannot be built").into()
}

fn address(configuration: &RedisConfiguration, node: &Node) -> ConnectionAddr {
    if configuration.tls {
        ConnectionAddr::TcpTls {
            host: node.host.clone(),
            port: node.port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(node.host.clone(), node.port)
    }
}

fn settings(configuration: &RedisConfiguration) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default().set_db(configuration.database);
    if let Some(username) = &configuration.credentials.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &configuration.credentials.password {
        settings = settings.set_password(password.expose());
    }
    settings
}

fn node_info(configuration: &RedisConfiguration, node: &Node) -> Result<ConnectionInfo, RedisError> {
    let info = address(configuration, node)
        .into_connection_info()?
        .set_redis_settings(settings(configuration));
    #[cfg(feature = "redis-tls")]
    if let Some(certificates) = certificates(configuration) {
        return Ok(redis::Client::build_with_tls(info, certificates)?
            .get_connection_info()
            .clone());
    }
    Ok(info)
}

#[cfg(feature = "redis-tls")]
fn certificates(configuration: &RedisConfiguration) -> Option<redis::TlsCertificates> {
    let root_cert = configuration
        .certificate_authority
        .clone()
        .filter(|_| configuration.tls);
    root_cert.map(|root_cert| redis::TlsCertificates {
        client_tls: None,
        root_cert: Some(root_cert),
    })
}

fn sentinel(
    configuration: &RedisConfiguration,
    sentinels: &[Node],
    service: &str,
    credentials: &Credentials,
) -> Result<SentinelClient, RedisError> {
    let addresses: Vec<_> = sentinels.iter().map(|node| address(configuration, node)).collect();
    let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?
        .set_client_to_redis_db(configuration.database);
    if let Some(username) = &configuration.credentials.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = &configuration.credentials.password {
        builder = builder.set_client_to_redis_password(password.expose());
    }
    if let Some(username) = &credentials.username {
        builder = builder.set_client_to_sentinel_username(username);
    }
    if let Some(password) = &credentials.password {
        builder = builder.set_client_to_sentinel_password(password.expose());
    }
    if configuration.tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_tls_mode(TlsMode::Secure);
    }
    #[cfg(feature = "redis-tls")]
    if let Some(certificates) = certificates(configuration) {
        builder = builder
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    builder.build()
}

/// Reads go to primaries: the library does nothing else unless told to.
fn cluster(configuration: &RedisConfiguration, nodes: &[Node]) -> Result<ClusterClient, RedisError> {
    let infos: Result<Vec<_>, _> = nodes.iter().map(|node| node_info(configuration, node)).collect();
    let builder = ClusterClientBuilder::new(infos?)
        .connection_timeout(configuration.connection_timeout)
        // Of the whole way of a request, redirections and waiting for a new map of the slots included.
        .response_timeout(configuration.response_timeout)
        .max_retry_wait(200)
        .min_retry_wait(10);
    #[cfg(feature = "redis-tls")]
    let builder = match certificates(configuration) {
        Some(certificates) => builder.certs(certificates),
        None => builder,
    };
    builder.build()
}
