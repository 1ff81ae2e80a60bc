//! Where a request went that a proxy asks about, as far as there is no doubt.

use std::str::FromStr as _;

use http::{HeaderMap, HeaderValue, Method, Uri, header};

use super::paths::is_clear;

/// A request that a proxy has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded<'a> {
    pub(crate) method: Method,
    /// Without its port.
    pub(crate) host: &'a str,
    pub(crate) port: Option<u16>,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
}

/// Why it cannot be said where a request went: for the operator of the proxy, or for a client that has tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unclear {
    #[error("the proxy must say the method, host and URI of the request")]
    Missing,
    #[error("the method, host and URI of the request must each be said once")]
    Repeated,
    #[error("the method of the request is none")]
    Method,
    #[error("the host of the request is not written in a form that everybody reads alike")]
    Host,
    #[error("the path of the request is not written in a form that everybody reads alike")]
    Path,
}

impl<'a> Forwarded<'a> {
    /// As Traefik, Caddy and nginx say it.
    pub(crate) fn by_headers(headers: &'a HeaderMap) -> Result<Self, Unclear> {
        let (mut method, mut host, mut target) = (None, None, None);
        // Each under its own name or the one of snippets for nginx. One pass over the few headers that there are costs less
        // than to look for six names.
        for (name, value) in headers {
            let said = match name.as_str() {
                "x-forwarded-method" | "x-original-method" => &mut method,
                "x-forwarded-host" | "x-original-host" => &mut host,
                "x-forwarded-uri" | "x-original-uri" => &mut target,
                _ => continue,
            };
            if said.replace(value).is_some() {
                return Err(Unclear::Repeated);
            }
        }
        let (method, host, target) = (
            method.ok_or(Unclear::Missing)?,
            host.ok_or(Unclear::Missing)?,
            target.ok_or(Unclear::Missing)?,
        );
        let method = visible(method).ok_or(Unclear::Method)?;
        let host = visible(host).ok_or(Unclear::Host)?;
        let target = visible(target).ok_or(Unclear::Path)?;
        let method = Method::from_str(method).map_err(|_| Unclear::Method)?;
        Self::new(method, host, target)
    }

    /// As Envoy says it: `target` is what stands behind the prefix.
    pub(crate) fn by_request(
        method: &Method,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        target: &'a str,
    ) -> Result<Self, Unclear> {
        // HTTP/2 has the host in the request line, and perhaps once more in a header that is not to say anything else.
        let header = only(headers.get_all(header::HOST).iter());
        let host = match (uri.authority(), header) {
            (Some(authority), Err(Unclear::Missing)) => authority.as_str(),
            (Some(authority), Ok(host)) if host == authority.as_str() => authority.as_str(),
            (Some(_), _) => return Err(Unclear::Host),
            (None, header) => visible(header?).ok_or(Unclear::Host)?,
        };
        Self::new(method.clone(), host, target)
    }

    fn new(method: Method, authority: &'a str, target: &'a str) -> Result<Self, Unclear> {
        let (host, port) = split_authority(authority).ok_or(Unclear::Host)?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        if !is_clear(path) || query.is_some_and(|query| query.contains('#')) {
            return Err(Unclear::Path);
        }
        Ok(Self {
            method,
            host,
            port,
            path,
            query,
        })
    }
}

/// The one value among these.
fn only<'a>(mut values: impl Iterator<Item = &'a HeaderValue>) -> Result<&'a HeaderValue, Unclear> {
    let value = values.next().ok_or(Unclear::Missing)?;
    if values.next().is_some() {
        return Err(Unclear::Repeated);
    }
    Ok(value)
}

/// The text of a value that is nothing but visible ASCII.
fn visible(value: &HeaderValue) -> Option<&str> {
    let all = value.as_bytes().iter().all(u8::is_ascii_graphic);
    all.then(|| std::str::from_utf8(value.as_bytes()).ok()).flatten()
}

/// Host and port. A name has the letters of one, and no dot at its end; everything else two parties could read
/// differently.
fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    let end_of_address = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        0
    };
    let (host, port) = match authority[end_of_address..].find(':') {
        Some(colon) => {
            let (host, port) = authority.split_at(end_of_address + colon);
            (host, Some(&port[1..]))
        }
        None => (authority, None),
    };
    let port = match port {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
        None => None,
    };
    let is_name = |host: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        !host.is_empty() && host.bytes().all(plain) && !host.starts_with('.') && !host.ends_with('.')
    };
    let is_address = |host: &str| {
        let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inside.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
    };
    (is_name(host) || is_address(host)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    name.parse::<http::HeaderName>().unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    fn read(host: &str, target: &str) -> Result<(String, Option<u16>, String), Unclear> {
        let headers = headers(&[
            ("x-forwarded-method", "POST"),
            ("x-forwarded-host", host),
            ("x-forwarded-uri", target),
        ]);
        Forwarded::by_headers(&headers)
            .map(|forwarded| (forwarded.host.to_owned(), forwarded.port, forwarded.path.to_owned()))
    }

    #[test]
    fn an_ordinary_request_is_read_as_it_is() {
        assert_eq!(
            read("mcp.example.com:8443", "/mcp/a%20b?x=%2F..#".trim_end_matches('#')),
            Ok(("mcp.example.com".to_owned(), Some(8443), "/mcp/a%20b".to_owned()))
        );
        assert_eq!(read("[::1]", "/"), Ok(("[::1]".to_owned(), None, "/".to_owned())));
        assert_eq!(read("a", "/mcp/"), Ok(("a".to_owned(), None, "/mcp/".to_owned())));
    }

    #[test]
    fn a_host_that_somebody_could_read_differently_is_refused() {
        for host in [
            "a.example.",
            ".a.example",
            "a.example:",
            "a.example:x",
            "a.example:99999",
            "a.example:80:80",
            "ada@a.example",
            "a.example,b.example",
            "a.example/",
            "a.example#",
            "a%2eexample",
            "[::1",
            "[::1]x",
            "[1]",
            "::1",
            "a b",
            "",
        ] {
            assert_eq!(read(host, "/mcp"), Err(Unclear::Host), "{host}");
        }
    }

    #[test]
    fn a_fragment_is_nobodys() {
        assert_eq!(read("a", "/mcp?x#y"), Err(Unclear::Path));
        assert_eq!(read("a", "/mcp#?x"), Err(Unclear::Path));
    }

    #[test]
    fn what_is_missing_or_there_twice_is_refused() {
        let complete = [
            ("x-forwarded-method", "GET"),
            ("x-forwarded-host", "a"),
            ("x-forwarded-uri", "/"),
        ];
        for (index, (name, value)) in complete.iter().enumerate() {
            let mut lacking = complete.to_vec();
            lacking.remove(index);
            assert_eq!(
                Forwarded::by_headers(&headers(&lacking)),
                Err(Unclear::Missing),
                "{name}"
            );
            let mut twice = complete.to_vec();
            twice.push((name, value));
            assert_eq!(
                Forwarded::by_headers(&headers(&twice)),
                Err(Unclear::Repeated),
                "{name}"
            );
        }
        let originals = [
            ("x-original-method", "GET"),
            ("x-original-host", "a"),
            ("x-original-uri", "/"),
        ];
        assert!(Forwarded::by_headers(&headers(&originals)).is_ok());
        for original in originals {
            let mut both = complete.to_vec();
            both.push(original);
            assert_eq!(
                Forwarded::by_headers(&headers(&both)),
                Err(Unclear::Repeated),
                "{original:?}"
            );
        }
    }

    #[test]
    fn envoy_says_it_by_the_request_itself() {
        let headers = headers(&[
            ("host", "a.example"),
            ("x-forwarded-host", "b"),
            ("x-forwarded-uri", "/b"),
        ]);
        let uri = Uri::from_static("/verify/at/mcp?x=1");
        let forwarded = Forwarded::by_request(&Method::POST, &uri, &headers, "/mcp?x=1").unwrap();
        assert_eq!(
            (forwarded.host, forwarded.path, forwarded.query),
            ("a.example", "/mcp", Some("x=1"))
        );
        let uri = Uri::from_static("http://b.example/verify/at/mcp");
        assert_eq!(
            Forwarded::by_request(&Method::POST, &uri, &headers, "/mcp"),
            Err(Unclear::Host)
        );
    }

    proptest! {
        #[test]
        fn reading_never_panics(host in proptest::collection::vec(any::<u8>(), 0..30), target in proptest::collection::vec(any::<u8>(), 0..40)) {
            let values = (HeaderValue::from_bytes(&host), HeaderValue::from_bytes(&target));
            if let (Ok(host), Ok(target)) = values {
                let mut headers = headers(&[("x-forwarded-method", "GET")]);
                headers.insert("x-forwarded-host", host);
                headers.insert("x-forwarded-uri", target);
                let _ = Forwarded::by_headers(&headers);
            }
        }
    }
}
