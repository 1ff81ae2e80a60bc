//! The authorization request, and what comes back from it (OAuth 2.1 §4.1, RFC 7636, RFC 8707, RFC 9207).

use aws_lc_rs::{constant_time, digest, rand};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use url::Url;

use super::challenge::Challenge;
use super::discovery::{AuthorizationServer, Discovered};
use super::secret::Secret;
use super::tokens::union;

/// 256 bits that nobody guesses, as text.
pub(crate) fn random() -> Result<Secret, RandomError> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| RandomError)?;
    Ok(Secret::new(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

/// The system gave no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random numbers")]
#[non_exhaustive]
pub struct RandomError;

/// What is remembered from the request until its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) verifier: Secret,
    pub(crate) state: Secret,
}

impl Pending {
    pub(crate) fn new() -> Result<Self, RandomError> {
        Ok(Self {
            verifier: random()?,
            state: random()?,
        })
    }

    fn challenge(&self) -> String {
        let hash = digest::digest(&digest::SHA256, self.verifier.expose().as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(hash)
    }

    /// Whether an answer belongs to this request.
    pub(crate) fn is_ours(&self, state: &str) -> bool {
        constant_time::verify_slices_are_equal(self.state.expose().as_bytes(), state.as_bytes()).is_ok()
    }

    /// The address for the browser.
    pub(crate) fn url(
        &self,
        endpoint: &Url,
        client_id: &str,
        redirect_uri: &str,
        scope: Option<&str>,
        resource: &str,
    ) -> Url {
        let mut url = endpoint.clone();
        url.set_fragment(None);
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", self.state.expose())
            .append_pair("code_challenge", &self.challenge())
            .append_pair("code_challenge_method", "S256")
            .append_pair("resource", resource);
        if let Some(scope) = scope {
            query.append_pair("scope", scope);
        }
        drop(query);
        url
    }
}

/// What the browser has brought back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Returned {
    pub(crate) code: Option<Secret>,
    pub(crate) state: Option<String>,
    pub(crate) iss: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) error_description: Option<String>,
}

impl Returned {
    /// Reads a query. A parameter that is there twice makes it none that an authorization server sends.
    pub(crate) fn read(query: &str) -> Option<Self> {
        let mut returned = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "code" => {
                    if returned.code.replace(Secret::new(value)).is_some() {
                        return None;
                    }
                    continue;
                }
                "state" => &mut returned.state,
                "iss" => &mut returned.iss,
                "error" => &mut returned.error,
                "error_description" => &mut returned.error_description,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        Some(returned)
    }
}

/// An answer that is not the authorization server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// It names another issuer. What else it says is not repeated.
    #[error("the answer names another issuer than the authorization server that was asked")]
    Other,
    /// It names none, although the authorization server says that its answers do.
    #[error("the answer names no issuer, although the authorization server says that its answers do")]
    Missing,
}

/// Checks who answered, before anything else of the answer is looked at (RFC 9207 §2.4). Letter by letter.
pub(crate) fn check_issuer(server: &AuthorizationServer, iss: Option<&str>) -> Result<(), IssuerError> {
    match iss {
        Some(iss) if iss != server.issuer => Err(IssuerError::Other),
        None if server.sends_iss => Err(IssuerError::Missing),
        _ => Ok(()),
    }
}

/// The scopes to ask for: what the challenge names, else what the resource names, else none. Beside them `offline_access`
/// where the authorization server has it, since without it some give no refresh token.
pub(crate) fn scope(challenge: &Challenge, discovered: &Discovered, configured: Option<&str>) -> Option<String> {
    let named = configured.or(challenge.scope.as_deref()).map(str::to_owned);
    let of_resource = || union(Some(&discovered.resource_scopes.join(" ")), None);
    let scope = named.or_else(of_resource);
    let offline = "offline_access";
    let has_offline = discovered.server.scopes_supported.iter().any(|scope| scope == offline);
    let refreshes = discovered
        .server
        .grant_types_supported
        .as_ref()
        .is_none_or(|grants| grants.iter().any(|grant| grant == "refresh_token"));
    match scope {
        Some(scope) if has_offline && refreshes && configured.is_none() => union(Some(&scope), Some(offline)),
        scope => scope,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use url::Url;

    use super::super::challenge::Challenge;
    use super::super::discovery::{AuthorizationServer, Discovered};
    use super::{IssuerError, Pending, Returned, check_issuer, scope};

    fn server() -> AuthorizationServer {
        let token_endpoint = Url::parse("https://as.example/token").unwrap();
        AuthorizationServer::at("https://as.example".to_owned(), token_endpoint)
    }

    #[test]
    fn the_request_has_all_that_it_needs_and_keeps_the_query_of_the_endpoint() {
        let pending = Pending::new().unwrap();
        let endpoint = Url::parse("https://as.example/authorize?tenant=1#x").unwrap();
        let url = pending.url(
            &endpoint,
            "me",
            "http://127.0.0.1:1/callback",
            Some("a b"),
            "https://rs",
        );
        let parameter = |wanted: &str| {
            url.query_pairs()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
        };
        assert_eq!(parameter("tenant").as_deref(), Some("1"));
        assert_eq!(parameter("resource").as_deref(), Some("https://rs"));
        assert_eq!(parameter("scope").as_deref(), Some("a b"));
        assert_eq!(parameter("code_challenge_method").as_deref(), Some("S256"));
        assert_eq!(parameter("code_challenge").unwrap().len(), 43);
        assert!(pending.is_ours(&parameter("state").unwrap()));
        assert!(!pending.is_ours("") && !Pending::new().unwrap().is_ours(&parameter("state").unwrap()));
        assert_eq!(url.fragment(), None);
        assert!(!url.as_str().contains(pending.verifier.expose()));
    }

    #[test]
    fn the_four_cases_of_an_issuer_are_told_apart() {
        for (sends, iss, wanted) in [
            (true, Some("https://as.example"), Ok(())),
            (true, None, Err(IssuerError::Missing)),
            (true, Some("https://as.example/"), Err(IssuerError::Other)),
            (false, Some("https://as.example"), Ok(())),
            (false, None, Ok(())),
            (false, Some("https://evil.example"), Err(IssuerError::Other)),
        ] {
            let server = AuthorizationServer {
                sends_iss: sends,
                ..server()
            };
            assert_eq!(check_issuer(&server, iss), wanted, "{sends} {iss:?}");
        }
    }

    #[test]
    fn the_scope_is_the_challenges_then_the_resources_then_none() {
        let with = |resource: &[&str], server_scopes: &[&str]| Discovered {
            resource: String::new(),
            resource_scopes: resource.iter().map(|&one| one.to_owned()).collect(),
            server: AuthorizationServer {
                scopes_supported: server_scopes.iter().map(|&one| one.to_owned()).collect(),
                ..server()
            },
        };
        let challenge = Challenge {
            scope: Some("c".to_owned()),
            ..Challenge::default()
        };
        let none = Challenge::default();
        let asked = |challenge, discovered, configured| scope(challenge, &discovered, configured);
        assert_eq!(asked(&challenge, with(&["r"], &["x"]), None).as_deref(), Some("c"));
        assert_eq!(asked(&none, with(&["r", "s"], &["x"]), None).as_deref(), Some("r s"));
        assert_eq!(asked(&none, with(&[], &["x", "offline_access"]), None), None);
        assert_eq!(
            asked(&challenge, with(&[], &["offline_access"]), None).as_deref(),
            Some("c offline_access")
        );
        assert_eq!(
            asked(&challenge, with(&[], &["offline_access"]), Some("mine")).as_deref(),
            Some("mine")
        );
    }

    #[test]
    fn a_parameter_that_comes_twice_makes_no_answer() {
        assert_eq!(Returned::read("code=a&state=b&code=c"), None);
        assert_eq!(Returned::read("state=a&state=a"), None);
        let returned = Returned::read("code=a%20b&state=s&iss=https%3A%2F%2Fas&x=1&x=2").unwrap();
        assert_eq!(returned.code.unwrap().expose(), "a b");
        assert_eq!(returned.iss.as_deref(), Some("https://as"));
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(query in any::<String>()) {
            let _ = Returned::read(&query);
        }
    }
}
