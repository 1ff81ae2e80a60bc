//! What a builder is told about clients, and about those who vouch for people to clients.

use std::collections::HashMap;
use std::sync::Arc;

use super::{AuthorizationServerBuilder, ConfigurationError};
use crate::client::ClientId;
#[cfg(feature = "cimd")]
use crate::client::host_policy::HostPolicy;
use crate::client::preregistered::{InvalidPreregisteredClient, Preregistered, PreregisteredClient};
#[cfg(feature = "remote-jwks")]
use crate::fetch::{DEFAULT_MAXIMUM_IN_FLIGHT, Fetcher};
use crate::identity::IdentityProvider;
use crate::identity::enterprise::{CLIENT, Enterprise, EnterpriseIssuer, InvalidEnterpriseIssuer};
#[cfg(feature = "cimd")]
use crate::jwt::keys::MAXIMUM_SIZE;
#[cfg(feature = "remote-jwks")]
use crate::jwt::remote::RemoteKeys;
use crate::resource::Resource;

/// As it was said.
#[derive(Debug, Default)]
pub(super) struct ClientConfiguration {
    preregistered: Vec<PreregisteredClient>,
    enterprises: Vec<EnterpriseIssuer>,
    #[cfg(feature = "remote-jwks")]
    key_fetcher: Option<Fetcher>,
    #[cfg(feature = "cimd")]
    pub(super) hosts: HostPolicy,
}

/// As it was checked.
pub(in crate::server) struct ConfiguredClients {
    pub(in crate::server) preregistered: HashMap<ClientId, Arc<Preregistered>>,
    pub(in crate::server) enterprises: Vec<Enterprise>,
    #[cfg(feature = "remote-jwks")]
    pub(in crate::server) remote_keys: Option<RemoteKeys>,
    /// The same for what is configured. These are fetched and kept apart, or strangers who publish many sets, slowly, would
    /// take the turns and the places of those that the operator has named.
    #[cfg(feature = "remote-jwks")]
    pub(in crate::server) configured_keys: Option<RemoteKeys>,
}

impl AuthorizationServerBuilder {
    /// Adds a client of the configuration. It has no record in the store, and nobody manages it over the network.
    pub fn client(mut self, client: PreregisteredClient) -> Self {
        self.clients.preregistered.push(client);
        self
    }

    /// Takes the word of an enterprise's identity provider for its people, when a confidential client brings it
    /// (enterprise-managed authorization, the MCP extension). Who may use the resources is still decided by
    /// [`allow`](Self::allow), where these people are known by subject: `acme:U019488227`.
    pub fn enterprise(mut self, issuer: EnterpriseIssuer) -> Self {
        self.clients.enterprises.push(issuer);
        self
    }

    /// Lets clients and enterprises publish their keys at an address (`jwks_uri`), from which they are fetched with
    /// `fetcher`. Give it [room](Fetcher::maximum_body) for a set of keys.
    ///
    /// Unless this is called, the fetcher for [metadata documents](Self::client_id_metadata_documents) is used, if there
    /// is one, with room for 64 KiB.
    #[cfg(feature = "remote-jwks")]
    pub fn remote_keys(mut self, fetcher: Fetcher) -> Self {
        self.clients.key_fetcher = Some(fetcher);
        self
    }

    /// Whose metadata documents are read: everybody's unless said otherwise. A client of another host gets an error page
    /// that says so, and nothing is fetched.
    #[cfg(feature = "cimd")]
    pub fn trust_client_hosts(mut self, hosts: HostPolicy) -> Self {
        self.clients.hosts = hosts;
        self
    }
}

impl ClientConfiguration {
    /// Checks everything. `documents` is what metadata documents are fetched with.
    pub(super) fn check<'a>(
        self,
        resources: &[Resource],
        mut providers: impl Iterator<Item = &'a Arc<dyn IdentityProvider>>,
        #[cfg(feature = "cimd")] documents: Option<&Fetcher>,
    ) -> Result<ConfiguredClients, ConfigurationError> {
        // A subject is the provider's name, a colon and an identifier, which may hold colons too.
        if providers.any(|provider| provider.id() == CLIENT || provider.id().starts_with("client:")) {
            return Err(ConfigurationError::Identity(format!(
                "the identity provider must not be called {CLIENT}: that is what stands in front of clients that act on \
                 their own behalf"
            )));
        }
        #[cfg(feature = "remote-jwks")]
        let fetcher = self.key_fetcher;
        #[cfg(feature = "cimd")]
        let fetcher = fetcher.or_else(|| documents.map(|fetcher| fetcher.clone().maximum_body(MAXIMUM_SIZE)));
        #[cfg(feature = "remote-jwks")]
        let fetches_keys = fetcher.is_some();
        #[cfg(not(feature = "remote-jwks"))]
        let fetches_keys = false;

        let mut preregistered = HashMap::new();
        for client in self.preregistered {
            let client_id = client.client_id().to_owned();
            let invalid = |reason| ConfigurationError::Client {
                client_id: client_id.clone(),
                reason,
            };
            let checked = client.check(resources, fetches_keys).map_err(invalid)?;
            let known = preregistered.insert(checked.client.client_id.clone(), Arc::new(checked));
            if known.is_some() {
                return Err(invalid(InvalidPreregisteredClient::Twice));
            }
        }
        let mut enterprises: Vec<Enterprise> = Vec::new();
        for issuer in self.enterprises {
            let text = issuer.issuer().to_owned();
            let invalid = |reason| ConfigurationError::Enterprise {
                issuer: text.clone(),
                reason,
            };
            let checked = issuer.check(fetches_keys).map_err(invalid)?;
            let same = |known: &Enterprise| known.name == checked.name || known.issuer == checked.issuer;
            if enterprises.iter().any(same) {
                return Err(invalid(InvalidEnterpriseIssuer::Twice));
            }
            enterprises.push(checked);
        }
        Ok(ConfiguredClients {
            preregistered,
            enterprises,
            #[cfg(feature = "remote-jwks")]
            configured_keys: fetcher
                .clone()
                .map(|fetcher| RemoteKeys::new(fetcher.maximum_in_flight(DEFAULT_MAXIMUM_IN_FLIGHT))),
            #[cfg(feature = "remote-jwks")]
            remote_keys: fetcher.map(RemoteKeys::new),
        })
    }
}
