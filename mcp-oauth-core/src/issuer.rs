//! The issuer: the one name of an authorization server.
//!
//! Clients compare the issuer byte for byte, in four places: in the metadata (RFC 8414 §3.3), in the protected
//! resource metadata (RFC 9728 §2), in the `iss` of the authorization response (RFC 9207 §2.4) and in the token. So
//! it is kept as it was configured, is never derived from a request, and is never put together anew.
//!
//! ```
//! use mcp_oauth_core::issuer::Issuer;
//!
//! let issuer: Issuer = "https://auth.example.com/tenant".parse()?;
//! assert_eq!(issuer.endpoint("/token").as_str(), "https://auth.example.com/tenant/token");
//! assert_eq!(issuer.path(), "/tenant");
//! # Ok::<_, mcp_oauth_core::issuer::InvalidIssuer>(())
//! ```

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::{Host, Url};

/// An issuer identifier (RFC 8414 §2): an `https` URL without query and fragment; for development also `http` on a
/// loopback host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Issuer {
    text: String,
    url: Url,
}

/// Text that cannot be an issuer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIssuer {
    /// It does not parse as an absolute URL with a host.
    #[error("the issuer {0:?} is not an absolute URL: write it as https://auth.example.com")]
    NotAUrl(String),
    /// RFC 8414 §2 asks for https; `http` is for loopback hosts alone.
    #[error("the issuer {0:?} must use https (http is for loopback hosts only)")]
    Insecure(String),
    /// A query, a fragment, a user name or a trailing slash.
    #[error("the issuer {0:?} must have no query, fragment, user name or trailing slash, and be in normal form: {1}")]
    NotNormal(String, String),
}

impl Issuer {
    /// The issuer, exactly as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path of the issuer: empty, or with a leading and no trailing slash.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The URL of an endpoint below the issuer; `path` begins with a slash.
    #[must_use]
    pub fn endpoint(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.path()));
        url
    }

    /// Whether the issuer is a loopback host, as a developer's machine has it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }

    /// Whether people reach it by https.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The host: a name, or an address, which is in brackets if it is one of IPv6.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
}

/// Whether text can be the issuer of somebody else (RFC 8414 §2). Unlike this server's own, it may end in a slash: it is
/// taken to the letter, as its owner writes it.
pub(crate) fn is_issuer_of_others(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        (url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url)))
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    })
}

/// Whether a URL's host is `localhost` or a loopback address (RFC 6761 §6.3, RFC 5735 §3, RFC 4291 §2.5.3).
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

impl FromStr for Issuer {
    type Err = InvalidIssuer;

    fn from_str(text: &str) -> Result<Self, InvalidIssuer> {
        let url = Url::parse(text).map_err(|_| InvalidIssuer::NotAUrl(text.to_owned()))?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(InvalidIssuer::Insecure(text.to_owned())),
            _ => return Err(InvalidIssuer::NotAUrl(text.to_owned())),
        }
        let mut normal = url.clone();
        normal.set_query(None);
        normal.set_fragment(None);
        // Only URLs that cannot have a user name refuse this, and http and https can.
        let _ = normal.set_username("").and_then(|()| normal.set_password(None));
        let normal = normal.as_str().trim_end_matches('/');
        if normal == text {
            Ok(Self {
                text: text.to_owned(),
                url,
            })
        } else {
            Err(InvalidIssuer::NotNormal(text.to_owned(), normal.to_owned()))
        }
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_kept_byte_for_byte() {
        for text in [
            "https://a.example",
            "https://a.example:8443/x/y",
            "http://127.0.0.1:8080",
            "http://[::1]:1",
        ] {
            assert_eq!(text.parse::<Issuer>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_two_parties_could_spell_differently_is_refused() {
        for text in [
            "https://a.example/",
            "https://A.example",
            "https://a.example:443",
            "https://a.example/x/",
            "https://a.example?x",
            "https://a.example#x",
            "https://u@a.example",
            "https://a.example/x/../y",
        ] {
            assert!(
                matches!(text.parse::<Issuer>(), Err(InvalidIssuer::NotNormal(..))),
                "{text}"
            );
        }
    }

    #[test]
    fn plain_http_is_for_loopback_alone() {
        assert!(matches!(
            "http://a.example".parse::<Issuer>(),
            Err(InvalidIssuer::Insecure(_))
        ));
        assert!(matches!(
            "http://localhost.evil.example".parse::<Issuer>(),
            Err(InvalidIssuer::Insecure(_))
        ));
        assert!("http://localhost:3000".parse::<Issuer>().unwrap().is_loopback());
        assert!(matches!(
            "ftp://a.example".parse::<Issuer>(),
            Err(InvalidIssuer::NotAUrl(_))
        ));
    }
}
