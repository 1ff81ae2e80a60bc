//! Identifiers of clients that are URLs (draft-ietf-oauth-client-id-metadata-document §3).
//!
//! A client that registers nowhere is known by the https URL of a [document](super::metadata_document) that says what it
//! is. So what is compared, shown and fetched has to be one and the same text, and a [`ClientIdUrl`] is only made of one that
//! can be spelled in no other way.
//!
//! ```
//! use mcp_oauth_core::client::client_id_url::ClientIdUrl;
//!
//! assert!(ClientIdUrl::is_meant_by("https://client.example/metadata.json"));
//! assert!(!ClientIdUrl::is_meant_by("client_AbC"));
//! assert!("https://CLIENT.example/metadata.json".parse::<ClientIdUrl>().is_err());
//! ```

use std::fmt;
use std::str::FromStr;

use url::Url;

use super::ClientId;
use crate::issuer::is_loopback;

/// A `client_id` that is the URL of a client ID metadata document.
///
/// The draft asks for https and a path, and refuses dot segments, fragments and user names (§3). Beyond that the URL
/// has to be in normal form, so that what is compared, shown and fetched is one and the same: no upper case in the
/// host, no `:443`, no backslash.
///
/// ```
/// use mcp_oauth_core::client::client_id_url::{ClientIdUrl, InvalidClientIdUrl};
///
/// let client_id: ClientIdUrl = "https://client.example/metadata.json".parse()?;
/// assert_eq!(client_id.host(), "client.example");
/// assert_eq!("https://client.example".parse::<ClientIdUrl>(), Err(InvalidClientIdUrl::NoPath));
/// assert_eq!("https://client.example/a/../b".parse::<ClientIdUrl>(), Err(InvalidClientIdUrl::DotSegment));
/// # Ok::<_, InvalidClientIdUrl>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientIdUrl {
    client_id: ClientId,
    url: Url,
}

/// Why a `client_id` cannot be the URL of a client ID metadata document. None of these shows the URL, in which there
/// may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidClientIdUrl {
    /// It does not parse as an absolute URL, is too long, or holds spaces or other characters than ASCII.
    #[error("the client_id is not an absolute URL of at most 512 ASCII characters")]
    NotAUrl,
    /// Another scheme than https.
    #[error("a client_id that is a URL must use https")]
    NotHttps,
    /// A fragment, a user name or a password.
    #[error("a client_id that is a URL must have no fragment, user name or password")]
    Superfluous,
    /// Nothing but a host, which is not enough to say which of its clients is meant.
    #[error("a client_id that is a URL must have a path: https://client.example/metadata.json")]
    NoPath,
    /// A segment `.` or `..`, in any spelling.
    #[error("a client_id that is a URL must have no path segments . and ..")]
    DotSegment,
    /// Something that a URL parser writes in another way.
    #[error(
        "a client_id that is a URL must be in normal form: host in lower case and punycode, no default port, no backslash"
    )]
    NotNormal,
}

impl ClientIdUrl {
    /// Whether a `client_id` is meant to be the URL of a document, good or bad. No identifier that this server gives to
    /// a client looks like that.
    #[must_use]
    pub fn is_meant_by(client_id: &str) -> bool {
        super::means_url(client_id)
    }

    /// Reads a `client_id`, and lets http through if the host is a loopback one: for development and tests, together
    /// with [`Fetcher::allow_loopback`](crate::fetch::Fetcher::allow_loopback).
    ///
    /// # Errors
    ///
    /// When it cannot be the URL of a client ID metadata document.
    pub fn for_development(text: &str) -> Result<Self, InvalidClientIdUrl> {
        Self::read(text, true)
    }

    fn read(text: &str, development: bool) -> Result<Self, InvalidClientIdUrl> {
        let client_id = text.parse().map_err(|_| InvalidClientIdUrl::NotAUrl)?;
        let url = Url::parse(text).map_err(|_| InvalidClientIdUrl::NotAUrl)?;
        match url.scheme() {
            "https" => {}
            "http" if development && is_loopback(&url) => {}
            _ => return Err(InvalidClientIdUrl::NotHttps),
        }
        if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidClientIdUrl::Superfluous);
        }
        let (path, _) = text.split_once('?').unwrap_or((text, ""));
        let mut segments = path.split('/').skip(3).peekable();
        if segments.peek().is_none() {
            return Err(InvalidClientIdUrl::NoPath);
        }
        // The parser has resolved these already, and takes an encoded dot for a dot.
        if segments.any(|segment| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")) {
            return Err(InvalidClientIdUrl::DotSegment);
        }
        if url.as_str() == text {
            Ok(Self { client_id, url })
        } else {
            Err(InvalidClientIdUrl::NotNormal)
        }
    }

    /// The identifier, which is the URL as it is written.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// Where the document is.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The host, which is who answers for the client: the one thing about it that has been checked, so the one to
    /// show.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
}

impl FromStr for ClientIdUrl {
    type Err = InvalidClientIdUrl;

    fn from_str(text: &str) -> Result<Self, InvalidClientIdUrl> {
        Self::read(text, false)
    }
}

impl fmt::Display for ClientIdUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.client_id, formatter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const URL: &str = "https://client.example/metadata.json";

    fn url(text: &str) -> ClientIdUrl {
        text.parse().unwrap()
    }

    #[test]
    fn the_urls_of_real_clients_are_accepted_and_kept_byte_for_byte() {
        for text in [
            "https://claude.ai/oauth/claude-code-client-metadata",
            "https://claude.ai/oauth/mcp-oauth-client-metadata",
            "https://chatgpt.com/oauth/codex/client.json",
            "https://vscode.dev/oauth/client-metadata.json",
            "https://github.com/copilot/cli/client-metadata.json",
            "https://client.example:8443/metadata.json",
            "https://client.example/",
            "https://client.example/a//b/",
            "https://client.example/metadata?v=2",
            "https://client.example/%7Eada/.well-known/...",
            "https://xn--bcher-kva.example/x",
        ] {
            assert_eq!(url(text).client_id().as_str(), text);
            assert_eq!(url(text).url().as_str(), text);
            assert_eq!(url(text).to_string(), text);
        }
    }

    #[test]
    fn what_the_draft_refuses_is_refused() {
        use InvalidClientIdUrl::{DotSegment, NoPath, NotAUrl, NotHttps, Superfluous};
        for (text, reason) in [
            ("", NotAUrl),
            ("client_AbC", NotAUrl),
            ("/metadata.json", NotAUrl),
            ("https://", NotAUrl),
            ("https://client.example/ x", NotAUrl),
            ("https://b\u{fc}cher.example/x", NotAUrl),
            ("http://client.example/x", NotHttps),
            ("http://localhost/x", NotHttps),
            ("file:///etc/passwd", NotHttps),
            ("urn:a:b", NotHttps),
            ("https://client.example/x#", Superfluous),
            ("https://client.example/x#y", Superfluous),
            ("https://ada@client.example/x", Superfluous),
            ("https://:secret@client.example/x", Superfluous),
            ("https://client.example", NoPath),
            ("https://client.example:8443", NoPath),
            ("https://client.example?x=/y", NoPath),
            ("https://client.example/.", DotSegment),
            ("https://client.example/..", DotSegment),
            ("https://client.example/a/../b", DotSegment),
            ("https://client.example/a/./b", DotSegment),
            ("https://client.example/a/%2e%2E/b", DotSegment),
            ("https://client.example/a/.%2e?x", DotSegment),
        ] {
            assert_eq!(text.parse::<ClientIdUrl>(), Err(reason), "{text}");
        }
        let long = format!("https://client.example/{}", "x".repeat(512));
        assert_eq!(long.parse::<ClientIdUrl>(), Err(NotAUrl));
    }

    #[test]
    fn what_could_be_spelled_in_another_way_is_refused() {
        for text in [
            "HTTPS://client.example/x",
            "https://Client.example/x",
            "https://client.example:443/x",
            "https://@client.example/x",
            "https:client.example/x/y/z",
            "https:///client.example/x",
            "https://client.example\\x/y",
            "https://client.example/\\x",
            "https://0x7f000001/x",
            "https://2130706433/x",
            "https://[::FFFF:7f00:1]/x",
            "https://%63lient.example/x",
        ] {
            assert_eq!(
                text.parse::<ClientIdUrl>(),
                Err(InvalidClientIdUrl::NotNormal),
                "{text}"
            );
        }
    }

    #[test]
    fn development_adds_http_on_loopback_hosts_and_nothing_else() {
        for text in [
            "http://localhost:8080/x",
            "http://127.0.0.1:1/x",
            "http://[::1]:1/x",
            URL,
        ] {
            assert_eq!(ClientIdUrl::for_development(text).unwrap().client_id().as_str(), text);
        }
        for text in [
            "http://client.example/x",
            "http://localhost.evil.example/x",
            "http://10.0.0.1/x",
        ] {
            assert_eq!(
                ClientIdUrl::for_development(text),
                Err(InvalidClientIdUrl::NotHttps),
                "{text}"
            );
        }
    }

    #[test]
    fn no_identifier_of_this_server_is_meant_as_a_url() {
        for text in [URL, "HTTPS://x", "http://x", "https://"] {
            assert!(ClientIdUrl::is_meant_by(text), "{text}");
        }
        for text in ["", "https", "https:/", "client_https://x", "\u{e9}\u{e9}\u{e9}\u{e9}"] {
            assert!(!ClientIdUrl::is_meant_by(text), "{text}");
        }
        assert!(!ClientIdUrl::is_meant_by(ClientId::random().as_str()));
    }

    #[test]
    fn an_error_does_not_show_the_url() {
        for text in [
            "https://ada:hunter2@client.example/x",
            "https://client.example/x#hunter2",
            "hunter2",
        ] {
            let error = text.parse::<ClientIdUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn reading_any_url_never_panics(text in ".*", path in "[a-z./%2eE?#@:\\\\]{0,30}") {
            for text in [text, format!("https://client.example{path}"), format!("https://{path}")] {
                let _ = ClientIdUrl::is_meant_by(&text);
                let _ = ClientIdUrl::for_development(&text);
                if let Ok(url) = text.parse::<ClientIdUrl>() {
                    prop_assert_eq!(url.url().as_str(), &text);
                    prop_assert!(text.starts_with("https://") && !text.contains('#'));
                    prop_assert!(!url.url().path().split('/').any(|segment| matches!(segment, "." | "..")));
                }
            }
        }
    }
}
