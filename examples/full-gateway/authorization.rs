//! The authorization server as the configuration describes it.

use std::sync::Arc;

use anyhow::Context as _;
use mcp_oauth_core::jwt::keys::MAXIMUM_SIZE;
use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use mcp_oauth_core::store::Store;
use mcp_oauth_tower::{AuthorizationServer, Fetcher, KeySet, MemoryStore, RedisStore, Resource};

use crate::clients;
use crate::configuration::{Configuration, Keys};
use crate::identities::Identities;
use crate::servers::Server;

/// The scope of every server here.
const SCOPE: &str = "mcp:tools";

/// Puts the authorization server together for `servers` and for what proxies serve. Nothing is asked of the store yet.
pub(crate) fn server(configuration: &Configuration, servers: &[Server]) -> anyhow::Result<AuthorizationServer> {
    let issuer = configuration.issuer();
    let identities = Identities::read(configuration)?;
    let mut builder = AuthorizationServer::builder(&issuer)
        .shared_store(store(configuration)?)
        .lifetimes(configuration.lifetimes())
        .registration(
            configuration
                .registration
                .policy(&configuration.allowed_redirect_uris)?,
        )
        .limits(configuration.limits.limits());
    builder = match configuration.keys()? {
        Keys::Made(algorithm) => builder.signing_algorithm(algorithm),
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
    if configuration.device_authorization {
        builder = builder.device_authorization();
    }
    if let Some(at_most) = configuration.pages.remember_consent() {
        builder = builder.remember_consent(at_most);
    }
    builder = with_clients(builder, configuration, &issuer)?;
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
        let resource = Resource::new(&server.uri(issuer))?.name(&server.name);
        resources.push(match &server.allow {
            Some(allow) => resource.allow(allow.clone()),
            None => resource,
        });
    }
    for (name, backend) in &configuration.backends {
        resources.push(backend.resource(name)?);
    }
    // Clients that name no resource get the first one.
    if let Some(first) = resources.first() {
        builder = builder.default_resource(first.uri().as_str());
    }
    for resource in resources {
        builder = builder.resource(resource.scope(SCOPE, "see and use its tools in your name")?);
    }
    Ok(builder)
}

/// Tells the builder all that the file says about clients, and about who vouches for people to them.
fn with_clients(
    mut builder: AuthorizationServerBuilder,
    configuration: &Configuration,
    issuer: &str,
) -> anyhow::Result<AuthorizationServerBuilder> {
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
        builder = builder.client(client.client(|server| format!("{issuer}/{server}/mcp"))?);
    }
    for enterprise in &configuration.enterprises {
        builder = builder.enterprise(enterprise.issuer()?);
    }
    Ok(builder)
}

/// Where records are kept. Redis need not be there yet: until it is, the gateway is not ready.
fn store(configuration: &Configuration) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match configuration.redis()? {
        Some(redis) => Arc::new(RedisStore::new(&redis).context("Redis cannot be used")?),
        None => Arc::new(MemoryStore::default()),
    })
}
