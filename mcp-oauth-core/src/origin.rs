//! Where a request comes from, as far as that can be trusted.
//!
//! An [`Origin`] is said by whoever accepts connections, never read from what a stranger sends: the address of the
//! peer, or what a proxy that the operator trusts says of it. It decides nothing by itself. Quotas are counted by it
//! (see [`limits`](crate::limits)), and audit events name it (see [`audit`](crate::audit)).
//!
//! ```
//! use mcp_oauth_core::origin::Origin;
//!
//! // Whoever has one address of IPv6 has 2^64 of them, so what is counted is the network.
//! let origin = Origin::address("2001:db8:1:2:3:4:5:6".parse()?);
//! assert_eq!(origin.network().as_deref(), Some("2001:db8:1:2::/64"));
//! assert_eq!(Origin::unknown().network(), None);
//! # Ok::<_, std::net::AddrParseError>(())
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// So many times as much as one of its networks may a site do: 2^16 networks of IPv6 that one customer usually has.
pub(crate) const SITE: u64 = 10;

/// What a request is counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) name: String,
    /// How many times the quota of a network it has.
    pub(crate) width: u64,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin(Option<IpAddr>);

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        Self::address(address)
    }
}

impl Origin {
    /// From somewhere: nobody who can be trusted has said where. No quota of a network applies.
    #[must_use]
    pub const fn unknown() -> Self {
        Self(None)
    }

    /// From this address. One of IPv4 that is written as one of IPv6 counts as what it is.
    #[must_use]
    pub const fn address(address: IpAddr) -> Self {
        Self(Some(address.to_canonical()))
    }

    /// The address, if it is known.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        self.0
    }

    /// What quotas are counted by: the address of IPv4, the network of 64 bits of IPv6. Of IPv6, the site of 48 bits is
    /// counted too ([`limits`](crate::limits)).
    #[must_use]
    pub fn network(&self) -> Option<String> {
        self.networks().into_iter().next().map(|network| network.name)
    }

    /// The network, and of IPv6 the site, in this order; nothing if neither is known.
    pub(crate) fn networks(&self) -> Vec<Network> {
        let network = |name: String, width| Network { name, width };
        match self.0 {
            None => Vec::new(),
            Some(IpAddr::V4(address)) => vec![network(address.to_string(), 1)],
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                vec![
                    network(format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)), 1),
                    network(format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), SITE),
                ]
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(formatter),
            None => formatter.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> String {
        Origin::address(address.parse().unwrap()).network().unwrap()
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1:2:3"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
    }

    #[test]
    fn networks_of_one_ipv6_site_count_together_as_ten_of_them() {
        let networks = |address: &str| {
            let networks = Origin::address(address.parse().unwrap()).networks();
            networks
                .into_iter()
                .map(|network| (network.name, network.width))
                .collect::<Vec<_>>()
        };
        let site = ("2001:db8:1::/48".to_owned(), 10);
        assert_eq!(
            networks("2001:db8:1:2::3"),
            [("2001:db8:1:2::/64".to_owned(), 1), site.clone()]
        );
        assert_eq!(networks("2001:db8:1:ffff::3")[1], site);
        assert_ne!(networks("2001:db8:2:2::3")[1], site);
        assert_eq!(networks("192.0.2.7"), [("192.0.2.7".to_owned(), 1)]);
        assert_eq!(Origin::unknown().networks(), []);
    }

    #[test]
    fn an_ipv4_address_has_one_spelling() {
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_ne!(network("192.0.2.7"), network("192.0.2.8"));
    }

    #[test]
    fn a_log_says_where_a_request_came_from_as_far_as_that_is_known() {
        let known = Origin::address("::ffff:192.0.2.7".parse().unwrap());
        assert_eq!(
            (known.to_string(), known.ip()),
            ("192.0.2.7".to_owned(), "192.0.2.7".parse().ok())
        );
        let unknown = Origin::unknown();
        assert_eq!(
            (unknown.to_string(), unknown.ip(), unknown.network()),
            ("unknown".to_owned(), None, None)
        );
    }
}
