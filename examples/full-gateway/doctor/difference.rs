//! In what two URLs differ that should be the same. Clients compare them as strings, so a slash is a difference.

use serde::Serialize;
use url::Url;

/// The first thing in which two URLs differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Difference {
    /// One of them ends with a slash.
    TrailingSlash,
    /// http and https.
    Scheme,
    /// The host's name.
    Host,
    /// The port.
    Port,
    /// What is found is only the origin of what is expected.
    OriginOnly,
    /// The path.
    Path,
    /// They mean the same and are written differently.
    Spelling,
    /// What is found is no absolute URL.
    NoUrl,
}

impl Difference {
    /// Compares them byte by byte; `None` if they are the same.
    pub(crate) fn between(expected: &str, found: &str) -> Option<Self> {
        if expected == found {
            return None;
        }
        let (Ok(expected_url), Ok(found_url)) = (Url::parse(expected), Url::parse(found)) else {
            return Some(Self::NoUrl);
        };
        let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
        Some(if expected_url.host_str() != found_url.host_str() {
            Self::Host
        } else if expected_url.scheme() != found_url.scheme() {
            Self::Scheme
        } else if expected_url.port_or_known_default() != found_url.port_or_known_default() {
            Self::Port
        } else if path(&expected_url) != path(&found_url) || expected_url.query() != found_url.query() {
            if path(&found_url).is_empty() {
                Self::OriginOnly
            } else {
                Self::Path
            }
        } else if expected.ends_with('/') != found.ends_with('/') {
            Self::TrailingSlash
        } else {
            Self::Spelling
        })
    }

    /// What it is, to be put behind "they differ in".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::TrailingSlash => "a slash at the end",
            Self::Scheme => "http and https",
            Self::Host => "the host",
            Self::Port => "the port",
            Self::OriginOnly => "the path, which is missing",
            Self::Path => "the path",
            Self::Spelling => "how they are written",
            Self::NoUrl => "that one of them is no absolute URL",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Difference::{self, Host, NoUrl, OriginOnly, Path, Port, Scheme, Spelling, TrailingSlash};

    #[test]
    fn what_differs_is_named() {
        for (expected, found, difference) in [
            ("https://a.example/mcp", "https://a.example/mcp", None),
            ("https://a.example/mcp", "https://a.example/mcp/", Some(TrailingSlash)),
            ("https://a.example", "https://a.example/", Some(TrailingSlash)),
            ("https://a.example/mcp", "http://a.example/mcp", Some(Scheme)),
            ("https://a.example/mcp", "http://gateway:8080/mcp", Some(Host)),
            ("https://a.example/mcp", "https://a.example:8443/mcp", Some(Port)),
            ("https://a.example/mcp", "https://a.example", Some(OriginOnly)),
            ("https://a.example/mcp", "https://a.example/sse", Some(Path)),
            ("https://a.example/mcp", "https://A.example/mcp", Some(Spelling)),
            ("https://a.example/mcp", "/mcp", Some(NoUrl)),
        ] {
            assert_eq!(Difference::between(expected, found), difference, "{expected} {found}");
        }
    }
}
