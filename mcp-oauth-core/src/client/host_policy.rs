//! Whose metadata documents are read.
//!
//! Everybody can publish one, so by default a client is whoever says so, and the consent page names the host. An operator
//! who knows which clients are used can say so, and then nothing is fetched from anybody else.
//!
//! ```
//! use mcp_oauth_core::client::host_policy::HostPolicy;
//!
//! let policy = HostPolicy::only(["claude.ai", "*.example.com"])?;
//! assert!(policy.trusts("claude.ai") && policy.trusts("a.b.example.com"));
//! assert!(!policy.trusts("example.com") && !policy.trusts("claude.ai.evil.example"));
//! # Ok::<_, mcp_oauth_core::client::host_policy::InvalidHostPattern>(())
//! ```

use url::Host;

/// Whose metadata documents are read: everybody's by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPolicy(Rule);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Rule {
    #[default]
    Everybody,
    Only(Vec<Pattern>),
    AllBut(Vec<Pattern>),
}

/// Text that names no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no host: write client.example.com, or *.example.com for all hosts below it")]
pub struct InvalidHostPattern(String);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exactly(String),
    /// With the dot in front.
    Below(String),
}

impl Pattern {
    fn read(text: &str) -> Result<Self, InvalidHostPattern> {
        let invalid = || InvalidHostPattern(text.to_owned());
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        // As a URL has it, so that there is one spelling: lower case, punycode, and addresses in their usual form.
        let host = Host::parse(name).map_err(|_| invalid())?;
        match (host, below) {
            (_, _) if name.contains('*') => Err(invalid()),
            (Host::Domain(domain), true) => Ok(Self::Below(format!(".{domain}"))),
            (_, true) => Err(invalid()),
            (host, false) => Ok(Self::Exactly(host.to_string())),
        }
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exactly(known) => host == known,
            Self::Below(ending) => host.len() > ending.len() && host.ends_with(ending),
        }
    }
}

fn patterns<I: IntoIterator<Item = impl AsRef<str>>>(texts: I) -> Result<Vec<Pattern>, InvalidHostPattern> {
    texts.into_iter().map(|text| Pattern::read(text.as_ref())).collect()
}

impl HostPolicy {
    /// Everybody's.
    #[must_use]
    pub fn everybody() -> Self {
        Self(Rule::Everybody)
    }

    /// Those of these hosts; `*.example.com` stands for all hosts below `example.com`, and not for that one itself. An
    /// empty list trusts nobody.
    ///
    /// # Errors
    ///
    /// When one of them is no host.
    pub fn only<I: IntoIterator<Item = impl AsRef<str>>>(hosts: I) -> Result<Self, InvalidHostPattern> {
        Ok(Self(Rule::Only(patterns(hosts)?)))
    }

    /// Those of all but these hosts.
    ///
    /// # Errors
    ///
    /// When one of them is no host.
    pub fn all_but<I: IntoIterator<Item = impl AsRef<str>>>(hosts: I) -> Result<Self, InvalidHostPattern> {
        Ok(Self(Rule::AllBut(patterns(hosts)?)))
    }

    /// Whether documents of this host are read. The host is written as a URL has it.
    #[must_use]
    pub fn trusts(&self, host: &str) -> bool {
        // A dot at the end is the same host to DNS, and another text.
        let host = host.strip_suffix('.').unwrap_or(host);
        let listed = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(host));
        match &self.0 {
            Rule::Everybody => true,
            Rule::Only(trusted) => listed(trusted),
            Rule::AllBut(distrusted) => !listed(distrusted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_trusts_everybody_has_said_nothing_else() {
        let everybody = HostPolicy::everybody();
        assert!(everybody.trusts("anybody.example"));
        assert_eq!(everybody, HostPolicy::default());
        assert_ne!(everybody, HostPolicy::only(["anybody.example"]).unwrap());
    }

    #[test]
    fn everybody_is_trusted_unless_somebody_says_otherwise() {
        assert!(HostPolicy::default().trusts("anybody.example"));
        assert!(!HostPolicy::only::<[&str; 0]>([]).unwrap().trusts("anybody.example"));
        assert!(HostPolicy::all_but::<[&str; 0]>([]).unwrap().trusts("anybody.example"));
    }

    #[test]
    fn a_host_is_named_exactly_or_by_what_it_is_below() {
        let only = HostPolicy::only(["Client.Example", "*.example.com", "127.0.0.1", "b\u{fc}cher.example"]).unwrap();
        for host in [
            "client.example",
            "client.example.",
            "a.example.com",
            "a.b.example.com",
            "127.0.0.1",
            "xn--bcher-kva.example",
        ] {
            assert!(only.trusts(host), "{host}");
        }
        for host in [
            "a.client.example",
            "example.com",
            "evilexample.com",
            ".example.com",
            "127.0.0.2",
            "",
        ] {
            assert!(!only.trusts(host), "{host}");
        }
        let but = HostPolicy::all_but(["evil.example", "*.evil.example"]).unwrap();
        assert!(but.trusts("good.example"));
        for host in ["evil.example", "evil.example.", "a.evil.example"] {
            assert!(!but.trusts(host), "{host}");
        }
    }

    #[test]
    fn what_names_no_host_is_refused() {
        for text in [
            "",
            "*",
            "*.",
            "a.*.example",
            "https://a.example",
            "a/b",
            "*.127.0.0.1",
            "a b",
            "*.*.example",
        ] {
            assert!(HostPolicy::only([text]).is_err(), "{text}");
        }
    }
}
