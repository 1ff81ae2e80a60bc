//! Which addresses are gone to.
//!
//! The addresses of the authorization come from the server: its metadata, and the metadata of whoever it names. A server
//! somewhere on the network must not be able to send this program to the services of this machine or of its network. So
//! what may be asked depends on where the server itself is ([`Reach`]): one on the public network leads to public
//! addresses only. The check is made where names are resolved, so that a name cannot say one thing to the check and
//! another to the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Where the server is, and so how far what it says is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// On the public network: only to public addresses, by https.
    Public,
    /// On a private network: anywhere, by https.
    Private,
    /// On this machine: anywhere, and on this machine by http as well.
    Loopback,
}

/// Why an address is not gone to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It is neither https nor http on this machine.
    #[error("{0} has to be https (http is only for this machine, and only if the server is on it as well)")]
    Scheme(String),
    /// It has user and password, which have no place in it.
    #[error("{0} has a user name or a password in it")]
    UserInfo(String),
    /// It leads from the public network into this machine or its network.
    #[error("{0} is on this machine or its network, and the server that leads there is not")]
    Inward(String),
    /// It is no address.
    #[error("`{0}` is not an absolute URL")]
    Malformed(String),
}

impl Reach {
    /// Finds out where a server is.
    pub(crate) async fn of(server: &Url) -> Self {
        match server.host() {
            _ if is_loopback(server) => Self::Loopback,
            Some(Host::Ipv4(address)) if is_special(address.into()) => Self::Private,
            Some(Host::Ipv6(address)) if is_special(address.into()) => Self::Private,
            Some(Host::Domain(name)) => {
                let port = server.port_or_known_default().unwrap_or(443);
                let found = tokio::net::lookup_host((name, port)).await;
                if found.is_ok_and(|mut found| found.any(|address| is_special(address.ip()))) {
                    Self::Private
                } else {
                    Self::Public
                }
            }
            _ => Self::Public,
        }
    }

    /// Checks an address before it is used. Names are checked again when they are resolved.
    pub(crate) fn check(self, url: &Url) -> Result<(), AddressError> {
        let shown = || shown(url);
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::UserInfo(shown()));
        }
        let special = match url.host() {
            Some(Host::Ipv4(address)) => is_special(address.into()),
            Some(Host::Ipv6(address)) => is_special(address.into()),
            Some(Host::Domain(_)) => is_loopback(url),
            None => return Err(AddressError::Malformed(shown())),
        };
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(url) && self == Self::Loopback => {}
            _ => return Err(AddressError::Scheme(shown())),
        }
        if special && self == Self::Public {
            return Err(AddressError::Inward(shown()));
        }
        Ok(())
    }

    /// Reads an address that somebody else wrote, and checks it.
    pub(crate) fn parse(self, text: &str) -> Result<Url, AddressError> {
        let url = Url::parse(text).map_err(|_| AddressError::Malformed(bounded(text)))?;
        self.check(&url)?;
        Ok(url)
    }
}

/// Checks the server's own address, which the user gave.
pub(crate) fn check_server(url: &Url) -> Result<(), AddressError> {
    Reach::Loopback.check(url)
}

/// Resolves names, and finds nothing where a public server leads inward.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guarded(pub(crate) Reach);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if reach == Reach::Public && found.iter().any(|address| is_special(address.ip())) {
                return Err(AddressError::Inward(name.as_str().to_owned()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is on this machine, by what it says.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// An address as an error may show it: without its query, which may carry what is secret.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    bounded(url.as_str())
}

/// A foreign text as an error may show it: short, and of one line.
pub(crate) fn bounded(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .take(300)
        .collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// The special-use ranges (RFC 6890): all that is not the public network.
fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_special_v4(address),
        IpAddr::V6(address) => is_special_v6(address),
    }
}

fn is_special_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || matches!(
            (a, b, c),
            (0 | 240..=255, ..) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18..=19, _)
        )
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    // An address of the older network inside one of the newer is where the packets go in the end.
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_special_v4(inner);
    }
    let parts = address.segments();
    // Public is what has been given out, 2000::/3, but for the ranges in it that are for something else.
    let public = parts[0] & 0xe000 == 0x2000;
    let other = (parts[0] == 0x2001 && (parts[1] < 0x200 || parts[1] == 0xdb8)) || parts[0] == 0x2002;
    !public || other || parts[0] == 0x3fff
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::{Reach, is_special};

    fn allowed(reach: Reach, url: &str) -> bool {
        reach.check(&Url::parse(url).unwrap()).is_ok()
    }

    #[test]
    fn a_public_server_leads_to_public_addresses_by_https_only() {
        for (url, wanted) in [
            ("https://as.example/token", true),
            ("http://as.example/token", false),
            ("http://127.0.0.1:9/token", false),
            ("https://127.0.0.1:9/token", false),
            ("https://localhost/token", false),
            ("https://10.0.0.1/token", false),
            ("https://[fd00::1]/token", false),
            ("https://[::ffff:10.0.0.1]/token", false),
            ("https://169.254.169.254/latest", false),
            ("https://user:pass@as.example/", false),
            ("file:///etc/passwd", false),
            ("javascript:alert(1)", false),
        ] {
            assert_eq!(allowed(Reach::Public, url), wanted, "{url}");
        }
    }

    #[test]
    fn a_server_on_this_machine_may_use_http_on_this_machine() {
        assert!(allowed(Reach::Loopback, "http://127.0.0.1:9/token"));
        assert!(allowed(Reach::Loopback, "http://localhost:9/token"));
        assert!(!allowed(Reach::Loopback, "http://as.example/token"));
        assert!(!allowed(Reach::Private, "http://127.0.0.1:9/token"));
        assert!(allowed(Reach::Private, "https://10.0.0.1/token"));
    }

    #[test]
    fn special_ranges_are_known() {
        for special in [
            "0.0.0.0",
            "10.1.1.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(is_special(special.parse().unwrap()), "{special}");
        }
        for public in ["1.1.1.1", "8.8.8.8", "172.15.0.1", "2606:4700::1111", "2001:4860::1"] {
            assert!(!is_special(public.parse().unwrap()), "{public}");
        }
    }
}
