//! Who a client says it is, and how it shows it (OAuth 2.1 §2.4).
//!
//! [`PresentedClient`] is what a request holds: an identifier alone, or with a secret in the `Authorization` header
//! or in the form, or an [assertion](super::assertion) that the client has signed; never two of these. Whether that is
//! the client it claims to be is decided by what is known of the client: one that has a secret must show it, and the
//! way in which it shows it does not matter; one that has keys must sign each request; one that has neither must show
//! nothing.
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

use super::assertion::ClientAssertion;
use super::{Client, ClientCredential, ClientId};
use crate::error::{ErrorCode, OAuthError};
use crate::parameters::Parameters;
use crate::secret::{Secret, SecretDigest};

/// The client that a request claims to come from.
#[derive(Clone, Debug)]
pub struct PresentedClient {
    /// The identifier; `None` if what was sent can be no identifier, so that nobody is known by it.
    client_id: Option<ClientId>,
    shown: Shown,
    by_header: bool,
}

/// What the client shows to prove itself.
#[derive(Clone, Debug)]
enum Shown {
    Nothing,
    Secret(Secret),
    Assertion(ClientAssertion),
}

impl Shown {
    fn secret(secret: Option<Secret>) -> Self {
        secret.map_or(Self::Nothing, Self::Secret)
    }
}

/// What a client is told that has not proven itself: the same words for every reason, so that nobody learns which
/// clients there are.
pub(crate) fn not_proven() -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidClient,
        "the client is unknown, or what it shows to prove itself is wrong or missing, register again if this goes on",
    )
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
    /// * `invalid_client` when there is an `Authorization` header or an assertion that cannot be read.
    /// * `invalid_request` when there is no `client_id` at all, two that differ, or two of header, secret and assertion
    ///   (OAuth 2.1 §2.4).
    pub fn read(authorization: Option<&str>, form: &Parameters) -> Result<Self, OAuthError> {
        let form_id = form.get("client_id")?;
        let form_secret = form.get("client_secret")?;
        if let Some(assertion) = ClientAssertion::read(form)? {
            if form_secret.is_some() || authorization.is_some() {
                return Err(OAuthError::new(
                    ErrorCode::InvalidRequest,
                    "the client authenticates with an assertion and in another way, use one of the two",
                ));
            }
            // RFC 7521 §4.2: the assertion says who the client is, so that client_id may be left out.
            return Ok(Self {
                client_id: match form_id {
                    Some(form_id) => form_id.parse().ok(),
                    None => assertion.subject().cloned(),
                },
                shown: Shown::Assertion(assertion),
                by_header: false,
            });
        }
        let Some(header) = authorization else {
            let form_id = form_id.ok_or_else(|| OAuthError::new(ErrorCode::InvalidRequest, "client_id is missing"))?;
            return Ok(Self {
                client_id: form_id.parse().ok(),
                shown: Shown::secret(form_secret.map(Secret::from)),
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
            shown: Shown::secret(secret),
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

    /// Whether it shows anything that could be wrong.
    pub(crate) fn shows_something(&self) -> bool {
        !matches!(self.shown, Shown::Nothing)
    }

    /// The assertion that it shows, if it shows one. It proves the client by the client's keys, which is not done here.
    pub(crate) fn assertion(&self) -> Option<&ClientAssertion> {
        match &self.shown {
            Shown::Assertion(assertion) => Some(assertion),
            Shown::Nothing | Shown::Secret(_) => None,
        }
    }

    /// Proves a client by its secret, or one that has nothing to prove: the record that was found under its identifier,
    /// if it shows what that record asks for. A client that has keys is not proven by this.
    ///
    /// For an unknown client the same work is done as for a known one.
    ///
    /// # Errors
    ///
    /// `invalid_client`, with the same words for every reason.
    pub fn prove(&self, found: Option<Client>) -> Result<Client, OAuthError> {
        let secret = match &self.shown {
            Shown::Secret(secret) => Some(secret),
            Shown::Nothing => None,
            Shown::Assertion(_) => return Err(not_proven()),
        };
        let accepted = if let Some(client) = &found {
            client.accepts(secret)
        } else {
            let presented = secret.cloned().unwrap_or_else(|| Secret::from(""));
            let _ = SecretDigest::of("nobody").matches(&presented);
            false
        };
        found.filter(|_| accepted).ok_or_else(not_proven)
    }
}

impl Client {
    /// Whether `presented` is what this client has to show: its secret if it has one, and none if it has none. A client
    /// with keys has to show something else.
    #[must_use]
    pub fn accepts(&self, presented: Option<&Secret>) -> bool {
        match (&self.credential, presented) {
            (ClientCredential::None, None) => true,
            (ClientCredential::Secret { digest }, Some(secret)) => digest.matches(secret),
            (ClientCredential::None, Some(_))
            | (ClientCredential::Secret { .. }, None)
            | (ClientCredential::Keys, _) => false,
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

    fn secret(presented: &PresentedClient) -> &str {
        match &presented.shown {
            Shown::Secret(secret) => secret.expose(),
            other => panic!("{other:?}"),
        }
    }

    /// An assertion of a client `a`, which nobody has signed.
    fn assertion() -> String {
        let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.AAAA";
        format!(
            "client_assertion_type={}&client_assertion={jwt}",
            super::super::assertion::JWT_BEARER
        )
    }

    #[test]
    fn an_assertion_says_who_the_client_is_unless_the_request_does() {
        let presented = PresentedClient::read(None, &form(&assertion())).unwrap();
        assert_eq!(presented.client_id().unwrap().as_str(), "a");
        let named = PresentedClient::read(None, &form(&format!("{}&client_id=b", assertion()))).unwrap();
        assert_eq!(named.client_id().unwrap().as_str(), "b");
        assert!(named.assertion().is_some());
        assert_eq!(named.prove(None).unwrap_err(), not_proven());
    }

    #[test]
    fn an_assertion_beside_another_way_is_an_invalid_request() {
        let with_secret = format!("{}&client_secret=b", assertion());
        assert_eq!(refused(None, &with_secret), ErrorCode::InvalidRequest);
        assert_eq!(refused(Some(&header("a:b")), &assertion()), ErrorCode::InvalidRequest);
        assert_eq!(refused(Some("Bearer x"), &assertion()), ErrorCode::InvalidRequest);
    }

    #[test]
    fn basic_credentials_are_form_decoded() {
        let presented = PresentedClient::read(Some(&header("a%2Bb:c+d%26%3D")), &Parameters::default()).unwrap();
        assert_eq!(presented.client_id().unwrap().as_str(), "a+b");
        assert_eq!(secret(&presented), "c d&=");
    }

    #[test]
    fn raw_separators_in_basic_credentials_do_not_split_them() {
        let presented = PresentedClient::read(Some(&header("a:c&d=e")), &Parameters::default()).unwrap();
        assert_eq!(secret(&presented), "c&d=e");
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

    #[test]
    fn it_is_known_whether_something_was_shown_and_where() {
        let read = |header: Option<&str>, encoded: &str| PresentedClient::read(header, &form(encoded)).unwrap();
        let by_header = read(Some(&header("a:b")), "");
        assert!(by_header.used_header() && by_header.shows_something());
        let by_form = read(None, "client_id=a&client_secret=b");
        assert!(!by_form.used_header() && by_form.shows_something());
        let named = read(None, "client_id=a");
        assert!(!named.used_header() && !named.shows_something());
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(header in ".*", id in ".*") {
            let _ = PresentedClient::read(Some(&header), &Parameters::default());
            let _ = PresentedClient::read(Some(&self::header(&id)), &Parameters::default());
        }
    }
}
