//! Which addresses belong to nobody's public server.
//!
//! The two registries of IANA for special-purpose addresses
//! (<https://www.iana.org/assignments/iana-ipv4-special-registry>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>) are here in full, and with them what has a registry
//! of its own: multicast, the reserved class E, the site-local addresses of old. Three rules make the list closed:
//!
//! * A range counts as a whole. Some registries single out a few addresses inside (two of `192.0.0.0/24`, some of
//!   `2001::/23`) as globally reachable; they are anycast addresses of the network itself, where no document is.
//! * In IPv6, only `2000::/3` is given out to networks. What lies outside is refused whether it has a row here or
//!   not, so a range that IANA sets aside there tomorrow is refused today.
//! * An address that holds another one (mapped, NAT64, 6to4, Teredo, ISATAP) is refused whatever it holds. Where the
//!   packet would come out is decided by a gateway, and not by the check of an embedded address.
//!
//! The third rule costs something on a network that has IPv6 alone and reaches IPv4 through NAT64: hosts without an
//! IPv6 address of their own cannot be fetched from there.
//!
//! ```
//! use mcp_oauth_core::fetch::address::special_use;
//!
//! assert_eq!(special_use("169.254.169.254".parse()?), Some("link-local (RFC 3927)"));
//! assert_eq!(special_use("::ffff:8.8.8.8".parse()?), Some("IPv4-mapped (RFC 4291)"));
//! assert_eq!(special_use("8.8.8.8".parse()?), None);
//! assert_eq!(special_use("2606:4700:4700::1111".parse()?), None);
//! # Ok::<_, std::net::AddrParseError>(())
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const fn v4(address: [u8; 4], length: u8) -> Ipv4Net {
    let [a, b, c, d] = address;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

/// The first four groups are all that any range needs, but for those that begin with zeros.
const fn v6(groups: [u16; 4], length: u8) -> Ipv6Net {
    let [a, b, c, d] = groups;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), length)
}

const IPV4: [(Ipv4Net, &str); 19] = [
    (v4([0, 0, 0, 0], 8), "this network (RFC 791)"),
    (v4([10, 0, 0, 0], 8), "private use (RFC 1918)"),
    (v4([100, 64, 0, 0], 10), "shared by a carrier's customers (RFC 6598)"),
    (v4([127, 0, 0, 0], 8), "loopback (RFC 1122)"),
    (v4([169, 254, 0, 0], 16), "link-local (RFC 3927)"),
    (v4([172, 16, 0, 0], 12), "private use (RFC 1918)"),
    (v4([192, 0, 0, 0], 24), "protocol assignments (RFC 6890)"),
    (v4([192, 0, 2, 0], 24), "documentation (RFC 5737)"),
    (v4([192, 31, 196, 0], 24), "AS112 (RFC 7535)"),
    (v4([192, 52, 193, 0], 24), "multicast tunnels (RFC 7450)"),
    (v4([192, 88, 99, 0], 24), "6to4 relays (RFC 7526)"),
    (v4([192, 168, 0, 0], 16), "private use (RFC 1918)"),
    (v4([192, 175, 48, 0], 24), "AS112 (RFC 7534)"),
    (v4([198, 18, 0, 0], 15), "benchmarks (RFC 2544)"),
    (v4([198, 51, 100, 0], 24), "documentation (RFC 5737)"),
    (v4([203, 0, 113, 0], 24), "documentation (RFC 5737)"),
    (v4([224, 0, 0, 0], 4), "multicast (RFC 5771)"),
    (v4([255, 255, 255, 255], 32), "broadcast (RFC 919)"),
    (v4([240, 0, 0, 0], 4), "reserved (RFC 1112)"),
];

/// All that IANA gives to networks (<https://www.iana.org/assignments/ipv6-unicast-address-assignments>).
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

const IPV6: [(Ipv6Net, &str); 20] = [
    (
        Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128),
        "unspecified (RFC 4291)",
    ),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "loopback (RFC 4291)"),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
        "IPv4-mapped (RFC 4291)",
    ),
    (v6([0, 0, 0, 0], 96), "IPv4-compatible (RFC 4291)"),
    (v6([0x64, 0xff9b, 0, 0], 96), "NAT64 (RFC 6052)"),
    (v6([0x64, 0xff9b, 1, 0], 48), "local NAT64 (RFC 8215)"),
    (v6([0x100, 0, 0, 0], 64), "discard (RFC 6666)"),
    (v6([0x100, 0, 0, 1], 64), "dummy prefix (RFC 9780)"),
    (v6([0x2001, 0, 0, 0], 32), "Teredo (RFC 4380)"),
    (v6([0x2001, 0, 0, 0], 23), "protocol assignments (RFC 2928)"),
    (v6([0x2001, 0xdb8, 0, 0], 32), "documentation (RFC 3849)"),
    (v6([0x2002, 0, 0, 0], 16), "6to4 (RFC 3056)"),
    (v6([0x2620, 0x4f, 0x8000, 0], 48), "AS112 (RFC 7534)"),
    (v6([0x3fff, 0, 0, 0], 20), "documentation (RFC 9637)"),
    (v6([0x5f00, 0, 0, 0], 16), "segment routing (RFC 9602)"),
    (v6([0xfc00, 0, 0, 0], 7), "unique local (RFC 4193)"),
    (v6([0xfe80, 0, 0, 0], 10), "link-local (RFC 4291)"),
    (v6([0xfec0, 0, 0, 0], 10), "site-local (RFC 3879)"),
    (v6([0xff00, 0, 0, 0], 8), "multicast (RFC 4291)"),
    (v6([0, 0, 0, 0], 8), "reserved (RFC 4291)"),
];

/// Whether an address belongs to a network of somebody's own, which only they can reach: RFC 1918, RFC 6598, RFC 4193.
/// Not among them are loopback and link-local addresses, behind which a cloud's metadata service may be.
#[must_use]
pub fn is_private_network(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => [
            v4([10, 0, 0, 0], 8),
            v4([100, 64, 0, 0], 10),
            v4([172, 16, 0, 0], 12),
            v4([192, 168, 0, 0], 16),
        ]
        .iter()
        .any(|network| network.contains(&address)),
        IpAddr::V6(address) => v6([0xfc00, 0, 0, 0], 7).contains(&address),
    }
}

/// What an address is set aside for, with the document that says so; `None` for one that may be a public server.
#[must_use]
pub fn special_use(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => IPV4
            .iter()
            .find(|(range, _)| range.contains(&address))
            .map(|(_, purpose)| *purpose),
        IpAddr::V6(address) => IPV6
            .iter()
            .find(|(range, _)| range.contains(&address))
            .map(|(_, purpose)| *purpose)
            .or_else(|| (!GLOBAL_UNICAST.contains(&address)).then_some("not given to any network (RFC 4291)"))
            .or_else(|| is_isatap(address).then_some("ISATAP (RFC 5214)")),
    }
}

/// An interface identifier of `0000:5efe` or `0200:5efe` and an IPv4 address (RFC 5214 §6.1), below any prefix. The two
/// bits for universal and group identifiers count for nothing here.
fn is_isatap(address: Ipv6Addr) -> bool {
    let [.., first, second, _, _] = address.segments();
    first & !0x0300 == 0 && second == 0x5efe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same once more as first and last addresses, so that no prefix length is trusted to its own arithmetic.
    const FIRST_AND_LAST: [(&str, &str); 36] = [
        ("0.0.0.0", "0.255.255.255"),
        ("10.0.0.0", "10.255.255.255"),
        ("100.64.0.0", "100.127.255.255"),
        ("127.0.0.0", "127.255.255.255"),
        ("169.254.0.0", "169.254.255.255"),
        ("172.16.0.0", "172.31.255.255"),
        ("192.0.0.0", "192.0.0.255"),
        ("192.0.2.0", "192.0.2.255"),
        ("192.31.196.0", "192.31.196.255"),
        ("192.52.193.0", "192.52.193.255"),
        ("192.88.99.0", "192.88.99.255"),
        ("192.168.0.0", "192.168.255.255"),
        ("192.175.48.0", "192.175.48.255"),
        ("198.18.0.0", "198.19.255.255"),
        ("198.51.100.0", "198.51.100.255"),
        ("203.0.113.0", "203.0.113.255"),
        ("224.0.0.0", "239.255.255.255"),
        ("240.0.0.0", "255.255.255.255"),
        ("::", "::"),
        ("::1", "::1"),
        ("::ffff:0:0", "::ffff:ffff:ffff"),
        ("64:ff9b::", "64:ff9b::ffff:ffff"),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
        ("100::", "100::ffff:ffff:ffff:ffff"),
        ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff"),
        ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff"),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        // What is no global unicast.
        ("::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ];

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn refused(text: &str) -> &'static str {
        special_use(address(text)).unwrap_or_else(|| panic!("{text} passes"))
    }

    /// The address that lies `by` away, unless that is beyond the last one.
    fn neighbour(of: IpAddr, by: i8) -> Option<IpAddr> {
        match of {
            IpAddr::V4(of) => Some(Ipv4Addr::from(u32::from(of).checked_add_signed(by.into())?).into()),
            IpAddr::V6(of) => Some(Ipv6Addr::from(u128::from(of).checked_add_signed(by.into())?).into()),
        }
    }

    fn listed(asked: IpAddr) -> bool {
        FIRST_AND_LAST.iter().any(|(first, last)| {
            let (first, last) = (address(first), address(last));
            first.is_ipv4() == asked.is_ipv4() && (first..=last).contains(&asked)
        })
    }

    #[test]
    fn every_range_is_refused_from_its_first_address_to_its_last_and_no_further() {
        for (first, last) in FIRST_AND_LAST {
            for edge in [address(first), address(last)] {
                assert!(special_use(edge).is_some(), "{edge} passes");
            }
            for outside in [neighbour(address(first), -1), neighbour(address(last), 1)]
                .into_iter()
                .flatten()
            {
                assert_eq!(special_use(outside).is_some(), listed(outside), "{outside}");
            }
        }
    }

    #[test]
    fn every_row_is_a_range_of_the_list_and_begins_where_it_says() {
        for (range, purpose) in IPV4 {
            assert_eq!(range, range.trunc(), "{purpose}");
            assert!(
                listed(range.network().into()) && listed(range.broadcast().into()),
                "{range}"
            );
        }
        for (range, purpose) in IPV6 {
            assert_eq!(range, range.trunc(), "{purpose}");
            assert!(
                listed(range.network().into()) && listed(range.broadcast().into()),
                "{range}"
            );
        }
    }

    #[test]
    fn an_address_inside_another_is_refused_whatever_it_is() {
        for inner in ["127.0.0.1", "169.254.169.254", "8.8.8.8"] {
            let inner: Ipv4Addr = inner.parse().unwrap();
            let [a, b, c, d] = inner.octets().map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            for (outer, purpose) in [
                (inner.to_ipv6_mapped(), "IPv4-mapped (RFC 4291)"),
                (Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low), "IPv4-compatible (RFC 4291)"),
                (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low), "NAT64 (RFC 6052)"),
                (
                    Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
                    "local NAT64 (RFC 8215)",
                ),
                (
                    Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !high, !low),
                    "Teredo (RFC 4380)",
                ),
                (Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1), "6to4 (RFC 3056)"),
                (
                    Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0x5efe, high, low),
                    "ISATAP (RFC 5214)",
                ),
                (
                    Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0x0200, 0x5efe, high, low),
                    "ISATAP (RFC 5214)",
                ),
            ] {
                assert_eq!(special_use(outer.into()), Some(purpose), "{outer}");
            }
        }
    }

    #[test]
    fn an_operator_reads_what_an_address_is_for() {
        assert_eq!(refused("10.1.2.3"), "private use (RFC 1918)");
        assert_eq!(refused("255.255.255.255"), "broadcast (RFC 919)");
        assert_eq!(refused("::1"), "loopback (RFC 4291)");
        assert_eq!(refused("::2"), "IPv4-compatible (RFC 4291)");
        assert_eq!(refused("fec0::1"), "site-local (RFC 3879)");
        assert_eq!(refused("4000::1"), "not given to any network (RFC 4291)");
    }

    #[test]
    fn public_servers_pass() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "160.79.104.10",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001:80b::200e",
            "2001:4860:4860::8888",
            "2620:fe::fe",
            "2606:4700::1:5efe:808:808",
        ] {
            assert_eq!(special_use(address(text)), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_ipv4_address_is_refused_if_and_only_if_it_is_listed(bits: u32) {
            let asked = Ipv4Addr::from(bits).into();
            prop_assert_eq!(special_use(asked).is_some(), listed(asked), "{}", asked);
        }

        #[test]
        fn any_ipv6_address_is_refused_if_and_only_if_it_is_listed(high in 0x2000_u16..0x4000, rest: u128) {
            let asked = Ipv6Addr::from(u128::from(high) << 112 | rest >> 16);
            prop_assume!(!is_isatap(asked));
            prop_assert_eq!(special_use(asked.into()).is_some(), listed(asked.into()), "{}", asked);
        }
    }
}
