//! Who a client says it is, and how it shows it (OAuth 2.1 §2.4).
//!
//! [`PresentedClient`] is what a request holds: an identifier alone, or with a secret in the `Authorization` header
//! or in the form, never both. Whether that is the client it claims to be is decided by [`Client::accepts`]: a
//! client that has a secret must show it, and the way in which it shows it does not matter.
//!
//! ```
//! use mcp_oauth_core::client::authentication::PresentedClient;
//! use mcp_oauth_core::parameters::Parameters;
//!
//! // client_id "a:b", secret "c d", each form-urlencoded before base64 (RFC 6749 §2.3.1)
//! let basic = PresentedClient::read(Some("Basic YSUzQWI6YytkCg=="), &Parameters::default());
//! assert!(basic.is_ok());
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Client, ClientCredential, ClientId};
use crate::error::{ErrorCode, OAuthError};
use crate::parameters::Parameters;
use crate::secret::{Secret, SecretDigest};

/// The client that a request claims to come from.
#[derive(Clone, Debug)]
pub struct PresentedClient {
    /// The identifier; `None` if what was sent can be no identifier, so that nobody is known by it.
    client_id: Option<ClientId>,
    secret: Option<Secret>,
    by_header: bool,
}

/// What an `Authorization: Basic` header holds.
fn basic(header: &str) -> Option<(String, Secret)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decoded(id)?, Secret::from(form_decoded(secret)?)))
}

/// Undoes `application/x-www-form-urlencoded` for one value.
fn form_decoded(text: &str) -> Option<String> {
    // As the value of a nameless pair, so that `=` and `&` inside cannot split it: both are encoded first.
    let escaped = text.replace('&', "%26").replace('=', "%3D");
    let (name, value) = form_urlencoded::parse(format!("x={escaped}").as_bytes())
        .into_owned()
        .next()?;
    (name == "x").then_some(value)
}

impl PresentedClient {
    /// Reads who the client says it is from the `Authorization` header and the form of a request.
    ///
    /// # Errors
    ///
    /// * `invalid_client` when there is an `Authorization` header that cannot be read.
    /// * `invalid_request` when there is no `client_id` at all, two that differ, or two secrets.
    pub fn read(authorization: Option<&str>, form: &Parameters) -> Result<Self, OAuthError> {
        let form_id = form.get("client_id")?;
        let form_secret = form.get("client_secret")?;
        if form.get("client_assertion")?.is_some() {
            return Err(OAuthError::new(
                ErrorCode::InvalidClient,
                "client assertions are not supported, use client_secret_basic, client_secret_post or none",
            ));
        }
        let Some(header) = authorization else {
            let form_id = form_id.ok_or_else(|| OAuthError::new(ErrorCode::InvalidRequest, "client_id is missing"))?;
            return Ok(Self {
                client_id: form_id.parse().ok(),
                secret: form_secret.map(Secret::from),
                by_header: false,
            });
        };
        let (header_id, header_secret) = basic(header).ok_or_else(|| {
            OAuthError::new(
                ErrorCode::InvalidClient,
                "the Authorization header is not HTTP Basic with client_id and secret",
            )
        })?;
        if form_secret.is_some() {
            return Err(OAuthError::new(
                ErrorCode::InvalidRequest,
                "the client authenticates in the header and in the form, use one of the two",
            ));
        }
        if form_id.is_some_and(|form_id| form_id != header_id) {
            return Err(OAuthError::new(
                ErrorCode::InvalidRequest,
                "client_id differs between header and form",
            ));
        }
        // An empty password is what some libraries send for a public client (RFC 6749 §2.3.1 lets it be left out).
        let secret = Some(header_secret).filter(|secret| !secret.expose().is_empty());
        Ok(Self {
            client_id: header_id.parse().ok(),
            secret,
            by_header: true,
        })
    }

    /// The identifier under which to look, if what was sent can be one.
    #[must_use]
    pub fn client_id(&self) -> Option<&ClientId> {
        self.client_id.as_ref()
    }

    /// Whether the `Authorization` header was used, so that a refusal has to name the scheme (RFC 6749 §5.2).
    #[must_use]
    pub fn used_header(&self) -> bool {
        self.by_header
    }

    /// Proves the client: the record that was found under its identifier, if it shows what that record asks for.
    ///
    /// For an unknown client the same work is done as for a known one.
    ///
    /// # Errors
    ///
    /// `invalid_client`, with the same words for every reason.
    pub fn prove(&self, found: Option<Client>) -> Result<Client, OAuthError> {
        let accepted = if let Some(client) = &found {
            client.accepts(self.secret.as_ref())
        } else {
            let presented = self.secret.clone().unwrap_or_else(|| Secret::from(""));
            let _ = SecretDigest::of("nobody").matches(&presented);
            false
        };
        found.filter(|_| accepted).ok_or_else(|| {
            OAuthError::new(
                ErrorCode::InvalidClient,
                "the client is unknown or its secret is wrong or missing, register again if this goes on",
            )
        })
    }
}

impl Client {
    /// Whether `presented` is what this client has to show: its secret if it has one, and none if it has none.
    #[must_use]
    pub fn accepts(&self, presented: Option<&Secret>) -> bool {
        match (&self.credential, presented) {
            (ClientCredential::None, None) => true,
            (ClientCredential::Secret { digest }, Some(secret)) => digest.matches(secret),
            (ClientCredential::None, Some(_)) | (ClientCredential::Secret { .. }, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(encoded: &str) -> Parameters {
        Parameters::parse(encoded.as_bytes()).unwrap()
    }

    fn header(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    fn refused(header: Option<&str>, encoded: &str) -> ErrorCode {
        PresentedClient::read(header, &form(encoded)).unwrap_err().code()
    }

    #[test]
    fn basic_credentials_are_form_decoded() {
        let presented = PresentedClient::read(Some(&header("a%2Bb:c+d%26%3D")), &Parameters::default()).unwrap();
        assert_eq!(presented.client_id().unwrap().as_str(), "a+b");
        assert_eq!(presented.secret.unwrap().expose(), "c d&=");
    }

    #[test]
    fn raw_separators_in_basic_credentials_do_not_split_them() {
        let presented = PresentedClient::read(Some(&header("a:c&d=e")), &Parameters::default()).unwrap();
        assert_eq!(presented.secret.unwrap().expose(), "c&d=e");
    }

    #[test]
    fn the_scheme_counts_in_any_case() {
        let header = header("a:b").replace("Basic", "bAsIc");
        assert!(PresentedClient::read(Some(&header), &Parameters::default()).is_ok());
    }

    #[test]
    fn two_ways_at_once_are_an_invalid_request() {
        assert_eq!(
            refused(Some(&header("a:b")), "client_secret=b"),
            ErrorCode::InvalidRequest
        );
        assert_eq!(
            refused(Some(&header("a:b")), "client_id=other"),
            ErrorCode::InvalidRequest
        );
        assert!(PresentedClient::read(Some(&header("a:b")), &form("client_id=a&client_secret=")).is_ok());
    }

    #[test]
    fn a_header_that_is_not_basic_is_an_invalid_client() {
        for header in ["Bearer x", "Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Basic /w==", ""] {
            assert_eq!(refused(Some(header), ""), ErrorCode::InvalidClient, "{header}");
        }
    }

    #[test]
    fn no_client_id_is_an_invalid_request() {
        assert_eq!(refused(None, "client_secret=x"), ErrorCode::InvalidRequest);
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(header in ".*", id in ".*") {
            let _ = PresentedClient::read(Some(&header), &Parameters::default());
            let _ = PresentedClient::read(Some(&self::header(&id)), &Parameters::default());
        }
    }
}
