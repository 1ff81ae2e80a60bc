//! A configuration in one URL.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::form_urlencoded;

use super::{Credentials, InvalidConfiguration, RedisConfiguration};

/// How many milliseconds a timeout may have.
const TIMEOUT: (u64, u64) = (1, 60_000);

impl FromStr for RedisConfiguration {
    type Err = InvalidConfiguration;

    /// Reads a URL.
    fn from_str(url: &str) -> Result<Self, InvalidConfiguration> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(InvalidConfiguration::Scheme)?;
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (protocol, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let hosts = || hosts.split(',').filter(|host| !host.is_empty());
        let mut configuration = match kind {
            "" => {
                let mut hosts = hosts();
                let host = hosts.next().ok_or(InvalidConfiguration::NoHost)?;
                if hosts.next().is_some() {
                    return Err(InvalidConfiguration::SeveralHosts);
                }
                Self::node(host)?.database(database(path)?)?
            }
            "sentinel" => {
                let (service, number) = path.split_once('/').unwrap_or((path, ""));
                Self::sentinel(hosts(), &decoded(service)?)?.database(database(number)?)?
            }
            "cluster" => Self::cluster(hosts())?.database(database(path)?)?,
            _ => return Err(InvalidConfiguration::Scheme),
        };
        configuration = match protocol {
            "redis" | "valkey" => configuration,
            "rediss" | "valkeys" => configuration.tls()?,
            _ => return Err(InvalidConfiguration::Scheme),
        };
        let (username, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        if !username.is_empty() {
            configuration = configuration.username(decoded(username)?);
        }
        if !password.is_empty() {
            configuration = configuration.password(decoded(password)?);
        }
        configuration.with_parameters(parameters)
    }
}

impl RedisConfiguration {
    fn with_parameters(mut self, parameters: &str) -> Result<Self, InvalidConfiguration> {
        let mut of_sentinels = Credentials::default();
        for (name, value) in form_urlencoded::parse(parameters.as_bytes()) {
            match name.as_ref() {
                "prefix" => self = self.prefix(&value)?,
                "connection_timeout" => {
                    let milliseconds = number("connection_timeout", &value, TIMEOUT)?;
                    self = self.connection_timeout(Duration::from_millis(milliseconds));
                }
                "response_timeout" => {
                    let milliseconds = number("response_timeout", &value, TIMEOUT)?;
                    self = self.response_timeout(Duration::from_millis(milliseconds));
                }
                "lanes" => {
                    let count = usize::try_from(number("lanes", &value, (1, 64))?).ok();
                    self.lanes = count.and_then(NonZeroUsize::new).unwrap_or(self.lanes);
                }
                "replicas" => {
                    let count = number("replicas", &value, (0, 16))?;
                    self.replicas = u32::try_from(count).unwrap_or_default();
                }
                "sentinel_username" => of_sentinels.username = Some(value.into_owned()),
                "sentinel_password" => of_sentinels.password = Some(value.into_owned().into()),
                _ => return Err(InvalidConfiguration::UnknownParameter(name.into_owned())),
            }
        }
        if of_sentinels.username.is_some() || of_sentinels.password.is_some() {
            self = self.sentinel_credentials(of_sentinels.username, of_sentinels.password);
        }
        Ok(self)
    }
}

fn decoded(text: &str) -> Result<String, InvalidConfiguration> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(String::from).map_err(|_| InvalidConfiguration::Encoding)
}

fn database(text: &str) -> Result<u32, InvalidConfiguration> {
    match text {
        "" => Ok(0),
        text => text.parse().map_err(|_| InvalidConfiguration::Database),
    }
}

fn number(name: &'static str, value: &str, (least, most): (u64, u64)) -> Result<u64, InvalidConfiguration> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or(InvalidConfiguration::Number(name, least, most))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Node, Topology};
    use super::*;

    fn read(url: &str) -> Result<RedisConfiguration, InvalidConfiguration> {
        url.parse()
    }

    fn hosts(nodes: &[Node]) -> Vec<(&str, u16)> {
        nodes.iter().map(|node| (node.host.as_str(), node.port)).collect()
    }

    #[test]
    fn a_url_names_one_node_and_everything_but_the_host_may_be_left_out() {
        let configuration = read("redis://app:p%40ss%2F@[::1]:7000/3?prefix=x:&lanes=2&response_timeout=250").unwrap();
        let Topology::Node(node) = &configuration.topology else {
            panic!("{configuration:?}")
        };
        assert_eq!((node.host.as_str(), node.port), ("::1", 7000));
        assert_eq!(configuration.credentials.username.as_deref(), Some("app"));
        assert_eq!(configuration.credentials.password.as_ref().unwrap().expose(), "p@ss/");
        assert_eq!((configuration.database, configuration.prefix.as_str()), (3, "x:"));
        assert_eq!(configuration.response_timeout, Duration::from_millis(250));
        let configuration = read("redis://cache").unwrap();
        let Topology::Node(node) = &configuration.topology else {
            panic!("{configuration:?}")
        };
        assert_eq!((node.host.as_str(), node.port), ("cache", 6379));
        assert_eq!((configuration.database, configuration.lanes.get()), (0, 4));
    }

    #[test]
    fn a_url_names_sentinels_and_the_primary_that_they_watch() {
        let url = "redis+sentinel://:secret@one,two:26380/mymaster/1?sentinel_password=other";
        let configuration = read(url).unwrap();
        let Topology::Sentinel {
            sentinels,
            service,
            credentials,
        } = &configuration.topology
        else {
            panic!("{configuration:?}")
        };
        assert_eq!(hosts(sentinels), [("one", 26379), ("two", 26380)]);
        assert_eq!((service.as_str(), configuration.database), ("mymaster", 1));
        assert_eq!(credentials.password.as_ref().unwrap().expose(), "other");
        assert_eq!(
            read("redis+sentinel://one").unwrap_err(),
            InvalidConfiguration::NoService
        );
    }

    #[test]
    fn a_url_names_nodes_of_a_cluster_which_has_no_databases() {
        let configuration = read("valkey+cluster://one,two:7001").unwrap();
        let Topology::Cluster(nodes) = &configuration.topology else {
            panic!("{configuration:?}")
        };
        assert_eq!(hosts(nodes), [("one", 6379), ("two", 7001)]);
        assert_eq!(
            read("redis+cluster://one/1").unwrap_err(),
            InvalidConfiguration::DatabaseOfCluster
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_write_instead() {
        for (url, error) in [
            ("localhost:6379", InvalidConfiguration::Scheme),
            ("http://localhost", InvalidConfiguration::Scheme),
            ("redis://", InvalidConfiguration::NoHost),
            ("redis://a,b", InvalidConfiguration::SeveralHosts),
            ("redis://a:port", InvalidConfiguration::Address("a:port".to_owned())),
            ("redis://a/b", InvalidConfiguration::Database),
            ("redis://a?prefix={x}", InvalidConfiguration::Prefix),
            ("redis://a?prefix=", InvalidConfiguration::Prefix),
            (
                "redis://a?tls=no",
                InvalidConfiguration::UnknownParameter("tls".to_owned()),
            ),
            ("redis://a?lanes=0", InvalidConfiguration::Number("lanes", 1, 64)),
            ("redis://:%ff@a", InvalidConfiguration::Encoding),
        ] {
            assert_eq!(read(url).unwrap_err(), error, "{url}");
        }
    }

    #[cfg(not(feature = "redis-tls"))]
    #[test]
    fn tls_that_is_not_there_is_not_left_out_in_silence() {
        assert_eq!(read("rediss://a").unwrap_err(), InvalidConfiguration::NoTls);
    }

    proptest! {
        #[test]
        fn no_password_is_ever_shown(password in "[a-z]{12}", rest in "[ -~]{0,20}") {
            for url in [
                format!("redis://user:{password}@host{rest}"),
                format!("redis+sentinel://:{password}@host/name?sentinel_password={password}{rest}"),
                format!("http://:{password}@host"),
            ] {
                let shown = match url.parse::<RedisConfiguration>() {
                    Ok(configuration) => format!("{configuration:?}"),
                    Err(error) => format!("{error} {error:?}"),
                };
                prop_assert!(!shown.contains(&password), "{}", shown);
            }
        }
    }
}
