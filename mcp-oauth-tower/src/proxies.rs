//! Which proxies are believed when they say where a request comes from.
//!
//! Behind a proxy every connection comes from the proxy, which names the real peer in `X-Forwarded-For`. Anybody can
//! write that header, so it counts only on connections from a proxy that the operator trusts, and of its addresses
//! only the last one that is not itself such a proxy: what stands before it, a stranger may have written.
//!
//! Of the headers for this, `X-Forwarded-For` is read and `Forwarded` (RFC 7239) is not: a proxy that only sends the latter
//! has to be told to send the former. When somebody who is not on the list sends one of the two, the log says so once: either a
//! stranger is trying to be somebody else, or the list lacks a proxy, and then everybody behind it shares the quotas of
//! one network.
//!
//! The peer of a connection is known where the application is served with
//! `into_make_service_with_connect_info::<SocketAddr>()`. Without that, nobody's origin is known, and the quotas of
//! networks ([`Limits`](mcp_oauth_core::limits::Limits)) do not apply.
//!
//! ```
//! use mcp_oauth_tower::proxies::TrustedProxies;
//!
//! let proxies: TrustedProxies = "10.0.0.0/8, 127.0.0.1, ::1".parse()?;
//! let peer = "10.1.2.3".parse()?;
//! let origin = proxies.origin(Some(peer), ["203.0.113.9, 198.51.100.7", "10.4.5.6"].into_iter());
//! assert_eq!(origin.ip(), Some("198.51.100.7".parse()?));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderMap;
use ipnet::IpNet;
use mcp_oauth_core::origin::Origin;

/// The proxies whose word is taken. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// Something on a list of proxies that is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a network such as 10.0.0.0/8")]
pub struct InvalidProxy(String);

impl FromStr for TrustedProxies {
    type Err = InvalidProxy;

    /// Reads addresses and networks that are set apart by commas or white space.
    fn from_str(list: &str) -> Result<Self, InvalidProxy> {
        list.split(|character: char| character == ',' || character.is_whitespace())
            .filter(|entry| !entry.is_empty())
            .map(|entry| {
                let network = entry.parse::<IpNet>().ok();
                let address = || entry.parse::<IpAddr>().ok().map(IpNet::from);
                network.or_else(address).ok_or_else(|| InvalidProxy(entry.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl TrustedProxies {
    /// Whether connections from this address are those of a proxy.
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Where a request comes from: `peer` is the other end of the connection, `forwarded_for` are the values of the
    /// header `X-Forwarded-For` in their order.
    ///
    /// What is no address ends the search, since nothing before it can be trusted either; then the proxy itself is
    /// the origin.
    pub fn origin<'a>(&self, peer: Option<IpAddr>, forwarded_for: impl DoubleEndedIterator<Item = &'a str>) -> Origin {
        let Some(peer) = peer else {
            return Origin::unknown();
        };
        if !self.trust(peer) {
            return Origin::address(peer);
        }
        let mut nearest = peer;
        for hop in forwarded_for.rev().flat_map(|value| value.rsplit(',')) {
            let Some(address) = address(hop.trim()) else { break };
            nearest = address;
            if !self.trust(address) {
                break;
            }
        }
        Origin::address(nearest)
    }

    /// Whether somebody says where a request comes from who is not believed.
    pub(crate) fn disregard(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> bool {
        let says_so = || headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded");
        peer.is_some_and(|peer| !self.trust(peer) && says_so())
    }

    /// Where a request with these headers comes from.
    pub(crate) fn origin_of(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Origin {
        let values = headers.get_all("x-forwarded-for").iter();
        // A value that is no text ends the search like one that is no address.
        self.origin(peer, values.map(|value| value.to_str().unwrap_or_default()))
    }
}

/// An address as proxies write it: alone, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(bare)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(peer: &str, forwarded_for: &[&str]) -> String {
        let proxies: TrustedProxies = "10.0.0.0/8 fd00::/8".parse().unwrap();
        proxies
            .origin(Some(peer.parse().unwrap()), forwarded_for.iter().copied())
            .to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(origin("203.0.113.1", &["198.51.100.7"]), "203.0.113.1");
    }

    #[test]
    fn of_what_a_proxy_says_the_last_address_that_is_no_proxy_counts() {
        assert_eq!(
            origin("10.0.0.1", &["1.1.1.1, 198.51.100.7", "10.0.0.2"]),
            "198.51.100.7"
        );
        assert_eq!(origin("::ffff:10.0.0.1", &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(origin("fd00::1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(origin("10.0.0.1", &["10.0.0.3", "10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn what_is_no_address_hides_everything_before_it() {
        assert_eq!(origin("10.0.0.1", &["198.51.100.7, unknown"]), "10.0.0.1");
        assert_eq!(origin("10.0.0.1", &["198.51.100.7, , 10.0.0.2"]), "10.0.0.2");
        assert_eq!(origin("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_is_disregarded_is_known() {
        let proxies: TrustedProxies = "10.0.0.0/8".parse().unwrap();
        let disregarded = |peer: Option<&str>, names: &[&'static str]| {
            let headers = names
                .iter()
                .map(|name| ((*name).parse().unwrap(), "192.0.2.1".parse().unwrap()));
            let headers: HeaderMap = headers
                .collect::<Vec<(http::HeaderName, http::HeaderValue)>>()
                .into_iter()
                .collect();
            proxies.disregard(peer.map(|peer| peer.parse().unwrap()), &headers)
        };
        assert!(disregarded(Some("203.0.113.1"), &["x-forwarded-for"]));
        assert!(disregarded(Some("203.0.113.1"), &["forwarded"]));
        assert!(!disregarded(Some("203.0.113.1"), &["host"]));
        assert!(!disregarded(Some("10.0.0.1"), &["x-forwarded-for", "forwarded"]));
        assert!(!disregarded(None, &["x-forwarded-for"]));
    }

    #[test]
    fn a_list_with_something_else_on_it_is_refused_by_name() {
        assert_eq!(
            "10.0.0.1, proxy.example".parse::<TrustedProxies>(),
            Err(InvalidProxy("proxy.example".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn whatever_a_stranger_writes_the_peer_is_the_origin(header in ".*") {
            prop_assert_eq!(origin("203.0.113.1", &[&header]), "203.0.113.1");
            let _ = origin("10.0.0.1", &[&header]);
        }
    }
}
