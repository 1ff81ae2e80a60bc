//! From a server's refusal to its authorization server (RFC 9728, RFC 8414, OpenID Connect Discovery 1.0).
//!
//! The metadata of the protected resource is where the challenge says, else at the well-known path with the server's
//! path put in, else at the root. It has to be about this server. It names the authorization server, whose metadata is
//! looked for in the order that MCP gives, and has to carry the very issuer that was asked for, letter by letter.
//!
//! A server from before there was such metadata (MCP 2025-03-26) is its own authorization server: the metadata is at its
//! root, or the endpoints are where that version puts them.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::address::{AddressError, bounded, shown};
use super::challenge::Challenge;
use super::fetch::{FetchError, Fetcher};

/// Why it is not known who gives tokens for a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// A document could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A document names an address that is not gone to.
    #[error("an address in the metadata is not used: {0}")]
    Address(#[from] AddressError),
    /// The metadata is about another resource.
    #[error("the metadata at {url} is about another resource: {resource}, not {server}")]
    OtherResource {
        /// Where the metadata was.
        url: String,
        /// What it is about.
        resource: String,
        /// What it should be about.
        server: String,
    },
    /// The server's metadata names no authorization server.
    #[error("the metadata at {0} names no authorization server")]
    NoAuthorizationServer(String),
    /// The authorization server has no metadata.
    #[error("the authorization server {issuer} has no metadata: {tried}")]
    NoMetadata {
        /// The authorization server.
        issuer: String,
        /// What was tried.
        tried: String,
    },
    /// The metadata is some other authorization server's.
    #[error("the metadata at {url} says that its issuer is {found}, not {expected}")]
    OtherIssuer {
        /// Where the metadata was.
        url: String,
        /// Whose it says it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
}

/// The metadata of a protected resource, as far as a client needs it (RFC 9728 §2).
#[derive(Debug, Deserialize)]
struct ResourceMetadata {
    resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
}

/// The metadata of an authorization server, as it is written (RFC 8414 §2).
#[derive(Debug, Default, Deserialize)]
struct WrittenMetadata {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    registration_endpoint: Option<String>,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    scopes_supported: Option<Vec<String>>,
    grant_types_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: Value,
    #[serde(default)]
    client_id_metadata_document_supported: Value,
}

/// An authorization server, its addresses checked.
#[derive(Debug, Clone)]
pub(crate) struct AuthorizationServer {
    /// As it is written: it is only ever compared.
    pub(crate) issuer: String,
    pub(crate) authorization_endpoint: Option<Url>,
    pub(crate) token_endpoint: Url,
    pub(crate) registration_endpoint: Option<Url>,
    pub(crate) device_authorization_endpoint: Option<Url>,
    pub(crate) revocation_endpoint: Option<Url>,
    pub(crate) scopes_supported: Vec<String>,
    pub(crate) grant_types_supported: Option<Vec<String>>,
    pub(crate) auth_methods: Option<Vec<String>>,
    /// Whether PKCE with S256 is there.
    pub(crate) has_pkce: bool,
    pub(crate) sends_iss: bool,
    pub(crate) takes_metadata_documents: bool,
}

impl AuthorizationServer {
    /// One of which no more is known than where it gives tokens, and that it has PKCE.
    pub(crate) fn at(issuer: String, token_endpoint: Url) -> Self {
        Self {
            issuer,
            authorization_endpoint: None,
            token_endpoint,
            registration_endpoint: None,
            device_authorization_endpoint: None,
            revocation_endpoint: None,
            scopes_supported: Vec::new(),
            grant_types_supported: None,
            auth_methods: None,
            has_pkce: true,
            sends_iss: false,
            takes_metadata_documents: false,
        }
    }
}

/// What is known after discovery.
#[derive(Debug, Clone)]
pub(crate) struct Discovered {
    /// What a token is asked for: the resource as its metadata has it.
    pub(crate) resource: String,
    /// The scopes that the resource names.
    pub(crate) resource_scopes: Vec<String>,
    pub(crate) server: AuthorizationServer,
}

/// Finds the authorization server of a resource.
pub(crate) async fn discover(
    fetcher: &Fetcher,
    server: &Url,
    challenge: &Challenge,
) -> Result<Discovered, DiscoveryError> {
    let Some((url, metadata)) = resource_metadata(fetcher, server, challenge).await? else {
        return without_resource_metadata(fetcher, server).await;
    };
    if !covers(&metadata.resource, server) {
        return Err(DiscoveryError::OtherResource {
            url: shown(&url),
            resource: bounded(&metadata.resource),
            server: shown(server),
        });
    }
    let Some(issuer) = metadata.authorization_servers.first() else {
        return Err(DiscoveryError::NoAuthorizationServer(shown(&url)));
    };
    Ok(Discovered {
        server: authorization_server(fetcher, issuer).await?,
        resource: metadata.resource,
        resource_scopes: metadata.scopes_supported,
    })
}

async fn resource_metadata(
    fetcher: &Fetcher,
    server: &Url,
    challenge: &Challenge,
) -> Result<Option<(Url, ResourceMetadata)>, DiscoveryError> {
    if let Some(named) = &challenge.resource_metadata {
        // What the server names itself has to be there: something else at another place would not be what it meant.
        let url = fetcher.reach.parse(named)?;
        let answer = fetcher.document(&url).await?;
        if answer.status == StatusCode::OK {
            return Ok(Some((url, answer.json()?)));
        }
        return Err(FetchError::Malformed {
            url: shown(&url),
            reason: format!("status {}", answer.status),
        }
        .into());
    }
    for url in resource_metadata_places(server) {
        let answer = fetcher.document(&url).await?;
        if answer.status == StatusCode::OK
            && let Ok(metadata) = answer.json::<ResourceMetadata>()
        {
            return Ok(Some((url, metadata)));
        }
    }
    Ok(None)
}

/// The well-known places of the metadata: with the path put in, then at the root (RFC 9728 §3.1).
fn resource_metadata_places(server: &Url) -> Vec<Url> {
    let mut places = Vec::new();
    let inserted = inserted(server, "oauth-protected-resource");
    let mut root = server.clone();
    root.set_query(None);
    root.set_path("/.well-known/oauth-protected-resource");
    places.push(inserted);
    if places[0] != root {
        places.push(root);
    }
    places
}

/// The well-known address of an identifier: the segment between host and path, without the path's last slash.
fn inserted(identifier: &Url, name: &str) -> Url {
    let mut url = identifier.clone();
    let path = identifier.path().trim_end_matches('/');
    url.set_path(&format!("/.well-known/{name}{path}"));
    url.set_fragment(None);
    url
}

/// Whether a resource is this server, or what this server is a part of: the same origin, and the path or the segments in
/// front of it.
fn covers(resource: &str, server: &Url) -> bool {
    let Ok(resource) = Url::parse(resource) else {
        return false;
    };
    if resource.origin() != server.origin() || resource.fragment().is_some() {
        return false;
    }
    if resource.query().is_some() && resource.query() != server.query() {
        return false;
    }
    let mut wanted = resource.path().trim_end_matches('/').split('/');
    let mut found = server.path().trim_end_matches('/').split('/');
    wanted.all(|segment| found.next() == Some(segment))
}

/// The metadata of an authorization server by its issuer.
pub(crate) async fn authorization_server(
    fetcher: &Fetcher,
    issuer: &str,
) -> Result<AuthorizationServer, DiscoveryError> {
    let url = fetcher.reach.parse(issuer)?;
    let mut tried = Vec::new();
    for place in authorization_server_places(&url) {
        let answer = match fetcher.document(&place).await {
            Ok(answer) => answer,
            Err(error) => {
                tried.push(error.to_string());
                continue;
            }
        };
        if answer.status != StatusCode::OK {
            tried.push(format!("{} answered {}", shown(&place), answer.status.as_u16()));
            continue;
        }
        match answer.json::<WrittenMetadata>() {
            Ok(written) => return checked(fetcher, written, issuer, &place),
            Err(error) => tried.push(error.to_string()),
        }
    }
    Err(DiscoveryError::NoMetadata {
        issuer: bounded(issuer),
        tried: tried.join("; "),
    })
}

/// The places in the order that MCP gives: RFC 8414, OpenID Connect with the path put in, OpenID Connect behind the path.
fn authorization_server_places(issuer: &Url) -> Vec<Url> {
    let mut places = vec![
        inserted(issuer, "oauth-authorization-server"),
        inserted(issuer, "openid-configuration"),
    ];
    let path = issuer.path().trim_end_matches('/');
    if !path.is_empty() {
        let mut appended = issuer.clone();
        appended.set_path(&format!("{path}/.well-known/openid-configuration"));
        places.push(appended);
    }
    places
}

fn checked(
    fetcher: &Fetcher,
    written: WrittenMetadata,
    issuer: &str,
    place: &Url,
) -> Result<AuthorizationServer, DiscoveryError> {
    if written.issuer != issuer {
        return Err(DiscoveryError::OtherIssuer {
            url: shown(place),
            found: bounded(&written.issuer),
            expected: bounded(issuer),
        });
    }
    let endpoint = |text: &Option<String>| {
        let text = text.as_deref().filter(|text| !text.is_empty());
        text.map(|text| fetcher.reach.parse(text)).transpose()
    };
    let Some(token_endpoint) = endpoint(&written.token_endpoint)? else {
        return Err(FetchError::Malformed {
            url: shown(place),
            reason: "there is no token_endpoint in it".to_owned(),
        }
        .into());
    };
    Ok(AuthorizationServer {
        issuer: written.issuer,
        authorization_endpoint: endpoint(&written.authorization_endpoint)?,
        token_endpoint,
        registration_endpoint: endpoint(&written.registration_endpoint)?,
        device_authorization_endpoint: endpoint(&written.device_authorization_endpoint)?,
        revocation_endpoint: endpoint(&written.revocation_endpoint)?,
        scopes_supported: written.scopes_supported.unwrap_or_default(),
        grant_types_supported: written.grant_types_supported,
        auth_methods: written.token_endpoint_auth_methods_supported,
        has_pkce: written
            .code_challenge_methods_supported
            .is_some_and(|methods| methods.iter().any(|method| method == "S256")),
        sends_iss: written.authorization_response_iss_parameter_supported == Value::Bool(true),
        takes_metadata_documents: written.client_id_metadata_document_supported == Value::Bool(true),
    })
}

/// A server of MCP 2025-03-26, which is its own authorization server.
async fn without_resource_metadata(fetcher: &Fetcher, server: &Url) -> Result<Discovered, DiscoveryError> {
    let issuer = server.origin().ascii_serialization();
    let server_found = match authorization_server(fetcher, &issuer).await {
        Ok(found) => found,
        Err(DiscoveryError::NoMetadata { .. }) => {
            let endpoint = |path: &str| {
                let mut url = server.clone();
                url.set_query(None);
                url.set_fragment(None);
                url.set_path(path);
                url
            };
            // That version has PKCE always, and has no place to say so.
            AuthorizationServer {
                authorization_endpoint: Some(endpoint("/authorize")),
                registration_endpoint: Some(endpoint("/register")),
                ..AuthorizationServer::at(issuer, endpoint("/token"))
            }
        }
        Err(error) => return Err(error),
    };
    Ok(Discovered {
        resource: canonical(server),
        resource_scopes: Vec::new(),
        server: server_found,
    })
}

/// The server's address as a resource: without the slash of an empty path, without a fragment.
pub(crate) fn canonical(server: &Url) -> String {
    let mut url = server.clone();
    url.set_fragment(None);
    let text = url.to_string();
    match (url.path(), url.query()) {
        ("/", None) => text.trim_end_matches('/').to_owned(),
        _ => text,
    }
}

/// Reads foreign metadata as discovery does, for whoever tries to break it.
#[cfg(feature = "test-util")]
pub(crate) fn read_metadata(fetcher: &Fetcher, bytes: &[u8]) -> bool {
    let Ok(place) = Url::parse("https://as.example/") else {
        return false;
    };
    let Ok(written) = serde_json::from_slice::<WrittenMetadata>(bytes) else {
        return serde_json::from_slice::<ResourceMetadata>(bytes).is_ok();
    };
    let found = checked(fetcher, written, "https://as.example", &place);
    if let Ok(found) = &found {
        assert_eq!(
            found.issuer, "https://as.example",
            "the issuer is the one that was asked for"
        );
        let endpoints = [
            Some(&found.token_endpoint),
            found.authorization_endpoint.as_ref(),
            found.registration_endpoint.as_ref(),
            found.device_authorization_endpoint.as_ref(),
            found.revocation_endpoint.as_ref(),
        ];
        for endpoint in endpoints.into_iter().flatten() {
            assert_eq!(endpoint.scheme(), "https", "nothing goes out in the clear");
        }
    }
    found.is_ok()
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::super::address::Reach;
    use super::super::fetch::Fetcher;
    use super::{
        DiscoveryError, WrittenMetadata, authorization_server_places, canonical, checked, covers,
        resource_metadata_places,
    };

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn texts(urls: Vec<Url>) -> Vec<String> {
        urls.into_iter().map(String::from).collect()
    }

    #[test]
    fn metadata_of_a_resource_is_looked_for_with_its_path_and_then_at_the_root() {
        assert_eq!(
            texts(resource_metadata_places(&url("https://a.example/x/mcp/?tenant=1"))),
            [
                "https://a.example/.well-known/oauth-protected-resource/x/mcp?tenant=1",
                "https://a.example/.well-known/oauth-protected-resource",
            ]
        );
        assert_eq!(
            texts(resource_metadata_places(&url("https://a.example"))),
            ["https://a.example/.well-known/oauth-protected-resource"]
        );
    }

    #[test]
    fn metadata_of_an_authorization_server_is_looked_for_in_the_order_of_mcp() {
        assert_eq!(
            texts(authorization_server_places(&url("https://a.example/tenant/"))),
            [
                "https://a.example/.well-known/oauth-authorization-server/tenant",
                "https://a.example/.well-known/openid-configuration/tenant",
                "https://a.example/tenant/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            texts(authorization_server_places(&url("https://a.example"))),
            [
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ]
        );
    }

    #[test]
    fn a_resource_covers_a_server_below_it_and_no_other() {
        let server = url("https://a.example/x/mcp");
        for (resource, wanted) in [
            ("https://a.example/x/mcp", true),
            ("https://a.example/x/mcp/", true),
            ("https://a.example", true),
            ("https://A.example/x", true),
            ("https://a.example/x/m", false),
            ("https://a.example/x/mcp/y", false),
            ("https://evil.example/x/mcp", false),
            ("http://a.example/x/mcp", false),
            ("https://a.example:444/x/mcp", false),
            ("https://a.example/x/mcp#a", false),
            ("https://a.example/x/mcp?a", false),
            ("not an address", false),
        ] {
            assert_eq!(covers(resource, &server), wanted, "{resource}");
        }
    }

    #[test]
    fn a_resource_is_named_without_the_slash_of_an_empty_path() {
        assert_eq!(canonical(&url("https://a.example")), "https://a.example");
        assert_eq!(canonical(&url("https://a.example/mcp/#x")), "https://a.example/mcp/");
    }

    #[test]
    fn an_issuer_is_compared_letter_by_letter() {
        let fetcher = Fetcher::new(Reach::Public).unwrap();
        let with = |issuer: &str| WrittenMetadata {
            issuer: issuer.to_owned(),
            token_endpoint: Some("https://as.example/token".to_owned()),
            ..WrittenMetadata::default()
        };
        let place = url("https://as.example/.well-known/x");
        assert!(checked(&fetcher, with("https://as.example"), "https://as.example", &place).is_ok());
        for other in [
            "https://as.example/",
            "https://AS.example",
            "https://as.example:443",
            "https://evil.example",
        ] {
            let found = checked(&fetcher, with(other), "https://as.example", &place);
            assert!(matches!(found, Err(DiscoveryError::OtherIssuer { .. })), "{other}");
        }
    }

    #[test]
    fn an_endpoint_that_is_not_https_is_refused() {
        let fetcher = Fetcher::new(Reach::Public).unwrap();
        for endpoint in [
            "http://as.example/token",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "a`id`",
            "/token",
        ] {
            let written = WrittenMetadata {
                issuer: "https://as.example".to_owned(),
                token_endpoint: Some("https://as.example/token".to_owned()),
                authorization_endpoint: Some(endpoint.to_owned()),
                ..WrittenMetadata::default()
            };
            let found = checked(&fetcher, written, "https://as.example", &url("https://as.example/x"));
            assert!(matches!(found, Err(DiscoveryError::Address(_))), "{endpoint}");
        }
    }
}
