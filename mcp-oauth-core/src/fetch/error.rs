//! Why something could not be fetched.

use std::error::Error;

use reqwest::StatusCode;

use super::bounded::ReadError;
use super::resolve::Refusal;

/// Why something could not be fetched, in words for whoever publishes it.
///
/// There are two kinds, told apart by [`is_transient`](Self::is_transient): either the same URL may well be fetched in
/// a moment, or something has to be changed before it can be. Neither kind may ever be cached in place of a document.
///
/// No text here repeats the URL, whose query or user name may be somebody's secret, or an address that its host led
/// to, which is nobody's business but the operator's: that one is logged, at the level `debug`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Neither https, nor http on a loopback host that development allows.
    #[error("the URL must use https")]
    NotHttps,
    /// A user name, a password or a fragment.
    #[error("the URL must have no user name, password or fragment")]
    Superfluous,
    /// The host is, or leads to, an address that is not of the public internet.
    #[error("the host of the URL leads to an address that is not public: publish on a public server")]
    SpecialUse,
    /// Another status than 200. Redirects are among them, since they are not followed.
    #[error("the server answered with status {0}: publish at the URL itself, with status 200 and without a redirect")]
    Status(u16),
    /// Another `Content-Type` than JSON's, or none, or several.
    #[error("the answer is not JSON: publish with the Content-Type application/json")]
    ContentType,
    /// A `Content-Encoding`, although none was offered. Nothing is ever decompressed.
    #[error("the answer is compressed: publish without a Content-Encoding for whoever accepts identity alone")]
    ContentEncoding,
    /// More bytes than the bound.
    #[error("the answer is longer than {maximum} bytes: publish a shorter one")]
    TooLong {
        /// The bound.
        maximum: usize,
    },
    /// The host has no address, or nobody could be asked for it.
    #[error("the host of the URL has no address at the moment: check its name, or try again in a moment")]
    Unresolved {
        /// What the lookup said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It took too long.
    #[error("the server did not answer in time: try again in a moment")]
    Timeout,
    /// Nobody was reached, the certificate is no good for this host, or the connection broke.
    #[error("the server could not be reached by https: check its certificate, or try again in a moment")]
    Transport {
        /// What broke.
        source: Box<dyn Error + Send + Sync>,
    },
    /// As many fetches as are allowed take place already.
    #[error("too much is being fetched at the moment: try again in a moment")]
    Busy,
    /// No client could be made, since the operating system's certificates cannot be read. For the operator to repair.
    #[error("this server cannot use https: check that the certificates of the operating system are installed")]
    NoClient {
        /// What is missing.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl FetchError {
    /// Whether the same URL may be fetched in a moment, with nothing changed at it.
    ///
    /// If not, what is published there (or the URL) has to change first. A caller that knows an older copy may go on
    /// with it when this is true.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status(status) => matches!(status, 408 | 425 | 429 | 500..),
            Self::Unresolved { .. } | Self::Timeout | Self::Transport { .. } | Self::Busy | Self::NoClient { .. } => {
                true
            }
            Self::NotHttps
            | Self::Superfluous
            | Self::SpecialUse
            | Self::ContentType
            | Self::ContentEncoding
            | Self::TooLong { .. } => false,
        }
    }

    /// A short name, for what is measured.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::NotHttps => "not_https",
            Self::Superfluous => "superfluous",
            Self::SpecialUse => "special_use",
            Self::Status(_) => "status",
            Self::ContentType => "content_type",
            Self::ContentEncoding => "content_encoding",
            Self::TooLong { .. } => "too_long",
            Self::Unresolved { .. } => "unresolved",
            Self::Timeout => "timeout",
            Self::Transport { .. } => "transport",
            Self::Busy => "busy",
            Self::NoClient { .. } => "no_client",
        }
    }

    pub(super) fn status(status: StatusCode) -> Self {
        Self::Status(status.as_u16())
    }

    pub(super) fn read(error: ReadError, maximum: usize) -> Self {
        match error {
            ReadError::TooLong => Self::TooLong { maximum },
            ReadError::Broken(error) => Self::request(error),
        }
    }

    /// What a request failed of: the guard, which is somewhere among the sources, or the network.
    pub(super) fn request(error: reqwest::Error) -> Self {
        let timeout = error.is_timeout();
        let error = error.without_url();
        let refusal =
            std::iter::successors(error.source(), |&error| error.source()).find_map(<dyn Error>::downcast_ref);
        match refusal {
            Some(Refusal::SpecialUse) => Self::SpecialUse,
            Some(Refusal::Lookup(_) | Refusal::NoAddress) => Self::Unresolved { source: error.into() },
            None if timeout => Self::Timeout,
            None => Self::Transport { source: error.into() },
        }
    }
}
