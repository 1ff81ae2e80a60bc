//! Redirect URIs: where a code may be sent.
//!
//! What can be registered: `https`, `http` on a loopback host, a private-use scheme in reverse-domain form
//! (`com.example.app:/callback`, RFC 8252 §7.1), `urn:ietf:wg:oauth:2.0:oob`, and what the operator allows word for
//! word; the operator's [policy](super::redirect_uri_policy) has the last word. What a request names is compared character by character (OAuth 2.1
//! §2.3.1), but for the port of a loopback host, which the client's machine chooses at run time (RFC 8252 §7.3).
//!
//! ```
//! use mcp_oauth_core::client::redirect_uri_policy::RedirectUriPolicy;
//!
//! let policy = RedirectUriPolicy::default();
//! let registered = policy.take("http://127.0.0.1/callback")?;
//! assert!(registered.matches("http://127.0.0.1:49152/callback"));
//! assert!(!registered.matches("http://127.0.0.1:49152/callback/x"));
//! assert!(policy.take("javascript:alert(1)").is_err());
//! # Ok::<_, mcp_oauth_core::client::redirect_uri::InvalidRedirectUri>(())
//! ```

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::issuer::is_loopback;

/// The redirect URI for clients that let people copy the code by hand.
pub const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

/// At most this many characters.
pub const MAXIMUM_LENGTH: usize = 2048;

/// A redirect URI that may be used, exactly as it was registered or requested.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RedirectUri(pub(super) String);

/// Why a redirect URI cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRedirectUri {
    /// It does not parse, is too long, or holds spaces or control characters.
    #[error("{0} is not an absolute URI")]
    NotAUri(String),
    /// OAuth 2.1 §2.3: no fragment. A user name is refused too: it makes one host look like another.
    #[error("{0} has a fragment or a user name, and a redirect URI must have neither")]
    Superfluous(String),
    /// `http` is for the client's own machine.
    #[error("{0} must use https: http redirect URIs are only allowed for localhost, 127.0.0.1 and [::1]")]
    Insecure(String),
    /// A private-use scheme has to be a domain name read backwards, or be allowed by the operator.
    #[error(
        "{0} has a scheme that is not allowed here: use https, http on a loopback host, or a reverse-domain scheme"
    )]
    Scheme(String),
    /// A scheme that runs something, reads something, or leads a browser to where no code belongs.
    #[error("{0} has a scheme that no code can be sent to")]
    Dangerous(String),
    /// The operator takes https to certain hosts alone.
    #[error("{0} leads to a host that is not allowed here: ask the operator of this server")]
    Host(String),
    /// The operator does not take the name `localhost`.
    #[error("{0} has the name localhost, which is not allowed here: use 127.0.0.1 or [::1]")]
    Localhost(String),
}

impl InvalidRedirectUri {
    /// Whether another server might take it: nothing is wrong with it but that this one's operator does not want it.
    pub(crate) fn is_a_matter_of_policy(&self) -> bool {
        matches!(self, Self::Scheme(_) | Self::Host(_) | Self::Localhost(_))
    }
}

/// Schemes that are never good, not even if somebody allows them (RFC 9700 §4.11).
const DANGEROUS_SCHEMES: [&str; 12] = [
    "about",
    "blob",
    "chrome",
    "data",
    "file",
    "filesystem",
    "intent",
    "jar",
    "javascript",
    "ms-msdt",
    "vbscript",
    "view-source",
];

/// The URI as it may stand in an error message: bounded, and nothing that could be taken for more than text.
pub(crate) fn shown(text: &str) -> String {
    text.chars()
        .take(120)
        .map(|character| if character.is_ascii_graphic() { character } else { '?' })
        .collect()
}

/// What has to hold for every redirect URI, whatever the policy says.
pub(super) fn examine(text: &str) -> Result<Url, InvalidRedirectUri> {
    // The URL parser strips tabs and newlines and reads a backslash as a slash; a browser may not. So none may
    // be there.
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !br#"\"<>^`{|}"#.contains(&byte));
    if text.len() > MAXIMUM_LENGTH || !plain {
        return Err(InvalidRedirectUri::NotAUri(shown(text)));
    }
    let url = Url::parse(text).map_err(|_| InvalidRedirectUri::NotAUri(shown(text)))?;
    let user_name = !url.username().is_empty() || url.password().is_some() || authority(text).contains('@');
    if url.fragment().is_some() || user_name {
        return Err(InvalidRedirectUri::Superfluous(shown(text)));
    }
    if DANGEROUS_SCHEMES.contains(&url.scheme()) {
        return Err(InvalidRedirectUri::Dangerous(shown(text)));
    }
    // `https:/x` and `https:x` parse as if the slashes were there: what is registered must be what is meant.
    let written_out = text.starts_with(&format!("{}://", url.scheme()));
    if matches!(url.scheme(), "https" | "http") && !written_out {
        return Err(InvalidRedirectUri::NotAUri(shown(text)));
    }
    Ok(url)
}

impl RedirectUri {
    /// The URI, exactly as it was registered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a request that names `requested` means this registered URI: the same characters, or, on a loopback
    /// host, the same but for the port.
    #[must_use]
    pub fn matches(&self, requested: &str) -> bool {
        if self.0 == requested {
            return true;
        }
        let (Some(registered), Some(requested)) = (without_loopback_port(&self.0), without_loopback_port(requested))
        else {
            return false;
        };
        registered == requested
    }

    /// Where people are sent, in a form they can judge: the host, or the scheme of an app; empty if the code is shown to
    /// them instead.
    #[must_use]
    pub fn destination(&self) -> String {
        match Url::parse(&self.0) {
            _ if self.0 == OUT_OF_BAND => String::new(),
            Ok(url) if matches!(url.scheme(), "http" | "https") => url.host_str().unwrap_or_default().to_owned(),
            Ok(url) => format!("{}:", url.scheme()),
            Err(_) => self.0.clone(),
        }
    }

    /// Whether the code goes to a server on the web.
    #[must_use]
    pub fn is_on_the_web(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| url.scheme() == "https")
    }

    /// Whether the code goes to the person's own machine, where any program may listen.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| url.scheme() == "http" && is_loopback(&url))
    }

    pub(super) fn names_localhost(&self) -> bool {
        without_loopback_port(&self.0).is_some_and(|(host, _)| host == "localhost")
    }

    /// The URL that carries `parameters` back to the client; a query that was registered stays (OAuth 2.1 §2.3).
    #[must_use]
    pub fn with_parameters(&self, parameters: &[(&str, &str)]) -> String {
        let mut encoded = form_urlencoded::Serializer::new(String::new());
        encoded.extend_pairs(parameters);
        let separator = match self.0.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some((_, query)) if query.ends_with('&') => "",
            Some(_) => "&",
        };
        format!("{}{separator}{}", self.0, encoded.finish())
    }
}

/// What stands between `//` and the next delimiter.
fn authority(text: &str) -> &str {
    let rest = text.split_once("//").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// For `http` on a loopback host: the URI without its port, in two parts, otherwise as it was written.
fn without_loopback_port(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => (&authority[..colon], &authority[colon + 1..]),
        _ => (authority, ""),
    };
    let port_fits = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    let host_fits = matches!(host, "localhost" | "[::1]") || host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback());
    // A path of nothing and a path of one slash are the same (RFC 3986 §6.2.3).
    (port_fits && host_fits).then_some((host, if path.is_empty() { "/" } else { path }))
}

impl fmt::Debug for RedirectUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::redirect_uri_policy::RedirectUriPolicy;
    use super::*;

    fn register(text: &str) -> Result<RedirectUri, InvalidRedirectUri> {
        RedirectUriPolicy::default().take(text)
    }

    #[test]
    fn hosts_that_only_begin_like_localhost_are_not_loopback() {
        for text in [
            "http://localhost.evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "HTTP://evil.example/cb",
            "http://localhost:80@evil.example/cb",
            "http://localhost\\@evil.example/cb",
        ] {
            assert!(register(text).is_err(), "{text}");
        }
    }

    #[test]
    fn schemes_that_run_or_read_something_are_refused_in_any_spelling() {
        for text in [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "java\tscript:alert(1)",
            "\u{1}javascript:alert(1)",
            " javascript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "blob:https://a.example/x",
            "about:blank",
            "view-source:https://a.example",
        ] {
            assert!(register(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_real_clients_register_is_accepted() {
        for text in [
            "https://claude.ai/api/mcp/auth_callback",
            "http://localhost/callback",
            "http://127.0.0.1:33418/",
            "http://[::1]:1/cb",
            "com.example.app:/callback",
            "https://a.example/cb?x=1",
            OUT_OF_BAND,
        ] {
            assert_eq!(register(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_scheme_without_a_dot_needs_the_operators_word_for_exactly_this_uri() {
        let cursor = "cursor://anysphere.cursor-mcp/oauth/callback";
        assert!(matches!(register(cursor), Err(InvalidRedirectUri::Scheme(_))));
        let policy = RedirectUriPolicy::default().allow(cursor);
        assert!(policy.take(cursor).is_ok());
        assert!(policy.take("cursor://other").is_err());
    }

    #[test]
    fn fragments_and_user_names_are_refused() {
        for text in [
            "https://a.example/cb#x",
            "https://a.example/cb#",
            "https://good.example@evil.example/",
            "https://@a.example/",
        ] {
            assert!(
                matches!(register(text), Err(InvalidRedirectUri::Superfluous(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_request_has_to_name_the_very_same_characters() {
        let registered = register("https://a.example/cb").unwrap();
        for text in [
            "https://a.example/c",
            "https://a.example/cb/",
            "https://a.example/cb?x",
            "https://a.example/cb#x",
            "https://A.example/cb",
            "https://a.example:443/cb",
            "https://a.example./cb",
            "https://a.example/%63b",
            "https://a.example\\cb",
        ] {
            assert!(!registered.matches(text), "{text}");
        }
        assert!(registered.matches("https://a.example/cb"));
    }

    #[test]
    fn a_loopback_host_may_use_any_port_but_not_another_name_or_path() {
        let registered = register("http://localhost:3000/cb").unwrap();
        assert!(registered.matches("http://localhost:49152/cb"));
        assert!(registered.matches("http://localhost/cb"));
        for text in [
            "http://127.0.0.1:3000/cb",
            "http://localhost:3000/cb2",
            "http://localhost:3000@evil.example/cb",
            "http://localhost:x/cb",
            "https://localhost:3000/cb",
            "http://localhost.evil.example/cb",
        ] {
            assert!(!registered.matches(text), "{text}");
        }
        assert!(
            register("http://127.0.0.1:8080/")
                .unwrap()
                .matches("http://127.0.0.1:9")
        );
    }

    #[test]
    fn a_registered_query_stays_and_values_are_encoded() {
        let with = |uri: &str| register(uri).unwrap().with_parameters(&[("state", "a&b=c d")]);
        assert_eq!(with("https://a.example/cb"), "https://a.example/cb?state=a%26b%3Dc+d");
        assert_eq!(
            with("https://a.example/cb?x=1"),
            "https://a.example/cb?x=1&state=a%26b%3Dc+d"
        );
        assert_eq!(with("https://a.example/cb?"), "https://a.example/cb?state=a%26b%3Dc+d");
        assert_eq!(
            with("https://a.example/cb?x&"),
            "https://a.example/cb?x&state=a%26b%3Dc+d"
        );
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for text in [
            "https://a.example/c b",
            "https://a.example/\tcb",
            "https://a.example/\ncb",
            "https://a.example/\u{e9}",
            "https://a.example\\cb",
            "https://a.example/<cb>",
            "https://a.example/{cb}",
            "https:/a.example/cb",
            "https:a.example/cb",
            "http:127.0.0.1/cb",
            "/cb",
            "",
        ] {
            assert!(
                matches!(register(text), Err(InvalidRedirectUri::NotAUri(_))),
                "{text:?}"
            );
        }
        let superfluous = register("https:good.example@evil.example/cb");
        assert!(matches!(superfluous, Err(InvalidRedirectUri::Superfluous(_))));
    }

    #[test]
    fn a_redirect_uri_has_2048_characters_at_most() {
        let of_length = |length: usize| format!("https://a.example/{}", "a".repeat(length - 18));
        assert!(register(&of_length(MAXIMUM_LENGTH)).is_ok());
        for length in [MAXIMUM_LENGTH + 1, 2 * MAXIMUM_LENGTH] {
            assert!(matches!(
                register(&of_length(length)),
                Err(InvalidRedirectUri::NotAUri(_))
            ));
        }
    }

    #[test]
    fn an_ipv6_loopback_host_may_use_any_port_too() {
        for registered in ["http://[::1]/cb", "http://[::1]:3000/cb"] {
            let registered = register(registered).unwrap();
            assert!(registered.matches("http://[::1]/cb") && registered.matches("http://[::1]:49152/cb"));
            assert!(!registered.matches("http://[::2]/cb"));
        }
    }

    #[test]
    fn a_request_gets_the_very_uri_that_it_named_if_one_of_the_registered_allows_it() {
        let registered = [
            register("https://a.example/cb").unwrap(),
            register("http://127.0.0.1/cb").unwrap(),
        ];
        for named in ["https://a.example/cb", "http://127.0.0.1:49152/cb"] {
            let selected = RedirectUriPolicy::default().select(&registered, named).unwrap();
            assert_eq!(selected.to_string(), named);
        }
        assert_eq!(
            RedirectUriPolicy::default().select(&registered, "https://b.example/cb"),
            None
        );
        assert_eq!(RedirectUriPolicy::default().select(&[], "https://a.example/cb"), None);
    }

    #[test]
    fn people_see_where_a_code_goes() {
        for (text, destination, on_the_web, loopback) in [
            ("https://a.example/cb", "a.example", true, false),
            ("http://127.0.0.1:8080/cb", "127.0.0.1", false, true),
            ("http://[::1]/cb", "[::1]", false, true),
            // Whatever an app's scheme is followed by, the app gets the code.
            ("com.example.app:/cb", "com.example.app:", false, false),
            ("com.example.app://localhost/cb", "com.example.app:", false, false),
            ("https://localhost/cb", "localhost", true, false),
            (OUT_OF_BAND, "", false, false),
        ] {
            let uri = register(text).unwrap();
            assert_eq!(uri.destination(), destination, "{text}");
            assert_eq!(
                (uri.is_on_the_web(), uri.is_loopback()),
                (on_the_web, loopback),
                "{text}"
            );
            assert_eq!(format!("{uri:?}"), format!("{text:?}"));
        }
    }

    proptest! {
        #[test]
        fn no_character_put_into_javascript_makes_it_pass(position in 0_usize..11, character in 0_u8..128) {
            let mut text = String::from("javascript:alert(1)");
            text.insert(position, char::from(character));
            // A dot makes it another, reverse-domain, scheme, which no browser runs.
            prop_assume!(character != b'.');
            prop_assert!(register(&text).is_err(), "{:?}", text);
        }

        #[test]
        fn checking_never_panics(registered in ".*", requested in ".*") {
            let _ = register(&registered);
            let _ = RedirectUri(registered).matches(&requested);
        }

        #[test]
        fn what_matches_goes_to_the_registered_host(requested in "http://(localhost|127.0.0.1)[a-z0-9.:@/?#]{0,12}") {
            let registered = register("http://localhost/cb").unwrap();
            if registered.matches(&requested) {
                let url = Url::parse(&requested).unwrap();
                prop_assert_eq!(url.host_str(), Some("localhost"));
            }
        }
    }
}
