//! What this server says of itself (RFC 8414) and of the resources it protects (RFC 9728).
//!
//! The documents are made of what is switched on: an endpoint that does not exist is not listed.
//!
//! ```
//! use mcp_oauth_core::server::metadata::AuthorizationServerMetadata;
//!
//! fn speaks_pkce(metadata: &AuthorizationServerMetadata) -> bool {
//!     metadata.code_challenge_methods_supported.contains(&"S256")
//! }
//! ```

use serde::Serialize;

use super::AuthorizationServer;
use super::enterprise::GRANT_PROFILE;
use crate::client::registration::{GrantType, TokenEndpointAuthMethod};
use crate::jwt::SignatureAlgorithm;
use crate::resource::Resource;
use crate::scope::{Scope, ScopeSet};
use crate::token::keys::Algorithm;

/// Authorization server metadata (RFC 8414 §2).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AuthorizationServerMetadata {
    /// The issuer, byte for byte as it was configured.
    pub issuer: String,
    /// Where people are sent.
    pub authorization_endpoint: String,
    /// Where codes become tokens.
    pub token_endpoint: String,
    /// Where devices ask to be let in (RFC 8628 §4). Left out where they may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_authorization_endpoint: Option<String>,
    /// Where clients introduce themselves. Left out where they cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_endpoint: Option<String>,
    /// Where clients give tokens back (RFC 7009).
    pub revocation_endpoint: String,
    /// How clients prove themselves there.
    pub revocation_endpoint_auth_methods_supported: Vec<TokenEndpointAuthMethod>,
    /// How their assertions may be signed.
    pub revocation_endpoint_auth_signing_alg_values_supported: Vec<SignatureAlgorithm>,
    /// Where clients ask about their tokens (RFC 7662).
    pub introspection_endpoint: String,
    /// How clients prove themselves there: really.
    pub introspection_endpoint_auth_methods_supported: Vec<TokenEndpointAuthMethod>,
    /// How their assertions may be signed.
    pub introspection_endpoint_auth_signing_alg_values_supported: Vec<SignatureAlgorithm>,
    /// The public keys.
    pub jwks_uri: String,
    /// Scopes that anybody may be granted. Several clients ask for all of them.
    pub scopes_supported: Vec<String>,
    /// Always `code`.
    pub response_types_supported: [&'static str; 1],
    /// Always `query`.
    pub response_modes_supported: [&'static str; 1],
    /// How tokens can be had.
    pub grant_types_supported: Vec<GrantType>,
    /// By whose word tokens can be had (draft-ietf-oauth-identity-assertion-authz-grant §7.2). Left out where by nobody's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_grant_profiles_supported: Vec<&'static str>,
    /// How clients prove themselves; `none` first, since some clients take the first.
    pub token_endpoint_auth_methods_supported: Vec<TokenEndpointAuthMethod>,
    /// How their assertions may be signed.
    pub token_endpoint_auth_signing_alg_values_supported: Vec<SignatureAlgorithm>,
    /// Always `S256`.
    pub code_challenge_methods_supported: [&'static str; 1],
    /// Whether a client's identifier may be the URL of its metadata document. Left out where it may not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub client_id_metadata_document_supported: bool,
    /// Every answer at the redirect URI has `iss` (RFC 9207 §3).
    pub authorization_response_iss_parameter_supported: bool,
    /// The protected resources (RFC 9728 §4).
    pub protected_resources: Vec<String>,
}

/// The same with what OpenID Connect Discovery §3 requires, for clients that look for that document. It promises no
/// ID token: the scope `openid` is not offered.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct OpenIdConfiguration {
    /// Everything that the other document says.
    #[serde(flatten)]
    pub metadata: AuthorizationServerMetadata,
    /// A person has the same subject for every client.
    pub subject_types_supported: [&'static str; 1],
    /// Required by that specification; the algorithms of the keys at `jwks_uri`.
    pub id_token_signing_alg_values_supported: Vec<Algorithm>,
}

/// Protected resource metadata (RFC 9728 §2).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ProtectedResourceMetadata {
    /// The resource, byte for byte as it was configured.
    pub resource: String,
    /// Who issues tokens for it.
    pub authorization_servers: Vec<String>,
    /// What callers need.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<String>,
    /// Tokens come in the `Authorization` header, nowhere else.
    pub bearer_methods_supported: [&'static str; 1],
    /// What it is called.
    pub resource_name: String,
}

impl ProtectedResourceMetadata {
    /// The metadata of a resource whose tokens these authorization servers issue.
    #[must_use]
    pub fn new(resource: &Resource, authorization_servers: Vec<String>) -> Self {
        Self {
            resource: resource.uri().to_string(),
            authorization_servers,
            scopes_supported: texts(&resource.scopes()),
            bearer_methods_supported: ["header"],
            resource_name: resource.display_name().to_owned(),
        }
    }
}

fn texts(scopes: &ScopeSet) -> Vec<String> {
    scopes.iter().map(ToString::to_string).collect()
}

impl AuthorizationServer {
    /// The authorization server metadata.
    #[must_use]
    pub fn metadata(&self) -> AuthorizationServerMetadata {
        let endpoint = |path: &str| -> String { self.issuer().endpoint(path).into() };
        let mut scopes: ScopeSet = self
            .resources()
            .iter()
            .flat_map(|resource| resource.scopes().iter().cloned().collect::<Vec<_>>())
            .collect();
        if let Ok(offline_access) = Scope::OFFLINE_ACCESS.parse() {
            scopes.insert(offline_access);
        }
        AuthorizationServerMetadata {
            issuer: self.issuer().as_str().to_owned(),
            authorization_endpoint: endpoint("/authorize"),
            token_endpoint: endpoint("/token"),
            device_authorization_endpoint: self.lets_devices_in().then(|| endpoint("/device_authorization")),
            registration_endpoint: self.registers_clients().then(|| endpoint("/register")),
            revocation_endpoint: endpoint("/revoke"),
            revocation_endpoint_auth_methods_supported: TokenEndpointAuthMethod::SUPPORTED.to_vec(),
            revocation_endpoint_auth_signing_alg_values_supported: SignatureAlgorithm::SUPPORTED.to_vec(),
            introspection_endpoint: endpoint("/introspect"),
            introspection_endpoint_auth_methods_supported: TokenEndpointAuthMethod::CONFIDENTIAL.to_vec(),
            introspection_endpoint_auth_signing_alg_values_supported: SignatureAlgorithm::SUPPORTED.to_vec(),
            jwks_uri: endpoint("/jwks"),
            scopes_supported: texts(&scopes),
            response_types_supported: ["code"],
            response_modes_supported: ["query"],
            grant_types_supported: self.offered_grant_types(),
            authorization_grant_profiles_supported: self.grant_profiles(),
            token_endpoint_auth_methods_supported: TokenEndpointAuthMethod::SUPPORTED.to_vec(),
            token_endpoint_auth_signing_alg_values_supported: SignatureAlgorithm::SUPPORTED.to_vec(),
            code_challenge_methods_supported: ["S256"],
            client_id_metadata_document_supported: self.reads_documents(),
            authorization_response_iss_parameter_supported: true,
            protected_resources: self
                .resources()
                .iter()
                .map(|resource| resource.uri().to_string())
                .collect(),
        }
    }

    /// The grant types that clients can register and use here.
    pub(super) fn grant_types(&self) -> impl Iterator<Item = GrantType> {
        let devices = self.lets_devices_in();
        let assertions = self.takes_assertions().then_some(GrantType::JwtBearer);
        GrantType::SUPPORTED
            .into_iter()
            .filter(move |grant_type| devices || *grant_type != GrantType::DeviceCode)
            .chain(assertions)
    }

    /// Those, and the one that is for clients of the configuration alone.
    fn offered_grant_types(&self) -> Vec<GrantType> {
        let credentials = self.offers_client_credentials().then_some(GrantType::ClientCredentials);
        self.grant_types().chain(credentials).collect()
    }

    fn grant_profiles(&self) -> Vec<&'static str> {
        if self.takes_assertions() {
            vec![GRANT_PROFILE]
        } else {
            Vec::new()
        }
    }

    #[cfg(feature = "cimd")]
    fn reads_documents(&self) -> bool {
        self.0.documents.is_some()
    }

    #[cfg(not(feature = "cimd"))]
    #[allow(clippy::unused_self, reason = "with the feature it depends on the server")]
    fn reads_documents(&self) -> bool {
        false
    }

    /// The OpenID alias of the authorization server metadata.
    #[must_use]
    pub fn openid_configuration(&self) -> OpenIdConfiguration {
        OpenIdConfiguration {
            metadata: self.metadata(),
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: self.0.keys.algorithms(self.now()),
        }
    }

    /// The metadata of one protected resource.
    #[must_use]
    pub fn resource_metadata(&self, resource: &Resource) -> ProtectedResourceMetadata {
        ProtectedResourceMetadata::new(resource, vec![self.issuer().as_str().to_owned()])
    }
}
