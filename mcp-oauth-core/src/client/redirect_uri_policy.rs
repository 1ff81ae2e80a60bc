//! Which redirect URIs this server takes: a few wishes of its operator, on top of what is right and wrong in itself.
//!
//! Some things are wrong everywhere and no wish changes them: a fragment, a user name, http to another machine, a scheme
//! that runs or reads something. Others are a matter of taste, and they are what a [`RedirectUriPolicy`] decides:
//!
//! | | unless said otherwise |
//! |---|---|
//! | the name `localhost` ([`Localhost`]) | as the loopback addresses: any port |
//! | `urn:ietf:wg:oauth:2.0:oob`, the code is shown to the person | taken |
//! | `https` | to any host; the consent page names it |
//! | schemes of apps in reverse-domain form (RFC 8252 §7.1) | taken |
//! | other schemes of apps | only those that are [allowed](RedirectUriPolicy::allow) word for word |
//! | an unfit one among several ([`Unfit`]) | left out, and the answer says what is left |
//!
//! The loopback addresses are no matter of taste: RFC 8252 §7.3 lets their port be any.
//!
//! A policy holds for what is registered from now on, and for client ID metadata documents from when they are read next. The
//! port of `localhost` is decided anew at each authorization request.
//!
//! ```
//! use mcp_oauth_core::client::redirect_uri_policy::{Localhost, RedirectUriPolicy};
//!
//! let policy = RedirectUriPolicy::default().allow_well_known_apps().localhost(Localhost::SamePort);
//! assert!(policy.take("cursor://anysphere.cursor-mcp/oauth/callback").is_ok());
//! assert!(policy.take("cursor://somewhere-else").is_err());
//! ```

use url::Url;

use super::redirect_uri::{InvalidRedirectUri, OUT_OF_BAND, RedirectUri, examine, shown};
use crate::issuer::is_loopback;

/// Where well-known MCP clients come back to by a scheme of their own that is not in reverse-domain form: Cursor's app
/// and Warp's. What other clients register (Claude, ChatGPT, VS Code, Zed, Gemini CLI, …) is https or loopback, and needs
/// no entry.
pub const WELL_KNOWN_APPS: [&str; 2] = [
    "cursor://anysphere.cursor-mcp/oauth/callback",
    "warp://mcp/oauth2callback",
];

/// What counts for `http` redirect URIs with the *name* `localhost`, which RFC 8252 §8.3 advises clients against, and
/// which many of them use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Localhost {
    /// A request may come back to any port, as with the loopback addresses. Claude Code, Gemini CLI and others register
    /// without a port, or with another one than they use later.
    #[default]
    AnyPort,
    /// A request has to come back to the port that was registered.
    SamePort,
    /// The name cannot be registered.
    Refused,
}

/// What becomes of a redirect URI that this server does not take, if there are others beside it which it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// It is left out, and the client is told what was registered (RFC 7591 §3.2.1). Cursor registers three at once, one of
    /// them for its app; to refuse all for one would keep its other ways out as well. What is wrong in itself is refused
    /// even so: no honest client sends it.
    #[default]
    LeftOut,
    /// The registration is refused, with an error that names it.
    Refused,
}

/// Which redirect URIs can be registered, see the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUriPolicy {
    allowed: Vec<String>,
    localhost: Localhost,
    out_of_band: bool,
    hosts: Option<Vec<String>>,
    unfit: Unfit,
}

impl Default for RedirectUriPolicy {
    fn default() -> Self {
        Self {
            allowed: Vec::new(),
            localhost: Localhost::default(),
            out_of_band: true,
            hosts: None,
            unfit: Unfit::default(),
        }
    }
}

impl RedirectUriPolicy {
    /// Takes this very redirect URI, although its scheme is not taken otherwise.
    #[must_use]
    pub fn allow(mut self, uri: impl Into<String>) -> Self {
        self.allowed.push(uri.into());
        self
    }

    /// Takes those of [`WELL_KNOWN_APPS`]. Off unless called: any program on a person's machine can claim such a scheme, and
    /// then gets the code, though not the verifier that goes with it.
    #[must_use]
    pub fn allow_well_known_apps(mut self) -> Self {
        self.allowed.extend(WELL_KNOWN_APPS.map(str::to_owned));
        self
    }

    /// What counts for the name `localhost`.
    #[must_use]
    pub fn localhost(mut self, localhost: Localhost) -> Self {
        self.localhost = localhost;
        self
    }

    /// Whether `urn:ietf:wg:oauth:2.0:oob` is taken, with which the code is shown to the person.
    #[must_use]
    pub fn out_of_band(mut self, taken: bool) -> Self {
        self.out_of_band = taken;
        self
    }

    /// Takes `https` to these hosts alone. `*.example.com` stands for every host below `example.com`, and not for itself.
    /// What is [allowed](Self::allow) word for word needs no entry.
    #[must_use]
    pub fn only_hosts(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.into().to_ascii_lowercase());
        self.hosts = Some(hosts.collect());
        self
    }

    /// What becomes of one that is not taken, if there are others.
    #[must_use]
    pub fn unfit(mut self, unfit: Unfit) -> Self {
        self.unfit = unfit;
        self
    }

    /// Checks a redirect URI that a client wants to register.
    ///
    /// # Errors
    ///
    /// When codes must not be sent there.
    pub fn take(&self, text: &str) -> Result<RedirectUri, InvalidRedirectUri> {
        let url = examine(text)?;
        let taken = || Ok(RedirectUri(text.to_owned()));
        if self.allowed.iter().any(|known| known == text) {
            return taken();
        }
        match url.scheme() {
            _ if text == OUT_OF_BAND && self.out_of_band => taken(),
            "https" if self.serves(&url) => taken(),
            "https" => Err(InvalidRedirectUri::Host(shown(text))),
            "http" if !is_loopback(&url) => Err(InvalidRedirectUri::Insecure(shown(text))),
            "http" if self.localhost == Localhost::Refused && url.domain().is_some() => {
                Err(InvalidRedirectUri::Localhost(shown(text)))
            }
            "http" => taken(),
            scheme if scheme.contains('.') => taken(),
            _ => Err(InvalidRedirectUri::Scheme(shown(text))),
        }
    }

    fn serves(&self, url: &Url) -> bool {
        let Some(hosts) = &self.hosts else { return true };
        let host = url.host_str().unwrap_or_default();
        hosts.iter().any(|known| match known.strip_prefix('*') {
            Some(domain) if domain.starts_with('.') => host.len() > domain.len() && host.ends_with(domain),
            _ => known == host,
        })
    }

    /// Checks all redirect URIs of a registration: those that are taken, in their order.
    ///
    /// # Errors
    ///
    /// Those for which the registration is refused: each that is wrong in itself, and, if [`Unfit`] says so or none is left,
    /// each that is not taken.
    pub fn take_all(&self, texts: &[String]) -> Result<Vec<RedirectUri>, Vec<InvalidRedirectUri>> {
        let mut taken: Vec<RedirectUri> = Vec::with_capacity(texts.len());
        let mut refused = Vec::new();
        for text in texts {
            match self.take(text) {
                Ok(uri) if taken.contains(&uri) => {}
                Ok(uri) => taken.push(uri),
                Err(error) => refused.push(error),
            }
        }
        let tolerable = self.unfit == Unfit::LeftOut && !taken.is_empty();
        if refused.is_empty() || (tolerable && refused.iter().all(InvalidRedirectUri::is_a_matter_of_policy)) {
            for error in refused {
                tracing::info!(%error, "a redirect URI was left out of a registration");
            }
            Ok(taken)
        } else {
            Err(refused)
        }
    }

    /// The redirect URI of a request, if one of `registered` allows it under this policy.
    #[must_use]
    pub fn select(&self, registered: &[RedirectUri], requested: &str) -> Option<RedirectUri> {
        let matches = |uri: &RedirectUri| match self.localhost {
            Localhost::AnyPort => uri.matches(requested),
            Localhost::SamePort | Localhost::Refused => {
                uri.as_str() == requested || (!uri.names_localhost() && uri.matches(requested))
            }
        };
        registered
            .iter()
            .any(matches)
            .then(|| RedirectUri(requested.to_owned()))
    }

    /// Looks for mistakes of the operator's. A server is not built with them.
    ///
    /// # Errors
    ///
    /// An allowed redirect URI is wrong in itself.
    pub fn check(&self) -> Result<(), InvalidRedirectUri> {
        self.allowed.iter().try_for_each(|uri| examine(uri).map(|_| ()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CURSOR: [&str; 3] = [
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://localhost:8787/callback",
    ];

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn written(uris: &[RedirectUri]) -> Vec<&str> {
        uris.iter().map(RedirectUri::as_str).collect()
    }

    #[test]
    fn one_that_this_server_does_not_take_is_left_out_among_others_and_refused_alone() {
        let policy = RedirectUriPolicy::default();
        assert_eq!(written(&policy.take_all(&owned(&CURSOR)).unwrap()), CURSOR[1..]);
        let alone = policy.take_all(&owned(&CURSOR[..1])).unwrap_err();
        assert_eq!(alone, [InvalidRedirectUri::Scheme(CURSOR[0].to_owned())]);
        let strict = policy.unfit(Unfit::Refused).take_all(&owned(&CURSOR));
        assert_eq!(strict.unwrap_err(), alone);
    }

    #[test]
    fn well_known_apps_are_taken_when_the_operator_says_so() {
        let policy = RedirectUriPolicy::default().allow_well_known_apps();
        assert_eq!(written(&policy.take_all(&owned(&CURSOR)).unwrap()), CURSOR);
        for other in [
            "cursor://anysphere.cursor-mcp/oauth/callback/",
            "cursor://x",
            "warp://mcp",
        ] {
            assert!(policy.take(other).is_err(), "{other}");
        }
    }

    #[test]
    fn what_is_wrong_in_itself_is_refused_whatever_stands_beside_it_and_whatever_is_allowed() {
        for wrong in [
            "javascript:alert(1)",
            "JAVASCRIPT://x/%0aalert(1)",
            "https://a.example/#x",
            "https://a@b.example/",
            "http://evil.example/",
            "relative",
            "intent://x#Intent;end",
            "view-source:https://a.example",
        ] {
            let policy = RedirectUriPolicy::default();
            let among = policy.take_all(&owned(&["https://a.example/cb", wrong]));
            assert_eq!(among.unwrap_err().len(), 1, "{wrong}");
            if wrong != "http://evil.example/" {
                assert!(policy.clone().allow(wrong).take(wrong).is_err(), "{wrong}");
                assert!(policy.allow(wrong).check().is_err(), "{wrong}");
            }
        }
    }

    #[test]
    fn localhost_is_any_port_one_port_or_none_and_the_addresses_are_any_port() {
        let registered = |policy: &RedirectUriPolicy, text: &str| vec![policy.take(text).unwrap()];
        let any = RedirectUriPolicy::default();
        let same = any.clone().localhost(Localhost::SamePort);
        let refused = any.clone().localhost(Localhost::Refused);
        let localhost = registered(&any, "http://localhost:3000/cb");
        assert!(any.select(&localhost, "http://localhost:4000/cb").is_some());
        assert!(same.select(&localhost, "http://localhost:4000/cb").is_none());
        assert!(same.select(&localhost, "http://localhost:3000/cb").is_some());
        assert_eq!(
            refused.take("http://localhost:3000/cb"),
            Err(InvalidRedirectUri::Localhost("http://localhost:3000/cb".to_owned()))
        );
        for policy in [any, same, refused] {
            for address in ["127.0.0.1", "[::1]"] {
                let registered = registered(&policy, &format!("http://{address}/cb"));
                assert!(
                    policy
                        .select(&registered, &format!("http://{address}:4000/cb"))
                        .is_some()
                );
                assert!(policy.select(&registered, "http://localhost:4000/cb").is_none());
            }
        }
    }

    #[test]
    fn the_code_is_shown_to_people_unless_the_operator_does_not_want_it() {
        assert!(RedirectUriPolicy::default().take(OUT_OF_BAND).is_ok());
        let without = RedirectUriPolicy::default().out_of_band(false);
        assert!(without.take(OUT_OF_BAND).is_err());
        let beside = without.take_all(&owned(&[OUT_OF_BAND, "http://127.0.0.1/"])).unwrap();
        assert_eq!(written(&beside), ["http://127.0.0.1/"]);
    }

    #[test]
    fn hosts_can_be_named_and_then_no_other_is_taken() {
        let policy = RedirectUriPolicy::default().only_hosts(["Claude.ai", "*.example.com"]);
        for taken in [
            "https://claude.ai/api/mcp/auth_callback",
            "https://claude.ai:8443/cb",
            "https://a.example.com/cb",
            "https://a.b.example.com/cb",
            "http://127.0.0.1/cb",
            "com.example.app:/cb",
        ] {
            assert!(policy.take(taken).is_ok(), "{taken}");
        }
        for refused in [
            "https://claude.ai.evil.example/cb",
            "https://evil-claude.ai/cb",
            "https://www.claude.ai/cb",
            "https://example.com/cb",
            "https://evilexample.com/cb",
            "https://.example.com/cb",
            "https://claude.ai./cb",
        ] {
            assert!(
                matches!(policy.take(refused), Err(InvalidRedirectUri::Host(_))),
                "{refused}"
            );
        }
        // A star stands for whole labels.
        for pattern in ["*example.com", "*"] {
            let policy = RedirectUriPolicy::default().only_hosts([pattern]);
            assert!(policy.take("https://evilexample.com/cb").is_err(), "{pattern}");
        }
        assert!(
            RedirectUriPolicy::default()
                .only_hosts([""; 0])
                .take("https://a.example/")
                .is_err()
        );
    }

    #[test]
    fn the_same_one_twice_is_registered_once() {
        let twice = owned(&["http://127.0.0.1/", "http://127.0.0.1/"]);
        assert_eq!(RedirectUriPolicy::default().take_all(&twice).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn what_is_taken_can_be_selected_and_nothing_panics(texts in proptest::collection::vec(".{0,40}", 0..4), requested in ".*") {
            let policy = RedirectUriPolicy::default().allow_well_known_apps();
            if let Ok(taken) = policy.take_all(&texts) {
                for uri in &taken {
                    prop_assert_eq!(policy.select(&taken, uri.as_str()), Some(uri.clone()));
                }
                let _ = policy.select(&taken, &requested);
            }
        }

        #[test]
        fn what_is_selected_is_registered_but_for_a_loopback_port(host in "(localhost|127\\.0\\.0\\.1|a\\.example)", port in 1_u16.., other in ".{0,30}") {
            let policy = RedirectUriPolicy::default().localhost(Localhost::SamePort);
            let scheme = if host == "a.example" { "https" } else { "http" };
            let registered = vec![policy.take(&format!("{scheme}://{host}:{port}/cb")).unwrap()];
            for requested in [other.clone(), format!("{scheme}://{host}{other}")] {
                if policy.select(&registered, &requested).is_some() && requested != registered[0].as_str() {
                    prop_assert!(requested.starts_with("http://127.0.0.1"), "{}", requested);
                    prop_assert!(requested.ends_with("/cb"), "{}", requested);
                }
            }
        }
    }
}
