//! The authorization server as the configuration describes it.

use std::sync::Arc;

use anyhow::Context as _;
use mcp_oauth_core::jwt::keys::MAXIMUM_SIZE;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_core::store::Store;
use mcp_oauth_core::store::observed::ObservedStore;
use mcp_oauth_tower::{AuthorizationServer, Fetcher, KeySet, MemoryStore, RedisStore};

use crate::clients;
use crate::configuration::{Configuration, Keys};
use crate::identities::Identities;
use crate::servers::Server;
use crate::telemetry::audit::AuditLog;

/// What outlives a reload: the records, and the keys that were made when the gateway started.
#[derive(Clone)]
pub(crate) struct Foundation {
    store: Arc<dyn Store>,
    made: Option<KeySet>,
    audit: Option<AuditLog>,
}

impl Foundation {
    /// Lays it. Nothing is asked of the store yet: Redis need not be there, and until it is, the gateway is not ready.
    pub(crate) fn lay(configuration: &Configuration, audit: Option<AuditLog>) -> anyhow::Result<Self> {
        let records: Arc<dyn Store> = match configuration.redis()? {
            Some(redis) => Arc::new(RedisStore::new(&redis).context("Redis cannot be used")?),
            None => Arc::new(MemoryStore::default()),
        };
        let made = match configuration.keys()? {
            Keys::Made(algorithm) => Some(KeySet::generate(algorithm)?),
            Keys::Own(_) | Keys::Stored(..) => None,
        };
        let store: Arc<dyn Store> = Arc::new(ObservedStore::shared(records));
        Ok(Self { store, made, audit })
    }
}

/// Puts the authorization server together for `servers` and for what proxies serve. Nothing is asked of the store yet.
pub(crate) fn server(configuration: &Configuration, servers: &[Server]) -> anyhow::Result<AuthorizationServer> {
    on(
        &Foundation::lay(configuration, AuditLog::of_file(configuration)?)?,
        configuration,
        servers,
    )
}

/// The same on what was there before.
pub(crate) fn on(
    foundation: &Foundation,
    configuration: &Configuration,
    servers: &[Server],
) -> anyhow::Result<AuthorizationServer> {
    let issuer = configuration.issuer();
    let identities = Identities::read(configuration)?;
    let mut builder = AuthorizationServer::builder(&issuer)
        .shared_store(Arc::clone(&foundation.store))
        .lifetimes(configuration.lifetimes())
        .registration(
            configuration
                .registration
                .policy(&configuration.allowed_redirect_uris)?,
        )
        .limits(configuration.limits.limits());
    builder = match configuration.keys()? {
        Keys::Made(algorithm) => match &foundation.made {
            Some(keys) => builder.keys(keys.clone()),
            None => builder.signing_algorithm(algorithm),
        },
        Keys::Own(key) => builder.keys(KeySet::new(key)),
        Keys::Stored(algorithm, sealing, rotation) => {
            if configuration.redis()?.is_none() {
                tracing::warn!(
                    "everything is kept in memory, so the sealed signing keys end with this process all the same: to \
                     keep them, use JWT_PRIVATE_KEY_B64 or REDIS_URL"
                );
            }
            builder.signing_algorithm(algorithm).stored_keys(sealing, rotation)
        }
    };
    if let Some(audit) = foundation.audit.clone() {
        builder = builder.audit(audit);
    }
    if configuration.device_authorization {
        builder = builder.device_authorization();
    }
    if let Some(at_most) = configuration.pages.remember_consent() {
        builder = builder.remember_consent(at_most);
    }
    builder = with_clients(builder, configuration, servers, &issuer)?;
    builder = with_resources(builder, configuration, servers, &issuer)?;
    let backends = configuration.backends.iter();
    let of_backends = backends.map(|(name, backend)| backend.allowed_users(name));
    let of_backends: Vec<_> = of_backends.collect::<anyhow::Result<_>>()?;
    let own_lists = servers.iter().map(|server| &server.allow).chain(&of_backends);
    builder = identities.tell(builder, own_lists.flatten());
    if let Some(sealing) = configuration.vault_sealing()? {
        builder = builder.vault(sealing);
    }
    builder.build().context("the authorization server cannot be built")
}

/// Tells the builder what there is to protect: what the gateway serves, and what a proxy does.
fn with_resources(
    mut builder: AuthorizationServerBuilder,
    configuration: &Configuration,
    servers: &[Server],
    issuer: &str,
) -> anyhow::Result<AuthorizationServerBuilder> {
    let mut resources = Vec::new();
    for server in servers {
        let resource = server.resource(issuer);
        resources.push(resource.with_context(|| format!("[servers.{}] cannot be used", server.key))?);
    }
    for (name, backend) in &configuration.backends {
        resources.push(backend.resource(name)?);
    }
    // Clients that name no resource get the first one.
    if let Some(first) = resources.first() {
        builder = builder.default_resource(first.uri().as_str());
    }
    for resource in resources {
        builder = builder.resource(resource);
    }
    Ok(builder)
}

/// Tells the builder all that the file says about clients, and about who vouches for people to them.
fn with_clients(
    mut builder: AuthorizationServerBuilder,
    configuration: &Configuration,
    servers: &[Server],
    issuer: &str,
) -> anyhow::Result<AuthorizationServerBuilder> {
    // A name that nobody has is refused by the builder, as the resource that there is not.
    let uri = |name: &str| match servers.iter().find(|server| server.key == name) {
        Some(server) => server.uri(issuer),
        None => format!("{issuer}/{name}/mcp"),
    };
    if configuration.client_id_metadata_documents {
        let trusted = configuration.trusted_client_hosts.as_deref();
        let hosts = clients::hosts(trusted, &configuration.distrusted_client_hosts)?;
        builder = builder
            .client_id_metadata_documents(Fetcher::default())
            .trust_client_hosts(hosts);
    }
    if configuration.names_keys_elsewhere() {
        builder = builder.remote_keys(Fetcher::default().maximum_body(MAXIMUM_SIZE));
    }
    for client in &configuration.clients {
        builder = builder.client(client.client(uri)?);
    }
    for enterprise in &configuration.enterprises {
        builder = builder.enterprise(enterprise.issuer()?);
    }
    Ok(builder)
}
