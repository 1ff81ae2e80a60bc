//! Who may talk to the bridge at all: the `Host` it is addressed by, and the `Origin` of the page that asks.
//!
//! A bridge on a developer's machine can be reached by every page in that developer's browser. Two checks keep the
//! pages out:
//!
//! - **`Host`** has to be a name that the bridge serves. A page that points its own domain at `127.0.0.1` (DNS
//!   rebinding) sends its own domain here.
//! - **`Origin`**, which browsers send and other clients mostly do not, has to be listed, or be of a host that the
//!   bridge serves, on whatever port: what runs on that host is trusted with it. `null` is nobody.
//!
//! Where any host is served the second half of the second rule is void, since every page would pass: then only listed
//! origins do. Names compare without regard to case, and a dot at the end does not count.

use std::fmt;

use http::uri::{Authority, Uri};
use http::{HeaderMap, header};

use super::refusal::Refused;
use crate::config::ConfigError;

/// The hosts that a bridge answers to.
///
/// A host without a port stands for all its ports.
///
/// ```
/// use mcp_stdio_bridge::Hosts;
///
/// let hosts = Hosts::loopback().and("mcp.example.com").and("[2001:db8::1]:8443");
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Hosts(Allowed);

/// The origins from which pages may use a bridge, beside those of the hosts it serves.
///
/// ```
/// use mcp_stdio_bridge::Origins;
///
/// let origins = Origins::list(["https://inspector.example.com", "http://localhost:6274"]);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Origins(Allowed);

#[derive(Debug, Clone)]
enum Allowed {
    Any,
    List(Vec<String>),
}

impl Hosts {
    /// `localhost`, `127.0.0.1` and `[::1]`: the default.
    pub fn loopback() -> Self {
        Self::list(["localhost", "127.0.0.1", "[::1]"])
    }

    /// These, and no others.
    pub fn list(hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(Allowed::List(hosts.into_iter().map(Into::into).collect()))
    }

    /// Every host. For a bridge that only a proxy can reach, and a proxy that checks.
    pub fn any() -> Self {
        Self(Allowed::Any)
    }

    /// One more.
    pub fn and(self, host: impl Into<String>) -> Self {
        Self(self.0.and(host.into()))
    }
}

impl Default for Hosts {
    fn default() -> Self {
        Self::loopback()
    }
}

impl Origins {
    /// None but those of the served hosts: the default.
    pub fn none() -> Self {
        Self(Allowed::List(Vec::new()))
    }

    /// These as well.
    pub fn list(origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(Allowed::List(origins.into_iter().map(Into::into).collect()))
    }

    /// Every origin. With it any page that a user opens can use the bridge: only for one that asks for credentials
    /// which a browser does not send by itself.
    pub fn any() -> Self {
        Self(Allowed::Any)
    }

    /// One more.
    pub fn and(self, origin: impl Into<String>) -> Self {
        Self(self.0.and(origin.into()))
    }
}

impl Default for Origins {
    fn default() -> Self {
        Self::none()
    }
}

impl Allowed {
    fn and(self, one: String) -> Self {
        match self {
            Self::Any => Self::Any,
            Self::List(mut list) => {
                list.push(one);
                Self::List(list)
            }
        }
    }
}

/// The two lists, read. `None` lets everything through.
#[derive(Debug)]
pub(crate) struct Guard {
    hosts: Option<Vec<Host>>,
    origins: Option<Vec<Origin>>,
}

impl Guard {
    pub(crate) fn new(hosts: Hosts, origins: Origins) -> Result<Self, ConfigError> {
        let hosts = match hosts.0 {
            Allowed::Any => None,
            Allowed::List(list) => {
                let hosts = list
                    .into_iter()
                    .map(|host| Host::parse(&host).ok_or(ConfigError::Host(host)));
                Some(hosts.collect::<Result<_, _>>()?)
            }
        };
        let origins = match origins.0 {
            Allowed::Any => None,
            Allowed::List(list) => {
                let origins = list
                    .into_iter()
                    .map(|origin| Origin::parse(&origin).ok_or(ConfigError::Origin(origin)));
                Some(origins.collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { hosts, origins })
    }

    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        if !self.allows_host(uri, headers) {
            return Err(Refused::Host);
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Ok(()),
            (Some(origin), None) if self.allows_origin(origin.to_str().unwrap_or_default()) => Ok(()),
            _ => Err(Refused::Origin),
        }
    }

    fn allows_host(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let Some(allowed) = &self.hosts else { return true };
        let mut named = headers.get_all(header::HOST).iter();
        // HTTP/2 puts it into the URI. Whatever is there has to be allowed.
        let (in_header, in_uri) = (named.next(), uri.authority());
        if named.next().is_some() || (in_header.is_none() && in_uri.is_none()) {
            return false;
        }
        let served = |text: &str| {
            // Mostly it is written as here, and then there is nothing to be read.
            allowed.iter().any(|allowed| allowed.is_written(text))
                || Host::parse(text).is_some_and(|host| allowed.iter().any(|allowed| allowed.covers(&host)))
        };
        in_header.is_none_or(|host| host.to_str().is_ok_and(served))
            && in_uri.is_none_or(|authority| served(authority.as_str()))
    }

    fn allows_origin(&self, origin: &str) -> bool {
        let Some(allowed) = &self.origins else { return true };
        let Some(origin) = Origin::parse(origin) else {
            return false;
        };
        let hosts = self.hosts.iter().flatten();
        allowed.contains(&origin) || hosts.into_iter().any(|host| host.name == origin.host.name)
    }
}

/// A host's name or address, and a port if one was named.
#[derive(Clone, PartialEq, Eq)]
struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        // In front of the host only a user can stand, who has no business here.
        let port = match text.strip_prefix(authority.host())? {
            "" => None,
            port => Some(port.strip_prefix(':')?.parse().ok()?),
        };
        let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
        (!name.is_empty()).then_some(Self { name, port })
    }

    /// Whether a text is this host in its ordinary form: the name, and at most a port behind it.
    fn is_written(&self, text: &str) -> bool {
        let Some((name, rest)) = text.split_at_checked(self.name.len()) else {
            return false;
        };
        if !name.eq_ignore_ascii_case(&self.name) {
            return false;
        }
        let Some(port) = rest.strip_prefix(':') else {
            return rest.is_empty() && self.port.is_none();
        };
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits);
        port.is_some_and(|port: u16| self.port.is_none_or(|only| only == port))
    }

    fn covers(&self, other: &Self) -> bool {
        self.name == other.name && self.port.is_none_or(|port| other.port == Some(port))
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: Host,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, host) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let mut host = Host::parse(host)?;
        host.port = host.port.or(match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        });
        Some(Self { scheme, host })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Uri, header};

    use super::{Guard, Hosts, Origins, Refused};
    use crate::config::ConfigError;

    fn check(guard: &Guard, host: &'static str, origin: Option<&'static str>) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        guard.check(&Uri::from_static("/mcp"), &headers)
    }

    #[test]
    fn by_default_only_this_machine_is_served() {
        let guard = Guard::new(Hosts::default(), Origins::default()).unwrap();
        for host in [
            "localhost",
            "LOCALHOST:3000",
            "127.0.0.1:80",
            "[::1]:3000",
            "localhost.",
        ] {
            assert!(check(&guard, host, None).is_ok(), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example.com",
            "127.0.0.2",
            "a@localhost",
            "localhost:x",
            "localhost:",
            "",
        ] {
            assert!(matches!(check(&guard, host, None), Err(Refused::Host)), "{host}");
        }
        assert!(guard.check(&Uri::from_static("/mcp"), &HeaderMap::new()).is_err());
        assert!(
            guard
                .check(&Uri::from_static("http://evil.example/mcp"), &HeaderMap::new())
                .is_err()
        );
        assert!(
            guard
                .check(&Uri::from_static("http://localhost/mcp"), &HeaderMap::new())
                .is_ok()
        );
    }

    #[test]
    fn pages_come_from_served_hosts_and_listed_origins() {
        let guard = Guard::new(Hosts::loopback(), Origins::list(["https://App.example.com"])).unwrap();
        for origin in [
            "http://localhost:6274",
            "https://app.example.com",
            "https://app.example.com:443",
        ] {
            assert!(check(&guard, "localhost", Some(origin)).is_ok(), "{origin}");
        }
        for origin in [
            "null",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://example.com",
            "http://localhost.example.com",
            "file://",
            "",
        ] {
            assert!(
                matches!(check(&guard, "localhost", Some(origin)), Err(Refused::Origin)),
                "{origin}"
            );
        }
    }

    #[test]
    fn serving_any_host_trusts_no_origin() {
        let guard = Guard::new(Hosts::any(), Origins::none()).unwrap();
        assert!(check(&guard, "whatever.example", None).is_ok());
        assert!(check(&guard, "evil.example", Some("http://evil.example")).is_err());
    }

    #[test]
    fn a_port_that_is_named_has_to_match() {
        let guard = Guard::new(Hosts::list(["mcp.example.com:8443"]), Origins::none()).unwrap();
        assert!(check(&guard, "mcp.example.com:8443", None).is_ok());
        assert!(check(&guard, "mcp.example.com", None).is_err());
    }

    #[test]
    fn what_is_no_host_or_origin_is_refused_when_it_is_configured() {
        for host in ["", "https://example.com", "a/b", "example.com:port"] {
            let guard = Guard::new(Hosts::list([host]), Origins::none());
            assert_eq!(guard.err(), Some(ConfigError::Host(host.into())), "{host}");
        }
        for origin in ["example.com", "https://example.com/path", "null"] {
            let guard = Guard::new(Hosts::any(), Origins::list([origin]));
            assert_eq!(guard.err(), Some(ConfigError::Origin(origin.into())), "{origin}");
        }
    }
}
