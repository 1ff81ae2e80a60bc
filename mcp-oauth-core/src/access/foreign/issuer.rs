//! An authorization server of somebody else's that is trusted, and in what its tokens differ from RFC 9068.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::fetch::Fetcher;
use crate::issuer::is_loopback;
use crate::jwt::verify::ExpectedType;
use crate::secret::Secret;

/// For how long an answer to an introspection counts at most, unless said otherwise.
pub(super) const REMEMBER_ANSWERS_FOR: Duration = Duration::from_secs(60);

/// An authorization server whose access tokens are taken.
///
/// Unless said otherwise its tokens are as RFC 9068 has them: of the type `at+jwt`, with the resource's URI as audience,
/// `client_id`, and `scope` as text. Servers that are older than that need some of the methods below; each widens what is
/// taken, so call what is needed and nothing else.
///
/// | server | what its tokens need, unless it is set up for RFC 9068 |
/// |---|---|
/// | Keycloak | `plain_type()`, `client_claim("azp")`, and there an audience mapper for the resource's URI |
/// | Auth0 | nothing with its token profile *RFC 9068*; else `plain_type()`, `client_claim("azp")` |
/// | Entra ID | `plain_type()`, `scope_claim("scp")`, `client_claim("azp")` (version 1: `appid`), `audience(…)` with the application's identifier |
/// | Okta | `plain_type()`, `scope_claim("scp")`, `client_claim("cid")` |
///
/// ```
/// use mcp_oauth_core::access::foreign::TrustedIssuer;
///
/// let keycloak = TrustedIssuer::new("https://login.example.com/realms/acme").plain_type().client_claim("azp");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TrustedIssuer {
    name: String,
    audience: Option<String>,
    plain_type: bool,
    scope_claim: String,
    client_claim: String,
    jwks_uri: Option<String>,
    credentials: Option<Credentials>,
    endpoint: Option<String>,
    remember_for: Duration,
}

#[derive(Clone, Debug)]
struct Credentials {
    client_id: String,
    client_secret: Secret,
    in_body: bool,
}

/// Why an issuer cannot be trusted like that. Each says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTrustedIssuer {
    /// No issuer.
    #[error("name an authorization server: call .issuer(\"https://login.example.com\")")]
    None,
    /// The same one twice.
    #[error("the issuer {0} is configured twice")]
    Twice(String),
    /// Nobody would know whom to ask about an opaque token.
    #[error("only one issuer can be asked about tokens: an opaque token does not say whose it is")]
    SeveralToAsk,
    /// RFC 8414 §2.
    #[error(
        "the issuer {0:?} is none: write it to the letter as its metadata does, an https URL without query and fragment"
    )]
    Issuer(String),
    /// An address of the issuer's is none that anything can be fetched from.
    #[error("{0:?} is no https URL")]
    Address(String),
    /// What is on the machine itself has to be let through on purpose.
    #[error("{0:?} is on this machine: call .allow_loopback(), for development and tests")]
    Loopback(String),
}

impl From<&str> for TrustedIssuer {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for TrustedIssuer {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl TrustedIssuer {
    /// The authorization server with this issuer, to the letter as its metadata and its tokens have it: Auth0's, for one,
    /// end with a slash.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            name: issuer.into(),
            audience: None,
            plain_type: false,
            scope_claim: "scope".to_owned(),
            client_claim: "client_id".to_owned(),
            jwks_uri: None,
            credentials: None,
            endpoint: None,
            remember_for: REMEMBER_ANSWERS_FOR,
        }
    }

    /// The audience of tokens for this resource, where the server cannot be brought to name the resource's URI (RFC 8707).
    ///
    /// Anything else that takes tokens with this audience can use its callers' tokens here.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Takes tokens whose `typ` is `JWT`, or that have none. Tokens that show that they are ID tokens (by `nonce`,
    /// `at_hash` or `c_hash`) are refused even so.
    pub fn plain_type(mut self) -> Self {
        self.plain_type = true;
        self
    }

    /// The claim that the scopes are in, `scope` unless said otherwise; text with spaces between, or a list of texts.
    pub fn scope_claim(mut self, claim: impl Into<String>) -> Self {
        self.scope_claim = claim.into();
        self
    }

    /// The claim that the client is in, `client_id` unless said otherwise.
    pub fn client_claim(mut self, claim: impl Into<String>) -> Self {
        self.client_claim = claim.into();
        self
    }

    /// Where the keys are, so that nobody has to look that up in the metadata.
    pub fn jwks_uri(mut self, uri: impl Into<String>) -> Self {
        self.jwks_uri = Some(uri.into());
        self
    }

    /// Asks the server about each of its tokens (RFC 7662), as this client: for tokens that are opaque, or that have to be
    /// refused soon after they were revoked. The client proves itself by HTTP Basic.
    pub fn introspect(mut self, client_id: impl Into<String>, client_secret: Secret) -> Self {
        self.credentials = Some(Credentials {
            client_id: client_id.into(),
            client_secret,
            in_body: false,
        });
        self
    }

    /// The same, for a server that takes the secret in the body alone (`client_secret_post`).
    pub fn introspect_by_post(mut self, client_id: impl Into<String>, client_secret: Secret) -> Self {
        self = self.introspect(client_id, client_secret);
        if let Some(credentials) = &mut self.credentials {
            credentials.in_body = true;
        }
        self
    }

    /// Where to ask, so that nobody has to look that up in the metadata.
    pub fn introspection_endpoint(mut self, uri: impl Into<String>) -> Self {
        self.endpoint = Some(uri.into());
        self
    }

    /// For how long an answer counts at most, 60 seconds unless said otherwise: so long a token may still be taken after it
    /// was revoked. Zero has the server asked for each request.
    pub fn remember_answers_for(mut self, time: Duration) -> Self {
        self.remember_for = time;
        self
    }

    pub(super) fn check(self, fetcher: &Fetcher) -> Result<Rules, InvalidTrustedIssuer> {
        let url = address(&self.name, fetcher).map_err(|error| match error {
            InvalidTrustedIssuer::Address(name) => InvalidTrustedIssuer::Issuer(name),
            error => error,
        })?;
        if url.query().is_some() {
            return Err(InvalidTrustedIssuer::Issuer(self.name));
        }
        let at = |uri: Option<String>| uri.map(|uri| address(&uri, fetcher)).transpose();
        let endpoint = at(self.endpoint)?;
        let introspection = self.credentials.map(|credentials| Introspection {
            client_id: credentials.client_id,
            client_secret: credentials.client_secret,
            in_body: credentials.in_body,
            endpoint,
            remember_for: self.remember_for,
        });
        Ok(Rules {
            name: self.name.into(),
            url,
            audience: self.audience,
            plain_type: self.plain_type,
            scope_claim: self.scope_claim,
            client_claim: self.client_claim,
            jwks_uri: at(self.jwks_uri)?,
            introspection,
        })
    }
}

fn address(text: &str, fetcher: &Fetcher) -> Result<Url, InvalidTrustedIssuer> {
    let invalid = || InvalidTrustedIssuer::Address(text.to_owned());
    let url = Url::parse(text).map_err(|_| invalid())?;
    let loopback = is_loopback(&url);
    let secure = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if !secure || !plain || !url.has_host() {
        return Err(invalid());
    }
    if loopback && !fetcher.allows_loopback() {
        return Err(InvalidTrustedIssuer::Loopback(text.to_owned()));
    }
    Ok(url)
}

/// What is taken of an issuer, checked.
pub(super) struct Rules {
    pub(super) name: Arc<str>,
    pub(super) url: Url,
    pub(super) audience: Option<String>,
    plain_type: bool,
    pub(super) scope_claim: String,
    pub(super) client_claim: String,
    pub(super) jwks_uri: Option<Url>,
    pub(super) introspection: Option<Introspection>,
}

/// How an issuer is asked.
pub(super) struct Introspection {
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    pub(super) in_body: bool,
    pub(super) endpoint: Option<Url>,
    pub(super) remember_for: Duration,
}

impl Rules {
    pub(super) fn expected_type(&self) -> ExpectedType {
        if self.plain_type {
            ExpectedType::ACCESS_TOKEN_OR_PLAIN
        } else {
            ExpectedType::ACCESS_TOKEN
        }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Rules").field(&self.name).finish()
    }
}
