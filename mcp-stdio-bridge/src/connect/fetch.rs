//! Requests of the authorization: small, bounded, and never carried on to somewhere else.
//!
//! A redirect is followed for a document only, within its origin, and three times at most. What carries a credential
//! is never sent on.

use std::time::Duration;

use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use url::Url;

use super::address::{AddressError, Guarded, Reach, bounded, shown};

/// How long one request may take.
const TIME: Duration = Duration::from_secs(20);
/// How large an answer may be.
const BYTES: usize = 256 * 1024;
const REDIRECTS: usize = 3;

pub(crate) const USER_AGENT: &str = concat!("mcp-stdio-bridge/", env!("CARGO_PKG_VERSION"));

/// A request of the authorization that came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The address is none to go to.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No answer came.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// The address, without its query.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The answer was too large.
    #[error("{0} answered with more than {BYTES} bytes")]
    TooLarge(String),
    /// The answer is not the JSON that it should be.
    #[error("{url} answered with something else than it should: {reason}")]
    Malformed {
        /// The address, without its query.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

/// The HTTP client could not be made: mostly because of the certificates of the system, or its proxy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HttpClientError(#[source] pub(super) reqwest::Error);

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, FetchError> {
        serde_json::from_slice(&self.body).map_err(|error| FetchError::Malformed {
            url: shown(&self.url),
            // Of a body that may hold a token, only where it is wrong is told.
            reason: format!("{:?} error at byte {} or so", error.classify(), error.column()),
        })
    }
}

/// Sends the requests.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher {
    client: reqwest::Client,
    pub(crate) reach: Reach,
}

impl Fetcher {
    pub(crate) fn new(reach: Reach) -> Result<Self, HttpClientError> {
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIME)
            .dns_resolver(Guarded(reach))
            .build()
            .map_err(HttpClientError)?;
        Ok(Self { client, reach })
    }

    /// Gets a document.
    pub(crate) async fn document(&self, url: &Url) -> Result<Answer, FetchError> {
        let mut url = url.clone();
        for _ in 0..REDIRECTS {
            let answer = self.send(self.get(&url)).await?;
            match redirect(&answer) {
                Some(target) if target.origin() == url.origin() => url = target,
                _ => return Ok(answer),
            }
        }
        Err(FetchError::Malformed {
            url: shown(&url),
            reason: "one redirect after another".to_owned(),
        })
    }

    pub(crate) fn get(&self, url: &Url) -> reqwest::RequestBuilder {
        self.client.get(url.clone()).header(header::ACCEPT, "application/json")
    }

    pub(crate) fn request(&self, method: http::Method, url: &Url) -> reqwest::RequestBuilder {
        self.client
            .request(method, url.clone())
            .header(header::ACCEPT, "application/json")
    }

    /// A form, as the token endpoint takes it.
    pub(crate) fn form(&self, url: &Url, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        self.request(http::Method::POST, url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.finish())
    }

    /// Sends one request, and reads its whole answer.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, FetchError> {
        let (client, request) = request.build_split();
        let request = request.map_err(|error| unreachable_because(&error, "the request"))?;
        let url = request.url().clone();
        self.reach.check(&url)?;
        let failed = |error: reqwest::Error| unreachable_because(&error, &shown(&url));
        let response = client.execute(request).await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(failed)?;
            if body.len() + chunk.len() > BYTES {
                return Err(FetchError::TooLarge(shown(&url)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            url,
            status,
            headers,
            body,
        })
    }
}

fn redirect(answer: &Answer) -> Option<Url> {
    if !answer.status.is_redirection() {
        return None;
    }
    let location = answer.headers.get(header::LOCATION)?.to_str().ok()?;
    answer.url.join(location).ok()
}

fn unreachable_because(error: &reqwest::Error, url: &str) -> FetchError {
    FetchError::Unreachable {
        url: url.to_owned(),
        reason: why(error),
    }
}

/// The innermost reason, which is the one that helps. An error's own text may hold an address with its query.
pub(crate) fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut reason: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(inner) = reason.and_then(std::error::Error::source) {
        reason = Some(inner);
    }
    reason.map_or_else(
        || "the request failed".to_owned(),
        |reason| bounded(&reason.to_string()),
    )
}
