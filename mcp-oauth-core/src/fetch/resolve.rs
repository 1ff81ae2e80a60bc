//! From a name to addresses, and whether they may be connected to.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolving};
use tokio::sync::Semaphore;
use url::Host;

use super::address::{is_private_network, special_use};

/// At most this many addresses of one host are tried. One name can have hundreds, and a name of somebody's own making
/// would have this server knock at every one of them.
const MAXIMUM_ADDRESSES: usize = 8;

/// At most this many names are looked up by the operating system at the same time.
const MAXIMUM_LOOKUPS: usize = 16;

/// Finds the addresses of a host.
///
/// For tests, and for operators who ask their own name server, or who want more refused than
/// [`special_use`] does, such as public addresses of their own: an implementation may leave addresses out. It cannot
/// let any in: whatever it finds is checked afterwards.
#[async_trait]
pub trait Resolve: Debug + Send + Sync + 'static {
    /// Every address of `host`, which is a name and no address.
    ///
    /// # Errors
    ///
    /// When nobody could be asked. A host without addresses is no error, but an empty answer.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// Asks the operating system.
///
/// Its lookups block a thread and cannot be called off, so a name server that never answers would use up the threads
/// of the whole program. Therefore no more than 16 take place at once; others wait, for as long as their fetch may
/// take.
#[derive(Clone, Debug)]
pub struct SystemResolver(Arc<Semaphore>);

impl Default for SystemResolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAXIMUM_LOOKUPS)))
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let permit = self.0.clone().acquire_owned().await.map_err(io::Error::other)?;
        let host = host.to_owned();
        let lookup = move || {
            // Kept until the lookup is over, not only until somebody stops waiting for it.
            let _permit = permit;
            let addresses = (host.as_str(), 0).to_socket_addrs()?;
            Ok(addresses.map(|address| address.ip()).collect())
        };
        tokio::task::spawn_blocking(lookup).await.map_err(io::Error::other)?
    }
}

/// Why a host is not connected to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the lookup failed")]
    Lookup(#[source] io::Error),
    #[error("the name has no address")]
    NoAddress,
    #[error("the name leads to an address that is not public")]
    SpecialUse,
}

/// Stands between the connector and the names: what it lets through is all that the connector ever sees.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    pub(super) resolver: Arc<dyn Resolve>,
    /// Whether hosts that are loopback by their own name may be just that.
    pub(super) loopback: bool,
    /// Whether addresses of private networks count as public ones do.
    pub(super) private_networks: bool,
    /// Hosts that the operator has named, which may be anywhere.
    pub(super) trusted: Vec<String>,
}

impl Guard {
    /// Whether this address may be connected to as that of `host`.
    pub(super) fn check(&self, host: &Host<&str>, address: IpAddr) -> Result<(), Refusal> {
        let written = host.to_string();
        if self.trusted.iter().any(|trusted| written.eq_ignore_ascii_case(trusted)) {
            return Ok(());
        }
        let named_loopback = match host {
            Host::Domain(name) => *name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let refused = if self.loopback && named_loopback {
            (!address.is_loopback()).then_some("not loopback, although the host is called so")
        } else if self.private_networks && is_private_network(address) {
            None
        } else {
            special_use(address)
        };
        match refused {
            None => Ok(()),
            Some(purpose) => {
                tracing::debug!(%host, %address, purpose, "an address was refused");
                Err(Refusal::SpecialUse)
            }
        }
    }

    /// The addresses of a name, if all of them may be connected to. One that may not is enough to refuse the name:
    /// whoever mixes them is up to something.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Refusal> {
        let mut addresses = self.resolver.resolve(name).await.map_err(Refusal::Lookup)?;
        if addresses.is_empty() {
            return Err(Refusal::NoAddress);
        }
        for address in &addresses {
            self.check(&Host::Domain(name), *address)?;
        }
        addresses.truncate(MAXIMUM_ADDRESSES);
        Ok(addresses)
    }
}

impl reqwest::dns::Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let addresses = guard.addresses(name.as_str()).await?;
            // Port 0 stands for the port of the URL.
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_the_operator_has_named_may_be_anywhere_and_no_other_may() {
        let guard = Guard {
            resolver: Arc::new(SystemResolver::default()),
            loopback: false,
            private_networks: false,
            trusted: vec!["sso.internal".to_owned()],
        };
        let private: IpAddr = "10.1.2.3".parse().unwrap();
        let check = |host: &str| guard.check(&Host::Domain(host), private).is_ok();
        assert!(check("sso.internal") && check("SSO.internal"));
        for other in [
            "other.internal",
            "sso.internal.evil.example",
            "internal",
            "x.sso.internal",
        ] {
            assert!(!check(other), "{other}");
        }
        assert!(guard.check(&Host::Ipv4([10, 1, 2, 3].into()), private).is_err());
    }
}
