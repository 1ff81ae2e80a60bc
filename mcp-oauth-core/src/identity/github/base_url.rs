//! Where a GitHub is.

use std::str::FromStr;

use url::Url;

use crate::issuer::is_loopback;

/// Text that cannot be the base URL of a GitHub.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBaseUrl {
    /// It does not parse as an absolute http or https URL with a host.
    #[error("the base URL of GitHub is not an absolute URL: write it as https://github.example.com")]
    NotAUrl,
    /// Codes, tokens and the client secret travel to it; `http` is for loopback hosts alone.
    #[error("the base URL of GitHub at {0} must use https (http is for loopback hosts only)")]
    Insecure(String),
    /// A user name, a password, a query or a fragment.
    #[error("the base URL of GitHub at {0} must have no user name, password, query or fragment")]
    Superfluous(String),
}

/// What the paths of a GitHub come after. Has no slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BaseUrl(Url);

impl BaseUrl {
    /// A base URL that is written in this crate.
    pub(super) fn constant(text: &'static str) -> Self {
        text.parse().expect("the base URLs in this crate are good ones")
    }

    /// This URL with `path`, which begins with a slash, after its own path.
    pub(super) fn join(&self, path: &str) -> Self {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        Self(url)
    }

    /// Host, and the port unless it is the scheme's own.
    pub(super) fn authority(&self) -> &str {
        self.0.authority()
    }
}

impl From<BaseUrl> for Url {
    fn from(base: BaseUrl) -> Self {
        base.0
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBaseUrl> {
        let url = Url::parse(text).map_err(|_| InvalidBaseUrl::NotAUrl)?;
        // Errors name the host alone: there may be a password in the rest.
        let host = url.host_str().unwrap_or_default().to_owned();
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(InvalidBaseUrl::Insecure(host)),
            _ => return Err(InvalidBaseUrl::NotAUrl),
        }
        let user = !url.username().is_empty() || url.password().is_some();
        if user || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidBaseUrl::Superfluous(host));
        }
        Ok(Self(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(base: &str) -> String {
        Url::from(base.parse::<BaseUrl>().unwrap().join("/user")).to_string()
    }

    #[test]
    fn a_slash_at_the_end_makes_no_difference() {
        for base in ["https://github.corp.example", "https://github.corp.example/"] {
            assert_eq!(joined(base), "https://github.corp.example/user");
        }
        for base in ["https://corp.example:8443/github", "https://corp.example:8443/github/"] {
            assert_eq!(joined(base), "https://corp.example:8443/github/user");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_alone() {
        assert_eq!(joined("http://127.0.0.1:8080"), "http://127.0.0.1:8080/user");
        let insecure = |host: &str| Err(InvalidBaseUrl::Insecure(host.to_owned()));
        assert_eq!(
            "http://github.corp.example".parse::<BaseUrl>(),
            insecure("github.corp.example")
        );
        assert_eq!(
            "http://localhost.evil.example".parse::<BaseUrl>(),
            insecure("localhost.evil.example")
        );
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for text in [
            "",
            "github.corp.example",
            "github.corp.example:443",
            "ftp://github.corp.example",
            "https://",
        ] {
            assert_eq!(text.parse::<BaseUrl>(), Err(InvalidBaseUrl::NotAUrl), "{text}");
        }
        for superfluous in ["u@h.example", ":p@h.example", "h.example?x", "h.example#x"] {
            let error = format!("https://{superfluous}").parse::<BaseUrl>().unwrap_err();
            assert_eq!(
                error,
                InvalidBaseUrl::Superfluous("h.example".to_owned()),
                "{superfluous}"
            );
        }
    }

    #[test]
    fn an_error_does_not_show_a_password() {
        for text in [
            "https://u:hunter2@h.example",
            "http://u:hunter2@h.example",
            "ftp://u:hunter2@h.example",
        ] {
            let error = text.parse::<BaseUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
