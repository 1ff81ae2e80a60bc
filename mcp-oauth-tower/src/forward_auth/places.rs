//! Which resource a host and a path belong to.

use url::Url;

use super::paths::is_clear;

/// What cannot be a place of a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPlace {
    /// It is not written as it has to be.
    #[error("{0:?} is not an address such as https://mcp.example.com/notes, in normal form and without a query")]
    NotAnAddress(String),
    /// The server does not know the resource.
    #[error("the authorization server has no resource {0:?}: add it to the builder with .resource(…)")]
    UnknownResource(String),
}

/// A place, and the resource that is there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// In lower case; an address of IPv6 is in brackets.
    host: String,
    port: u16,
    /// Without a slash at the end, so empty for the whole host.
    path: String,
    resource: usize,
}

impl Place {
    pub(super) fn parse(address: &str, resource: usize) -> Result<Self, InvalidPlace> {
        let url = Url::parse(address).ok().filter(|url| {
            let normal = url.as_str() == address || url.as_str().trim_end_matches('/') == address;
            let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
            normal && bare && matches!(url.scheme(), "http" | "https") && is_clear(url.path())
        });
        let place = url.and_then(|url| {
            Some(Self {
                host: url.host_str()?.to_owned(),
                port: url.port_or_known_default()?,
                path: url.path().trim_end_matches('/').to_owned(),
                resource,
            })
        });
        place.ok_or_else(|| InvalidPlace::NotAnAddress(address.to_owned()))
    }

    fn has(&self, host: &str, port: Option<u16>, path: &str) -> bool {
        let below = path.strip_prefix(&self.path);
        self.host.eq_ignore_ascii_case(host)
            && port.is_none_or(|port| port == self.port)
            && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// All places, those with the longest path first.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Vec<Place>);

impl Places {
    pub(super) fn add(&mut self, place: Place) {
        self.0.push(place);
        self.0.sort_by_key(|place| std::cmp::Reverse(place.path.len()));
    }

    /// The resource at this place, if there is no doubt which one it is.
    pub(super) fn find(&self, host: &str, port: Option<u16>, path: &str) -> Option<usize> {
        let mut fitting = self.0.iter().filter(|place| place.has(host, port, path));
        let first = fitting.next()?;
        // As many paths as long can only be there several times for ports, of which none was named.
        let doubtful = fitting.any(|other| other.path.len() == first.path.len() && other.resource != first.resource);
        (!doubtful).then_some(first.resource)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(addresses: &[&str]) -> Places {
        let mut places = Places::default();
        for (index, address) in addresses.iter().enumerate() {
            places.add(Place::parse(address, index).unwrap());
        }
        places
    }

    #[test]
    fn the_longest_path_counts_and_only_whole_segments() {
        let places = places(&[
            "https://a.example",
            "https://a.example/mcp",
            "https://a.example/mcp/notes",
        ]);
        for (path, expected) in [
            ("/", 0),
            ("/mc", 0),
            ("/mcpx", 0),
            ("/mcp", 1),
            ("/mcp/", 1),
            ("/mcp/note", 1),
            ("/mcp/notes", 2),
            ("/mcp/notes/1", 2),
            ("/MCP", 0),
        ] {
            assert_eq!(places.find("a.example", None, path), Some(expected), "{path}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let places = places(&["https://a.example/mcp"]);
        for (host, port, path) in [
            ("a.example", None, "/"),
            ("a.example", None, "/mcpx"),
            ("a.example", None, "/x/mcp"),
            ("b.example", None, "/mcp"),
            ("a.example.", None, "/mcp"),
            ("x.a.example", None, "/mcp"),
            ("a.example", Some(80), "/mcp"),
            ("", None, "/mcp"),
        ] {
            assert_eq!(places.find(host, port, path), None, "{host} {port:?} {path}");
        }
    }

    #[test]
    fn a_host_counts_in_any_case_and_its_port_may_be_left_out() {
        let places = places(&["https://a.example/mcp", "http://[::1]:8080/mcp"]);
        assert_eq!(places.find("A.Example", Some(443), "/mcp"), Some(0));
        assert_eq!(places.find("[::1]", Some(8080), "/mcp"), Some(1));
        assert_eq!(places.find("[::1]", None, "/mcp"), Some(1));
    }

    #[test]
    fn without_a_port_resources_that_differ_in_it_alone_are_nobodys() {
        let places = places(&[
            "http://127.0.0.1:1/mcp",
            "http://127.0.0.1:2/mcp",
            "http://127.0.0.1:2/mcp/x",
        ]);
        assert_eq!(places.find("127.0.0.1", None, "/mcp"), None);
        assert_eq!(places.find("127.0.0.1", None, "/mcp/x"), Some(2));
        assert_eq!(places.find("127.0.0.1", Some(2), "/mcp"), Some(1));
    }

    #[test]
    fn a_place_is_an_address_in_normal_form() {
        for address in [
            "",
            "/mcp",
            "ftp://a.example/",
            "https://a.example/x/../mcp",
            "https://a.example//mcp",
            "https://A.example/mcp",
            "https://a.example/mcp?x",
            "https://ada@a.example/mcp",
            "https://a.example/%6dcp",
        ] {
            assert!(Place::parse(address, 0).is_err(), "{address}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_the_place_and_what_is_below_is_found(path in "/[a-z/]{0,12}") {
            let places = places(&["https://a.example/mcp"]);
            let below = path == "/mcp" || path.starts_with("/mcp/");
            prop_assert_eq!(places.find("a.example", None, &path).is_some(), below);
        }
    }
}
