//! Clients that the operator has configured, rather than clients that have introduced themselves.
//!
//! Such a client has no record in the store: it never expires, nobody manages it over the network, and it is the same on
//! every node that has the same configuration. It is the one kind of client that may have tokens on its own behalf
//! (client credentials), for the resources that the configuration names, and that may ask about tokens which are not its
//! own ([introspection](crate::server::introspect)), if it is the resource server that they are for.
//!
//! ```
//! use mcp_oauth_core::client::preregistered::PreregisteredClient;
//! use mcp_oauth_core::client::registration::GrantType;
//! use mcp_oauth_core::secret::Secret;
//!
//! let nightly_job = PreregisteredClient::with_secret("nightly-job", Secret::random())
//!     .name("Nightly job")
//!     .grant_type(GrantType::ClientCredentials)
//!     .resource("https://mcp.example.com/notes")
//!     .scope("notes:read");
//! # let _ = nightly_job;
//! ```

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::keys::{ClientKeys, InvalidClientKeys};
use super::redirect_uri::{InvalidRedirectUri, RedirectUri};
use super::redirect_uri_policy::RedirectUriPolicy;
use super::registration::localized::LocalizedMembers;
use super::registration::{ClientLinks, ClientMetadata, GrantType, MAXIMUM_NAME, TokenEndpointAuthMethod};
use super::{Client, ClientCredential, ClientId};
use crate::clock::UnixTime;
use crate::jwt::SignatureAlgorithm;
use crate::resource::{Resource, ResourceUri};
use crate::scope::{Scope, ScopeSet};
use crate::secret::{Secret, SecretDigest};

/// At least this many characters in a secret that somebody else has made up. `openssl rand -base64 32` gives 44.
pub const MINIMUM_SECRET: usize = 32;

/// At least this many different characters in it, so that it is none that somebody typed with one finger.
pub const MINIMUM_VARIETY: usize = 10;

/// A client of the configuration. Everything is checked when the server is built.
#[derive(Clone, Debug)]
pub struct PreregisteredClient {
    client_id: String,
    proof: Proof,
    signing_algorithm: Option<SignatureAlgorithm>,
    name: Option<String>,
    redirect_uris: Vec<String>,
    grant_types: Vec<GrantType>,
    resources: Vec<String>,
    scopes: Vec<String>,
    introspects: Vec<String>,
}

#[derive(Clone, Debug)]
enum Proof {
    Nothing,
    Secret(Secret),
    Digest(String),
    Keys(Value),
    KeysAt(String),
}

/// Why a client cannot be configured like that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPreregisteredClient {
    /// The identifier is none, or is one that could be another client's.
    #[error(
        "its client_id must be 1 to 512 printable ASCII characters without space, and must neither begin with client_ \
         (registered clients have such) nor be a URL (those lead to metadata documents)"
    )]
    ClientId,
    /// Two clients with the same identifier.
    #[error("its client_id is there twice")]
    Twice,
    /// The secret can be guessed.
    #[error(
        "its secret is weak: it must have at least 32 characters, at least 10 of them different; openssl rand -base64 32 \
         makes one"
    )]
    WeakSecret,
    /// The digest is none.
    #[error("the digest of its secret must be a SHA-256 in 64 hexadecimal digits or 43 characters of base64url")]
    Digest,
    /// The keys are none.
    #[error(transparent)]
    Keys(#[from] InvalidClientKeys),
    /// The keys are to be fetched, and nothing is there that fetches.
    #[error("its keys are at a jwks_uri, and the server has nothing to fetch them with: call .remote_keys(…)")]
    NoFetcher,
    /// A redirect URI cannot be used.
    #[error(transparent)]
    RedirectUri(#[from] InvalidRedirectUri),
    /// The grant type and the rest do not fit together.
    #[error("{0}")]
    GrantType(&'static str),
    /// A resource is not one of the server's.
    #[error("it names the resource {0}, which is not configured")]
    UnknownResource(String),
    /// A scope is none, or none of the resources has it.
    #[error("it names the scope {0}, which none of its resources has")]
    UnknownScope(String),
    /// The name is too long, or holds control characters.
    #[error("its name must have at most 100 characters, and no control characters")]
    Name,
}

/// A client of the configuration that was checked.
#[derive(Debug)]
pub(crate) struct Preregistered {
    pub(crate) client: Client,
    /// What it may have tokens for on its own behalf.
    pub(crate) resources: Vec<ResourceUri>,
    /// How far; `None` means all that the resources have.
    pub(crate) scopes: Option<ScopeSet>,
    /// The resources that it serves, the tokens for which it may ask about.
    pub(crate) introspects: Vec<ResourceUri>,
}

impl PreregisteredClient {
    fn new(client_id: impl Into<String>, proof: Proof) -> Self {
        Self {
            client_id: client_id.into(),
            proof,
            signing_algorithm: None,
            name: None,
            redirect_uris: Vec::new(),
            grant_types: Vec::new(),
            resources: Vec::new(),
            scopes: Vec::new(),
            introspects: Vec::new(),
        }
    }

    /// A client that does not prove itself: a program on people's devices.
    #[must_use]
    pub fn public(client_id: impl Into<String>) -> Self {
        Self::new(client_id, Proof::Nothing)
    }

    /// A client with a secret, of at least [`MINIMUM_SECRET`] characters and [`MINIMUM_VARIETY`] different ones. Only its
    /// digest is kept.
    #[must_use]
    pub fn with_secret(client_id: impl Into<String>, secret: Secret) -> Self {
        Self::new(client_id, Proof::Secret(secret))
    }

    /// A client with a secret of which the configuration has the SHA-256: 64 hexadecimal digits, as `sha256sum` prints
    /// them, or 43 characters of base64url. How good the secret is cannot be seen from that: it has to be random.
    #[must_use]
    pub fn with_secret_digest(client_id: impl Into<String>, digest: impl Into<String>) -> Self {
        Self::new(client_id, Proof::Digest(digest.into()))
    }

    /// A client with keys of its own (`private_key_jwt`), whose public halves are in this JWK set.
    #[must_use]
    pub fn with_keys(client_id: impl Into<String>, jwks: Value) -> Self {
        Self::new(client_id, Proof::Keys(jwks))
    }

    /// A client with keys of its own (`private_key_jwt`), whose public halves are published at this https URL. The server
    /// needs something to fetch them with.
    #[must_use]
    pub fn with_keys_at(client_id: impl Into<String>, jwks_uri: impl Into<String>) -> Self {
        Self::new(client_id, Proof::KeysAt(jwks_uri.into()))
    }

    /// The one algorithm that its assertions are signed with; any that its keys are for unless said otherwise.
    #[must_use]
    pub fn signing_algorithm(mut self, algorithm: SignatureAlgorithm) -> Self {
        self.signing_algorithm = Some(algorithm);
        self
    }

    /// What people read on the consent page.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds a redirect URI, of whatever scheme that does not run in a browser, word for word.
    #[must_use]
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.redirect_uris.push(uri.into());
        self
    }

    /// Adds a grant type. A client with a redirect URI for which none is named has the authorization code and refresh
    /// tokens; a client without either gets no tokens and may ask about those of others.
    #[must_use]
    pub fn grant_type(mut self, grant_type: GrantType) -> Self {
        self.grant_types.push(grant_type);
        self
    }

    /// Adds a resource that it may have tokens for on its own behalf (client credentials).
    #[must_use]
    pub fn resource(mut self, uri: impl Into<String>) -> Self {
        self.resources.push(uri.into());
        self
    }

    /// Adds a scope that it may have on its own behalf (client credentials). Where none is named it may have all that its
    /// resources have.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// Lets it ask about every access token for this resource, because it is the resource server (RFC 7662).
    #[must_use]
    pub fn introspects(mut self, resource: impl Into<String>) -> Self {
        self.introspects.push(resource.into());
        self
    }

    /// The identifier, as it was given.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Checks everything against the resources of the server.
    pub(crate) fn check(
        self,
        resources: &[Resource],
        fetches_keys: bool,
    ) -> Result<Preregistered, InvalidPreregisteredClient> {
        let client_id = identifier(&self.client_id)?;
        let (credential, method, keys) = prove(self.proof)?;
        if matches!(keys, Some(ClientKeys::Remote(_))) && !fetches_keys {
            return Err(InvalidPreregisteredClient::NoFetcher);
        }
        let redirect_uris = self
            .redirect_uris
            .iter()
            .map(|uri| redirect_uri(uri))
            .collect::<Result<Vec<_>, _>>()?;
        let grant_types = grant_types(self.grant_types, &redirect_uris, &credential, &self.resources)?;
        if let Some(name) = &self.name
            && (name.chars().count() > MAXIMUM_NAME || name.chars().any(char::is_control))
        {
            return Err(InvalidPreregisteredClient::Name);
        }
        let own = |uris: Vec<String>| {
            uris.into_iter()
                .map(|uri| match resources.iter().find(|known| known.uri().is(&uri)) {
                    Some(known) => Ok(known.uri().clone()),
                    None => Err(InvalidPreregisteredClient::UnknownResource(uri)),
                })
                .collect::<Result<Vec<_>, _>>()
        };
        let (reaches, introspects) = (own(self.resources)?, own(self.introspects)?);
        let scopes = scopes(&self.scopes, &reaches, resources)?;
        let with_code = grant_types.contains(&GrantType::AuthorizationCode);
        Ok(Preregistered {
            client: Client {
                client_id,
                client_id_issued_at: UnixTime::from_seconds(0),
                expires_at: None,
                credential,
                registration_access_token: None,
                document_fresh_until: None,
                metadata: ClientMetadata {
                    redirect_uris,
                    token_endpoint_auth_method: method,
                    token_endpoint_auth_signing_alg: self.signing_algorithm,
                    keys,
                    grant_types,
                    response_types: if with_code { vec!["code".to_owned()] } else { Vec::new() },
                    application_type: None,
                    client_name: self.name,
                    scope: None,
                    links: ClientLinks::default(),
                    contacts: Vec::new(),
                    software_id: None,
                    software_version: None,
                    software_statement: None,
                    localized: LocalizedMembers::default(),
                },
            },
            resources: reaches,
            scopes,
            introspects,
        })
    }
}

fn identifier(text: &str) -> Result<ClientId, InvalidPreregisteredClient> {
    let client_id: ClientId = text.parse().map_err(|_| InvalidPreregisteredClient::ClientId)?;
    if client_id.looks_registered() || client_id.is_url() {
        return Err(InvalidPreregisteredClient::ClientId);
    }
    Ok(client_id)
}

fn prove(
    proof: Proof,
) -> Result<(ClientCredential, TokenEndpointAuthMethod, Option<ClientKeys>), InvalidPreregisteredClient> {
    let with_digest = |digest| {
        let credential = ClientCredential::Secret { digest };
        (credential, TokenEndpointAuthMethod::ClientSecretBasic, None)
    };
    let with_keys = |keys| {
        (
            ClientCredential::Keys,
            TokenEndpointAuthMethod::PrivateKeyJwt,
            Some(keys),
        )
    };
    match proof {
        Proof::Nothing => Ok((ClientCredential::None, TokenEndpointAuthMethod::None, None)),
        Proof::Secret(secret) => {
            let variety: HashSet<char> = secret.expose().chars().collect();
            if secret.expose().chars().count() < MINIMUM_SECRET || variety.len() < MINIMUM_VARIETY {
                return Err(InvalidPreregisteredClient::WeakSecret);
            }
            Ok(with_digest(secret.digest()))
        }
        Proof::Digest(text) => digest(&text).map(with_digest),
        Proof::Keys(jwks) => Ok(with_keys(ClientKeys::read(Some(&jwks), None)?)),
        Proof::KeysAt(jwks_uri) => Ok(with_keys(ClientKeys::read(None, Some(&jwks_uri.into()))?)),
    }
}

fn digest(text: &str) -> Result<SecretDigest, InvalidPreregisteredClient> {
    let hexadecimal = || {
        let digits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bytes = (0..32).map(|position| u8::from_str_radix(text.get(2 * position..2 * position + 2)?, 16).ok());
        digits.then(|| bytes.collect::<Option<Vec<u8>>>()).flatten()
    };
    hexadecimal()
        .or_else(|| URL_SAFE_NO_PAD.decode(text).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .map(SecretDigest::from_bytes)
        .ok_or(InvalidPreregisteredClient::Digest)
}

/// The operator's word is enough for any redirect URI that is not wrong in itself.
fn redirect_uri(uri: &str) -> Result<RedirectUri, InvalidRedirectUri> {
    RedirectUriPolicy::default().allow(uri).take(uri)
}

fn grant_types(
    named: Vec<GrantType>,
    redirect_uris: &[RedirectUri],
    credential: &ClientCredential,
    resources: &[String],
) -> Result<Vec<GrantType>, InvalidPreregisteredClient> {
    let refuse = |reason| Err(InvalidPreregisteredClient::GrantType(reason));
    let grant_types = if named.is_empty() && !redirect_uris.is_empty() {
        vec![GrantType::AuthorizationCode, GrantType::RefreshToken]
    } else {
        named
    };
    let has = |grant_type| grant_types.contains(&grant_type);
    if has(GrantType::AuthorizationCode) == redirect_uris.is_empty() {
        return refuse("it needs a redirect URI for the authorization code, and has no other use for one");
    }
    if (has(GrantType::ClientCredentials) || has(GrantType::JwtBearer)) && !credential.is_confidential() {
        return refuse("client credentials and enterprise-managed authorization are for clients with a secret or keys");
    }
    if has(GrantType::ClientCredentials) == resources.is_empty() {
        return refuse("it needs to name the resources that client credentials are for, and has no other use for them");
    }
    Ok(grant_types)
}

fn scopes(
    named: &[String],
    reaches: &[ResourceUri],
    resources: &[Resource],
) -> Result<Option<ScopeSet>, InvalidPreregisteredClient> {
    let unknown = |scope: &String| InvalidPreregisteredClient::UnknownScope(scope.clone());
    let has = |resource: &Resource, scope: &Scope| {
        reaches.contains(resource.uri()) && resource.scopes().contains(scope.as_str())
    };
    let scopes = named
        .iter()
        .map(|text| match text.parse::<Scope>() {
            Ok(scope) if resources.iter().any(|resource| has(resource, &scope)) => Ok(scope),
            _ => Err(unknown(text)),
        })
        .collect::<Result<ScopeSet, _>>()?;
    Ok(Some(scopes).filter(|scopes| !scopes.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOTES: &str = "https://mcp.example/notes";

    fn resources() -> Vec<Resource> {
        vec![Resource::new(NOTES).unwrap().scope("notes:read", "read").unwrap()]
    }

    fn check(client: PreregisteredClient) -> Result<Preregistered, InvalidPreregisteredClient> {
        client.check(&resources(), false)
    }

    fn confidential() -> PreregisteredClient {
        PreregisteredClient::with_secret("job", Secret::random())
    }

    #[test]
    fn an_identifier_is_never_that_of_another_kind_of_client() {
        for wrong in [
            "",
            "a b",
            "client_abc",
            "https://a.example/x",
            "HTTP://a.example",
            "\u{e9}",
        ] {
            let client = PreregisteredClient::public(wrong);
            assert_eq!(
                check(client).unwrap_err(),
                InvalidPreregisteredClient::ClientId,
                "{wrong}"
            );
        }
        assert!(check(PreregisteredClient::public("backend:1")).is_ok());
        assert!(ClientId::random().looks_registered());
    }

    #[test]
    fn a_weak_secret_is_refused() {
        for weak in [
            "",
            "hunter2",
            &"a".repeat(64),
            &"abcdefghi".repeat(8),
            "0123456789abcdef0123456789abcde",
        ] {
            let client = PreregisteredClient::with_secret("job", Secret::from(weak));
            assert_eq!(
                check(client).unwrap_err(),
                InvalidPreregisteredClient::WeakSecret,
                "{weak}"
            );
        }
        let just = PreregisteredClient::with_secret("job", Secret::from("0123456789abcdef0123456789abcdef"));
        assert!(check(just).is_ok());
        let few = PreregisteredClient::with_secret("job", Secret::from("0123456789".repeat(4).as_str()));
        assert!(check(few).is_ok(), "ten different ones are enough");
    }

    #[test]
    fn a_name_is_of_a_length_that_a_page_can_show_and_of_nothing_that_it_cannot() {
        let named = |name: &str| check(confidential().name(name)).map(drop);
        assert_eq!(named(&"\u{e4}".repeat(MAXIMUM_NAME)), Ok(()));
        for name in [&"\u{e4}".repeat(MAXIMUM_NAME + 1), "a\nb"] {
            assert_eq!(named(name), Err(InvalidPreregisteredClient::Name), "{name}");
        }
    }

    #[test]
    fn what_only_begins_with_a_digest_is_none() {
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for text in [
            format!("{digest}00"),
            digest[..62].to_owned(),
            format!("+{}", &digest[1..]),
        ] {
            let client = PreregisteredClient::with_secret_digest("job", text.as_str());
            assert_eq!(check(client).unwrap_err(), InvalidPreregisteredClient::Digest, "{text}");
        }
    }

    #[test]
    fn a_digest_is_read_in_both_spellings_and_means_the_same_secret() {
        // The SHA-256 of "abc" (FIPS 180-4).
        let secret = Secret::from("abc");
        for spelling in [
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0",
        ] {
            let client = check(PreregisteredClient::with_secret_digest("job", spelling)).unwrap();
            assert!(client.client.accepts(Some(&secret)), "{spelling}");
            assert!(!client.client.accepts(Some(&Secret::from("abd"))));
        }
        for wrong in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"\u{e9}".repeat(32)] {
            let client = PreregisteredClient::with_secret_digest("job", wrong);
            assert_eq!(
                check(client).unwrap_err(),
                InvalidPreregisteredClient::Digest,
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_redirect_uri_of_any_scheme_that_does_not_run_is_taken_word_for_word() {
        for uri in [
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "myapp:/cb",
            "https://a.example/cb",
        ] {
            let client = check(PreregisteredClient::public("app").redirect_uri(uri))
                .unwrap()
                .client;
            assert_eq!(client.redirect_uris()[0].as_str(), uri);
            assert_eq!(
                client.metadata.grant_types,
                [GrantType::AuthorizationCode, GrantType::RefreshToken]
            );
        }
        for uri in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "file:///x",
            "https://a.example/#x",
        ] {
            assert!(
                matches!(
                    check(PreregisteredClient::public("app").redirect_uri(uri)),
                    Err(InvalidPreregisteredClient::RedirectUri(_))
                ),
                "{uri}"
            );
        }
    }

    #[test]
    fn grants_need_what_they_are_made_of() {
        let credentials = GrantType::ClientCredentials;
        for incomplete in [
            PreregisteredClient::public("app").grant_type(GrantType::AuthorizationCode),
            PreregisteredClient::public("app")
                .grant_type(credentials)
                .resource(NOTES),
            PreregisteredClient::public("app").grant_type(GrantType::JwtBearer),
            confidential().grant_type(credentials),
            confidential().resource(NOTES),
            confidential()
                .grant_type(credentials)
                .resource(NOTES)
                .redirect_uri("https://a.example/cb"),
        ] {
            assert!(matches!(
                check(incomplete),
                Err(InvalidPreregisteredClient::GrantType(_))
            ));
        }
        assert!(check(confidential()).unwrap().client.metadata.grant_types.is_empty());
        assert!(check(confidential().grant_type(credentials).resource(NOTES)).is_ok());
    }

    #[test]
    fn resources_and_scopes_are_the_servers() {
        let job = || confidential().grant_type(GrantType::ClientCredentials);
        assert_eq!(
            check(job().resource("https://other.example/")).unwrap_err(),
            InvalidPreregisteredClient::UnknownResource("https://other.example/".to_owned())
        );
        assert!(matches!(
            check(confidential().introspects("https://other.example/")),
            Err(InvalidPreregisteredClient::UnknownResource(_))
        ));
        for scope in ["notes:write", "offline_access", "a b", ""] {
            assert_eq!(
                check(job().resource(NOTES).scope(scope)).unwrap_err(),
                InvalidPreregisteredClient::UnknownScope(scope.to_owned())
            );
        }
        let checked = check(job().resource(NOTES).scope("notes:read")).unwrap();
        assert_eq!(checked.scopes.unwrap().to_string(), "notes:read");
    }

    #[test]
    fn keys_at_an_address_need_somebody_who_fetches_them() {
        let client = PreregisteredClient::with_keys_at("job", "https://job.example/jwks");
        assert_eq!(
            client.clone().check(&resources(), false).unwrap_err(),
            InvalidPreregisteredClient::NoFetcher
        );
        assert!(client.check(&resources(), true).is_ok());
        let bad = PreregisteredClient::with_keys("job", json!({"keys": []}));
        assert!(matches!(check(bad), Err(InvalidPreregisteredClient::Keys(_))));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::random();
        let client = PreregisteredClient::with_secret("job", secret.clone());
        assert!(!format!("{client:?}").contains(secret.expose()));
    }
}
